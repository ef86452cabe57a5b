"""No include circle between files or between folders: each layer can be read and tested without
those above it."""
import collections
import os
import re
import unittest

from tree import REPO, c_files

NOT_OURS = ("test/", "bench/", "docs/")
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def sources():
    return {name: (REPO / name).read_text(encoding="utf-8") for name in c_files()
            if not name.startswith(NOT_OURS)}


def includes(texts):
    """file -> those of our files that it includes."""
    found = collections.defaultdict(set)
    for name, text in texts.items():
        for included in INCLUDE.findall(text):
            for path in (included, f"lib/{included}"):
                if path in texts:
                    found[name].add(path)
    return found


def of_folders(between_files):
    found = collections.defaultdict(set)
    for name, others in between_files.items():
        found[os.path.dirname(name)] |= {os.path.dirname(other) for other in others}
    for folder in found:
        found[folder].discard(folder)
    return found


def circle(graph):
    """One of them, as a list that begins and ends with the same name; or None."""
    done, path = set(), []

    def walk(name):
        if name in path:
            return [*path[path.index(name):], name]
        if name in done:
            return None
        path.append(name)
        for other in sorted(graph.get(name, ())):
            found = walk(other)
            if found:
                return found
        done.add(path.pop())
        return None

    for name in sorted(graph):
        found = walk(name)
        if found:
            return found
    return None


class Includes(unittest.TestCase):
    def test_a_circle_would_be_seen(self):
        texts = {"lib/a/x.h": '#include "b/y.h"\n', "lib/b/y.h": "",
                 "lib/b/z.c": '#include "a/w.h"\n', "lib/a/w.h": ""}
        self.assertIsNone(circle(includes(texts)))
        self.assertEqual(circle(of_folders(includes(texts))), ["lib/a", "lib/b", "lib/a"])
        texts["lib/b/y.h"] = '#include "a/x.h"\n'
        self.assertEqual(circle(includes(texts)), ["lib/a/x.h", "lib/b/y.h", "lib/a/x.h"])

    def test_there_is_none(self):
        between = includes(sources())
        self.assertGreater(len(between), 100)
        self.assertIsNone(circle(between))
        self.assertIsNone(circle(of_folders(between)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
