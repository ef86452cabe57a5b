"""SIGHUP reads files anew and ends nobody; a file that is bad is told, and the old one stays."""
import os
import re
import shutil
import signal
import subprocess

from edge import Gateway
from proxies import self_signed
from stack import CTL, SERVICES, StackTest, give, main, wait_until

PATIENCE = 60  # seconds


class Reload(StackTest):
    def hang_up(self, name, event):
        """Sends SIGHUP; the lines that follow, once one of them has the event."""
        pid, begin = self.stack.pid(name), len(self.stack.log(name))
        os.kill(pid, signal.SIGHUP)
        said = wait_until(lambda: f"event={event} " in self.stack.log(name)[begin:] and
                          self.stack.log(name)[begin:], PATIENCE, f"{name} says {event}")
        self.assertEqual(self.stack.pid(name), pid)
        return said

    def test_callers_are_read_anew_and_a_bad_list_is_told_each_time(self):
        for name in SERVICES:
            with self.subTest(name):
                callers = self.stack.state / "keys" / f"{name}.callers"
                self.assertIn(f"path={callers}", self.hang_up(name, "list_reloaded"))
                good = callers.read_text()
                callers.write_text("no line of such a list\n")
                self.addCleanup(callers.write_text, good)
                for _ in range(2):
                    self.assertIn(str(callers), self.hang_up(name, "list_reload_failed"))
                callers.write_text(good)
                self.hang_up(name, "list_reloaded")
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        self.assertEqual(shopper.ask("GET", "/healthz").status, 200)

    def put_key(self, name, source):
        """The service's own key is what `source` is, in one moment."""
        key = self.stack.state / "keys" / f"{name}.key"
        shutil.copy2(source, f"{key}.new")
        give(f"{key}.new", name)
        os.replace(f"{key}.new", key)

    def new_key(self, name):
        """Not in use yet; its path and its public key."""
        key = self.stack.base / f"another-{name}.key"
        key.unlink(missing_ok=True)
        self.stack.ctl("key", "new", name, "--out", str(key))
        return key, re.search("public = (.*)", key.read_text())[1]

    def test_a_key_of_our_own_that_is_bad_is_told_each_time_and_not_used(self):
        key = self.stack.state / "keys" / "payment.key"
        old = self.stack.base / "old.key"
        shutil.copy2(key, old)
        another, _ = self.new_key("inventory")
        try:
            for change, reason in ((lambda: self.put_key("payment", another), "is for 'inventory'"),
                                   (lambda: key.chmod(0o644), "chmod 600"),
                                   (key.unlink, "cannot be opened")):
                change()
                for _ in range(2):
                    self.assertIn(reason, self.hang_up("payment", "key_reload_failed"))
                self.assertIn("SERVING", self.stack.ctl("call", "--service", "payment",
                                                        "rpc.v1.Health/Check"))
        finally:
            self.put_key("payment", old)

    def test_a_key_of_our_own_is_replaced_while_all_run(self):
        keys = self.stack.state / "keys"
        services = keys / "known_services"
        self.stack.product("mug-key", 1000)
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)

        def place(step):
            self.assertIn(shopper.put_cart(step, [("mug-key", 1)]).status, (200, 201))
            self.expect(shopper.order(step, f"key-{step}"), 201)

        def old_key_is_answered():
            return self.stack.ctl("call", "--url", f"ipc://{self.stack.state}/run/orchestrator.sock",
                                  "--service-key", old, "Health/Check", check=False)

        place("before-all")
        key, new = self.new_key("orchestrator")
        old = re.search("^orchestrator (.*)", services.read_text(), re.MULTILINE)[1]
        # Those it calls let in both, then it has the new one: it calls by that, and is called by either.
        for name in ("inventory", "payment"):
            callers = keys / f"{name}.callers"
            line = re.search("^orchestrator .*", callers.read_text(), re.MULTILINE)[0]
            callers.write_text(f"{callers.read_text()}{line.replace(old, new)}\n")
            self.hang_up(name, "list_reloaded")
        place("two-are-let-in")
        self.put_key("orchestrator", key)
        said = self.hang_up("orchestrator", "key_reloaded")
        wait_until(lambda: self.stack.log("orchestrator").rsplit("event=key_reloaded", 1)[1]
                   .count("event=list_reloaded ") == 2, PATIENCE, "its lists are read with it")
        self.assertIn(f"path={keys}/orchestrator.key", said)
        place("has-the-new-one")
        for name in ("inventory", "payment"):
            callers = keys / f"{name}.callers"
            callers.write_text("".join(line for line in callers.read_text().splitlines(True)
                                       if old not in line))
            self.hang_up(name, "list_reloaded")
        place("the-new-one-alone-is-let-in")
        services.write_text(services.read_text().replace(old, new))
        self.hang_up("gateway", f"list_reloaded path={services}")
        self.assertEqual(old_key_is_answered().returncode, 0)
        self.hang_up("orchestrator", "earlier_key_dropped")
        wait_until(lambda: old_key_is_answered().returncode == 64 + 16, PATIENCE,
                   "the old one is answered no more")
        place("after-all")
        self.stack.kill("orchestrator")
        wait_until(lambda: shopper.ask("GET", "/healthz").status == 200, PATIENCE, "all is well")
        place("started-anew")

    def test_a_bad_certificate_and_a_bad_set_of_keys_are_told_and_not_used(self):
        certificate, key, _ = self_signed(self.stack)
        keys = self.stack.base / "keys.json"
        keys.write_text((self.stack.state / "keys" / "jwks.json").read_text())
        gateway = Gateway(self.stack, "reloaded", tls_cert_file=certificate, tls_key_file=key,
                          jwks_file=keys, jwks_every_ms=3000000, jwks_stale_ms=3600000)
        self.addCleanup(gateway.kill)
        gateway.start()
        good = keys.read_text(), open(certificate).read()
        keys.write_text("{}")
        with open(certificate, "w") as file:
            file.write("none\n")
        for _ in range(2):
            said = len(gateway.log())
            gateway.process.send_signal(signal.SIGHUP)
            for event in ("keys_reload_failed", "http_certificate_reload_failed"):
                wait_until(lambda: f"event={event} " in gateway.log()[said:], PATIENCE, event)
        said = len(gateway.log())
        keys.write_text(good[0] + "\n")
        with open(certificate, "w") as file:
            file.write(good[1] + "\n")
        gateway.process.send_signal(signal.SIGHUP)
        for event in ("keys_loaded", "http_certificate_loaded"):
            wait_until(lambda: f"event={event} " in gateway.log()[said:], PATIENCE, event)
        gateway.stop()

    def test_a_long_command_of_checkoutctl_goes_on(self):
        process = subprocess.Popen([str(CTL), "--state", str(self.stack.state), "top"],
                                   env=self.stack._environ(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertTrue(process.stdout.readline())
        process.send_signal(signal.SIGHUP)
        for _ in range(20):  # more than one screen
            self.assertTrue(process.stdout.readline())
        self.assertIsNone(process.poll())


if __name__ == "__main__":
    main()
