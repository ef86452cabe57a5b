"""Messages that come late or in the wrong order, and owners that wake up late."""
import concurrent.futures
import json
import random
import uuid

from chaos import ChaosStack, check_end
from shopping import Shopping, stock_up
from stack import KEY, StackTest, main, wait_until

ABORTED = 64 + 10        # checkoutctl's exit status for an RPC that answers ABORTED
EXPIRED = 64 + 9         # FAILED_PRECONDITION: reservation_expired
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RACERS, RACING = 10, 4   # reservations, and how many checkoutctl at once
ZOMBIES = 3              # times an orchestrator sleeps past its lease
USER = str(uuid.uuid4())
INVENTORY, PAYMENT = "inventory.v1.Inventory", "payment.v1.Payment"


def ulid():
    return "".join([random.choice("01234567"), *random.choices(LETTERS, k=25)])


class Late(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = ChaosStack(replicas=("orchestrator",),
                               CHECKOUT_INVENTORY_RESERVATION_TTL_MS="1500",
                               CHECKOUT_INVENTORY_REAP_EVERY_MS="20")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        stock_up(cls.stack, scarce=100_000)

    def tell(self, method, **message):
        """The exit status of checkoutctl, as operator."""
        return self.stack.ctl("call", method, json.dumps(message), check=False).returncode

    def reserve(self, order, sku="soak-0", quantity=1):
        return self.tell(f"{INVENTORY}/Reserve", reservation_id=order,
                         lines=[{"sku": sku, "quantity": quantity}])

    def settle(self, order, how):
        return self.tell(f"{INVENTORY}/{how}", reservation_id=order)

    def charge(self, order, method="pm_card_visa"):
        return self.tell(f"{PAYMENT}/Charge", charge_id=order, user_id=USER,
                         payment_method_id=method, amount_cents=1234, currency="EUR")

    def state(self, order):
        return self.stack.sql(
            f"SELECT state FROM inventory.reservations WHERE id = '{order}'")[0][0]

    # --- tombstones ---

    def test_a_reserve_after_its_release_is_refused_and_takes_no_stock(self):
        order, before = ulid(), self.stack.stock("soak-0")
        self.assertEqual(self.settle(order, "Release"), 0)
        self.assertEqual(self.reserve(order), ABORTED)
        self.assertEqual(self.reserve(order), ABORTED)
        self.assertEqual(self.settle(order, "Confirm"), ABORTED)
        self.assertEqual(self.settle(order, "Release"), 0)
        self.assertEqual(self.stack.stock("soak-0"), before)

    def test_a_charge_after_its_refund_is_refused_and_the_provider_charges_nothing(self):
        for method in ("pm_card_visa", "pm_card_chargeDeclined", "pm_card_timeout"):
            order = ulid()
            self.assertEqual(self.tell(f"{PAYMENT}/Refund", charge_id=order), 0)
            self.assertEqual(self.charge(order, method), ABORTED)
            self.assertEqual(self.charge(order, method), ABORTED)
            self.assertEqual(self.tell(f"{PAYMENT}/Refund", charge_id=order), 0)
            self.assertEqual(self.stack.sql(
                "SELECT state, amount_cents, refunded_cents FROM payment.charges "
                f"WHERE id = '{order}'"), [["refunded", "0", "0"]])
            self.assertEqual(self.stack.number(
                "SELECT count(*) FROM sandbox.charges WHERE status = 'captured' "
                f"AND idempotency_key LIKE '%{order}'"), 0)

    def test_a_charge_that_was_refunded_is_not_charged_again(self):
        order = ulid()
        self.assertEqual(self.charge(order), 0)
        for _ in range(2):
            self.assertEqual(self.tell(f"{PAYMENT}/Refund", charge_id=order), 0)
            self.assertEqual(self.charge(order), ABORTED)
        self.assertEqual(self.stack.sql(
            "SELECT status, refunded_cents FROM sandbox.charges "
            f"WHERE idempotency_key LIKE '%{order}'"), [["refunded", "1234"]])

    # --- expiry ---

    def race(self, hows, sku):
        """Each reservation is settled when it is just about to expire; what each was told."""
        dice = random.Random(sku)

        def one(how):
            order = ulid()
            self.assertEqual(self.reserve(order, sku, 2), 0)
            # In the last of its life, or the first after: the database's clock says when.
            left = dice.uniform(-0.15, 0.15)
            self.stack.sql(
                f"SELECT pg_sleep(greatest(0, {left} + extract(epoch FROM expires_at - now())))"
                f" FROM inventory.reservations WHERE id = '{order}'")
            return order, how, self.settle(order, how)
        with concurrent.futures.ThreadPoolExecutor(RACING) as pool:
            told = list(pool.map(one, hows))
        wait_until(lambda: self.stack.stock(sku)[1] == 0, 30, "nothing is held any more")
        return told

    def test_of_an_expiry_and_a_confirm_exactly_one_wins(self):
        self.stack.product("race-confirm", 1000)
        told = self.race(["Confirm"] * RACERS, "race-confirm")
        self.assertLessEqual({status for _, _, status in told}, {0, EXPIRED})
        for order, _, status in told:
            with self.subTest(order):
                self.assertEqual(self.state(order), "confirmed" if status == 0 else "expired")
        sold = 2 * sum(status == 0 for _, _, status in told)
        self.assertEqual(self.stack.stock("race-confirm"), (1000 - sold, 0, sold))
        # Given back, for what has no order: the books of the other tests are whole.
        for order, _, _ in told:
            self.assertEqual(self.settle(order, "Release"), 0)
        self.assertEqual(self.stack.stock("race-confirm"), (1000, 0, 0))

    def test_an_expiry_and_a_release_give_the_stock_back_once(self):
        self.stack.product("race-release", 1000)
        told = self.race(["Release"] * RACERS, "race-release")
        self.assertEqual({status for _, _, status in told}, {0})
        for order, _, _ in told:
            self.assertIn(self.state(order), ("released", "expired"))
            self.assertIn(self.settle(order, "Confirm"), (ABORTED, EXPIRED))
        self.assertEqual(self.stack.stock("race-release"), (1000, 0, 0))

    # --- what is being undone ---

    def test_a_cart_whose_refused_checkout_is_still_being_undone_can_be_ordered(self):
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        cart = str(uuid.uuid4())
        shopper.put_cart(cart, [("soak-1", 1)])
        self.expect(shopper.order(cart, cart, "pm_card_chargeDeclined"), 402,
                    "payment_declined")
        where = f"WHERE {KEY} = '{cart}'"
        self.stack.sql("UPDATE orders.checkouts SET state = 'aborting', finished_at = NULL,"
                       f" lease_until = now() + interval '1 hour' {where}")
        self.expect(shopper.put_cart(cart, [("soak-1", 2)]), 200)
        again = self.expect(shopper.order(cart, cart + "-again"), 201)
        self.stack.sql(f"UPDATE orders.checkouts SET lease_until = now() {where}")
        wait_until(lambda: self.stack.unfinished() == 0, 30, "the first is undone")
        self.expect(shopper.order(cart, cart, "pm_card_chargeDeclined"), 402,
                    "payment_declined")
        self.expect(shopper.order(cart, cart + "-third"), 409, "cart_already_ordered")
        type(self).placed = {cart + "-again": again}

    # --- zombies ---

    def test_z_an_owner_that_wakes_up_after_its_lease_doubles_nothing(self):
        shopping = Shopping(self.stack, clients=10, seed=1).start()
        for turn in range(ZOMBIES):
            name = ("orchestrator", "orchestrator-2")[turn % 2]
            before = self.take_overs()
            goal = shopping.acknowledged() + 20
            wait_until(lambda: shopping.acknowledged() >= goal or shopping.troubles, 60,
                       "orders are placed")
            self.stack.hurt("stop", name)
            wait_until(lambda: self.take_overs() > before or shopping.troubles, 60,
                       f"a checkout of {name} is taken over")
            wait_until(lambda: self.stack.unfinished() < 8, 60, "those are done")
            self.stack.wake(name)
        shopping.end()
        self.assertEqual(shopping.troubles, [])
        check_end(self, self.stack, {**shopping.answers, **getattr(self, "placed", {})})

    def take_overs(self):
        return self.stack.number("SELECT coalesce(sum(epoch - 1), 0) FROM orders.checkouts")


if __name__ == "__main__":
    main()
