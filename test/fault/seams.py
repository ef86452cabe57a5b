"""seams.py - which failpoints the matrix makes fail, and which faults each one supports.

A failpoint's name is PROGRAM.SEAM.WHAT.EDGE; docs/faults.md says what each fault means
at each seam.
"""
import re

from stack import REPO

FAULTS = ("crash", "hang", "error", "drop", "repeat", "late")
LATE_MS = 400

# What a seam does not know is not a cell: the server never repeats, as the caller's seam
# does; an answer of the provider can only be lost.
KNOWN = {
    "commit.before": FAULTS,
    "commit.after": FAULTS,
    "call.before": FAULTS,
    "call.after": FAULTS,
    "serve.before": ("crash", "hang", "error", "drop", "late"),
    "serve.after": ("crash", "hang", "error", "drop", "late"),
    "provider.before": FAULTS,
    "provider.after": ("crash", "hang", "drop"),
    "bus.before": ("crash", "hang", "error", "repeat", "late"),
    "bus.after": ("crash", "hang", "drop", "late"),
    "answer.before": ("crash", "hang", "error", "drop", "late"),
}

# Passed, but no cell makes them fail, and why.
NOT_CELLS = {
    r"^checkoutctl\.": "the operator's client: it keeps nothing, and is asked again",
    r"\.serve\.Check\.": "health: it has no effect, and ./up itself asks it while starting",
    r"\.serve\.(Describe|Read)\.": "reflection and metrics: for people, they have no effect",
    r"\.(serve|call)\.Cancel\.": "a courtesy: a server that never hears it runs to the end",
}

# Passed all the time, or when the machine is slow, or before an order: only their own scenarios
# make them fail.
ELSEWHERE = re.compile(r"\.(take_over|renew|PutCart|put_cart|carts_put|place|publish|deliver|prune"
                       r"|prune_events|hold)\.|^orchestrator\.commit\.settle\.")

# Methods that change nothing; every other one must have been seen.
READS = re.compile(r"^(Get|List|Check|Read$)")


def faults_of(point):
    seam, edge = point.split(".")[1], point.split(".")[3]
    return KNOWN[f"{seam}.{edge}"]


def is_cell(point):
    return not any(re.search(pattern, point) for pattern in NOT_CELLS)


def must_be_seen():
    """Failpoints the sources promise: of every kind of write, of every changing method."""
    names = set()
    for folder, program in (("inventory", "inventory"), ("payment", "payment"),
                            ("orchestrator", "orchestrator")):
        for source in sorted((REPO / folder).rglob("*.c")):
            text = source.read_text()
            for kind in re.finditer(r"struct db_kind [A-Z_]+ = \{\s*\.name = \"(\w+)\"", text):
                names |= {f"{program}.commit.{kind[1]}.{edge}" for edge in ("before", "after")}
    for proto, program in (("inventory", "inventory"), ("payment", "payment"),
                           ("orders", "orchestrator"), ("events", "orchestrator")):
        text = (REPO / "proto" / f"{proto}.proto").read_text()
        for method in re.findall(r"\brpc (\w+)\(", text):
            if not READS.search(method):
                names |= {f"{program}.serve.{method}.{edge}" for edge in ("before", "after")}
    return names
