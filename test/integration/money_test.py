"""A refusal says what became of the money, and says only what is durable.

The money is taken (the reservation runs out while a slow card answers), and cannot be given
back while a trigger in payment's database stands in the way.
"""
import json
import uuid

from stack import StackTest, main, wait_until

NO_REFUND = """
    CREATE FUNCTION payment.no_refund() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refunds are away' USING ERRCODE = '53100'; END $$;
    GRANT EXECUTE ON FUNCTION payment.no_refund() TO PUBLIC;
    CREATE TRIGGER no_refund BEFORE UPDATE ON payment.charges FOR EACH ROW
        WHEN (NEW.state = 'refunding') EXECUTE FUNCTION payment.no_refund()"""
REFUND = "DROP TRIGGER no_refund ON payment.charges; DROP FUNCTION payment.no_refund()"
# The stock of whoever is charged has run out.
EXPIRE = """
    CREATE FUNCTION sandbox.expire() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
    BEGIN UPDATE inventory.reservations SET expires_at = now()
          WHERE 'chg_' || id = NEW.idempotency_key; RETURN NULL; END $$;
    GRANT EXECUTE ON FUNCTION sandbox.expire() TO PUBLIC;
    CREATE TRIGGER expire AFTER INSERT ON sandbox.charges
        FOR EACH ROW EXECUTE FUNCTION sandbox.expire()"""
NO_RELEASE = """
    CREATE FUNCTION inventory.no_release() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'releases are away' USING ERRCODE = '53100'; END $$;
    GRANT EXECUTE ON FUNCTION inventory.no_release() TO PUBLIC;
    CREATE TRIGGER no_release BEFORE UPDATE ON inventory.reservations FOR EACH ROW
        WHEN (NEW.state = 'released') EXECUTE FUNCTION inventory.no_release()"""
RELEASE = "DROP TRIGGER no_release ON inventory.reservations; DROP FUNCTION inventory.no_release()"


class Money(StackTest):
    environment = {"CHECKOUT_ORCHESTRATOR_LEASE_MS": "2000",
                   "CHECKOUT_ORCHESTRATOR_STEP_TIMEOUT_MS": "2500"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("mug", 1000)

    def setUp(self):
        self.shopper = self.stack.shopper()
        self.addCleanup(self.shopper.close)
        self.key = self.cart = "k-" + uuid.uuid4().hex
        self.expect(self.shopper.put_cart(self.cart, [("mug", 1)]), 201)

    def order_id(self):
        return self.stack.sql("SELECT order_id FROM orders.checkouts WHERE cart_id = "
                              f"'{self.cart}'")[0][0]

    def provider(self):
        """What the provider's books say of the order: (status, refunded cents)."""
        rows = self.stack.sql("SELECT status, refunded_cents FROM sandbox.charges WHERE "
                              f"idempotency_key = 'chg_{self.order_id()}'")
        return tuple(rows[0]) if rows else None

    def explained(self):
        return json.loads(self.stack.ctl("explain", self.order_id(), "--json"))["money"]

    def expire_while_charging(self):
        """The answer to an order whose stock ran out in the moment its card was charged."""
        self.stack.sql(EXPIRE)
        try:
            return self.expect(self.shopper.order(self.cart, self.key, "pm_card_late"), 409,
                               "reservation_expired")
        finally:
            self.stack.sql("DROP TRIGGER expire ON sandbox.charges;"
                           " DROP FUNCTION sandbox.expire()")

    def repeat(self):
        return self.expect(self.shopper.order(self.cart, self.key, "pm_card_late"), 409,
                           "reservation_expired")

    def without_money(self, answer):
        return {name: value for name, value in answer.json.items() if name != "money"}

    def test_money_that_is_taken_and_not_given_back_is_refund_pending(self):
        self.stack.sql(NO_REFUND)
        try:
            first = self.expire_while_charging()
            self.assertEqual(first.json["money"], "refund_pending")
            self.assertNotIn("nothing was charged", first.json["detail"])
            self.assertEqual(self.provider(), ("captured", "0"))
            again = self.repeat()
            self.assertTrue(again.replayed)
            self.assertEqual(again.json["money"], "refund_pending")
            self.assertEqual(self.explained(), "refund_pending")
            self.stack.kill("orchestrator")
            taken = self.shopper.until_final(
                lambda: self.shopper.order(self.cart, self.key, "pm_card_late"))
            self.assertEqual(taken.json, first.json)
        finally:
            self.stack.sql(REFUND)
        wait_until(lambda: self.repeat().json["money"] == "refunded", 60, "it is given back")
        self.assertEqual(self.provider(), ("refunded", "1000"))
        last = self.repeat()
        self.assertTrue(last.replayed)
        self.assertEqual(self.without_money(last), self.without_money(first))
        wait_until(lambda: self.stack.unfinished() == 0, 30, "it is undone")
        self.stack.kill("gateway") # and what it remembers
        self.stack.kill("orchestrator")
        replayed = self.shopper.until_final(
            lambda: self.shopper.order(self.cart, self.key, "pm_card_late"))
        self.assertEqual(replayed.body, last.body)
        self.assertEqual(self.explained(), "refunded")
        shown = self.stack.ctl("checkouts", "show", self.order_id())
        self.assertRegex(shown, r"money +refunded")

    def test_money_that_was_given_back_is_refunded_while_the_rest_is_undone(self):
        self.stack.sql("UPDATE inventory.products SET price_cents = 1000 WHERE sku = 'mug'")
        self.stack.sql(NO_RELEASE)
        try:
            self.stack.sql("CREATE FUNCTION inventory.no_confirm() RETURNS trigger LANGUAGE "
                           "plpgsql AS $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END"
                           " $$; GRANT EXECUTE ON FUNCTION inventory.no_confirm() TO PUBLIC;"
                           "CREATE TRIGGER no_confirm BEFORE UPDATE ON inventory.reservations "
                           "FOR EACH ROW WHEN (NEW.state = 'confirmed') "
                           "EXECUTE FUNCTION inventory.no_confirm()")
            answer = self.shopper.order_until_final(self.cart, self.key)
            self.expect(answer, 409, "checkout_failed")
            self.assertEqual(answer.json["money"], "refunded")
            self.assertEqual(self.provider(), ("refunded", "1000"))
            self.assertEqual(self.stack.unfinished(), 1)
        finally:
            self.stack.sql(RELEASE)
            self.stack.sql("DROP TRIGGER no_confirm ON inventory.reservations;"
                           "DROP FUNCTION inventory.no_confirm()")
        wait_until(lambda: self.stack.unfinished() == 0, 60, "it is undone")
        again = self.shopper.order(self.cart, self.key)
        self.assertEqual(again.body, answer.body)

    def test_nothing_was_taken(self):
        refused = self.expect(self.shopper.order(self.cart, self.key, "pm_card_chargeDeclined"),
                              402, "payment_declined")
        self.assertEqual(refused.json["money"], "none")
        self.assertEqual(self.provider(), ("declined", "0"))
        self.assertEqual(self.explained(), "none")

    def test_nothing_was_taken_by_a_card_that_never_answered(self):
        refused = self.shopper.order_until_final(self.cart, self.key, "pm_card_unreachable")
        self.expect(refused, 409, "checkout_failed")
        self.assertEqual(refused.json["money"], "none")
        self.assertEqual(self.provider(), ("voided", "0"))

    def test_the_stock_was_short(self):
        self.expect(self.shopper.put_cart(self.cart, [("mug", 5000)]), 200)
        refused = self.expect(self.shopper.order(self.cart, self.key), 409, "out_of_stock")
        self.assertEqual(refused.json["money"], "none")
        self.assertIsNone(self.provider())

    def test_a_refusal_from_before_money_was_kept_says_nothing_of_it(self):
        refused = self.expect(self.shopper.order(self.cart, self.key, "pm_card_chargeDeclined"),
                              402, "payment_declined")
        self.stack.sql("UPDATE orders.checkouts SET failure_money = NULL "
                       f"WHERE order_id = '{self.order_id()}'")
        self.stack.kill("gateway")
        old = self.shopper.until_final(
            lambda: self.shopper.order(self.cart, self.key, "pm_card_chargeDeclined"))
        self.assertEqual(old.json, self.without_money(refused))


if __name__ == "__main__":
    main()
