"""What a NATS server answers is taken for what it is: only a place in our stream is stored."""
import uuid

from nats_double import NatsDouble
from stack import Stack, StackTest, main, wait_until

FULL = {"error": {"code": 503, "err_code": 10077, "description": "maximum messages exceeded"},
        "stream": "CHECKOUT", "seq": 0}


class EventsAnswers(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.double = NatsDouble().start()
        cls.addClassCleanup(cls.double.stop)
        cls.stack.environment["CHECKOUT_NATS_URL"] = cls.double.url
        cls.stack.start()
        cls.stack.product("cup", 1_000_000)
        cls.shopper = cls.stack.shopper()

    def setUp(self):
        self.double.answer = self.double.store
        self.wait_published()

    def order(self):
        """Its event's id."""
        name = str(uuid.uuid4())
        self.shopper.put_cart(name, [("cup", 2)])
        answer = self.shopper.order(name, name)
        self.assertEqual(answer.status, 201, repr(answer))
        return answer.json["order_id"] + ".1"

    def lag(self):
        return self.stack.call("events.v1.Events/GetLag")

    def wait_published(self):
        def all_published():
            lag = self.lag()
            return int(lag.get("unpublished", 0)) + int(lag.get("unplaced", 0)) == 0
        wait_until(all_published, 30, "the bus has everything")

    def wait_said(self, words):
        wait_until(lambda: words in self.stack.log("orchestrator"), 30,
                   f"{words}: {self.stack.log('orchestrator')[-1500:]}")

    def given_again_until_stored(self, answer, said):
        """`answer` is no acknowledgement, however often it comes."""
        before = int(self.lag().get("published", 0))
        self.double.answer = answer
        name = self.order()
        wait_until(lambda: self.double.attempts[name] >= 4, 30, "it is given again and again")
        self.assertEqual(int(self.lag().get("published", 0)), before, "not told as published")
        self.wait_said(said)
        self.double.answer = self.double.store
        self.wait_published()
        self.assertIn(name, self.double.stored)

    def test_a_repeat_with_sequence_0_is_no_acknowledgement(self):
        """nats-server 2.10 with replicas, of a message it refused: sequence 0, a duplicate."""
        self.given_again_until_stored(
            lambda message: FULL if message.attempt == 1 else
            {"stream": "CHECKOUT", "seq": 0, "duplicate": True},
            "has not stored it (sequence 0)")

    def test_what_is_no_acknowledgement_is_not_taken_for_one(self):
        for answer, said in (({"stream": "OTHER", "seq": 7}, "the stream OTHER answered"),
                             ({"seq": 7}, "the stream of no name answered"),
                             ({"stream": "CHECKOUT"}, "(sequence 0)"),
                             ({}, "the stream of no name answered"),
                             ({"stream": "CHECKOUT", "seq": "7"}, "is not acknowledged"),
                             (b"+OK", "is not acknowledged"),
                             (b"", "is not acknowledged")):
            with self.subTest(answer=answer):
                self.given_again_until_stored(lambda message: answer, said)
        self.assertNotIn("event=leader_lost", self.stack.log("orchestrator"))

    def test_the_servers_own_words_are_told(self):
        self.double.answer = lambda message: FULL
        self.order()
        self.wait_said("is refused: maximum messages exceeded.")


if __name__ == "__main__":
    main()
