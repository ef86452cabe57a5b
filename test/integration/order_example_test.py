"""docs/examples/order.py places one order, and says why when it is refused."""
import json
import os
import signal
import subprocess
import sys
import uuid

from stack import REPO, StackTest, main, wait_until

EXAMPLE = REPO / "docs" / "examples" / "order.py"


class OrderExample(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 100, price_cents=250)

    def run_example(self, sku, *method, token=None):
        token = token or self.stack.token(str(uuid.uuid4()))
        done = subprocess.run(
            [sys.executable, EXAMPLE, f"http://127.0.0.1:{self.stack.port}", token, sku, *method],
            capture_output=True, text=True, timeout=120)
        self.assertEqual(done.stderr, "")
        return done.returncode, json.loads(done.stdout)

    def test_it_orders(self):
        status, order = self.run_example("cup")
        self.assertEqual((status, order["status"], order["total_cents"]), (0, "created", 250))

    def test_a_refusal_is_told(self):
        status, problem = self.run_example("cup", "pm_card_chargeDeclined")
        self.assertEqual((status, problem["code"]), (1, "payment_declined"))

    def test_a_gateway_that_is_not_there_yet_is_asked_again(self):
        token = self.stack.token(str(uuid.uuid4()))
        before = self.stack.number("SELECT count(*) FROM orders.orders")
        self.stack.kills += 1
        os.kill(self.stack.pid("gateway"), signal.SIGKILL)
        status, order = self.run_example("cup", token=token)
        self.assertEqual((status, order["status"]), (0, "created"))
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        self.assertEqual(self.stack.number("SELECT count(*) FROM orders.orders"), before + 1)


if __name__ == "__main__":
    main()
