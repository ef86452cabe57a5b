"""Every .c and .h of ours is as clang-format leaves it (.clang-format).

Versions differ in details, so only that of Debian 12 decides.
"""
import re
import shutil
import unittest

from tree import c_files, main, run

VERSION = 14
PROGRAMS = (f"clang-format-{VERSION}", "clang-format")


def program():
    """The name of the one that decides; or None, and why."""
    seen = "is not installed"
    for name in filter(shutil.which, PROGRAMS):
        version = re.search(r"version (\d+)", run([name, "--version"])[1])
        if version and int(version.group(1)) == VERSION:
            return name, None
        seen = f"is another version here ({version.group(1) if version else 'unknown'})"
    return None, f"clang-format {VERSION} {seen}"


class ClangFormat(unittest.TestCase):
    def setUp(self):
        self.program, why_not = program()
        if why_not:
            self.skipTest(why_not)

    def test_a_wrong_format_would_be_seen(self):
        status, printed = run([self.program, "--dry-run", "-Werror", "--style=file",
                               "--assume-filename=x.c"], input="int  f( void ){return 0;}\n")
        self.assertNotEqual(status, 0, printed)

    def test_every_file_is_formatted(self):
        names = c_files()
        self.assertGreater(len(names), 200, "the files are found")
        status, printed = run([self.program, "--dry-run", "-Werror", "--style=file", *names])
        self.assertEqual(status, 0, f"mend it: {self.program} -i FILE\n{printed}")


if __name__ == "__main__":
    main()
