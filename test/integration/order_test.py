"""A click becomes an order, or nothing: what one shopper sees through HTTP."""
import base64
import json
import os
import signal
import threading
import urllib.parse
import uuid

from stack import KEY, StackTest, check_sums, main, wait_until


def fresh(prefix="t"):
    return f"{prefix}-{uuid.uuid4()}"


class Order(StackTest):
    # How long a shopper waits before the outcome is "not known yet", and how long a step
    # is repeated before the checkout is given up and undone.
    environment = {"CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS": "3000",
                   "CHECKOUT_ORCHESTRATOR_GIVE_UP_MS": "6000"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.stack.product("pot", 1000, price_cents=1999)
        cls.stack.product("last", 2, price_cents=5000)

    def setUp(self):
        self.shopper = self.stack.shopper()

    def tearDown(self):
        self.shopper.close()

    def cart(self, lines=(("cup", 1),), shopper=None):
        name = fresh("cart")
        answer = (shopper or self.shopper).put_cart(name, lines)
        self.assertIn(answer.status, (200, 201), repr(answer))
        return name

    def both(self, *asks):
        """Runs the calls at once, each with its own connection; their answers in order."""
        answers = [None] * len(asks)

        def run(n):
            answers[n] = asks[n]()

        threads = [threading.Thread(target=run, args=(n,)) for n in range(len(asks))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return answers

    def count(self, table, where):
        return self.stack.number(f"SELECT count(*) FROM {table} WHERE {where}")

    # --- placing ---

    def test_an_order_of_two_skus_is_created_with_the_right_total(self):
        key = fresh()
        answer = self.expect(self.shopper.order(
            self.cart([("cup", 3), ("pot", 1)]), key), 201)
        order = answer.json
        self.assertEqual(order["total_cents"], 3 * 250 + 1999)
        self.assertEqual((order["status"], order["currency"]), ("created", "EUR"))
        self.assertEqual(
            sorted((l["sku"], l["title"], l["quantity"], l["unit_price_cents"])
                   for l in order["lines"]),
            [("cup", "Test cup", 3, 250), ("pot", "Test pot", 1, 1999)])
        self.assertEqual(answer.headers["location"], "/v1/orders/" + order["order_id"])
        self.assertFalse(answer.replayed)
        self.assertIn(order["order_id"], self.stack.ctl("orders", "show", order["order_id"]))

    def test_lines_of_one_sku_are_summed(self):
        answer = self.expect(self.shopper.order(
            self.cart([("cup", 1), ("cup", 2)]), fresh()), 201)
        self.assertEqual(answer.json["total_cents"], 750)

    def test_the_same_request_again_gives_the_same_bytes_marked_replayed(self):
        cart, key = self.cart(), fresh()
        first = self.expect(self.shopper.order(cart, key), 201)
        again = self.expect(self.shopper.order(cart, key), 201)
        self.assertEqual(again.body, first.body)
        self.assertTrue(again.replayed)
        self.assertEqual(again.headers["location"], first.headers["location"])

    def test_two_requests_at_once_with_one_key_make_one_order(self):
        cart, key = self.cart(), fresh()
        other = self.stack.shopper(self.shopper.user, token=self.shopper.token)
        one, two = self.both(lambda: self.shopper.order(cart, key),
                             lambda: other.order(cart, key))
        other.close()
        self.expect(one, 201)
        self.expect(two, 201)
        self.assertEqual(one.body, two.body)
        self.assertEqual(sorted((one.replayed, two.replayed)), [False, True])
        self.assertEqual(self.count("orders.orders", f"{KEY} = '{key}'"), 1)

    def test_a_request_joins_the_one_that_still_runs_with_its_key(self):
        cart, key = self.cart(), fresh()
        other = self.stack.shopper(self.shopper.user, token=self.shopper.token)

        def join():
            wait_until(lambda: self.count("orders.checkouts", f"{KEY} = '{key}'"),
                       10, "the first request has claimed its key")
            return other.order(cart, key, method="pm_card_late")

        one, two = self.both(lambda: self.shopper.order(cart, key, method="pm_card_late"), join)
        other.close()
        self.expect(one, 201)
        self.expect(two, 201)
        self.assertEqual(one.body, two.body)

    # --- being refused ---

    def test_a_declined_card_is_402_and_the_stock_is_back(self):
        before = self.stack.stock("cup"), self.stack.stock("pot")
        for method, decline, advice in (
                ("pm_card_chargeDeclined", "card_declined", "another_payment_method"),
                ("pm_card_insufficientFunds", "insufficient_funds", "another_payment_method"),
                ("pm_card_processingError", "processing_error", "try_again_later"),
                ("pm_card_stolenCard", "generic_decline", "another_payment_method"),
                ("pm_of_nobody", "payment_method_unknown", "another_payment_method")):
            cart, key = self.cart([("cup", 5), ("pot", 2)]), fresh()
            first = self.expect(self.shopper.order(cart, key, method), 402, "payment_declined")
            self.assertFalse(first.json["retryable"])
            self.assertEqual((first.json["decline_code"], first.json["advice"]),
                             (decline, advice))
            self.assertNotIn(b"stolen", first.body)
            wait_until(lambda: (self.stack.stock("cup"), self.stack.stock("pot")) == before,
                       30, "the stock is back")
            again = self.expect(self.shopper.order(cart, key, method), 402, "payment_declined")
            self.assertEqual(again.body, first.body)
            self.assertTrue(again.replayed)
            # The cart is free again: a new key and a good card place it.
            self.expect(self.shopper.order(cart, fresh()), 201)
            before = self.stack.stock("cup"), self.stack.stock("pot")

    def test_too_many_is_409_naming_the_sku_and_nothing_else_is_deducted(self):
        before = self.stack.stock("cup")
        answer = self.expect(self.shopper.order(
            self.cart([("cup", 1), ("last", 3)]), fresh()), 409, "out_of_stock")
        self.assertEqual(answer.json["skus"], ["last"])
        self.assertEqual(self.stack.stock("cup"), before)
        self.assertEqual(self.stack.stock("last"), (2, 0, 0))

    def test_an_unknown_sku_is_refused_by_name(self):
        answer = self.shopper.put_cart(fresh("cart"), [("no-such-thing", 1)])
        if answer.status < 400:
            answer = self.shopper.order(self.cart([("no-such-thing", 1)]), fresh())
        self.expect(answer, 422, "unknown_sku")
        self.assertEqual(answer.json["skus"], ["no-such-thing"])

    def test_another_total_than_expected_is_refused(self):
        cart = self.cart([("cup", 2)])
        self.expect(self.shopper.order(cart, fresh(), expected_total_cents=499), 409,
                    "price_changed")
        self.expect(self.shopper.order(cart, fresh(), expected_total_cents=500,
                                       expected_currency="GBP"), 409, "price_changed")
        self.expect(self.shopper.order(cart, fresh(), expected_currency="GBP"), 409,
                    "price_changed")
        for odd in ("eur", "EURO", "", 978):
            self.expect(self.shopper.order(cart, fresh(), expected_currency=odd), 400,
                        "invalid_argument")
        self.expect(self.shopper.order(cart, fresh(), expected_total_cents=500,
                                       expected_currency="EUR"), 201)

    def test_a_cart_holds_so_many_of_a_sku_in_all_its_lines(self):
        lines = [("cup", 6000), ("pot", 10000), ("cup", 4000)]
        self.cart(lines)
        more = [*lines, ("cup", 1)]
        answer = self.expect(self.shopper.put_cart(fresh("cart"), more), 400,
                             "invalid_argument")
        self.assertIn("lines[3]: quantity", answer.json["detail"])
        # The service refuses it too, whoever asks.
        done = self.stack.ctl("call", "orders.v1.Orders/PutCart", json.dumps(
            {"user_id": self.shopper.user, "cart": {"cart_id": fresh("cart"), "lines": [
                {"sku": sku, "quantity": quantity} for sku, quantity in more]}}), check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"INVALID_ARGUMENT.*lines\[3\]\.quantity.*cup.*10000")

    def test_what_one_service_lets_in_none_of_the_others_refuses(self):
        """The largest price times the largest quantity is a total like any other."""
        self.stack.product("diamond", 10000, price_cents=1000000000)
        total = 10000 * 1000000000
        placed = self.expect(self.shopper.order(
            self.cart([("diamond", 10000)]), fresh(), expected_total_cents=total), 201)
        self.assertEqual(placed.json["total_cents"], total)

    # --- one key, one order ---

    def test_a_key_with_another_body_is_422_and_tells_nothing(self):
        key = fresh()
        first = self.expect(self.shopper.order(self.cart(), key), 201)
        answer = self.expect(self.shopper.order(self.cart(), key), 422,
                             "idempotency_key_reused")
        self.assertNotIn(first.json["order_id"].encode(), answer.body)

    def test_two_users_may_choose_the_same_key_and_neither_learns_of_the_other(self):
        cart, key = self.cart(), fresh()
        other = self.stack.shopper()
        self.addCleanup(other.close)
        other.put_cart(cart, [("cup", 2)])
        first = self.expect(self.shopper.order(cart, key), 201)
        found = other.ask("GET", f"/v1/orders?idempotency_key={key}")
        self.assertEqual(self.expect(found, 200).json, {"orders": [], "next_cursor": None})
        second = self.expect(other.order(cart, key), 201)
        self.assertFalse(second.replayed)
        self.assertNotEqual(first.json["order_id"], second.json["order_id"])
        for shopper, placed in ((self.shopper, first), (other, second)):
            again = self.expect(shopper.order(cart, key), 201)
            self.assertTrue(again.replayed)
            self.assertEqual(again.body, placed.body)
            self.expect(shopper.order(self.cart(shopper=shopper), key), 422,
                        "idempotency_key_reused")
            order = json.loads(self.stack.ctl("explain", placed.json["order_id"], "--json"))
            self.assertIn(key, json.dumps(order))
            self.assertNotIn(f"{shopper.user} {key}", json.dumps(order))

    def test_an_order_is_found_by_its_key(self):
        cart, key = self.cart(), 'k-%2F&="\\+~' + fresh()
        path = "/v1/orders?idempotency_key=" + urllib.parse.quote(key, safe="")
        nothing = {"orders": [], "next_cursor": None}
        self.assertEqual(self.expect(self.shopper.ask("GET", path), 200).json, nothing)
        placed = self.expect(self.shopper.order(cart, key), 201)
        self.assertEqual(self.expect(self.shopper.ask("GET", path), 200).json,
                         {"orders": [placed.json], "next_cursor": None})
        for odd in ("short", "x" * 256, "eight%20ch", "eight%00ch", "eight-c%2", "eight-c%zz",
                    "a-good-key&limit=1"):
            self.expect(self.shopper.ask("GET", "/v1/orders?idempotency_key=" + odd), 400,
                        "invalid_argument")
        self.expect(self.shopper.ask("GET", "/v1/orders?limit=1&idempotency_key=a-good-key"),
                    400, "invalid_argument")

    def test_a_cursor_is_of_the_user_it_was_given_to(self):
        for _ in range(2):
            self.expect(self.shopper.order(self.cart(), fresh()), 201)
        cursor = self.shopper.ask("GET", "/v1/orders?limit=1").json["next_cursor"]
        self.expect(self.shopper.ask("GET", f"/v1/orders?cursor={cursor}"), 200)
        self.stack.kill("orchestrator")
        self.expect(self.shopper.until_final(
            lambda: self.shopper.ask("GET", f"/v1/orders?cursor={cursor}")), 200)
        other = self.stack.shopper()
        self.addCleanup(other.close)
        bare = base64.urlsafe_b64encode(b"1767225600000000.01KDVDNM00ZZZZZZZZZZZZZZZZ")
        for forged in (cursor[:-1], cursor[:-1] + ("A" if cursor[-1] != "A" else "E"),
                       bare.decode().rstrip("=")):
            self.expect(self.shopper.ask("GET", f"/v1/orders?cursor={forged}"), 400,
                        "invalid_argument")
        self.expect(other.ask("GET", f"/v1/orders?cursor={cursor}"), 400, "invalid_argument")

    def test_a_cart_is_ordered_once_whatever_the_key(self):
        cart = self.cart()
        placed = self.expect(self.shopper.order(cart, fresh()), 201)
        for again in (self.shopper.order(cart, fresh()), self.shopper.put_cart(cart, [])):
            self.expect(again, 409, "cart_already_ordered")
            self.assertEqual(again.json["order_id"], placed.json["order_id"])
        self.assertEqual(self.count("orders.orders", f"cart_id = '{cart}'"), 1)

    def test_a_card_that_answers_too_late_is_504_and_the_same_key_finds_out(self):
        cart, key = self.cart(), fresh()
        first = self.expect(self.shopper.order(cart, key, "pm_card_unreachable"), 504,
                            "outcome_unknown")
        self.assertTrue(first.json["retryable"])
        final = self.shopper.order_until_final(cart, key, "pm_card_unreachable", 90)
        self.assertEqual((final.status, final.code), (409, "checkout_failed"), repr(final))

    def test_an_answer_that_got_lost_is_asked_again_and_charged_once(self):
        for method in ("pm_card_timeout", "pm_card_failOnce"):
            cart, key = self.cart([("cup", 1)]), fresh()
            answer = self.expect(self.shopper.order_until_final(cart, key, method), 201)
            self.assertEqual(self.count(
                "sandbox.charges", f"idempotency_key LIKE '%{answer.json['order_id']}%' "
                "AND status = 'captured'"), 1)

    # --- reading ---

    def test_an_order_is_shown_to_its_user_alone(self):
        placed = self.expect(self.shopper.order(self.cart(), fresh()), 201).json
        path = "/v1/orders/" + placed["order_id"]
        self.assertEqual(self.expect(self.shopper.ask("GET", path), 200).json["order_id"],
                         placed["order_id"])
        other = self.stack.shopper()
        self.expect(other.ask("GET", path), 404, "not_found")
        other.close()

    def test_orders_are_listed_newest_first_in_pages(self):
        placed = [self.expect(self.shopper.order(self.cart(), fresh()), 201).json["order_id"]
                  for _ in range(3)]
        page = self.expect(self.shopper.ask("GET", "/v1/orders?limit=2"), 200).json
        rest = self.expect(self.shopper.ask(
            "GET", f"/v1/orders?limit=2&cursor={page['next_cursor']}"), 200).json
        self.assertEqual([o["order_id"] for o in page["orders"] + rest["orders"]], placed[::-1])

    def test_products_are_public_and_carts_are_not(self):
        nobody = self.stack.anonymous()
        nobody.token = None
        products = {p["sku"]: p for p in
                    self.expect(nobody.ask("GET", "/v1/products"), 200).json["products"]}
        self.assertEqual((products["pot"]["price_cents"], products["pot"]["currency"]),
                         (1999, "EUR"))
        self.expect(nobody.ask("GET", "/v1/carts/x"), 401, "unauthenticated")
        self.expect(nobody.order("x", fresh()), 401, "unauthenticated")
        nobody.close()

    def test_a_cart_is_read_back_and_replaced(self):
        cart = fresh("cart")
        self.expect(self.shopper.put_cart(cart, [("cup", 1)]), 201)
        self.expect(self.shopper.put_cart(cart, [("pot", 2)]), 200)
        lines = self.expect(self.shopper.ask("GET", f"/v1/carts/{cart}"), 200).json["lines"]
        self.assertEqual([(line["sku"], line["quantity"]) for line in lines], [("pot", 2)])

    def test_a_cart_shows_titles_and_prices_as_they_are_now(self):
        self.stack.product("moving", 7, price_cents=100)
        cart = fresh("cart")
        put = self.expect(self.shopper.put_cart(cart, [("moving", 3), ("cup", 1)]), 201).json
        self.assertEqual(put["lines"][0], {
            "sku": "moving", "quantity": 3, "known": True, "title": "Test moving",
            "unit_price_cents": 100, "currency": "EUR", "available": 7})
        self.assertEqual((put["total_cents"], put["currency"]), (3 * 100 + 250, "EUR"))
        self.assertEqual(self.shopper.ask("GET", f"/v1/carts/{cart}").json, put)

        self.stack.product("moving", 0, price_cents=120)
        now = self.shopper.ask("GET", f"/v1/carts/{cart}").json
        self.assertEqual(now["lines"][0]["unit_price_cents"], 120)
        self.assertEqual(now["total_cents"], 3 * 120 + 250)
        # What it showed is what is charged.
        placed = self.expect(self.shopper.order(
            cart, fresh(), expected_total_cents=now["total_cents"]), 201).json
        self.assertEqual(placed["total_cents"], now["total_cents"])

    def test_a_line_of_no_product_is_told_and_there_is_no_total(self):
        self.stack.product("dollar", 1, price_cents=1, currency="USD")
        cart = fresh("cart")
        answer = self.shopper.put_cart(cart, [("cup", 1), ("no-such", 2)]).json
        self.assertEqual(answer["lines"][1], {"sku": "no-such", "quantity": 2, "known": False})
        self.assertNotIn("total_cents", answer)
        answer = self.shopper.put_cart(cart, [("cup", 1), ("dollar", 1)]).json
        self.assertEqual([line["currency"] for line in answer["lines"]], ["EUR", "USD"])
        self.assertNotIn("total_cents", answer)

    def test_a_cart_is_answered_without_prices_while_the_inventory_stands_still(self):
        cart = fresh("cart")
        os.kill(pid := self.stack.pid("inventory"), signal.SIGSTOP)
        try:
            for answer in (self.expect(self.shopper.put_cart(cart, [("cup", 2)]), 201),
                           self.expect(self.shopper.ask("GET", f"/v1/carts/{cart}"), 200)):
                self.assertEqual(answer.json, {
                    "cart_id": cart, "etag": answer.headers["etag"],
                    "lines": [{"sku": "cup", "quantity": 2}]})
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: "total_cents" in self.shopper.ask("GET", f"/v1/carts/{cart}").json,
                   60, "the prices are there again")

    # --- titles ---

    def test_an_order_keeps_the_titles_it_was_sold_under(self):
        title = 'Café \\ "größte" 🍵'
        self.stack.product("odd", 10)
        put = dict(sku="odd", price_cents=1000, currency="EUR")
        self.stack.call("inventory.v1.Inventory/PutProduct", title=title, **put)
        key, cart = fresh(), self.cart([("odd", 1)])
        placed = self.expect(self.shopper.order(cart, key), 201)
        self.stack.call("inventory.v1.Inventory/PutProduct", title="Renamed", **put)
        path = placed.headers["location"]
        for order in (placed.json, self.shopper.ask("GET", path).json,
                      self.shopper.ask("GET", "/v1/orders").json["orders"][0],
                      self.shopper.order(cart, key).json):
            self.assertEqual([line["title"] for line in order["lines"]], [title])
        self.assertEqual(self.stack.sql(
            "SELECT payload->'lines'->0->>'title' FROM orders.outbox "
            f"WHERE order_id = '{placed.json['order_id']}'"), [[title]])
        self.assertIn(title, self.stack.ctl("orders", "show", placed.json["order_id"]))

    def test_an_order_from_before_titles_were_kept_has_none(self):
        placed = self.expect(self.shopper.order(self.cart(), fresh()), 201)
        self.stack.sql("UPDATE orders.orders SET lines = jsonb_build_array((lines->0) - 'title') "
                       f"WHERE id = '{placed.json['order_id']}'")
        line, = self.expect(self.shopper.ask("GET", placed.headers["location"]), 200).json["lines"]
        self.assertEqual(line, {"sku": "cup", "quantity": 1, "unit_price_cents": 250})

    def test_a_page_of_the_largest_orders_there_can_be_is_cut_not_refused(self):
        """A hundred of them are 3 MB, and a message may have one."""
        placed = self.expect(self.shopper.order(self.cart(), fresh()), 201).json
        self.stack.sql(f"""
            INSERT INTO orders.orders SELECT lpad(n::text, 26, '0'), user_id, total_cents, status,
                'large-' || n || '-{placed['order_id']}', created_at - n * interval '1 s',
                currency, cart_id, reservation_id, charge_id, (SELECT jsonb_agg(
                    jsonb_build_object('sku', lpad(i::text, 64, 'x'), 'quantity', 10000,
                        'unit_price_cents', 1000000000, 'title', repeat('"', 200)))
                    FROM generate_series(1, 100) i)
            FROM orders.orders, generate_series(1, 100) n WHERE id = '{placed['order_id']}'""")
        try:
            found, cursor, pages = [], "", 0
            while cursor is not None:
                page = self.expect(self.shopper.ask(
                    "GET", "/v1/orders?limit=100" + (cursor and f"&cursor={cursor}")), 200).json
                found += [order["order_id"] for order in page["orders"]]
                cursor, pages = page["next_cursor"], pages + 1
            self.assertEqual(found, [placed["order_id"]] + [f"{n:026}" for n in range(1, 101)])
            self.assertGreater(pages, 2)
        finally:
            self.stack.sql("DELETE FROM orders.orders WHERE idempotency_key LIKE "
                           f"'large-%-{placed['order_id']}'")

    # --- products ---

    def products(self, **filters):
        """All that fit, page by page, by whoever asks."""
        found, cursor = [], None
        while True:
            query = urllib.parse.urlencode(
                {**filters, **({"cursor": cursor} if cursor else {})})
            page = self.expect(self.shopper.ask("GET", f"/v1/products?{query}"), 200).json
            found += page["products"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def test_1500_products_are_all_found_by_paging_and_by_a_text(self):
        self.stack.sql("""
            INSERT INTO inventory.products SELECT 'many-' || lpad(n::text, 4, '0'),
                'Größe ' || n, 100, 'EUR' FROM generate_series(1, 1500) n;
            INSERT INTO inventory.stock (sku) SELECT sku FROM inventory.products
                WHERE sku LIKE 'many-%'""")
        try:
            named = [f"many-{n:04}" for n in range(1, 1501)]
            for limit in ({}, {"limit": 1000}, {"limit": 37}):
                skus = [product["sku"] for product in self.products(**limit)]
                self.assertEqual([sku for sku in skus if sku.startswith("many-")], named)
                self.assertLessEqual({"cup", "pot", "last"}, set(skus))
            self.assertEqual([p["sku"] for p in self.products(q="MANY-0")], named[:999])
            self.assertEqual([p["sku"] for p in self.products(q="GRÖSSE 15")], [])
            self.assertEqual([p["title"] for p in self.products(q="grÖße 150")],
                             ["Größe 150", "Größe 1500"])
            self.assertEqual([p["sku"] for p in self.products(sku="pot,many-0007,no-such")],
                             ["many-0007", "pot"])
            self.assertEqual([p["sku"] for p in self.products(sku="pot,many-0007", q="größe")],
                             ["many-0007"])
            listed = self.stack.ctl("products", "list", "--query", "GRÖßE 1500")
            self.assertIn("many-1500", listed)
        finally:
            self.stack.sql("DELETE FROM inventory.stock WHERE sku LIKE 'many-%';"
                           "DELETE FROM inventory.products WHERE sku LIKE 'many-%'")

    def test_one_product_is_read_or_not_found(self):
        product = self.expect(self.shopper.ask("GET", "/v1/products/pot"), 200).json
        self.assertEqual((product["sku"], product["title"], product["price_cents"]),
                         ("pot", "Test pot", 1999))
        self.expect(self.shopper.ask("GET", "/v1/products/no-such"), 404, "not_found")
        self.expect(self.shopper.ask("GET", "/v1/products/a%20b"), 404, "not_found")

    def test_a_request_without_a_key_is_400(self):
        answer = self.shopper.ask("POST", "/v1/orders",
                                  {"cart_id": self.cart(), "payment_method_id": "pm_card_visa"})
        self.assertEqual(answer.status, 400, repr(answer))
        self.assertEqual(answer.headers["content-type"], "application/problem+json")

    # --- after all of it (unittest runs tests by name) ---

    def test_zz_the_sums_come_out(self):
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        wait_until(lambda: self.stack.number(
            "SELECT count(*) FROM inventory.reservations WHERE state = 'held'") == 0,
            60, "nothing is held")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
