"""chaos.py - a stack with replicas, and faults to inject into it.

    stack = ChaosStack(replicas=("inventory", "payment", "orchestrator"), proxies=True).start()
    stack.hurt("kill", "orchestrator-2")
    stack.hurt("stop", "inventory")     # SIGSTOP; stack.wake("inventory") ends it
    stack.relent("stop", "inventory")   # the same; likewise "silence", "fill"
    stack.calm()                        # everything runs again, nothing is armed
    stack.stop()

The second of a service is its name with "-2".  It runs beside the first from the same
settings, at an address of its own, and is started again when it dies, by this process; the
first ones and PostgreSQL are ./up's.
"""
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
import money  # noqa: E402
from stack import (BUILD, KEY, Stack, as_user, check_sums, free_port, give,  # noqa: E402
                   wait_until)

HERE = Path(__file__).resolve().parent
UNAVAILABLE = 64 + 14  # checkoutctl's exit status
SHORT = {  # so that leases, holds and patience run out within a test
    "CHECKOUT_ORCHESTRATOR_LEASE_MS": "1500",
    "CHECKOUT_ORCHESTRATOR_RECOVER_EVERY_MS": "200",
    "CHECKOUT_ORCHESTRATOR_STEP_TIMEOUT_MS": "2000",
    "CHECKOUT_ORCHESTRATOR_GIVE_UP_MS": "8000",
    "CHECKOUT_INVENTORY_RESERVATION_TTL_MS": "6000",
    "CHECKOUT_INVENTORY_REAP_EVERY_MS": "200",
    "CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS": "4000",
    "CHECKOUT_GATEWAY_ACCESS_LOG": "false",
}
ROLES = {"inventory": "inventory", "payment": "payment", "orchestrator": "orders",
         "sandbox": "sandbox"}


class Replica:
    """A second process of a service, restarted when it dies."""

    def __init__(self, stack, service):
        self.stack, self.service, self.name = stack, service, f"{service}-2"
        self.ended = threading.Event()
        self.process = None
        self.keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self):
        conf = self.stack.state / "conf" / f"{self.service}.conf"
        own = self.stack.state / "conf" / f"{self.name}.conf"
        run = self.stack.state / "run"
        own.write_text(conf.read_text().replace(f"ipc://{run}/{self.service}.sock",
                                                f"ipc://{run}/{self.name}.sock", 1))
        own.chmod(0o600)
        give(own, self.service)
        self.keeper.start()
        wait_until(lambda: self.process, 30, f"{self.name} is started")

    def _spawn(self):
        with open(self.stack.state / "log" / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                [*as_user(self.service), "setpriv", "--pdeathsig", "KILL",
                 self.stack.program(self.service), "--config", str(self.stack.state / "conf" / f"{self.name}.conf")],
                env=self.stack._environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def _keep(self):
        self._spawn()  # here, as the parent-death signal comes when this thread ends
        while not self.ended.wait(0.05):
            if (status := self.process.poll()) is not None:
                if status != -signal.SIGKILL and not self._nng_hung():
                    self.stack.deaths.append(f"{self.name} ended with status {status}")
                self._spawn()
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.process.wait()

    def _nng_hung(self):
        """It ended itself because nng hung (lib/rpc/nng_defects/linger.c); it is restarted like any other."""
        log = (self.stack.state / "log" / f"{self.name}.log").read_text(errors="replace")
        return "event=transport_hangs" in log.splitlines()[-1]

    def end(self):
        self.ended.set()
        if self.keeper.ident is not None:
            self.keeper.join()


class ChaosStack(Stack):
    def __init__(self, replicas=(), proxies=False, firewall=None, **environment):
        """firewall: connections to PostgreSQL are TCP, and can be silenced there."""
        super().__init__(**{**SHORT, **environment})
        self.deaths = []
        self.replicas = {f"{name}-2": Replica(self, name) for name in replicas}
        self.stopped, self.ever_stopped = set(), False
        self.proxy = None
        self.proxied = list(ROLES) if proxies else []
        self.firewall = firewall
        self.ports = {name: free_port() for name in self.proxied} if firewall else {}
        self.happened = []
        run = self.state / "run"
        for caller, service in (("GATEWAY", "orchestrator"), ("GATEWAY", "inventory"),
                                ("ORCHESTRATOR", "inventory"), ("ORCHESTRATOR", "payment")):
            if service in replicas:
                self.environment[f"CHECKOUT_{caller}_{service.upper()}_ADDRESSES"] = (
                    f"ipc://{run}/{service}.sock,ipc://{run}/{service}-2.sock")
        for name in self.proxied:
            setting = ("CHECKOUT_PAYMENT_PROVIDER_DATABASE_URL" if name == "sandbox"
                       else f"CHECKOUT_{name.upper()}_DATABASE_URL")
            where = (f"127.0.0.1:{self.ports[name]}/checkout?sslmode=disable" if firewall else
                     f"/checkout?host={self.base}/proxy/{name}")
            self.environment[setting] = f"postgresql://checkout_{ROLES[name]}@{where}"

    # --- life ---

    def start(self):
        if self.proxied:
            self._start_proxy()
        super().start()
        for replica in self.replicas.values():
            replica.start()
        return self

    def _start_proxy(self):
        # Names relative to our folder: stop() looks for processes that name the state's.
        places = [str(self.ports[name]) if self.firewall else f"proxy/{name}/.s.PGSQL.5432"
                  for name in self.proxied]
        self.proxy = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, str(HERE / "pgproxy.py"),
             "s/run/.s.PGSQL.5432", *places],
            cwd=self.base, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True)
        if self.proxy.stdout.readline() != "ready\n":
            raise AssertionError("the proxy did not start")
        threading.Thread(target=self._hear_proxy, daemon=True).start()

    def _hear_proxy(self):
        for line in self.proxy.stdout:
            self.happened.append(line.strip())

    def stop(self):
        for name in list(self.stopped):
            self.wake(name)
        for replica in self.replicas.values():
            replica.end()
        self.replicas = {}
        try:
            super().stop()
        finally:
            if self.proxy is not None:
                self.proxy.stdin.close()
                self.proxy.wait(10)
                self.proxy = None
        if self.deaths:
            raise AssertionError(f"deaths that are not ours: {self.deaths}")

    def end_quietly(self):
        """At the end of the program, for whatever reason."""
        if self.base.exists():
            with contextlib.suppress(Exception):
                self.stop()

    def faults(self):
        """PostgreSQL may fail to start while what a killed one left still ends: not counted."""
        said = self.output() if self.out.exists() else ""
        if self.ever_stopped:  # long enough to be taken for hanging
            self.kills += said.count(" hangs: it does not answer; killing it")
        self.kills += sum("postgres ended (exit status 1)" in line and "shared memory" in line
                          for line in said.splitlines())
        return super().faults()

    # --- faults ---

    def pid_of(self, name):
        """The pid, or None while it is down."""
        if name in self.replicas:
            process = self.replicas[name].process
            return process.pid if process.poll() is None else None
        return self.pid(name)

    def signal(self, name, number):
        pid = self.pid_of(name)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def hurt(self, what, name, amount=0):
        """Injects one fault; false if the process is down already."""
        if what == "kill":
            done = self.signal(name, signal.SIGKILL)
            self.kills += done and name not in self.replicas
            self.stopped.discard(name)
            return done
        if what == "quit":  # PostgreSQL's immediate stop
            done = self.signal(name, signal.SIGQUIT)
            self.kills += done
            return done
        if what == "stop":
            self.stopped.add(name)
            self.ever_stopped = True
            return self.signal(name, signal.SIGSTOP)
        if what == "hang":  # nobody wakes it: its supervisor has to end it
            done = self.signal(name, signal.SIGSTOP)
            self.kills += done
            return done
        if what == "silence":
            self.firewall.silence(self.ports[name])
            return True
        if what == "fill":
            self.fill()
            return True
        self.tell_proxy(f"{what} {self.proxied.index(name)}" + (f" {amount}" if amount else ""))
        return True

    def wake(self, name):
        self.stopped.discard(name)
        return self.signal(name, signal.SIGCONT)

    def relent(self, what, name):
        """Ends a lasting fault."""
        if what == "stop":
            self.wake(name)
        elif what == "silence":
            self.firewall.speak(self.ports[name])
        elif what == "fill":
            self.free()

    def tell_proxy(self, line):
        self.proxy.stdin.write(line + "\n")
        self.proxy.stdin.flush()

    def calm(self):
        """Ends all faults: continues stopped processes and waits until everything serves."""
        if self.proxy is not None:
            self.tell_proxy("calm")
        if self.firewall is not None:
            self.firewall.calm()
        for name in list(self.stopped):
            self.wake(name)
        wait_until(self.is_ready, 60, "everything runs again")

    def is_ready(self):
        return self.status().get("state") == "ready" and all(
            self.serves(name) for name in self.replicas)

    def serves(self, name):
        conf = self.state / "conf" / "one.conf"
        service = name.removesuffix("-2")
        run = self.state / "run"
        text = (self.state / "conf" / "checkoutctl.conf").read_text()
        conf.write_text(text.replace(f"{run}/{service}.sock", f"{run}/{name}.sock"))
        conf.chmod(0o600)
        done = subprocess.run(
            [str(BUILD / "bin" / "checkoutctl"), "--config", str(conf), "call", "--service",
             service, "--max-time", "2", "rpc.v1.Health/Check"],
            env=self._environ(), capture_output=True, text=True, timeout=60)
        return '"SERVING"' in done.stdout


def check_end(test, stack, answers, seconds=30):
    """The check after every kind of fault.  `answers` are Shopping's; faults have stopped."""
    wait_until(lambda: stack.unfinished() == 0 and not held(stack), seconds,
               f"every checkout is final: {unfinished(stack)}")
    orders = check_sums(test, stack)
    check_audit(test, stack)
    check_answers(test, stack, answers)
    return orders


def held(stack):
    return stack.number("SELECT count(*) FROM inventory.reservations WHERE state = 'held'")


def unfinished(stack):
    return stack.sql("SELECT order_id, state, epoch, failure_reason FROM orders.checkouts "
                     "WHERE state IN ('running', 'aborting')")[:10]


def check_audit(test, stack):
    done = wait_until(lambda: (said := stack.ctl("audit", check=False)).returncode
                      != UNAVAILABLE and said, 30, "every service is there to audit")
    if done.returncode == 2 and "no command" in done.stderr:
        return False
    test.assertEqual(done.returncode, 0, f"checkoutctl audit:\n{done.stdout}{done.stderr}")
    return True


def check_answers(test, stack, answers):
    """Every answer still holds, and the same key gives it again."""
    orders = {row[1]: (row[0], int(row[2])) for row in stack.sql(
        f"SELECT id, {KEY}, total_cents FROM orders.orders")}
    captured = {row[0] for row in stack.sql(
        f"SELECT {KEY} FROM orders.checkouts k JOIN payment.charges c "
        "ON c.id = k.order_id WHERE c.state = 'captured'")}
    charges = money.provider_statuses(stack.sql, KEY.replace("idem", "k.idem"))
    for key, said in answers.items():
        test.assertIsNone(money.falsehood(said, charges.get(key)), key)
        if said.status == 201:
            test.assertEqual(orders.get(key), (said.json["order_id"], said.json["total_cents"]),
                             f"answered with 201 for {key}, but not there")
        else:
            test.assertNotIn(key, orders, f"refused with {said!r}, but ordered")
            test.assertNotIn(key, captured, f"refused with {said!r}, but charged")
    acknowledged = {key for key, said in answers.items() if said.status == 201}
    test.assertEqual(set(orders) - acknowledged, set(), "orders nobody was told of")
