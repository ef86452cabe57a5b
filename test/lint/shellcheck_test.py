"""shellcheck has nothing to say about our shell scripts (.shellcheckrc)."""
import re
import shutil
import unittest

from tree import REPO, files, main, run

SHELL = re.compile(rb"#!.*\b(ba|da)?sh\b")


def scripts():
    """*.sh, and whatever a shell runs by its first line."""
    found = []
    for name in files():
        with open(REPO / name, "rb") as file:
            if name.endswith(".sh") or SHELL.match(file.readline(80)):
                found.append(name)
    return found


@unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not installed")
class Shellcheck(unittest.TestCase):
    def test_a_mistake_would_be_seen(self):
        status, printed = run(["shellcheck", "-"], input="#!/bin/bash\nrm -rf $1/x\n")
        self.assertEqual(status, 1)
        self.assertIn("SC2086", printed)

    def test_no_script_has_a_finding(self):
        names = scripts()
        self.assertIn("up", names)
        self.assertIn("deploy/up/base.sh", names)
        status, printed = run(["shellcheck", *names])
        self.assertEqual(status, 0, printed)


if __name__ == "__main__":
    main()
