"""against.py - another commit of this repository, built to be measured beside this one.

Its files are unpacked into build-bench-COMMIT and built there, once, by its own scripts.
./up, migrations, prepared carts and sums are that commit's own; the load is ours.
"""
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

BUILD = """
set -euo pipefail
REPO=$1
for part in base packages build; do source "$REPO/deploy/up/$part.sh"; done
packages_install "$REPO/deploy/packages"
build_folder release "$REPO/build"
"""


class Commit:
    """`name` is anything git knows: a hash, a branch, HEAD~3."""

    def __init__(self, name):
        found = subprocess.run(
            ["git", "-C", str(REPO), "rev-parse", "--verify", "--quiet", "--end-of-options",
             f"{name}^{{commit}}"], capture_output=True, text=True)
        if found.returncode != 0:
            sys.exit(f"--against {name}: git knows no such commit here.")
        self.hash = found.stdout.strip()[:12]
        self.repo = REPO / f"build-bench-{self.hash}"
        self.build = self.repo / "build"

    def prepare(self):
        if not self.repo.exists():
            self._unpack()
        done = subprocess.run(["bash", "-c", BUILD, "build", str(self.repo)],
                              stdin=subprocess.DEVNULL, stdout=sys.stderr)
        if done.returncode != 0:
            sys.exit(done.returncode)
        self.shop = self._shop()
        return self

    def _unpack(self):
        """Under another name first: what has the final name is complete."""
        folder = Path(tempfile.mkdtemp(prefix="build-bench-", dir=REPO))
        folder.chmod(0o755)
        try:
            with subprocess.Popen(["git", "-C", str(REPO), "archive", self.hash],
                                  stdout=subprocess.PIPE) as archive:
                subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout,
                               check=True)
            if archive.returncode != 0:
                sys.exit(f"git archive {self.hash} failed.")
            folder.rename(self.repo)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _shop(self):
        """Its bench/shop.py with its stack.py, which know its tables."""
        stack, path = sys.modules.pop("stack", None), list(sys.path)
        spec = importlib.util.spec_from_file_location("shop_of_commit",
                                                      self.repo / "bench" / "shop.py")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path[:] = path
            sys.modules.pop("stack", None)
            if stack is not None:
                sys.modules["stack"] = stack
        return module
