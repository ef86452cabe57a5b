"""./up's secrets: each is known to whom it is for, and nobody else can read it anywhere.

The database is outside ./up, takes passwords only, and its owner's is given as operators
do: in CHECKOUT_DATABASE_URL or in PGPASSWORD.  Looked at are all files of configuration,
all that is said and logged, and the command line and environment of every process.
"""
import re
import unittest
from pathlib import Path

from server import OWNER, Server
from stack import SERVICES, Stack, free_port, main, wait_until

ENCODED = "owner-0f3c%2F%40%20%26s"
NATS = "nats-77ab"
PATH_TOKEN = "hook-51de"
OVERRIDE = "override-9c1e"


class Secrets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        self.server.psql("postgres", "DROP DATABASE checkout WITH (FORCE)")
        self.server.psql("postgres", "CREATE DATABASE checkout OWNER shop")
        for role in ("inventory", "payment", "orders", "sandbox"):
            self.server.psql("postgres", f"DROP ROLE IF EXISTS checkout_{role}")

    def stack(self, **environment):
        stack = Stack(**environment)
        self.addCleanup(stack.stop)
        return stack

    def address(self):
        return f"127.0.0.1:{self.server.port}/checkout"

    # --- where they could stand ---

    @staticmethod
    def secrets_of(stack):
        """Each secret there is, by name, and the files of conf/ and keys/ it may stand in."""
        keys = stack.state / "keys"
        roles = dict(line.split(" = ") for line in (keys / "roles").read_text().splitlines())
        secrets = {name: (roles[f"checkout_{name}"], {conf, "roles"}) for name, conf in (
            ("inventory", "inventory.conf"), ("payment", "payment.conf"),
            ("orders", "orchestrator.conf"), ("sandbox", "payment.conf"))}
        for key in keys.glob("*.key"):
            if key.name != "jwt.key":
                secret = re.search(r"^secret = (.+)$", key.read_text(), re.MULTILINE)[1]
                secrets[key.name] = (secret, {key.name})
        secrets["the issuer's"] = (re.search(r'"d": ?"([^"]+)"', (keys / "jwt.key").read_text())[1],
                                   {"jwt.key"})
        secrets["the page's token"] = ((keys / "demo.jwt").read_text().strip(), {"demo.jwt"})
        secrets["the owner's"] = (ENCODED, {"migrate.conf"})
        secrets["the owner's, decoded"] = (OWNER, set())
        return secrets

    @staticmethod
    def processes(stack):
        """pid -> name of everything that runs: the supervisor, what it started, and theirs."""
        found, new = {}, {stack.process.pid if stack.process else stack.pid("up")}
        while new:
            pid = new.pop()
            try:
                found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
                for task in Path(f"/proc/{pid}/task").iterdir():
                    new |= {int(child) for child in (task / "children").read_text().split()}
            except OSError:
                found.pop(pid, None)
        return found

    def check(self, stack, secrets, *said):
        """No secret where it has no business."""
        places = {f"what was said ({i})": text for i, text in enumerate(said)}
        places["status"] = stack.up("--status").stdout
        places["up.out"] = stack.output() if stack.out.exists() else ""
        for log in (stack.state / "log").iterdir():
            places[f"log {log.name}"] = log.read_text(errors="replace")
        processes = self.processes(stack)
        self.assertTrue({*SERVICES} <= {*processes.values()}, processes)
        for pid, name in processes.items():
            for what in ("cmdline", "environ"):
                try:
                    places[f"{what} of {name}"] = Path(f"/proc/{pid}/{what}").read_text(
                        errors="replace")
                except OSError:
                    pass  # it has just ended
        for secret, text in secrets.items():
            for place, content in places.items():
                self.assertNotIn(text[0], content, f"{secret} in {place}")
        for file in (*(stack.state / "conf").iterdir(), *(stack.state / "keys").iterdir()):
            content = file.read_text()
            for secret, (text, allowed) in secrets.items():
                if file.name not in allowed:
                    self.assertNotIn(text, content, f"{secret} in {file.name}")
            if any(text in content for text, _ in secrets.values()):
                self.assertEqual(file.stat().st_mode & 0o077, 0, file)
        self.assertEqual((stack.state / "settings").stat().st_mode & 0o077, 0)

    # --- the tests ---

    def test_each_secret_is_known_to_whom_it_is_for_alone(self):
        bus = f"nats://shop:{NATS}@127.0.0.1:{free_port()}"
        stack = self.stack(
            CHECKOUT_DATABASE_URL=f"postgres://shop:{ENCODED}@{self.address()}?sslmode=disable",
            CHECKOUT_NATS_URL=bus, CHECKOUT_GATEWAY_CORS_ORIGINS=f"https://{OVERRIDE}.example")
        done = stack.up("--detach")
        self.assertEqual(done.returncode, 0, done.stderr)
        stack.configure_webhook(f"https://127.0.0.1:1/{PATH_TOKEN}?key={PATH_TOKEN}")
        stack.up("--stop")
        stack.environment.clear()
        done = stack.up("--detach")  # a plain restart has it all from the state folder
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_until(lambda: "event=sender_started" in stack.log("webhook"), 30, "the webhook runs")
        self.place_an_order_outside(stack)
        secrets = self.secrets_of(stack)
        secrets["the bus's"] = (NATS, {"orchestrator.conf"})
        secrets["the webhook's"] = (PATH_TOKEN, set())
        secrets["a setting's"] = (OVERRIDE, {"gateway.conf"})
        self.check(stack, secrets, done.stdout, done.stderr)
        self.assertRegex(stack.log("webhook"), r"url=https://127\.0\.0\.1:1 ")
        self.assertRegex(stack.status()["database"], r"^postgresql://shop:\*\*\*@/checkout\?.*port=")
        self.each_role_is_its_services_own()

    def place_an_order_outside(self, stack):
        stack.ctl("products", "put", "cup", "--title", "Cup", "--price", "100", "--currency", "EUR")
        stack.ctl("stock", "adjust", "cup", "5", "--reason", "test")
        shopper = stack.shopper()
        self.addCleanup(shopper.close)
        shopper.put_cart("c1", [("cup", 1)])
        answer = shopper.order("c1", "key-12345678")
        self.assertEqual(answer.status, 201, repr(answer))

    def each_role_is_its_services_own(self):
        users = {*self.server.psql("postgres", "SELECT DISTINCT usename FROM pg_stat_activity "
                                   "WHERE datname = 'checkout'")}
        self.assertEqual(users, {f"checkout_{role}" for role in
                                 ("inventory", "payment", "orders", "sandbox")})

    def test_a_programs_own_url_is_masked_too(self):
        stack = self.stack(CHECKOUT_DATABASE_URL=f"postgres://shop:{ENCODED}@{self.address()}",
                           CHECKOUT_CHECKOUTCTL_DATABASE_URL=f"host=x password='{OVERRIDE} x'")
        stack.start()
        self.assertEqual(stack.status()["database"], "host=x password=***")

    def test_libpqs_environment_is_the_migrators_too(self):
        stack = self.stack(
            CHECKOUT_DATABASE_URL="dbname=checkout user=shop", PGHOST="127.0.0.1",
            PGPORT=str(self.server.port), PGPASSWORD=OWNER)
        stack.start()
        self.check(stack, self.secrets_of(stack))
        self.each_role_is_its_services_own()

    def test_a_url_that_cannot_be_read_is_not_told(self):
        stack = self.stack()
        for url in (f"postgresql://shop:{ENCODED}%zz@127.0.0.1/checkout",
                    f"host=127.0.0.1 user=shop password {ENCODED}",
                    f"host=127.0.0.1 password='{ENCODED}",
                    f"postgresql://shop@127.0.0.1/checkout?{ENCODED}=x",
                    f"service={ENCODED}"):
            with self.subTest(url):
                done = stack.up("--detach", CHECKOUT_DATABASE_URL=url)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, r"^CHECKOUT_DATABASE_URL cannot be used: .+\n$")
                self.assertNotIn(ENCODED, done.stderr)

    def test_a_password_that_is_wrong_is_not_told(self):
        stack = self.stack()
        done = stack.up("--detach", CHECKOUT_DATABASE_URL=(
            f"postgresql://shop:wrong-{ENCODED}@{self.address()}"))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "password authentication failed")
        self.assertNotIn(ENCODED, done.stderr)
        for log in (stack.state / "log").iterdir():
            self.assertNotIn(ENCODED, log.read_text(errors="replace"), log)


if __name__ == "__main__":
    main()
