"""Gateways are stopped and started under load: no request is lost, no order is made twice.

What a client of HTTP/1.1 may count on when a connection ends (RFC 9112, 9.3 and 9.6):

  - A request that came before the server announced the end, by Connection: close in an
    answer or by closing, is answered.
  - What is pipelined behind the request whose answer said Connection: close is not handled.
  - A request that crosses the close of an idle connection gets no answer.  That cannot be
    helped, but a gateway closes none that was in use within the last HTTP_DRAIN_IDLE_MS, so
    whoever asks again sooner is answered.
"""
import contextlib
import http.client
import itertools
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid
from pathlib import Path

from edge import Gateway
from proxies import Haproxy, Nginx, TlsShopper, self_signed
from stack import Answer, StackTest, check_sums, main, wait_until

DRAIN_IDLE_S = 0.25  # HTTP_DRAIN_IDLE_MS of lib/http/server.h
ROUNDS = 3           # each gateway is stopped and started so often
PATIENCE = 30        # seconds
ORDERS_BETWEEN = 20  # these are placed between two of that


def fresh():
    return str(uuid.uuid4())


def request(method, path, token=None, body=None, *lines):
    """Its bytes."""
    body = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}",
             "Content-Type: application/json", *lines]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def order(token, key, method="pm_card_visa"):
    return request("POST", "/v1/orders", token,
                   {"cart_id": key, "payment_method_id": method},
                   f"Idempotency-Key: {key}")


def cart(token, key):
    return request("PUT", f"/v1/carts/{key}", token, {"lines": [{"sku": "cup", "quantity": 1}]})


def read_answer(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return Answer(response, response.read())


def listens(port):
    """As the kernel says; to connect would be to be one more client."""
    with open("/proc/net/tcp") as table:
        return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A"
                   for fields in map(str.split, table))


class Unanswered(Exception):
    """Not one byte of an answer came."""


class Direct:
    """A client of gateways without a proxy: one connection for as long as it lives.

    It does not look whether that has been closed, so it sees as a request without an answer
    what a client far away would see whose request crosses the close."""

    def __init__(self, gateways, kept=True):
        self.gateways, self.kept = itertools.cycle(gateways), kept
        self.connection = None
        self.answered = 0
        self.lost = []  # what got no answer although the connection had been in use

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def connect(self):
        """To the first gateway that is there."""
        def connected():
            self.used = time.monotonic()
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(
                    ("127.0.0.1", next(self.gateways).port), timeout=PATIENCE)
        self.connection = wait_until(connected, PATIENCE, "a gateway accepts a connection")

    def is_being_answered(self, data):
        sent = None
        try:
            self.connection.sendall(data)
            sent = time.monotonic()
            if self.connection.recv(1, socket.MSG_PEEK):
                return True
            trouble = "it was closed"
        except ConnectionError as error:
            trouble = repr(error)
        # Counted from before the gateway can have counted, to after it.
        idled = (sent or time.monotonic()) - self.used
        if idled < DRAIN_IDLE_S:
            self.lost.append(f"{data.split(b' HTTP')[0]!r}, {idled:.3f} s after the "
                             f"connection was last in use: {trouble}")
        return False

    def ask(self, data):
        """The answer, or Unanswered; asks once."""
        if self.connection is None:
            self.connect()
        begun = time.monotonic()
        if not self.is_being_answered(data):
            self.close()
            raise Unanswered
        answer = read_answer(self.connection)  # a half one is a failure of the test
        self.answered += 1
        self.used = begun
        if not self.kept or answer.headers.get("connection") == "close":
            self.close()
        return answer

    def until_final(self, data):
        def final():
            with contextlib.suppress(Unanswered):
                answer = self.ask(data)
                return (answer.status < 400 or not answer.json["retryable"]) and answer
        return wait_until(final, PATIENCE, "a final answer")


class Drain(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1_000_000, price_cents=250)
        cls.certificate, cls.key, cls.both = self_signed(cls.stack)
        cls.token = cls.stack.token(fresh())

    def gateway(self, name, **settings):
        gateway = Gateway(self.stack, name, user_rate=1000000, user_burst=1000000, **settings)
        self.addCleanup(gateway.stop)
        return gateway.start()

    def orders_of(self, keys):
        """Their order ids, by key; a key with more than one fails."""
        rows = self.stack.sql("SELECT right(idempotency_key, 36), id FROM orders.orders")
        found = [(key, row) for key, row in rows if key in keys]
        self.assertEqual(len(found), len(dict(found)), "a key has two orders")
        return dict(found)

    # --- what had come before the stop ---

    def connected(self, gateway):
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.addCleanup(connection.close)
        return connection

    def used(self, gateway):
        """A connection that idles, after an answer."""
        connection = self.connected(gateway)
        connection.sendall(request("GET", "/v1/products"))
        self.assertEqual(read_answer(connection).status, 200)
        return connection

    def carts(self, gateway, count):
        keys = [fresh() for _ in range(count)]
        client = Direct([gateway])
        for key in keys:
            self.assertEqual(client.ask(cart(self.token, key)).status, 201)
        client.close()
        return keys

    def are_placed(self, connections, keys):
        """One answer on each, the connection's last; and its order is the key's."""
        ids = []
        for connection in connections:
            answer = read_answer(connection)
            self.assertEqual(answer.status, 201, repr(answer))
            self.assertEqual(connection.recv(1), b"")
            ids.append(answer.json["order_id"])
        self.assertEqual(self.orders_of(keys), dict(zip(keys, ids)))

    def test_requests_that_came_before_the_stop_are_answered(self):
        """On connections that idled, and on such as wait to be accepted."""
        gateway = self.gateway("frozen")
        keys = self.carts(gateway, 300)  # more than the loop looks at in one round
        kept = [self.used(gateway) for _ in range(280)]
        with gateway.frozen():
            connections = kept + [self.connected(gateway) for _ in range(20)]
            for connection, key in zip(connections, keys):
                connection.sendall(order(self.token, key))
            gateway.process.send_signal(signal.SIGTERM)
        self.are_placed(connections, keys)
        gateway.stop()

    def stops_listening(self, gateway):
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(gateway.port), 30, "it accepts no more")

    def test_a_request_of_which_a_part_had_come_is_answered(self):
        """Alone, so that no other request keeps the gateway from its end."""
        gateway = self.gateway("begun")
        head = order(self.token, fresh()).index(b"\r\n\r\n") + 4
        for part in (1, head // 2, head - 1, head, head + 10):
            with self.subTest(part):
                key, = self.carts(gateway, 1)
                data = order(self.token, key)
                connection = self.used(gateway)
                connection.sendall(data[:part])
                self.stops_listening(gateway)
                connection.sendall(data[part:])
                self.are_placed([connection], [key])
                gateway.stop()
                gateway.again()

    def test_a_client_of_tls_that_has_connected_is_answered(self):
        gateway = self.gateway("tls", tls_cert_file=self.certificate, tls_key_file=self.key)
        context = ssl.create_default_context(cafile=self.certificate)
        kept = context.wrap_socket(self.connected(gateway), server_hostname="localhost")
        with gateway.frozen():
            connected = self.connected(gateway)
            kept.sendall(request("GET", "/v1/products"))
            gateway.process.send_signal(signal.SIGTERM)
        with context.wrap_socket(connected, server_hostname="localhost") as late:
            late.sendall(request("GET", "/v1/products"))
            for connection in (kept, late):
                self.assertEqual(read_answer(connection).status, 200)
        kept.close()
        gateway.stop()

    def test_a_client_that_was_just_answered_may_ask_once_more(self):
        gateway = self.gateway("used")
        for _ in range(10):  # on a busy machine it may be too late
            key, = self.carts(gateway, 1)
            connection = self.connected(gateway)
            before = time.monotonic()
            connection.sendall(request("OPTIONS", "/v1/orders"))
            self.assertEqual(read_answer(connection).status, 204)
            stops = gateway.log().count("event=stopping") + 1
            gateway.process.send_signal(signal.SIGTERM)
            wait_until(lambda: gateway.log().count("event=stopping") == stops, PATIENCE, "it stops")
            with contextlib.suppress(ConnectionError):
                connection.sendall(order(self.token, key))
            if time.monotonic() - before < DRAIN_IDLE_S:
                self.are_placed([connection], [key])
                return
            gateway.stop()
            gateway.again()
        self.skipTest(f"the machine took longer than {DRAIN_IDLE_S} s each time")

    def test_what_is_pipelined_behind_the_announced_close_is_not_handled(self):
        gateway = self.gateway("pipelined")
        keys = self.carts(gateway, 5)
        connection = self.used(gateway)
        data = b"".join(order(self.token, key) for key in keys)
        connection.sendall(data[:10])  # which keeps the connection
        self.stops_listening(gateway)
        connection.sendall(data[10:])
        answer = read_answer(connection)
        self.assertEqual((answer.status, answer.headers.get("connection")), (201, "close"))
        self.assertEqual(connection.recv(1), b"")
        gateway.stop()
        self.assertEqual(self.orders_of(keys), {keys[0]: answer.json["order_id"]})

    # --- under load ---

    def test_no_request_is_lost_and_no_order_made_twice_while_gateways_come_and_go(self):
        gateways = [self.gateway(f"rolling-{n}") for n in (1, 2)]
        proxies = [kind(self, gateways) for kind in (Nginx, Haproxy)]
        for proxy in proxies:
            self.addCleanup(proxy.stop)
        self.orders, self.troubles = {}, []  # order ids by keys; of all but Node
        self.over = threading.Event()
        kept = [Direct(order) for order in (gateways, gateways[::-1]) for _ in range(2)]
        short = [Direct(order, kept=False) for order in (gateways, gateways[::-1])]
        node = self.node(gateways)
        threads = [threading.Thread(target=self.client, args=work) for work in (
            *((self.shop_directly, client) for client in kept),
            *((self.look_around, client) for client in short),
            *((self.shop_by, proxy) for proxy in proxies for _ in range(2)))]
        for thread in threads:
            thread.start()
        try:
            self.roll(gateways)
        finally:
            self.over.set()
            said, _ = node.communicate(timeout=60)
            for thread in threads:
                thread.join(60)
        self.assertEqual(self.troubles, [])
        self.assertEqual([lost for client in kept + short for lost in client.lost], [])
        self.assertGreater(sum(client.answered for client in short), ORDERS_BETWEEN)
        acknowledged = {**self.orders, **json.loads(said)["orders"]}
        self.assertEqual(self.orders_of(acknowledged), acknowledged)

    def roll(self, gateways):
        for _ in range(ROUNDS):
            for gateway in gateways:
                self.some_are_placed()
                gateway.stop()
                self.some_are_placed()
                gateway.again()
        self.some_are_placed()

    def some_are_placed(self):
        enough = len(self.orders) + ORDERS_BETWEEN
        wait_until(lambda: len(self.orders) >= enough or self.troubles, 30, "orders are placed")
        self.assertEqual(self.troubles, [])

    def client(self, work, *arguments):
        try:
            work(*arguments)
        except BaseException as trouble:  # whatever it is, the test must see it
            self.troubles.append(f"{work.__name__}: {trouble!r}")

    def shop_directly(self, client):
        while not self.over.is_set():
            key = fresh()
            for data in (cart(self.token, key), order(self.token, key)):
                answer = client.until_final(data)
                if answer.status not in (200, 201):
                    raise AssertionError(repr(answer))
            self.orders[key] = answer.json["order_id"]
        client.close()

    def look_around(self, client):
        while not self.over.is_set():
            with contextlib.suppress(Unanswered):
                if client.ask(request("OPTIONS", "/v1/orders")).status != 204:
                    raise AssertionError("not what OPTIONS is answered")

    def shop_by(self, proxy):
        shopper = TlsShopper(self.stack, proxy)
        while not self.over.is_set():
            key = fresh()
            shopper.until_final(lambda: shopper.put_cart(key, [("cup", 1)]))
            answer = shopper.order_until_final(key, key)
            if answer.status != 201:
                raise AssertionError(repr(answer))
            self.orders[key] = answer.json["order_id"]
        shopper.close()

    def node(self, gateways):
        """Node's fetch, until its input ends."""
        node = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "node", str(Path(__file__).with_name("orders.mjs"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(node.kill)
        task = {"via": "fetch", "urls": [f"http://127.0.0.1:{g.port}" for g in gateways],
                "token": self.token, "sku": "cup", "at_once": 4}
        node.stdin.write(json.dumps(task) + "\n")
        node.stdin.flush()
        return node

    def test_zz_the_sums_come_out(self):
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
