#!/usr/bin/env python3
"""forward_test.py - what of a request is handed on from service to service.

Between the services stands somebody who holds their keys and reads what passes: the
trace goes all the way, from an HTTP header or checkoutctl's -H, to every service and
into the event, with a span id of each one that calls; so does the request's id; time grows shorter; metadata is for the one it was sent to.
"""
import ctypes
import json
import socket
import struct
import sys
import threading
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import client  # noqa: E402
from client import NONCE, TAG, Connection, Key, one, unpack  # noqa: E402
from stack import Stack, StackTest, free_port, main  # noqa: E402

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "shop=a b,tenant@system=1"
PORTS = {name: free_port() for name in ("orchestrator", "inventory", "payment")}


def address(name):
    return f"tcp://127.0.0.1:{PORTS[name]}"


class Reader:
    """Takes a service's connections at TCP and passes all on to its socket; `seen` is every
    request that passed, opened."""

    def __init__(self, name, stack_state):
        self.name, self.state, self.seen = name, stack_state, []
        self.listener = socket.create_server(("127.0.0.1", PORTS[name]))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            caller, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(caller,), daemon=True).start()

    def serve(self, caller):
        with caller:
            try:
                service = Connection(f"ipc://{self.state}/run/{self.name}.sock", timeout=None)
                caller.sendall(b"\0SP\0\0\x31\0\0")
                stream = caller.makefile("rb")
                stream.read(8)
                threading.Thread(target=self.back, args=(service, caller), daemon=True).start()
                while len(size := stream.read(8)) == 8:
                    body = stream.read(struct.unpack(">Q", size)[0])
                    self.seen += [self.open(frame) for frame in self.frames(body)]
                    service.send(body)
            except OSError:
                pass  # it is not there yet: who calls comes again

    @staticmethod
    def back(service, caller):
        try:
            while True:
                body = service.receive()
                caller.sendall(struct.pack(">Q", len(body)) + body)
        except OSError:
            caller.close()
        finally:
            service.close()

    @staticmethod
    def frames(body):
        """The request frames of a message: one behind its id, or a batch of them."""
        body = body[body.index(next(b for b in body[::4] if b & 0x80)) + 4:]
        if body[:1] != b"\x02":
            return [body]
        frames, at = [], 1
        while at < len(body):
            size, = struct.unpack(">I", body[at + 4:at + 8])
            frames.append(body[at + 8:at + 8 + size])
            at += 8 + size
        return frames

    def open(self, frame):
        """The fields of a request, which is sealed between two whose keys we have."""
        size = frame[1]
        caller, nonce = frame[2:2 + size].decode(), frame[2 + size:2 + size + NONCE]
        box = frame[2 + size + NONCE:]
        keys = Path(self.state) / "keys"
        shared = ctypes.create_string_buffer(32)
        client._sodium.crypto_box_beforenm(
            shared, Key(keys / f"{self.name}.key").public, Key(keys / f"{caller}.key").secret)
        text = ctypes.create_string_buffer(len(box) - TAG)
        if client._sodium.crypto_box_open_easy_afternm(
                text, box, ctypes.c_ulonglong(len(box)), nonce, shared) != 0:
            raise AssertionError(f"a frame of {caller} for {self.name} does not open")
        fields = unpack(text.raw)
        return {"caller": caller, "method": one(fields, 1).decode(),
                "id": one(fields, 2).decode(), "timeout_ms": one(fields, 3),
                "traceparent": one(fields, 4, b"").decode(),
                "tracestate": one(fields, 8, b"").decode(),
                "metadata": [tuple(part.decode() for values in unpack(entry).values()
                                   for part in values) for entry in fields.get(7, ())]}


class ForwardTest(StackTest):
    environment = {"CHECKOUT_GATEWAY_ORCHESTRATOR_ADDRESSES": address("orchestrator"),
                   "CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS": "9000",
                   "CHECKOUT_ORCHESTRATOR_INVENTORY_ADDRESSES": address("inventory"),
                   "CHECKOUT_ORCHESTRATOR_PAYMENT_ADDRESSES": address("payment")}

    @classmethod
    def setUpClass(cls):
        # As StackTest does it, with the readers there before anyone calls.
        cls.stack = Stack(**cls.environment)
        cls.addClassCleanup(cls.stack.stop)
        cls.readers = {name: Reader(name, cls.stack.state) for name in PORTS}
        cls.stack.start()
        cls.stack.product("traced", 100)

    def passed(self, name, method, act):
        """The requests of a method that passed while it acted."""
        before = len(self.readers[name].seen)
        act()
        return [seen for seen in self.readers[name].seen[before:]
                if seen["method"].endswith("/" + method)]

    def assert_follows(self, traceparent, *before):
        """It is of the trace, sampled, with a span id that none of those before has."""
        version, trace, span, flags = traceparent.split("-")
        self.assertEqual((version, trace, flags), ("00", TRACE.split("-")[1], "01"))
        self.assertNotIn(span, [other.split("-")[2] for other in before])

    def order_by_http(self, trace):
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        name = uuid.uuid4().hex
        self.expect(shopper.put_cart(name, [("traced", 1)]), 201)
        answer = shopper.ask("POST", "/v1/orders", {"cart_id": name,
                                                    "payment_method_id": "pm_card_visa"},
                             Idempotency_Key=f"key-{name}", traceparent=trace,
                             tracestate=STATE.replace(",", " , "))
        self.request_id = answer.headers["x-request-id"]
        return self.expect(answer, 201).json["order_id"]

    def test_a_trace_goes_from_http_to_every_service_and_into_the_event(self):
        marks = {name: len(reader.seen) for name, reader in self.readers.items()}
        order = self.order_by_http(TRACE)
        seen = {call["method"].split("/")[1]: call for name, mark in marks.items()
                for call in self.readers[name].seen[mark:] if call["id"] == self.request_id}
        self.assertEqual(set(seen), {"Place", "Reserve", "Charge", "Confirm"})
        self.assertEqual({call["tracestate"] for call in seen.values()}, {STATE})
        gateways = seen["Place"]["traceparent"]
        self.assert_follows(gateways, TRACE)
        (orchestrators,), = self.stack.sql("SELECT traceparent FROM orders.outbox "
                                           f"WHERE order_id = '{order}'")
        self.assert_follows(orchestrators, TRACE, gateways)
        self.assertEqual({seen[name]["traceparent"]
                          for name in ("Reserve", "Charge", "Confirm")}, {orchestrators})

    def test_time_grows_shorter_on_the_way(self):
        placed = self.passed("orchestrator", "Place", lambda: self.order_by_http(TRACE))
        self.assertTrue(all(0 < seen["timeout_ms"] <= 9000 for seen in placed), placed)
        reserved = self.passed("inventory", "Reserve", lambda: self.order_by_http(TRACE))
        self.assertTrue(all(0 < seen["timeout_ms"] <= 5000 for seen in reserved), reserved)
        asked = self.passed("inventory", "GetStock", lambda: self.ctl_at(
            "inventory", "GetStock", {"sku": "traced"}, "--max-time", "1.5"))
        self.assertEqual(len(asked), 1)
        self.assertTrue(0 < asked[0]["timeout_ms"] <= 1500, asked)

    def ctl_at(self, name, method, request, *more):
        services = client.known_services(self.stack.state / "keys" / "known_services")
        public = client.base64.b64encode(services[name]).decode()
        return json.loads(self.stack.ctl(
            "call", method, json.dumps(request), "--url", address(name),
            "--service-key", public, *more))

    def test_h_sends_metadata_to_the_one_called_and_the_trace_to_all(self):
        user = str(uuid.uuid4())
        self.stack.call("PutCart", user_id=user, cart={
            "cart_id": "traced", "lines": [{"sku": "traced", "quantity": 1}]})
        request = {"user_id": user, "cart_id": "traced", "payment_method_id": "pm_card_visa",
                   "idempotency_key": f"key-{user}", "fingerprint": "A" * 43 + "="}
        mark = len(self.readers["inventory"].seen)
        placed = self.passed("orchestrator", "Place", lambda: self.ctl_at(
            "orchestrator", "Place", request, "-H", f"traceparent: {TRACE}",
            "-H", f"tracestate: {STATE}", "-H", "tenant: blue", "-H", "note:a b"))
        self.assertEqual([(seen["caller"], seen["traceparent"], seen["tracestate"],
                           sorted(seen["metadata"])) for seen in placed],
                         [("operator", TRACE, STATE, [("note", "a b"), ("tenant", "blue")])])
        reserved = [seen for seen in self.readers["inventory"].seen[mark:]
                    if seen["method"].endswith("/Reserve")]
        self.assertEqual([(seen["caller"], seen["tracestate"], seen["metadata"])
                          for seen in reserved], [("orchestrator", STATE, [])])
        self.assert_follows(reserved[0]["traceparent"], TRACE)


if __name__ == "__main__":
    main()
