"""Two PostgreSQL clusters, one the other's synchronous standby: losing one loses no order."""
import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from chaos import ChaosStack, check_end
from shopping import Shopping, stock_up
from stack import REPO, StackTest, main, wait_until

HA = str(REPO / "deploy" / "ha" / "ha")
ORDERS_BETWEEN = 40
GOES_ON_SECONDS = 10  # after the promotion


class Pair:
    """The two clusters, as children that end with us."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}

    def ha(self, command, *names, check=True):
        done = subprocess.run([HA, command, str(self.folder), *names], capture_output=True,
                              text=True, timeout=300)
        if check and done.returncode != 0:
            raise AssertionError(f"ha {command} {names}: {done.stdout}{done.stderr}")
        return done

    def run(self, name):
        with open(self.folder / f"{name}.out", "ab") as out:
            self.processes[name] = subprocess.Popen(
                [HA, "run", str(self.folder), name, "--tied"], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True)
        self.wait_for(name, ("primary", "standby"))

    def status(self):
        return dict(line.split("=") for line in self.ha("status").stdout.split())

    def wait_for(self, name, roles):
        wait_until(lambda: self.status()[name] in roles, 120, f"cluster {name} is {roles}")

    def lose(self, name):
        """As when its machine dies: the server and all it has started, -9, at once."""
        process = self.processes.pop(name)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in [process.pid, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(30)

    def end(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGQUIT)
            process.wait(60)


class HaStack(ChaosStack):
    """A stack whose database is the pair."""

    def __init__(self):
        super().__init__()
        self.pair = Pair(self.base / "ha")

    def start(self):
        self.pair.ha("make")
        for name in "ab":
            self.pair.run(name)
        self.pair.ha("pair")
        self.url = self.pair.ha("url").stdout.strip()
        self.environment["CHECKOUT_DATABASE_URL"] = self.url
        return super().start()

    def stop(self):
        folder, self.owns_base = self.base, False
        try:
            super().stop()
        finally:
            self.pair.end()
            shutil.rmtree(folder, ignore_errors=True)

    def database(self):
        return self.url


class HighAvailability(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = HaStack()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def goes_on(self, shopping, orders, seconds, what):
        goal = shopping.acknowledged() + orders
        wait_until(lambda: shopping.acknowledged() >= goal or shopping.troubles, seconds, what)
        self.assertEqual(shopping.troubles, [])

    def lose_primary(self, shopping, primary, standby):
        """The primary dies under load and the standby takes its place."""
        pair = self.stack.pair
        self.goes_on(shopping, ORDERS_BETWEEN, 90, f"orders are placed on {primary}")
        self.assertEqual(pair.status(), {primary: "primary", standby: "standby",
                                         "synchronous": "yes"})
        pair.lose(primary)
        pair.ha("promote", standby)
        self.goes_on(shopping, 1, GOES_ON_SECONDS, f"orders go on after {standby}'s promotion")
        self.goes_on(shopping, ORDERS_BETWEEN, 90, f"orders are placed on {standby}")

    def test_the_standby_takes_over_and_back_and_no_acknowledged_order_is_missing(self):
        pair = self.stack.pair
        stock_up(self.stack, scarce=100_000)
        shopping = Shopping(self.stack, clients=10, seed=1, methods=["pm_card_visa"]).start()
        self.lose_primary(shopping, "a", "b")

        # It would be a second primary: it is not to come back as it is.
        refused = pair.ha("start", "a", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("fenced", refused.stderr)
        self.assertEqual(pair.status(), {"a": "fenced", "b": "primary", "synchronous": "no"})

        # As a standby it is, and then the roles can change again.
        pair.ha("rejoin", "a")
        pair.run("a")
        pair.ha("pair")
        self.lose_primary(shopping, "b", "a")
        shopping.end()
        self.assertEqual(shopping.troubles, [])

        # Nothing is acknowledged that is in one place alone.
        pair.ha("rejoin", "b")
        pair.run("b")
        pair.ha("pair")
        shopper, cart = self.stack.shopper(), str(uuid.uuid4())
        self.addCleanup(shopper.close)
        self.expect(shopper.put_cart(cart, [("soak-0", 1)]), 201)
        pair.lose("b")
        self.expect(shopper.order(cart, cart), 504, "outcome_unknown")
        pair.run("b")
        shopping.answers[cart] = self.expect(shopper.order_until_final(cart, cart), 201)
        check_end(self, self.stack, shopping.answers)


if __name__ == "__main__":
    main()
