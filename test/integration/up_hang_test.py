"""./up starts again what hangs, leaves alone what is busy, and at rest costs next to nothing."""
import contextlib
import http.client
import os
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

from stack import PROCESSES, StackTest, check_sums, main, wait_until

FOUND_SECONDS = 60  # ten are promised; this machine may be busy


class Hang(StackTest):
    enough = threading.Event()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.configure_webhook()
        cls.stack.process.terminate()
        cls.stack.process.wait(60)
        cls.stack.start()
        cls.stack.product("cup", 1000)

    def order(self):
        shopper = self.stack.shopper()
        key = str(uuid.uuid4())
        try:
            shopper.until_final(lambda: shopper.put_cart(key, [("cup", 1)]))
            self.expect(shopper.order_until_final(key, key), 201)
        finally:
            shopper.close()

    def stop_and_wait(self, *names):
        before = {name: self.stack.pid(name) for name in names}
        self.stack.kills += len(names)
        for pid in before.values():
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(self.stack.pid(name) not in (None, pid)
                               for name, pid in before.items()), FOUND_SECONDS,
                   f"{', '.join(names)} started again")
        wait_until(lambda: self.stack.status()["state"] == "ready", FOUND_SECONDS, "all is ready")
        for name in names:
            self.assertIn(f"{name} hangs: it does not answer", self.stack.output())

    def test_each_that_is_stopped_is_started_again_alone(self):
        for name in (*PROCESSES, "webhook"):
            with self.subTest(name):
                others = {other: self.stack.pid(other) for other in (*PROCESSES, "webhook")
                          if other != name}
                self.stop_and_wait(name)
                self.order()
                self.assertEqual({other: self.stack.pid(other) for other in others}, others)
        check_sums(self, self.stack)

    def test_several_at_once_are_started_again(self):
        self.stop_and_wait("gateway", "orchestrator", "postgres")
        self.order()

    def test_who_waits_for_the_database_with_all_it_can_take_is_left_alone(self):
        """A lock holds up every reservation; health calls wait behind them, and the
        inventory is as healthy as ever."""
        before = {name: self.stack.pid(name) for name in PROCESSES}
        holder = self.hold("LOCK TABLE inventory.reservations, inventory.stock")
        shoppers = [self.stack.shopper() for _ in range(64)]
        threads = [threading.Thread(target=self.try_to_order, args=(shopper,))
                   for shopper in shoppers]
        try:
            for thread in threads:
                thread.start()
            watcher = wait_until(self.watcher, 60, "there is a watcher")
            looks, _ = self.switches(watcher)
            wait_until(lambda: self.watcher() != watcher or self.switches(watcher)[0] > looks + 25,
                       120, "the watcher has looked often enough to find a hang twice")
        finally:
            self.enough.set()
            holder.stdin.close()
            holder.wait(60)
            for thread in threads:
                thread.join(60)
        self.assertEqual({name: self.stack.pid(name) for name in PROCESSES}, before)
        self.order()

    def hold(self, statement):
        """Until its standard input is closed."""
        holder = subprocess.Popen(
            ["psql", "-XAtq", f"postgresql://checkout_owner@/checkout?host={self.stack.state}/run"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write(f"SET idle_in_transaction_session_timeout = 0; BEGIN; {statement};\n"
                           "SELECT 'held';\n")
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline(), "held\n")
        self.addCleanup(holder.stdout.close)
        return holder

    def try_to_order(self, shopper):
        """Again and again: each is answered 503 or 504."""
        while not self.enough.is_set():
            key = str(uuid.uuid4())
            with contextlib.suppress(OSError, http.client.HTTPException):
                shopper.put_cart(key, [("cup", 1)])
                shopper.order(key, key)
        shopper.close()

    def watcher(self):
        """The pid of the supervisor's watcher, or None."""
        try:
            supervisor = self.stack.pid("up")
            for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text() == "watcher\n":
                    return int(child)
        except OSError:
            pass
        return None

    @staticmethod
    def switches(pid):
        """Context switches of both kinds, and processor time in hundredths of a second."""
        status = Path(f"/proc/{pid}/status").read_text()
        count = sum(int(line.split()[1]) for line in status.splitlines()
                    if "ctxt_switches" in line)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return count, int(fields[11]) + int(fields[12])

    def test_at_rest_the_supervisor_wakes_twice_a_second_at_most(self):
        """Counted are context switches, of the supervisor and of all that it runs for
        watching, over a minute: the longest that one at rest is not greeted."""
        watcher = wait_until(self.watcher, 60, "there is a watcher")
        supervisor = self.stack.pid("up")
        before, began = (self.switches(watcher), self.switches(supervisor)), time.monotonic()
        while (left := began + 60 - time.monotonic()) > 0:
            time.sleep(left)
        seconds = time.monotonic() - began
        after = self.switches(watcher), self.switches(supervisor)
        woken, ran = (sum(now[i] - then[i] for now, then in zip(after, before)) for i in (0, 1))
        print(f"{woken} switches in {seconds:.1f} s; {ran} hundredths of a second")
        self.assertEqual(self.watcher(), watcher, "it was not started again")
        self.assertLessEqual(woken, 2 * seconds)
        self.assertLessEqual(ran, seconds * 0.1)


if __name__ == "__main__":
    main()
