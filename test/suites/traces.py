#!/usr/bin/env python3
"""traces.py - the W3C's test suite for Trace Context, against a running gateway.

    git clone https://github.com/w3c/trace-context      (its tests need aiohttp)
    test/suites/traces.py trace-context

The suite asks a service over HTTP to call it back, and looks at the trace in the call.  Our
gateway calls no HTTP: it calls the orchestrator.  So an adapter stands between: the suite's
trace fields go into a request to the gateway byte by byte, the call that the gateway makes
for it is opened on its way (test/wire/forward_test.py), and its trace is what the suite is
called back with.
"""
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "wire"), str(HERE.parent / "integration")]

import suite  # noqa: E402
from forward_test import Reader, address  # noqa: E402
from stack import Stack, free_port  # noqa: E402

KNOWN = {}


def read_message(stream):
    """The header lines, as they came, and the body of one HTTP message."""
    stream.readline()
    lines = []
    while (line := stream.readline()) not in (b"\r\n", b""):
        lines.append(line)
    sizes = [line for line in lines if line.lower().startswith(b"content-length:")]
    return lines, stream.read(int(sizes[0].split(b":")[1]) if sizes else 0)


class Adapter:
    def __init__(self, stack, reader):
        self.stack, self.reader = stack, reader
        self.token = stack.shopper().token
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            caller, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(caller,), daemon=True).start()

    def serve(self, caller):
        with caller, caller.makefile("rb") as stream:
            lines, body = read_message(stream)
            fields = [line for line in lines if line.lower().startswith(b"trace")]
            for action in json.loads(body):
                self.call_back(action, self.trace_behind(fields))
            caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                           b"Content-Length: 4\r\nConnection: close\r\n\r\nnull")

    def trace_behind(self, fields):
        """The trace in the gateway's call for a request with these header lines."""
        with socket.create_connection(("127.0.0.1", self.stack.port)) as gateway:
            gateway.sendall(b"GET /v1/orders HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
                            b"Authorization: Bearer " + self.token.encode() + b"\r\n" +
                            b"".join(fields) + b"\r\n")
            with gateway.makefile("rb") as stream:
                lines, _ = read_message(stream)
        identity = next(line.split(b":")[1].strip().decode() for line in lines
                        if line.lower().startswith(b"x-request-id:"))
        return next(seen for seen in self.reader.seen if seen["id"] == identity)

    @staticmethod
    def call_back(action, seen):
        headers = {"Content-Type": "application/json", "traceparent": seen["traceparent"]}
        if seen["tracestate"]:
            headers["tracestate"] = seen["tracestate"]
        urllib.request.urlopen(urllib.request.Request(
            action["url"], json.dumps(action["arguments"]).encode(), headers)).close()


def run(folder, url):
    done = subprocess.run(
        [sys.executable, "test.py", url], cwd=folder / "test", capture_output=True, text=True,
        timeout=600, check=False,
        env={**os.environ, "HARNESS_PORT": str(free_port()), "SPEC_LEVEL": "2",
             "STRICT_LEVEL": "2", "PYTHONDONTWRITEBYTECODE": "1"})
    results = re.findall(r"^(test_\w+) \(.*\)\n?.*? \.\.\. (\w+)", done.stderr, re.MULTILINE)
    count = re.search(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)
    if count is None or int(count[1]) != len(results):
        sys.exit(f"the suite did not run: {done.stdout}{done.stderr}")
    if any(outcome not in ("ok", "skipped") for _, outcome in results):
        print(done.stderr)
    return results


def main():
    folder = suite.folder("of github.com/w3c/trace-context")
    stack = Stack(CHECKOUT_GATEWAY_ORCHESTRATOR_ADDRESSES=address("orchestrator"))
    try:
        reader = Reader("orchestrator", stack.state)
        stack.start()
        results = run(folder, Adapter(stack, reader).url)
    finally:
        stack.stop()
    suite.report(folder, "Trace Context, levels 1 and 2, strict", [
        (name, outcome, outcome == "ok") for name, outcome in results], KNOWN)


if __name__ == "__main__":
    main()
