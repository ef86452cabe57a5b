"""slowhttptest's four attacks with 1,000 connections each, and a shopper who notices nothing."""
import resource
import subprocess
import time

from edge import Gateway
from stack import StackTest, main, wait_until

CONNECTIONS = 1000
FEW = 200       # where it is not the number that matters
REQUESTS = 200  # of the well-behaved client, for one p99
TRIES = 5       # a busy machine is slow now and then: what holds, holds once in five
TIMES = 3       # p99 under attack, in p99s at rest
SECONDS = 60    # of an attack at most; it is ended when it has been measured

ATTACKS = {
    "slow headers": ["-H", "-i", "5", "-t", "GET"],
    "slow body": ["-B", "-i", "5", "-s", "60000", "-t", "POST", "-f", "application/json"],
    "slow read": ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "5", "-k", "3"],
    "range": ["-R", "-t", "HEAD", "-a", "1", "-b", "1000"],
}
PATHS = {"slow body": "/v1/orders", "slow read": "/openapi.yaml", "range": "/openapi.yaml"}
HELD = [name for name in ATTACKS if name != "range"]  # a range is answered at once


def established(port):
    """Connections that the process listening on the port holds, as the kernel counts them.

    Each once: while connections come, the table may show one again and again."""
    local = f":{port:04X}"
    with open("/proc/net/tcp") as table:
        return len({fields[2] for fields in map(str.split, table)
                    if fields[1].endswith(local) and fields[3] == "01"})


class Attack:
    def __init__(self, gateway, name, connections=CONNECTIONS):
        self.gateway, self.name = gateway, name
        url = f"http://127.0.0.1:{gateway.port}{PATHS.get(name, '/v1/products')}"
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "slowhttptest", "-c", str(connections),
             "-r", str(connections), "-l", str(SECONDS), "-p", "10", "-v", "0", "-u", url,
             *ATTACKS[name]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_NOFILE, (4096, 4096)))

    def is_under_way(self):
        if self.name in HELD:
            return established(self.gateway.port) >= CONNECTIONS
        return self.gateway.log().count("method=HEAD") >= CONNECTIONS // 10

    def stop(self):
        self.process.kill()
        self.process.wait(30)
        wait_until(lambda: established(self.gateway.port) <= 5, 60, "the attack is over")


class Slow(StackTest):
    # All connections come from one address here; and they are held for as long as one may.
    settings = {"per_address_max": 3000, "idle_timeout_ms": 120000, "transfer_timeout_ms": 120000}

    def p99(self, shopper):
        times = []
        for _ in range(REQUESTS):
            begin = time.monotonic()
            self.assertEqual(shopper.ask("GET", "/v1/products").status, 200)
            times.append(time.monotonic() - begin)
        return sorted(times)[REQUESTS * 99 // 100]

    def attempt(self, gateway, shopper, name):
        """(p99 at rest, p99 under attack)"""
        at_rest = self.p99(shopper)
        attack = Attack(gateway, name)
        try:
            wait_until(attack.is_under_way, 30, f"{name}: {CONNECTIONS} connections")
            attacked = self.p99(shopper)
            if name in HELD:
                self.assertGreaterEqual(established(gateway.port), CONNECTIONS * 95 // 100,
                                        "they were held all the while")
        finally:
            attack.stop()
        return at_rest, attacked

    def test_a_shopper_does_not_notice_a_thousand_slow_connections(self):
        with Gateway(self.stack, "attacked", **self.settings) as gateway:
            shopper = gateway.shopper(token="none")
            for name in ATTACKS:
                with self.subTest(name):
                    rests, attacked = [], []
                    while not attacked or min(attacked) > TIMES * max(rests):
                        self.assertLess(len(rests), TRIES, f"p99: {rests}, attacked: {attacked}")
                        for times, p99 in zip((rests, attacked),
                                              self.attempt(gateway, shopper, name)):
                            times.append(p99)
            shopper.close()

    def test_who_takes_an_answer_slowly_is_cut_off(self):
        """However steadily they read: the limit counts from the answer's first byte."""
        with Gateway(self.stack, "short", per_address_max=3000, idle_timeout_ms=2000,
                     transfer_timeout_ms=2000) as gateway:
            attack = Attack(gateway, "slow read", FEW)
            try:
                wait_until(lambda: gateway.log().count("event=access") >= FEW // 2, 60,
                           "half of them are being answered")
                wait_until(lambda: established(gateway.port) <= 5, 30, "all are cut off")
            finally:
                attack.stop()


if __name__ == "__main__":
    main()
