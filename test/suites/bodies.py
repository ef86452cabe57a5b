#!/usr/bin/env python3
"""bodies.py - the parsing cases of JSONTestSuite, as bodies of requests.

    git clone https://github.com/nst/JSONTestSuite
    test/suites/bodies.py JSONTestSuite

y_ must be taken, n_ must be refused, of i_ the suite says nothing: they are counted.
"""
import subprocess

import suite

LONELY = "a body is an object (or array), never a value alone"
TWICE = "a name that comes twice could be read two ways"
NUL = "no text of ours has a NUL, and a C string would end there"

# y_ cases that are refused on purpose (gateway/api/body.h).
KNOWN = {
    "y_object_duplicated_key": TWICE,
    "y_object_duplicated_key_and_value": TWICE,
    "y_object_escaped_null_in_key": NUL,
    "y_string_null_escape": NUL,
    "y_string_space": LONELY,
    "y_structure_lonely_false": LONELY,
    "y_structure_lonely_int": LONELY,
    "y_structure_lonely_negative_real": LONELY,
    "y_structure_lonely_null": LONELY,
    "y_structure_lonely_string": LONELY,
    "y_structure_lonely_true": LONELY,
    "y_structure_string_empty": LONELY,
}


def main():
    folder = suite.folder("of github.com/nst/JSONTestSuite")
    files = sorted((folder / "test_parsing").glob("*.json"))
    done = subprocess.run([suite.TOOL, "json", *files], capture_output=True, text=True,
                          check=True)
    results = []
    for file, answer in zip(files, done.stdout.split(), strict=True):
        kind, taken = file.name[0], answer == "yes"
        results.append((file.stem, f"{kind}_ {'taken' if taken else 'refused'}",
                        kind == "i" or taken == (kind == "y")))
    suite.report(folder, "JSONTestSuite", results, KNOWN)


if __name__ == "__main__":
    main()
