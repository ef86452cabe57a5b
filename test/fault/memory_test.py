"""Each allocation in turn fails, in each service: a clear answer, no crash, nothing lost.

The nth allocation of a running service is made to fail (fail_nth.c) while one order is placed
that succeeds and one that is refused, for n = 1, 2, 3 ... until a round passes without any.
A round may be answered with an error that can be asked again; asked again with the same key
it has to come to its end.
"""
import json
import mmap
import os
import random
import re
import struct
import uuid

from chaos import ChaosStack, check_end
from shopping import Shopping, stock_up
from stack import BUILD, StackTest, main

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
WHOSE = slice(8, 128)
QUIET = 3  # rounds in a row without a failure: then there is no allocation left to fail
MOST = 400


class Memory:
    """What fail_nth.c shares with one program."""

    def __init__(self, folder, program):
        path = folder / program
        path.write_bytes(bytes(4096))
        path.chmod(0o666)  # the services have users of their own
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)

    def fail(self, nth):
        self.map[WHOSE] = bytes(120)
        self.map[:8] = struct.pack("=q", nth)

    def calm(self):
        """Whose allocation failed since, or None."""
        self.map[:8] = bytes(8)
        return self.map[WHOSE].rstrip(b"\0").decode() or None


class EachAllocation(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = ChaosStack(
            CHECKOUT_ORCHESTRATOR_LEASE_MS="500", CHECKOUT_ORCHESTRATOR_RECOVER_EVERY_MS="50",
            CHECKOUT_ORCHESTRATOR_STEP_TIMEOUT_MS="150",
            CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS="300", CHECKOUT_GATEWAY_CALL_TIMEOUT_MS="300")
        folder = cls.stack.base / "memory"
        folder.mkdir()
        cls.memory = {name: Memory(folder, name)
                      for name in ("inventory", "payment", "orchestrator", "gateway")}
        cls.stack.environment.update(FAIL_NTH_DIR=str(folder),
                                     LD_PRELOAD=str(BUILD / "lib" / "libfail_nth.so"))
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        stock_up(cls.stack, scarce=100_000)
        cls.shopping = Shopping(cls.stack, clients=0, seed=1, patience=30)
        cls.shopper = cls.stack.shopper()
        cls.addClassCleanup(cls.shopper.close)

    def place(self, method, status):
        """An order from its cart to its end, asked again as often as it takes."""
        key = str(uuid.uuid4())
        filled = self.shopper.until_final(lambda: self.shopper.put_cart(key, [("soak-0", 1),
                                                                              ("soak-1", 2)]))
        self.assertIn(filled.status, (200, 201), repr(filled))
        answer = self.shopping._place(self.shopper, None, 0.5, key, key, method)
        self.assertIn((answer.status, answer.code),
                      ((status, answer.code), (409, "checkout_failed")), repr(answer))

    def fail_each_of(self, name, round_of):
        """Rounds with one failed allocation each; gives whose they were."""
        memory, pid, whose, quiet = self.memory[name], self.stack.pid(name), {}, 0
        for nth in range(1, MOST):
            memory.fail(nth)
            try:
                round_of()
            finally:
                failed = memory.calm()
            self.assertEqual(self.stack.pid(name), pid, f"{name} died of allocation {nth}, "
                             f"{failed}: {self.stack.log(name)[-2000:]}")
            if failed:
                program = failed.split("+")[0]
                whose[program] = whose.get(program, 0) + 1
            quiet = 0 if failed else quiet + 1
            if quiet == QUIET:
                break
        print(f"{name}: {nth - quiet} allocations failed in turn: {whose}", flush=True)
        self.assertLess(nth, MOST - 1, "rounds do not come to an end")

    def orders(self):
        self.place("pm_card_visa", 201)
        self.place("pm_card_chargeDeclined", 402)

    def test_of_inventory(self):
        self.fail_each_of("inventory", self.orders)

    def test_of_payment(self):
        self.fail_each_of("payment", self.orders)

    def test_of_payment_refunding(self):
        def refund():
            """A charge of the operator's, given back: whatever it takes."""
            order = "".join([random.choice("01234567"), *random.choices(LETTERS, k=25)])
            charge = {"charge_id": order, "user_id": str(uuid.uuid4()), "amount_cents": 5,
                      "payment_method_id": "pm_card_visa", "currency": "EUR"}
            self.call_until_done("Charge", charge)
            self.call_until_done("Refund", {"charge_id": order})
            self.assertEqual(self.stack.sql(
                "SELECT c.state, p.status FROM payment.charges c, sandbox.charges p WHERE "
                f"c.id = '{order}' AND p.provider_charge_id = c.provider_charge_id"),
                [["refunded", "refunded"]])
        self.fail_each_of("payment", refund)

    def call_until_done(self, method, message):
        for _ in range(20):
            done = self.stack.ctl("call", f"payment.v1.Payment/{method}", json.dumps(message),
                                  "--max-time", "1", check=False)
            if done.returncode == 0:
                return
            self.assertIn(done.returncode, (64 + 4, 64 + 8, 64 + 14), done.stderr)
        self.fail(f"{method} does not succeed: {done.stderr}")

    def test_of_the_orchestrator(self):
        self.fail_each_of("orchestrator", self.orders)

    def test_of_the_gateway(self):
        self.fail_each_of("gateway", self.orders)

    def test_z_nothing_was_lost(self):
        self.assertEqual(self.shopping.troubles, [])
        check_end(self, self.stack, self.shopping.answers)
        self.shopping.ask_all_again()
        self.assertEqual(self.shopping.troubles, [])
        # A saga that was lost track of would keep the orchestrator from stopping in order.
        pid = self.stack.pid("orchestrator")
        self.stack.kills += 1
        os.kill(pid, 15)
        self.stack.calm()
        self.assertNotIn("checkout_cut", self.stack.log("orchestrator"))
        self.assertFalse(re.search(r"in_flight=[1-9]", self.stack.log("orchestrator")))


if __name__ == "__main__":
    main()
