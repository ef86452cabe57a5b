#!/usr/bin/env python3
"""mutations.py - a build that breaks a promise is caught.

    mutations.py [NAME ...]
    mutations.py --apply     only whether each still applies, in a second

mutations/NAME.patch breaks one promise of the services; its first lines say which, and
"Cells:" which cells of the matrix must then fail.  Each is applied to a copy of the tree,
built with failpoints and run.  What is not caught, or does not apply any more, fails here:
exit status 1.  Before them the copy is run as it is, and must hold.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
SOURCES = ("CMakeLists.txt", "cmake", "proto", "lib", "inventory", "payment", "orchestrator",
           "gateway", "cli", "client", "webhook")
RUN_SECONDS = 900


def run(*command, seconds=RUN_SECONDS, **more):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                          **more)


class Copy:
    """The tree and its build, in a folder that goes away."""

    def __init__(self, folder):
        self.tree, self.build = Path(folder) / "tree", Path(folder) / "build"
        self.tree.mkdir()
        for name in SOURCES:
            source = REPO / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, self.tree / name)

    def apply(self, patch, *how):
        # Outside of any repository: git would otherwise look for the paths in it.
        return run("git", "apply", *how, patch, cwd=self.tree,
                   env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.tree.parent)})

    def make(self):
        if not (self.build / "build.ninja").exists():
            made = run("cmake", "-G", "Ninja", "-S", self.tree, "-B", self.build,
                       "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCHECKOUT_FAILPOINTS=ON")
            if made.returncode != 0:
                return made
        return run("ninja", "-C", self.build)

    def matrix(self, cells):
        return run(sys.executable, HERE / "matrix.py", "--workers", "1",
                   *(word for cell in cells for word in ("--cell", cell)),
                   env={**os.environ, "CHECKOUT_BUILD": str(self.build),
                        "PYTHONDONTWRITEBYTECODE": "1"})


def cells_of(patch):
    return re.search(r"(?m)^Cells: (.+)$", patch.read_text())[1].split()


def why(said):
    """The line that says what did not hold."""
    return re.search(r"(?m)^FAILED .*$", said)[0]


def judge(copy, patch):
    """None when the mutation is caught, else what is wrong."""
    applied = copy.apply(patch)
    if applied.returncode != 0:
        return f"does not apply:\n{applied.stdout}"
    try:
        made = copy.make()
        if made.returncode != 0:
            return f"does not build:\n{made.stdout[-3000:]}"
        done = copy.matrix(cells_of(patch))
    finally:
        copy.apply(patch, "-R")
    if done.returncode == 0:
        return "is not caught"
    if done.returncode != 1 or "\nFAILED " not in done.stdout:
        return f"ended otherwise ({done.returncode}):\n{done.stdout[-3000:]}"
    print(f"caught {patch.stem}: {why(done.stdout)[:300]}", flush=True)
    return None


def healthy(copy, patches):
    """The tree as it is holds in the same cells: what is caught is the mutation."""
    made = copy.make()
    if made.returncode != 0:
        return made.stdout[-3000:]
    done = copy.matrix(sorted({cell for patch in patches for cell in cells_of(patch)}))
    return None if done.returncode == 0 else done.stdout[-3000:]


def apply_all(copy, patches):
    """The names of those that do not."""
    wrong = []
    for patch in patches:
        if (said := copy.apply(patch, "--check")).returncode != 0:
            wrong.append(patch.stem)
            print(f"{patch.stem} does not apply:\n{said.stdout}")
    return wrong


def main():
    names = [word for word in sys.argv[1:] if word != "--apply"]
    patches = [patch for patch in sorted((HERE / "mutations").glob("*.patch"))
               if not names or patch.stem in names]
    wrong = []
    with tempfile.TemporaryDirectory(prefix="checkout-mutations-") as folder:
        copy = Copy(folder)
        if "--apply" in sys.argv:
            sys.exit(1 if apply_all(copy, patches) or not patches else 0)
        if (trouble := healthy(copy, patches)) is not None:
            sys.exit(f"the tree is not well without any mutation:\n{trouble}")
        print(f"the tree holds as it is in the cells of {len(patches)} mutations", flush=True)
        for patch in patches:
            if (trouble := judge(copy, patch)) is not None:
                wrong.append(patch.stem)
                print(f"NOT CAUGHT {patch.stem} {trouble}", flush=True)
    print(f"{len(patches) - len(wrong)} of {len(patches)} mutations are caught")
    sys.exit(1 if wrong or not patches else 0)


if __name__ == "__main__":
    main()
