"""Every program prints the version of CMakeLists.txt, and nothing else, for --version."""
import os
import re
import subprocess
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CHECKOUT_BUILD", REPO / "build"))
VERSION = re.search(r"^project\(checkout VERSION (\d+\.\d+\.\d+) ",
                    (REPO / "CMakeLists.txt").read_text(), re.MULTILINE).group(1)
PROGRAMS = ("gateway", "orchestrator", "inventory", "payment", "webhook", "watcher", "checkoutctl")


class Version(unittest.TestCase):
    def expect(self, program, path):
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (0, f"{program} {VERSION}\n", ""))

    def test_every_program_prints_it(self):
        for program in PROGRAMS:
            with self.subTest(program):
                self.expect(program, BUILD / "bin" / program)
        self.expect("up", REPO / "up")

    def test_every_program_is_asked(self):
        built = re.findall(r"^checkout_program\((\w+) ", (REPO / "CMakeLists.txt").read_text(),
                           re.MULTILINE)
        self.assertEqual(sorted(built), sorted(PROGRAMS))

    def test_the_client_library_says_it_too(self):
        pc = (BUILD / "client" / "checkout-client.pc").read_text()
        self.assertIn(f"\nVersion: {VERSION}\n", pc)

    def test_the_changelog_begins_with_it(self):
        first = re.search(r"^## (\S+)", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)
        self.assertEqual(first, VERSION)


if __name__ == "__main__":
    unittest.main(verbosity=2)
