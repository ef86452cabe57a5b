"""crowd.py - many connections to one gateway: the memory they take, and what others notice.

The gateways are started for it, beside the shop's own, with the limits that it takes.
"""
import contextlib
import http.client
import resource
import select
import socket
import subprocess

from shop import wait_until  # first: it makes the next two known
from edge import Gateway
from gateway_slow_test import ATTACKS, Attack, established
from machine import pss_mb

IDLE = 10_000
ADDRESSES = 10       # that they come from
OTHER_FILES = 1000   # of a process that holds as many connections
PATIENCE_MS = 600_000
OTHERS = 16          # connections of those who are no attackers
OTHERS_RATE = 1000   # and their requests a second
HELD_S = 5           # until an attack is complete, at most
ATTACKED_S = 5       # an attack sends on all its connections at once, every five seconds

SETTINGS = {"connections_max": IDLE + OTHER_FILES, "per_address_max": IDLE,
            "idle_timeout_ms": PATIENCE_MS, "transfer_timeout_ms": PATIENCE_MS}


def can_idle():
    """Whether this machine lets a process hold that many; raises our own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard >= IDLE + OTHER_FILES


def settings(shop):
    """Those of SETTINGS that its gateway knows."""
    told = subprocess.run([str(shop.build / "bin" / "gateway"), "--help"],
                          capture_output=True, text=True, check=True).stdout
    return {name: value for name, value in SETTINGS.items() if name in told}


def served(port, address, request):
    """A keep-alive connection on which one request was answered."""
    connection = socket.create_connection(("127.0.0.1", port), 30, (address, 0))
    connection.sendall(request)
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    if response.status != 201 or response.will_close:
        raise AssertionError(f"not served, or not kept alive: {response.status}")
    return connection


def idle(shop):
    """MB that the gateway grows by with IDLE connections, each served a replayed order."""
    request = shop.first_replay()
    with Gateway(shop, "idle", **settings(shop)) as gateway, contextlib.ExitStack() as held:
        pids = [gateway.process.pid]
        served(gateway.port, "127.0.0.1", request).close()
        before = pss_mb(pids)
        poll = select.poll()
        for n in range(IDLE):
            address = f"127.0.0.{2 + n % ADDRESSES}"
            poll.register(held.enter_context(served(gateway.port, address, request)))
        after = pss_mb(pids)
        if gone := [fd for fd, event in poll.poll(0) if event & select.POLLIN]:
            raise AssertionError(f"{len(gone)} of {IDLE} idle connections were closed")
    return {"idle_mb": after - before, "idle_mb_without": before}


def slow(shop, seconds):
    """p99 of others at rest and during each of slowhttptest's attacks, and their ratio."""
    found = {}
    with Gateway(shop, "slow", **settings(shop)) as gateway:
        def p99(seconds):
            return shop.load(shop.replay, OTHERS, seconds, rate=OTHERS_RATE, repeat=True,
                             ports=[gateway.port])["p99_ms"]

        p99(seconds)
        for name in ATTACKS:
            key = name.replace(" ", "_")
            at_rest = p99(seconds)
            attack = Attack(gateway, name)
            try:
                # An attack that is refused at once never holds its connections.
                with contextlib.suppress(AssertionError):
                    wait_until(attack.is_under_way, HELD_S, name)
                attacked = p99(max(seconds, ATTACKED_S))
                held = established(gateway.port)
            finally:
                attack.stop()
            found.update({f"{key}_rest_p99_ms": at_rest, f"{key}_p99_ms": attacked,
                          f"{key}_held": held, f"{key}_vs_rest": attacked / at_rest})
    return found
