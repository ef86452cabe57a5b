"""Events while relays, orchestrators and the bus are killed at random: none is lost, no id
names two, of one order none overtakes another, and Read and NATS give the same set.

    events_test.py [--orders N] [--seed N]
"""
import json
import random
import sqlite3
import sys
import threading
import time

from chaos import ChaosStack, check_sums, wait_until
from load import stock_up
from nats import NatsServer
from stack import StackTest, main
from until_final import UntilFinal

ORDERS, SEED, CLIENTS, RATE = 20000, 5, 64, 600
# What happens, in an order the seed decides: each within its own stretch of the orders.
HURTS = (("publisher",) * 5 + ("other",) * 4 + ("nats",) * 5 + ("session",) * 4 + ("stop",) * 4
         + ("gateway",) * 2)
STREAM = "CHECKOUT"

# An order has one event as yet; so that there is an order to keep, more are written to some
# that are there, as a later state of them would: in a transaction of its own, behind them.
MORE = """
    INSERT INTO orders.outbox (order_id, sequence, type, payload)
    SELECT order_id, max(sequence) + 1, 'order.noted', '{}' FROM orders.outbox
    WHERE order_id IN (SELECT id FROM orders.orders ORDER BY random() LIMIT 150)
    GROUP BY order_id HAVING max(sequence) < 4"""

LONE = """
    INSERT INTO orders.outbox (order_id, sequence, type, payload)
    SELECT '0LONE' || lpad(n::text, 21, '0'), 1, 'order.noted', '{}' FROM generate_series(1, 10) n"""


class Consumer:
    """Reads by a cursor, writes each event to a table once, and often dies before it commits."""

    def __init__(self, stack, seed):
        self.stack, self.dice = stack, random.Random(seed)
        self.ended = threading.Event()
        self.table = sqlite3.connect(":memory:", check_same_thread=False)
        self.table.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, json TEXT, position INTEGER)")
        self.repeats, self.troubles = 0, []
        self.position = self.committed = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def call(self, method, **message):
        """The reply, or None when nobody could be reached."""
        done = self.stack.ctl("call", f"events.v1.Events/{method}", json.dumps(message),
                              "--max-time", "3", check=False)
        if done.returncode in (64 + 14, 64 + 4, 64 + 8, 64 + 1):
            return None
        if done.returncode != 0:
            raise AssertionError(f"{method} {message}: {done.stderr}")
        return json.loads(done.stdout)

    def _run(self):
        try:
            while not self.ended.is_set():
                self._read()
        except Exception as trouble:  # told by the test
            self.troubles.append(repr(trouble))

    def _read(self):
        reply = self.call("Read", cursor="chaos", after=self.position, limit=1000, wait_ms=1000)
        if reply is None:
            time.sleep(0.05)
            return
        for event in reply.get("events", []):
            self._take(int(event["position"]), event["id"], event["json"])
        self.ended.wait(0.2)  # so that it reads many at once
        if self.dice.random() < 0.3:
            # It dies, and the next of its kind knows only what was committed.
            self.position = self.committed
        elif self.position > self.committed and (
                at := self.call("Commit", cursor="chaos", position=self.position)):
            self.committed = int(at["position"])

    def _take(self, position, name, text):
        if position != self.position + 1:
            self.troubles.append(f"a gap: {position} after {self.position}")
        self.position = position
        row = self.table.execute("SELECT json, position FROM seen WHERE id = ?", (name,)).fetchone()
        if row is None:
            self.table.execute("INSERT INTO seen VALUES (?, ?, ?)", (name, text, position))
        elif row != (text, position):
            self.troubles.append(f"{name} is {row} and {(text, position)}")
        else:
            self.repeats += 1

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.ended.set()
        self.thread.join(30)

    def end(self, position):
        wait_until(lambda: self.position >= position or self.troubles, 60, "all is consumed")
        self.stop()
        return dict(self.table.execute("SELECT id, json FROM seen"))


class Events(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = ChaosStack(replicas=("orchestrator",),
                               CHECKOUT_ORCHESTRATOR_RELAY_TAKEOVER_MS="1000",
                               CHECKOUT_GATEWAY_USER_RATE="1000000")
        cls.addClassCleanup(cls.stack.stop)
        cls.server = NatsServer(cls.stack.base / "nats").start()
        cls.addClassCleanup(cls.server.stop)
        cls.stack.environment["CHECKOUT_NATS_URL"] = cls.server.url
        run = cls.stack.state / "run"
        cls.stack.environment["CHECKOUT_CHECKOUTCTL_ORCHESTRATOR_ADDRESSES"] = (
            f"ipc://{run}/orchestrator.sock,ipc://{run}/orchestrator-2.sock")
        cls.stack.start()
        cls.stack.sql("GRANT checkout_orders TO checkout_owner")  # to end its sessions
        stock_up(cls.stack, scarce=100_000)

    def hurt_at_random(self, what, dice):
        publishers = self.publishers()
        publisher = publishers[-1] if publishers else "orchestrator"
        other = "orchestrator" if publisher == "orchestrator-2" else "orchestrator-2"
        if what == "nats":
            self.server.kill()
            time.sleep(dice.random())
            self.server.start()
        elif what == "session":  # of the relay, with its lock
            self.stack.sql("SELECT pg_terminate_backend(pid) FROM pg_locks "
                           "WHERE locktype = 'advisory' AND granted")
        elif what == "gateway":  # whose clients must ask again
            wait_until(lambda: self.stack.hurt("kill", "gateway"), 30, "it can be killed")
        elif what == "stop":
            name = dice.choice((publisher, other))
            self.stack.hurt("stop", name)
            time.sleep(2 * dice.random())
            self.stack.wake(name)
        else:
            name = publisher if what == "publisher" else other
            wait_until(lambda: self.stack.hurt("kill", name), 30, f"{name} can be killed")

    def order_under_fire(self):
        dice = random.Random(SEED)
        hurts = dice.sample(HURTS, len(HURTS))
        stretch = 0.85 * ORDERS / len(hurts)  # the last, too, has orders behind it
        load = UntilFinal(self.stack, CLIENTS, ORDERS, RATE, seed=SEED).start()
        self.addCleanup(load.stop)
        began = time.monotonic()
        for n, what in enumerate(hurts):
            self.assertTrue(load.wait_answered(int((n + dice.random()) * stretch)),
                            load.troubles)
            self.assertIsNone(load.process.poll(), f"no orders are left to see {what}")
            self.hurt_at_random(what, dice)
            self.stack.sql(MORE)
        load.join(120)
        self.assertEqual(load.troubles, [])
        self.assertGreater(load.report["repeats"], 0, "nobody had to ask again")
        self.stack.calm()
        print(f"    seed {SEED}: {ORDERS} orders in {time.monotonic() - began:.0f} s, asked "
              f"again {load.report['repeats']} times, hurt: {' '.join(hurts)}", flush=True)
        return load

    def wait_published(self):
        """All there is has a position, and the bus has acknowledged it; gives the last one."""
        def last():
            row = self.stack.sql(
                "SELECT placed FROM orders.relay WHERE published = placed AND NOT EXISTS "
                "(SELECT FROM orders.outbox WHERE position IS NULL OR published_at IS NULL)")
            return int(row[0][0]) if row else 0
        return wait_until(last, 60, "all is published")

    def check_order(self, events, where):
        """`events` as first delivered: of each order 1, 2, 3 ..."""
        seen = {}
        for event in events:
            order, sequence = event["subject"], int(event["sequence"])
            self.assertEqual(sequence, seen.get(order, 0) + 1, f"{order} {where}")
            seen[order] = sequence

    def check_stream(self, consumed):
        first = {}
        for headers, body in self.server.messages(STREAM):
            name = headers["Nats-Msg-Id"]
            self.assertEqual(first.setdefault(name, body), body, f"{name} names two events")
        self.assertEqual(sorted(set(first) ^ set(consumed))[:5], [],
                         "in one of Read and NATS only")
        self.assertEqual([name for name, body in first.items()
                          if body.decode() != consumed[name]], [], "not the same bytes")
        self.check_order([json.loads(body) for body in first.values()], "in the stream")

    def publishers(self):
        """The processes that published, one after another."""
        taken = []
        for name in ("orchestrator", "orchestrator-2"):
            taken += [(line.split()[0], name) for line in self.stack.log(name).splitlines()
                      if "event=leader_elected task=publisher" in line]
        return [name for _, name in sorted(taken)]

    def test_2_a_publisher_that_hangs_is_taken_over_within_seconds(self):
        before = wait_until(self.publishers, 30, "one publishes")
        self.stack.hurt("stop", before[-1])
        self.addCleanup(self.stack.calm)
        # Nominally five; before another has it NATS gets nothing.
        wait_until(lambda: self.publishers()[len(before):], 15, "another publishes")
        self.assertNotEqual(self.publishers()[-1], before[-1])
        self.stack.sql(LONE)
        self.wait_published()
        self.stack.sql("DELETE FROM orders.outbox WHERE type = 'order.noted'")

    def test_1_every_event_of_every_order_arrives_whoever_dies(self):
        consumer = Consumer(self.stack, SEED).start()
        self.addCleanup(consumer.stop)
        load = self.order_under_fire()
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        consumed = consumer.end(self.wait_published())
        self.assertEqual(consumer.troubles, [])
        self.assertGreater(consumer.repeats, 0, "the consumer never died")

        orders = {row[0] for row in self.stack.sql("SELECT id FROM orders.orders")}
        self.assertEqual(set(load.placed), orders)
        events = [json.loads(text) for text in consumed.values()]
        self.assertEqual({event["subject"] for event in events
                          if event["type"] == "order.created"}, orders)
        self.assertEqual({name for name in consumed if name.endswith(".1")},
                         {f"{order}.1" for order in orders})
        self.check_order(events, "by Read")
        self.check_stream(consumed)
        self.stack.sql("DELETE FROM orders.outbox WHERE type = 'order.noted'")
        check_sums(self, self.stack)


if __name__ == "__main__":
    for option in ("--orders", "--seed"):
        if option in sys.argv:
            at = sys.argv.index(option)
            globals()[option[2:].upper()] = int(sys.argv[at + 1])
            del sys.argv[at:at + 2]
    main()
