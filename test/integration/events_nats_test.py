"""NATS JetStream: what was ordered is in the stream, also when the server dies or loses it."""
import json
import re
import signal
import ssl
import subprocess
import time
import uuid

from nats import NatsServer
from nkeys import Operator
from stack import CTL, Stack, StackTest, give, main, wait_until

STREAM = "CHECKOUT"


class EventsNats(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.server = NatsServer(cls.stack.base / "nats").start()
        cls.addClassCleanup(cls.server.stop)
        cls.stack.environment["CHECKOUT_NATS_URL"] = cls.server.url
        cls.stack.start()
        cls.stack.product("cup", 1_000_000)
        cls.shopper = cls.stack.shopper()

    def order(self):
        name = str(uuid.uuid4())
        self.shopper.put_cart(name, [("cup", 2)])
        answer = self.shopper.order(name, name)
        self.assertEqual(answer.status, 201, repr(answer))
        return answer.json["order_id"]

    def lag(self):
        return self.stack.call("events.v1.Events/GetLag")

    def wait_published(self, seconds=60):
        def all_published():
            lag = self.lag()
            return int(lag.get("unpublished", 0)) + int(lag.get("unplaced", 0)) == 0
        wait_until(all_published, seconds, "the bus has everything")

    def read_all(self):
        events, after = [], 0
        while page := [json.loads(line) for line in self.stack.ctl(
                "events", "read", "--after", str(after), "--limit", "1000").splitlines()]:
            events += page
            after = page[-1]["position"]
        return events

    def check_same(self):
        """The stream has what Read gives, in its order, and nothing twice."""
        read = self.read_all()
        stored = self.server.messages(STREAM)
        self.assertEqual([json.loads(body) for _, body in stored],
                         [line["event"] for line in read])
        for (headers, body), line in zip(stored, read):
            event = json.loads(body)
            self.assertEqual(headers["Nats-Msg-Id"], event["id"])
            self.assertEqual(headers["Checkout-Position"], str(line["position"]))
            self.assertEqual(headers["content-type"], "application/cloudevents+json")
        orders = {row[0] for row in self.stack.sql("SELECT id FROM orders.orders")}
        self.assertEqual({line["event"]["subject"] for line in read}, orders)
        return len(read)

    def test_1_an_order_is_in_the_stream_as_a_cloudevent(self):
        order_id = self.order()
        self.wait_published()
        wait_until(lambda: self.server.count(STREAM), 10, "the stream has a message")
        event = json.loads(self.server.messages(STREAM)[-1][1])
        self.assertEqual(
            {name: event[name] for name in ("specversion", "id", "type", "subject", "source")},
            {"specversion": "1.0", "id": f"{order_id}.1", "type": "order.created",
             "subject": order_id, "source": "/checkout/orders"})
        self.assertRegex(event["traceparent"], r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
        self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(event["data"], {
            "order_id": order_id, "user_id": self.shopper.user, "currency": "EUR",
            "total_cents": 2000,
            "lines": [{"sku": "cup", "title": "Test cup", "quantity": 2,
                       "unit_price_cents": 1000}]})
        self.assertNotIn("pm_card", json.dumps(event))
        self.check_same()

    def test_2_orders_go_on_while_the_server_is_away_and_are_published_when_it_is_back(self):
        self.server.kill()
        placed = [self.order() for _ in range(20)]
        # Whoever reads gets them all the same.
        wait_until(lambda: {line["event"]["subject"] for line in self.read_all()} >= set(placed),
                   20, "the events can be read")
        self.assertGreaterEqual(int(self.lag().get("unpublished", 0)), 20)
        self.server.start()
        self.wait_published()
        self.check_same()
        self.assertIn("event=bus_unavailable", self.stack.log("orchestrator"))
        self.assertIn("event=bus_recovered", self.stack.log("orchestrator"))

    def test_3_a_server_that_hangs_is_no_different(self):
        self.order()
        self.server.process.send_signal(signal.SIGSTOP)
        for _ in range(5):
            self.order()
        wait_until(lambda: int(self.lag().get("unpublished", 0)) >= 5, 20, "it is missed")
        self.server.process.send_signal(signal.SIGCONT)
        self.wait_published()
        self.check_same()

    def test_4_what_the_server_acknowledged_and_lost_is_replayed(self):
        self.order()
        self.wait_published()
        before = self.check_same()
        self.server.lose_all()
        self.server.start()
        # Its stream is made anew as soon as something is published.
        self.order()
        self.wait_published()
        self.assertEqual(self.server.count(STREAM), 1)
        self.server.lose_all()
        self.server.start()
        said = self.stack.ctl("events", "replay", "--from", "1")
        self.assertIn(f"{before + 1} events", said)
        self.wait_published()
        self.assertEqual(self.check_same(), before + 1)

    def test_7_a_consumers_key_reads_and_commits_and_nothing_else(self):
        self.order()
        conf = self.stack.state / "conf"
        own = conf / "consumer.conf"
        own.write_text((conf / "checkoutctl.conf").read_text().replace("operator.key",
                                                                       "consumer.key"))
        own.chmod(0o600)

        def call(method, **message):
            return subprocess.run(
                [str(CTL), "--config", str(own), "call", method, json.dumps(message)],
                env=self.stack._environ(), capture_output=True, text=True, timeout=60).returncode
        for method, message, status in (
                ("events.v1.Events/Read", {"after": 0}, 0),
                ("events.v1.Events/Read", {"after": -1}, 64 + 3),
                ("events.v1.Events/Read", {"limit": 1001}, 64 + 3),
                ("events.v1.Events/Read", {"wait_ms": 60001}, 64 + 3),
                ("events.v1.Events/Read", {"cursor": "a cursor"}, 64 + 3),
                ("events.v1.Events/Commit", {"cursor": "mine", "position": 1}, 0),
                ("events.v1.Events/Commit", {"position": 1}, 64 + 3),
                ("events.v1.Events/Commit", {"cursor": "mine", "position": 10 ** 12}, 64 + 11),
                ("events.v1.Events/GetLag", {}, 64 + 7),
                ("events.v1.Events/Replay", {"from": 1}, 64 + 7),
                ("events.v1.Events/ResetCursor",
                 {"caller": "consumer", "cursor": "mine", "position": 0}, 64 + 7),
                ("events.v1.Events/DeleteCursor", {"caller": "consumer", "cursor": "mine"}, 64 + 7),
                ("orders.v1.Orders/ListCheckouts", {}, 64 + 7)):
            with self.subTest(method, **message):
                self.assertEqual(call(method, **message), status)
        self.an_operator_moves_and_deletes_cursors()

    def an_operator_moves_and_deletes_cursors(self):
        def listed():
            found = re.search(r"(?m)^consumer +mine +(\d+) ", self.stack.ctl("cursors", "list"))
            return found and int(found[1])
        self.assertEqual(listed(), 1)
        self.stack.ctl("cursors", "reset", "consumer", "mine", "--after", "0")
        self.assertEqual(listed(), 0)
        for words, status in ((("reset", "consumer", "mine", "--after", str(10 ** 12)), 64 + 11),
                              (("reset", "consumer", "nobodys", "--after", "0"), 64 + 5),
                              (("reset", "a caller", "mine", "--after", "0"), 64 + 3)):
            self.assertEqual(self.stack.ctl("cursors", *words, check=False).returncode, status)
        self.stack.ctl("cursors", "delete", "consumer", "mine")
        self.assertIsNone(listed())

    def test_5_tail_follows_and_lag_tells(self):
        expected = [self.order()]  # whose event may still be on its way when tail begins
        log = open(self.stack.base / "tail", "w+b")
        self.addCleanup(log.close)
        tail = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", str(CTL), "--state", str(self.stack.state),
             "events", "tail"], env=self.stack._environ(), stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT)
        self.addCleanup(lambda: (tail.kill(), tail.wait(30)))

        def told():
            log.seek(0)
            return [json.loads(line)["event"]["subject"] for line in log if line.endswith(b"}\n")]
        # From when it began to listen; then without a gap, also over a death.
        wait_until(lambda: expected.append(self.order()) or told(), 30, "something is told")
        self.stack.kill("orchestrator")
        expected += [self.order_after_restart(), self.order()]
        wait_until(lambda: told() and told()[-1] == expected[-1], 30,
                   f"all is told: {expected}, {told()}")
        self.assertEqual(told(), expected[-len(told()):])
        said = self.stack.ctl("events", "lag")
        self.assertRegex(said, r"(?m)^placed +\d+ ")
        self.assertRegex(said, r"(?m)^relayed by +[0-9A-Z]{26} since ")

    def order_after_restart(self):
        name = str(uuid.uuid4())
        self.shopper.until_final(lambda: self.shopper.put_cart(name, [("cup", 2)]))
        answer = self.shopper.order_until_final(name, name)
        self.assertEqual(answer.status, 201, repr(answer))
        return answer.json["order_id"]

    def test_6_a_backlog_of_ten_thousand_is_caught_up(self):
        self.server.kill()
        count = 10_000
        self.stack.sql(
            "INSERT INTO orders.outbox (order_id, sequence, type, payload) "
            "SELECT '0BACKLOG' || lpad(n::text, 18, '0'), 1, 'order.created', payload "
            f"FROM generate_series(1, {count}) n, "
            "(SELECT payload FROM orders.outbox LIMIT 1) p")
        wait_until(lambda: int(self.lag().get("unpublished", 0)) >= count, 60,
                   "the backlog is there")
        self.server.start()
        began = time.monotonic()
        self.wait_published(120)
        took = time.monotonic() - began
        print(f"    {count} events published in {took:.2f} s, {count / took:.0f}/s")
        stored = self.server.count(STREAM)
        self.assertEqual(stored, int(self.lag()["placed"]))


    # The longest that the contract lets an order's event be, as persist writes it.
    LARGEST = """
        INSERT INTO orders.outbox (order_id, sequence, type, payload, traceparent)
        SELECT '0LARGEST' || lpad('', 18, 'X'), 1, 'order.created', jsonb_build_object(
            'order_id', '0LARGEST' || lpad('', 18, 'X'), 'user_id', gen_random_uuid(),
            'total_cents', 1000000000000000, 'currency', 'EUR', 'lines', (
                SELECT jsonb_agg(jsonb_build_object('sku', lpad(n::text, 64, 'x'),
                    'quantity', 10000, 'unit_price_cents', 1000000000,
                    'title', repeat('"', 200)))
                FROM generate_series(1, 100) n)),
            '00-' || lpad('', 32, 'a') || '-' || lpad('', 16, 'b') || '-01'"""
    EVENT_SIZE_MAX = 65536  # orchestrator/events/bus/event.h

    def refusal(self, said):
        """Waits for that word of the orchestrator's; what is behind it waits, and is counted."""
        before = int(self.lag()["published"])

        def refused():
            return [line for line in self.stack.log("orchestrator").splitlines()
                    if "event=publish_refused" in line and said in line]
        wait_until(refused, 30, f"the refusal is told: {said}")
        self.order()
        wait_until(lambda: self.metric("events_refused") == 1
                   and self.metric("events_unpublished") > 0
                   and self.metric("events_lag_ms") > 0, 20, "the metrics show it")
        self.assertEqual(int(self.lag()["published"]), before, "nothing is passed by")

    def metric(self, name):
        reply = json.loads(self.stack.ctl("call", "--service", "orchestrator",
                                          "rpc.v1.Metrics/Read", json.dumps({"prefix": name})))
        return sum(int(metric.get("value", 0)) for metric in reply.get("metrics", []))

    def edit_stream(self, **changes):
        info = self.server.ask(f"$JS.API.STREAM.INFO.{STREAM}", {})
        answer = self.server.ask(f"$JS.API.STREAM.UPDATE.{STREAM}", info["config"] | changes)
        self.assertNotIn("error", answer)

    def test_8_an_event_that_is_refused_is_named_kept_and_goes_when_it_may(self):
        self.order()
        self.wait_published()
        self.edit_stream(max_msg_size=4096)
        self.stack.sql(self.LARGEST)
        self.refusal("0LARGESTXXXXXXXXXXXXXXXXXX.1 at position")
        # A server that could not carry every event is not used; it says what to change.
        self.edit_stream(max_msg_size=self.EVENT_SIZE_MAX - 1)
        self.refusal("max_msg_size is 65535, and an event may have 65536")
        self.edit_stream(max_msg_size=self.EVENT_SIZE_MAX)
        self.server.kill()
        self.server.configure(f"max_payload: {self.EVENT_SIZE_MAX - 1}")
        self.server.start()
        self.refusal("max_payload is 65535, and an event may have 65536")
        self.server.kill()
        self.server.configure(f"max_payload: {self.EVENT_SIZE_MAX}")
        self.server.start()
        self.wait_published()
        wait_until(lambda: self.metric("events_refused") == 0
                   and self.metric("events_unpublished") == 0, 20, "the metrics show that, too")
        self.assertEqual(self.server.count(STREAM), int(self.lag()["placed"]))
        self.assertNotIn("event=leader_lost", self.stack.log("orchestrator"))

    def test_9_a_server_that_reads_no_more_is_given_up(self):
        """With more under way than sockets buffer, so that the writing itself would wait."""
        away = self.stack.log("orchestrator").count("event=bus_unavailable")
        self.server.process.send_signal(signal.SIGSTOP)
        self.stack.sql("INSERT INTO orders.outbox (order_id, sequence, type, payload) "
                       "SELECT '0MANY' || lpad(n::text, 21, '0'), 1, type, payload "
                       "FROM generate_series(1, 1500) n, orders.outbox "
                       "WHERE order_id LIKE '0LARGEST%'")
        wait_until(lambda: self.stack.log("orchestrator").count("event=bus_unavailable") > away, 30,
                   "it is given up")
        self.server.process.send_signal(signal.SIGCONT)
        self.wait_published()


class Certificates:
    """A CA, and a server and a client that it vouches for."""

    def __init__(self, folder):
        folder.mkdir(mode=0o711)  # the services have users of their own
        self.folder = folder
        self.openssl("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:P-256", "-keyout", self.file("ca.key"), "-out",
                     self.file("ca.pem"), "-subj", "/CN=test", "-days", "2")
        for name in ("server", "client"):
            (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
            self.openssl("req", "-nodes", "-newkey", "ec", "-pkeyopt",
                         "ec_paramgen_curve:P-256", "-keyout", self.file(f"{name}.key"), "-out",
                         self.file("csr"), "-subj", f"/CN={name}")
            self.openssl("x509", "-req", "-in", self.file("csr"), "-CA", self.file("ca.pem"),
                         "-CAkey", self.file("ca.key"), "-CAcreateserial", "-days", "2",
                         "-extfile", self.file("san"), "-out", self.file(f"{name}.pem"))

    def file(self, name):
        return str(self.folder / name)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def server(self):
        return (f'tls {{ cert_file: "{self.file("server.pem")}"\n'
                f'key_file: "{self.file("server.key")}"\n'
                f'ca_file: "{self.file("ca.pem")}"\nverify: true }}\n')

    def context(self):
        context = ssl.create_default_context(cafile=self.file("ca.pem"))
        context.load_cert_chain(self.file("client.pem"), self.file("client.key"))
        return context


PASSWORD = 'authorization { users: [{ user: "shop", password: "correct-horse" }] }'


class EventsNatsSecured(StackTest):
    """Certificates and credentials from files, and a password; none of them in a log."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.files = files = Certificates(cls.stack.base / "pki")
        cls.server = NatsServer(cls.stack.base / "nats", files.server() + PASSWORD,
                                files.context()).start()
        cls.addClassCleanup(cls.server.stop)
        cls.creds = cls.stack.base / "checkout.creds"
        cls.creds.write_text(Operator(cls.stack.base / "another").credentials())
        cls.stack.environment |= {
            "CHECKOUT_NATS_URL": f"tls://shop:correct-horse@127.0.0.1:{cls.server.port}",
            "CHECKOUT_ORCHESTRATOR_NATS_CREDENTIALS_FILE": str(cls.creds),
            "CHECKOUT_ORCHESTRATOR_NATS_CA_FILE": files.file("ca.pem"),
            "CHECKOUT_ORCHESTRATOR_NATS_CERTIFICATE_FILE": files.file("client.pem"),
            "CHECKOUT_ORCHESTRATOR_NATS_KEY_FILE": files.file("client.key")}
        give(files.file("client.key"), "orchestrator")
        cls.stack.start()

    def wait_said(self, words, times=1):
        wait_until(lambda: self.stack.log("orchestrator").count(words) >= times, 30,
                   f"{words}, {times} times: {self.stack.log('orchestrator')[-1500:]}")

    def test_1_by_a_password(self):
        self.wait_said("event=nats_stream_created")
        self.assertNotIn("horse", self.stack.log("orchestrator"))

    def test_2_by_the_credentials_as_they_are_now_and_by_no_others(self):
        """A server of operator mode knows accounts by JWT alone."""
        operator = Operator(self.stack.base / "nkeys")
        self.server.kill()
        self.server.configure(self.files.server() + operator.server())
        self.server.start()
        self.wait_said("Authorization Violation")  # in the server's own words
        self.assertEqual(self.stack.log("orchestrator").count("event=nats_stream_created"), 1)
        fresh = self.creds.with_suffix(".new")
        fresh.write_text(operator.credentials())
        fresh.rename(self.creds)  # as whoever renews it does
        self.wait_said("event=nats_stream_created", 2)
        self.wait_said("event=bus_recovered")
        for line in operator.credentials().splitlines()[1::2]:
            self.assertNotIn(line or "-----", self.stack.log("orchestrator"))


if __name__ == "__main__":
    main()
