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
which must agree.  A request without Host, or with an empty one, is given one, and what is
not complete though it is to be refused is ended by an empty line: else a case that is about
something else would show nothing.  Prints each case that is decided otherwise than the
project does; ends with 1 if these are not just those that are known to be so on purpose.
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


def urls(*numbers):
    return tuple(f"urltest_{number:03}" for number in numbers)


# why -> {project: cases}; see docs/test-suites.md.
ON_PURPOSE = {
    "the target holds what no URI may (RFC 3986): a fragment, a bracket, %2": {
        "llhttp": (
            "transfer-encoding: POST with `chunked` as last transfer-encoding",
            "transfer-encoding: POST with `chunked` as last transfer-encoding "
            "(multiple headers)",
            "uri: Fragment in URI", "uri: Quotes in URI", "url: Absolute URL",
            "url: Relative URL", "url: URL fragment", "url: Complex URL fragment",
            "url: Complex URL from node.js url parser doc", "url: IPv6 address with Zone ID",
            "url: IPv6 address with Zone ID, but `%` is not percent-encoded"),
        "gunicorn": ("valid/005", "valid/009", "valid/014", "valid/027"),
        "httparse": (*urls(46, 47, 93, 100, 101, 102, 103, 220, 255), "urltest_nvidia"),
        "picohttpparser": ("accept MSB chars",)},
    "the target has none of the forms (RFC 9112, 3.2): relative, * without OPTIONS": {
        "llhttp": ("method: M-SEARCH request", "method: PRI request HTTP2"),
        "httparse": urls(*range(56, 61), 66, 67, 119, *range(129, 134), *range(145, 150), 168,
                         169, *range(174, 178), 231, 232, 244, 245, 248)},
    "the target has a user before its host (RFC 9110, 4.2.4)": {
        "llhttp": ("uri: `host:port` and basic auth", "url: Proxy basic auth with unreserved chars",
                   "url: Complex URL with basic auth from node.js url parser doc",
                   "url: Proxy basic auth with url encoded space"),
        "gunicorn": ("valid/rfc9112_target_absolute_userinfo_01",)},
    "a line ends with CRLF, is not folded, and has one space between its parts": {
        "httparse": ("test_request_newlines", "test_request_empty_lines_prefix_lf_only",
                     "test_request_path_backslash"),
        "picohttpparser": (
            "parse multiline", "accept multiple spaces between tokens",
            r"chunked: b\r\nhello world\r\n0\r\n\n, with trailer",
            r"chunked: 6\r\nhello \r\n5\r\nworld\r\n0\r\na: b\nc: d\n\n, with trailer")},
    "one empty line before a request is skipped (RFC 9112, 2.2), not two": {
        "llhttp": ("connection: CRLF between requests, implicit `keep-alive`",),
        "httparse": ("test_request_empty_lines_prefix",)},
    "CONNECT is for proxies": {
        "llhttp": ("method: CONNECT request", "method: CONNECT request with CAPS",
                   "method: CONNECT with body", "uri: Underscore in hostname"),
        "gunicorn": ("valid/rfc9112_target_authority_connect_01",
                     "valid/rfc9112_target_authority_ipv6_01")},
    "another protocol: ICE, RTSP, HTTP/0.9": {
        "llhttp": ("method: SOURCE request with ICE", "method: OPTIONS request with RTSP",
                   "method: ANNOUNCE request with RTSP", "sample: No HTTP version")},
    "the only coding is chunked, alone": {
        "gunicorn": ("valid/025", "valid/025_line", "valid/029", "valid/030",
                     "valid/rfc9112_smuggle_gzip_chunked_01",
                     "valid/rfc9112_smuggle_te_identity_chunked_01")},
    "a chunk's size has at most 15 digits": {
        "picohttpparser": (r"chunked: 6\r\nhello \r\nffffffffffffffff\r\nabcdefg",)},
    "Upgrade is ignored (RFC 9110, 7.8): what follows is the next request": {
        "llhttp": ("connection: Multiple tokens with folding and LWS",
                   "connection: Emitting part of body and pausing",
                   "connection: Upgrade GET request", "connection: Upgrade POST request")},
    "HTTP/1.0 is answered and closed, keep-alive or not": {"gunicorn": ("valid/022",)},
    "the case has less than its Content-Length": {"gunicorn": ("valid/099",)},
    "a field whose name has _ is kept": {"gunicorn": ("valid/040",)},
    "trailers are checked and dropped, whatever their names (RFC 9110, 6.5.1)": {
        "llhttp": ("transfer-encoding: Trailing headers",),
        "gunicorn": ("invalid/rfc9110_trailer_forbidden_cl_01",
                     "invalid/rfc9110_trailer_forbidden_host_01",
                     "invalid/rfc9110_trailer_forbidden_te_01")},
    "any token is a method (RFC 9110, 9.1); the gateway answers 405": {
        "llhttp": ("invalid: HTTP protocol and ANNOUNCE method", "invalid: Invalid method"),
        "gunicorn": ("invalid/003c",)},
    "our limits are wider: 8 KB of target, 32 KB of head": {
        "gunicorn": ("invalid/006", "invalid/007", "invalid/008", "invalid/017")},
    "Content-Type twice is no matter of the parser": {"gunicorn": ("invalid/041",)},
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
    """(title, type, input, log) of each case; the type is empty if it needs a setting."""
    fence = r"```(http|url)\n(.*?)```.*?```log\n(.*?)```"
    title, meta = "", "{}"
    for match in re.finditer(rf"^#+ ([^\n]+)|<!-- meta=(\{{.*?\}}) -->|{fence}",
                             path.read_text(), re.M | re.S):
        title, meta = match[1] or title, match[2] or meta
        if match[3]:
            kind = "url" if match[3] == "url" else re.search(r'"type": ?"([^"]+)"', meta)[1]
            yield title, "" if "skipBody" in meta else kind, match[4], match[5]


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
    known = {(suite, name): why for why, suites in ON_PURPOSE.items()
             for suite, names in suites.items() for name in names}
    unknown = 0
    for folder in options.folders:
        suite, cases = cases_of(folder)
        counts, differ = collections.Counter(), collections.defaultdict(list)
        for case in cases:
            if case.data is None:
                counts["left out"] += 1
                continue
            requests, verdict, reason = read_with_host(tool, case.data)
            if case.wanted == "refused" and verdict == "more":
                requests, verdict, reason = read_with_host(tool, case.data + b"\r\n\r\n")
            same = verdict == case.wanted and same_requests(case, requests)
            counts["same" if same else "differ"] += 1
            if not same:
                why = known.pop((suite, case.name), "UNKNOWN")
                unknown += why == "UNKNOWN"
                differ[why].append(f"{case.name}: {case.wanted} there, {reason or verdict} here")
        print(f"{suite}: {counts['same']} the same, {counts['differ']} otherwise, "
              f"{counts['left out']} left out")
        for (of, name), why in known.items():
            if of == suite:
                unknown += 1
                differ["THE SAME, though known to differ"].append(f"{name}: {why}")
        for why, names in sorted(differ.items()):
            print(f"  {why}")
            for name in names:
                print(f"    {name}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
