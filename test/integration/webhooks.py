"""webhooks.py - a receiver of webhooks, and a webhook sender of a test's own."""
import base64
import collections
import hashlib
import hmac
import json
import signal
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import logs
from stack import BUILD, StackTest, free_port, wait_until

SECRETS = [b"an old secret of 32 bytes length", b"a new secret of thirty-two bytes"]


class Receiver:
    """Keeps what it received; `behave(id, attempt)` gives the status, or seconds to wait, or a
    function that answers the request itself, which counts as received."""

    def __init__(self):
        self.port = free_port()
        self.lock = threading.Lock()
        self.bodies = collections.defaultdict(set)  # webhook-id -> what was sent under it
        self.attempts = collections.Counter()
        self.order = []  # of what was received, by webhook-id
        self.wrong = []
        self.path = "/hook"
        self.behave = lambda name, attempt: 200
        self.server = None

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.take(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def take(self, request):
        name = request.headers["webhook-id"]
        body = request.rfile.read(int(request.headers["content-length"]))
        if request.path != self.path or not self.signed(request.headers, body):
            self.wrong.append((request.path, dict(request.headers)))
        with self.lock:
            self.bodies[name].add(body)
            self.attempts[name] += 1
            attempt = self.attempts[name]
        status = self.behave(name, attempt)
        if isinstance(status, float):
            time.sleep(status)
            status = 200
        if status == 200 or callable(status):
            with self.lock:
                self.order.append(name)
        try:
            if callable(status):
                status(request)
                return
            request.send_response(status)
            if status == 302:
                request.send_header("Location", "/elsewhere")
            request.send_header("Content-Length", "0")
            request.end_headers()
        except OSError:
            pass  # it did not wait for us

    def signed(self, headers, body):
        message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted = {"v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()
                  for secret in SECRETS}
        fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 60
        return fresh and set(headers["webhook-signature"].split(" ")) == wanted

    def received(self):
        with self.lock:
            return set(self.order)

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class WebhookTest(StackTest):
    """A stack, and for each test a receiver and a sender with one endpoint."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1_000_000)
        cls.shopper = cls.stack.shopper()

    def setUp(self):
        self.receiver = Receiver().start()
        self.addCleanup(self.receiver.stop)
        self.folder = self.stack.base / f"webhook-{self._testMethodName[:6]}"
        self.folder.mkdir()
        self.secret = self.folder / "secret"
        self.secret.write_text("".join(f"whsec_{base64.b64encode(s).decode()}\n"
                                       for s in SECRETS))
        self.secret.chmod(0o600)
        self.name = self._testMethodName.replace("test_", "t")[:8]
        self.url = f"http://127.0.0.1:{self.receiver.port}/hook"
        self.endpoints(f"{self.name} {self.url} {self.secret}")
        self.process = None
        self.addCleanup(lambda: self.end(signal.SIGKILL))

    def endpoints(self, *lines):
        (self.folder / "endpoints").write_text("# where to\n" + "\n".join(lines) + "\n")

    def command(self, **settings):
        settings = {"retry_first_ms": 60, "retry_most_ms": 300, "timeout_ms": 500, **settings}
        return ([str(BUILD / "bin" / "webhook"), "--config",
                 str(self.stack.state / "conf" / "webhook.conf"),
                 "--endpoints-file", str(self.folder / "endpoints"),
                 "--state-dir", str(self.folder)]
                + [word for name, value in settings.items()
                   for word in (f"--{name.replace('_', '-')}", str(value))])

    def start(self, **settings):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command(**settings)],
                env=self.stack._environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, number=signal.SIGTERM):
        if self.process is None:
            return None
        self.process.send_signal(number)
        status = self.process.wait(30)
        self.process = None
        return status

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def order(self):
        name = str(uuid.uuid4())
        self.shopper.put_cart(name, [("cup", 1)])
        answer = self.shopper.order(name, name)
        self.assertEqual(answer.status, 201, repr(answer))
        return f"{answer.json['order_id']}.1"

    def all_events(self):
        return {row[0] + ".1" for row in self.stack.sql("SELECT id FROM orders.orders")}

    def check_received(self, but=frozenset(), seconds=60):
        wait_until(lambda: self.receiver.received() >= self.all_events() - but, seconds,
                   f"every event is received: {self.log()[-1500:]}")
        self.assertEqual(self.receiver.wrong, [])
        for name, bodies in self.receiver.bodies.items():
            self.assertEqual(len(bodies), 1, "one id names one event")
            self.assertEqual(json.loads(next(iter(bodies)))["id"], name)
        self.assertNotIn("whsec", self.log())
        self.assertEqual(logs.wrong("webhook.log", self.log().encode().split(b"\n")[:-1]), [])
        self.assertNotIn("Sanitizer", self.log())

    def wait_committed(self):
        def behind():
            lag = self.stack.call("events.v1.Events/GetLag")
            return [int(c.get("behind", 0)) for c in lag.get("cursors", [])
                    if c["name"] == f"webhook-{self.name}"]
        wait_until(lambda: behind() == [0], 30, "the cursor is at the end")
