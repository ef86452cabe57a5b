"""What one key means across gateways, their restarts, and the end of its keeping."""
import json
import socket
import struct
import subprocess
import threading
import time
import uuid

from edge import Gateway, held_up, raw
from stack import BUILD, KEY, StackTest, check_sums, main, wait_until


def fresh():
    return str(uuid.uuid4())


def uuid7():
    """RFC 9562, 5.7."""
    bits = uuid.uuid4().int & ((1 << 80) - 1) | int(time.time() * 1000) << 80
    bits = bits & ~(0xf << 76) | 7 << 76
    return str(uuid.UUID(int=bits & ~(3 << 62) | 2 << 62))


def reset(connection):
    """Closes so that the other side sees the connection broken, and not just half closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Keys(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)

    def setUp(self):
        self.shopper = self.stack.shopper()
        self.addCleanup(self.shopper.close)

    def cart(self, lines=(("cup", 1),)):
        name = fresh()
        self.assertEqual(self.shopper.put_cart(name, lines).status, 201)
        return name

    def at(self, gateway):
        shopper = gateway.shopper(self.shopper.user, self.shopper.token)
        self.addCleanup(shopper.close)
        return shopper

    def same(self, first, again):
        self.assertEqual((again.status, again.body), (first.status, first.body))
        self.assertEqual(again.headers.get("location"), first.headers.get("location"))
        self.assertTrue(again.replayed)

    def test_an_answer_is_the_same_at_another_gateway_and_after_a_restart(self):
        cases = [("pm_card_visa", [("cup", 1)], 201, None),
                 ("pm_card_chargeDeclined", [("cup", 1)], 402, "payment_declined"),
                 ("pm_card_visa", [("cup", 9999)], 409, "out_of_stock")]
        with Gateway(self.stack, "second") as second:
            there = self.at(second)
            given = []
            for method, lines, status, code in cases:
                cart, key = self.cart(lines), fresh()
                first = self.expect(self.shopper.order(cart, key, method), status, code)
                self.assertFalse(first.replayed)
                given.append((cart, key, method, first))
                self.same(first, there.order(cart, key, method))
            second.stop()
            second.start()
            again = self.at(second)
            for cart, key, method, first in given:
                self.same(first, again.order(cart, key, method))

    def test_keys_of_every_form_name_the_same_request(self):
        body = {"payment_method_id": "pm_card_visa"}
        for key in (fresh(), uuid7(), "8-charac", "~" * 255, 'with"quote\\and'):
            body["cart_id"] = self.cart()
            quoted = '"%s"' % key.replace("\\", "\\\\").replace('"', '\\"')
            first = self.shopper.ask("POST", "/v1/orders", body, Idempotency_Key=key)
            self.expect(first, 201)
            self.same(first, self.shopper.ask("POST", "/v1/orders", body,
                                              Idempotency_Key=quoted))
            self.same(first, self.shopper.ask("POST", "/v1/orders",
                                              {**body, "idempotency_key": key}))
            self.expect(self.shopper.ask("POST", "/v1/orders",
                                         {**body, "idempotency_key": key},
                                         Idempotency_Key=key + "x"), 400, "invalid_argument")
        for key in ("7-chars", "~" * 256, "eight ch", '"12345678', "key-of-ümlaut".encode()):
            self.assertEqual(self.shopper.ask("POST", "/v1/orders", body, Idempotency_Key=key)
                             .status, 400)

    def test_what_is_not_final_is_asked_anew(self):
        """503 from a gateway that reaches nobody, 504, 429: the key is as good as before."""
        nowhere = f"ipc://{self.stack.state}/run/nowhere.sock"
        cart, key = self.cart(), fresh()
        with Gateway(self.stack, "alone", orchestrator_addresses=nowhere,
                     place_timeout_ms=200) as alone:
            self.expect(self.at(alone).order(cart, key), 503, "unavailable")
        with Gateway(self.stack, "strict", user_rate=1, user_burst=1) as strict:
            there = self.at(strict)
            while (answer := there.order(fresh(), fresh())).status != 429:
                pass
            limited = there.order(cart, key)
            while limited.status != 429:
                limited = there.order(cart, fresh())
            self.expect(limited, 429, "rate_limited")
        answer = self.expect(self.shopper.order_until_final(cart, key), 201)
        cart, key = self.cart(), fresh()
        with Gateway(self.stack, "hasty", place_timeout_ms=200) as hasty:
            there = self.at(hasty)
            unknown = self.expect(there.order(cart, key, "pm_card_late"), 504, "outcome_unknown")
            self.assertFalse(unknown.replayed)
        self.expect(self.shopper.order_until_final(cart, key, "pm_card_late"), 201)
        self.assertEqual(answer.status, 201)

    def test_one_key_at_two_gateways_at_once_is_one_order(self):
        with Gateway(self.stack, "second") as second:
            cart, key, answers = self.cart(), fresh(), []

            def ask(shopper):
                answers.append(shopper.order_until_final(cart, key, "pm_card_late"))

            threads = [threading.Thread(target=ask, args=(shopper,))
                       for shopper in (self.shopper, self.at(second))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            self.assertEqual([answer.status for answer in answers], [201, 201])
            self.assertEqual(answers[0].body, answers[1].body)
        self.assertEqual(self.stack.number(
            f"SELECT count(*) FROM orders.orders WHERE {KEY} = '{key}'"), 1)

    def test_a_draining_gateway_answers_what_runs(self):
        """SIGTERM in the middle of an order; __exit__ sees that the exit status is 0."""
        answers = []
        with Gateway(self.stack, "leaving") as leaving:
            there, cart, key = self.at(leaving), self.cart(), fresh()
            thread = threading.Thread(
                target=lambda: answers.append(there.order(cart, key, "pm_card_late")))
            thread.start()
            wait_until(lambda: self.stack.number(
                f"SELECT count(*) FROM orders.checkouts WHERE {KEY} = '{key}'"),
                10, "the order runs")
            leaving.stop()
            thread.join(30)
            with self.assertRaises(OSError):
                raw(leaving.port, b"GET /v1/products HTTP/1.1\r\nHost: a\r\n\r\n")
        self.expect(answers[0], 201)
        self.assertEqual(answers[0].headers["connection"], "close")

    # --- who leaves ---

    def metric(self, name, *labels):
        read = json.loads(self.stack.ctl(
            "call", "rpc.v1.Metrics/Read", json.dumps({"prefix": name}), "--service",
            "gateway", "--json"))
        return sum(int(metric.get("value", 0)) for metric in read.get("metrics", [])
                   if labels == tuple(label["value"] for label in metric.get("labels", [])))

    def left(self):
        """Calls that were cancelled because their client had left."""
        return self.metric("http_server_left")

    def in_flight(self):
        """Orders that the gateway has read and not answered."""
        return self.metric("http_server_in_flight", "place_order")

    def send_order(self, cart, key):
        """An order on a connection of its own, which is given back at once."""
        body = json.dumps({"cart_id": cart, "payment_method_id": "pm_card_visa"}).encode()
        connection = socket.create_connection(("127.0.0.1", self.stack.port), timeout=60)
        connection.sendall(
            f"POST /v1/orders HTTP/1.1\r\nHost: shop.test\r\nIdempotency-Key: {key}\r\n"
            f"Authorization: Bearer {self.shopper.token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return connection

    def begun(self, keys):
        names = ", ".join(f"'{key}'" for key in keys)
        return self.stack.number("SELECT count(*) FROM orders.checkouts "
                                 f"WHERE {KEY} IN ({names})")

    def is_one_order(self, key, answer):
        self.expect(answer, 201)
        self.assertEqual(self.stack.sql(
            f"SELECT id FROM orders.orders WHERE {KEY} = '{key}'"),
            [[answer.json["order_id"]]])
        self.assertEqual(self.stack.number(
            "SELECT count(*) FROM sandbox.charges WHERE status = 'captured' "
            f"AND idempotency_key LIKE '%{answer.json['order_id']}%'"), 1)

    def test_a_connection_that_breaks_before_anything_has_begun_begins_nothing(self):
        first, leave, stay = ({fresh(): self.cart() for _ in range(n)} for n in (1, 6, 2))
        before = self.left()
        with held_up(self.stack, "orders.checkouts") as waiting:
            connections = [self.send_order(cart, key) for key, cart in first.items()]
            wait_until(waiting, 30, "the writer waits for the lock")
            leavers = [self.send_order(cart, key) for key, cart in leave.items()]
            connections += [self.send_order(cart, key) for key, cart in stay.items()]
            wait_until(lambda: self.in_flight() == len(first) + len(leave) + len(stay), 30,
                       "the gateway has read them all")
            for leaver in leavers:
                reset(leaver)
            wait_until(lambda: self.left() == before + len(leave), 30, "they are cancelled")
        for connection in connections:
            self.assertIn(b" 201 ", connection.recv(4096))
            connection.close()
        self.assertEqual(self.begun(leave), 0)
        for key, cart in leave.items():
            self.is_one_order(key, self.shopper.order(cart, key))

    def test_a_connection_that_breaks_in_mid_order_leaves_exactly_one_order(self):
        """Whether it was the first to ask again or not: the order goes on to its end."""
        orders = {fresh(): self.cart() for _ in range(6)}
        before = self.left()
        with held_up(self.stack, "payment.charges"):
            connections = [self.send_order(cart, key) for key, cart in orders.items()]
            wait_until(lambda: self.begun(orders) == len(orders), 30, "all are in flight")
            for connection in connections:
                reset(connection)
            wait_until(lambda: self.left() == before + len(orders), 30, "they are cancelled")
        for n, (key, cart) in enumerate(orders.items()):
            if n == len(orders) // 2:  # from here on nobody has asked until all was over
                wait_until(lambda: self.stack.unfinished() == 0, 30, "the others end by themselves")
                self.assertEqual(self.stack.number(
                    f"SELECT count(*) FROM orders.orders WHERE {KEY} IN "
                    f"({', '.join(repr(key) for key in orders)})"), len(orders))
            self.is_one_order(key, self.shopper.order_until_final(cart, key))

    def test_zz_the_sums_come_out(self):
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        check_sums(self, self.stack)


class Retention(StackTest):
    environment = {"CHECKOUT_ORCHESTRATOR_KEYS_KEPT_MS": "1500",
                   "CHECKOUT_ORCHESTRATOR_KEYS_PRUNE_EVERY_MS": "50"}

    def test_keys_are_kept_for_seventy_two_hours_unless_told_otherwise(self):
        told = subprocess.run([BUILD / "bin" / "orchestrator", "--help"], capture_output=True,
                              text=True, check=True).stdout
        self.assertRegex(told, rf"keys_kept_ms .*\[{72 * 60 * 60 * 1000}\]")

    def test_a_key_that_is_no_longer_kept_frees_nothing_that_was_ordered(self):
        stack, shopper = self.stack, self.stack.shopper()
        stack.product("cup", 100, price_cents=250)
        cart, key, free, tried = fresh(), fresh(), fresh(), fresh()
        shopper.put_cart(cart, [("cup", 1)])
        shopper.put_cart(free, [("cup", 2)])
        placed = self.expect(shopper.order(cart, key), 201)
        self.expect(shopper.order(free, tried, "pm_card_chargeDeclined"), 402,
                    "payment_declined")
        wait_until(lambda: stack.number("SELECT count(*) FROM orders.checkouts") == 0, 30,
                   "both checkouts are pruned")
        with Gateway(stack, "forgetful") as gateway:  # one that remembers nothing itself
            there = gateway.shopper(shopper.user, shopper.token)
            self.assertEqual(
                self.expect(there.ask("GET", placed.headers["location"]), 200).body, placed.body)
            self.expect(there.order(cart, key), 422, "idempotency_key_reused")
            self.expect(there.order(cart, fresh()), 409, "cart_already_ordered")
            self.expect(there.put_cart(cart, [("cup", 5)]), 409, "cart_already_ordered")
            # A refused one is as if it had never been: key and cart serve again.
            self.expect(there.order(free, tried), 201)
            there.close()
        self.assertEqual(stack.number("SELECT count(*) FROM orders.orders"), 2)
        self.assertEqual(stack.stock("cup"), (97, 0, 3))
        stack.ctl("audit")  # fails when it finds anything
        self.assertEqual(stack.number("SELECT count(*) FROM sandbox.charges"
                                      " WHERE status = 'captured'"), 2)
        shopper.close()


if __name__ == "__main__":
    main()
