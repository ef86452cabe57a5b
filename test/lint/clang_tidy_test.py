"""clang-tidy finds no bug in our C: the short list of checks in .clang-tidy.

It compiles each file as the build folder does (compile_commands.json), without code.
"""
import json
import os
import shutil
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tree import REPO, main, run

BUILD = Path(os.environ.get("CHECKOUT_BUILD", REPO / "build-dev"))
FILES_AT_ONCE = 8
# Warnings are the compiler's to give; these runs look for the list's findings alone.
TIDY = ["clang-tidy", "--quiet", f"--config-file={REPO / '.clang-tidy'}", "--extra-arg=-w"]


def sources():
    """Ours alone: what is generated lies in the build folder."""
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    found = {command["file"] for command in commands}
    return sorted(name for name in found if not Path(name).is_relative_to(BUILD))


@unittest.skipUnless(shutil.which("clang-tidy"), "clang-tidy is not installed")
@unittest.skipUnless((BUILD / "compile_commands.json").exists(),
                     f"{BUILD} has no compile_commands.json")
class ClangTidy(unittest.TestCase):
    def test_a_bug_would_be_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "x.c"
            source.write_text("#include <string.h>\n"
                              "int f(const char *a) { return strcmp(a, \"x\") == -1; }\n")
            status, printed = run([*TIDY, str(source), "--"])
        self.assertNotEqual(status, 0)
        self.assertIn("bugprone-suspicious-string-compare", printed)

    def test_no_file_has_a_finding(self):
        names = sources()
        self.assertGreater(len(names), 200, "the files are found")
        groups = [names[i:i + FILES_AT_ONCE] for i in range(0, len(names), FILES_AT_ONCE)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(lambda group: run([*TIDY, "-p", str(BUILD), *group]), groups)
        self.assertEqual([printed for status, printed in done if status != 0], [])


if __name__ == "__main__":
    main()
