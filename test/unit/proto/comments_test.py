"""The contract says what it means: every service, method, message, field and value of the
.proto files has a comment, behind it or on the line above."""
import re
import sys
import unittest
from pathlib import Path

PROTO = Path(__file__).resolve().parents[3] / "proto"
DECLARED = re.compile(r"""\s* (?: (?:service|message|enum|oneof|rpc) \s+ \w+
                                | (?:repeated\s+|optional\s+)? [\w.<>, ]+ \s = \s* -?\d+ )""",
                      re.VERBOSE)


def uncommented(text):
    """What is declared in a .proto text without a comment: (line number, line)."""
    found, above = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        code, _, comment = line.partition("//")
        if DECLARED.match(code) and not comment.strip() and not above.startswith("//"):
            found.append((number, line.strip()))
        above = line.strip()
    return found


class Comments(unittest.TestCase):
    def test_everything_declared_has_a_comment(self):
        files = sorted(PROTO.glob("*.proto"))
        self.assertGreaterEqual(len(files), 5)
        for path in files:
            for number, line in uncommented(path.read_text()):
                with self.subTest(f"{path.name}:{number}"):
                    self.fail(f"{line} has no comment")

    def test_what_has_none_is_found(self):
        bare = ["service S {", "rpc M(A) returns (B);", "message A {", "string a = 1;",
                "repeated x.v1.B b = 2;", "map<string, A> m = 3;", "enum E {", "ZERO = 0;"]
        self.assertEqual([line for _, line in uncommented("\n".join(bare))], bare)
        for line in bare:
            self.assertEqual(uncommented(f"{line}  // it is told"), [])
            self.assertEqual(uncommented(f"// It is told.\n{line}"), [])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
