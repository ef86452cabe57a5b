#!/usr/bin/env python3
"""events.py - what events cost an order, and how fast an outage of the bus is caught up.

    CHECKOUT_BUILD=build bench/events.py [--orders N] [--clients N] [--rounds N] [--backlog N]

A stack of its own with a nats-server of its own.  Orders are placed with the bus up, with it
killed and with it hung (SIGSTOP), in turns, so that what else the machine does falls on all
three alike; then a backlog is written, with the bus away, and the time until it is placed
(readable) and until the bus has acknowledged it is taken.  The processor time of the stack
and of NATS is told beside it: on a machine that others use, that is the number to look at.
"""
import argparse
import os
import queue
import signal
import sys
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "integration"))
from nats import NatsServer  # noqa: E402
from stack import Stack, wait_until  # noqa: E402


def place(shopper):
    """One order's latency in milliseconds."""
    name = str(uuid.uuid4())
    filled = shopper.put_cart(name, [("bench", 1)])
    began = time.monotonic()
    answer = shopper.order(name, name)
    took = (time.monotonic() - began) * 1000
    if filled.status not in (200, 201) or answer.status != 201:
        raise SystemExit(f"not placed: {filled!r}, {answer!r}")
    return took


def orders(shoppers, count):
    """Latencies of `count` orders by all of them at once."""
    left, found = queue.SimpleQueue(), []
    for _ in range(count):
        left.put(None)

    def run(shopper):
        while True:
            try:
                left.get_nowait()
            except queue.Empty:
                return
            found.append(place(shopper))
    threads = [threading.Thread(target=run, args=(shopper,)) for shopper in shoppers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Bus:
    def __init__(self, server):
        self.server = server

    def up(self):
        if self.server.process is None:
            self.server.start()
        else:
            self.server.process.send_signal(signal.SIGCONT)

    def killed(self):
        self.server.kill()

    def hung(self):
        self.server.process.send_signal(signal.SIGSTOP)


def published(stack):
    return stack.number("SELECT placed - published FROM orders.relay") == 0 and placed(stack)


def placed(stack):
    return stack.number("SELECT count(*) FROM (SELECT FROM orders.outbox "
                        "WHERE position IS NULL LIMIT 1) q") == 0


def latencies(stack, bus, asked):
    shoppers = [stack.shopper() for _ in range(asked.clients)]
    found = {"up": [], "killed": [], "hung": []}
    orders(shoppers, asked.orders // 4)  # everything is warm
    for _ in range(asked.rounds):
        for state in found:
            getattr(bus, state)()
            found[state] += orders(shoppers, asked.orders // asked.rounds)
            bus.up()
            wait_until(lambda: published(stack), 120, "the bus has everything")
    print(f"\nPOST /v1/orders, {asked.clients} clients, milliseconds\n")
    print(f"{'the bus is':<12}{'orders':>8}{'p50':>8}{'p95':>8}{'p99':>8}{'mean':>8}")
    for state, values in found.items():
        values.sort()
        at = [values[int(len(values) * share)] for share in (0.50, 0.95, 0.99)]
        cells = "".join(f"{value:8.1f}" for value in at + [sum(values) / len(values)])
        print(f"{state:<12}{len(values):>8}{cells}", flush=True)


def cpu_seconds(stack, bus):
    """Of the orchestrator, of every PostgreSQL process, and of NATS, since each began."""
    postgres, total = stack.pid("postgres"), 0
    wanted = {postgres, stack.pid("orchestrator")}
    wanted |= {bus.server.process.pid} if bus.server.process else set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(name) in wanted or int(fields[1]) == postgres:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def timed(what, stack, bus, count, fact):
    began, cpu = time.monotonic(), cpu_seconds(stack, bus)
    deadline = began + 300
    while not fact(stack):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within 300 s: {what}")
        time.sleep(0.1)  # each look takes processor time, too
    took, cpu = time.monotonic() - began, cpu_seconds(stack, bus) - cpu
    print(f"backlog of {count}: {what} in {took:.2f} s, {count / took:.0f}/s "
          f"({cpu:.2f} s of processor time, {count / cpu:.0f} for each)", flush=True)


def catch_up(stack, bus, count):
    bus.killed()
    stack.sql(
        "INSERT INTO orders.outbox (order_id, sequence, type, payload) "
        "SELECT '0BENCH' || lpad(n::text, 20, '0'), 1, 'order.created', payload "
        f"FROM generate_series(1, {count}) n, (SELECT payload FROM orders.outbox LIMIT 1) p")
    print()
    timed("placed", stack, bus, count, placed)
    bus.up()
    timed("acknowledged by NATS", stack, bus, count, published)
    size = stack.number("SELECT pg_total_relation_size('orders.outbox') / count(*) "
                        "FROM orders.outbox")
    print(f"{size} bytes of the database for each event that is kept")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=1500, help="of each state of the bus")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=50000)
    asked = parser.parse_args()
    stack = Stack()
    server = NatsServer(stack.base / "nats").start()
    stack.environment["CHECKOUT_NATS_URL"] = server.url
    try:
        stack.start()
        stack.product("bench", 10_000_000)
        bus = Bus(server)
        latencies(stack, bus, asked)
        catch_up(stack, bus, asked.backlog)
    finally:
        stack.stop()
        server.stop()


if __name__ == "__main__":
    main()
