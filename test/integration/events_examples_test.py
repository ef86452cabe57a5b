"""The examples of docs/examples, killed again and again: each event is in their table once."""
import json
import shutil
import subprocess
import uuid

from nats import NatsServer
from stack import BUILD, CTL, REPO, Stack, StackTest, main, wait_until

EXAMPLES = REPO / "docs" / "examples"
NODE = shutil.which("node")


class EventsExamples(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.stop)
        cls.server = NatsServer(cls.stack.base / "nats").start()
        cls.addClassCleanup(cls.server.stop)
        cls.stack.environment["CHECKOUT_NATS_URL"] = cls.server.url
        cls.stack.start()
        cls.stack.product("cup", 1_000_000)
        cls.shopper = cls.stack.shopper()
        cls.stack.sql("CREATE SCHEMA consumer")

    def orders(self, count):
        for _ in range(count):
            name = str(uuid.uuid4())
            self.shopper.put_cart(name, [("cup", 1)])
            self.assertEqual(self.shopper.order(name, name).status, 201)

    def ids(self):
        return {row[0] + ".1" for row in self.stack.sql("SELECT id FROM orders.orders")}

    def start(self, *command):
        with open(self.stack.base / "example.log", "ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

        def end():
            process.kill()
            process.wait(30)
        self.addCleanup(end)
        return end

    def log(self):
        return (self.stack.base / "example.log").read_text(errors="replace")[-2000:]

    def under_fire(self, command, received):
        """received() gives the ids in the table, as a list."""
        for _ in range(3):
            before = len(received())
            end = self.start(*command)
            self.orders(8)
            wait_until(lambda: len(received()) > before, 60,
                       f"something is received: {self.log()}")
            end()
        self.orders(5)  # while nobody listens
        self.start(*command)
        wait_until(lambda: len(received()) >= len(self.ids()), 60,
                   f"all is received: {self.log()}")
        found = received()
        self.assertEqual(len(found), len(set(found)))
        self.assertEqual(set(found), self.ids())

    def test_the_one_in_c_on_the_embedded_bus(self):
        program = self.stack.base / "consumer"
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libpq", "jansson"],
                               capture_output=True, text=True, check=True).stdout.split()
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                        str(EXAMPLES / "consumer.c"), "-o", str(program), *flags, "-lnng"],
                       check=True)
        database = self.stack.database() + "&options=-csearch_path%3Dconsumer"
        self.under_fire(
            (program, f"ipc://{self.stack.state}/run/events.sock", database, CTL, "--state",
             self.stack.state),
            lambda: [row[0] for row in self.stack.sql("SELECT id FROM consumer.received")]
            if self.stack.sql("SELECT to_regclass('consumer.received')")[0][0] else [])

    def test_the_one_in_node_on_nats(self):
        modules = BUILD / "examples"
        modules.mkdir(exist_ok=True)
        for name in ("package.json", "consumer.mjs"):
            shutil.copy(EXAMPLES / name, modules / name)
        if not (modules / "node_modules" / "nats").exists():
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"],
                           cwd=modules, check=True, capture_output=True, timeout=300)
        table = self.stack.base / "received.jsonl"

        def received():
            text = table.read_text() if table.exists() else ""
            return [json.loads(line)["id"] for line in text.splitlines(keepends=True)
                    if line.endswith("\n")]

        # The stream is there from the start, but not before the server was reached.
        wait_until(lambda: self.server.count("CHECKOUT") is not None, 30, "the stream is made")
        self.under_fire((NODE, modules / "consumer.mjs", self.server.url, table), received)


if __name__ == "__main__":
    main()
