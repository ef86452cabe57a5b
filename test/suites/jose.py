#!/usr/bin/env python3
"""Wycheproof's vectors of JSON Web Signatures and keys, against the gateway's own code.

    test/suites/jose.py --build BUILD FOLDER/testvectors_v1/json_web_*_test.json

FOLDER is a checked-out https://github.com/C2SP/wycheproof; nothing of it is kept here.  Each
group's key set is read by gateway/auth/jwks.c and each of its texts verified by gateway/auth/jwt.c.
Groups of encryption (JWE) are left out: the gateway has none; a key without a kid is given
one.  Prints each vector that is decided otherwise than the suite says, and why; ends with 1 if
one is let in that the suite calls invalid, and not on purpose.
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


# (comment of the group, of the test) -> why it is let in; see docs/test-suites.md.
ON_PURPOSE = {
    ("jws_rsa_roca_key", "rejectsKeyWithRocaVulnerability"): "how a key was made is not judged",
    ("jws_mixedSymmetryKeyset", "rejectsValid"): "each key serves its own algorithm alone",
    ("jws_duplicate_kid", "rejectsDuplicateKid"): "the first of them counts, with a warning",
    ("base64", "invalidBase64Padding"): "there is no padding in it",
    ("base64", "invalidBase64PaddingInPayload"): "there is no padding in it",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=os.environ.get("CHECKOUT_BUILD", "build"),
                        help="the build folder; else CHECKOUT_BUILD")
    parser.add_argument("vectors", nargs="+", type=Path)
    return parser.parse_args()


def key_set(group):
    key = group.get("public", group.get("private"))
    return {"keys": [{"kid": "any", **one} for one in key.get("keys", [key])]}


def verdicts(tool, keys, texts):
    """What the gateway's code says of each text: ("good", payload) or ("bad", reason)."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(keys, file)
        file.flush()
        lines = "".join(text.encode().hex() + "\n" for text in texts)
        done = subprocess.run([tool, file.name], input=lines, capture_output=True, text=True,
                              check=True)
    told = [line.split(" ", 1) for line in
            done.stdout.replace(file.name, "the set").splitlines()]
    if len(told) != len(texts):
        raise AssertionError(f"{len(texts)} texts and {len(told)} verdicts: {done.stderr}")
    return told


def main():
    options = arguments()
    tool = Path(options.build) / "bin" / "jose_tool"
    counts, differ, wrong = collections.Counter(), collections.defaultdict(list), 0
    for path in options.vectors:
        for group in json.loads(path.read_text())["testGroups"]:
            tests = [test for test in group["tests"] if isinstance(test.get("jws"), str)]
            counts["left out"] += len(group["tests"]) - len(tests)
            for test, (verdict, detail) in zip(
                    tests, verdicts(tool, key_set(group), [test["jws"] for test in tests])):
                agreed = (verdict == "good") == (test["result"] == "valid")
                counts["agreed" if agreed else "differ"] += 1
                if not agreed:
                    why = ON_PURPOSE.get((group.get("comment"), test["comment"]))
                    wrong += verdict == "good" and why is None
                    reason = f"let in: {why or 'A FINDING'}" if verdict == "good" else detail
                    differ[path.name, group.get("comment"), reason].append(
                        f"{test['tcId']} {test['comment']}")
    for (name, group, reason), tests in differ.items():
        print(f"{name}, {group}: {reason}")
        for test in tests:
            print(f"    {test}")
    print(f"{counts['agreed']} as the suite says, {counts['differ']} otherwise, "
          f"{counts['left out']} left out")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
