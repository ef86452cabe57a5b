"""Every statement whose rows are read says what they look like (db.h: `rows`).

lib/db checks each row against the shape before it hands it over, so code never reads a row that
somebody changed by hand into something it does not expect.
"""
import re
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
FOLDERS = ("orchestrator", "payment", "inventory", "gateway", "webhook", "cli")
# A kind's answer, and a query's text; leader_query is a query's constructor, which takes both.
READ = re.compile(r"(?:\.|->)(?:answer|sql) =(?! sql\b)")
SHAPE = re.compile(r"(?:\.|->)rows =(?! rows\b)")


class Rows(unittest.TestCase):
    def test_each_answer_and_each_query_has_a_shape(self):
        seen = 0
        for folder in FOLDERS:
            for source in sorted((REPO / folder).rglob("*.c")):
                text = source.read_text()
                if "db_kind" not in text and "db_query" not in text:
                    continue
                reads, shapes = len(READ.findall(text)), len(SHAPE.findall(text))
                self.assertEqual(reads, shapes, f"{source.relative_to(REPO)}: {reads} statements "
                                 f"give rows, {shapes} shapes say what they look like")
                seen += reads
        self.assertGreater(seen, 30, "the statements are found")


if __name__ == "__main__":
    unittest.main(verbosity=2)
