"""cli_test.py - checkoutctl against a real stack: a stranger finds the way from --help to an
order, any server is called by reflection alone, and what operators do every day."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

import stack
from stack import BUILD, CTL, Stack, free_port, wait_until

sys.path.append(str(stack.REPO / "test" / "wire"))
from certificates import make_certificates  # noqa: E402

PUBLIC_KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
FINGERPRINT = "A" * 43 + "="  # 32 bytes of zero, in base64


def run(*arguments, text=None, **environment):
    """checkoutctl without any stack in its environment, but what is given."""
    environ = {name: value for name, value in os.environ.items()
               if not name.startswith(("CHECKOUT_", "XDG_", "PG"))}
    environ.update({"HOME": "/nonexistent", "LSAN_OPTIONS": f"suppressions={stack.REPO}"
                    "/test/lsan.supp:print_suppressions=0"}, **environment)
    return subprocess.run([str(CTL), *arguments], env=environ, input=text or "",
                          capture_output=True, text=True, timeout=60)


def on_terminal(arguments, answer=None, **environment):
    """The same on a terminal of its own: (exit status, what the terminal showed)."""
    pid, terminal = pty.fork()
    if pid == 0:
        environ = {**os.environ, "TERM": "xterm", **environment}
        environ.pop("NO_COLOR", None) if "NO_COLOR" not in environment else None
        os.execve(str(CTL), [str(CTL), *arguments], environ)
    shown, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # its other end is closed
            break
        shown += piece
        if answer and b"[y/N]" in shown:
            os.write(terminal, answer)
            answer = None
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def setUpModule():
    """One stack for all."""
    StackTest.stack = Stack()
    unittest.addModuleCleanup(StackTest.stack.stop)
    StackTest.stack.start()


class StackTest(unittest.TestCase):
    stack = None


class StrangerTest(StackTest):
    """Knows that there is a program called checkoutctl, and where the stack is."""

    def ask(self, *arguments, text=None):
        done = run(*arguments, text=text, CHECKOUT_STATE=str(self.stack.state))
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done.stdout

    def find_method(self, *words):
        """The method whose comment has these words, by looking through all services."""
        for line in self.ask("list").splitlines():
            service = line.split()[0]
            for method in self.ask("list", service).splitlines():
                if all(word in method for word in words):
                    return method.split()[0]
        self.fail(f"no method says {words}")

    def test_from_help_alone_to_an_order(self):
        help_text = self.ask("--help")
        for step in ("list", "describe", "call", "--template"):
            self.assertIn(step, help_text)
        place = self.find_method("one paid order")
        service = place.split("/")[0]
        put_cart = next(line.split()[0] for line in self.ask("list", service).splitlines()
                        if "Cart" in line and "Put" in line)
        # What a field means stands beside it.
        self.assertRegex(self.ask("describe", put_cart), r"int64 quantity = 2;  // 1 to \d+ pieces")
        described = self.ask("describe", place)
        self.assertRegex(described, r"string user_id = 1;\s+// UUID")
        self.assertIn("idempotency_key = 4;", described)
        sku = json.loads(self.ask("call", "ListProducts", "--json"))["products"][0]["sku"]
        user = str(uuid.uuid4())

        cart = json.loads(self.ask("call", put_cart, "--template"))
        del cart["if_versions"]  # it says: when there are any, the cart must be there
        cart["user_id"] = user
        cart["cart"]["cart_id"] = "strangers"
        cart["cart"]["lines"] = [{**cart["cart"]["lines"][0], "sku": sku, "quantity": 2}]
        self.assertTrue(json.loads(self.ask("call", put_cart, json.dumps(cart)))["created"])

        request = json.loads(self.ask("call", place, "--template"))
        del request["expected_total"]  # it says: when present, another total is refused
        request.update(user_id=user, cart_id="strangers", payment_method_id="pm_card_visa",
                       idempotency_key="stranger-1", fingerprint=FINGERPRINT)
        for dash in ("-", "@-"):  # the same again is the same order
            reply = json.loads(self.ask("call", place, dash, text=json.dumps(request)))
        order = reply["order"]
        self.assertEqual(order["lines"][0]["quantity"], "2")
        self.assertEqual(len(self.stack.sql("SELECT id FROM orders.orders WHERE cart_id = "
                                            "'strangers'")), 1)

        self.assertIn(order["order_id"], self.ask("orders", "list", "--user", user))
        self.assertIn(f"order {order['order_id']}, created",
                      self.ask("orders", "show", order["order_id"]))
        self.assertIn("confirmed", self.ask("reservations", "show", order["reservation_id"]))
        self.assertIn("captured", self.ask("charges", "show", order["charge_id"]))
        self.assertIn(order["charge_id"], self.ask("charges", "list"))
        self.assertIn(order["reservation_id"], self.ask("reservations", "list"))

    def test_without_json_the_request_is_empty_and_standard_input_is_left_alone(self):
        for command in (("call", "ListProducts"), ("call", "ListProducts", "{}")):
            self.assertTrue(json.loads(self.ask(*command, text="no JSON"))["products"])
        done = run("call", "ListProducts", "-", text="no JSON",
                   CHECKOUT_STATE=str(self.stack.state))
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertIn("not JSON at line 1", done.stderr)

    def test_every_command_has_help_and_every_example_is_one(self):
        commands = re.findall(r"^  ((?:[a-z]+ )+)", self.ask("--help").split("Explore and call")[1],
                              re.MULTILINE)
        self.assertGreater(len(commands), 20)
        examples = []
        for command in commands:
            text = self.ask(*command.split(), "--help")
            self.assertIn(f"usage: checkoutctl {command.strip()}", text)
            examples += re.findall(r"^example: checkoutctl (.*)", text, re.MULTILINE)
        self.assertGreater(len(examples), 5)
        for example in examples:
            if "--watch" in example or example.startswith("top"):
                example += " --count 1"
            if example.startswith("bench"):
                example = example.replace("--seconds 5", "--seconds 1")
            with self.subTest(example):
                done = subprocess.run(["bash", "-c", f"{CTL} {example}"], capture_output=True,
                                      env={**os.environ, "CHECKOUT_STATE": str(self.stack.state)},
                                      text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_command_gives_json_and_nothing_else_on_standard_output(self):
        user, key = str(uuid.uuid4()), self.stack.base / "json.key"
        shopper = self.stack.shopper(user)
        self.addCleanup(shopper.close)
        shopper.put_cart("json", [("teapot", 1)])
        order = shopper.order("json", key=f"key-{user}").json["order_id"]
        arguments = {
            "list": [], "describe": ["Place"], "call": ["GetStock", '{"sku": "teapot"}'],
            "bench": ["GetStock", '{"sku": "teapot"}', "--seconds", "1"], "health": [],
            "ping": ["--count", "1"], "top": ["--count", "1"], "orders list": ["--user", user],
            "orders show": [order], "audit": [], "explain": [order], "checkouts list": [],
            "checkouts show": [order], "reservations list": [], "reservations show": [order],
            "charges list": [], "charges show": [order], "events read": [], "events lag": [],
            "events dead": [], "events resend": [], "events drop": ["01ARZ3NDEKTSV4RRFFQ69G5FAV.1"],
            "stock show": ["teapot"], "stock adjust": ["teapot", "1", "--reason", "json"],
            "products list": [], "products put": ["zebra", "--title", "J", "--price", "1",
                                                  "--currency", "EUR"],
            "cursors list": [], "database url": ["checkout_orders"],
            "token": ["--user", user], "key new": ["json", "--out", str(key)],
            "key issuer": ["--out", f"{key}.jwk", "--jwks", f"{key}.jwks"],
            "refund": ["01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        }
        silent = {"profiles": [], "migrate": [], "webhooks dead": [], "webhooks pending": [],
                  "key allow": [f"{key}.list", "json", PUBLIC_KEY]}
        # Finished orders are not retried, there is no bus, no consumer and no endpoint; the
        # last three are no data.
        others = {"checkouts retry", "events replay", "cursors reset", "cursors delete",
                  "webhooks resend", "webhooks resume", "webhooks reload",
                  "events tail", "completion", "manual"}
        for command, more in {**arguments, **silent}.items():
            with self.subTest(command):
                done = run(*command.split(), *more, "--json",
                           CHECKOUT_STATE=str(self.stack.state))
                # OperatorTest may have refunded an order by hand, which the audit names.
                self.assertIn(done.returncode, (0, 1) if command == "audit" else (0,), done.stderr)
                for line in done.stdout.splitlines():
                    json.loads(line)
                self.assertEqual(done.stdout == "", command in silent)
                if command not in silent and done.returncode == 0:
                    self.assertEqual(done.stderr, "")
        known = {command.strip() for command in re.findall(
            r"^  ((?:[a-z]+ )+)", self.ask("--help").split("Explore and call")[1], re.MULTILINE)}
        self.assertEqual(known, {*arguments, *silent, *others})

    def test_descriptions_are_json_for_programs(self):
        method = json.loads(self.ask("describe", "Orders/Place", "--json"))
        self.assertEqual((method["kind"], method["request"]), ("method", "orders.v1.PlaceRequest"))
        self.assertEqual(method["request_fields"][0],
                         {"name": "user_id", "number": 1, "type": "string", "label": "",
                          "comment": method["request_fields"][0]["comment"]})
        state = json.loads(self.ask("describe", "CheckoutState", "--json"))
        self.assertIn("COMPLETED", [value["name"] for value in state["values"]])
        self.assertIn("orders.v1.Orders", [row["service"] for row in
                                           json.loads(self.ask("list", "--json"))])
        self.assertEqual(json.loads(self.ask("list", "inventory", "--json"))[0]["method"],
                         "inventory.v1.Inventory/Reserve")


class ServerTest(StackTest):
    """One server, by its address and its public key, and nothing else known."""

    def server(self, name="inventory"):
        known = (self.stack.state / "keys" / "known_services").read_text().splitlines()
        public = next(line.split()[1] for line in known if line.startswith(name + " "))
        return ["--url", f"ipc://{self.stack.state}/run/{name}.sock", "--service-key", public,
                "--key", str(self.stack.state / "keys" / "operator.key")]

    def test_any_server_is_called_by_reflection_alone(self):
        listed = run("list", *self.server()).stdout
        self.assertIn("inventory.v1.Inventory", listed)
        self.assertIn("rpc.v1.Reflection", listed)
        self.assertNotIn("orders.v1.Orders", listed)
        for more in ([], ["--reflect"]):  # of one server of the stack
            listed = self.stack.ctl("list", "--service", "payment", *more)
            self.assertIn("payment.v1.Payment", listed)
            self.assertIn("rpc.v1.Health", listed)
            self.assertNotIn("orders.v1.Orders", listed)
        self.assertIn("rpc GetStock(", run("describe", "GetStock", *self.server()).stdout)
        done = run("call", "GetStock", '{"sku": "teapot"}', *self.server())
        self.assertEqual(json.loads(done.stdout)["sku"], "teapot", done.stderr)
        other = run("call", "GetOrder", "{}", *self.server())
        self.assertEqual((other.returncode, other.stdout), (2, ""))
        self.assertIn("does not serve orders.v1.Orders", other.stderr)

    def test_a_wrong_key_address_or_metadata_says_what_to_do(self):
        url, public = self.server()[1], self.server("payment")[3]
        key = self.server()[4:]
        cases = [
            (("--url", url, *key), 1, "--service-key"),
            (("--url", url, "--service-key", "AAAA", *key), 1, "public key"),
            (("--url", "ipc:///nowhere", "--service-key", public, *key, "--connect-timeout",
              "0.2"), 64 + 14, "no server answered within 0.200 s"),
            (("--url", "http://x", "--service-key", public, *key), 1, "http://x"),
        ]
        for arguments, status, words in cases:
            with self.subTest(arguments):
                done = run("call", "Check", *arguments)
                self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
                self.assertIn(words, done.stderr)

    def test_metadata_is_sent_and_its_bounds_are_the_servers(self):
        call = ["call", "GetStock", '{"sku": "teapot"}', *self.server()]
        self.assertEqual(run(*call, "-H", "tenant: blue", "-Htrace:x").returncode, 0)
        for header in ("Bad Name:x", "a:" + "x" * 513):
            done = run(*call, "-H", header)
            self.assertEqual(done.returncode, 64 + 3, done.stderr)
        self.assertEqual(run(*call, "-H", "nothing").returncode, 2)

    def test_a_server_behind_certificates_on_both_sides(self):
        folder = tempfile.TemporaryDirectory(prefix="checkout-cli-")
        self.addCleanup(folder.cleanup)
        make_certificates(folder.name)
        cert, key, ca = (f"{folder.name}/{name}" for name in ("own.pem", "own.key", "ca.pem"))
        url = f"tls+tcp://127.0.0.1:{free_port()}"
        server = subprocess.Popen(
            [BUILD / "bin" / "inventory", "--config", self.stack.state / "conf" / "inventory.conf",
             "--listen-url", url, "--tls-cert", cert, "--tls-key", key, "--tls-ca", ca],
            stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait, 60)
        self.addCleanup(server.send_signal, signal.SIGTERM)
        call = ["call", "GetStock", '{"sku": "teapot"}', "--url", url, *self.server()[2:],
                "--connect-timeout", "2"]
        ours = ["--tls-cert", cert, "--tls-key", key, "--tls-ca", ca]
        wait_until(lambda: run(*call, *ours).returncode == 0, 60, "it is called over TLS")
        self.assertEqual(json.loads(run(*call, *ours).stdout)["sku"], "teapot")
        self.assertIn("GetStock", run("list", "inventory.v1.Inventory", *call[3:], *ours).stdout)
        # The same from a profile.
        profiles = self.stack.base / "tls.conf"
        profiles.write_text(f"[far]\nkey_file = {call[-3]}\nservices_file = {self.stack.state}"
                            f"/keys/known_services\ninventory_addresses = {url}\n"
                            f"tls_cert = {cert}\ntls_key = {key}\ntls_ca = {ca}\n")
        self.assertEqual(run("stock", "show", "teapot", "--profile", "far",
                             CHECKOUT_PROFILES=str(profiles)).returncode, 0)
        # Without a certificate, or with one of nobody's, and with a key others may read.
        os.mkdir(f"{folder.name}/other")
        make_certificates(f"{folder.name}/other")
        other = [f"{folder.name}/other/{name}" for name in ("own.pem", "own.key")]
        os.chmod(other[1], 0o644)
        for arguments, status, words in (
                (["--tls-ca", ca], 1, "tls"),
                ([*ours[:4], "--tls-ca", f"{folder.name}/other/ca.pem"], 64 + 14, "no server"),
                (["--tls-cert", other[0], "--tls-key", other[1], "--tls-ca", ca], 1, "chmod")):
            done = run(*call, *arguments)
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
            self.assertIn(words, done.stderr)
        os.chmod(other[1], 0o600)
        done = run(*call, "--tls-cert", other[0], "--tls-key", other[1], "--tls-ca", ca)
        self.assertEqual((done.returncode, done.stdout), (64 + 14, ""), done.stderr)

    def test_types_may_come_from_a_descriptor_set(self):
        path = self.stack.base / "set"
        subprocess.run(["protoc-c", f"--proto_path={stack.REPO}/proto", "--include_imports",
                        f"--descriptor_set_out={path}", f"{stack.REPO}/proto/inventory.proto"],
                       check=True)
        done = run("call", "GetStock", '{"sku": "teapot"}', "--protoset", str(path),
                   *self.server())
        self.assertEqual(json.loads(done.stdout)["sku"], "teapot", done.stderr)
        path.write_bytes(b"nonsense")
        self.assertEqual(run("list", "--protoset", str(path)).returncode, 2)

    def test_v_says_timings_on_standard_error_alone(self):
        done = run("call", "GetStock", '{"sku": "teapot"}', "-v", *self.server())
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertRegex(done.stderr, r"\* inventory.v1.Inventory/GetStock: 8 bytes asked, "
                                      r"\d+ answered, \d+\.\d{3} ms")

    def test_exit_statuses(self):
        for arguments, status in ((("call", "GetStock", '{"sku": "no-such"}'), 64 + 5),
                                  (("call", "GetStock", '{"sku": "not one!"}'), 64 + 3),
                                  (("call", "GetStock", '{"skuu": "x"}'), 2),
                                  (("call", "GetStock", '{"sku": 1}'), 2),
                                  (("call", "NoSuch"), 2)):
            with self.subTest(arguments):
                done = run(*arguments, *self.server())
                self.assertEqual((done.returncode, done.stdout), (status, ""))
                self.assertTrue(done.stderr.startswith("checkoutctl: "))

    def test_a_name_that_is_nearly_one_is_told_which(self):
        for arguments, meant in ((("lst",), "list"), (("orders", "lst"), "orders list"),
                                 (("list", "orders"), "orders.v1.Orders"),
                                 (("describe", "placerequest"), "orders.v1.PlaceRequest"),
                                 (("call", "getstok"), "inventory.v1.Inventory/GetStock"),
                                 (("list", "--jsno"), "--json")):
            with self.subTest(arguments):
                done = run(*arguments, CHECKOUT_STATE=str(self.stack.state))
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertTrue(done.stderr.endswith(f"; did you mean {meant}?\n"), done.stderr)
        for arguments in (("frobnicate",), ("orders", "frobnicate"), ("list", "--frobnicate")):
            done = run(*arguments, CHECKOUT_STATE=str(self.stack.state))
            self.assertRegex(done.stderr, r"; see checkoutctl .*--help\n$")

    def test_ping_and_bench_measure(self):
        pings = [json.loads(line) for line in
                 self.stack.ctl("ping", "--count", "3", "--json").splitlines()]
        self.assertEqual([p["service"] for p in pings],
                         ["orchestrator", "inventory", "payment", "gateway"])
        for ping in pings:
            self.assertLessEqual(ping["least_ms"], ping["median_ms"])
            self.assertLessEqual(ping["median_ms"], ping["most_ms"])
        bench = json.loads(self.stack.ctl("bench", "GetStock", '{"sku": "{{ulid}}"}', "--seconds",
                                          "1", "--concurrency", "4", "--json", check=False).stdout)
        self.assertEqual(bench["statuses"], {"NOT_FOUND": bench["calls"]})
        self.assertGreater(bench["calls"], 4)
        self.assertLessEqual(bench["p50_us"], bench["p99_us"])
        self.assertLessEqual(bench["p99_us"], bench["most_us"])
        counted = json.loads(self.stack.ctl("top", "--count", "1", "--json"))
        methods = {row["method"]: row for server in counted["servers"]
                   for row in server["methods"]}
        self.assertGreaterEqual(methods["inventory.v1.Inventory/GetStock"]["calls"], bench["calls"])
        self.assertEqual(counted["unfinished"], 0)

    def test_watching_health_shows_a_server_that_hangs_and_comes_back(self):
        watch = subprocess.Popen(
            [str(CTL), "--state", str(self.stack.state), "health", "--watch", "--json",
             "--service", "inventory", "--max-time", "0.5"], stdout=subprocess.PIPE, text=True)
        pid = self.stack.pid("inventory")
        try:
            self.assertEqual(json.loads(watch.stdout.readline())["status"], "SERVING")
            os.kill(pid, signal.SIGSTOP)
            self.assertEqual(json.loads(watch.stdout.readline())["status"], "UNREACHABLE")
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(json.loads(watch.stdout.readline())["status"], "SERVING")
        watch.terminate()
        watch.stdout.close()
        watch.wait(10)


class OperatorTest(StackTest):
    """Profiles, production, terminals, refunds."""

    def setUp(self):
        self.profiles = self.stack.base / "profiles.conf"
        self.profiles.write_text(f"# two stacks\n[shop]\nstate = {self.stack.state}\n"
                                 f"production = true  # ask\n\n[play]\nstate = {self.stack.state}\n")
        self.environ = {"CHECKOUT_PROFILES": str(self.profiles)}

    def available(self):
        return self.stack.stock("teapot")[0]

    def test_production_asks_before_it_changes_anything(self):
        adjust = ["stock", "adjust", "teapot", "1", "--reason", "test"]
        raw = ["call", "AdjustStock", '{"sku": "teapot", "delta": 1, "reason": "test"}']
        before = self.available()
        for command in (adjust, raw):
            done = run("--profile", "shop", *command, **self.environ)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("--yes", done.stderr)
            status, shown = on_terminal(["--profile", "shop", *command], b"n\n", **self.environ)
            self.assertEqual(status, 1, shown)
            self.assertIn("profile shop", shown)
        self.assertEqual(self.available(), before)
        status, shown = on_terminal(["--profile", "shop", *adjust], b"y\n", **self.environ)
        self.assertEqual(status, 0, shown)
        self.assertEqual(run("--profile", "shop", "--yes", *raw, **self.environ).returncode, 0)
        self.assertEqual(run(*adjust, CHECKOUT_PROFILE="play", **self.environ).returncode, 0)
        self.assertEqual(self.available(), before + 3)
        # What only looks never asks.
        self.assertEqual(run("--profile", "shop", "stock", "show", "teapot",
                             **self.environ).returncode, 0)
        self.assertEqual(run("--profile", "shop", "call", "GetStock", '{"sku": "teapot"}',
                             **self.environ).returncode, 0)

    def test_profiles_are_listed_and_a_wrong_one_is_named(self):
        self.assertRegex(run("profiles", **self.environ).stdout,
                         r"shop .* production\nplay .*\n")
        done = run("--profile", "shob", "health", **self.environ)
        self.assertEqual(done.returncode, 1)
        self.assertIn("shop, play", done.stderr)
        self.profiles.write_text("[shop]\nstate\n")
        self.assertIn("profiles.conf:2", run("--profile", "shop", "health", **self.environ).stderr)
        self.profiles.write_text("[shop]\nno_such_setting = 1\n")
        self.assertEqual(run("--profile", "shop", "health", **self.environ).returncode, 1)

    def test_colours_are_for_terminals(self):
        health = ["--state", str(self.stack.state), "health"]
        self.assertIn("\033[32m", on_terminal(health)[1])
        self.assertNotIn("\033", on_terminal(health, NO_COLOR="1")[1])
        self.assertNotIn("\033", run(*health).stdout)
        status, screen = on_terminal(["--state", str(self.stack.state), "top", "--count", "1"])
        self.assertEqual(status, 0)
        self.assertIn("\033[H\033[J", screen)
        self.assertIn("orchestrator", screen)

    def test_a_refund_gives_the_money_back_once(self):
        self.stack.product("refundable", 5, 700)
        shopper = self.stack.shopper()
        shopper.put_cart("r", [("refundable", 1)])
        order = shopper.order("r", "refund-key").json["order_id"]
        shopper.close()
        charge = json.loads(self.stack.ctl("orders", "show", order, "--json"))["order"]["charge_id"]
        for _ in range(2):
            self.assertIn("700", self.stack.ctl("refund", charge))
        self.assertIn("refunded", self.stack.ctl("charges", "show", charge))
        self.assertEqual(self.stack.number("SELECT count(*) FROM sandbox.charges "
                                           "WHERE status = 'refunded'"), 1)


class ShellTest(unittest.TestCase):
    """What the tables are turned into; no stack is needed."""

    def complete_bash(self, *words):
        script = ("source <(\"$0\" completion bash); COMP_WORDS=(checkoutctl \"$@\"); "
                  "COMP_CWORD=$#; _checkoutctl; printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = subprocess.run(["bash", "-c", script, str(CTL), *words], capture_output=True,
                              text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_bash_completes_commands_options_methods_and_services(self):
        self.assertIn("describe", self.complete_bash(""))
        self.assertEqual(self.complete_bash("stock", ""), ["show", "adjust"])
        self.assertEqual(self.complete_bash("--state", "x", "stock", "a"), ["adjust"])
        self.assertIn("orders.v1.Orders/Place", self.complete_bash("call", "orders.v1.Orders/P"))
        self.assertIn("orders.v1.Order", self.complete_bash("describe", "orders.v1.O"))
        self.assertEqual(self.complete_bash("call", "--temp"), ["--template"])
        self.assertEqual(self.complete_bash("stock", "show", "--temp"), [])
        self.assertEqual(self.complete_bash("call", "--service", "i"), ["inventory"])

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh_completes_the_same(self):
        script = ("compdef() { :; }; _describe() { [[ $1 == -o ]] && shift; print -l -- ${(P)2}; }; "
                  "source <($0 completion zsh); words=(checkoutctl $@); CURRENT=$(($# + 1)); "
                  "_checkoutctl")
        for words, expected in ((("stock", ""), "adjust:book pieces in (5) or out (-5)"),
                                (("call", "--te"), "--template:print an example request"),
                                (("call", ""), "orders.v1.Orders/Place:method")):
            done = subprocess.run(["zsh", "-fc", script, str(CTL), *words], capture_output=True,
                                  text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(expected, done.stdout)

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_the_man_page_is_well_formed_and_has_every_command(self):
        page = run("manual").stdout
        lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=page, capture_output=True,
                              text=True, timeout=60)
        self.assertEqual((lint.returncode, lint.stdout), (0, ""))
        text = subprocess.run(["mandoc", "-Tascii"], input=page, capture_output=True, text=True,
                              timeout=60).stdout
        text = re.sub(".\x08", "", text)
        for command in ("stock adjust SKU DELTA", "orders list", "EXIT STATUS", "NO_COLOR"):
            self.assertIn(command, text)


if __name__ == "__main__":
    stack.main()
