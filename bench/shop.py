"""shop.py - a whole checkout system to measure: ./up with a release build, its catalogue,
its shoppers, and carts ready to be ordered.

Carts, users and tokens are made beforehand, so that a measurement is of orders alone.
Each request has a cart and a key of its own.
"""
import json
import re
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "test" / "integration"))
from machine import Postgres  # noqa: E402
from stack import BUILD, SERVICES, SUMS, Stack, as_user, free_port, give, wait_until  # noqa: E402

USERS = 1000
SKUS = 1000
HOT = "hot"
PIECES = 1_000_000_000
LOAD = BUILD / "bin" / "load"

CATALOGUE = f"""
    INSERT INTO inventory.products (sku, title, price_cents, currency)
        SELECT 'sku-' || n, 'Bench ' || n, 100 + n, 'EUR' FROM generate_series(1, {SKUS}) AS n
        UNION ALL SELECT '{HOT}', 'Everybody wants it', 999, 'EUR';
    INSERT INTO inventory.stock (sku, received, available)
        SELECT sku, {PIECES}, {PIECES} FROM inventory.products
        WHERE sku LIKE 'sku-%' OR sku = '{HOT}';
    INSERT INTO inventory.ledger (adjustment_id, sku, delta, reason)
        SELECT 'bench-' || sku, sku, {PIECES}, 'bench' FROM inventory.stock
        WHERE received = {PIECES};
    INSERT INTO orders.users (id)
        SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
        FROM generate_series(1, {USERS}) AS n"""

# Two different SKUs a cart, or the hot one.
CARTS = """
    INSERT INTO orders.carts (user_id, id, lines)
        SELECT ('00000000-0000-4000-8000-' || lpad((1 + n % {users})::text, 12, '0'))::uuid,
               '{name}-' || n, {lines}
        FROM (SELECT n, 1 + (random() * {skus})::bigint % {skus} AS a,
                     1 + (random() * 100000)::bigint % ({skus} - 1) AS step
              FROM generate_series(1, {count}) AS n) AS drawn"""
SPREAD_LINES = ("jsonb_build_array("
                "jsonb_build_object('sku', 'sku-' || a, 'quantity', 1),"
                "jsonb_build_object('sku', 'sku-' || (1 + (a - 1 + step) % {skus}),"
                "                   'quantity', 1))")
HOT_LINES = "jsonb_build_array(jsonb_build_object('sku', '{hot}', 'quantity', 1))"

# What so many orders of one piece each leave behind: first their names, then every book of
# theirs, each by a connection of its own.
GROWTH_NAMES = """
    CREATE UNLOGGED TABLE orders.bench_old AS
        SELECT n, '0' || lpad(n::text, 25, '0') AS id, 'sku-' || (1 + n % {skus}) AS sku,
               101 + n % {skus} AS cents, 'old-' || n AS name,
               ('00000000-0000-4000-8000-' || lpad((1 + n % {users})::text, 12, '0'))::uuid
                   AS user_id,
               now() - interval '1 day' + n * interval '10 ms' AS at
        FROM generate_series({first}, {last}) AS n"""
GROWTH_BOOKS = """
    INSERT INTO inventory.reservations (id, state, skus, quantities, unit_prices_cents,
            total_cents, currency, created_at, expires_at, settled_at)
        SELECT id, 'confirmed', ARRAY[sku], ARRAY[1], ARRAY[cents], cents, 'EUR', at, at, at
        FROM orders.bench_old;
    UPDATE inventory.stock s SET available = available - o.count, sold = sold + o.count
        FROM (SELECT sku, count(*) FROM orders.bench_old GROUP BY sku) AS o
        WHERE s.sku = o.sku;
    INSERT INTO payment.charges (id, state, user_id, method_id, provider_token, amount_cents,
            currency, provider_charge_id, created_at, settled_at)
        SELECT id, 'captured', user_id, 'pm_card_visa', 'pm_card_visa', cents, 'EUR',
               'ch_' || id, at, at FROM orders.bench_old;
    INSERT INTO sandbox.charges (idempotency_key, provider_charge_id, status, method,
            amount_cents, currency, created_at)
        SELECT 'chg_' || id, 'ch_' || id, 'captured', 'pm_card_visa', cents, 'EUR', at
        FROM orders.bench_old;
    INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,
            payment_method_id, fingerprint, cart, state, owner, lease_until, created_at,
            finished_at)
        SELECT id, user_id || ' ' || name, user_id, name, 'pm_card_visa', sha256(name::bytea),
               jsonb_build_array(jsonb_build_object('sku', sku, 'quantity', 1)), 'completed',
               'bench', at, at, at FROM orders.bench_old;
    INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, created_at, currency,
            cart_id, reservation_id, charge_id, lines)
        SELECT id, user_id, cents, user_id || ' ' || name, at, 'EUR', name, id, id,
               jsonb_build_array(jsonb_build_object('sku', sku, 'quantity', 1,
                                                    'unit_price_cents', cents))
        FROM orders.bench_old;
    WITH moved AS (
        UPDATE orders.relay SET placed = placed + 1 + {last} - {first},
                                published = published + 1 + {last} - {first}
        RETURNING placed - {last} AS base)
    INSERT INTO orders.outbox (order_id, sequence, type, payload, created_at, position,
            published_at)
        SELECT id, 1, 'order.created',
               jsonb_build_object('order_id', id, 'user_id', user_id, 'total_cents', cents,
                                  'currency', 'EUR'), at, base + n, at
        FROM orders.bench_old, moved"""
GROWTH_END = """
    DROP TABLE orders.bench_old;
    ANALYZE"""


class Shop(Stack):
    """`commit` is an against.Commit; its SQL comes from its own bench/shop.py."""

    def __init__(self, replicas=(), commit=None, **environment):
        super().__init__(**environment)
        self.its = commit.shop if commit else sys.modules[__name__]
        if commit:
            self.repo, self.build = commit.repo, commit.build
            self.environment["CHECKOUT_BUILD"] = str(self.build)  # ./up builds nothing
        self.replicas = replicas
        self.extra = []  # the second processes
        self.ports = [self.port]
        self.round = 0
        self.tokens = []
        # 64 shoppers who ask again as fast as they are answered are a measurement, no abuse.
        self.environment["CHECKOUT_GATEWAY_USER_RATE"] = "1000000"
        run = self.state / "run"
        for name in replicas:
            for caller in ("GATEWAY", "ORCHESTRATOR"):
                self.environment[f"CHECKOUT_{caller}_{name.upper()}_ADDRESSES"] = (
                    f"ipc://{run}/{name}.sock,ipc://{run}/{name}-2.sock")
        if replicas:  # the orchestrator does not call itself
            del self.environment["CHECKOUT_ORCHESTRATOR_ORCHESTRATOR_ADDRESSES"]
            self.environment.pop("CHECKOUT_ORCHESTRATOR_GATEWAY_ADDRESSES", None)
            self.environment.pop("CHECKOUT_GATEWAY_GATEWAY_ADDRESSES", None)
            self.environment.pop("CHECKOUT_GATEWAY_PAYMENT_ADDRESSES", None)

    # --- life ---

    def start(self):
        super().start()
        self.postgres = Postgres(self.pid("postgres"))
        self.sql(self.its.CATALOGUE)
        for name in self.replicas:
            self._start_second(name)
        return self

    def stop(self):
        for process in self.extra:
            process.terminate()
        for process in self.extra:
            process.wait(30)
        self.extra = []
        super().stop()

    def _sign_in(self):
        script = (f"for n in $(seq 1 {USERS}); do '{self.build}/bin/checkoutctl' --state"
                  f" '{self.state}' token --ttl 86400"
                  f" --user $(printf '00000000-0000-4000-8000-%012d' $n); done")
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        self.tokens = done.stdout.split()
        assert len(self.tokens) == USERS

    def _start_second(self, name):
        conf, run = self.state / "conf", self.state / "run"
        text = (conf / f"{name}.conf").read_text()
        if name == "gateway":
            self.ports.append(free_port())
            text = re.sub(r"(?m)^port = .*$", f"port = {self.ports[-1]}", text)
        text = text.replace(f"ipc://{run}/{name}.sock", f"ipc://{run}/{name}-2.sock", 1)
        own = conf / f"{name}-2.conf"
        own.write_text(text)
        own.chmod(0o600)
        users = (self.state / "programs").exists()  # another commit's run as we do
        if users:
            give(own, name)
        with open(self.state / "log" / f"{name}-2.log", "ab") as log:
            self.extra.append(subprocess.Popen(
                [*(as_user(name) if users else []), "setpriv", "--pdeathsig", "KILL", self.program(name), "--config",
                 str(own)], env=self._environ(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True))
        if name == "gateway":
            wait_until(self._answers, 30, "the second gateway answers")

    def _answers(self):
        return subprocess.run(["curl", "-fsS", "-o", "/dev/null",
                               f"http://127.0.0.1:{self.ports[-1]}/healthz"],
                              capture_output=True).returncode == 0

    def service_pids(self):
        return ([self.pid(name) for name in SERVICES]
                + [process.pid for process in self.extra])

    # --- orders ---

    def sql(self, statement, seconds=3600):
        done = subprocess.run(
            ["psql", "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", self.database(), "-c",
             statement], capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise AssertionError(f"{statement[:200]}: {done.stderr}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def requests(self, count, hot=False):
        """A file of `count` requests to place an order, each of a new cart; a path."""
        if not self.tokens:
            self._sign_in()
        self.round += 1
        name = f"{'hot' if hot else 'cart'}-{self.round}"
        lines = self.its.HOT_LINES if hot else self.its.SPREAD_LINES
        self.sql(self.its.CARTS.format(users=USERS, skus=SKUS, name=name, count=count,
                                       lines=lines.format(hot=HOT, skus=SKUS)))
        path = self.base / f"requests-{self.round}"
        with open(path, "wb") as out:
            for n in range(1, count + 1):
                out.write(self._request(f"{name}-{n}", self.tokens[n % USERS]))
        return path

    def _request(self, cart, token):
        body = f'{{"cart_id":"{cart}","payment_method_id":"pm_card_visa"}}'
        text = (f"POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}"
                f"\r\nIdempotency-Key: key-of-{cart}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
        return struct.pack("<I", len(text)) + text

    def place_replayed(self, count):
        """Places orders that can then be asked for again: `replay` is their file."""
        self.replay = self.requests(count)
        self.load(self.replay, 4, 30)

    def first_replay(self):
        """The bytes of the first request of that file."""
        text = self.replay.read_bytes()
        return text[4:4 + struct.unpack_from("<I", text)[0]]

    def load(self, path, connections, seconds, rate=None, repeat=False, ports=None):
        """Places orders; what load.c reports.  Anything but 201 fails the bench."""
        options = ["--rate", str(rate)] if rate else []
        options += ["--repeat"] if repeat else []
        done = subprocess.run(
            [str(LOAD), "--ports", ",".join(map(str, ports or self.ports)), "--connections",
             str(connections), "--seconds", str(seconds), *options, str(path)],
            capture_output=True, text=True, timeout=seconds + 60)
        if done.returncode != 0:
            raise AssertionError(f"load: {done.stderr}")
        report = json.loads(done.stdout)
        if set(report["status"]) - {"201"} or report["closed"] or report["unanswered"]:
            raise AssertionError(f"not every order was placed: {report}")
        if report["rate"] == 0:
            raise AssertionError(f"no answer within {seconds} s, on {connections} connections:"
                                 " the machine is too busy for measurements so short")
        return report

    def enough(self, connections, seconds, rate, hot=False):
        """A file of more requests than are answered in that time at about that rate."""
        return self.requests(int(rate * seconds * 1.3) + 4 * connections, hot)

    def placed(self, connections, seconds, expected_rate, hot=False, rate=None):
        """Prepares enough carts, places orders, deletes the file."""
        path = self.enough(connections, seconds, rate or expected_rate, hot)
        try:
            return self.load(path, connections, seconds, rate)
        finally:
            path.unlink()

    def wal_bytes(self):
        """Written to the WAL so far."""
        return self.number("SELECT pg_current_wal_lsn() - '0/0'")

    def grow(self, count, first=1):
        """Stores that many orders, complete in every book, without placing them."""
        where = {"users": USERS, "skus": SKUS, "first": first, "last": first + count - 1}
        self.sql(GROWTH_NAMES.format(**where))
        with ThreadPoolExecutor() as at_once:
            list(at_once.map(self.sql, GROWTH_BOOKS.format(**where).split(";")))
        for statement in GROWTH_END.split(";"):
            self.sql(statement)

    # --- the books ---

    def audit(self):
        """Every sum comes out, and checkoutctl audit finds nothing; or the bench fails."""
        wait_until(lambda: self.unfinished() == 0, 60, "every checkout is final")
        for sentence, offenders in self.its.SUMS.items():
            if rows := self.sql(f"SELECT * FROM ({offenders}) AS q LIMIT 5"):
                raise AssertionError(f"not so: {sentence}: {rows}")
        done = subprocess.run(
            [str(self.build / "bin" / "checkoutctl"), "--state", str(self.state), "audit"],
            capture_output=True, text=True, timeout=3600)
        if done.returncode != 0:
            raise AssertionError(f"checkoutctl audit: {done.stdout}{done.stderr}")
        return self.number("SELECT count(*) FROM orders.orders")

