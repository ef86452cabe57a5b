"""suite.py - what the drivers of public test suites have in common.

Each driver is given the folder of a suite, checked out by whoever runs it: nothing of the
suites is kept here.  docs/test-suites.md has what came out.
"""
import os
import subprocess
import sys
from pathlib import Path

BUILD = Path(os.environ.get("CHECKOUT_BUILD",
                            Path(__file__).resolve().parents[2] / "build")).resolve()
TOOL = BUILD / "bin" / "suite_tool"


def folder(usage):
    """The suite's folder, from the command line."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(f"usage: {Path(sys.argv[0]).name} FOLDER   {usage}")
    return Path(sys.argv[1])


def commit(suite):
    done = subprocess.run(["git", "-C", suite, "log", "-1", "--format=%h of %cs"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "of unknown version"


def report(suite, name, results, known):
    """`results`: (case, outcome, whether it is as the suite wants).  Prints counts by outcome
    and every difference, and exits with 1 if one is not `known`: {case: why}."""
    print(f"{name}, commit {commit(suite)}: {len(results)} cases")
    for outcome in sorted({outcome for _, outcome, _ in results}):
        print(f"  {sum(one == outcome for _, one, _ in results):4} {outcome}")
    differ = {case: outcome for case, outcome, good in results if not good}
    for case, outcome in sorted(differ.items()):
        print(f"  differs: {case}: {outcome}; {known.get(case, 'UNEXPECTED')}")
    for case in sorted(set(known) - set(differ)):
        print(f"  does not differ, though expected to: {case}")
    sys.exit(set(known) != set(differ))
