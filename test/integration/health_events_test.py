"""What carries events has health as well, and no order waits for it: the relay, NATS and the
webhook sender are told of beside the services, and /healthz does not fail for them.
"""
import base64
import os
import signal
import subprocess
import uuid

from webhooks import Receiver, SECRETS
from nats import NatsServer
from stack import Stack, StackTest, main, wait_until

PUBLISHER_LOCK = 0x6f7574626f79  # orchestrator/events/publisher.c


class HealthOfEvents(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(CHECKOUT_ORCHESTRATOR_EVENTS_BACKLOG_MAX="3",
                          CHECKOUT_WEBHOOK_RETRY_FIRST_MS="50",
                          CHECKOUT_WEBHOOK_RETRY_MOST_MS="200")
        cls.addClassCleanup(cls.stack.stop)
        cls.server = NatsServer(cls.stack.base / "nats").start()
        cls.addClassCleanup(cls.server.stop)
        cls.stack.environment["CHECKOUT_NATS_URL"] = cls.server.url
        cls.receiver = Receiver().start()
        cls.addClassCleanup(cls.receiver.stop)
        cls.stack.start()  # makes the state folder
        cls.stack.process.terminate()
        cls.stack.process.wait(60)
        cls.configure_endpoint()
        cls.stack.start()
        cls.stack.product("cup", 1_000_000)

    def setUp(self):
        self.shopper = self.stack.shopper()
        self.addCleanup(self.shopper.close)

    @classmethod
    def configure_endpoint(cls):
        folder = cls.stack.state / "webhook"
        folder.mkdir(mode=0o700)
        secret = folder / "secret"
        secret.write_text("".join(f"whsec_{base64.b64encode(s).decode()}\n" for s in SECRETS))
        secret.chmod(0o600)
        (folder / "endpoints").write_text(
            f"shop http://127.0.0.1:{cls.receiver.port}/hook {secret}\n")

    def tearDown(self):
        wait_until(lambda: self.stack.health()[0] == 0, 60, "all is well again")

    def warnings(self):
        asker = self.stack.anonymous()
        try:
            answer = asker.ask("GET", "/healthz")
            self.assertEqual(answer.status, 200, repr(answer))
            return answer.json.get("warnings", [])
        finally:
            asker.close()

    def order(self):
        cart = str(uuid.uuid4())
        self.shopper.put_cart(cart, [("cup", 1)])
        self.assertEqual(self.shopper.order(cart, cart).status, 201)

    def wait_told(self, name, words, seconds=30):
        """The row says so, as does ./up, and nothing else is ill."""
        wait_until(lambda: words in self.stack.health()[1][name][1], seconds, f"{name}: {words}")
        status, rows = self.stack.health()
        self.assertEqual({row for row, said in rows.items() if said[0] != "SERVING"}, {name})
        self.assertEqual(status, 1)
        told = self.stack.status()
        self.assertEqual(told["state"], "ready", "orders are taken")
        self.assertIn(words, told[f"health.{name}"])

    def test_all_is_well_and_told_in_one_line_each(self):
        self.assertEqual(set(self.stack.health()[1]), {
            "orchestrator", "orchestrator.events", "orchestrator.nats", "inventory", "payment",
            "gateway", "webhook", "webhook.shop"})
        self.assertEqual(self.warnings(), [])
        self.assertEqual(self.stack.status()["health.webhook.shop"], "SERVING")

    def test_a_bus_that_is_away_is_told_and_orders_go_on(self):
        self.server.kill()
        self.wait_told("orchestrator.nats", "NATS")
        self.assertEqual(self.warnings(), ["nats_not_serving"])
        self.order()
        self.server.start()
        wait_until(lambda: self.warnings() == [], 30, "it is back, and no order came")

    def test_a_relay_that_cannot_write_is_told_and_orders_go_on(self):
        self.stack.sql("REVOKE UPDATE ON orders.relay FROM checkout_orders")
        try:
            self.order()
            self.wait_told("orchestrator.events", "a right in the database is missing")
            self.assertEqual(self.warnings(), ["events_not_serving"])
            self.order()
        finally:
            self.stack.sql("GRANT UPDATE ON orders.relay TO checkout_orders")
        wait_until(lambda: self.warnings() == [], 30, "it is back, and no order came")

    def test_a_backlog_past_the_setting_is_told(self):
        """The publisher's lock is held by somebody who does nothing."""
        holder = subprocess.Popen(
            ["psql", "-XAtq", self.stack.database()], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.wait, 30)
        self.addCleanup(holder.kill)
        holder.stdin.write(f"SELECT pg_advisory_lock({PUBLISHER_LOCK});\nSELECT 'have';\n")
        holder.stdin.flush()
        self.stack.sql("GRANT checkout_orders TO checkout_owner")
        wait_until(lambda: self.stack.number(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), 20,
            "it waits for the lock")
        self.stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                       "WHERE application_name = 'publisher'")
        while holder.stdout.readline() != "have\n":
            pass
        for _ in range(5):
            self.order()
        self.wait_told("orchestrator.nats", "events wait for NATS")
        self.assertEqual(self.warnings(), ["nats_not_serving"])
        holder.kill()
        holder.wait(30)
        wait_until(lambda: self.warnings() == [], 60, "they are published")

    def test_an_endpoint_that_receives_nothing_is_named(self):
        self.receiver.behave = lambda name, attempt: 500
        for _ in range(6):
            self.order()
        self.wait_told("webhook.shop", "answered 500", 60)
        self.assertEqual(self.warnings(), [])
        self.receiver.behave = lambda name, attempt: 200
        wait_until(lambda: self.stack.health()[1]["webhook.shop"][0] == "SERVING", 60, "it is back")

    def test_a_sender_that_hangs_is_named(self):
        pid = self.stack.pid("webhook")
        os.kill(pid, signal.SIGSTOP)
        try:
            self.assertEqual(self.stack.health()[1]["webhook"][0], "UNREACHABLE")
            done = self.stack.up("--status")
            self.assertEqual(done.returncode, 1)
            self.assertIn("state=webhook is not ready", done.stdout)
            self.assertEqual(self.warnings(), [])
        finally:
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main()
