"""What the services write into their logs: lines that a parser reads back, whatever came from
outside, and that name the request and the order on every step of its way.

That no line of a whole run is malformed, and that each which names an order names its request,
is checked when the stack stops (stack.py)."""
import json
import unittest
import uuid

import logs
from stack import StackTest, Stack, main, wait_until

WORDS = 'say "no" ts=forged level=error \\ end'  # of TRIGGER's, on one line
TRIGGER = """
    CREATE FUNCTION inventory.hurt() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF 'hurt' = ANY (NEW.skus) THEN
            RAISE EXCEPTION '%', 'say "no"' || chr(10) || 'ts=forged level=error \\ ' || chr(9) || ' end';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER hurt BEFORE INSERT ON inventory.reservations
        FOR EACH ROW EXECUTE FUNCTION inventory.hurt()"""


def order(test, shopper, sku, method="pm_card_visa"):
    cart = str(uuid.uuid4())
    test.expect(shopper.put_cart(cart, [(sku, 1)]), 201)
    return shopper.order(cart, cart, method)


class Logs(StackTest):
    environment = {"CHECKOUT_ORCHESTRATOR_GIVE_UP_MS": "500"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.stack.product("hurt", 1000, price_cents=250)
        cls.shopper = cls.stack.shopper()
        cls.addClassCleanup(cls.shopper.close)

    def lines(self, program, **wanted):
        """The lines of a program that have these pairs, as dictionaries."""
        found = [logs.parse(line.decode())
                 for line in logs.lines(self.stack.state / "log", program)]
        return [pairs for pairs in found if wanted.items() <= pairs.items()]

    def await_lines(self, program, **wanted):
        return wait_until(lambda: self.lines(program, **wanted), 30, f"{program}: {wanted}")

    def test_what_the_database_says_is_read_back_word_by_word(self):
        self.stack.sql(TRIGGER)
        answer = order(self, self.shopper, "hurt")
        self.expect(answer, 409, "checkout_failed")
        line = self.await_lines("inventory", event="database_error", message=WORDS)[0]
        self.assertEqual(line["request"], answer.headers["x-request-id"])
        self.assertRegex(line["order"], "^[0-9A-Z]{26}$")
        failed = self.await_lines("inventory", event="call_failed", order=line["order"])
        self.assertEqual(failed[0]["request"], answer.headers["x-request-id"])

    def test_what_shoppers_send_forges_nothing(self):
        for path in ("/v1/carts/a=b;level=error", "/v1/carts/%22%20level=error%0a", "/x='y'&z={}",
                     "/v1/orders?cursor=%22%0Als=1"):
            self.shopper.ask("GET", path)
        self.shopper.put_cart("c", [('cup"\nts=1 level=error x="', 1)])
        self.shopper.ask("POST", "/v1/orders", b'{"cart_id": "\\u0022 level=error"}')
        self.shopper.ask("GET", "/v1/orders", Authorization='Bearer "a b=c\\"')
        self.assertEqual(self.lines("gateway", level="error"), [])

    def test_every_line_of_an_order_names_it(self):
        answer = self.expect(order(self, self.shopper, "cup"), 201)
        request, name = answer.headers["x-request-id"], answer.json["order_id"]
        for program, least in (("gateway", 1), ("orchestrator", 2), ("inventory", 2),
                               ("payment", 1)):
            found = wait_until(lambda: len(lines := self.lines(program, request=request)) >= least
                               and lines, 30, f"{program} has {least} lines of {request}")
            self.assertEqual({line.get("order") for line in found}, {name}, (program, found))

    def test_so_does_every_line_of_one_that_is_refused(self):
        answer = self.expect(order(self, self.shopper, "cup", "pm_card_chargeDeclined"), 402,
                             "payment_declined")
        request = answer.headers["x-request-id"]
        name = self.await_lines("orchestrator", request=request,
                                event="checkout_finished")[0]["order"]
        for program in ("orchestrator", "inventory", "payment"):
            found = self.await_lines(program, request=request)
            self.assertEqual({line.get("order") for line in found}, {name}, (program, found))

    def test_reading_an_order_names_it_too(self):
        name = self.expect(order(self, self.shopper, "cup"), 201).json["order_id"]
        answer = self.shopper.ask("GET", f"/v1/orders/{name}")
        for program in ("gateway", "orchestrator"):
            found = self.await_lines(program, request=answer.headers["x-request-id"])
            self.assertEqual({line.get("order") for line in found}, {name}, program)


class Reader(unittest.TestCase):
    """What stack.py finds in the logs of every test."""

    def test_a_line_that_does_not_say_which_order_and_request_it_is_about_is_found(self):
        for pairs, said in (("event=call order=A", "order= without request="),
                            ("event=reservation_damaged reservation=A", "without order="),
                            ("event=charge_damaged request=R charge=A", "without order="),
                            ("event=delivery_failed event_id=A.1", "event_id= without order="),
                            ("event=call request=R order=A", ""),
                            ("event=delivery_failed order=A event_id=A.1", ""),
                            ("event=serving url=ipc:///x", "")):
            line = f"ts=2026-01-31T12:00:00.123Z level=info program=payment {pairs}"
            found = logs.wrong("payment.log", [line.encode()])
            self.assertEqual((len(found), said in "".join(found)), (bool(said), True), pairs)


class AsJson(StackTest):
    environment = {"CHECKOUT_LOG_FORMAT": "json"}

    def test_every_line_is_a_json_object_of_the_same_pairs(self):
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        self.stack.product("cup", 10, price_cents=250)
        answer = self.expect(order(self, shopper, "cup"), 201)
        for program in ("gateway", "orchestrator", "inventory", "payment"):
            found = [json.loads(line)
                     for line in logs.lines(self.stack.state / "log", program)]
            named = [line for line in found if line.get("order") == answer.json["order_id"]
                     and line["request"] == answer.headers["x-request-id"]]
            self.assertTrue(named, program)
            self.assertTrue(all(line["program"] == program for line in found), found)
        access = [line for line in found if line["event"] == "call"]
        self.assertIsInstance(access[-1]["us"], int)

    def test_another_format_is_refused_in_a_sentence(self):
        done = Stack.up(self.stack, CHECKOUT_LOG_FORMAT="xml")
        self.assertEqual(done.returncode, 2)
        self.assertIn('CHECKOUT_LOG_FORMAT is "xml"; write logfmt or json.', done.stderr)


if __name__ == "__main__":
    main()
