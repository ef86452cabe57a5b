"""A NATS stream that would drop events is not used, and what to change is said."""
import subprocess
import uuid

from nats import NatsServer
from stack import BUILD, Stack, StackTest, main, wait_until

STREAM = "CHECKOUT"
KEEP_MS = 60_000  # below the two minutes for which ids are known unless less is kept
GOOD = {"name": STREAM, "subjects": ["checkout.>"], "storage": "file"}
PER_SUBJECT = {"max_msgs_per_subject": 1000}

# What a stream may not have, and what is said of it.
UNFIT = (({"retention": "interest"}, "its retention must be limits, not interest"),
         ({"retention": "workqueue"}, "its retention must be limits, not workqueue"),
         ({"storage": "memory"}, "its storage must be file, not memory"),
         ({"max_msgs": 1000}, "drops old events at max_msgs: remove that, or set discard to new"),
         ({"max_bytes": 1 << 20}, "drops old events at max_bytes"),
         (PER_SUBJECT, "drops old events at max_msgs_per_subject"),
         (PER_SUBJECT | {"discard": "new"}, "drops old events at max_msgs_per_subject"),
         ({"max_age": (KEEP_MS - 1) * 1_000_000, "duplicate_window": 1_000_000_000},
          f"keeps events for {KEEP_MS - 1} ms (max_age), and nats_keep_ms is {KEEP_MS}"),
         ({"no_ack": True}, "acknowledges nothing (no_ack)"),
         ({"subjects": ["other.>"]}, "does not take the subjects checkout.>"),
         ({"max_msg_size": 65535}, "max_msg_size is 65535"))

# What it may have: it then refuses what it has no room for, or keeps for as long as we ask.
FIT = ({"max_msgs": 1000, "discard": "new"}, {"max_bytes": 1 << 20, "discard": "new"},
       PER_SUBJECT | {"discard": "new", "discard_new_per_subject": True},
       {"max_age": KEEP_MS * 1_000_000, "duplicate_window": 1_000_000_000})


class EventsStream(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.server = NatsServer(cls.stack.base / "nats").start()
        cls.addClassCleanup(cls.server.stop)
        cls.stack.environment |= {"CHECKOUT_NATS_URL": cls.server.url,
                                  "CHECKOUT_ORCHESTRATOR_NATS_KEEP_MS": str(KEEP_MS)}
        cls.stack.start()
        cls.stack.product("cup", 1_000_000)
        cls.shopper = cls.stack.shopper()

    def order(self):
        name = str(uuid.uuid4())
        self.shopper.until_final(lambda: self.shopper.put_cart(name, [("cup", 2)]))
        answer = self.shopper.order_until_final(name, name)
        self.assertEqual(answer.status, 201, repr(answer))

    def unpublished(self):
        lag = self.stack.call("events.v1.Events/GetLag")
        return int(lag.get("unpublished", 0)) + int(lag.get("unplaced", 0))

    def log(self):
        return self.stack.log("orchestrator")

    def use_stream(self, config):
        """The stream anew, so that an orchestrator started after it has to look at it.  The one
        that runs makes the stream, too, when it finds none: then it is deleted again."""
        def is_made():
            self.server.ask(f"$JS.API.STREAM.DELETE.{STREAM}", {})
            return "error" not in self.server.ask(f"$JS.API.STREAM.CREATE.{STREAM}",
                                                  GOOD | config)

        wait_until(is_made, 30, f"there is a stream with {config}")
        at = len(self.log())
        self.stack.kill("orchestrator")
        self.order()
        return at

    def test_1_a_stream_may_keep_events_for_less_than_ids_are_known(self):
        self.order()
        wait_until(lambda: self.unpublished() == 0, 30, "it is published")
        config = self.server.ask(f"$JS.API.STREAM.INFO.{STREAM}", {})["config"]
        self.assertEqual((config["max_age"], config["duplicate_window"]),
                         (KEEP_MS * 1_000_000, KEEP_MS * 1_000_000))

    def test_2_one_that_would_drop_events_is_refused_with_a_sentence(self):
        for config, said in UNFIT:
            with self.subTest(**config):
                at = self.use_stream(config)
                wait_until(lambda: "event=publish_refused" in self.log()[at:], 30, "it is refused")
                self.assertIn(said, self.log()[at:])
                self.assertGreater(self.unpublished(), 0)
                self.assertIn(self.server.count(STREAM), (0, None))

    def test_3_one_that_refuses_or_keeps_long_enough_is_used(self):
        for config in FIT:
            with self.subTest(**config):
                self.use_stream(config)
                wait_until(lambda: self.unpublished() == 0, 30, "all is published")

    def test_4_one_that_is_made_unfit_while_it_is_used_is_refused_until_it_is_mended(self):
        wait_until(lambda: self.unpublished() == 0, 30, "all is published")
        config = self.server.ask(f"$JS.API.STREAM.INFO.{STREAM}", {})["config"]
        at = len(self.log())

        def update(more):
            self.assertNotIn("error", self.server.ask(f"$JS.API.STREAM.UPDATE.{STREAM}",
                                                      config | more))

        def is_refused_the_next():
            self.order()
            return "event=publish_refused" in self.log()[at:]

        update({"max_msgs": 1000, "discard": "old"})
        wait_until(is_refused_the_next, 60, "it is refused")
        self.assertIn("drops old events at max_msgs: remove that, or set discard to new",
                      self.log()[at:])
        self.assertNotIn("event=nats_connected", self.log()[at:], "it is noticed while connected")
        self.order()
        self.assertGreater(self.unpublished(), 0)
        kept = self.server.count(STREAM)
        update({})
        wait_until(lambda: self.unpublished() == 0, 30, "all is published")
        self.assertGreater(self.server.count(STREAM), kept)
        self.assertIn("event=bus_recovered", self.log()[at:])

    def test_5_an_age_that_the_server_would_refuse_is_a_setting_refused(self):
        done = subprocess.run(
            [BUILD / "bin" / "orchestrator", "--config",
             self.stack.state / "conf" / "orchestrator.conf", "--nats-keep-ms", "99",
             "--listen-url", f"ipc://{self.stack.base}/another.sock"],
            env=self.stack._environ(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nats_keep_ms must be 0, or 100 or more, not 99", done.stderr)


if __name__ == "__main__":
    main()
