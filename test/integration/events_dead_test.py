"""An event that NATS refuses holds up nobody but its own order, and is not forgotten."""
import json
import re
import uuid

from nats import NatsServer
from nats_double import NatsDouble
from stack import Stack, StackTest, main, wait_until

REFUSED = {"error": {"code": 400, "err_code": 10054,
                     "description": "message size exceeds maximum allowed"},
           "stream": "CHECKOUT", "seq": 0}


class EventsDead(StackTest):
    """Against a double, which refuses the events of `bad` and takes all others."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.double = NatsDouble().start()
        cls.addClassCleanup(cls.double.stop)
        cls.stack.environment |= {"CHECKOUT_NATS_URL": cls.double.url,
                                  "CHECKOUT_ORCHESTRATOR_NATS_ATTEMPTS": "3"}
        cls.stack.start()
        cls.stack.product("cup", 1_000_000)
        cls.shopper = cls.stack.shopper()

    def setUp(self):
        self.bad = set()
        self.double.answer = lambda message: (
            REFUSED if message.headers["Nats-Msg-Id"] in self.bad else self.double.store(message))

    def order(self, bad=False):
        """Its event's id; a bad one is refused from the beginning."""
        self.double.answer, answer = lambda message: None, self.double.answer
        name = str(uuid.uuid4())
        self.shopper.put_cart(name, [("cup", 2)])
        placed = self.shopper.order(name, name)
        self.assertEqual(placed.status, 201, repr(placed))
        event = placed.json["order_id"] + ".1"
        if bad:
            self.bad.add(event)
        self.double.answer = answer
        return event

    def another_event_of(self, event):
        order, sequence = event.split(".")
        self.stack.sql("INSERT INTO orders.outbox (order_id, sequence, type, payload) "
                       f"VALUES ('{order}', {int(sequence) + 1}, 'order.noted', '{{}}')")
        return f"{order}.{int(sequence) + 1}"

    def lag(self):
        return self.stack.call("events.v1.Events/GetLag")

    def wait_passed(self):
        def all_passed():
            lag = self.lag()
            return int(lag.get("unpublished", 0)) + int(lag.get("unplaced", 0)) == 0
        wait_until(all_passed, 30, "nothing is left before the bus")

    def wait_taken(self, event):
        wait_until(lambda: event in self.double.stored, 30, f"{event} is taken")

    def dead(self):
        """What is said of each, by its id."""
        return dict(line.split(None, 1) for line in
                    self.stack.ctl("events", "dead").splitlines())

    def wait_given_up(self, event):
        wait_until(lambda: "given up after 3 attempts: message size exceeds maximum allowed"
                   in self.dead().get(event, ""), 30, "it is given up")

    def test_1_others_go_on_and_of_its_order_none_overtakes_it(self):
        self.order()
        bad = self.order(bad=True)
        wait_until(lambda: "event=publish_refused" in self.stack.log("orchestrator"), 30,
                   "alone, it may be the bus")
        good = self.order()
        self.wait_taken(good)
        second = self.another_event_of(bad)
        self.wait_passed()
        self.assertIn("waits: an earlier event of its order was refused", self.dead()[second])
        self.wait_given_up(bad)
        self.check_lists(bad, second)
        (request,), = self.stack.sql("SELECT request_id FROM orders.checkouts "
                                     f"WHERE order_id = '{bad[:-2]}'")
        self.assertIn(f"event=event_dead request={request} order={bad[:-2]} event_id={bad} ",
                      self.stack.log("orchestrator"))
        self.assertIn(f"event=event_refused order={bad[:-2]} event_id={bad} ",
                      self.stack.log("orchestrator"))
        self.assertRegex(self.stack.ctl("events", "lag"), r"(?m)^dead letters +1  given up, and 1 ")
        self.metrics_count({"given_up": 1, "tried": 1})
        self.assertNotIn(second, self.double.attempts)
        audit = self.stack.ctl("audit", check=False)
        self.assertEqual(audit.returncode, 1, audit.stderr)
        self.assertRegex(audit.stdout, rf"(?m)^event.bus {bad}\n  given up after 3 attempts: ")
        self.assertRegex(self.stack.ctl("explain", bad[:-2]),
                         "event order.created refused by the bus: message size exceeds")
        self.it_is_sent_after_all(bad, second)

    def check_lists(self, bad, second):
        def listed(*options):
            done = self.stack.ctl("events", "dead", *options, check=False)
            self.assertEqual(done.returncode, 0, (options, done.stderr))
            return [line.split()[0] for line in done.stdout.splitlines()], done.stderr

        self.assertEqual(listed(), ([second, bad], ""), "newest first")
        for options, expected in ((["--status", "given_up"], [bad]), (["--status", "tried"], []),
                                  (["--status", "waiting"], [second]),
                                  (["--order", bad[:-2]], [second, bad]),
                                  (["--order", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], []),
                                  (["--user", self.shopper.user], [bad]),
                                  (["--since", "1h"], [second, bad]), (["--until", "1h"], [])):
            self.assertEqual(listed(*options), (expected, ""), options)
        ids, more = listed("--limit", "1")
        self.assertEqual(ids, [second])
        after = re.fullmatch(r"More: the same command with --after (\d+)\n", more)
        self.assertTrue(after, more)
        self.assertEqual(listed("--limit", "1", "--after", after[1]), ([bad], ""))

    def metrics_count(self, wanted):
        def counted():
            reply = json.loads(self.stack.ctl("call", "--service", "orchestrator",
                                              "rpc.v1.Metrics/Read",
                                              '{"prefix": "events_dead_letters"}'))
            return {m["labels"][0]["value"]: int(m.get("value", 0))
                    for m in reply["metrics"]} == wanted
        wait_until(counted, 20, f"the metrics count {wanted}")

    def it_is_sent_after_all(self, bad, second):
        self.assertIn("There is no dead letter 01M88AFD31PZJ4FJWNK8B1847R.1", self.stack.ctl(
            "events", "resend", "01M88AFD31PZJ4FJWNK8B1847R.1"))
        self.bad.clear()
        # Asked for the second, the first goes before it.
        self.assertIn("2 events are given", self.stack.ctl("events", "resend", second))
        self.wait_taken(second)
        self.assertLess(self.double.stored[bad], self.double.stored[second])
        wait_until(lambda: not self.dead(), 10, "the list is empty")
        self.metrics_count({"given_up": 0, "tried": 0})

    def test_2_what_is_taken_within_the_attempts_leaves_the_list_by_itself(self):
        bad, good = self.order(bad=True), self.order()
        self.wait_taken(good)
        wait_until(lambda: bad in self.dead(), 30, "it is set aside")
        self.bad.clear()
        self.wait_taken(bad)
        wait_until(lambda: not self.dead(), 10, "the list is empty")

    def test_3_what_is_dropped_is_gone_and_its_order_goes_on(self):
        bad, good = self.order(bad=True), self.order()
        self.wait_taken(good)
        second = self.another_event_of(bad)
        self.wait_given_up(bad)
        self.stack.ctl("events", "drop", bad)
        self.wait_taken(second)
        wait_until(lambda: not self.dead(), 10, "the list is empty")
        self.assertNotIn(bad, self.double.stored)
        self.assertRegex(self.stack.log("orchestrator"), rf"event=dead_letter_dropped request=\S+ "
                         rf"order={bad[:-2]} event_id={bad} ")

    def test_4_a_bus_that_refuses_everything_has_nothing_set_aside(self):
        self.double.answer = lambda message: REFUSED
        names = [self.order() for _ in range(3)]
        wait_until(lambda: all(self.double.attempts[name] >= 5 for name in names), 60,
                   "all are given again and again")
        self.assertEqual(self.dead(), {})
        self.double.answer = self.double.store
        for name in names:
            self.wait_taken(name)
        self.assertEqual(sorted(names, key=self.double.stored.get), names)

    def test_5_a_replay_leaves_a_dead_letter_where_it_is(self):
        bad, good = self.order(bad=True), self.order()
        self.wait_taken(good)
        self.wait_given_up(bad)
        attempts = self.double.attempts[bad]
        self.stack.ctl("events", "replay", "--from", "1")
        last = self.order()
        self.wait_taken(last)
        self.assertEqual(self.double.attempts[bad], attempts)
        self.assertIn("given up", self.dead()[bad])
        self.stack.ctl("events", "drop", bad)


USERS = """
no_auth_user: "tester"
authorization { users: [{ user: "tester", password: "x" },
                        { user: "shop", password: "x" %s }] }"""
DENIED = ', permissions: { publish: { deny: ["checkout.order.noted"] } }'


class EventsForbidden(StackTest):
    """A server that forbids one type of event: it answers nothing to such a message."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.server = NatsServer(cls.stack.base / "nats", USERS % DENIED).start()
        cls.addClassCleanup(cls.server.stop)
        cls.stack.environment["CHECKOUT_NATS_URL"] = cls.server.url.replace("//", "//shop:x@")
        cls.stack.start()

    def ids(self):
        return [headers["Nats-Msg-Id"] for headers, _ in self.server.messages("CHECKOUT")]

    def add_events(self, **types):
        for order, event_type in types.items():
            self.stack.sql("INSERT INTO orders.outbox (order_id, sequence, type, payload) "
                           f"VALUES ('{order}', 1, 'order.{event_type}', '{{}}')")

    def test_the_others_go_on_and_the_servers_words_are_told(self):
        self.add_events(A="created", B="noted", C="created", D="noted", E="created")
        wait_until(lambda: self.server.count("CHECKOUT") == 3, 30, "the others are published")
        dead = wait_until(lambda: self.stack.ctl("events", "dead"), 10, "they are listed")
        for order in "BD":
            self.assertRegex(dead, rf'(?m)^{order}\.1 .* attempts: '
                             r'Permissions Violation for Publish to "checkout\.order\.noted"$')
        self.server.kill()
        self.server.configure(USERS % "")
        self.server.start()
        self.stack.ctl("events", "resend")
        wait_until(lambda: self.server.count("CHECKOUT") == 5, 30, "all are published")
        self.assertEqual(sorted(self.ids()), ["A.1", "B.1", "C.1", "D.1", "E.1"])


if __name__ == "__main__":
    main()
