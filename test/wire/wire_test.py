#!/usr/bin/env python3
"""wire_test.py - proto/README.md is enough to write a client from, and what it says of
frames that are altered, repeated, out of time or not sealed is so.

The client is client.py, which knows that page and nothing of the project.  The system it
talks to is a real stack, by its Unix sockets, and one more inventory by TCP.
"""
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import client  # noqa: E402
from certificates import make_certificates  # noqa: E402
from client import Client, Failed, Key, NotTheService, Refused, one, pack, unpack  # noqa: E402
from stack import BUILD, REPO, StackTest, free_port, main, wait_until  # noqa: E402

GET_STOCK = "inventory.v1.Inventory/GetStock"
ADJUST = "inventory.v1.Inventory/AdjustStock"
NOT_OPENED, OUTSIDE_TIME, REPEATED, TOO_EARLY = 1, 2, 3, 4


class WireTest(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keys = cls.stack.state / "keys"
        cls.operator, cls.gateway = Key(keys / "operator.key"), Key(keys / "gateway.key")
        cls.services = client.known_services(keys / "known_services")
        cls.stack.product("wire", 5)
        cls.tcp = cls.start_inventory()

    @classmethod
    def start_inventory(cls, *settings, scheme="tcp", tls=None):
        """One more, at TCP; its URL."""
        url = f"{scheme}://127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [BUILD / "bin" / "inventory", "--config", cls.stack.state / "conf" / "inventory.conf",
             "--listen-url", url, *settings], stderr=subprocess.DEVNULL)
        cls.addClassCleanup(process.wait, 60)
        cls.addClassCleanup(process.send_signal, signal.SIGTERM)
        wait_until(lambda: cls.serving(url, tls), 60, "the inventory at TCP serves")
        return url

    @classmethod
    def serving(cls, url, tls=None):
        try:
            calls = Client(url, cls.operator, cls.services["inventory"], tls)
        except OSError:
            return False
        try:
            return one(unpack(calls.call("rpc.v1.Health/Check")), 1) == 1
        except Refused:
            return False
        finally:
            calls.close()

    def url(self, service):
        return f"ipc://{self.stack.state}/run/{service}.sock"

    def open(self, url=None, key=None, service="inventory"):
        calls = Client(url or self.url(service), key or self.operator, self.services[service])
        self.addCleanup(calls.close)
        return calls

    def both(self):
        """A client by each transport, with its name."""
        yield "ipc", self.open()
        yield "tcp", self.open(self.tcp)

    def refused(self, reason, act, *arguments):
        with self.assertRaises(Refused) as caught:
            act(*arguments)
        self.assertEqual(caught.exception.reason, reason)

    def failed(self, status, act, *arguments, **more):
        with self.assertRaises(Failed) as caught:
            act(*arguments, **more)
        self.assertEqual(caught.exception.status, status, caught.exception)
        return caught.exception

    def adjustments(self):
        return self.stack.number("SELECT count(*) FROM inventory.ledger WHERE sku = 'wire'")

    # --- what a client can do ---

    def test_every_service_says_that_it_is_well(self):
        for service in ("orchestrator", "inventory", "payment"):
            reply = unpack(self.open(service=service).call("rpc.v1.Health/Check"))
            self.assertEqual(one(reply, 1), 1, service)

    def test_stock_is_read_by_both_transports(self):
        for name, calls in self.both():
            with self.subTest(name):
                reply = unpack(calls.call(GET_STOCK, pack((1, "wire"))))
                self.assertEqual((one(reply, 1), one(reply, 2), one(reply, 3)), (b"wire", 5, 5))

    def test_reflection_has_every_service_method_and_comment(self):
        reply = unpack(self.open(service="orchestrator").call("rpc.v1.Reflection/Describe"))
        served = [name.decode() for name in reply[1]]
        self.assertEqual(served, ["orders.v1.Orders", "events.v1.Events",
                                  "rpc.v1.Health", "rpc.v1.Reflection",
                                  "rpc.v1.Metrics", "rpc.v1.Calls"])
        described = {}
        for file in unpack(reply[2][0])[1]:  # FileDescriptorSet.file
            file = unpack(file)
            package = one(file, 2, b"").decode()
            for service in file.get(6, ()):  # FileDescriptorProto.service
                service = unpack(service)
                described[f"{package}.{one(service, 1).decode()}"] = [
                    one(unpack(method), 1).decode() for method in service[2]]
        self.assertLessEqual(set(served), set(described))
        self.assertIn("Place", described["orders.v1.Orders"])
        self.assertIn(b"Turns a cart into one paid order, or into nothing at all.", reply[2][0])
        self.assertEqual(reply[5], [b"*"])

    def test_metrics_count_what_is_asked(self):
        calls = self.open()

        def answered():
            reply = unpack(calls.call("rpc.v1.Metrics/Read", pack((1, "rpc_server_calls"))))
            for metric in map(unpack, reply.get(1, ())):
                labels = {bytes(one(unpack(label), 1)): bytes(one(unpack(label), 2))
                          for label in metric[2]}
                if labels == {b"method": GET_STOCK.encode(), b"status": b"OK"}:
                    return one(metric, 4)
            return 0

        before = answered()
        for _ in range(3):
            calls.call(GET_STOCK, pack((1, "wire")))
        self.assertGreaterEqual(answered() - before, 3)

    def test_an_error_has_its_status_reason_and_effect(self):
        error = self.failed(5, self.open().call, GET_STOCK, pack((1, "there-is-none")))
        self.assertEqual((error.reason, error.effect, error.not_run), ("not_found", 0, False))
        error = self.failed(12, self.open().call, "inventory.v1.Inventory/Nothing")
        self.assertEqual((error.reason, error.not_run), ("unimplemented", True))

    def test_many_requests_are_under_way_on_one_connection(self):
        calls = self.open(self.tcp)
        waiting = {}
        for i in range(100):
            nonce = calls.session.next_nonce()
            identity = f"call-{i}"
            number = (0x80000000 + 1000 + i).to_bytes(4, "big")
            text = client.request(GET_STOCK, pack((1, "wire")), identity=identity)
            calls.connection.send(number + calls.session.seal(text, nonce))
            waiting[number] = (nonce, identity)
        while waiting:
            body = calls.connection.receive()
            nonce, identity = waiting.pop(body[:4])
            reply = unpack(client.answer(calls.session.open(body[4:], nonce), identity))
            self.assertEqual(one(reply, 2), 5)

    def batch(self, calls, texts):
        """(id, frame) pairs of requests, and id -> (nonce, identity)."""
        frames, under_way = [], {}
        for number, (text, identity) in enumerate(texts, start=1):
            nonce = calls.session.next_nonce()
            frames.append((number, calls.session.seal(text, nonce)))
            under_way[number] = nonce, identity
        return frames, under_way

    def test_many_requests_share_a_message_and_each_has_its_answer(self):
        for _, calls in self.both():
            texts = [(client.request(GET_STOCK, pack((1, "wire")), identity=f"b{n}"), f"b{n}")
                     for n in range(100)]
            frames, under_way = self.batch(calls, texts)
            frames.append((1000, b"nonsense"))
            while under_way or frames:
                for number, frame in calls.connection.exchange_batch(frames):
                    if number == 1000:
                        self.assertEqual(frame, bytes([0, NOT_OPENED]))
                        continue
                    nonce, identity = under_way.pop(number)
                    stock = unpack(client.answer(calls.session.open(frame, nonce), identity))
                    self.assertEqual(one(stock, 1), b"wire")
                frames = []

    def test_what_is_no_batch_to_its_last_byte_is_refused_whole(self):
        for _, calls in self.both():
            for body in (b"\x02\0", b"\x02" + 8 * b"\0" + b"\1",
                         b"\x02" + b"\0\0\0\1\0\0\0\2x", b"\x02" + 257 * 8 * b"\0"):
                self.assertEqual(calls.connection.exchange(body), bytes([0, NOT_OPENED]))
            self.assertEqual(calls.connection.exchange_batch([]), [])

    def test_a_certificate_on_each_side_and_the_same_within(self):
        folder = tempfile.TemporaryDirectory(prefix="checkout-wire-")
        self.addCleanup(folder.cleanup)
        make_certificates(folder.name)
        files = [f"{folder.name}/{name}" for name in ("own.pem", "own.key", "ca.pem")]
        tls = ssl.create_default_context(cafile=files[2])
        tls.hostname_checks_common_name = False
        tls.load_cert_chain(files[0], files[1])
        url = self.start_inventory("--tls-cert", files[0], "--tls-key", files[1],
                                   "--tls-ca", files[2], scheme="tls+tcp", tls=tls)
        calls = Client(url, self.operator, self.services["inventory"], tls)
        self.addCleanup(calls.close)
        self.assertEqual(one(unpack(calls.call(GET_STOCK, pack((1, "wire")))), 2), 5)
        # nng 1.5.2 speaks 1.2 alone; later ones 1.3 as well.
        self.assertIn(calls.connection.socket.version(), ("TLSv1.2", "TLSv1.3"))
        anonymous = ssl.create_default_context(cafile=files[2])
        with self.assertRaises(OSError):  # who shows no certificate
            Client(url, self.operator, self.services["inventory"], anonymous)

    # --- what nobody can do ---

    def frame(self, calls, text=None):
        nonce = calls.session.next_nonce()
        if text is None:
            text = client.request(ADJUST, pack((1, "wire"), (2, 1), (3, "wire test"), (4, "never")))
        return calls.session.seal(text, nonce), nonce

    def send(self, calls, frame, nonce):
        return calls.session.open(calls.connection.exchange(frame), nonce)

    def test_an_altered_frame_is_refused_whichever_byte_it_is(self):
        booked = self.adjustments()
        for name, calls in self.both():
            with self.subTest(name):
                good, nonce = self.frame(calls)
                for at in range(len(good)):
                    bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1:]
                    self.refused(NOT_OPENED, self.send, calls, bad, nonce)
                for size in range(len(good)):
                    self.refused(NOT_OPENED, self.send, calls, good[:size], nonce)
        self.assertEqual(self.adjustments(), booked)

    def test_a_frame_sent_again_is_refused_on_any_connection(self):
        for name, calls in self.both():
            with self.subTest(name):
                text = client.request(GET_STOCK, pack((1, "wire")))
                frame, nonce = self.frame(calls, text)
                client.answer(self.send(calls, frame, nonce))
                self.refused(REPEATED, self.send, calls, frame, nonce)
                other = self.open(self.tcp if name == "tcp" else None)
                self.refused(REPEATED, self.send, other, frame, nonce)

    def test_a_frame_that_is_not_sealed_is_refused(self):
        calls = self.open()
        text = client.request(ADJUST, pack((1, "wire"), (2, 1), (3, "wire test"), (4, "never")))
        nonce, head = calls.session.next_nonce(), b"\x01\x08operator"
        for frame in (text, b"", b"\x00\x01", head + nonce + text, head + nonce + bytes(16) + text):
            self.refused(NOT_OPENED, self.send, calls, frame, nonce)

    def test_a_key_the_service_does_not_know_opens_nothing(self):
        calls = self.open()
        calls.session = client.Session(self.operator, self.services["inventory"])
        calls.session.name = b"gateway"  # sealed with another's key
        self.refused(NOT_OPENED, calls.call, GET_STOCK, pack((1, "wire")))
        calls.session.name = b"nobody"
        self.refused(NOT_OPENED, calls.call, GET_STOCK, pack((1, "wire")))

    def test_a_nonce_that_says_it_is_another_kind_of_frame_is_refused(self):
        calls = self.open()
        for bits in (0x40, 0x80, 0xc0):
            start = bytearray(calls.session.start)
            start[0] ^= bits
            nonce = bytes(start) + (1000).to_bytes(8, "big")
            frame = calls.session.seal(client.request(GET_STOCK, pack((1, "wire"))), nonce)
            self.refused(NOT_OPENED, self.send, calls, frame, nonce)

    def test_a_counter_of_nought_or_one_long_past_is_refused(self):
        calls = self.open()
        calls.session.counter = 20000
        calls.call(GET_STOCK, pack((1, "wire")))
        for counter, admitted in ((0, False), (20001 - 8192, False), (20001 - 8191, True)):
            nonce = calls.session.start + counter.to_bytes(8, "big")
            frame = calls.session.seal(client.request(GET_STOCK, pack((1, "wire"))), nonce)
            if admitted:
                client.answer(self.send(calls, frame, nonce))
            else:
                self.refused(REPEATED, self.send, calls, frame, nonce)

    def test_a_frame_from_another_time_is_refused(self):
        calls, now = self.open(), time.time_ns() // 1000000
        for sent_at_ms in (now - 31000, now + 31000, 0):
            self.refused(OUTSIDE_TIME, calls.send,
                         client.request(GET_STOCK, pack((1, "wire")), sent_at_ms=sent_at_ms))

    def test_a_session_from_before_the_start_is_refused_and_a_known_one_is_not(self):
        before = time.time_ns() // 1000000
        calls = self.open(self.start_inventory())
        old = client.request(GET_STOCK, pack((1, "wire")), sent_at_ms=before, timeout_ms=60000)
        self.refused(TOO_EARLY, calls.send, old)
        calls.call(GET_STOCK, pack((1, "wire")))
        calls.send(old)

    def test_a_request_past_its_deadline_is_not_run(self):
        calls, booked = self.open(), self.adjustments()
        calls.call(GET_STOCK, pack((1, "wire")))
        late = client.request(
            ADJUST, pack((1, "wire"), (2, 1), (3, "wire test"), (4, "too-late")),
            timeout_ms=500, sent_at_ms=time.time_ns() // 1000000 - 500)
        error = self.failed(4, calls.send, late)
        self.assertEqual((error.effect, error.not_run), (0, True))
        self.assertEqual(self.adjustments(), booked)

    def test_a_caller_may_call_what_its_list_has_and_nothing_else(self):
        calls, booked = self.open(key=self.gateway), self.adjustments()
        calls.call("inventory.v1.Inventory/ListProducts")
        for method in (ADJUST, GET_STOCK, "rpc.v1.Metrics/Read", "inventory.v1.Inventory/"):
            error = self.failed(7, calls.call, method, pack((1, "wire"), (2, 1), (3, "x")))
            self.assertEqual((error.reason, error.not_run), ("permission_denied", True))
        self.assertEqual(self.adjustments(), booked)

    def test_an_envelope_out_of_bounds_is_an_invalid_argument(self):
        calls = self.open()
        payload = pack((1, "wire"))
        for more in ({"timeout_ms": 0}, {"timeout_ms": 600001}, {"identity": "a b"},
                     {"identity": "x" * 65}, {"traceparent": "t" * 65},
                     {"tracestate": "a" * 513}, {"tracestate": "a=\t"},
                     {"metadata": [("Upper", "x")]}, {"metadata": [("a", "x\n")]},
                     {"metadata": [("a", "1"), ("a", "2")]},
                     {"metadata": [(f"k{i}", "v") for i in range(17)]}):
            with self.subTest(more):
                self.failed(3, calls.call, GET_STOCK, payload, **more)
        calls.call(GET_STOCK, payload, metadata=[(f"k{i}", "v") for i in range(16)],
                   tracestate="no list, and not looked at " + "a" * 485)

    def test_an_answer_opens_only_for_the_request_it_answers(self):
        calls = self.open()
        text = client.request(GET_STOCK, pack((1, "wire")))
        frame, nonce = self.frame(calls, text)
        sealed = calls.connection.exchange(frame)
        with self.assertRaises(NotTheService):
            calls.session.open(sealed, calls.session.next_nonce())
        client.answer(calls.session.open(sealed, nonce))
        self.refused(NOT_OPENED, self.send, calls, sealed, nonce)  # sent back to its maker

    def test_a_message_too_large_ends_its_own_connection_only(self):
        calls, other = self.open(self.tcp), self.open(self.tcp)
        with self.assertRaises(OSError):
            calls.connection.exchange(bytes(1048640 - 4 + 1))
        other.call(GET_STOCK, pack((1, "wire")))
        largest = self.open(self.tcp)
        self.refused(NOT_OPENED, self.send, largest, bytes(1048640 - 4), bytes(24))

    def test_refusals_are_counted_each_and_logged_once_a_second_at_most(self):
        calls, nonce = self.open(), bytes(24)
        for _ in range(500):
            self.refused(NOT_OPENED, self.send, calls, b"\x01\x01x" + bytes(60), nonce)
        # The next line, whoever causes it, tells how many there were.
        def last_total():
            self.refused(NOT_OPENED, self.send, calls, b"", nonce)
            return self.refusal_lines()[-1][1]
        first = self.refusal_lines()[0][1]
        wait_until(lambda: last_total() >= first + 500, 10, "all are in the log's total")
        times = [moment for moment, _ in self.refusal_lines()]
        self.assertGreater(len(times), 1)
        for earlier, later in zip(times, times[1:]):
            self.assertGreaterEqual((later - earlier).total_seconds(), 0.95)

    def refusal_lines(self):
        """When, and how many so far."""
        found = re.findall(r"^ts=(\S+)Z .* event=rpc_rejected .* total=(\d+)$",
                           self.stack.log("inventory"), re.MULTILINE)
        return [(datetime.fromisoformat(moment), int(total)) for moment, total in found]

    # --- what the page says ---

    def test_the_page_s_example_is_right_to_the_byte(self):
        text = client.request("rpc.v1.Health/Check", identity="h1", timeout_ms=2000,
                              sent_at_ms=1767225600000)
        page = (REPO / "proto" / "README.md").read_text()
        example = page[page.index("## 5."):]
        written = b""
        for line in re.findall(r"^    ((?:[0-9a-f]{2} )+)\s*(?:\"([^\"]*)\")?.*field", example, re.M):
            written += bytes.fromhex(line[0]) + line[1].encode()
        packed = pack(*((number, values[0]) for number, values in unpack(text).items()
                        if values[0] not in (0, b"")))
        self.assertEqual(written, packed)
        self.assertIn(f"cipher text, {len(packed)}", example)
        self.assertIn(f"length: {4 + 2 + 8 + 24 + 16 + len(packed)}", example)

    def test_the_page_has_every_reason_with_its_status(self):
        page = (REPO / "proto" / "README.md").read_text()
        table = (REPO / "lib" / "base" / "err.h").read_text()
        rows = re.findall(r"X\(\w+,\s+(\d+), \"(\w+)\"", table)
        self.assertGreater(len(rows), 17)
        for status, reason in rows:
            self.assertIn(f"| `{reason}` | {status} |", page)


if __name__ == "__main__":
    main()
