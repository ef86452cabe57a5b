"""rows.py - what is measured, in rounds: each round takes every measurement once, in turn,
so that whatever the machine does meanwhile happens to both sides of a ratio.

A measurement notes plain numbers under a name; a row of the table is the median of its
ratio over the rounds.  Beside another commit, what is ours is measured of both, first of
the one and in the next round first of the other.
"""
import os
import statistics
import tempfile
from pathlib import Path

import crowd
from baseline import CLIENTS, Echoes, Nginx, Pgbench, exchange
from machine import SystemCalls, Watch, cpu_s, own_threads_cpu_s
from shop import SERVICES, Shop

IN_FLIGHT = (1, 16, 64)
CONNECTIONS = (64, 256)  # ours; the best counts, as the best of pgbench's clients does
TOP = 256
REPLAYED = 64  # requests that are asked again and again

# name, what it is, what it should be
ROWS = [
    ("spread_vs_pgbench", "orders/s, spread, against pgbench's best", ">=", 2.0),
    ("hot_vs_pgbench", "orders/s, hot, against pgbench's best", ">=", 6.0),
    ("hot64_vs_pgbench64", "orders/s, hot, 64 shoppers, against pgbench with 64", ">=", 20.0),
    ("hot_vs_spread", "orders/s, hot against spread", ">=", 0.8),
    ("p50_vs_pgbench", "p50 of one order, 1 in flight, against pgbench's", "<=", 3.0),
    ("p99_over_p50", "p99 at half the top rate, over p50", "<=", 5.0),
    ("cpu_vs_postgres", "CPU per order, four services against PostgreSQL", "<=", 0.5),
    ("syscalls_per_order", "system calls per order, four services", "<=", 20.0),
    ("syscalls_per_order_postgres", "system calls per order, PostgreSQL", "<=", 10.0),
    ("memory_mb", "memory of the four services under top load, MB", "<=", 60.0),
    ("rpc_vs_grpc_cpp", "RPC/s, sealed, 64 in flight, against gRPC C++", ">=", 1.5),
    ("replay_vs_nginx", "replayed orders/s, 64 connections, against nginx", ">=", 1.0),
    ("idle_mb", "memory of 10,000 idle connections, MB", "<=", 40.0),
    *((f"{attack}_vs_rest", f"p99 of others, 1,000 connections of {what}, against none",
       "<=", 2.0) for attack, what in (("slow_headers", "slow headers"),
                                       ("slow_body", "slow bodies"),
                                       ("slow_read", "slow readers"), ("range", "ranges"))),
    ("grown_vs_empty", "orders/s with {grown:,} orders stored, against none", ">=", 0.85),
    ("replicas_vs_one", "orders/s with two of each service, against one", ">=", 0.9),
]

# name, what it is: of this build, in those of another commit
AGAINST = [
    ("spread", "orders/s, spread"),
    ("hot", "orders/s, hot"),
    ("hot_64", "orders/s, hot, 64 shoppers"),
    ("p50_ms", "p50 of one order, 1 in flight"),
    ("half_p99_ms", "p99 at half the top rate"),
    ("cpu_us_postgres", "CPU per order, PostgreSQL"),
    ("cpu_us_services", "CPU per order, four services"),
    ("cpu_us_gateway", "CPU per order, gateway"),
    ("cpu_us_http", "CPU per order, gateway's threads for HTTP"),
    ("wal_bytes", "WAL bytes per order"),
    ("syscalls_per_order", "system calls per order, four services"),
    ("syscalls_per_order_postgres", "system calls per order, PostgreSQL"),
    ("memory_mb", "memory of the four services under top load"),
    ("replay", "replayed orders/s, 64 connections"),
    ("cpu_us_replay", "CPU per replayed order, gateway"),
    ("idle_mb", "memory of 10,000 idle connections"),
    ("slow_headers_p99_ms", "p99 of others, 1,000 connections of slow headers"),
    ("slow_body_p99_ms", "p99 of others, 1,000 connections of slow bodies"),
    ("slow_read_p99_ms", "p99 of others, 1,000 connections of slow readers"),
    ("range_p99_ms", "p99 of others, 1,000 connections of ranges"),
]

# Of a round.  The first is no measurement by itself: it adds pgbench to the next three.
PARTS = ("pgbench", "spread", "hot", "latency", "costs", "replicas", "growth", "rpc",
         "replays", "idle", "slow")
WITH_REPLAYS = {"replays", "idle", "slow"}


class Bench:
    def __init__(self, seconds, parts=PARTS, grown=0, commit=None, say=print):
        self.seconds, self.parts, self.say = seconds, parts, say
        self.grown_orders = grown if "growth" in parts else 0
        self.commit = commit
        self.raw = {}          # name -> values, one a round
        self.raw_against = {}  # the same of the other commit
        self.rounds = 0
        self.shops, self.children = [], []
        self.rate = 1500  # expected of us, orders/s; learnt as we go

    def note(self, name, value):
        self.raw.setdefault(name, []).append(round(value, 4))
        return value

    def both(self, measure, *arguments):
        """Notes what measure(shop) finds; of the other commit's shop, too."""
        sides = [(self.one, self.raw)]
        if self.commit:
            sides.insert(self.rounds % 2, (self.other, self.raw_against))
        for shop, raw in sides:
            for name, value in measure(shop, *arguments).items():
                raw.setdefault(name, []).append(round(value, 4))

    def last(self, name):
        return self.raw[name][-1]

    # --- life ---

    def open(self):
        self.folder = tempfile.TemporaryDirectory(prefix="checkout-bench-", dir="/tmp")
        Path(self.folder.name).chmod(0o711)
        parts = set(self.parts)
        self.one = self._shop()
        self.other = self._shop(commit=self.commit) if self.commit else None
        # Its services stand idle.
        self.pgbench = Pgbench(self._shop()) if "pgbench" in parts else None
        self.two = self._shop(replicas=SERVICES) if "replicas" in parts else None
        self.grown = self._shop() if self.grown_orders else None
        if self.grown:
            self.say(f"storing {self.grown_orders:,} orders ...")
            self.grown.grow(self.grown_orders)
        if "rpc" in parts:
            self.echoes = Echoes(self.folder.name)
            self.children.append(self.echoes)
            self.echoes.__enter__()
        if parts & WITH_REPLAYS:
            self._prepare_replays()
        for shop in self.sellers():  # warm: plans made, caches filled, the rate known
            self.rate = max(self.rate, shop.placed(TOP, self.seconds / 2, self.rate)["rate"])
        self.top = self.rate
        return self

    def _shop(self, **more):
        shop = Shop(**more)
        self.shops.append(shop)
        return shop.start()

    def sellers(self):
        """The shops that sell in the parts that were asked for."""
        return [shop for shop in (self.one, self.other, self.two, self.grown) if shop]

    def close(self):
        for child in self.children:
            child.__exit__()
        for shop in self.shops:
            shop.stop()
        self.folder.cleanup()

    def _prepare_replays(self):
        for shop in filter(None, (self.one, self.other)):
            shop.place_replayed(REPLAYED)
        request = self.one.first_replay()
        answer = exchange(self.one.port, request)
        if b"Idempotent-Replayed: true" not in answer:
            raise AssertionError(f"not replayed: {answer!r}")
        self.nginxes = []
        for workers in sorted({1, len(os.sched_getaffinity(0))}):
            self.nginxes.append(Nginx(self.folder.name, workers, request, answer))
            self.children.append(self.nginxes[-1])

    # --- one round ---

    def round(self):
        for part in self.parts:
            if part != "pgbench":
                getattr(self, part)()
        self.rounds += 1

    def best(self, name, rates):
        for key, value in rates.items():
            self.note(f"{name}_{key}", value)
        return self.note(name, max(rates.values()))

    def _pgbench(self, hot=False):
        """Orders/s by clients; nothing when it was not asked for."""
        return {clients: self.pgbench.run(clients, self.seconds, hot)["rate"]
                for clients in CLIENTS if self.pgbench}

    def _ours(self, shop, hot=False):
        rates = {n: shop.placed(n, self.seconds, self.rate, hot)["rate"] for n in CONNECTIONS}
        self.rate = max(self.rate, *rates.values())
        return rates

    def _rates(self, shop, name):
        rates = self._ours(shop, hot=name == "hot")
        return {**{f"{name}_{n}": rate for n, rate in rates.items()},
                name: max(rates.values())}

    def spread(self):
        rates = self._pgbench()
        self.both(self._rates, "spread")
        self.top = self.last("spread")
        if rates:
            theirs = self.best("pgbench_spread", rates)
            self.note("spread_vs_pgbench", self.top / theirs)

    def hot(self):
        rates = self._pgbench(hot=True)
        self.both(self._rates, "hot")
        if rates:
            theirs = self.best("pgbench_hot", rates)
            self.note("hot_vs_pgbench", self.last("hot") / theirs)
            self.note("hot64_vs_pgbench64", self.last("hot_64") / rates[64])
        if "spread" in self.parts:
            self.note("hot_vs_spread", self.last("hot") / self.last("spread"))

    def latency(self):
        if self.pgbench:
            self.note("pgbench_p50_ms", self.pgbench.run(1, self.seconds)["p50_ms"])
        self.both(self._latency)
        if self.pgbench:
            self.note("p50_vs_pgbench", self.last("p50_ms") / self.last("pgbench_p50_ms"))

    def _latency(self, shop):
        alone = shop.placed(1, self.seconds, 1000)
        half = shop.placed(TOP, self.seconds, self.rate, rate=self.top / 2)
        return {"p50_ms": alone["p50_ms"], "half_rate": half["rate"],
                "half_p50_ms": half["p50_ms"], "half_p99_ms": half["p99_ms"],
                "p99_over_p50": half["p99_ms"] / half["p50_ms"]}

    def costs(self):
        self.both(self._costs)
        self.both(self._system_calls)

    def _costs(self, shop):
        services, gateway = shop.service_pids(), [shop.pid("gateway")]

        def spent():
            return (cpu_s(services), cpu_s(gateway), own_threads_cpu_s(gateway[0]),
                    shop.postgres.cpu_s())

        path = shop.enough(TOP, self.seconds, self.rate)  # before: carts cost, too
        wal, before = shop.wal_bytes(), spent()
        with Watch(services) as memory:
            report = shop.load(path, TOP, self.seconds)
        ours, edge, http, postgres = ((after - earlier) / report["good"] * 1e6
                                      for after, earlier in zip(spent(), before))
        wal = shop.wal_bytes() - wal
        path.unlink()
        return {"cpu_us_services": ours, "cpu_us_gateway": edge,
                "cpu_us_http": http, "cpu_us_postgres": postgres,
                "cpu_vs_postgres": ours / postgres,
                "load_cpu_us": report["cpu_s"] / report["good"] * 1e6,
                "wal_bytes": wal / report["good"], "memory_mb": memory.most_mb}

    def _system_calls(self, shop):
        path = shop.enough(TOP, self.seconds, self.rate)
        counter = SystemCalls({"services": shop.service_pids,
                               "postgres": shop.postgres.pids}, self.folder.name)
        report = shop.load(path, TOP, self.seconds)
        counts = counter.end()
        path.unlink()
        return {"syscalls_per_order": counts["services"] / report["good"],
                "syscalls_per_order_postgres": counts["postgres"] / report["good"]}

    def replicas(self):
        pair = self.best("replicas", self._ours(self.two))
        alone = self.best("beside_replicas", self._ours(self.one))
        self.note("replicas_vs_one", pair / alone)

    def growth(self):
        if self.grown:
            grown = self.best("grown", self._ours(self.grown))
            empty = self.best("beside_grown", self._ours(self.one))
            self.note("grown_vs_empty", grown / empty)

    def rpc(self):
        ratios = []
        for transport in ("ipc", "tcp"):
            for n in IN_FLIGHT:
                seconds = self.seconds / 2
                ours = self.echoes.run_ours(transport, n, seconds)
                self.note(f"rpc_{transport}_{n}", ours["rate"])
                self.note(f"rpc_{transport}_{n}_p50_us", ours["p50_us"])
                if self.echoes.grpc.exists():
                    theirs = self.echoes.run_grpc(transport, n, seconds)
                    self.note(f"grpc_{transport}_{n}", theirs["rate"])
                    self.note(f"grpc_{transport}_{n}_p50_us", theirs["p50_us"])
                    if n == max(IN_FLIGHT):
                        ratios.append(ours["rate"] / theirs["rate"])
        if ratios:  # the worse of the two transports counts
            self.note("rpc_vs_grpc_cpp", min(ratios))

    def replays(self):
        self.both(self._replays)
        theirs = self.best("nginx", {f"{nginx.workers}_workers": self._nginx(nginx)
                                     for nginx in self.nginxes})
        self.note("replay_vs_nginx", self.last("replay") / theirs)

    def _asked_again(self, shop, pids, **more):
        """(a second, CPU of the processes for each in microseconds)"""
        before = cpu_s(pids)
        report = shop.load(shop.replay, 64, self.seconds, repeat=True, **more)
        return report["rate"], (cpu_s(pids) - before) / report["good"] * 1e6

    def _replays(self, shop):
        rate, cpu_us = self._asked_again(shop, [shop.pid("gateway")])
        return {"replay": rate, "cpu_us_replay": cpu_us}

    def _nginx(self, nginx):
        rate, cpu_us = self._asked_again(self.one, nginx.pids(), ports=[nginx.port])
        self.note(f"cpu_us_nginx_{nginx.workers}_workers", cpu_us)
        return rate

    def idle(self):
        if crowd.can_idle():
            self.both(crowd.idle)
        else:
            self.say("the limit of open files is too low for idle connections: left out")

    def slow(self):
        self.both(crowd.slow, self.seconds)

    # --- the end ---

    def audit(self):
        """Orders in the books of each shop that sold."""
        return [shop.audit() for shop in self.sellers()]

    def ratios(self):
        return {name: round(statistics.median(self.raw[name]), 3)
                for name, *_ in ROWS if name in self.raw}

    def against(self):
        """name -> this in those of the other commit, one a round."""
        return {name: [ours / theirs for ours, theirs
                       in zip(self.raw[name], self.raw_against[name])]
                for name, _ in AGAINST if name in self.raw_against}
