"""Every program takes its settings whole and as they were meant, or refuses them in a sentence."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from stack import BUILD

SERVICES = ("gateway", "orchestrator", "inventory", "payment", "webhook")
PROGRAMS = SERVICES + ("checkoutctl",)

INJECTED = {"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "8080", "PORT": "tcp://10.0.0.1:8080",
            "PORT_8080_TCP": "tcp://10.0.0.1:8080", "PORT_8080_TCP_ADDR": "10.0.0.1"}


class Conf(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="checkout-conf-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.conf = self.folder / "x.conf"
        self.conf.write_text("key_file = /nowhere\n")

    def run_program(self, name, conf=None, before=(), **environment):
        words = ["health"] if name == "checkoutctl" else []
        command = [*before, str(BUILD / "bin" / name), *words, "--config",
                   str(conf or self.conf)]
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith("CHECKOUT_")}
        return subprocess.run(command, env={**clean, **environment}, capture_output=True,
                              text=True, timeout=60, stdin=subprocess.DEVNULL)

    def is_refused(self, done, *words):
        self.assertIn(done.returncode, (1, 2), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_a_folder_in_place_of_the_file_is_refused(self):
        for name in PROGRAMS:
            with self.subTest(name):
                self.is_refused(self.run_program(name, self.folder), str(self.folder),
                                "Is a directory")

    def test_a_file_that_may_not_be_read_is_refused(self):
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] \
            if os.geteuid() == 0 else []
        if subprocess.run([*nobody, str(BUILD / "bin" / "gateway"), "--help"],
                          capture_output=True, timeout=60).returncode != 0:
            self.skipTest("root may read everything, and nobody may not run the build")
        self.folder.chmod(0o755)
        self.conf.chmod(0)
        for name in PROGRAMS:
            with self.subTest(name):
                self.is_refused(self.run_program(name, before=nobody), str(self.conf),
                                "Permission denied")

    def test_a_setting_given_twice_is_refused(self):
        self.conf.write_text("key_file = /a\n# so\nkey_file = /a\n")
        for name in PROGRAMS:
            with self.subTest(name):
                self.is_refused(self.run_program(name), "line 3 sets key_file once more")

    def test_a_line_with_a_colon_for_the_equals_sign_is_not_repeated(self):
        self.conf.write_text("database_url: postgresql://u:hunter2@h/db?sslmode=require\n")
        for name in PROGRAMS:
            with self.subTest(name):
                done = self.run_program(name)
                self.is_refused(done, "line 1 sets", "does not know")
                self.assertNotIn("hunter2", done.stderr)

    def test_what_is_not_known_in_the_environment_is_refused_and_not_repeated(self):
        for name in PROGRAMS:
            with self.subTest(name):
                variable = f"CHECKOUT_{name.upper()}_KEY_FIEL"
                done = self.run_program(name, **{variable: "hunter2"})
                self.is_refused(done, variable, "does not know")
                self.assertNotIn("hunter2", done.stderr)

    def test_what_kubernetes_puts_there_is_overlooked_with_one_line(self):
        for name in SERVICES:
            with self.subTest(name):
                done = self.run_program(name, **{f"CHECKOUT_{name.upper()}_{end}": value
                                                 for end, value in INJECTED.items()})
                self.assertEqual(done.stderr.count("event=environment_ignored"), 1, done.stderr)
                self.assertIn("variables=5", done.stderr)
                self.assertNotIn("10.0.0.1", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
