"""The webhook sender against a receiver that fails, is slow, goes away; and killed itself."""
import json
import signal
import subprocess

from stack import main, wait_until
from webhooks import Receiver, WebhookTest


class EventsWebhook(WebhookTest):
    def test_1_every_order_is_posted_signed_and_as_read(self):
        self.start()
        wanted = [self.order() for _ in range(5)]
        self.check_received()
        read = {json.loads(line)["event"]["id"]: json.loads(line)["event"]
                for line in self.stack.ctl("events", "read", "--limit", "1000").splitlines()}
        for name in wanted:
            self.assertEqual(json.loads(next(iter(self.receiver.bodies[name]))), read[name])
        self.wait_committed()
        self.assertEqual(self.end(), 0)
        # Nothing is posted again by the next process.
        before = sum(self.receiver.attempts.values())
        self.start()
        self.order()
        self.check_received()
        self.assertEqual(sum(self.receiver.attempts.values()), before + 1)

    def test_2_a_receiver_that_fails_redirects_and_dawdles_gets_it_in_the_end(self):
        words = [500, 302, 1.2, 404]
        self.receiver.behave = lambda name, attempt: (
            words[attempt - 1] if attempt <= len(words) and sum(name.encode()) % 2 else 200)
        self.start()
        for _ in range(8):
            self.order()
        self.check_received()
        # One line a second is written; that no redirect was followed, check_received has seen.
        self.assertRegex(self.log(), r'event=delivery_failed endpoint=\S+ order=([0-9A-Z]{26})'
                         r' event_id=\1\.1 .*problem="(answered [0-9]+|Timeout)')

    def test_3_sender_and_receiver_are_killed_while_orders_come(self):
        self.start()
        for turn in range(4):
            for _ in range(5):
                self.order()
            if turn % 2:
                self.end(signal.SIGKILL)
                self.start()
            else:
                self.receiver.stop()
                for _ in range(8):
                    self.order()
                self.stack.kill("orchestrator")
                self.receiver.start()
        self.check_received()
        self.wait_committed()

    def test_4_what_is_never_received_is_in_the_dead_letter_list_and_holds_up_nobody(self):
        bad = self.order()
        self.receiver.behave = lambda name, attempt: 400 if name == bad else 200
        self.start(give_up_ms=1500)
        more = [self.order() for _ in range(3)]
        self.check_received(but={bad})
        dead = self.folder / f"{self.name}.dead"
        wait_until(dead.exists, 30, "it is given up")
        wait_until(lambda: dead.read_text().endswith("\n"), 10, "the line is whole")
        letters = [json.loads(line) for line in dead.read_text().splitlines()]
        self.assertEqual([letter["id"] for letter in letters], [bad])
        self.assertEqual(json.loads(letters[0]["event"])["id"], bad)
        self.assertEqual(letters[0]["problem"], "answered 400")
        self.assertGreater(letters[0]["attempts"], 1)
        self.assertTrue(set(more) <= self.receiver.received())
        wait_until(lambda: json.loads((self.folder / f"{self.name}.pending").read_text()) == [],
                   10, "nothing is pending")
        self.dead_letters_are_listed_and_sent_after_all(bad)

    def dead_letters_are_listed_and_sent_after_all(self, bad):
        def ctl(*words, check=True):
            return self.stack.ctl("webhooks", *words, "--dir", str(self.folder), check=check)
        self.assertRegex(ctl("dead"), rf"(?m)^{self.name} +{bad} .* answered 400$")
        self.assertEqual(json.loads(ctl("dead", self.name, "--json"))["id"], bad)
        self.assertEqual(ctl("dead", "another"), "")
        self.assertIn("no dead letter 1.1", ctl("resend", self.name, "1.1", check=False).stderr)
        # Refused again, for as long as at first, it is dead again; and not twice.
        before = self.receiver.attempts[bad]
        ctl("resend", self.name, bad)
        wait_until(lambda: not (self.folder / f"{self.name}.resend").exists(), 30, "it is taken")
        wait_until(lambda: self.receiver.attempts[bad] > before + 1, 30, "it is tried, and again")
        wait_until(lambda: ctl("dead", self.name).count(bad) == 1, 30, "it is dead again")
        self.receiver.behave = lambda name, attempt: 200
        ctl("resend", self.name)
        self.check_received()
        wait_until(lambda: ctl("dead") == "", 30, "the list is empty")

    def test_5_only_what_is_configured_and_safe_is_posted_to(self):
        url = f"http://127.0.0.1:{self.receiver.port}/hook"
        open_file = self.folder / "open"
        open_file.write_text(self.secret.read_text())
        open_file.chmod(0o644)
        for line, said in (
                (f"x http://example.org/hook {self.secret}", "http:// goes only to this machine"),
                (f"x http://localhost.example.org/ {self.secret}", "only to this machine"),
                (f"x http://user:pw@127.0.0.1/ {self.secret}", "no user, password"),
                (f"x file:///etc/passwd {self.secret}", "must be https://"),
                (f"x {url} {open_file}", "can be read by others"),
                (f"x {url} /nowhere", "cannot open /nowhere"),
                (f"x {url}", "NAME URL SECRET_FILE"),
                (f"../x {url} {self.secret}", "a name is"),
                (f"x {url} {self.secret}\nx {url} {self.secret}", "given once")):
            with self.subTest(line):
                self.endpoints(line)
                done = subprocess.run(self.command(), env=self.stack._environ(), timeout=30,
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(said, done.stderr)

    def hang_up(self, event):
        said = len(self.log())
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: f"event={event} " in self.log()[said:], 30, event)

    def test_6_at_SIGHUP_the_endpoints_are_read_anew_and_the_sender_goes_on(self):
        second = Receiver().start()
        self.addCleanup(second.stop)
        first = f"{self.name} http://127.0.0.1:{self.receiver.port}/hook {self.secret}"
        added = f"second http://127.0.0.1:{second.port}/hook {self.secret}"
        self.start()
        self.check_received()
        self.endpoints(first, added)
        self.hang_up("endpoints_reloaded")
        wait_until(lambda: second.received() >= self.all_events(), 60, "the second has them all")
        for bad in (["x y"], []):
            self.endpoints(*bad)
            self.hang_up("endpoints_reload_failed")
        self.order()
        self.check_received()
        wait_until(lambda: second.received() >= self.all_events(), 60, "both go on")
        self.endpoints(added)
        self.hang_up("endpoints_reloaded")
        before, name = self.receiver.received(), self.order()
        wait_until(lambda: name in second.received(), 60, "the second has it")
        self.assertEqual(self.receiver.received(), before, "the first has left")
        self.endpoints(first, added)
        self.hang_up("endpoints_reloaded")
        self.check_received()
        self.assertEqual(self.end(), 0)


if __name__ == "__main__":
    main()
