"""./up starts as it did the last time; at any address, with TLS; with the demo or without."""
import http.client
import socket
import ssl
import subprocess
import unittest

from stack import Stack, free_port, give, main
from server import OWNER, Server


def products(stack, url):
    """The SKUs that the gateway at that URL sells."""
    scheme, _, place = url.partition("://")
    host, _, port = place.rpartition(":")
    make = http.client.HTTPConnection
    more = {}
    if scheme == "https":
        make, more = http.client.HTTPSConnection, {"context": ssl._create_unverified_context()}
    connection = make(host.strip("[]"), int(port), timeout=60, **more)
    try:
        connection.request("GET", "/v1/products")
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        return answer.read().decode()
    finally:
        connection.close()


class Plain(Stack):
    """./up without options: what it was given before must do."""

    plain = False

    def up_command(self, *arguments):
        if not self.plain:
            return super().up_command(*arguments)
        return [str(self.repo / "up"), "--state", str(self.state), *arguments]


class Settings(unittest.TestCase):
    def stack(self, **environment):
        stack = Plain(**environment)
        self.addCleanup(stack.stop)
        return stack

    def again(self, stack, *arguments, **environment):
        """Stops it and starts it with these alone."""
        if (stack.state / "pids" / "up.pid").exists():
            self.assertEqual(stack.up("--stop").returncode, 0)
        stack.plain = True
        stack.environment = environment
        done = stack.up("--detach", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(stack.status()["state"], "ready")
        return done.stdout

    def conf(self, stack, program):
        lines = (stack.state / "conf" / f"{program}.conf").read_text().splitlines()
        return dict(line.split(" = ", 1) for line in lines if " = " in line)

    def test_a_plain_start_changes_nothing_until_it_is_given_anew(self):
        build = {"CHECKOUT_BUILD": str(Stack.build)}
        stack = self.stack(CHECKOUT_GATEWAY_USER_RATE="77", CHECKOUT_STOP_SECONDS="20",
                           CHECKOUT_PAYMENT_ACCESS_LOG="false")
        done = stack.up("--detach", "--no-demo")
        self.assertEqual(done.returncode, 0, done.stderr)
        url = stack.status()["gateway"]
        self.assertEqual(url, f"http://127.0.0.1:{stack.port}")
        self.assertNotIn("teapot", products(stack, url))
        before = {path.name: path.read_text() for path in (stack.state / "conf").iterdir()}
        self.assertIn("a shop without products", self.again(stack))
        after = {path.name: path.read_text() for path in (stack.state / "conf").iterdir()}
        self.assertEqual(after, before)
        self.assertNotIn("teapot", products(stack, url))

        other = free_port()
        self.again(stack, "--port", str(other), "--demo", CHECKOUT_GATEWAY_USER_RATE="78")
        self.assertEqual(stack.status()["gateway"], f"http://127.0.0.1:{other}")
        self.assertEqual(self.conf(stack, "gateway")["user_rate"], "78")
        self.assertEqual(self.conf(stack, "payment")["access_log"], "false")
        self.assertIn("teapot", products(stack, f"http://127.0.0.1:{other}"))

        self.again(stack, "--forget", "--port", str(stack.port), **build)
        self.assertNotIn("user_rate", self.conf(stack, "gateway"))
        self.assertNotIn("access_log", self.conf(stack, "payment"))
        self.a_start_that_fails_is_not_kept(stack)

    def a_start_that_fails_is_not_kept(self, stack):
        stack.up("--stop")
        done = stack.up("--detach", CHECKOUT_PAYMENT_LISTEN_URL="ipc:///nowhere/at/all.sock")
        self.assertEqual(done.returncode, 1)
        done = stack.up("--detach", CHECKOUT_PAYMENT_NONSENSE="1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nonsense", done.stderr)
        self.again(stack)

    def test_it_listens_at_any_address_with_tls_or_without(self):
        stack = self.stack()
        cert, key = stack.base / "cert.pem", stack.base / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-keyout", key, "-out", cert, "-subj",
                        "/CN=shop.example", "-days", "2"], check=True, capture_output=True)
        give(key, "gateway")
        build = {"CHECKOUT_BUILD": str(Stack.build)}
        port = str(free_port())
        self.again(stack, "--port", port, **build, CHECKOUT_GATEWAY_TLS_CERT_FILE=str(cert),
                   CHECKOUT_GATEWAY_TLS_KEY_FILE=str(key))
        self.shop_is_at(stack, f"https://127.0.0.1:{port}")
        self.again(stack, CHECKOUT_GATEWAY_LISTEN_ADDRESS="::1")
        self.shop_is_at(stack, f"https://[::1]:{port}")
        self.again(stack, CHECKOUT_GATEWAY_LISTEN_ADDRESS="127.0.0.2",
                   CHECKOUT_GATEWAY_TLS_CERT_FILE="", CHECKOUT_GATEWAY_TLS_KEY_FILE="")
        self.shop_is_at(stack, f"http://127.0.0.2:{port}")
        for address, seen in (("0.0.0.0", "127.0.0.1"), ("::", "[::1]")):
            self.again(stack, CHECKOUT_GATEWAY_LISTEN_ADDRESS=address)
            self.shop_is_at(stack, f"http://{seen}:{port}")
        self.a_taken_port_is_told_at_that_address(stack)

    def shop_is_at(self, stack, url):
        self.assertEqual(stack.status()["gateway"], url)
        self.assertIn("teapot", products(stack, url))

    def a_taken_port_is_told_at_that_address(self, stack):
        stack.up("--stop")
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("::1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = stack.up("--detach", "--port", str(port),
                            CHECKOUT_GATEWAY_LISTEN_ADDRESS="::1")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"Port {port} is taken", done.stderr)

    def test_an_outside_database_gets_the_demo_catalogue_only_when_asked(self):
        server = Server()
        self.addCleanup(server.stop)
        stack = self.stack(CHECKOUT_DATABASE_URL=f"host=127.0.0.1 port={server.port} "
                           f"dbname=checkout user=shop password='{OWNER}'")
        stack.start()
        stack.process.terminate()
        self.assertEqual(stack.process.wait(60), 0)
        count = "SELECT count(*) FROM inventory.products"
        self.assertEqual(server.psql("checkout", count), ["0"])
        self.again(stack)  # the database is kept as well
        self.assertEqual(server.psql("checkout", count), ["0"])
        self.again(stack, "--demo")
        self.assertEqual(server.psql("checkout", count), ["8"])


if __name__ == "__main__":
    main()
