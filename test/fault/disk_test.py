"""PostgreSQL's disk is full: clear errors that can be asked again, no crash, nothing lost.

The stack's cluster lies on a small file system of its own, which needs the right to mount
one; elsewhere the test is skipped and says so.  It is filled twice: up to the last byte
(no statement can write), and after that while orders run.
"""
import contextlib
import subprocess
import unittest
import uuid

from chaos import check_end
from shopping import Shopping, stock_up
from small_disk import SmallDisk, may_mount
from stack import StackTest, main, wait_until


@unittest.skipUnless(may_mount(), "a small file system cannot be mounted here")
class DiskFull(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = SmallDisk()
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def goes_on(self, shopping, orders, what):
        goal = shopping.acknowledged() + orders
        wait_until(lambda: shopping.acknowledged() >= goal or shopping.troubles, 90, what)

    def put_large_cart(self, shopping):
        """What a shopper is told who wants to have something stored."""
        shopper = self.stack.shopper()
        try:
            lines = [(f"soak-{n}", 1) for n in range(10)] * 10
            return shopping.count(shopper.put_cart(str(uuid.uuid4()), lines)).status
        finally:
            shopper.close()

    def refuses(self, shopping, statuses):
        wait_until(lambda: self.put_large_cart(shopping) in statuses, 120,
                   "a request is refused for want of space")

    def health(self):
        """What /healthz says of each service that is not serving; {} when all are."""
        asker = self.stack.anonymous()
        try:
            answer = asker.ask("GET", "/healthz")
            return {} if answer.status == 200 else {
                said["service"]: said["reason"] for said in answer.json["services"]}
        finally:
            asker.close()

    def session(self):
        """psql, already connected: later it might not be let in."""
        psql = subprocess.Popen(
            ["psql", "-XAtq", f"postgresql://postgres@/checkout?host={self.stack.state}/run"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        psql.stdin.write("SELECT 'here';\n")
        psql.stdin.flush()
        self.assertEqual(psql.stdout.readline(), "here\n")
        return psql

    def panic(self, psql):
        """PostgreSQL needs a new file for its log and has no space for one."""
        with contextlib.suppress(BrokenPipeError):
            psql.communicate("SELECT pg_logical_emit_message(false, 'fill', "
                             "repeat('x', 8000000));\n" * 40, timeout=60)
        # It says so in its log file at best, which is on the same disk.
        self.assertEqual(psql.returncode, 2, "the connection was lost")

    def test_a_full_disk_is_told_until_there_is_space_though_nobody_orders(self):
        self.stack.product("large", 1)
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        lines = [(f"soak-{n}", 1) for n in range(10)] * 10
        self.stack.fill()
        try:
            refused = wait_until(lambda: next(
                (answer for answer in [shopper.put_cart(str(uuid.uuid4()), lines)]
                 if answer.status >= 400), None), 120, "a cart is refused for want of space")
            self.assertEqual((refused.status, refused.code), (503, "unavailable"))
            self.assertEqual(self.health(), {"orchestrator": "the database's disk is full"})
            done = self.stack.ctl("health", "--service", "orchestrator", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("No space left on device", done.stdout)
            done = self.stack.up("--status")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, "(?m)^state=orchestrator is not ready: NOT_SERVING, "
                                          ".*No space left on device")
        finally:
            self.stack.free()
        wait_until(lambda: self.health() == {}, 30, "it is found out that there is space")
        self.expect(shopper.put_cart(str(uuid.uuid4()), lines), 201)

    def test_a_full_disk_gives_clear_errors_and_goes_on_once_there_is_space(self):
        stock_up(self.stack, scarce=100_000)
        shopping = Shopping(self.stack, clients=6, seed=1,
                            methods=["pm_card_visa", "pm_card_chargeDeclined"]).start()
        for log_too in (False, True):
            self.goes_on(shopping, 30, "orders are placed")
            psql = self.session()
            self.stack.fill()
            if log_too:
                self.panic(psql)
            with psql:
                psql.kill()
            # With its log full PostgreSQL is not there at all, which takes a deadline to see.
            self.refuses(shopping, (503, 504) if log_too else (503,))
            self.stack.free()
            self.goes_on(shopping, 30, "orders are placed again")
        shopping.end()
        self.assertEqual(shopping.troubles, [])
        self.assertEqual(shopping.impolite, [])
        self.assertLessEqual({status for status, _ in shopping.codes},
                             {200, 201, 402, 409, 503, 504})
        self.stack.calm()
        check_end(self, self.stack, shopping.answers)


if __name__ == "__main__":
    main()
