"""Real clients at the gateway: curl, Node's fetch and http.Agent, Chromium, and pipelining.

Chromium with the shop page is browser_test.py; here its fetch asks from another origin.
"""
import http.client
import http.server
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path

from edge import Gateway
from proxies import self_signed
from stack import Answer, StackTest, check_sums, main, wait_until

REQUESTS = 40  # on one connection
AT_ONCE = 8
MEGABYTE = 1 << 20

# A page without content: orders by fetch, AT_ONCE at a time, and says what became of them.
PAGE = """<!doctype html><title>a storefront</title><script>
(async () => {
    const task = %s;
    const headers = {'Authorization': `Bearer ${task.token}`, 'Content-Type': 'application/json'};
    const ask = (method, path, more, body) => fetch(task.url + path,
        {method, headers: {...headers, ...more}, body: JSON.stringify(body)});
    const one = async key => {
        await ask('PUT', `/v1/carts/${key}`, {}, {lines: [{sku: 'cup', quantity: 1}]});
        const answer = await ask('POST', '/v1/orders', {'Idempotency-Key': key},
            {cart_id: key, payment_method_id: 'pm_card_visa'});
        return [key, (await answer.json()).order_id];
    };
    const said = await Promise.all(task.keys.map(one)).catch(error => String(error));
    await fetch('/said', {method: 'POST', body: JSON.stringify(said)});
})();
</script>"""


def fresh():
    return str(uuid.uuid4())


class Storefront:
    """A server of another origin, with one page; keeps what the page posts."""

    def __init__(self):
        self.page, self.said = b"", None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(outer.page)

            def do_POST(self):
                outer.said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Clients(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1_000_000, price_cents=250)
        cls.certificate, cls.key, _ = self_signed(cls.stack)
        cls.token = cls.stack.token(fresh())

    def gateway(self, name, **settings):
        gateway = Gateway(self.stack, name, user_rate=1000000, user_burst=1000000, **settings)
        self.addCleanup(gateway.stop)
        return gateway.start()

    def are_the_orders(self, orders):
        """These ids by these keys, and no other of these keys."""
        rows = self.stack.sql("SELECT right(idempotency_key, 36), id FROM orders.orders")
        found = [(key, row) for key, row in rows if key in orders]
        self.assertEqual(len(found), len(dict(found)), "a key has two orders")
        self.assertEqual(dict(found), orders)

    def cart(self, gateway):
        key = fresh()
        shopper = gateway.shopper(token=self.token)
        self.assertEqual(shopper.put_cart(key, [("cup", 1)]).status, 201)
        shopper.close()
        return key

    @staticmethod
    def body(key):
        return json.dumps({"cart_id": key, "payment_method_id": "pm_card_visa"}).encode()

    # --- curl ---

    def curl(self, *transfers, body=b"", token=True):
        """Runs curl once; each transfer is a list of lines of its configuration file.  Gives
        for each an object: what curl says of it, its body as "text", and curl's trace of all."""
        folder = Path(tempfile.mkdtemp(dir=self.stack.base))
        self.addCleanup(shutil.rmtree, folder)
        common = ["silent", "show-error", "verbose", "max-time = 30", 'noproxy = "*"',
                  f'cacert = "{self.certificate}"', r'write-out = "%{json}\n"',
                  'header = "Content-Type: application/json"']
        if token:  # in a file, since arguments can be seen by others
            common.append(f'header = "Authorization: Bearer {self.token}"')
        sections = ["\n".join([*common, f'output = "{folder}/{n}"', *lines])
                    for n, lines in enumerate(transfers)]
        (folder / "conf").write_text("\nnext\n".join(sections))
        done = subprocess.run(["curl", "--config", folder / "conf"], input=body,
                              capture_output=True, timeout=60)
        trace = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, 0, trace)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(said), len(transfers))
        for n, transfer in enumerate(said):
            text = folder / str(n)
            transfer.update(text=text.read_bytes() if text.exists() else b"", trace=trace)
        return said

    def place(self, url, key):
        """Lines for an order."""
        return [f'url = "{url}/v1/orders"', f'header = "Idempotency-Key: {key}"',
                "data = " + json.dumps(self.body(key).decode())]

    def test_curl_keeps_its_connection(self):
        for name, settings in (("curl", {}), ("curl-tls", {"tls_cert_file": self.certificate,
                                                           "tls_key_file": self.key})):
            with self.subTest(name):
                plain = self.gateway(f"{name}-carts")
                keys = [self.cart(plain) for _ in range(REQUESTS)]
                gateway = self.gateway(name, **settings)
                url = f"{'https' if settings else 'http'}://localhost:{gateway.port}"
                said = self.curl(*(self.place(url, key) for key in keys))
                self.assertEqual({one["http_code"] for one in said}, {201}, said[-1]["text"])
                self.assertEqual(sum(one["num_connects"] for one in said), 1)
                if settings:
                    self.assertIn("server accepted http/1.1", said[0]["trace"])
                self.are_the_orders({key: json.loads(one["text"])["order_id"]
                                     for key, one in zip(keys, said)})

    def test_curl_sends_a_body_when_it_is_told_to_continue_and_else_none(self):
        gateway = self.gateway("continue")
        url, key = f"http://127.0.0.1:{gateway.port}", self.cart(gateway)
        wait = ['header = "Expect: 100-continue"', "expect100-timeout = 30"]
        size = len(self.body(key))
        one, = self.curl([*self.place(url, key), *wait])
        self.assertEqual((one["http_code"], one["size_upload"]), (201, size), one["text"])
        self.assertIn("< HTTP/1.1 100 Continue", one["trace"])
        refusals = (
            (401, False, self.place(url, key)),
            (404, True, [f'url = "{url}/v1/none"', 'data = "{}"']),
            (413, True, [f'url = "{url}/v1/orders"', "data-binary = @-",
                         f'header = "Idempotency-Key: {key}"']))
        for status, token, lines in refusals:
            with self.subTest(status):
                one, = self.curl([*lines, *wait], body=b" " * MEGABYTE, token=token)
                self.assertEqual((one["http_code"], one["size_upload"]), (status, 0))
                self.assertEqual(json.loads(one["text"])["status"], status)
                self.assertNotIn("100 Continue", one["trace"])

    def test_curl_uploads_what_it_does_not_know_the_size_of(self):
        gateway = self.gateway("chunked")
        key = fresh()
        put = [f'url = "http://127.0.0.1:{gateway.port}/v1/carts/{key}"', 'upload-file = "-"']
        lines = b'{"lines":[{"sku":"cup","quantity":1}]}'
        for more in ([], ['header = "Expect:"']):
            one, = self.curl([*put, *more], body=lines)
            self.assertIn(one["http_code"], (200, 201), one["text"])
            self.assertIn("> Transfer-Encoding: chunked", one["trace"])
        cart, = self.curl([f'url = "http://127.0.0.1:{gateway.port}/v1/carts/{key}"'])
        self.assertEqual(json.loads(cart["text"])["lines"][0]["sku"], "cup")

    def test_curl_reads_why_its_body_is_too_large(self):
        """Of a length that is told, and of one that is not; while it still sends."""
        gateway = self.gateway("large")
        url = f'url = "http://127.0.0.1:{gateway.port}/v1/carts/large"'
        after = [f'url = "http://127.0.0.1:{gateway.port}/v1/products"']
        for size, kept in ((MEGABYTE // 2, True), (2 * MEGABYTE, False), (64 * MEGABYTE, False)):
            for how in (["data-binary = @-", "request = PUT"], ['upload-file = "-"']):
                with self.subTest(size=size, how=how):
                    one, two = self.curl([url, *how, 'header = "Expect:"'], after,
                                         body=b" " * size)
                    self.assertEqual(one["http_code"], 413, one["text"])
                    self.assertEqual(json.loads(one["text"])["code"], "payload_too_large")
                    self.assertEqual((two["http_code"], two["num_connects"]),
                                     (200, 0 if kept else 1))

    def test_curl_speaks_http_1_0_and_asks_for_heads(self):
        gateway = self.gateway("old")
        url, key = f"http://127.0.0.1:{gateway.port}", self.cart(gateway)
        old, again = self.curl([*self.place(url, key), "http1.0"],
                               [*self.place(url, key), "http1.0"])
        self.assertEqual((old["http_code"], again["http_code"]), (201, 201), old["text"])
        self.assertEqual(old["text"], again["text"])
        self.assertEqual(again["num_connects"], 1)
        document = f'url = "{url}/openapi.yaml"'
        head, whole = self.curl([document, "head"], [document])
        self.assertEqual((head["http_code"], head["size_download"]), (200, 0))
        self.assertEqual((whole["http_code"], whole["num_connects"]), (200, 0))
        self.assertIn(f"Content-Length: {len(whole['text'])}\r\n".encode(), head["text"])

    # --- Node ---

    def test_node_places_orders_at_once_on_kept_connections(self):
        gateway = self.gateway("node")
        # Node's fetch takes another connection while one is not marked as free again.
        for via, connections in (("fetch", 3 * AT_ONCE), ("agent", AT_ONCE)):
            with self.subTest(via):
                task = {"via": via, "urls": [f"http://127.0.0.1:{gateway.port}"],
                        "token": self.token, "sku": "cup", "at_once": AT_ONCE,
                        "count": 10 * AT_ONCE}
                done = subprocess.run(
                    ["node", str(Path(__file__).with_name("orders.mjs"))],
                    input=json.dumps(task) + "\n", capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
                said = json.loads(done.stdout)
                self.assertEqual((len(said["orders"]), said["repeated"]), (10 * AT_ONCE, 0))
                self.assertLessEqual(said["connections"], connections)
                self.are_the_orders(said["orders"])

    # --- pipelining ---

    def test_pipelined_orders_are_answered_in_their_order(self):
        """With lengths and chunked, one refused among them, cut wherever it may be."""
        gateway = self.gateway("pipelined")
        keys = [self.cart(gateway) for _ in range(REQUESTS)]
        asked = [self.pipelined(key, n) for n, key in enumerate(keys)]
        asked.insert(REQUESTS // 2, self.pipelined("no", 0))
        data = b"".join(asked)
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(data), 997):
                connection.sendall(data[at:at + 997])
            stream = connection.makefile("rb")
            answers = [self.read_answer(stream) for _ in asked]
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(stream.read(), b"")
        refused = answers.pop(REQUESTS // 2)
        self.assertEqual((refused.status, refused.code), (400, "invalid_argument"), repr(refused))
        self.assertEqual({answer.status for answer in answers}, {201})
        self.are_the_orders({key: answer.json["order_id"]
                             for key, answer in zip(keys, answers)})

    def pipelined(self, key, number):
        """An order's bytes; every third one is chunked."""
        body = self.body(key)
        framing = f"Content-Length: {len(body)}"
        if number % 3 == 2:
            framing = "Transfer-Encoding: chunked"
            body = b"5\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + \
                b"\r\n0\r\n\r\n"
        return (f"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n"
                f"Authorization: Bearer {self.token}\r\n{framing}\r\n\r\n").encode() + body

    @staticmethod
    def read_answer(stream):
        """From a stream that has more of them."""
        class Connection:
            def makefile(self, *_):
                return stream

        response = http.client.HTTPResponse(Connection())
        response._close_conn = lambda: None  # it would close the stream with the first answer
        response.begin()
        return Answer(response, response.read())

    # --- Chromium ---

    def test_chromiums_fetch_places_orders_at_once_from_another_origin(self):
        storefront = Storefront()
        self.addCleanup(storefront.stop)
        gateway = self.gateway("chromium", cors_origins=storefront.origin)
        keys = [fresh() for _ in range(2 * AT_ONCE)]
        storefront.page = (PAGE % json.dumps({
            "url": f"http://127.0.0.1:{gateway.port}", "token": self.token,
            "keys": keys})).encode()
        profile = self.stack.base / "chromium"
        chromium = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "/usr/bin/chromium", "--headless", "--no-sandbox",
             "--disable-gpu", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update",
             f"--user-data-dir={profile}", storefront.origin],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            said = wait_until(lambda: storefront.said, 60, "the page has said something")
        finally:
            chromium.terminate()
            chromium.wait(30)
        self.assertIsInstance(said, list, said)
        self.assertEqual(set(dict(said)), set(keys))
        self.are_the_orders(dict(said))

    def test_zz_the_sums_come_out(self):
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
