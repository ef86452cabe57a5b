"""What the checks in this folder share: the files of the tree, and running a tool over them."""
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SKIPPED = 77  # CTest shows it as "Skipped" (SKIP_RETURN_CODE in test/CMakeLists.txt)


def files():
    """What git has or would add; all files where there is no git, as in a copy of this tree."""
    if shutil.which("git"):
        done = subprocess.run(["git", "-C", REPO, "ls-files", "-co", "--exclude-standard"],
                              capture_output=True, text=True)
        if done.returncode == 0:
            names = set(done.stdout.splitlines())
            return sorted(name for name in names if (REPO / name).is_file())
    found = []
    for folder, folders, names in os.walk(REPO):
        folders[:] = [name for name in folders
                      if name not in (".git", "node_modules") and not name.startswith("build")]
        found += [os.path.relpath(os.path.join(folder, name), REPO) for name in names]
    return sorted(found)


def c_files():
    return [name for name in files() if name.endswith((".c", ".h"))]


def run(command, **options):
    """The tool's exit status and all that it printed."""
    done = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **options)
    return done.returncode, done.stdout


def main():
    """unittest.main, but ends with SKIPPED when no test ran."""
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if 0 < len(result.skipped) >= result.testsRun else 0)
