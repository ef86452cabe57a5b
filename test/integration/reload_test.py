"""SIGHUP reads files anew and ends nobody; a file that is bad is told, and the old one stays."""
import os
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
                self.assertIn(f"path={callers}", self.hang_up(name, "list_read_again"))
                good = callers.read_text()
                callers.write_text("no line of such a list\n")
                self.addCleanup(callers.write_text, good)
                for _ in range(2):
                    self.assertIn(str(callers), self.hang_up(name, "list_not_read_again"))
                callers.write_text(good)
                self.hang_up(name, "list_read_again")
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        self.assertEqual(shopper.ask("GET", "/healthz").status, 200)

    def test_a_key_of_our_own_that_has_changed_is_told_and_not_used(self):
        key = self.stack.state / "keys" / "payment.key"
        old = self.stack.base / "old.key"
        shutil.copy2(key, old)
        try:
            key.unlink()
            self.stack.ctl("key", "new", "payment", "--out", str(key))
            give(key, "payment")
            self.assertIn(f"path={key}", self.hang_up("payment", "key_changed"))
            key.chmod(0o644)
            self.hang_up("payment", "key_not_read_again")
        finally:
            shutil.copy2(old, key)
            give(key, "payment")
        self.assertIn("SERVING", self.stack.ctl("call", "--service", "payment",
                                                "rpc.v1.Health/Check"))

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
            for event in ("keys_kept", "certificate_kept"):
                wait_until(lambda: f"event={event} " in gateway.log()[said:], PATIENCE, event)
        said = len(gateway.log())
        keys.write_text(good[0] + "\n")
        with open(certificate, "w") as file:
            file.write(good[1] + "\n")
        gateway.process.send_signal(signal.SIGHUP)
        for event in ("keys_taken", "certificate_taken"):
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
