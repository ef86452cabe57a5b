#!/usr/bin/env python3
"""strings.py - the strings of the HTTP working group's structured-field-tests.

    git clone https://github.com/httpwg/structured-field-tests
    test/suites/strings.py structured-field-tests

They are read as an Idempotency-Key is (gateway/api/idempotency.c): the string alone.  Blanks
around a field are off before anybody reads it, and a field that comes twice is refused
before; so several lines are given as HTTP would join them.
"""
import json
import subprocess

import suite

FILES = ("string.json", "string-generated.json")


def wanted(case, text):
    if text is None:
        return case.get("must_fail") or case.get("can_fail")
    return not case.get("must_fail") and case["expected"] == [text, []]


def main():
    folder = suite.folder("of github.com/httpwg/structured-field-tests")
    cases = [case for name in FILES for case in json.loads((folder / name).read_text())]
    fields = [", ".join(case["raw"]).encode() for case in cases]
    done = subprocess.run([suite.TOOL, "string"], input=b"\n".join(
        field.hex().encode() for field in fields) + b"\n", capture_output=True, check=True)
    texts = [None if line == "-" else bytes.fromhex(line).decode()
             for line in done.stdout.decode().split("\n")[:-1]]
    assert len(texts) == len(cases)
    suite.report(folder, "structured-field-tests, strings", [
        (case["name"], "refused" if text is None else "read", wanted(case, text))
        for case, text in zip(cases, texts)], {})


if __name__ == "__main__":
    main()
