"""logs.py - a strict reader of the services' logs: every line is logfmt, or one JSON object.

    pairs = parse(line)          # {"ts": ..., "level": ..., "program": ..., "event": ...}
    malformed(folder)            # what is wrong with the lines of a state folder's logs

And a line that names an order, or what has its id, names it as order= and beside it the request
that it was for, where that can be known.
"""
import json
import re

PROGRAMS = ("inventory", "payment", "orchestrator", "gateway", "webhook")
# Lines without a request: events have ids of their own, and checkouts from before migration 0019
# did not store one.
WITHOUT_REQUEST = {"event_refused", "event_redelivered", "event_dead", "event_damaged", "event_resent",
                   "delivery_failed", "checkout_taken_over", "checkout_damaged",
                   "checkout_unreadable"}
HEAD = ["ts", "level", "program", "event"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PAIR = re.compile(r"""([a-z0-9_]+)=
    (?: ([!#-<>-\[\]-~]+)                                             # no " = \\ or blank
      | "((?: [^"\\\x00-\x1f\x7f-\x9f\u2028\u2029]
            | \\(?: ["\\nrt] | u[0-9a-f]{4} ) )*)" )""", re.VERBOSE)


def parse(line):
    """The pairs of one line without its end; ValueError when it is malformed."""
    pairs = parse_json(line) if line.startswith("{") else parse_logfmt(line)
    if list(pairs)[:4] != HEAD or not TIME.fullmatch(pairs["ts"]):
        raise ValueError(f"does not begin with {', '.join(HEAD)}")
    return pairs


def parse_logfmt(line):
    pairs, at = {}, 0
    while True:
        found = PAIR.match(line, at)
        if not found:
            raise ValueError(f"no pair at {line[at:at + 40]!r}")
        key, bare, quoted = found.groups()
        if key in pairs:
            raise ValueError(f"{key} stands twice")
        pairs[key] = bare if bare is not None else json.loads(f'"{quoted}"')
        at = found.end()
        if at == len(line):
            return pairs
        if line[at] != " ":
            raise ValueError(f"no blank at {line[at:at + 40]!r}")
        at += 1


def parse_json(line):
    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    pairs = json.loads(line, object_pairs_hook=once)
    if any(isinstance(value, (dict, list)) for value in pairs.values()):
        raise ValueError("it is nested")
    return pairs


def lines(folder, program):
    """All lines of a program.  The first line of a rotated log may lack its beginning."""
    old, log = folder / f"{program}.log.1", folder / f"{program}.log"
    text = b"".join(path.read_bytes() for path in (old, log) if path.exists())
    found = text.split(b"\n")
    return found[1 if old.exists() else 0:-1]


def check_subject(pairs):
    """ValueError when it does not say which order and request it is about."""
    named = {"reservation", "charge", "event_id"} & set(pairs)
    if named and "order" not in pairs:
        raise ValueError(f"has {named.pop()}= without order=")
    if "order" in pairs and "request" not in pairs and pairs["event"] not in WITHOUT_REQUEST:
        raise ValueError("has order= without request=")


def wrong(name, found):
    """One sentence for each error in these lines of that program's log."""
    sentences = []
    for line in found:
        try:
            check_subject(parse(line.decode()))
        except ValueError as error:
            sentences.append(f"malformed line in {name}: {error}: {line[:400]!r}")
    return sentences


def malformed(folder):
    return [sentence for program in PROGRAMS
            for sentence in wrong(f"{program}.log", lines(folder, program))]
