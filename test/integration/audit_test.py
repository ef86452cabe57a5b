"""checkoutctl audit names everything that is not as it must be, and nothing else; explain
tells what happened to an order; checkouts retry has one taken over."""
import contextlib
import json
import os
import signal
import threading
import uuid
from pathlib import Path

from stack import KEY, StackTest, main, wait_until

LONG_AGO = "now() - interval '1 hour'"


def fresh(prefix="t"):
    return f"{prefix}-{uuid.uuid4()}"


def made_up(number):
    """A ULID that no process makes: of 1970."""
    return f"{number:026d}"


def stands_still(pid):
    """Whether each of its threads is stopped: who sends SIGSTOP does not wait for that."""
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
               for task in Path(f"/proc/{pid}/task").iterdir())


class Audit(StackTest):
    # Recovery looks once at the start and then no more while the test runs, so that a
    # checkout past its lease stays one.
    environment = {"CHECKOUT_ORCHESTRATOR_RECOVER_EVERY_MS": "60000",
                   "CHECKOUT_ORCHESTRATOR_GIVE_UP_MS": "4000",
                   "CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS": "20000"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.stack.product("pot", 1000, price_cents=1999)
        cls.stack.product("last", 2, price_cents=5000)
        cls.shopper = cls.stack.shopper()
        cls.ordered = cls.place("pm_card_visa")
        cls.declined = cls.place("pm_card_chargeDeclined")
        cls.short = cls.place("pm_card_visa", [("cup", 1), ("last", 3)])
        cls.place("pm_card_timeout")

    @classmethod
    def place(cls, method, lines=(("cup", 2), ("pot", 1))):
        """Places a cart to its end; the id of its checkout."""
        name = fresh("cart")
        cls.shopper.put_cart(name, lines)
        cls.shopper.order_until_final(name, name, method)
        wait_until(lambda: cls.stack.unfinished() == 0, 30, "the checkout is finished")
        return cls.stack.sql("SELECT order_id FROM orders.checkouts "
                             f"WHERE {KEY} = '{name}'")[0][0]

    def audit(self, *arguments):
        """The audit's report, its exit status checked against it."""
        done = self.stack.ctl("audit", "--json", "--grace", "1", *arguments, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if report["holds"] else 1)
        self.assertEqual(report["holds"], not report["violations"])
        return report

    def expect_clean(self):
        report = self.audit()
        self.assertEqual(report["violations"], [])
        return report

    def expect_violations(self, *expected):
        """Exactly these pairs of check and id."""
        report = self.audit()
        self.assertEqual(sorted((v["check"], v["id"]) for v in report["violations"]),
                         sorted(expected), report["violations"])
        for violation in report["violations"]:
            self.assertTrue(violation["what"])
            self.assertIn("checkoutctl", violation["todo"])
            self.assertNotIn("%", violation["todo"])
        counts = {c["check"]: c["violations"] for c in report["checks"] if c["violations"]}
        self.assertEqual(sum(counts.values()), len(expected))

    @contextlib.contextmanager
    def changed(self, table, where, change):
        """Runs `change`, and puts the table's rows back as they were afterwards."""
        self.stack.sql(f"CREATE TABLE public.kept AS SELECT * FROM {table} WHERE {where}")
        self.stack.sql(change)
        try:
            yield
        finally:
            self.stack.sql(f"DELETE FROM {table} WHERE {where};"
                           f"INSERT INTO {table} OVERRIDING SYSTEM VALUE "
                           "SELECT * FROM public.kept; DROP TABLE public.kept")
        self.expect_clean()

    @contextlib.contextmanager
    def done_and_undone(self, do, undo):
        self.stack.sql(do)
        try:
            yield
        finally:
            self.stack.sql(undo)
        self.expect_clean()

    # --- a system at work is clean ---

    def test_a_system_after_orders_of_every_kind_is_clean(self):
        report = self.expect_clean()
        looked_at = {c["check"]: c["looked_at"] for c in report["checks"]}
        self.assertEqual({check for check, count in looked_at.items() if count == 0}, set())
        table = self.stack.ctl("audit")
        self.assertIn("All of it holds.", table)

    def test_a_system_under_load_is_clean(self):
        stop = threading.Event()
        troubles = []

        def shop():
            shopper = self.stack.shopper()
            while not stop.is_set():
                name = fresh("cart")
                shopper.put_cart(name, [("cup", 1)])
                answer = shopper.order_until_final(name, name)
                if answer.status != 201 and answer.code != "out_of_stock":
                    troubles.append(repr(answer))
            shopper.close()

        self.stack.call("inventory.v1.Inventory/AdjustStock", sku="cup", delta=100000,
                        reason="load", adjustment_id="load")
        threads = [threading.Thread(target=shop) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                self.expect_clean()
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        self.assertEqual(troubles, [])
        self.expect_clean()

    def test_pages_are_read_to_their_end(self):
        """2,500 orders: the last page is not full, and the others are."""
        series = "(SELECT lpad(n::text, 26, '0') AS id, n FROM generate_series(1, 2500) n) s"
        key = "'page-' || n"
        user = "'00000000-0000-4000-8000-00000000000a'::uuid"
        self.stack.sql(f"""
            INSERT INTO orders.users VALUES ({user}) ON CONFLICT DO NOTHING;
            INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,
                payment_method_id, fingerprint, cart, state, owner, lease_until, finished_at)
            SELECT id, {key}, {user}, {key}, 'pm_card_visa', sha256('x'), '[]', 'completed', '',
                now(), now() FROM {series};
            INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency,
                cart_id, reservation_id, charge_id, lines)
            SELECT id, {user}, 0, {key}, 'EUR', {key}, id, id, '[]' FROM {series};
            INSERT INTO orders.outbox (order_id, sequence, type, payload)
            SELECT id, 1, 'order.created', '{{}}' FROM {series};
            INSERT INTO inventory.reservations (id, state, currency, skus, quantities,
                unit_prices_cents, expires_at)
            SELECT id, 'confirmed', 'EUR', '{{gone}}', '{{1}}', '{{0}}', now() FROM {series};
            INSERT INTO payment.charges (id, state, user_id, method_id, currency,
                provider_charge_id)
            SELECT id, 'captured', {user}, 'pm_card_visa', 'EUR', 'x' FROM {series};
            INSERT INTO sandbox.charges (idempotency_key, status, currency, provider_charge_id)
            SELECT 'chg_' || id, 'captured', 'EUR', 'x' FROM {series}""")
        try:
            report = self.expect_clean()
            looked_at = {c["check"]: c["looked_at"] for c in report["checks"]}
            self.assertGreaterEqual(looked_at["order.charge"], 2500)
            for n in (1, 1000, 1001, 2500):
                with self.changed("payment.charges", f"id = '{made_up(n)}'",
                                  f"DELETE FROM payment.charges WHERE id = '{made_up(n)}'"):
                    self.expect_violations(("order.charge", made_up(n)),
                                           ("books.equal", made_up(n)))
        finally:
            self.stack.sql("""
                DELETE FROM sandbox.charges WHERE idempotency_key LIKE 'chg_0000%';
                DELETE FROM payment.charges WHERE id LIKE '0000%';
                DELETE FROM inventory.reservations WHERE id LIKE '0000%';
                DELETE FROM orders.outbox WHERE order_id LIKE '0000%';
                DELETE FROM orders.orders WHERE id LIKE '0000%';
                DELETE FROM orders.checkouts WHERE order_id LIKE '0000%'""")

    def test_a_service_that_does_not_answer_is_an_rpc_error_not_a_violation(self):
        for name in ("inventory", "payment", "orchestrator"):
            os.kill(self.stack.pid(name), signal.SIGSTOP)
            try:
                wait_until(lambda: stands_still(self.stack.pid(name)), 10, f"{name} stopped")
                done = self.stack.ctl("audit", "--max-time", "2", check=False)
            finally:
                os.kill(self.stack.pid(name), signal.SIGCONT)
            self.assertIn(done.returncode, (64 + 4, 64 + 14), done.stderr)
            self.assertIn("not checked", done.stdout)
            self.assertNotIn("What to do", done.stdout)
            self.assertIn(name, done.stderr)

    def test_giving_up_at_once_ends_at_once(self):
        for _ in range(20):
            done = self.stack.ctl("audit", "--max-time", "0.001", check=False)
            self.assertGreaterEqual(done.returncode, 64, done.stdout)

    # --- orders ---

    def test_an_order_without_its_charge_is_named(self):
        with self.changed("payment.charges", f"id = '{self.ordered}'",
                          f"DELETE FROM payment.charges WHERE id = '{self.ordered}'"):
            self.expect_violations(("order.charge", self.ordered),
                                   ("books.equal", self.ordered))

    def test_an_order_of_another_amount_is_named(self):
        with self.changed("orders.orders", f"id = '{self.ordered}'",
                          "UPDATE orders.orders SET total_cents = total_cents + 1 "
                          f"WHERE id = '{self.ordered}'"):
            self.expect_violations(("order.charge", self.ordered),
                                   ("order.reservation", self.ordered))

    def test_an_order_in_another_currency_is_named(self):
        with self.changed("orders.orders", f"id = '{self.ordered}'",
                          f"UPDATE orders.orders SET currency = 'USD' "
                          f"WHERE id = '{self.ordered}'"):
            self.expect_violations(("order.charge", self.ordered),
                                   ("order.reservation", self.ordered))

    def test_a_reservation_released_by_hand_is_named_with_its_skus(self):
        with self.changed("inventory.reservations", f"id = '{self.ordered}'",
                          "UPDATE inventory.reservations SET state = 'released' "
                          f"WHERE id = '{self.ordered}'"):
            self.expect_violations(("order.reservation", self.ordered),
                                   ("stock.sold", "cup"), ("stock.sold", "pot"))

    def test_an_order_without_event_is_named(self):
        with self.changed("orders.outbox", f"order_id = '{self.ordered}'",
                          f"DELETE FROM orders.outbox WHERE order_id = '{self.ordered}'"):
            self.expect_violations(("order.event", self.ordered))

    def test_an_order_with_two_events_is_named(self):
        with self.changed("orders.outbox", f"order_id = '{self.ordered}'",
                          "INSERT INTO orders.outbox (order_id, sequence, type, payload) "
                          f"VALUES ('{self.ordered}', 2, 'order.created', '{{}}')"):
            self.expect_violations(("order.event", self.ordered))

    def test_a_completed_checkout_without_order_is_named(self):
        with self.changed("orders.orders", f"id = '{self.ordered}'",
                          f"DELETE FROM orders.orders WHERE id = '{self.ordered}'"):
            self.expect_violations(("order.checkout", self.ordered),
                                   ("charge.order", self.ordered),
                                   ("reservation.order", self.ordered))

    def test_an_order_of_another_cart_than_its_checkout_is_named(self):
        with self.changed("orders.orders", f"id = '{self.ordered}'",
                          f"UPDATE orders.orders SET cart_id = 'x' WHERE id = '{self.ordered}'"):
            self.expect_violations(("order.checkout", self.ordered))

    def test_an_order_whose_key_was_pruned_is_still_audited(self):
        gone = f"DELETE FROM orders.checkouts WHERE order_id = '{self.ordered}'"
        with self.changed("orders.checkouts", f"order_id = '{self.ordered}'", gone):
            self.expect_clean()
            self.stack.sql("UPDATE payment.charges SET amount_cents = amount_cents + 1 "
                           f"WHERE id = '{self.ordered}'")
            self.expect_violations(("order.charge", self.ordered),
                                   ("books.equal", self.ordered))
            self.stack.sql("UPDATE payment.charges SET amount_cents = amount_cents - 1 "
                           f"WHERE id = '{self.ordered}'")

    def test_two_orders_of_one_key_are_named(self):
        twin = made_up(7)
        with self.done_and_undone(
                "ALTER TABLE orders.orders DROP CONSTRAINT orders_idempotency_key_key;"
                "INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency,"
                "    cart_id, reservation_id, charge_id, lines)"
                f"SELECT '{twin}', user_id, 0, idempotency_key, currency, 'x', '', '', '[]' "
                f"FROM orders.orders WHERE id = '{self.ordered}'",
                f"DELETE FROM orders.orders WHERE id = '{twin}';"
                "ALTER TABLE orders.orders ADD UNIQUE (idempotency_key)"):
            self.expect_violations(("order.key", twin), ("order.key", self.ordered),
                                   ("order.charge", twin), ("order.reservation", twin),
                                   ("order.event", twin))

    def test_two_live_checkouts_of_one_cart_are_named(self):
        with self.done_and_undone(
                "DROP INDEX orders.checkouts_cart;"
                "UPDATE orders.checkouts c SET user_id = o.user_id, cart_id = o.cart_id "
                f"FROM orders.checkouts o WHERE o.order_id = '{self.ordered}' "
                f"AND c.order_id = '{self.declined}';"
                "UPDATE orders.checkouts SET state = 'running', failure_reason = NULL,"
                "    finished_at = NULL, lease_until = now() + interval '1 hour' "
                f"WHERE order_id = '{self.declined}'",
                "UPDATE orders.checkouts SET state = 'failed', cart_id = 'free',"
                "    finished_at = now(), failure_reason = 'payment_declined' "
                f"WHERE order_id = '{self.declined}';"
                "CREATE UNIQUE INDEX checkouts_cart ON orders.checkouts (user_id, cart_id)"
                "    WHERE state IN ('running', 'completed')"):
            self.expect_violations(("order.cart", self.ordered))

    # --- money ---

    def test_a_refund_that_only_the_provider_knows_is_named(self):
        with self.changed("sandbox.charges", f"idempotency_key = 'chg_{self.ordered}'",
                          "UPDATE sandbox.charges SET status = 'refunded',"
                          "    refunded_cents = amount_cents "
                          f"WHERE idempotency_key = 'chg_{self.ordered}'"):
            self.expect_violations(("books.equal", self.ordered))

    def test_a_refund_of_more_than_was_charged_is_named(self):
        with self.changed("sandbox.charges", f"idempotency_key = 'chg_{self.ordered}'",
                          "UPDATE sandbox.charges SET refunded_cents = amount_cents + 1 "
                          f"WHERE idempotency_key = 'chg_{self.ordered}'"):
            self.expect_violations(("charge.refund", self.ordered),
                                   ("books.equal", self.ordered))

    def test_a_charge_that_the_provider_does_not_know_is_named(self):
        with self.changed("sandbox.charges", f"idempotency_key = 'chg_{self.ordered}'",
                          "DELETE FROM sandbox.charges "
                          f"WHERE idempotency_key = 'chg_{self.ordered}'"):
            self.expect_violations(("books.equal", self.ordered))

    def test_money_without_an_order_is_named_once_it_is_older_than_the_lease(self):
        charge = made_up(1)

        def ours(at):
            return ("INSERT INTO payment.charges (id, state, user_id, method_id, amount_cents,"
                    " currency, provider_charge_id, created_at) "
                    f"VALUES ('{charge}', 'captured', '{self.shopper.user}', 'pm_card_visa',"
                    f" 100, 'EUR', 'x', {at});")

        def theirs(at, key=f"chg_{charge}"):
            return ("INSERT INTO sandbox.charges (idempotency_key, status, amount_cents,"
                    " currency, provider_charge_id, created_at) "
                    f"VALUES ('{key}', 'captured', 100, 'EUR', 'x', {at});")

        undo = (f"DELETE FROM payment.charges WHERE id = '{charge}';"
                f"DELETE FROM sandbox.charges WHERE idempotency_key IN "
                f"('chg_{charge}', 'not-ours')")
        with self.done_and_undone(ours(LONG_AGO) + theirs(LONG_AGO), undo):
            self.expect_violations(("charge.order", charge))
        with self.done_and_undone(ours("now()") + theirs("now()"), undo):
            self.assertEqual(self.expect_clean()["under_way"], 1)
        with self.done_and_undone(ours(LONG_AGO), undo):
            self.expect_violations(("charge.order", charge), ("books.equal", charge))
        with self.done_and_undone(theirs(LONG_AGO), undo):
            self.expect_violations(("charge.order", charge), ("books.equal", charge))
        with self.done_and_undone(theirs(LONG_AGO, "not-ours"), undo):
            self.expect_violations(("charge.order", "not-ours"), ("books.equal", "not-ours"))

    # --- what must be gone ---

    def test_a_failed_checkout_that_holds_stock_is_named(self):
        with self.changed("inventory.reservations", f"id = '{self.declined}'",
                          "UPDATE inventory.reservations SET state = 'held',"
                          "    expires_at = now() + interval '1 hour' "
                          f"WHERE id = '{self.declined}'"):
            self.expect_violations(("failed.undone", self.declined),
                                   ("stock.held", "cup"), ("stock.held", "pot"))

    def test_a_failed_checkout_that_keeps_money_is_named(self):
        with self.changed("sandbox.charges", f"idempotency_key = 'chg_{self.declined}'",
                          "UPDATE sandbox.charges SET status = 'captured' "
                          f"WHERE idempotency_key = 'chg_{self.declined}'"):
            self.expect_violations(("failed.undone", self.declined),
                                   ("books.equal", self.declined))

    def test_stock_set_aside_for_nothing_is_named(self):
        lost = made_up(2)
        with self.done_and_undone(
                "INSERT INTO inventory.reservations (id, state, skus, quantities,"
                "    unit_prices_cents, currency, expires_at, created_at) "
                f"VALUES ('{lost}', 'confirmed', '{{gone}}', '{{1}}', '{{0}}', 'EUR', now(),"
                f"    {LONG_AGO})",
                f"DELETE FROM inventory.reservations WHERE id = '{lost}'"):
            self.expect_violations(("reservation.order", lost))

    def test_a_checkout_that_needs_attention_is_named(self):
        with self.done_and_undone(
                "UPDATE orders.checkouts SET state = 'aborting', finished_at = NULL,"
                "    needs_attention = true, lease_until = now() + interval '1 hour' "
                f"WHERE order_id = '{self.declined}'",
                "UPDATE orders.checkouts SET state = 'failed', needs_attention = false,"
                "    finished_at = now() "
                f"WHERE order_id = '{self.declined}'"):
            self.expect_violations(("checkout.finished", self.declined))

    # --- stock ---

    def test_stock_that_was_never_booked_is_named(self):
        with self.changed("inventory.stock", "sku = 'pot'",
                          "UPDATE inventory.stock SET sold = sold + 1, received = received + 1 "
                          "WHERE sku = 'pot'"):
            self.expect_violations(("stock.booked", "pot"), ("stock.sold", "pot"))

    def test_stock_held_by_nobody_is_named(self):
        with self.changed("inventory.stock", "sku = 'pot'",
                          "UPDATE inventory.stock SET available = available - 1,"
                          "    held = held + 1 WHERE sku = 'pot'"):
            self.expect_violations(("stock.held", "pot"))

    def test_stock_that_does_not_add_up_is_named(self):
        (name,), = self.stack.sql(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'inventory.stock'::regclass "
            "AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%received%'")
        with self.done_and_undone(
                f"ALTER TABLE inventory.stock DROP CONSTRAINT {name};"
                "UPDATE inventory.stock SET available = available + 1 WHERE sku = 'pot'",
                "UPDATE inventory.stock SET available = available - 1 WHERE sku = 'pot';"
                f"ALTER TABLE inventory.stock ADD CONSTRAINT {name}"
                "    CHECK (received = available + held + sold)"):
            self.expect_violations(("stock.conserved", "pot"))

    # --- for people ---

    def test_a_violation_is_told_in_words_with_what_to_do(self):
        with self.changed("inventory.reservations", f"id = '{self.declined}'",
                          "UPDATE inventory.reservations SET state = 'confirmed' "
                          f"WHERE id = '{self.declined}'"):
            done = self.stack.ctl("audit", "--grace", "1", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"failed.undone {self.declined}", done.stdout)
            self.assertIn("reservation: confirmed for 24.99 EUR", done.stdout)
            self.assertIn(f"""Inventory/Release '{{"reservation_id":"{self.declined}"}}'""",
                          done.stdout)
            self.assertIn("3 violations were found", done.stderr)

    # --- explain ---

    def story(self, order):
        story = json.loads(self.stack.ctl("explain", order, "--json"))
        times = [moment["at_ms"] for moment in story["timeline"]]
        self.assertEqual(times, sorted(times))
        return story["state"], [m["service"] + ": " + m["what"] for m in story["timeline"]]

    def expect_story(self, order, state, *beginnings):
        """The moments begin like this, in this order; others may stand between."""
        told_state, told = self.story(order)
        self.assertEqual(told_state, state)
        rest = iter(told)
        for beginning in beginnings:
            if not any(line.startswith(beginning) for line in rest):
                self.fail(f"no {beginning!r} (in this order) in {told}")

    def test_explain_tells_a_completed_order(self):
        self.expect_story(self.ordered, "completed", "orchestrator: claimed: cart",
                          "inventory: reserved: 2 SKUs for 24.99 EUR",
                          "payment: charge of 24.99 EUR intended",
                          "provider: charged 24.99 EUR, as sbx_", "payment: charge captured",
                          "inventory: reservation confirmed",
                          "orchestrator: order written, of 24.99 EUR",
                          "orchestrator: event order.created written",
                          "orchestrator: completed")
        text = self.stack.ctl("explain", self.ordered)
        self.assertIn(f"order {self.ordered}, completed", text)
        self.assertIn("Nothing more", text)

    def test_without_a_bus_nothing_is_told_as_published(self):
        text = self.stack.ctl("explain", self.ordered)
        self.assertIn("event order.created written", text)
        self.assertNotIn("published", text)
        self.assertRegex(self.stack.ctl("events", "lag"),
                         r"(?m)^published +-  no bus is configured \(nats_url\)$")
        told = self.stack.ctl("call", "--service", "orchestrator", "rpc.v1.Metrics/Read",
                              '{"prefix": "events_"}')
        self.assertIn("events_unplaced", told)
        self.assertNotIn("events_unpublished", told)

    def test_explain_tells_a_declined_card(self):
        self.expect_story(self.declined, "failed", "orchestrator: claimed",
                          "inventory: reserved", "provider: declined",
                          "payment: charge declined: card_declined",
                          "orchestrator: refused at attempt 1 at charge: The card was declined",
                          "inventory: reservation released",
                          "orchestrator: failed: payment_declined")

    def test_explain_tells_what_was_out_of_stock(self):
        self.expect_story(self.short, "failed", "orchestrator: claimed", "inventory: refused",
                          "orchestrator: refused at attempt 1 at reserve: Not enough stock",
                          "orchestrator: failed: out_of_stock")

    def test_explain_of_no_order_is_not_found(self):
        self.assertEqual(self.stack.ctl("explain", made_up(9), check=False).returncode, 64 + 5)
        self.assertEqual(self.stack.ctl("explain", "nonsense", check=False).returncode, 64 + 5)

    # --- checkouts ---

    def test_checkouts_are_listed_and_shown(self):
        listed = json.loads(self.stack.ctl("checkouts", "list", "--limit", "3", "--json"))
        ids = [c["order_id"] for c in listed["checkouts"]]
        self.assertEqual(ids, sorted(ids, reverse=True))
        rest = json.loads(self.stack.ctl("checkouts", "list", "--after", ids[0], "--json"))
        self.assertEqual(rest["checkouts"][0]["order_id"], ids[1])
        text = self.stack.ctl("checkouts", "show", self.declined)
        self.assertIn("payment_declined", text)
        self.assertNotIn(self.ordered, self.stack.ctl("checkouts", "list", "--unfinished"))

    def test_a_finished_checkout_is_not_retried(self):
        done = self.stack.ctl("checkouts", "retry", self.ordered, check=False)
        self.assertEqual(done.returncode, 64 + 9)
        self.assertIn("is completed: it is finished", done.stderr)
        self.assertEqual(self.stack.ctl("checkouts", "retry", made_up(9),
                                        check=False).returncode, 64 + 5)

    def test_zz_a_retried_checkout_is_past_its_lease_and_then_taken_over(self):
        """Last: it kills the orchestrator, which looks for such checkouts when it starts."""
        shopper, name = self.stack.shopper(), fresh("cart")
        shopper.put_cart(name, [("cup", 1)])
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            shopper.order_until_final(name, name, "pm_card_unreachable")))
        thread.start()
        (order,), = wait_until(
            lambda: self.stack.sql("SELECT c.order_id FROM orders.checkouts c "
                                   "JOIN payment.charges p ON p.id = c.order_id "
                                   f"WHERE {KEY} = '{name}'"),
            10, "the charge is intended")
        self.assertIn(order, self.stack.ctl("checkouts", "list", "--unfinished"))
        self.assertIn("Its owner runs it, at charge",
                      json.loads(self.stack.ctl("explain", order, "--json"))["next"])
        self.expect_clean()

        self.stack.ctl("checkouts", "retry", order)
        self.expect_violations(("checkout.finished", order))
        self.assertIn("resumes it at charge",
                      json.loads(self.stack.ctl("explain", order, "--json"))["next"])

        self.stack.kill("orchestrator")
        thread.join(60)
        shopper.close()
        self.assertEqual([(a.status, a.code) for a in answers], [(409, "checkout_failed")])
        wait_until(lambda: self.stack.unfinished() == 0, 30, "the checkout is finished")
        self.expect_story(order, "failed", "orchestrator: claimed", "inventory: reserved",
                          "payment: charge of 2.50 EUR intended",
                          "orchestrator: an operator ended its lease",
                          "orchestrator: taken over by", "orchestrator: refused at attempt",
                          "provider: blocked", "payment: refunded before it was charged",
                          "inventory: reservation released",
                          "orchestrator: failed: checkout_failed")
        self.expect_clean()


if __name__ == "__main__":
    main()
