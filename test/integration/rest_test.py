"""At rest the services cost nothing: the switches between threads are counted, not the time."""
import base64
import contextlib
import os
import subprocess
import time
import uuid
from pathlib import Path

from stack import BUILD, SERVICES, StackTest, main, wait_until

SETTLED_S = 30     # after the last order; what rests has doubled its pauses by then
COUNTED_S = 60     # everything that comes back has come once
SWITCHES_MOST = 2  # a second and process
PROCESSOR_MOST = 0.001  # of one, for all together
TICKS = os.sysconf("SC_CLK_TCK")


def switches(pid):
    """By thread: how often it went to sleep, and so was woken."""
    counts = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines()
                          if ":\t" in line)
            counts[f"{fields['Name']} {fields['Pid']}"] = int(fields["voluntary_ctxt_switches"])
    return counts


def ticks(pid):
    """Of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


class Rest(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.stack.base / "webhook"
        folder.mkdir()
        secret = folder / "secret"
        secret.write_text(f"whsec_{base64.b64encode(b'thirty-two bytes that are secret').decode()}\n")
        secret.chmod(0o600)
        # Nothing is sent there: at rest there is no event.
        (folder / "endpoints").write_text(f"nobody http://127.0.0.1:9/ {secret}\n")
        cls.sender = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", str(BUILD / "bin" / "webhook"), "--config",
             str(cls.stack.state / "conf" / "webhook.conf"), "--endpoints-file",
             str(folder / "endpoints"), "--state-dir", str(folder)],
            env=cls.stack._environ(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.sender.wait)
        cls.addClassCleanup(cls.sender.kill)

    def pids(self):
        return {**{name: self.stack.pid(name) for name in SERVICES}, "webhook": self.sender.pid}

    def pass_time(self, seconds):
        """There is no fact to wait for: it is what does not happen meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(left)

    def test_each_process_wakes_at_most_twice_a_second(self):
        pids = self.pids()
        self.pass_time(SETTLED_S)
        before = {name: switches(pid) for name, pid in pids.items()}
        ran = sum(map(ticks, pids.values()))
        begun = time.monotonic()
        self.pass_time(COUNTED_S)
        after = {name: switches(pid) for name, pid in pids.items()}
        ran, seconds = sum(map(ticks, pids.values())) - ran, time.monotonic() - begun
        self.assertEqual(self.pids(), pids, "none was started again")
        for name, counts in after.items():
            by_thread = {thread: count - before[name].get(thread, 0)
                         for thread, count in counts.items()
                         if count > before[name].get(thread, 0)}
            with self.subTest(name):
                self.assertLessEqual(sum(by_thread.values()), SWITCHES_MOST * seconds, by_thread)
        self.assertLessEqual(ran, max(2, PROCESSOR_MOST * TICKS * seconds), "ticks of all")

    def test_what_rests_is_awake_at_once(self):
        self.stack.product("cup", 10)
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        key = str(uuid.uuid4())
        shopper.put_cart(key, [("cup", 1)])
        order = self.expect(shopper.order(key, key), 201).json["order_id"]
        wait_until(lambda: order in self.stack.ctl("events", "read", "--limit", "100"), 30,
                   "its event is read")


if __name__ == "__main__":
    main()
