"""Health says what would happen to an order now: to load balancers, to operators and as the
error of a call; and it is found out without any order that all is well again.
"""
import json
import os
import signal
import subprocess
import time
import uuid

from stack import SERVICES, StackTest, main, wait_until

SOON = 20  # seconds, for what takes one or two


class HealthTest(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000)

    def setUp(self):
        self.shopper = self.stack.shopper()
        self.addCleanup(self.shopper.close)

    def tearDown(self):
        self.wait_well()

    # --- asking ---

    def healthz(self):
        asker = self.stack.anonymous()
        try:
            return asker.ask("GET", "/healthz")
        finally:
            asker.close()

    def reasons(self):
        """What /healthz says, by service; {} when it is 200."""
        answer = self.healthz()
        if answer.status == 200:
            return {}
        self.assertEqual((answer.status, answer.code), (503, "unavailable"), repr(answer))
        return {said["service"]: said["reason"] for said in answer.json["services"]}

    def wait_well(self):
        wait_until(lambda: self.stack.health()[0] == 0 and not self.reasons(), 90, "all is well")
        self.assertEqual(self.stack.status()["state"], "ready")

    def put_cart(self, cart=None):
        return self.shopper.put_cart(cart or str(uuid.uuid4()), [("cup", 1)])

    def order(self):
        cart = str(uuid.uuid4())
        self.assertEqual(self.shopper.put_cart(cart, [("cup", 1)]).status, 201)
        return self.shopper.order(cart, cart)

    def superuser(self, *statements):
        for statement in statements:
            subprocess.run(
                ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement,
                 f"postgresql://postgres@/checkout?host={self.stack.state}/run"],
                check=True, capture_output=True, timeout=60)

    # --- a database that cannot write ---

    def test_a_missing_right_is_told_of_the_service_that_lacks_it(self):
        product = json.dumps({"sku": "new", "title": "New", "price_cents": 1,
                              "currency": "EUR"})
        self.stack.sql("REVOKE INSERT ON inventory.products FROM checkout_inventory")
        try:
            done = self.stack.ctl("call", "PutProduct", product, check=False)
            self.assertEqual(done.returncode, 64 + 14, done.stderr)
            self.assertIn("a right in the database is missing", done.stderr)
            status, rows = self.stack.health()
            self.assertEqual(status, 1)
            self.assertEqual(rows["inventory"][0], "NOT_SERVING")
            self.assertIn("permission denied for table products", rows["inventory"][1])
            self.assertEqual({rows[name][0] for name in ("orchestrator", "payment")},
                             {"SERVING"})
            self.assertEqual(self.reasons(),
                             {"inventory": "a right in the database is missing"})
            done = self.stack.up("--status")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, "(?m)^state=inventory is not ready: NOT_SERVING, "
                                          ".*permission denied for table products")
            self.assertRegex(done.stdout, "(?m)^health.inventory=NOT_SERVING .*permission")
            self.assertIn("health.payment=SERVING\n", done.stdout)
        finally:
            self.stack.sql("GRANT INSERT ON inventory.products TO checkout_inventory")
        self.wait_well()
        self.stack.ctl("call", "PutProduct", product)

    def tells_of_the_provider(self, why):
        wait_until(lambda: self.reasons() == {"payment": "the card provider takes no charges"},
                   SOON, "it is told of the service that asks the provider, and of no other")
        status, rows = self.stack.health()
        self.assertEqual((status, rows["payment"][0]), (1, "NOT_SERVING"))
        self.assertRegex(rows["payment"][1], r"The card provider \(sandbox\): .*" + why)
        done = self.stack.up("--status")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, "(?m)^state=payment is not ready: NOT_SERVING, "
                                      f"The card provider .*{why}")

    def test_a_provider_whose_ledger_cannot_be_written_is_told(self):
        cart = str(uuid.uuid4())
        self.stack.sql("REVOKE INSERT ON sandbox.charges FROM checkout_sandbox")
        try:
            self.assertEqual(self.put_cart(cart).status, 201)
            self.expect(self.shopper.order(cart, cart), 504, "outcome_unknown")
            self.tells_of_the_provider("permission denied for table charges")
        finally:
            self.stack.sql("GRANT INSERT ON sandbox.charges TO checkout_sandbox")
        self.wait_well()
        self.assertEqual(self.shopper.order_until_final(cart, cart).status, 201)

    def test_a_provider_whose_ledger_is_away_is_told_before_anybody_charges(self):
        self.superuser("ALTER ROLE checkout_sandbox NOLOGIN",
                       "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                       " WHERE usename = 'checkout_sandbox'")
        try:
            self.tells_of_the_provider("is not permitted to log in")
        finally:
            self.superuser("ALTER ROLE checkout_sandbox LOGIN")
        self.wait_well()
        self.assertEqual(self.order().status, 201)

    def test_a_primary_that_became_a_standby_is_told_until_it_is_promoted(self):
        (self.stack.state / "postgres" / "standby.signal").touch(0o644)
        old = self.stack.pid("postgres")
        self.stack.kills += 1
        os.kill(old, signal.SIGINT)
        wait_until(lambda: self.stack.pid("postgres") not in (None, old), 60,
                   "it is started again")
        try:
            wait_until(lambda: set(self.reasons()) == {"orchestrator", "inventory", "payment"},
                       SOON, "all say so")
            self.assertEqual(set(self.reasons().values()), {"the database cannot be reached"})
            wait_until(lambda: "standby" in self.stack.health()[1]["payment"][1], SOON, "and why")
            self.expect(self.put_cart(), 503, "unavailable")
        finally:
            self.superuser("SELECT pg_promote()")
        self.wait_well()
        self.assertEqual(self.order().status, 201)

    def test_a_synchronous_standby_that_is_not_there_is_told(self):
        self.superuser("ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
                       "SELECT pg_reload_conf()")
        try:
            self.expect(self.put_cart(), 504, "outcome_unknown")
            why = "the database's synchronous standby or its disk does not answer"
            wait_until(lambda: self.reasons().get("orchestrator") == why, SOON, "it is told")
            self.assertIn("synchronous standby", self.stack.health()[1]["orchestrator"][1])
            done = self.stack.up("--status")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, r"(?m)^state=\w+ is not ready: NOT_SERVING, "
                                          ".*synchronous standby")
            self.assertRegex(done.stdout, "(?m)^health.orchestrator=NOT_SERVING .*synchronous")
            # What is not begun is not in doubt.
            self.expect(self.put_cart(), 503, "unavailable")
        finally:
            self.superuser("ALTER SYSTEM RESET synchronous_standby_names",
                           "SELECT pg_reload_conf()")
        self.wait_well()
        self.assertEqual(self.order().status, 201)

    # --- what does not answer ---

    def tells_in_time(self, name):
        """Both name it, and take no longer than for one that does not answer."""
        began = time.monotonic()
        done = self.stack.ctl("health", check=False)
        self.assertLess(time.monotonic() - began, 8, "nominally three seconds")
        if name != "postgres":  # which the services see when they next need it
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stdout, f"(?m)^{name} +UNREACHABLE ")
        for other in SERVICES:
            self.assertRegex(done.stdout, f"(?m)^{other} ", "all are told of")
        began = time.monotonic()
        done = self.stack.up("--status")
        self.assertLess(time.monotonic() - began, 8, "nominally three seconds")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout, f"(?m)^state={name} is not (ready|running)")

    def test_a_process_that_hangs_is_named_in_time_and_the_others_are_told_of(self):
        for name in SERVICES + ("postgres",):
            with self.subTest(name):
                pid = self.stack.pid(name)
                os.kill(pid, signal.SIGSTOP)
                try:
                    if name == "postgres":
                        children = self.children(pid)
                        for child in children:
                            os.kill(child, signal.SIGSTOP)
                    self.tells_in_time(name)
                finally:
                    for stopped in [pid] + (children if name == "postgres" else []):
                        os.kill(stopped, signal.SIGCONT)
            self.wait_well()

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]

    def test_a_process_that_is_gone_is_named_in_time(self):
        supervisor = self.stack.pid("up")
        os.kill(supervisor, signal.SIGSTOP)  # so that it is not started again
        try:
            self.stack.kills += 1
            os.kill(self.stack.pid("payment"), signal.SIGKILL)
            self.tells_in_time("payment")
            self.assertEqual(self.reasons(), {"payment": "it does not answer"})
        finally:
            os.kill(supervisor, signal.SIGCONT)


if __name__ == "__main__":
    main()
