"""The watcher: who hangs is told, who is busy is not, and at rest it hardly wakes.

The processes are this test's own: each is a server that answers a newcomer, or does not.
"""
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BUILD = Path(os.environ["CHECKOUT_BUILD"]).resolve()
WATCHER = str(BUILD / "bin" / "watcher")
HANGS = 16
PATIENCE = 60

SERVER = r"""
import socket, sys, threading
how, address = sys.argv[1:]
server = socket.socket(socket.AF_UNIX)
server.bind(address)
server.listen(1)
print("ready", flush=True)
def burn():
    while True:
        pass
if how == "busy":
    burn()
while how == "answers":
    client, _ = server.accept()
    client.sendall(b"\0SP\0\0\x31\0\0")
    assert client.recv(8, socket.MSG_WAITALL) == b"\0SP\0\0\x30\0\0"
    while (message := client.recv(14, socket.MSG_WAITALL)):
        client.sendall(message)
threading.Event().wait()
"""


class Watcher(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="checkout-watcher-", dir="/tmp")
        self.addCleanup(self.folder.cleanup)

    def process(self, name, how="answers", address=True):
        """How it is named to the watcher, and the process."""
        path = f"{self.folder.name}/{name}.sock"
        process = subprocess.Popen([sys.executable, "-c", SERVER, how, path],
                                   stdout=subprocess.PIPE, text=True)

        def end():
            process.kill()
            process.wait()
            process.stdout.close()

        self.addCleanup(end)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return f"{name}:{process.pid}:{f'ipc://{path}' if address else ''}", process

    def watch(self, *arguments):
        return subprocess.run([WATCHER, *arguments], timeout=PATIENCE, capture_output=True,
                              text=True)

    def test_who_answers_nothing_is_told_and_who_is_busy_is_not(self):
        names = [self.process(f"p{i}", how)[0] for i, how in
                 enumerate(("answers", "silent", "busy", "silent"))]
        self.assertEqual(self.watch(*names).returncode, HANGS + 0b1010)

    def test_who_is_stopped_is_told_with_an_address_or_without(self):
        one, first = self.process("one")
        two, second = self.process("two", address=False)
        three, _ = self.process("three", address=False)
        for process in (first, second):
            process.send_signal(signal.SIGSTOP)
        self.assertEqual(self.watch(three, one, two).returncode, HANGS + 0b110)

    def test_who_goes_on_in_time_is_not_told(self):
        name, process = self.process("one")
        process.send_signal(signal.SIGSTOP)
        watcher = subprocess.Popen([WATCHER, "--for", "8000", name])
        queue = Path("/proc/net/unix")
        deadline = time.monotonic() + PATIENCE
        while queue.read_text().count(f"{self.folder.name}/one.sock") < 2:  # it was greeted
            self.assertLess(time.monotonic(), deadline)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(watcher.wait(PATIENCE), 0)

    def test_an_end_is_told_at_once_and_one_that_was_before_too(self):
        name, process = self.process("one")
        other, _ = self.process("other")
        watcher = subprocess.Popen([WATCHER, other, name])
        process.kill()
        self.assertEqual(watcher.wait(PATIENCE), 0)
        process.wait()
        self.assertEqual(self.watch(other, name).returncode, 0)

    def test_who_listens_nowhere_is_starting_not_hanging(self):
        name, process = self.process("one")
        os.unlink(f"{self.folder.name}/one.sock")
        self.assertEqual(self.watch("--for", "6000", name).returncode, 0)

    def test_a_log_that_has_grown_is_told(self):
        name, _ = self.process("one")
        log = Path(self.folder.name) / "one.log"
        log.write_bytes(bytes(99))
        watcher = subprocess.Popen([WATCHER, "--logs", self.folder.name, "100", name])
        with log.open("ab") as file:
            file.write(b"x")
        self.assertEqual(watcher.wait(PATIENCE), 0)

    def test_at_rest_it_wakes_twice_a_second_at_most(self):
        """Counted are its context switches of both kinds."""
        seconds = 6
        names = [self.process(f"p{i}")[0] for i in range(6)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual(self.watch("--for", str(seconds * 1000), *names).returncode, 0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        woken = after.ru_nvcsw - before.ru_nvcsw
        print(f"{woken} wake-ups in {seconds} s")
        self.assertLessEqual(woken, 2 * seconds)

    def test_wrong_usage_is_told(self):
        for arguments in (("--for",), ("--for", "x"), ("one",), ("one:0:",), ("--logs", "/tmp"),
                          ("--nonsense",), ("a:1:",) * 7):
            done = self.watch(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("watcher", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
