"""nginx and HAProxy, as deploy/ has them, in front of two gateways."""
import contextlib
import http.client
import json
import socket
import threading
import uuid

from edge import Gateway
from proxies import Haproxy, Nginx, TlsShopper, self_signed
from stack import KEY, StackTest, check_sums, main, wait_until

CLIENTS, ORDERS_EACH = 4, 6


def fresh():
    return str(uuid.uuid4())


class Proxies(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 100000, price_cents=250)
        cls.certificate, cls.key, cls.both = self_signed(cls.stack)

    def proxied(self, kind):
        """A proxy of that kind and its two gateways."""
        gateways = [Gateway(self.stack, f"{kind.name}-{n}").start() for n in (1, 2)]
        for gateway in gateways:
            self.addCleanup(gateway.stop)
        proxy = kind(self, gateways)
        self.addCleanup(proxy.stop)
        return proxy, gateways

    def shopper(self, proxy, *more):
        shopper = TlsShopper(self.stack, proxy, *more)
        self.addCleanup(shopper.close)
        return shopper

    def check(self, kind):
        proxy, gateways = self.proxied(kind)
        self.passes_what_the_gateway_says(proxy)
        self.refuses_doubtful_framing(proxy, gateways)
        self.a_repeat_after_a_gateway_died_finds_the_same_order(proxy, gateways)
        self.no_order_is_lost_or_made_twice(proxy, gateways)
        for gateway in gateways:
            gateway.kill()
        nobody = wait_until(lambda: (a := self.shopper(proxy).order(fresh(), fresh()))
                            .status >= 500 and a, 30, "nobody answers")
        self.assertEqual(nobody.headers["content-type"], "application/problem+json")
        self.assertTrue(nobody.json["retryable"])
        self.assertEqual(nobody.json["status"], nobody.status)
        self.assertEqual(nobody.headers["retry-after"], "1")

    def passes_what_the_gateway_says(self, proxy):
        shopper = self.shopper(proxy)
        cart = fresh()
        self.assertEqual(shopper.put_cart(cart, [("cup", 1)]).status, 201)
        first = self.expect(shopper.order(cart, cart), 201)
        self.assertEqual(first.headers["strict-transport-security"], "max-age=31536000")
        for _ in range(4):  # whichever gateway it comes to
            again = self.expect(shopper.order(cart, cart), 201)
            self.assertEqual(again.body, first.body)
            self.assertTrue(again.replayed)
        self.expect(shopper.ask("PUT", "/v1/carts/c", b" " * 70000), 413, "payload_too_large")
        self.expect(shopper.ask("GET", "//v1/products"), 404, "not_found")
        self.expect(shopper.ask("GET", "/v1/orders?limit=x"), 400, "invalid_argument")
        # The browser's Host arrives, so the session cookie counts on our own page, and only there.
        token, shopper.token = shopper.token, None
        body = json.dumps({"cart_id": cart, "payment_method_id": "pm_card_visa"}).encode()
        for origin, status in ((f"https://localhost:{proxy.port}", 201),
                               ("https://evil.example", 403)):
            answer = shopper.ask("POST", "/v1/orders", body, Idempotency_Key=cart,
                                 Cookie=f"session={token}", Origin=origin)
            self.assertEqual(answer.status, status, repr(answer))

    def refuses_doubtful_framing(self, proxy, gateways):
        """And nothing of such a request comes through as another one."""
        smuggled = b"GET /v1/carts/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        head = b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\n"
        for doubt in (head + b"X: y\0\n\r\n", head + b"\0\n\r\n", head + b"\0X: y\r\n\r\n",
                      head + b"X: y\r\0\r\n",
                      head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
                      head + b"Content-Length: +5\r\n\r\n",
                      head + b"Content-Length : 5\r\n\r\n",
                      head + b"Transfer-Encoding: xchunked\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as plain, \
                    proxy.context.wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(doubt + smuggled)
                answers = b""
                with contextlib.suppress(ConnectionResetError):
                    while piece := connection.recv(65536):
                        answers += piece
            self.assertRegex(answers, rb"^HTTP/1\.1 (400|501) ", doubt)
            self.assertEqual(answers.count(b"HTTP/1.1 "), 1, doubt)
        for gateway in gateways:
            self.assertNotIn("smuggled", gateway.log())

    def a_repeat_after_a_gateway_died_finds_the_same_order(self, proxy, gateways):
        """It dies before the first byte of its answer; then there is none, or the proxy's own."""
        shopper, key, heard = self.shopper(proxy), fresh(), []
        self.expect(shopper.put_cart(key, [("cup", 1)]), 201)

        def ask():
            try:
                heard.append(shopper.order(key, key, "pm_card_late").status)
            except (OSError, http.client.HTTPException) as nothing:
                heard.append(type(nothing))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: self.stack.number(
            f"SELECT count(*) FROM orders.checkouts WHERE cart_id = '{key}'"), 30, "it runs")
        for gateway in gateways:
            gateway.kill()
        asking.join(60)
        [said] = heard  # nginx says 502 or 504; HAProxy closes without a byte
        self.assertIn(said, (502, 503, 504, http.client.RemoteDisconnected))
        for gateway in gateways:
            gateway.again()
        answer = shopper.order_until_final(key, key, "pm_card_late")
        self.expect(answer, 201)
        self.assertEqual(self.stack.sql(f"SELECT id FROM orders.orders WHERE cart_id = '{key}'"),
                         [[answer.json["order_id"]]])
        self.assertEqual(self.stack.number(
            "SELECT count(*) FROM sandbox.charges s JOIN orders.checkouts c"
            f" ON s.idempotency_key = 'chg_' || c.order_id WHERE c.cart_id = '{key}'"), 1)

    def no_order_is_lost_or_made_twice(self, proxy, gateways):
        """One gateway is killed in the middle of it, and comes back; the other one drains."""
        keys, troubles = [], []
        begun = threading.Barrier(CLIENTS + 1)

        def client():
            try:
                shopper = TlsShopper(self.stack, proxy)
                begun.wait(30)
                for _ in range(ORDERS_EACH):
                    key = fresh()
                    shopper.until_final(lambda: shopper.put_cart(key, [("cup", 1)]))
                    answer = shopper.order_until_final(key, key)
                    self.assertEqual(answer.status, 201, repr(answer))
                    keys.append(key)
                shopper.close()
            except BaseException as trouble:  # the test must see it
                troubles.append(repr(trouble))

        def some_are_placed(more):
            count = len(keys) + more
            wait_until(lambda: len(keys) >= min(count, CLIENTS * ORDERS_EACH) or troubles, 60,
                       "orders are placed")

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        begun.wait(30)
        some_are_placed(2)
        gateways[0].kill()
        some_are_placed(4)
        gateways[0].again()
        some_are_placed(4)
        gateways[1].stop()
        for thread in threads:
            thread.join(120)
        self.assertEqual(troubles, [])
        self.assertEqual(len(keys), CLIENTS * ORDERS_EACH)
        orders = self.stack.sql(f"SELECT {KEY} FROM orders.orders")
        self.assertLessEqual(set(keys), {row[0] for row in orders})

    def test_nginx(self):
        self.check(Nginx)

    def test_haproxy(self):
        self.check(Haproxy)

    def test_zz_the_sums_come_out(self):
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
