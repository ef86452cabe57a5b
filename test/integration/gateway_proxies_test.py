"""nginx and HAProxy, as deploy/ has them, in front of two gateways."""
import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import threading
import uuid

from edge import Gateway
from stack import KEY, REPO, Shopper, StackTest, check_sums, free_port, main, wait_until

CLIENTS, ORDERS_EACH = 4, 6


def fresh():
    return str(uuid.uuid4())


class TlsShopper(Shopper):
    """A shopper who comes by https."""

    def __init__(self, stack, proxy, *more):
        super().__init__(stack, *more)
        self.proxy = proxy

    def ask(self, *request, **headers):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                "localhost", self.proxy.port, timeout=30, context=self.proxy.context)
        return super().ask(*request, **headers)


class Proxy:
    """A proxy with the configuration of deploy/, its addresses and paths replaced."""

    def __init__(self, test, gateways):
        self.test, self.gateways = test, gateways
        self.port = free_port()
        self.folder = test.stack.state / f"{self.name}"
        self.folder.mkdir(mode=0o755, exist_ok=True)
        self.context = ssl.create_default_context(cafile=test.certificate)
        text = (REPO / self.source).read_text()
        for old, new in self.replacements():
            test.assertIn(old, text, f"{self.source} has become another")
            text = text.replace(old, new)
        self.conf = self.folder / "proxy.conf"
        self.conf.write_text(text)
        with open(test.stack.state / "log" / f"{self.name}.log", "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.command()], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        wait_until(self.accepts, 30, f"{self.name} accepts connections")

    def replacements(self):
        return [(f"127.0.0.1:{port}", f"127.0.0.1:{gateway.port}")
                for port, gateway in zip((8081, 8082), self.gateways)]

    def accepts(self):
        if self.process.poll() is not None:
            raise AssertionError(self.test.stack.log(self.name))
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Nginx(Proxy):
    name, source = "nginx", "deploy/nginx/checkout.conf"

    def replacements(self):
        return [*super().replacements(), ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
                ("/etc/ssl/certs/checkout.pem", str(self.test.certificate)),
                ("/etc/ssl/private/checkout.key", str(self.test.key))]

    def command(self):
        frame = self.folder / "nginx.conf"
        places = "".join(f"{name}_temp_path {self.folder}/{name};"
                         for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        frame.write_text(f"daemon off; pid {self.folder}/pid; error_log stderr; events {{}}"
                         f"http {{ access_log off; {places} include {self.conf}; }}")
        return ["/usr/sbin/nginx", "-p", str(self.folder), "-c", str(frame), "-e", "stderr"]


class Haproxy(Proxy):
    name, source = "haproxy", "deploy/haproxy/haproxy.cfg"

    def replacements(self):
        return [*super().replacements(), ("bind :443", f"bind 127.0.0.1:{self.port}"),
                ("/etc/ssl/private/checkout-with-key.pem", str(self.test.both))]

    def command(self):
        return ["/usr/sbin/haproxy", "-db", "-f", str(self.conf)]


class Proxies(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 100000, price_cents=250)
        cls.certificate, cls.key, cls.both = (
            cls.stack.base / name for name in ("shop.pem", "shop.key", "both.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", cls.key, "-out",
             cls.certificate], check=True, capture_output=True)
        cls.both.write_bytes(cls.certificate.read_bytes() + cls.key.read_bytes())

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
        port = gateways[0].port
        gateways[0].kill()
        some_are_placed(4)
        gateways[0].__init__(self.stack, gateways[0].name, port=port)
        gateways[0].start()
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
