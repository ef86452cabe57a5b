"""What a receiver of webhooks may answer, and what an endpoint may be."""
import contextlib
import json
import subprocess
import sys
import time

from stack import main, wait_until
from webhooks import WebhookTest


class EventsWebhookAnswers(WebhookTest):
    def ctl(self, *words, check=True):
        return self.stack.ctl("webhooks", *words, "--dir", str(self.folder), check=check)

    def pending(self):
        path = self.folder / f"{self.name}.pending"
        return [letter["id"] for letter in json.loads(path.read_text())] if path.exists() else []

    def dead(self):
        return [line.split()[1] for line in self.ctl("dead").splitlines()
                if " attempts: " in line]

    def test_1_an_endpoint_that_answers_410_is_stopped_at_once_and_resumed_by_an_operator(self):
        refused = [self.order() for _ in range(3)]
        self.receiver.behave = lambda name, attempt: 500 if name in refused else 200
        self.start(retry_first_ms=3000, retry_most_ms=3000)
        wait_until(lambda: len(self.pending()) == 3, 30, "they are pending")
        self.assertRegex(self.ctl("pending"),
                         rf"(?m)^{self.name} +{refused[0]}  [1-9] attempts, the next at ")
        self.receiver.behave = lambda name, attempt: 410
        gone = self.order()
        wait_until(lambda: sorted(self.dead()) == sorted(refused + [gone]), 30,
                   "all that was pending is dead")
        wait_until(lambda: self.pending() == [], 10, "nothing is pending")
        for words in (("dead",), ("pending", self.name)):
            self.assertRegex(self.ctl(*words), rf"(?m)^{self.name} +answered 410 \(Gone\) .* "
                             rf"checkoutctl webhooks resume {self.name}$")
        self.assertIn("event=endpoint_gone", self.log())
        self.nothing_more_is_sent_until_resumed(gone)

    def nothing_more_is_sent_until_resumed(self, gone):
        self.assertEqual(self.receiver.attempts[gone], 1)
        self.receiver.behave = lambda name, attempt: 200
        self.end()
        self.start()  # which has not forgotten it
        later = self.order()
        refusal = self.ctl("resend", self.name, check=False)
        self.assertIn(f"first: checkoutctl webhooks resume {self.name}", refusal.stderr)
        self.assertNotIn(later, self.receiver.attempts)
        self.assertIn("has not answered 410", self.ctl("resume", "another", check=False).stderr)
        self.ctl("resume", self.name)
        wait_until(lambda: later in self.receiver.received(), 30, "what came meanwhile is sent")
        self.ctl("resend", self.name)
        self.check_received()

    def test_2_another_url_is_sent_events_again(self):
        self.receiver.behave = lambda name, attempt: 410
        self.order()
        self.start()
        wait_until(lambda: (self.folder / f"{self.name}.gone").exists(), 30, "it is gone")
        self.end()
        self.receiver.behave = lambda name, attempt: 200
        self.receiver.path = "/other"
        self.endpoints(f"{self.name} {self.url.replace('/hook', '/other')} {self.secret}")
        later = self.order()
        self.start()
        wait_until(lambda: later in self.receiver.received(), 30, "it is received")

    def test_3_a_body_that_never_ends_is_cut_and_the_event_received(self):
        def answer(request, chunk, pause):
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            request.close_connection = True
            with contextlib.suppress(OSError):
                for _ in range(10_000):
                    request.wfile.write(chunk)
                    time.sleep(pause)
        self.start(timeout_ms=30_000)
        for chunk, pause in ((b"x" * 65536, 0), (b"x", 0.05)):
            with self.subTest(pause=pause):
                self.receiver.behave = lambda name, attempt: (
                    lambda request: answer(request, chunk, pause))
                names = {self.order() for _ in range(2)}
                began = time.monotonic()
                self.wait_committed()
                self.assertLess(time.monotonic() - began, 25, "it waited for the body's end")
                self.assertEqual([self.receiver.attempts[name] for name in names], [1, 1])
        self.assertNotIn("delivery_failed", self.log())

    def test_4_an_at_sign_in_path_and_query_is_no_user(self):
        self.receiver.path = "/@shop/hook?to=a@b"
        self.endpoints(f"{self.name} {self.url.replace('/hook', '/@shop/hook?to=a@b')} "
                       f"{self.secret}")
        self.start()
        self.order()
        self.check_received()
        host = self.url.removesuffix("/hook")
        for url in (host.replace("//", "//u@") + "/", host.replace("//", "//u:p@") + "/@",
                    host.replace("//", "//@") + "?x", host + "\\@example.org/"):
            self.refused(f"x {url} {self.secret}")

    def refused(self, line, said=""):
        self.endpoints(line)
        done = subprocess.run(self.command(), env=self.stack._environ(), timeout=30,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, line)
        self.assertIn(said, done.stderr)

    def add_event(self, kind):
        order = f"0TYPES{len(self.receiver.attempts):020}"
        self.stack.sql("INSERT INTO orders.outbox (order_id, sequence, type, payload) "
                       f"VALUES ('{order}', 1, '{kind}', '{{}}')")
        self.addCleanup(lambda: self.stack.sql(
            f"DELETE FROM orders.outbox WHERE order_id = '{order}'"))
        return f"{order}.1"

    def test_5_an_endpoint_gets_the_types_that_it_chose(self):
        self.endpoints(f"{self.name} {self.url} {self.secret} parcel.* order.noted # not all")
        self.start()
        created = self.order()
        for kind in ("parcel.sent", "order.noted", "parcels"):
            name = self.add_event(kind)
            if kind == "parcels":
                unwanted = name
            else:
                wait_until(lambda: name in self.receiver.received(), 30, f"{kind} is received")
        self.wait_committed()
        self.assertNotIn(created, self.receiver.attempts)
        self.assertNotIn(unwanted, self.receiver.attempts)
        self.end()
        for types in ("Order", "*", "order.*x", "order*", "order.created,order.noted"):
            self.refused(f"x {self.url} {self.secret} {types}", "a type is order.created")

    def test_6_reload_tells_the_process_that_works_in_the_folder_and_no_other(self):
        self.assertIn("No webhook sender works in", self.ctl("reload", check=False).stderr)
        stand_in = subprocess.Popen(
            [sys.executable, "-c", STAND_IN, str(self.folder / "lock")], text=True,
            stdout=subprocess.PIPE)
        self.addCleanup(lambda: (stand_in.kill(), stand_in.wait(30), stand_in.stdout.close()))
        self.assertEqual(stand_in.stdout.readline(), "ready\n")
        self.assertIn(f"process {stand_in.pid}, reloads", self.ctl("reload"))
        self.assertEqual(stand_in.stdout.readline(), "told\n")
        stand_in.kill()
        stand_in.wait(30)
        # Its number still stands there, but nobody holds the lock.
        self.assertIn("No webhook sender works in", self.ctl("reload", check=False).stderr)
        self.start()
        wait_until(lambda: (self.folder / "lock").read_text() == f"{self.process.pid}\n", 30,
                   "the sender tells its number")


# Holds the lock as the sender does, and says when it was told to read anew.
STAND_IN = """
import fcntl, os, signal, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(os.getpid(), file=lock, flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
print("ready", flush=True)
signal.sigwait([signal.SIGHUP])
print("told", flush=True)
signal.pause()
"""


if __name__ == "__main__":
    main()
