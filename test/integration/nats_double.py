"""nats_double.py - a stand-in for nats-server that answers as no installed version does on demand.

    double = NatsDouble().start()
    double.answer = lambda message: {"stream": "CHECKOUT", "seq": 0, "duplicate": True}
    double.published         # every message that came, in its order
    double.stop()

It speaks as much of the protocol as the orchestrator needs: INFO, CONNECT, PING, SUB, HPUB,
the stream's info, and one PubAck a message.  `answer(message)` gives the PubAck as a dict, as
bytes that are sent as they are, or None for no answer; `config` is the stream's.
https://docs.nats.io/reference/reference-protocols/nats-protocol
"""
import collections
import json
import socket
import threading

Message = collections.namedtuple("Message", "subject headers body attempt")

INFO = {"server_id": "DOUBLE", "server_name": "double", "version": "2.10.27", "proto": 1,
        "go": "none", "host": "127.0.0.1", "headers": True, "max_payload": 1048576,
        "jetstream": True}


class NatsDouble:
    def __init__(self):
        self.lock = threading.Lock()
        self.published = []
        self.attempts = collections.Counter()  # by Nats-Msg-Id
        self.stored = {}                       # Nats-Msg-Id -> sequence, of what was stored
        self.answer = self.store
        self.config = {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self.listener.getsockname()[1]}"

    def start(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        self.listener.close()

    def store(self, message):
        """The answer of a server without faults."""
        with self.lock:
            name = message.headers["Nats-Msg-Id"]
            duplicate = name in self.stored
            sequence = self.stored.setdefault(name, len(self.stored) + 1)
        return {"stream": "CHECKOUT", "seq": sequence} | ({"duplicate": True} if duplicate else {})

    def ids(self):
        with self.lock:
            return [message.headers["Nats-Msg-Id"] for message in self.published]

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        subscriptions = {}  # subject -> sid
        with connection, connection.makefile("rb") as lines:
            try:
                connection.sendall(b"INFO " + json.dumps(INFO).encode() + b"\r\n")
                while line := lines.readline():
                    self._take(connection, lines, subscriptions, line.split())
            except OSError:
                pass  # it hung up

    def _take(self, connection, lines, subscriptions, words):
        verb = words[0].upper() if words else b""
        if verb == b"PING":
            connection.sendall(b"PONG\r\n")
        elif verb == b"SUB":
            subscriptions[words[1].decode()] = words[-1].decode()
        elif verb in (b"PUB", b"HPUB"):
            head = int(words[-2]) if verb == b"HPUB" else 0
            payload = lines.read(int(words[-1]) + 2)[:-2]
            subject = words[1].decode()
            optional = len(words) - (4 if verb == b"HPUB" else 3)
            reply = words[2].decode() if optional else None
            answer = self._answer(subject, payload[:head], payload[head:])
            if reply and answer is not None:
                connection.sendall(self._message(subscriptions, reply, answer))

    def _message(self, subscriptions, reply, answer):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        sid = next(sid for subject, sid in subscriptions.items()
                   if subject == reply or subject.endswith("*") and reply.startswith(subject[:-1]))
        return f"MSG {reply} {sid} {len(body)}\r\n".encode() + body + b"\r\n"

    def _answer(self, subject, head, body):
        if subject.startswith("$JS.API.STREAM.INFO."):
            return {"type": "io.nats.jetstream.api.v1.stream_info_response",
                    "created": "2026-01-01T00:00:00Z", "state": {},
                    "config": {"name": "CHECKOUT", "subjects": ["checkout.>"], "storage": "file",
                               "retention": "limits", "discard": "old", "max_msgs": -1,
                               "max_bytes": -1, "max_age": 0, "max_msg_size": -1,
                               "max_msgs_per_subject": -1, "num_replicas": 3,
                               "duplicate_window": 120_000_000_000} | self.config}
        if subject.startswith("$JS.API"):
            return {"error": {"code": 404, "err_code": 10059, "description": "not of the double"}}
        headers = dict(line.split(": ", 1) if ": " in line else line.split(":", 1)
                       for line in head.decode().split("\r\n")[1:] if ":" in line)
        with self.lock:
            self.attempts[headers["Nats-Msg-Id"]] += 1
            message = Message(subject, headers, body, self.attempts[headers["Nats-Msg-Id"]])
            self.published.append(message)
        return self.answer(message)
