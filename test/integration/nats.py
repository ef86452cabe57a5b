"""nats.py - a nats-server of a test's own, and just enough of its protocol to look inside.

    server = NatsServer(folder).start()     # JetStream on a free port of 127.0.0.1
    server.kill(); server.start()           # kill -9, the same port and store
    server.messages("CHECKOUT")             # [(headers, body)] of a stream, in its order
    server.stop()
    NatsCluster(folder).start()             # three of them, with replicas

CHECKOUT_NATS_SERVER names another nats-server than the installed one.
https://docs.nats.io/reference/reference-protocols/nats-protocol
"""
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from stack import free_port, wait_until

ASKED_TOGETHER = 250
PROGRAM = os.environ.get("CHECKOUT_NATS_SERVER") or shutil.which(
    "nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin")


class NatsServer:
    def __init__(self, folder, extra="", context=None):
        """extra: more of its configuration, such as TLS, for which `context` is then ours."""
        self.context = context
        self.folder, self.port, self.process = folder, free_port(), None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.conf = folder / "nats.conf"
        self.configure(extra)
        self.url = f"nats://127.0.0.1:{self.port}"

    def configure(self, extra):
        """Sets options for its next start."""
        self.conf.write_text(f'listen: "127.0.0.1:{self.port}"\n'
                             f'jetstream {{ store_dir: "{self.folder}/store" }}\n{extra}\n')

    def start(self):
        with open(self.folder / "nats.log", "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", PROGRAM, "-c", str(self.conf)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, 30, "nats-server answers")
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "nats.log").read_text(errors="replace")[-2000:])
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def kill(self, number=signal.SIGKILL):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def stop(self):
        self.kill(signal.SIGTERM)

    def lose_all(self):
        """Deletes its storage."""
        self.kill()
        shutil.rmtree(self.folder / "store", ignore_errors=True)

    def messages(self, stream):
        with _Client(self.port, self.context) as client:
            state = client.ask(f"$JS.API.STREAM.INFO.{stream}", {})["state"]
            found = []
            for first in range(state["first_seq"], state["last_seq"] + 1, ASKED_TOGETHER):
                last = min(first + ASKED_TOGETHER - 1, state["last_seq"])
                found += client.ask_all(f"$JS.API.STREAM.MSG.GET.{stream}",
                                        [{"seq": n} for n in range(first, last + 1)])
            found.sort(key=lambda answer: answer["message"]["seq"])
            return [(_headers(answer["message"].get("hdrs", "")),
                     base64.b64decode(answer["message"]["data"])) for answer in found]

    def count(self, stream):
        """Messages of a stream; None when it is not there (yet)."""
        try:
            with _Client(self.port, self.context) as client:
                info = client.ask(f"$JS.API.STREAM.INFO.{stream}", {})
                return info["state"]["messages"] if "state" in info else None
        except (OSError, TimeoutError):
            return None

    def ask(self, subject, message):
        with _Client(self.port, self.context) as client:
            return client.ask(subject, message)


class NatsCluster:
    """Three servers that keep each message three times."""

    def __init__(self, folder):
        routes = [free_port() for _ in range(3)]
        self.servers = [NatsServer(folder / f"n{n}", (
            f'server_name: "n{n}"\ncluster {{ name: "test", listen: "127.0.0.1:{route}"\n'
            "routes: [" + ", ".join(f'"nats://127.0.0.1:{at}"' for at in routes) + "] }"))
            for n, route in enumerate(routes)]
        self.url = ",".join(server.url for server in self.servers)

    def start(self):
        for server in self.servers:
            server.start()
        wait_until(lambda: all(self._ready(server) for server in self.servers), 60,
                   "the servers have found each other")
        return self

    @staticmethod
    def _ready(server):
        try:
            return "error" not in server.ask("$JS.API.INFO", {})
        except OSError:
            return False

    def leader(self, stream):
        """The stream's leader: (server, its information); None while there is none."""
        for server in self.servers:
            try:
                info = server.process and server.ask(f"$JS.API.STREAM.INFO.{stream}", {})
            except OSError:
                continue
            name = info and info.get("cluster", {}).get("leader")
            if name:
                return self.servers[int(name[1:])], info
        return None

    def stop(self):
        for server in self.servers:
            server.stop()


def _headers(text):
    lines = base64.b64decode(text).decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) if ": " in line else line.split(":", 1)
                for line in lines if ":" in line)


class _Client:
    """One connection; requests one after another."""

    def __init__(self, port, context):
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        while self.socket.recv(1) != b"\n":  # INFO, after which TLS begins
            pass
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.file = self.socket.makefile("rb")
        self.inbox = f"_INBOX.test.{os.getpid()}.{time.monotonic_ns()}"
        self.socket.sendall(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,'
                            b'"no_responders":true}\r\n'
                            + f"SUB {self.inbox} 1\r\n".encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, subject, message):
        return self.ask_all(subject, [message])[0]

    def ask_all(self, subject, messages):
        """Sends all requests; returns the answers in the order they arrive."""
        asked = b""
        for message in messages:
            body = json.dumps(message).encode()
            asked += f"PUB {subject} {self.inbox} {len(body)}\r\n".encode() + body + b"\r\n"
        self.socket.sendall(asked)
        return [self._answer() for _ in messages]

    def _answer(self):
        while True:
            line = self.file.readline()
            if not line:
                raise OSError("nats-server hung up")
            if line == b"PING\r\n":
                self.socket.sendall(b"PONG\r\n")
            elif line.startswith((b"MSG", b"HMSG")):
                size = int(line.split()[-1])
                body = self.file.read(size + 2)[:size]
                if line.startswith(b"HMSG"):
                    body = body[int(line.split()[-2]):]
                return json.loads(body or b"{}")
            elif line.startswith(b"-ERR"):
                raise OSError(line.decode())
