"""rows.py - what is measured, in rounds: each round takes every measurement once, in turn,
so that whatever the machine does meanwhile happens to both sides of a ratio.

A measurement notes plain numbers under a name; a row of the table is the median of its
ratio over the rounds.
"""
import statistics
import tempfile
from pathlib import Path

from baseline import CLIENTS, Echoes, Nginx, Pgbench
from machine import Postgres, SystemCalls, Watch, cpu_s
from shop import SERVICES, Shop

IN_FLIGHT = (1, 16, 64)
CONNECTIONS = (64, 256)  # ours; the best counts, as the best of pgbench's clients does
TOP = 256
REPLAYED = 64  # requests that are asked again and again

# name, unit or "ratio", what it is, what it should be
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
    ("replay_vs_nginx", "replayed orders/s, 64 connections, against nginx", ">=", 0.6),
    ("grown_vs_empty", "orders/s with {grown:,} orders stored, against none", ">=", 0.85),
    ("replicas_vs_one", "orders/s with two of each service, against one", ">=", 0.9),
]


class Bench:
    def __init__(self, seconds, clients=CLIENTS, in_flight=IN_FLIGHT, grown=0, say=print):
        self.seconds, self.clients, self.in_flight = seconds, clients, in_flight
        self.grown_orders, self.say = grown, say
        self.raw = {}     # name -> values, one a round
        self.shops = []
        self.rate = 1500  # expected of us, orders/s; learnt as we go

    def note(self, name, value):
        self.raw.setdefault(name, []).append(round(value, 4))
        return value

    # --- life ---

    def open(self):
        self.folder = tempfile.TemporaryDirectory(prefix="checkout-bench-", dir="/tmp")
        Path(self.folder.name).chmod(0o711)
        self.one = self._shop()
        self.postgres = Postgres(self.one.pid("postgres"))
        self.pgbench = Pgbench(self._shop())  # its services stand idle
        self.two = self._shop(replicas=SERVICES)
        self.grown = self._shop() if self.grown_orders else None
        if self.grown:
            self.say(f"storing {self.grown_orders:,} orders ...")
            self.grown.grow(self.grown_orders)
        self.echoes = Echoes(self.folder.name)
        self.echoes.__enter__()
        self._prepare_replay()
        for shop in (self.one, self.two, self.grown):
            if shop:  # warm: plans made, caches filled, the rate known
                self.rate = max(self.rate, shop.placed(TOP, self.seconds / 2, self.rate)["rate"])
        return self

    def _shop(self, **more):
        shop = Shop(**more)
        self.shops.append(shop)
        return shop.start()

    def close(self):
        if hasattr(self, "nginx"):
            self.nginx.__exit__()
        if hasattr(self, "echoes"):
            self.echoes.__exit__()
        for shop in self.shops:
            shop.stop()
        self.folder.cleanup()

    def _prepare_replay(self):
        self.replay = self.one.requests(REPLAYED)
        self.one.load(self.replay, 4, 30)
        body = self.replay.read_bytes()[4:].split(b"\r\n\r\n", 1)
        answer = self.one.replayed_answer(body)
        self.nginx = Nginx(self.folder.name, answer)

    # --- one round ---

    def round(self):
        self.spread()
        self.hot()
        self.latency()
        self.costs()
        self.replicas()
        self.growth()
        self.rpc()
        self.replays()

    def best(self, name, rates):
        for key, value in rates.items():
            self.note(f"{name}_{key}", value)
        return self.note(name, max(rates.values()))

    def _pgbench(self, hot=False):
        return {clients: self.pgbench.run(clients, self.seconds, hot)["rate"]
                for clients in self.clients}

    def _ours(self, shop, hot=False):
        rates = {n: shop.placed(n, self.seconds, self.rate, hot)["rate"] for n in CONNECTIONS}
        self.rate = max(self.rate, *rates.values())
        return rates

    def spread(self):
        theirs = self.best("pgbench_spread", self._pgbench())
        self.top = self.best("spread", self._ours(self.one))
        self.note("spread_vs_pgbench", self.top / theirs)

    def hot(self):
        rates = self._pgbench(hot=True)
        theirs = self.best("pgbench_hot", rates)
        ours = self._ours(self.one, hot=True)
        best = self.best("hot", ours)
        self.note("hot_vs_pgbench", best / theirs)
        self.note("hot64_vs_pgbench64", ours[64] / rates[64])
        self.note("hot_vs_spread", best / self.top)

    def latency(self):
        theirs = self.note("pgbench_p50_ms", self.pgbench.run(1, self.seconds)["p50_ms"])
        alone = self.one.placed(1, self.seconds, 1000)
        self.note("p50_ms", alone["p50_ms"])
        self.note("p50_vs_pgbench", alone["p50_ms"] / theirs)
        half = self.one.placed(TOP, self.seconds, self.rate, rate=self.top / 2)
        self.note("half_rate", half["rate"])
        self.note("half_p50_ms", half["p50_ms"])
        self.note("half_p99_ms", half["p99_ms"])
        self.note("p99_over_p50", half["p99_ms"] / half["p50_ms"])

    def costs(self):
        services = self.one.service_pids()
        path = self.one.enough(TOP, self.seconds, self.rate)  # before: carts cost CPU, too
        before = cpu_s(services), self.postgres.cpu_s()
        with Watch(services) as memory:
            report = self.one.load(path, TOP, self.seconds)
        used = cpu_s(services) - before[0], self.postgres.cpu_s() - before[1]
        path.unlink()
        self.note("cpu_us_services", used[0] / report["good"] * 1e6)
        self.note("cpu_us_postgres", used[1] / report["good"] * 1e6)
        self.note("cpu_vs_postgres", used[0] / used[1])
        self.note("load_cpu_us", report["cpu_s"] / report["good"] * 1e6)
        self.note("memory_mb", memory.most_mb)
        path = self.one.enough(TOP, self.seconds, self.rate)
        counter = SystemCalls({"services": self.one.service_pids,
                               "postgres": self.postgres.pids}, self.folder.name)
        report = self.one.load(path, TOP, self.seconds)
        counts = counter.end()
        path.unlink()
        self.note("syscalls_per_order", counts["services"] / report["good"])
        self.note("syscalls_per_order_postgres", counts["postgres"] / report["good"])

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
            for n in self.in_flight:
                seconds = self.seconds / 2
                ours = self.echoes.run_ours(transport, n, seconds)
                self.note(f"rpc_{transport}_{n}", ours["rate"])
                self.note(f"rpc_{transport}_{n}_p50_us", ours["p50_us"])
                if self.echoes.grpc.exists():
                    theirs = self.echoes.run_grpc(transport, n, seconds)
                    self.note(f"grpc_{transport}_{n}", theirs["rate"])
                    self.note(f"grpc_{transport}_{n}_p50_us", theirs["p50_us"])
                    if n == max(self.in_flight):
                        ratios.append(ours["rate"] / theirs["rate"])
        if ratios:  # the worse of the two transports counts
            self.note("rpc_vs_grpc_cpp", min(ratios))

    def replays(self):
        ours = self.one.load(self.replay, 64, self.seconds, repeat=True)["rate"]
        theirs = self.one.load(self.replay, 64, self.seconds, repeat=True,
                               ports=[self.nginx.port])["rate"]
        self.note("replay", ours)
        self.note("nginx", theirs)
        self.note("replay_vs_nginx", ours / theirs)

    # --- the end ---

    def audit(self):
        """Orders in the books of each shop that sold."""
        return [shop.audit() for shop in (self.one, self.two, self.grown) if shop]

    def ratios(self):
        return {name: round(statistics.median(self.raw[name]), 3)
                for name, *_ in ROWS if name in self.raw}
