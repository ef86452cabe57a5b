#!/usr/bin/env python3
"""live_test.py - frames nobody should send, at running services.

A whole stack (./up) with shoppers who order.  Three kinds of senders:

  strangers  who may do nothing: messages cut short, sealed frames altered, sealed with a
             key nobody knows, by a caller who has no such method, sent again, or out of
             time.  The database is afterwards what it was, to the byte.
  insiders   whose frames are sealed with a good key: envelopes and payloads with bytes
             changed, and messages of values at the edges.  What they get done is at most
             what was answered as done, and the books agree.
  noise      bytes that are no protocol, and connections that end in mid-handshake.

No service dies, leaks (LeakSanitizer, in the build ./check runs this with) or grows; the
shoppers' orders are all placed.  What nng 1.5.2 loses when it listens again (see
docs/adr/0031-working-around-nng-1-5-2.md) is left out, and so noise has a stack of its own.  Longer, or the same again:

  CHECKOUT_LIVE_SECONDS=600 CHECKOUT_LIVE_SEED=7 CHECKOUT_BUILD=build-asan \\
      python3 test/fuzz/live_test.py
"""
import collections
import contextlib
import itertools
import os
import random
import socket
import sys
import threading
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "wire"), str(HERE.parent / "integration")]

import client  # noqa: E402
from client import (Client, Connection, Failed, Key, NotTheService, Refused,  # noqa: E402
                    pack, request)
from stack import SERVICES, SUMS, StackTest, check_sums, main, wait_until  # noqa: E402

SECONDS = float(os.environ.get("CHECKOUT_LIVE_SECONDS", 2))  # of each kind, insiders twice
SEED = int(os.environ.get("CHECKOUT_LIVE_SEED", time.time_ns() % 1000000))
GROWTH_MAX_KB = 64 << 10
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

# Statuses that say that nothing was run (gRPC's numbers).
INVALID_ARGUMENT, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED = 3, 7, 12, 16
NOT_DONE = {INVALID_ARGUMENT, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED}


def ulid(random_):
    return "0" + "".join(random_.choice(ALPHABET) for _ in range(25))


def fields(random_, sku="live"):
    """A well-formed payload of each method, of a service each.  Ids are new ones, so that
    nothing of the shoppers' is meant."""
    order, user = ulid(random_), str(uuid.UUID(int=random_.getrandbits(128), version=4))
    line = pack((1, sku), (2, random_.randint(1, 3)))
    inventory, orders = "inventory.v1.Inventory/", "orders.v1.Orders/"
    payment, events = "payment.v1.Payment/", "events.v1.Events/"
    return {
        "inventory": [
            (inventory + "Reserve", [(1, order), (2, line), (2, line)]),
            (inventory + "Confirm", [(1, order)]),
            (inventory + "Release", [(1, order)]),
            (inventory + "GetReservation", [(1, order)]),
            (inventory + "GetStock", [(1, sku)]),
            (inventory + "ListProducts", []),
            (inventory + "PutProduct", [(1, "other"), (2, "Other"), (3, 100), (4, "EUR")]),
            (inventory + "AdjustStock", [(1, sku), (2, 1), (3, "live"), (4, order)]),
            (inventory + "ListReservations", [(1, 10), (2, "")]),
            (inventory + "ListStock", [(1, 10), (2, "")]),
        ],
        "payment": [
            (payment + "Charge", [(1, order), (2, user), (3, "pm_card_visa"), (4, 100),
                                  (5, "EUR")]),
            (payment + "Refund", [(1, order)]),
            (payment + "GetCharge", [(1, order)]),
            (payment + "ListPaymentMethods", [(1, user)]),
            (payment + "ListCharges", [(1, 10)]),
            (payment + "ListProviderCharges", [(1, 10)]),
        ],
        "orchestrator": [
            (orders + "Place", [(1, user), (2, "cart"), (3, "pm_card_visa"), (4, "key-" + order),
                                (5, bytes(32))]),
            (orders + "GetOrder", [(1, order), (2, user)]),
            (orders + "ListOrders", [(1, user), (2, 10), (3, "")]),
            (orders + "PutCart", [(1, user), (2, pack((1, "cart"), (2, line)))]),
            (orders + "GetCart", [(1, user), (2, "cart")]),
            (orders + "ListCheckouts", [(1, 10)]),
            (orders + "GetCheckout", [(1, order)]),
            (orders + "RetryCheckout", [(1, order)]),
            (events + "Read", [(1, 0), (2, 10)]),
            (events + "Commit", [(1, "live"), (2, 0)]),
            (events + "GetLag", []),
            (events + "Replay", [(1, 1)]),
        ],
    }


def standard_fields(random_):
    """The same of what every service has."""
    return [("rpc.v1.Health/Check", []), ("rpc.v1.Metrics/Read", [(1, "rpc")]),
            ("rpc.v1.Reflection/Describe", [(1, "0" * 64)]),
            ("rpc.v1.Calls/Cancel", [(1, ulid(random_))])]


EDGES = (0, 1, -1, 2**31 - 1, 2**31, 2**32, 2**63 - 1, -2**63, 10000, 10001, 1000000000)
# No id that two messages could share: reserved by one and confirmed by the other is sold.
TEXTS = ("", "x" * 65, "x" * 5000, "\u00fc", "a\nb", "'; --", "\x7f", "%s%n", "*", "-", " ",
         b"\xff\xfe", b"a\0b", "01ARZ3NDEKTSV4RRFFQ69G5FAI")


def change_values(random_, values):
    """A message with one or two fields at an edge, left out or given twice."""
    values = list(values)
    for _ in range(random_.randint(1, 2)):
        if not values:
            break
        at = random_.randrange(len(values))
        number, value = values[at]
        what = random_.random()
        if what < 0.2:
            del values[at]
        elif what < 0.3:
            values.insert(at, values[at])
        elif isinstance(value, int):
            values[at] = (number, random_.choice(EDGES))
        else:
            values[at] = (number, random_.choice(TEXTS))
    return values


def change_bytes(random_, data):
    """A few bytes flipped, inserted, removed or repeated."""
    data = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(data) + 1)
        what = random_.random()
        if what < 0.4 and at < len(data):
            data[at] ^= 1 << random_.randrange(8)
        elif what < 0.6:
            data[at:at] = random_.randbytes(random_.randint(1, 4))
        elif what < 0.8:
            del data[at:at + random_.randint(1, 8)]
        else:
            data[at:at] = data[at:at + random_.randint(1, 64)]
    return bytes(data)


class Sender(threading.Thread):
    """Sends to one service until the time is over; `trouble` is what it must not meet."""

    def __init__(self, test, service, number, until):
        super().__init__(daemon=True)
        self.test, self.service, self.until = test, service, until
        self.random = random.Random(f"{SEED}/{type(self).__name__}/{service}/{number}")
        self.url = f"ipc://{test.stack.state}/run/{service}.sock"
        self.counts = collections.Counter()
        self.trouble = None
        self.calls = self.barred = None
        self.ids = itertools.count()

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.send_one()
        except BaseException as error:  # told by the test's own thread
            self.trouble = error
        finally:
            if self.calls is not None:
                self.calls.close()

    def open(self, key):
        if self.calls is None:
            self.calls = Client(self.url, key, self.test.services[self.service])
        self.calls.batched = self.random.random() < 0.5
        return self.calls

    def method(self):
        """Any, with a well-formed payload."""
        return self.random.choice(fields(self.random)[self.service] +
                                  standard_fields(self.random))


class Stranger(Sender):
    """May do nothing, and tries."""

    def send_one(self):
        act = self.random.choice((self.cut_short, self.altered, self.altered,
                                  self.unknown_key, self.no_such_right, self.again,
                                  self.out_of_time))
        act()
        self.counts[act.__name__] += 1

    def change(self):
        """Would add a piece, were it run."""
        number = f"stranger-{self.random.getrandbits(60)}"
        if self.service == "inventory":
            return ("inventory.v1.Inventory/AdjustStock",
                    pack((1, "live"), (2, 1), (3, "stranger"), (4, number)))
        method, values = self.random.choice(fields(self.random)[self.service])
        return method, pack(*values)

    def text(self, **more):
        method, payload = self.change()
        return request(method, payload, identity=f"stranger-{next(self.ids)}", **more)

    def refused(self, calls, frame, nonce):
        with self.test.assertRaises((Refused, Failed)) as caught:
            answered = calls.session.open(calls.exchange(frame), nonce)
            client.answer(answered, "nobody's")
        if isinstance(caught.exception, Failed):
            assert caught.exception.not_run, caught.exception

    def cut_short(self):
        """A message whose rest does not come."""
        connection = Connection(self.url)
        frame = self.random.randbytes(self.random.randint(1, 100))
        size = (len(frame) + self.random.randint(1, 1000)).to_bytes(8, "big")
        with contextlib.suppress(OSError):
            connection.socket.sendall(b"\x01" + size + frame)
        connection.close()

    def altered(self):
        calls = self.open(self.test.operator)
        nonce = calls.session.next_nonce()
        frame = calls.session.seal(self.text(), nonce)
        changed = change_bytes(self.random, frame)
        if changed != frame:
            self.refused(calls, changed, nonce)

    def unknown_key(self):
        calls = self.open(self.test.operator)
        session = client.Session(self.test.stranger, self.test.services[self.service])
        session.name = self.random.choice((b"operator", b"gateway", b"nobody", b"", b"\xff"))
        nonce = session.next_nonce()
        self.refused(calls, session.seal(self.text(), nonce), nonce)

    def no_such_right(self):
        """The gateway's key: it may place orders, and neither book stock nor charge."""
        if self.service == "orchestrator":
            return
        calls = self.open(self.test.operator)
        if self.barred is None:  # one for all: a server remembers 1,024 sessions
            self.barred = client.Session(self.test.gateway, self.test.services[self.service])
        session = self.barred
        method, values = self.random.choice(
            [entry for entry in fields(self.random)[self.service] if "/List" not in entry[0]])
        nonce, identity = session.next_nonce(), "no-right"
        text = request(method, change_bytes(self.random, pack(*values)), identity=identity)
        answered = session.open(calls.connection.exchange(session.seal(text, nonce)), nonce)
        with self.test.assertRaises(Failed) as caught:
            client.answer(answered, identity)
        self.test.assertEqual(caught.exception.status, PERMISSION_DENIED)

    def again(self):
        """A frame that was good, once more."""
        calls = self.open(self.test.operator)
        nonce = calls.session.next_nonce()
        frame = calls.session.seal(request("rpc.v1.Health/Check"), nonce)
        client.answer(calls.session.open(calls.connection.exchange(frame), nonce))
        self.refused(calls, frame, nonce)

    def out_of_time(self):
        calls = self.open(self.test.operator)
        now = time.time_ns() // 1000000
        away = self.random.choice((-10**12, -40000, 40000, 10**12))
        nonce = calls.session.next_nonce()
        self.refused(calls, calls.session.seal(self.text(sent_at_ms=now + away), nonce), nonce)


class Noise(Sender):
    """Knows no protocol."""

    def send_one(self):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as raw:
            raw.connect(self.url[len("ipc://"):])
            if self.random.random() < 0.7:
                raw.sendall(b"\0SP\0\0\x30\0\0")
            raw.sendall(self.random.randbytes(self.random.randint(0, 300)))
        self.counts["noise"] += 1
        time.sleep(0.002)  # else there is nobody left who can connect


class Insider(Sender):
    """Its frames are opened; what is in them may be anything."""

    def send_one(self):
        method, values = self.method()
        identity = f"insider-{self.service}-{next(self.ids)}"
        what = self.random.random()
        if what < 0.4:
            values = change_values(self.random, values)
        payload = pack(*values)
        if 0.4 <= what < 0.7:
            payload = change_bytes(self.random, payload)
        text = request(method, payload, identity=identity)
        if what >= 0.8:
            text = change_bytes(self.random, text)
        self.counts[method] += 1
        calls = self.open(self.test.operator)
        try:
            calls.send(text, identity)
            self.counts["done " + method] += 1
        except Failed as error:
            if not error.not_run and error.status not in NOT_DONE:
                self.counts["done " + method] += 1
        except (Refused, NotTheService, UnicodeDecodeError):
            # Out of time, or answered under another id, after a change of the envelope.
            self.counts["done " + method] += what >= 0.8


class LiveTest(StackTest):
    """What both stacks have."""

    # Freed memory is not held back for long, so that what grows is what is kept.
    environment = {"ASAN_OPTIONS": "abort_on_error=1:quarantine_size_mb=4:detect_stack_use_after_return=1"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"seed {SEED}", file=sys.stderr)
        keys = cls.stack.state / "keys"
        cls.operator, cls.gateway = Key(keys / "operator.key"), Key(keys / "gateway.key")
        stranger = cls.stack.base / "stranger.key"
        cls.stack.ctl("key", "new", "stranger", "--out", str(stranger))
        cls.stranger = Key(stranger)
        cls.services = client.known_services(keys / "known_services")
        cls.stack.product("live", 1000000)
        cls.stack.product("bought", 1000)

    # --- what is looked at ---

    def tables(self):
        return [row[0] for row in self.stack.sql(
            "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN "
            "('orders', 'inventory', 'payment', 'sandbox') ORDER BY 1")]

    def contents(self):
        """A digest of each table."""
        return {table: self.stack.sql(
            f"SELECT count(*), md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) "
            f"FROM {table} t")[0] for table in self.tables()}

    def rows(self, table):
        return self.stack.number(f"SELECT count(*) FROM {table}")

    def memory_kb(self, name):
        status = Path(f"/proc/{self.stack.pid(name)}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def send(self, kind, shopper=None):
        """Two senders a service; what they counted."""
        until = time.monotonic() + SECONDS
        senders = [kind(self, service, number, until)
                   for service in SERVICES if service != "gateway" for number in range(2)]
        for sender in senders:
            sender.start()
        orders = itertools.count()
        while shopper is not None and time.monotonic() < until:
            self.shop(shopper, f"{kind.__name__}-{next(orders)}")
        for sender in senders:
            sender.join(SECONDS + 60)
            self.assertFalse(sender.is_alive(), f"{sender.service} does not answer")
            if sender.trouble is not None:
                raise sender.trouble
        counts = sum((sender.counts for sender in senders), collections.Counter())
        print(f"{kind.__name__}: {sum(counts.values())} frames, {next(orders)} orders",
              file=sys.stderr)
        return counts

    def shop(self, shopper, name):
        shopper.until_final(lambda: shopper.put_cart(name, [("bought", 1)]))
        self.expect(shopper.order_until_final(name, key=f"key-{name}"), 201)

    def check_alive(self, pids):
        """Nobody died, but for who got out of a hang of nng's (lib/rpc/nng_defects/linger.c)."""
        wait_until(lambda: self.stack.ctl("health", check=False).returncode == 0, 30,
                   "every service serves")
        for name in SERVICES:
            if self.stack.pid(name) != pids[name]:
                self.assertIn("event=transport_hangs", self.stack.log("up"), name)


class FramesTest(LiveTest):
    def test_strangers_change_nothing(self):
        pids = {name: self.stack.pid(name) for name in SERVICES}
        before = self.contents()
        counts = self.send(Stranger)
        self.assertEqual(self.contents(), before)
        for act in ("cut_short", "altered", "unknown_key", "no_such_right", "again", "out_of_time"):
            self.assertGreater(counts[act], 0, counts)
        self.check_alive(pids)

    def test_insiders_get_done_what_they_are_told_and_no_more(self):
        pids = {name: self.stack.pid(name) for name in SERVICES}
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        self.send(Insider, shopper)  # caches and arenas are filled
        made = {"inventory.ledger": ("AdjustStock",), "payment.charges": ("Charge", "Refund"),
                "inventory.reservations": ("Reserve", "Confirm", "Release"),
                "orders.orders": ("Place",), "orders.carts": ("PutCart",)}
        before = {table: self.rows(table) for table in made}
        memory = {name: self.memory_kb(name) for name in SERVICES}
        counts = self.send(Insider)
        for table, methods in made.items():
            told = sum(count for name, count in counts.items() if name.startswith("done ")
                       and name.endswith(tuple("/" + method for method in methods)))
            self.assertLessEqual(self.rows(table) - before[table], told, table)
        for name in SERVICES:
            self.assertLess(self.memory_kb(name) - memory[name], GROWTH_MAX_KB, name)
        self.check_alive(pids)
        self.give_back()
        self.stack.ctl("audit", "--grace", "0")
        self.shop(shopper, "after")

    def give_back(self):
        """What insiders reserved and charged by themselves, past the orchestrator."""
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        for service, method, rows in (
                ("inventory", "inventory.v1.Inventory/Release",
                 "SELECT id FROM inventory.reservations WHERE state = 'held'"),
                ("payment", "payment.v1.Payment/Refund",
                 "SELECT c.id FROM payment.charges c LEFT JOIN orders.orders o"
                 " ON o.charge_id = c.id WHERE c.state = 'captured' AND o.id IS NULL")):
            calls = Client(f"ipc://{self.stack.state}/run/{service}.sock", self.operator,
                           self.services[service])
            for identity, in self.stack.sql(rows):
                calls.call(method, pack((1, identity)))
            calls.close()
        for sentence in ("received = available + held + sold = what was booked",
                         "sold is what the confirmed reservations hold",
                         "every order has its captured charge, for the same amount"):
            self.assertEqual(self.stack.sql(SUMS[sentence])[:10], [], sentence)
        check_sums(self, self.stack)


class NoiseTest(LiveTest):
    environment = {**LiveTest.environment,
                   "LSAN_OPTIONS": f"suppressions={HERE}/noise.supp:print_suppressions=0"}

    def test_shoppers_order_through_noise(self):
        pids = {name: self.stack.pid(name) for name in SERVICES}
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        self.send(Noise, shopper)
        self.check_alive(pids)
        self.shop(shopper, "after")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
