"""Every link of our documents to a file of this tree, or to a heading in one, leads somewhere."""
import re
import unittest

from tree import REPO, files

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# A file named in the sources' comments.
NAMED = re.compile(r"\bdocs/[\w./-]+\.md\b")

# A source file named in a document or a comment, with or without folders before it.
SOURCE = re.compile(r"(?<![\w./*<-])((?:[\w-]+/)*[a-z]\w*\.[ch])\b(?![\w/(.])")
# Of other projects, and of the programs of those who use ours.
OTHERS = {"tls_common.c", "arrayfuncs.c", "program.c", "picohttpparser.c", "test.c"}


def pages():
    return [REPO / name for name in files() if name.endswith(".md")]


def prose(page):
    """Without blocks of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"),
                  flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def anchors(page):
    """As GitHub names headings: lower case, no punctuation, dashes for blanks."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Links(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        seen = 0
        for page in pages():
            for link in LINK.findall(prose(page)):
                if re.match(r"[a-z]+:", link):
                    continue
                path, _, anchor = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                name = page.relative_to(REPO)
                self.assertTrue(target.exists(), f"{name}: {link}")
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{name}: {link}")
                seen += 1
        self.assertGreater(seen, 50, "the links are found")

    def test_every_document_that_a_source_names_is_there(self):
        for name in files():
            if not name.endswith((".c", ".h", ".py", ".sh", ".proto", ".sql", ".txt", ".yaml")):
                continue
            for path in NAMED.findall((REPO / name).read_text(encoding="utf-8", errors="replace")):
                self.assertTrue((REPO / path).exists(), f"{name}: {path}")

    def test_every_source_that_a_text_names_is_there(self):
        sources = [name for name in files() if name.endswith((".c", ".h"))]
        known = {name[at:] for name in sources
                 for at in [0, *(m.end() for m in re.finditer("/", name))]}
        seen = 0
        for name in files():
            if not name.endswith((".md", ".c", ".h")) or name == "CHANGELOG.md":
                continue
            text = (REPO / name).read_text(encoding="utf-8", errors="replace")
            text = re.sub(r"^#include .*$", "", text, flags=re.MULTILINE)
            for source in SOURCE.findall(text):
                if not source.endswith(".pb-c.h") and source not in OTHERS:
                    self.assertTrue(source in known, f"{name}: there is no {source}")
                    seen += 1
        self.assertGreater(seen, 300, "the names are found")

    def test_every_decision_is_in_the_index(self):
        folder = REPO / "docs" / "adr"
        index = (folder / "README.md").read_text(encoding="utf-8")
        numbers = []
        for page in sorted(folder.glob("[0-9]*.md")):
            self.assertIn(f"]({page.name})", index)
            numbers.append(int(page.name[:4]))
            text = page.read_text(encoding="utf-8")
            for part in ("Status", "Context", "Decision", "Consequences",
                         "What would make us change it"):
                self.assertIn(f"## {part}\n" if part != "Status" else "Status: ", text, page.name)
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "numbered without a gap")


if __name__ == "__main__":
    unittest.main(verbosity=2)
