"""client.py - a client written from proto/README.md alone.

It shares no code with the project: plain sockets, libsodium through ctypes, protobuf by
hand.  Section numbers are that page's.
"""
import base64
import ctypes
import ctypes.util
import itertools
import os
import socket
import struct
import time

_sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
if _sodium.sodium_init() < 0:
    raise RuntimeError("libsodium does not start")

NONCE, TAG, SALT, SESSION = 24, 16, 16, 16


# --- protobuf, as much as this needs: varints and length-delimited fields ---

def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def pack(*fields):
    """(number, value) pairs; int is a varint, str and bytes are length-delimited."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def unpack(data):
    """{number: [values]}"""
    fields, at = {}, 0

    def take_varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7

    while at < len(data):
        key = take_varint()
        if key & 7 == 0:
            value = take_varint()
        elif key & 7 == 2:
            size = take_varint()
            value = data[at:at + size]
            at += size
            if len(value) != size:
                raise ValueError("a field is cut short")
        else:
            raise ValueError(f"wire type {key & 7}")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def one(fields, number, default=0):
    return fields.get(number, [default])[-1]


# --- section 1: connections and messages ---

class Connection:
    def __init__(self, url, timeout=10, tls=None):
        """`tls` is an ssl.SSLContext, for tls+tcp."""
        self.ipc = url.startswith("ipc://")
        if self.ipc:
            self.socket = socket.socket(socket.AF_UNIX)
            address = url[len("ipc://"):]
        else:
            self.socket = socket.socket(socket.AF_INET)
            host, port = url.split("://")[1].rsplit(":", 1)
            address = (host, int(port))
        self.ids = itertools.count(0x80000001)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(address)
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname=host)
            self.greet()
        except OSError:
            self.socket.close()
            raise

    def greet(self):
        self.socket.sendall(b"\0SP\0\0\x30\0\0")
        greeting = self.take(8)
        if greeting != b"\0SP\0\0\x31\0\0":
            raise ConnectionError(f"not a service: {greeting!r}")

    def take(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the service closed the connection")
            data += more
        return data

    def send(self, body):
        self.socket.sendall((b"\x01" if self.ipc else b"") + struct.pack(">Q", len(body)) + body)

    def receive(self):
        if self.ipc and self.take(1) != b"\x01":
            raise ConnectionError("not a message")
        return self.take(struct.unpack(">Q", self.take(8))[0])

    # section 2
    def exchange(self, frame):
        """Sends a frame and gives the one that answers it."""
        number = struct.pack(">I", next(self.ids))
        self.send(number + frame)
        while True:
            body = self.receive()
            if body[:4] == number:
                return body[4:]

    # section 5
    def exchange_batch(self, frames):
        """Sends (id, frame) pairs; the pairs that come back, which need not answer these."""
        parts = [struct.pack(">II", number, len(frame)) + frame for number, frame in frames]
        body = self.exchange(b"\x02" + b"".join(parts))
        if body[:1] != b"\x02":
            raise NotTheService(body)
        pairs, at = [], 1
        while at < len(body):
            number, size = struct.unpack(">II", body[at:at + 8])
            pairs.append((number, body[at + 8:at + 8 + size]))
            at += 8 + size
        return pairs

    def exchange_in_batch(self, frame):
        """As exchange, in a batch; others are sent, empty, until one brings the answer."""
        pairs = self.exchange_batch([(1, frame)])
        while not pairs:
            time.sleep(0.01)
            pairs = self.exchange_batch([])
        [(_, answered)] = pairs
        return answered

    def close(self):
        self.socket.close()


# --- section 3: sealed frames ---

def read_lines(path):
    with open(path) as file:
        return file.read().splitlines()


class Key:
    def __init__(self, path):
        lines = dict(line.split(" = ", 1) for line in read_lines(path) if line)
        self.name = lines["name"]
        self.public = base64.b64decode(lines["public"])
        self.secret = base64.b64decode(lines["secret"])


def known_services(path):
    lines = (line.split("#")[0].split() for line in read_lines(path))
    return {line[0]: base64.b64decode(line[1]) for line in lines if line}


class Refused(Exception):
    def __init__(self, reason):
        super().__init__(f"refused, reason {reason}")
        self.reason = reason


class NotTheService(Exception):
    pass


class Session:
    """Our key and a service's: makes request frames and opens their answers."""

    def __init__(self, key, service):
        self.name = key.name.encode()
        self.shared = ctypes.create_string_buffer(32)
        if _sodium.crypto_box_beforenm(self.shared, service, key.secret) != 0:
            raise ValueError("not a usable public key")
        start = bytearray(os.urandom(SESSION))
        start[0] = start[0] & 0x3f | (0x40 if key.public > service else 0)
        self.start = bytes(start)
        self.counter = 0

    def next_nonce(self):
        self.counter += 1
        return self.start + struct.pack(">Q", self.counter)

    def seal(self, text, nonce):
        box = ctypes.create_string_buffer(TAG + len(text))
        _sodium.crypto_box_easy_afternm(box, text, ctypes.c_ulonglong(len(text)), nonce,
                                        self.shared)
        return b"\x01" + bytes([len(self.name)]) + self.name + nonce + box.raw

    def open(self, frame, request_nonce):
        if len(frame) == 2 and frame[0] == 0:
            raise Refused(frame[1])
        if len(frame) < 1 + SALT + TAG or frame[0] != 1:
            raise NotTheService(frame[:1])
        nonce = ctypes.create_string_buffer(NONCE)
        bound = request_nonce + frame[1:1 + SALT]
        _sodium.crypto_generichash(nonce, ctypes.c_size_t(NONCE), bound,
                                   ctypes.c_ulonglong(len(bound)), None, ctypes.c_size_t(0))
        nonce = bytes([nonce.raw[0] | 0x80]) + nonce.raw[1:]
        box = frame[1 + SALT:]
        text = ctypes.create_string_buffer(max(len(box) - TAG, 1))
        if _sodium.crypto_box_open_easy_afternm(text, box, ctypes.c_ulonglong(len(box)), nonce,
                                                self.shared) != 0:
            raise NotTheService("the answer does not open")
        return text.raw[:len(box) - TAG]


# --- section 4: the envelope ---

class Failed(Exception):
    def __init__(self, response):
        self.status = one(response, 2)
        self.message = one(response, 3, b"").decode()
        self.reason = one(response, 4, b"").decode()
        self.subject = one(response, 5, b"").decode()
        self.effect = one(response, 6)
        self.not_run = bool(one(response, 9))
        self.retry_after_ms = one(response, 10)
        self.money = one(response, 11, b"").decode()
        super().__init__(f"{self.status} {self.reason}: {self.message}")


def request(method, payload=b"", identity="wire-test", timeout_ms=10000, sent_at_ms=None,
            traceparent="", metadata=(), tracestate=""):
    if sent_at_ms is None:
        sent_at_ms = time.time_ns() // 1000000
    return pack((1, method), (2, identity), (3, timeout_ms), (4, traceparent), (5, sent_at_ms),
                (6, payload), *((7, pack((1, key), (2, value))) for key, value in metadata),
                (8, tracestate))


def answer(text, identity="wire-test"):
    """The payload of a Response, or Failed."""
    response = unpack(text)
    if one(response, 1, b"").decode() != identity:
        raise NotTheService("the answer is to another call")
    if one(response, 2) != 0:
        raise Failed(response)
    return one(response, 8, b"")


class Client:
    """Calls one service through one connection."""

    def __init__(self, url, key, service, tls=None):
        self.connection = Connection(url, tls=tls)
        self.session = Session(key, service)
        self.batched = False  # whether frames travel in batches

    def call(self, method, payload=b"", **more):
        return self.send(request(method, payload, **more), more.get("identity", "wire-test"))

    def send(self, text, identity="wire-test"):
        nonce = self.session.next_nonce()
        frame = self.session.seal(text, nonce)
        return answer(self.session.open(self.exchange(frame), nonce), identity)

    def exchange(self, frame):
        return (self.connection.exchange_in_batch if self.batched
                else self.connection.exchange)(frame)

    def close(self):
        self.connection.close()
