"""stack.py - a whole checkout system for a test: real processes, a real PostgreSQL.

    stack = Stack().start()      # ./up with a state folder of its own and a free port
    shopper = stack.shopper()    # somebody with a token
    shopper.put_cart("c1", [("mug", 2)])
    answer = shopper.order("c1", key="k-12345678")
    stack.stop()

Nothing outlives the test: ./up is a child with a parent-death signal, so that it stops
everything even when the test is killed, and stop() fails when a process is left.
"""
import atexit
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

import logs

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CHECKOUT_BUILD", REPO / "build")).resolve()
CTL = BUILD / "bin" / "checkoutctl"
SERVICES = ("inventory", "payment", "orchestrator", "gateway")
PROCESSES = SERVICES + ("postgres",)
START_SECONDS = 120  # sanitizer builds on a busy machine
STOP_SECONDS = 120
FAULTS = ("Sanitizer", "runtime error:", "Assertion `", "PANIC")

_live = []


def as_user(service):
    """The prefix that runs a command as that service's user, as ./up does when root runs it."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", f"checkout-{service}", "--regid", "checkout",
            "--clear-groups"]


def give(path, service):
    """Gives a file to that service's user."""
    if os.geteuid() == 0:
        subprocess.run(["bash", "-euc", f"for part in base users; do source {REPO}/deploy/up/"
                        "$part.sh; done; users_make"], check=True)
        shutil.chown(path, f"checkout-{service}", "checkout")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(fact, seconds, what):
    """Polls until fact() is true; fails the test with `what` after the time limit."""
    deadline = time.monotonic() + seconds
    while not (value := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return value


class Answer:
    """What the gateway answered: status, headers, the bytes of the body."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def replayed(self):
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def code(self):
        return self.json.get("code") if self.status >= 400 else None

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Shopper:
    """One user with a token and one connection; for one thread at a time."""

    def __init__(self, stack, user=None, token=None, timeout=60):
        self.stack = stack
        self.user = user or str(uuid.uuid4())
        self.token = token or stack.token(self.user)
        self.timeout = timeout
        self.connection = None

    def ask(self, method, path, body=None, **headers):
        """One request; a connection that breaks is an OSError or HTTPException."""
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content_Type", "application/json")
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(
                    "127.0.0.1", self.stack.port, timeout=self.timeout)
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            return Answer(response, response.read())
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def put_cart(self, cart, lines):
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in lines]
        return self.ask("PUT", f"/v1/carts/{cart}", {"lines": lines})

    def order(self, cart, key, method="pm_card_visa", **more):
        body = {"cart_id": cart, "payment_method_id": method, **more}
        return self.ask("POST", "/v1/orders", body, Idempotency_Key=key)

    def order_until_final(self, cart, key, method="pm_card_visa", seconds=120):
        """Repeats the request with the same key until the answer is final."""
        return self.until_final(lambda: self.order(cart, key, method), seconds)

    @staticmethod
    def until_final(ask, seconds=120):
        deadline = time.monotonic() + seconds
        while True:
            answer, trouble = None, None
            try:
                answer = ask()
            except (OSError, http.client.HTTPException) as error:
                trouble = error
            if answer is not None:
                if answer.status < 400 or not answer.json.get("retryable", False):
                    return answer
                trouble = answer
            if time.monotonic() > deadline:
                raise AssertionError(f"no final answer within {seconds} s, last: {trouble!r}")
            time.sleep(0.05)


class Stack:
    repo, build = REPO, BUILD  # bench/against.py has another commit's
    torn_lines = False         # whether log lines may be: a full disk tears them

    def __init__(self, base=None, **environment):
        """environment: settings such as CHECKOUT_INVENTORY_REAP_EVERY_MS="50"."""
        self.owns_base = base is None
        self.base = Path(base or tempfile.mkdtemp(prefix="checkout-", dir="/tmp"))
        # Others cannot list it, but the database's user can pass through.
        self.base.chmod(0o711)
        self.state = self.base / "s"
        self.port = free_port()
        self.environment = environment
        self.process = None
        self.kills = 0
        self.out = self.base / "up.out"
        _live.append(self)

    # --- life ---

    def up_command(self, *arguments):
        return [str(self.repo / "up"), "--state", str(self.state), "--port", str(self.port),
                *arguments]

    def up(self, *arguments, timeout=START_SECONDS, **environment):
        """Runs ./up to its end: for --detach, --stop, --status."""
        return subprocess.run(
            self.up_command(*arguments), env={**self._environ(), **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)

    def _environ(self):
        environ = {name: value for name, value in os.environ.items()
                   if not name.startswith(("PG", "CHECKOUT_"))}
        if self.build != self.repo / "build":
            environ["CHECKOUT_BUILD"] = str(self.build)
        environ["LSAN_OPTIONS"] = f"suppressions={REPO}/test/lsan.supp:print_suppressions=0"
        return {**environ, **self.environment}

    def spawn(self):
        """Starts ./up in the foreground and does not wait."""
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.up_command()],
                env=self._environ(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True)

    def start(self):
        started = time.monotonic()
        self.spawn()

        def is_ready():
            if self.process.poll() is not None:
                raise AssertionError(f"./up ended with {self.process.returncode}: {self.output()}")
            return "\nReady: " in self.output()

        wait_until(is_ready, START_SECONDS, "./up is ready")
        self.seconds_to_ready = time.monotonic() - started
        return self

    def output(self):
        return self.out.read_text(errors="replace")

    def stop(self):
        """Ends the stack, checks that nothing is left, deletes its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)
        if (self.state / "pids" / "up.pid").exists():
            self.up("--stop", timeout=STOP_SECONDS)
        left, faults = self.leftovers(), self.faults()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self in _live:
            _live.remove(self)
        if self.owns_base and "CHECKOUT_KEEP" not in os.environ:
            shutil.rmtree(self.base, ignore_errors=True)
        if left:
            raise AssertionError(f"still running after the stop: {left}")
        if faults:
            raise AssertionError("faults in the logs:\n" + "\n".join(faults[:20]))

    def faults(self):
        """Malformed log lines, and what a restart would hide: sanitizer reports, failed asserts, and
        deaths that neither we caused nor lib/rpc/nng_defects/watchdog.c (a service ends itself if nng hangs)."""
        lines = [f"{log.name}: {line}" for log in sorted((self.state / "log").glob("*.log*"))
                 for line in log.read_text(errors="replace").splitlines()
                 if any(word in line for word in FAULTS)]
        said = (self.output() if self.out.exists() else "") + self.log("up")
        deaths = [line for line in said.splitlines() if "; starting it again in" in line]
        unexpected = [line for line in deaths if "event=transport_hangs" not in line]
        if self.repo == REPO and not self.torn_lines: # another commit's may be anything
            lines += logs.malformed(self.state / "log")
        return lines + (unexpected if len(unexpected) > self.kills else [])

    def leftovers(self):
        """Other processes whose command line names this stack's state folder."""
        needle = str(self.state).encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    command = (entry / "cmdline").read_bytes()
                    if needle in command:
                        found[int(entry.name)] = command.replace(b"\0", b" ").decode()
        return found

    # --- logs and programs ---

    def status(self):
        lines = self.up("--status").stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def program(self, name):
        """The path of the program that ./up runs, which the service's user can run too."""
        copy = self.state / "programs" / name
        return str(copy if copy.exists() else self.build / "bin" / name)

    def pid(self, name):
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.state / "pids" / f"{name}.pid").read_text().split()[0])
        return None

    def log(self, name):
        with contextlib.suppress(OSError):
            return (self.state / "log" / f"{name}.log").read_text(errors="replace")
        return ""

    def configure_webhook(self, url=None):
        """Makes an endpoint with a secret where ./up finds it at the next start."""
        folder = self.state / "webhook"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "secret").write_text("whsec_" + base64.b64encode(b"x" * 32).decode() + "\n")
        (folder / "secret").chmod(0o600)
        (folder / "endpoints").write_text(
            f"# ours\nshop {url or f'http://127.0.0.1:{free_port()}/hook'} {folder}/secret\n")

    def kill(self, name):
        """Kills it with SIGKILL and waits until it is restarted."""
        old = self.pid(name)
        self.kills += 1
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.pid(name) not in (None, old), 60, f"{name} is started again")

    # --- calls ---

    def run_ctl(self, *arguments):
        return subprocess.run(
            [str(self.build / "bin" / "checkoutctl"), *arguments], env=self._environ(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def ctl(self, *arguments, check=True):
        done = self.run_ctl("--state", str(self.state), *arguments)
        if check and done.returncode != 0:
            raise AssertionError(f"checkoutctl {arguments} ended with {done.returncode}: {done.stderr}")
        return done if not check else done.stdout

    def call(self, method, **message):
        return json.loads(self.ctl("call", method, json.dumps(message)))

    def token(self, user):
        return self.ctl("token", "--user", user).strip()

    def health(self):
        """`checkoutctl health`: its exit status, and {name: (state, detail)}."""
        done = self.ctl("health", "--json", check=False)
        rows = {}
        for row in map(json.loads, done.stdout.splitlines()):
            name = ".".join(filter(None, (row["service"], row.get("part"))))
            rows[name] = row["status"], row["detail"]
        return done.returncode, rows

    def shopper(self, user=None, **more):
        return Shopper(self, user, **more)

    def anonymous(self):
        return Shopper(self, token="-")

    def product(self, sku, pieces, price_cents=1000, currency="EUR"):
        self.call("inventory.v1.Inventory/PutProduct", sku=sku, title=f"Test {sku}",
                  price_cents=price_cents, currency=currency)
        if pieces:
            self.call("inventory.v1.Inventory/AdjustStock", sku=sku, delta=pieces,
                      reason="test", adjustment_id=f"test-{sku}")

    def database(self):
        """The URL of the database's owner."""
        return f"postgresql://checkout_owner@/checkout?host={self.state}/run"

    def sql(self, statement):
        """Rows as lists of texts, as the database's owner."""
        done = subprocess.run(
            ["psql", "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1",
             self.database(), "-c", statement],
            capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{statement}: {done.stderr}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def number(self, statement):
        return int(self.sql(statement)[0][0])

    def stock(self, sku):
        """(available, held, sold)"""
        row = self.sql(f"SELECT available, held, sold FROM inventory.stock WHERE sku = '{sku}'")
        return tuple(int(cell) for cell in row[0])

    def unfinished(self):
        return self.number("SELECT count(*) FROM orders.checkouts "
                           "WHERE state IN ('running', 'aborting')")


# A row of orders.checkouts or orders.orders holds "USER KEY": the key the shopper sent.
KEY = "split_part(idempotency_key, ' ', 2)"

# --- what must hold after any fault: queries that give no row ---

SUMS = {
    "every order has its confirmed reservation, for the same amount": """
        SELECT o.id FROM orders.orders o LEFT JOIN inventory.reservations r
            ON r.id = o.reservation_id AND r.state = 'confirmed'
            AND r.total_cents = o.total_cents AND r.currency = o.currency
        WHERE r.id IS NULL""",
    "every confirmed reservation has its order": """
        SELECT r.id FROM inventory.reservations r LEFT JOIN orders.orders o
            ON o.reservation_id = r.id
        WHERE r.state = 'confirmed' AND o.id IS NULL""",
    "every order has its captured charge, for the same amount": """
        SELECT o.id FROM orders.orders o LEFT JOIN payment.charges c
            ON c.id = o.charge_id AND c.state = 'captured'
            AND c.amount_cents = o.total_cents AND c.currency = o.currency
        WHERE c.id IS NULL""",
    "every captured charge has its order": """
        SELECT c.id FROM payment.charges c LEFT JOIN orders.orders o ON o.charge_id = c.id
        WHERE c.state = 'captured' AND o.id IS NULL""",
    "the provider's ledger and ours agree on what was kept": """
        SELECT c.id FROM payment.charges c
        FULL JOIN (SELECT * FROM sandbox.charges WHERE status = 'captured') p
            ON p.provider_charge_id = c.provider_charge_id
            AND p.amount_cents = c.amount_cents AND c.state = 'captured'
        WHERE (c.state = 'captured') IS DISTINCT FROM (p.idempotency_key IS NOT NULL)""",
    "no reservation is held": "SELECT id FROM inventory.reservations WHERE state = 'held'",
    "no checkout is unfinished": """
        SELECT order_id, state FROM orders.checkouts WHERE state IN ('running', 'aborting')""",
    "every completed checkout has its order, and every order its checkout": """
        SELECT c.order_id, o.id
        FROM (SELECT * FROM orders.checkouts WHERE state = 'completed') c
        FULL JOIN orders.orders o ON o.id = c.order_id
        WHERE c.order_id IS NULL OR o.id IS NULL""",
    "every order has one event": """
        SELECT o.id FROM orders.orders o LEFT JOIN orders.outbox e ON e.order_id = o.id
        GROUP BY o.id HAVING count(e.id) <> 1""",
    "received = available + held + sold = what was booked": """
        SELECT s.sku FROM inventory.stock s
        LEFT JOIN (SELECT sku, sum(delta) AS booked FROM inventory.ledger GROUP BY sku) l
            USING (sku)
        WHERE s.received <> s.available + s.held + s.sold
           OR s.received <> coalesce(l.booked, 0) OR s.available < 0""",
    "sold is what the confirmed reservations hold": """
        SELECT s.sku FROM inventory.stock s
        LEFT JOIN (SELECT sku, sum(quantity) AS pieces
                   FROM inventory.reservations, unnest(skus, quantities) AS l(sku, quantity)
                   WHERE state = 'confirmed' GROUP BY sku) r USING (sku)
        WHERE s.sold <> coalesce(r.pieces, 0)""",
    "no row contradicts itself": """
        SELECT id FROM inventory.reservations
        WHERE (state = 'refused') <> (refusal IS NOT NULL)
           OR cardinality(skus) <> cardinality(quantities)
           OR cardinality(skus) <> cardinality(unit_prices_cents)
           OR state IN ('held', 'confirmed', 'expired')
              AND (expires_at IS NULL OR currency IS NULL OR cardinality(skus) = 0)
        UNION ALL SELECT id FROM payment.charges
        WHERE state = 'captured' AND provider_charge_id IS NULL
           OR state = 'declined' AND decline_code IS NULL
           OR state IN ('intent', 'captured', 'declined')
              AND (user_id IS NULL OR method_id IS NULL OR currency IS NULL)
        UNION ALL SELECT order_id FROM orders.checkouts
        WHERE (state IN ('aborting', 'failed')) <> (failure_reason IS NOT NULL)
           OR (state IN ('completed', 'failed')) <> (finished_at IS NOT NULL)""",
}


def check_sums(test, stack):
    for sentence, offenders in SUMS.items():
        with test.subTest(sentence):
            test.assertEqual(stack.sql(offenders)[:10], [])
    orders = stack.number("SELECT count(*) FROM orders.orders")
    test.assertEqual(orders, stack.number(
        "SELECT count(*) FROM sandbox.charges WHERE status = 'captured'"), "orders = charges")
    test.assertEqual(orders, stack.number(
        "SELECT count(*) FROM inventory.reservations WHERE state = 'confirmed'"),
        "orders = confirmed reservations")
    log = stack.log("postgres")
    test.assertNotIn("deadlock detected", log)
    test.assertNotIn("PANIC", log)
    return orders


class StackTest(unittest.TestCase):
    """Tests that share one stack, started for the class."""

    environment = {}

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(**cls.environment)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def expect(self, answer, status, code=None):
        self.assertEqual((answer.status, answer.code), (status, code), repr(answer))
        return answer


def _stop_all():
    for stack in list(_live):
        with contextlib.suppress(Exception):
            stack.stop()


def _on_signal(number, _frame):
    _stop_all()
    os._exit(128 + number)


def main():
    atexit.register(_stop_all)
    signal.signal(signal.SIGTERM, _on_signal)
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    # No test ran: CTest shows the file as "Skipped" (SKIP_RETURN_CODE in test/CMakeLists.txt).
    sys.exit(77 if 0 < len(result.skipped) >= result.testsRun else 0)
