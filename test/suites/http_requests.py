#!/usr/bin/env python3
"""Other HTTP parsers' test cases of requests, against the gateway's own parser.

    test/suites/http_requests.py --build BUILD FOLDER...

Each FOLDER is a checked-out project; nothing of them is kept here:

    https://github.com/nodejs/llhttp             test/request/*.md and test/url.md
    https://github.com/benoitc/gunicorn          tests/requests
    https://github.com/seanmonstar/httparse      tests/uri.rs, src/lib.rs
    https://github.com/h2o/picohttpparser        test.c

Left out is what is about a project's setting (llhttp's lenient modes, gunicorn's options).
What a case sends is read by lib/http/parse.c and lib/http/body.c, whole and byte by byte,
which must agree.  A request without Host, or with an empty one, is given one: else a case that
is about something else would show nothing.  Prints each case that is decided otherwise than the project does;
ends with 1 if one is not known to be so on purpose.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import types
from pathlib import Path

HOST = b"Host: inserted.example\r\n"

# wanted: "taken", "refused" or "more" (not complete); requests: those that are complete, or
# None where the project's case does not say.
Case = collections.namedtuple("Case", "name data wanted requests")
Request = collections.namedtuple("Request", "method target fields body")

ON_PURPOSE = {
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=os.environ.get("CHECKOUT_BUILD", "build"),
                        help="the build folder; else CHECKOUT_BUILD")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    return parser.parse_args()


def unescaped(text):
    """The bytes of a literal of C or Rust."""
    simple = {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}

    def one(match):
        hexadecimal, octal, other = match.groups()
        if hexadecimal or octal:
            return chr(int(hexadecimal, 16) if hexadecimal else int(octal, 8))
        return simple.get(other, other)
    # Literals in UTF-8 stand for their bytes.
    text = text.encode().decode("latin-1")
    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", one, text).encode("latin-1")


# ---- llhttp ----

def of_markdown(path):
    """(title, type, input, log) of each case."""
    fence = r"```(http|url)\n(.*?)```.*?```log\n(.*?)```"
    title, meta = "", "{}"
    for match in re.finditer(rf"^#+ ([^\n]+)|<!-- meta=(\{{.*?\}}) -->|{fence}",
                             path.read_text(), re.M | re.S):
        title, meta = match[1] or title, match[2] or meta
        if match[3]:
            kind = re.search(r'"type": ?"([^"]+)"', meta) if match[3] == "http" else None
            yield title, kind[1] if kind else "url", match[4], match[5]


def llhttp_input(text):
    text = re.sub(r"\\\n", "", text.removesuffix("\n")).replace("\n", "\r\n")
    for escape, char in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        text = text.replace(escape, char)
    text = re.sub(r"\\x([0-9a-fA-F]+)", lambda match: chr(int(match[1], 16)), text)
    text = re.sub(r"\\([0-7]{1,3})", lambda match: chr(int(match[1], 8)), text)
    return text.encode()


def llhttp_told(data, log):
    """The complete requests of a log, and how it ends."""
    requests, wanted, spans, names, values = [], "taken", {}, [], []
    for line in log.splitlines():
        if span := re.match(r"off=(\d+) len=(\d+) span\[(\w+)\]", line):
            at, size = int(span[1]), int(span[2])
            spans[span[3]] = spans.get(span[3], b"") + data[at:at + size]
        elif line.endswith("message begin"):
            wanted, spans, names, values = "more", {}, [], []
        elif line.endswith("header_field complete"):
            names.append(spans.pop("header_field", b""))
        elif line.endswith("header_value complete"):
            values.append(spans.pop("header_value", b""))
        elif line.endswith("message complete"):
            wanted = "taken"
            requests.append(Request(spans.get("method"), spans.get("url"),
                                    list(zip(names, values)), spans.get("body", b"")))
        elif error := re.search(r"error code=(\d+)", line):
            # 5: more after Connection: close; 22, 23: what follows is another protocol.
            wanted = "taken" if error[1] in ("5", "22", "23") else "refused"
        elif line == "off=NULL finish=2":
            wanted = "more"
    return requests, wanted


def of_llhttp(folder):
    seen = collections.Counter()
    for path in [*sorted((folder / "test/request").glob("*.md")), folder / "test/url.md"]:
        for title, kind, text, log in of_markdown(path):
            name = f"{path.stem}: {title}"
            seen[name] += 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
            data = llhttp_input(text)
            if kind == "url":
                head = b"GET " + data + b" HTTP/1.1\r\nHost: a\r\n\r\n"
                yield Case(name, head, "refused" if "error" in log else "taken", None)
            elif kind in ("request", "request-finish"):
                yield Case(name, data, *reversed(llhttp_told(data, log)))
            else:
                yield Case(name, None, None, None)


# ---- gunicorn ----

class Settings(dict):
    """In the place of gunicorn.config.Config."""

    def set(self, name, value):
        self[name] = value


def gunicorn_expects(path):
    """What the case's Python file says: (settings, request), an error as its name."""
    errors = types.ModuleType("gunicorn.http.errors")
    errors.__getattr__ = lambda name: name
    config = types.ModuleType("gunicorn.config")
    config.Config = Settings
    sys.modules.update({"gunicorn.http.errors": errors, "gunicorn.config": config,
                        "gunicorn": types.ModuleType("gunicorn"),
                        "gunicorn.http": types.ModuleType("gunicorn.http")})
    names = {"uri": lambda raw: raw, "cfg": Settings()}
    exec(compile(path.read_text(), path.name, "exec"), names)  # pylint: disable=exec-used
    return names["cfg"], names["request"]


def gunicorn_request(told):
    return Request(told["method"].encode("latin-1"), told["uri"].encode("latin-1"),
                   [(name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in told["headers"]], told["body"])


def of_gunicorn(folder):
    for path in sorted((folder / "tests/requests").glob("*valid/*.http")):
        settings, expected = gunicorn_expects(path.with_suffix(".py"))
        name = f"{path.parent.name}/{path.stem}"
        if settings:
            yield Case(name, None, None, None)
            continue
        text = path.read_bytes().replace(b"\n", b"").decode("latin-1")
        data = re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.))", lambda match: chr(int(match[1], 16))
                      if match[1] else {"r": "\r", "n": "\n", "t": "\t", "0": "\0"}[match[2]],
                      text).encode("latin-1")
        if path.parent.name == "invalid":
            more = expected in ("NoMoreData", "ChunkMissingTerminator")
            yield Case(name, data, "more" if more else "refused", None)
            continue
        told = expected if isinstance(expected, list) else [expected]
        yield Case(name, data, "taken", [gunicorn_request(one) for one in told])


# ---- httparse ----

def httparse_request(body):
    def text(pattern):
        found = re.search(pattern, body)
        return unescaped(found[1]) if found else None
    fields = {int(index): unescaped(name) for index, name in re.findall(
        r'headers\[(\d+)\]\.name, "(.*?)"\)', body)}
    values = {int(index): unescaped(value) for index, value in re.findall(
        r'headers\[(\d+)\]\.value, &?b"(.*?)"(?:\[\.\.\])?\)', body)}
    method = text(r'method\.unwrap\(\), "(.*?)"\)')
    if method is None:
        return None
    return Request(method, text(r'path\.unwrap\(\), "(.*?)"\)'),
                   [(fields[index], values[index]) for index in sorted(fields)], b"")


def of_httparse(folder):
    for source in ("tests/uri.rs", "src/lib.rs"):
        text = re.sub(r"(?m)^\s*//.*\n", "", (folder / source).read_text())
        for name, literal, expects, body in re.findall(
                r'req! \{\s*(\w+),\s*b"((?:[^"\\]|\\.)*)",\s*(.*?)\|\w+\|\s*(\{.*?\})\s*\}',
                text, re.S):
            wanted = "refused" if "Err" in expects else "more" if "Partial" in expects \
                else "taken"
            request = httparse_request(body) if wanted == "taken" else None
            yield Case(name, unescaped(literal), wanted, [request] if request else None)


# ---- picohttpparser ----

def of_picohttpparser(folder):
    text = (folder / "test.c").read_text()
    literal = r'"((?:[^"\\]|\\.)*)"'
    requests = text[text.index("test_request(void)"):text.index("test_response(void)")]
    for data, wanted, comment in re.findall(
            rf"(?m)^    PARSE\({literal}, .*?, (0|-1|-2), {literal}\);", requests):
        yield Case(comment, unescaped(data),
                   {"0": "taken", "-1": "refused", "-2": "more"}[wanted], None)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for trailer, encoded, decoded, left in re.findall(
            rf"runners\[i\]\(__LINE__, ([01]), {literal}, {literal},\s*(.*?)\);", text):
        # Without the trailer section, picohttpparser leaves the last CRLF to its caller.
        data = unescaped(encoded) + (b"\r\n" if (trailer, left) == ("0", "0") else b"")
        request = Request(b"POST", b"/", None, unescaped(decoded))
        yield Case(f"chunked: {encoded}" + (", with trailer" if trailer == "1" else ""),
                   head + data, "more" if left == "-2" else "taken",
                   None if left == "-2" else [request])
    for encoded, wanted in re.findall(
            rf"chunked_failure\(__LINE__, {literal}, (-1|-2)\);", text):
        yield Case(f"chunked: {encoded}", head + unescaped(encoded),
                   "refused" if wanted == "-1" else "more", None)


# ---- ours ----

def run(tool, data, *piece):
    done = subprocess.run([tool, *piece], input=data, capture_output=True, check=True)
    return done.stdout.decode().splitlines()


def read(tool, data):
    """What the tool says of those bytes: (requests, "taken", "refused" or "more", reason)."""
    lines = run(tool, data)
    if lines != run(tool, data, "1"):
        raise AssertionError(f"byte by byte it is not the same: {data}")
    requests, (last, *rest) = [], lines[-1].split()
    for line in lines[:-1]:
        kind, *texts = line.split(" ")
        texts = [bytes.fromhex(text) for text in texts]
        if kind == "request":
            requests.append(Request(*texts, [], None))
        elif kind == "field":
            requests[-1].fields.append(tuple(texts))
        else:
            requests[-1] = requests[-1]._replace(body=texts[0])
    if last == "refused":
        return requests, "refused", rest[0], int(rest[2])
    # An empty line behind the last body.
    more = last == "more" and data[int(rest[0]):].strip(b"\r\n")
    return requests, "more" if more else "taken", "", 0


def read_with_host(tool, data):
    while True:
        requests, verdict, reason, at = read(tool, data)
        rest, empty = data[at:], re.search(rb"\r\nHost:[ \t]*\r\n", data[at:])
        if reason == "HOST_MISSING":
            rest = rest[:2] + rest[2:].replace(b"\r\n", b"\r\n" + HOST, 1)
        elif reason == "HOST" and empty:
            rest = rest.replace(empty[0], b"\r\n" + HOST, 1)
        else:
            return requests, verdict, reason
        data = data[:at] + rest


def comparable(request):
    fields = [(name.lower(), value.strip(b" \t")) for name, value in request.fields or []]
    inserted = [(b"host", HOST[6:-2]), (b"host", b"")]
    return request._replace(fields=[field for field in fields if field not in inserted])


def same_requests(case, requests):
    if case.requests is None:
        return True
    if len(requests) < len(case.requests):
        return False
    for ours, wanted in zip(requests, case.requests):
        if wanted.fields is None:
            ours = ours._replace(fields=None)
        if comparable(ours) != comparable(wanted):
            return False
    return True


READERS = {"test/request/sample.md": of_llhttp, "tests/requests/valid": of_gunicorn,
           "tests/uri.rs": of_httparse, "picohttpparser.c": of_picohttpparser}


def cases_of(folder):
    for mark, reader in READERS.items():
        if (folder / mark).exists():
            return reader.__name__.removeprefix("of_"), list(reader(folder))
    sys.exit(f"{folder} is none of the projects")


def main():
    options = arguments()
    tool = Path(options.build) / "bin" / "http_tool"
    known = {(suite, name): why for (suite, why), names in ON_PURPOSE.items() for name in names}
    unknown = 0
    for folder in options.folders:
        suite, cases = cases_of(folder)
        counts, differ = collections.Counter(), collections.defaultdict(list)
        for case in cases:
            if case.data is None:
                counts["left out"] += 1
                continue
            requests, verdict, reason = read_with_host(tool, case.data)
            same = verdict == case.wanted and same_requests(case, requests)
            counts["same" if same else "differ"] += 1
            if not same:
                why = known.pop((suite, case.name), "UNKNOWN")
                unknown += why == "UNKNOWN"
                differ[why].append(f"{case.name}: {case.wanted} there, {verdict} {reason} here")
        print(f"{suite}: {counts['same']} the same, {counts['differ']} otherwise, "
              f"{counts['left out']} left out")
        for why, names in sorted(differ.items()):
            print(f"  {why}")
            for name in names:
                print(f"    {name}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
