"""docs/configuration.md lists every setting of every program as the program prints it."""
import subprocess
import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


class Configuration(unittest.TestCase):
    def test_the_page_is_what_the_programs_print(self):
        done = subprocess.run([sys.executable, REPO / "docs" / "configuration", "--check"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""),
                         "regenerate it: CHECKOUT_BUILD=build-dev docs/configuration")


if __name__ == "__main__":
    unittest.main(verbosity=2)
