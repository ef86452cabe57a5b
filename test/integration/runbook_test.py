"""Every command of docs/runbook.md does what is said there: each fault is brought about in a
running stack, the section's Look prints what is quoted below it, and after its Do all is well
again and every order that was acknowledged is there, once.

A section is a "## " heading.  Its blocks marked `sh` are commands, run by bash as they stand;
a block without a mark is what the command before it prints: these lines in this order, others
may come between, "..." stands for anything.  A section with a command needs a test here, and a
test fails that leaves a command of its section out.
"""
import base64
import os
import re
import signal
import subprocess
import sys
import threading
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fault"))
import firewall  # noqa: E402
from chaos import ChaosStack, check_end  # noqa: E402
from nats import NatsServer  # noqa: E402
from small_disk import SmallDisk, may_mount  # noqa: E402
from stack import BUILD, REPO, Stack, StackTest, main, wait_until  # noqa: E402
from webhooks import SECRETS, Receiver  # noqa: E402

RUNBOOK = REPO / "docs" / "runbook.md"
SOON = 90  # seconds, for what takes some ten: the machine may be busy
DISK = "1g"
SETTINGS = {  # beside those of ChaosStack
    "CHECKOUT_ORCHESTRATOR_ATTENTION_AFTER": "2",
    "CHECKOUT_INVENTORY_RESERVATION_TTL_MS": "900000",  # what is held is held
    "CHECKOUT_WEBHOOK_RETRY_FIRST_MS": "100",
    "CHECKOUT_WEBHOOK_RETRY_MOST_MS": "500",
}
MADE_UP = "01ARZ3NDEKTSV4RRFFQ69G5FAV"  # an id that no process makes
FINISHED = 64 + 9  # exit status for FAILED_PRECONDITION: it went by itself


class Block:
    """A command, and the lines that it is said to print."""

    def __init__(self, command):
        self.command, self.quoted = command, []

    def missing_in(self, output):
        """The first quoted line that is not in the output, behind those before it."""
        lines = iter(output.splitlines())
        for line in self.quoted:
            words = [re.escape(word) for word in line.split()]
            pattern = re.compile(r"\s+".join(words).replace(r"\.\.\.", ".*"))
            if not any(pattern.fullmatch(printed.strip()) for printed in lines):
                return line
        return None


def sections():
    """{heading: [Block]} of the document, in its order."""
    found, heading, fence, lines = {}, "", None, []
    for line in RUNBOOK.read_text(encoding="utf-8").splitlines():
        if line.startswith("```") and fence is None:
            fence, lines = line[3:].strip(), []
        elif line.startswith("```"):
            if fence == "sh":
                found[heading].append(Block("\n".join(lines)))
            elif fence == "":
                found[heading][-1].quoted = [text for text in lines if text.strip() != "..."]
            else:
                raise AssertionError(f"a block is marked {fence!r}: {lines}")
            fence = None
        elif fence is not None:
            lines.append(line)
        elif line.startswith("## "):
            heading = line[3:].strip()
            found[heading] = []
    return found


TESTED = {}  # heading: name of its test


def section(heading):
    def mark(test):
        TESTED[heading] = test.__name__
        test.heading = heading
        return test
    return mark


class Document(unittest.TestCase):
    def test_each_section_with_a_command_has_a_test_and_each_test_its_section(self):
        self.assertEqual(set(TESTED), {name for name, blocks in sections().items() if blocks})

    def test_the_table_names_every_section_and_no_other(self):
        """As GitHub makes a heading's anchor."""
        anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
                   for heading, blocks in sections().items() if blocks}
        linked = set(re.findall(r"\]\(#([^)]*)\)", RUNBOOK.read_text(encoding="utf-8")))
        self.assertEqual(linked, anchors)

    def test_a_quoted_line_that_is_not_printed_is_missed(self):
        block = Block("true")
        block.quoted = ["payment ... well", "gateway 1"]
        self.assertIsNone(block.missing_in("x\n payment is  well\ny\ngateway   1\n"))
        self.assertEqual(block.missing_in("payment is well\ngateway 10\n"), "gateway 1")
        self.assertEqual(block.missing_in("gateway 1\npayment is well\n"), "gateway 1")


def with_log_of_up(kind):
    """That kind of stack, with what ./up prints where ./up --detach writes it: log/up.log."""
    class WithLog(kind):
        def show_log_of_up(self):
            (self.state / "log" / "up.log").symlink_to(self.out)

        def log(self, name):  # it is looked through for faults as output()
            return "" if name == "up" else super().log(name)
    return WithLog


class Faults(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.pages = sections()
        cls.firewall = firewall.Firewall() if firewall.may_enter() else None
        options = {**SETTINGS, "proxies": True, "firewall": cls.firewall}
        cls.stack = (with_log_of_up(SmallDisk)(size=DISK, **options) if may_mount() else
                     with_log_of_up(ChaosStack)(**options))
        cls.addClassCleanup(cls.stack.stop)
        cls.nats = NatsServer(cls.stack.base / "nats").start()
        cls.addClassCleanup(cls.nats.stop)
        cls.stack.environment["CHECKOUT_NATS_URL"] = cls.nats.url
        cls.receiver = Receiver().start()
        cls.addClassCleanup(cls.receiver.stop)
        cls.stack.start()  # makes the state folder
        cls.stack.process.terminate()
        cls.stack.process.wait(60)
        cls.configure_webhook()
        Stack.start(cls.stack)  # its proxy runs
        cls.stack.show_log_of_up()
        cls.stack.product("cup", 100_000)
        cls.answers = {}

    @classmethod
    def configure_webhook(cls):
        cls.stack.configure_webhook(f"http://127.0.0.1:{cls.receiver.port}/hook")
        (cls.stack.state / "webhook" / "secret").write_text("".join(
            f"whsec_{base64.b64encode(secret).decode()}\n" for secret in SECRETS))

    def setUp(self):
        heading = getattr(getattr(self, self._testMethodName), "heading")
        self.blocks = self.pages[heading]
        self.todo = list(self.blocks)  # in their order
        self.variables = {}  # of the commands
        self.shopping = []

    def tearDown(self):
        """All is well again, and all that was promised meanwhile holds."""
        for thread in self.shopping:
            thread.join(180)
        self.wait_well()
        check_end(self, self.stack, self.answers, SOON)
        self.assertEqual([block.command for block in self.todo], [], "commands not run")

    # --- running what is written ---

    def run_block(self, block):
        environ = {name: value for name, value in os.environ.items()
                   if not name.startswith(("PG", "CHECKOUT_"))}
        done = subprocess.run(
            ["bash", "-c", block.command], cwd=REPO, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
            env={**environ, "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}",
                 "STATE": str(self.stack.state), "CHECKOUT_STATE": str(self.stack.state),
                 **self.variables})
        if "CHECKOUT_RUNBOOK_PRINT" in os.environ:  # for who writes the document
            print(f"$ {block.command}\n{done.stdout}", flush=True)
        return done.returncode, done.stdout

    def look(self):
        """The section's next command, until it prints what is quoted: a fault takes time."""
        block = self.todo.pop(0)
        self.assertTrue(block.quoted, f"nothing is quoted of: {block.command}")
        said = []

        def as_quoted():
            said[:] = self.run_block(block)
            return block.missing_in(said[1]) is None

        try:
            wait_until(as_quoted, SOON, "as quoted")
        except AssertionError:
            self.fail(f"{block.command}\ndoes not print: {block.missing_in(said[1])}\n"
                      f"but:\n{said[1]}")
        return said[1]

    def do(self, *also):
        """The section's next command, which ends with 0 (or `also`) and prints what is quoted,
        if any."""
        block = self.todo.pop(0)
        status, printed = self.run_block(block)
        self.assertIn(status, (0, *also), f"{block.command}\n{printed}")
        self.assertIsNone(block.missing_in(printed), f"{block.command}\n{printed}")

    def wait_well(self):
        wait_until(lambda: self.stack.ctl("health", check=False).returncode == 0, SOON,
                   "every service is well")
        wait_until(lambda: self.stack.status().get("state") == "ready", SOON, "./up is ready")

    # --- shoppers ---

    def order(self, method="pm_card_visa"):
        shopper, key = self.stack.shopper(), str(uuid.uuid4())
        try:
            shopper.until_final(lambda: shopper.put_cart(key, [("cup", 1)]))
            self.answers[key] = shopper.order_until_final(key, key, method)
            return key, self.answers[key]
        finally:
            shopper.close()

    def order_meanwhile(self):
        """Somebody orders during the fault, and asks again until there is an answer."""
        thread = threading.Thread(target=self.order)
        thread.start()
        self.shopping.append(thread)

    def without_supervisor(self):
        """Nobody starts again what ends, as if it took that long."""
        pid = self.stack.pid("up")
        os.kill(pid, signal.SIGSTOP)
        return lambda: os.kill(pid, signal.SIGCONT)

    # --- the faults ---

    @section("First look")
    def test_first_look(self):
        self.look()
        self.look()

    @section("A service keeps ending")
    def test_a_service_killed_again_and_again(self):
        self.order_meanwhile()
        for _ in range(3):
            self.stack.kill("inventory")
        self.look()
        self.variables["SERVICE"] = "inventory"
        self.do()

    @section("A service hangs")
    def test_a_service_that_hangs(self):
        self.stack.hurt("hang", "orchestrator")
        self.order_meanwhile()
        self.look()
        self.look()

    @section("The shop does not answer at all")
    def test_the_gateway_away(self):
        go_on = self.without_supervisor()
        try:
            self.stack.hurt("kill", "gateway")
            self.order_meanwhile()
            self.look()
        finally:
            go_on()

    @section("Nothing runs")
    def test_the_supervisor_killed(self):
        os.kill(self.stack.pid("up"), signal.SIGKILL)
        self.stack.process.wait(60)
        self.look()
        self.do()

    @section("PostgreSQL is gone")
    def test_postgres_killed_and_stopped_at_once(self):
        for what in ("quit", "kill"):
            self.todo = list(self.blocks)
            with self.subTest(what):
                self.wait_well()
                go_on = self.without_supervisor()
                try:
                    self.stack.hurt(what, "postgres")
                    self.order_meanwhile()
                    self.look()
                finally:
                    go_on()
                self.look()

    @section("PostgreSQL hangs")
    def test_postgres_hangs(self):
        self.stack.hurt("hang", "postgres")
        self.order_meanwhile()
        self.look()
        self.look()

    @section("A connection broke during COMMIT")
    def test_a_connection_cut_between_commit_and_its_answer(self):
        self.stack.hurt("cut", "orchestrator", 1)
        self.order()
        self.look()

    @section("The database answers late")
    def test_a_database_that_stalls(self):
        self.stack.hurt("stall", "inventory", 9000)
        self.order_meanwhile()
        self.look()

    @section("The way to the database is silent")
    def test_a_link_that_falls_silent(self):
        if self.firewall is None:
            self.todo = []
            self.skipTest("this user may not have a network namespace with a firewall")
        self.stack.hurt("silence", "orchestrator")
        try:
            self.order_meanwhile()
            self.look()
        finally:
            self.stack.relent("silence", "orchestrator")

    @section("The disk is full")
    def test_the_disk_full(self):
        if not isinstance(self.stack, SmallDisk):
            self.todo = []
            self.skipTest("this user may not mount a small file system")
        self.stack.fill()
        try:
            self.order_meanwhile()
            self.write_until_refused()
            self.look()
            self.do()
        finally:
            self.stack.free()

    def write_until_refused(self):
        """Carts so large that PostgreSQL needs room beyond what its files have."""
        shopper = self.stack.shopper()
        lines = [(f"soak-{n}", 1) for n in range(10)] * 10
        wait_until(lambda: shopper.put_cart(str(uuid.uuid4()), lines).status >= 500, SOON,
                   "a cart is refused for want of space")
        shopper.close()

    @section("NATS is away")
    def test_nats_away(self):
        self.nats.kill()
        try:
            self.order()
            self.look()
            self.look()
        finally:
            self.nats.start()
        self.wait_well()
        self.nats.lose_all()
        self.nats.start()
        self.wait_well()
        self.do()
        orders = self.stack.number("SELECT count(*) FROM orders.outbox")
        wait_until(lambda: self.published() == orders, SOON, "what it lost is there again")

    def published(self):
        """How many events NATS has; None before the stream is made anew."""
        try:
            return len(self.nats.messages("CHECKOUT"))
        except KeyError:
            return None

    @section("A webhook endpoint fails")
    def test_a_webhook_endpoint_that_fails(self):
        self.receiver.behave = lambda name, attempt: 500
        try:
            for _ in range(6):
                self.order()
            self.look()
            self.look()
        finally:
            self.receiver.behave = lambda name, attempt: 200

    @section("A webhook endpoint answered 410")
    def test_a_webhook_endpoint_that_is_gone(self):
        self.receiver.behave = lambda name, attempt: 410
        try:
            self.order()
            self.look()
        finally:
            self.receiver.behave = lambda name, attempt: 200
        before = self.receiver.received()
        self.do()
        self.do()
        wait_until(lambda: self.receiver.received() > before, SOON, "it receives again")

    @section("A checkout needs attention")
    def test_a_checkout_that_needs_attention(self):
        self.superuser("CREATE FUNCTION inventory.refuse() RETURNS trigger LANGUAGE plpgsql "
                       "AS $$ BEGIN RAISE 'no release today'; END $$",
                       "CREATE TRIGGER refuse BEFORE UPDATE ON inventory.reservations "
                       "FOR EACH ROW WHEN (NEW.state = 'released') "
                       "EXECUTE FUNCTION inventory.refuse()")
        try:
            declined = threading.Thread(target=self.order, args=("pm_card_chargeDeclined",))
            declined.start()
            self.shopping.append(declined)
            self.variables["ORDER"] = self.named_by_audit(self.look(), "checkout.finished")
            self.look()
        finally:
            self.superuser("DROP FUNCTION inventory.refuse() CASCADE")
        self.do(FINISHED)

    @section("The audit is red")
    def test_the_audit_red(self):
        shopper = self.stack.shopper()
        shopper.close()
        self.stack.call("payment.v1.Payment/Charge", charge_id=MADE_UP, user_id=shopper.user,
                        payment_method_id="pm_card_visa", amount_cents=500, currency="EUR")
        self.variables["ORDER"] = self.named_by_audit(self.look(), "charge.order")
        self.look()
        self.do()
        self.do()

    @staticmethod
    def named_by_audit(printed, check):
        return re.search(rf"(?m)^{re.escape(check)} (\w{{26}})$", printed).group(1)

    def superuser(self, *statements):
        for statement in statements:
            subprocess.run(
                ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement,
                 f"postgresql://postgres@/checkout?host={self.stack.state}/run"],
                check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    if firewall.may_enter():
        firewall.enter()
    main()
