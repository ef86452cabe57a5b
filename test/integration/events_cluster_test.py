"""Three NATS servers with replicas: what was published without a quorum is not lost."""
import json
import uuid

from nats import NatsCluster
from stack import Stack, StackTest, main, wait_until

STREAM = "CHECKOUT"


class EventsCluster(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.cluster = NatsCluster(cls.stack.base / "nats").start()
        cls.addClassCleanup(cls.cluster.stop)
        cls.stack.environment |= {"CHECKOUT_NATS_URL": cls.cluster.url,
                                  "CHECKOUT_ORCHESTRATOR_NATS_REPLICAS": "3"}
        cls.stack.start()
        cls.stack.product("cup", 1_000_000)
        cls.shopper = cls.stack.shopper()

    def order(self):
        name = str(uuid.uuid4())
        self.shopper.put_cart(name, [("cup", 2)])
        answer = self.shopper.order(name, name)
        self.assertEqual(answer.status, 201, repr(answer))

    def unpublished(self):
        lag = self.stack.call("events.v1.Events/GetLag")
        return int(lag.get("unpublished", 0)) + int(lag.get("unplaced", 0))

    def connections(self):
        return self.stack.log("orchestrator").count("event=nats_connected")

    def wait_published(self):
        wait_until(lambda: self.unpublished() == 0, 90, "the bus has everything")

    def stored(self):
        server, _ = wait_until(lambda: self.cluster.leader(STREAM), 60, "the stream has a leader")
        return {json.loads(body)["id"] for _, body in server.messages(STREAM)}

    def test_what_a_leader_without_a_quorum_forgets_is_published_to_the_next(self):
        self.order()
        self.wait_published()
        leader, _ = wait_until(lambda: self.cluster.leader(STREAM), 60, "there is a leader")
        others = [server for server in self.cluster.servers if server is not leader]
        for server in others:
            server.kill()
        before = self.connections()
        for _ in range(20):
            self.order()
        # Given to the leader, whom nobody follows, and after each failure once more.
        wait_until(lambda: self.connections() >= before + 3 or not self.unpublished(), 60,
                   "it is given again and again")
        self.assertEqual(self.unpublished(), 20, "nobody has stored it")
        leader.kill()
        for server in others:
            server.start()
        wait_until(lambda: self.cluster.leader(STREAM), 60, "another leads")
        leader.start()
        self.wait_published()
        orders = {row[0] + ".1" for row in self.stack.sql("SELECT id FROM orders.orders")}
        self.assertEqual(self.stored(), orders)


if __name__ == "__main__":
    main()
