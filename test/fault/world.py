"""world.py - a stack whose processes can be made to fail at their failpoints.

    world = World().start()
    world.arm("inventory.commit.reserve.before", "crash")
    ...
    world.check_end()
    world.stop()

Beside the stack of ./up runs a second orchestrator, so that a hung one is taken over and
wakes as a zombie, and a second gateway, which has never seen an answer it is asked for.
Whoever hangs is woken after one and a half leases, except in by_hand().
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

from chaos import UNAVAILABLE, Replica
from nats import NatsServer
from seams import LATE_MS
from stack import CTL, SERVICES, SUMS, Shopper, Stack, free_port, give, wait_until

LEASE_MS = 1000
FINAL_SECONDS = 30  # after which every checkout must be final
PATIENCE = 120      # for what has no deadline of its own, on a busy machine

SETTINGS = {
    "CHECKOUT_ORCHESTRATOR_LEASE_MS": str(LEASE_MS),
    "CHECKOUT_ORCHESTRATOR_RECOVER_EVERY_MS": "100",
    "CHECKOUT_ORCHESTRATOR_STEP_TIMEOUT_MS": "700",
    "CHECKOUT_ORCHESTRATOR_ATTENTION_AFTER": "3",
    "CHECKOUT_ORCHESTRATOR_KEYS_PRUNE_EVERY_MS": "100",
    "CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS": "3000",
    "CHECKOUT_GATEWAY_CALL_TIMEOUT_MS": "1500",
    "CHECKOUT_INVENTORY_REAP_EVERY_MS": "50",
    "CHECKOUT_ORCHESTRATOR_RELAY_TAKEOVER_MS": str(LEASE_MS),
    "CHECKOUT_ORCHESTRATOR_EVENTS_PRUNE_EVERY_MS": "100",
}

# Holds of this SKU expire at once, so the reaper races Confirm.
EXPIRING = "m-expiring"
TRIGGER = f"""
    CREATE FUNCTION inventory.test_expire() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.state = 'held' AND '{EXPIRING}' = ANY (NEW.skus) THEN
            NEW.expires_at := now();
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER test_expire BEFORE INSERT ON inventory.reservations
        FOR EACH ROW EXECUTE FUNCTION inventory.test_expire()"""

# Events without an order, older than all others: to be pruned one by one.
OLD = """
    INSERT INTO orders.outbox (order_id, sequence, type, payload)
    SELECT '0OLD' || lpad(n::text, 22, '0'), 1, 'order.noted', '{}' FROM generate_series(1, 200) n"""


class Violation(AssertionError):
    """A broken promise."""


class TwinGateway(Replica):
    """A second gateway on a port of its own."""

    def __init__(self, world):
        super().__init__(world, "gateway")
        self.port = free_port()

    def start(self):
        conf = self.stack.state / "conf"
        own = conf / f"{self.name}.conf"
        own.write_text(re.sub(r"(?m)^port = .*$", f"port = {self.port}",
                              (conf / "gateway.conf").read_text())
                       .replace("/run/gateway.sock", f"/run/{self.name}.sock"))
        own.chmod(0o600)
        give(own, self.service)
        self.keeper.start()
        wait_until(lambda: self.process, PATIENCE, f"{self.name} is started")


class Database:
    """One psql that stays open: starting one for each query takes longer than the query."""

    def __init__(self, state):
        self.lock = threading.Lock()
        self.psql = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "stdbuf", "-oL", "psql", "-XAtq", "-F", "\t",
             f"postgresql://checkout_owner@/checkout?host={state}/run"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def rows(self, statement):
        with self.lock:
            self.psql.stdin.write(statement + ";\nSELECT '--end--';\n")
            self.psql.stdin.flush()
            lines = []
            while (line := self.psql.stdout.readline()) != "--end--\n":
                if not line or line.startswith(("ERROR:", "FATAL:", "psql:")):
                    raise AssertionError(f"{statement}: {line or 'psql ended'}")
                lines.append(line.rstrip("\n").split("\t"))
            return lines

    def close(self):
        self.psql.stdin.close()
        self.psql.wait(10)


class World(Stack):
    def __init__(self):
        super().__init__(**SETTINGS)
        self.deaths = []  # that were not ours, of the twins
        self.points = self.base / "f"
        for folder in ("armed", "fired", "seen", "new"):
            (self.points / folder).mkdir(parents=True)
            (self.points / folder).chmod(0o777)  # the services have users of their own
        self.environment["CHECKOUT_FAILPOINTS_DIR"] = str(self.points)
        run = self.state / "run"
        self.environment["CHECKOUT_GATEWAY_ORCHESTRATOR_ADDRESSES"] = (
            f"ipc://{run}/orchestrator.sock,ipc://{run}/orchestrator-2.sock")
        self.bus = NatsServer(self.base / "nats")
        self.environment["CHECKOUT_NATS_URL"] = self.bus.url
        self.twins = []
        self.db = None
        self.waking = threading.Event()
        self.waking.set()
        self.ended = threading.Event()
        self.seen_ever = set()

    # --- life ---

    def start(self):
        self.bus.start()
        super().start()
        self.twins = [Replica(self, "orchestrator"), TwinGateway(self)]
        for twin in self.twins:
            twin.start()
        self.db = Database(self.state)
        threading.Thread(target=self._wake, daemon=True).start()
        for sku, pieces, price in (("m-cup", 1_000_000, 250), ("m-pot", 1_000_000, 1999),
                                   (EXPIRING, 1_000_000, 700), ("m-scarce", 1, 5000)):
            self.product(sku, pieces, price_cents=price)
        self.sql(TRIGGER)
        self.sql(OLD)
        self.buyer = self.shopper(timeout=10)
        self.elsewhere = Shopper(_At(self, self.twins[1].port), self.buyer.user,
                                 self.buyer.token, timeout=10)
        return self

    def stop(self):
        self.seen()
        self.waking.set()
        self.ended.set()
        self.wake_all()
        for twin in self.twins:
            twin.end()
        self.twins = []
        if self.db is not None:
            self.db.close()
            self.db = None
        try:
            super().stop()
        finally:
            self.bus.stop()
        if self.deaths:
            raise AssertionError(f"deaths that are not ours: {self.deaths}")

    def faults(self):
        """We cause SIGKILL; a process that ends for another reason is a trouble."""
        said = self.output() if self.out.exists() else ""
        self.kills += sum("(killed by signal 9); starting it again" in line
                          for line in said.splitlines())
        return super().faults()

    def ctl(self, *arguments, check=True):
        """The operator's client, which is not made to fail."""
        environ = self._environ()
        del environ["CHECKOUT_FAILPOINTS_DIR"]
        done = subprocess.run([str(CTL), "--state", str(self.state), *arguments], env=environ,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE)
        if check and done.returncode != 0:
            raise AssertionError(f"checkoutctl {arguments} ended with {done.returncode}: "
                                 f"{done.stdout}{done.stderr}")
        return done.stdout if check else done

    # --- failpoints ---

    def arm(self, point, fault):
        """Once; `fault` may name milliseconds."""
        if fault == "late":
            fault = f"late {LATE_MS}"
        (self.points / "fired" / point).unlink(missing_ok=True)
        new = self.points / "new" / point
        new.write_text(fault)
        new.rename(self.points / "armed" / point)

    def fired(self, point):
        return (self.points / "fired" / point).exists()

    def disarm(self):
        """No more faults: the names that were still armed."""
        left = []
        for armed in (self.points / "armed").iterdir():
            with contextlib.suppress(FileNotFoundError):
                armed.unlink()
                left.append(armed.name)
        return left

    def seen(self, forget=False):
        names = {entry.name for entry in (self.points / "seen").iterdir()}
        self.seen_ever |= names
        if forget:
            for name in names:
                (self.points / "seen" / name).unlink(missing_ok=True)
        return names

    def wait_fired(self, point, seconds=PATIENCE):
        wait_until(lambda: self.fired(point), seconds, f"{point} is passed")

    # --- stopped processes ---

    def pids(self):
        """name -> pid of everything that has failpoints."""
        pids = {name: self.pid(name) for name in SERVICES}
        pids |= {twin.name: twin.process.pid for twin in self.twins if twin.process}
        return {name: pid for name, pid in pids.items() if pid is not None}

    def stopped(self):
        """name -> pid of the processes that are stopped."""
        found = {}
        for name, pid in self.pids().items():
            with contextlib.suppress(OSError, IndexError):
                with open(f"/proc/{pid}/stat") as stat:
                    if stat.read().rpartition(")")[2].split()[0] == "T":
                        found[name] = pid
        return found

    def wake(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def wake_all(self):
        for pid in self.stopped().values():
            self.wake(pid)

    def _wake(self):
        since = {}
        while not self.ended.wait(0.05):
            now, stopped = time.monotonic(), set(self.stopped().values())
            since = {pid: since.get(pid, now) for pid in stopped}
            for pid, began in since.items():
                if self.waking.is_set() and now - began >= 1.5 * LEASE_MS / 1000:
                    self.wake(pid)

    @contextlib.contextmanager
    def by_hand(self):
        """Inside, only the test continues stopped processes."""
        self.waking.clear()
        try:
            yield
        finally:
            self.waking.set()

    # --- the end check ---

    def quiet(self, point, fault):
        """After the fault: late messages have arrived, stopped processes run."""
        if fault == "late":
            with contextlib.suppress(FileNotFoundError):
                came = (self.points / "fired" / point).stat().st_mtime + LATE_MS / 1000
                while time.time() < came + 0.1:
                    time.sleep(0.02)
        wait_until(lambda: not self.stopped(), PATIENCE, "whoever hung runs again")

    def offenders(self):
        return self.db.rows(" UNION ALL ".join(
            f"(SELECT '{sentence.replace(chr(39), chr(39) * 2)}', to_json(q)::text"
            f" FROM ({offenders}) AS q LIMIT 5)" for sentence, offenders in SUMS.items()))

    def check_end(self):
        """Every checkout becomes final, and SUMS hold."""
        deadline = time.monotonic() + FINAL_SECONDS
        while offenders := self.offenders():
            if time.monotonic() > deadline:
                raise Violation("; ".join(f"not so: {sentence}: {row}"
                                          for sentence, row in offenders[:6]))
            time.sleep(0.02)

    def check_events(self):
        """Every event has its position, and the bus has all, under their ids."""
        placed = wait_until(lambda: self.db.rows(
            "SELECT placed FROM orders.relay WHERE placed = published AND NOT EXISTS "
            "(SELECT FROM orders.outbox WHERE position IS NULL)"), FINAL_SECONDS,
            "every event is placed and published")[0][0]
        # It knows an id for two minutes; a replay may bring what is older once more.
        stored = {}
        for headers, body in self.bus.messages("CHECKOUT") if int(placed) else []:
            if stored.setdefault(headers["Nats-Msg-Id"], body) != body:
                raise Violation(f"{headers['Nats-Msg-Id']} names two events")
        wanted = {row[0] for row in self.db.rows(
            "SELECT order_id || '.' || sequence FROM orders.outbox")}
        if {name for name in set(stored) ^ wanted if not name.startswith("0OLD")}:
            raise Violation(f"not the same: {set(stored) ^ wanted}")
        gaps = self.db.rows("SELECT count(*), max(position), pruned FROM orders.outbox, orders.relay "
                            "GROUP BY pruned HAVING count(*) <> max(position) - pruned")
        if gaps:
            raise Violation(f"the positions have gaps: {gaps}")

    def check_audit(self):
        """While a service is still starting, the audit says at once that it is missing."""
        done = wait_until(lambda: (said := self.ctl("audit", check=False)).returncode
                          != UNAVAILABLE and said, PATIENCE, "every service is there to audit")
        if done.returncode != 0:
            raise Violation(f"checkoutctl audit ended with {done.returncode}:\n"
                            f"{done.stdout}{done.stderr}")

    def evidence(self):
        """The last log lines of each process, for a report."""
        lines = []
        for log in sorted((self.state / "log").glob("*.log")):
            if log.name not in ("initdb.log", "migrate.log", "demo.log"):
                tail = log.read_text(errors="replace").splitlines()[-25:]
                lines += [f"    {log.stem}: {line}" for line in tail]
        return "\n".join(lines)


class _At:
    """The same stack, at another port."""

    def __init__(self, world, port):
        self.world, self.port = world, port

    def __getattr__(self, name):
        return getattr(self.world, name)


def as_json(value):
    return json.dumps(value, separators=(",", ":"))
