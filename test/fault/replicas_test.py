"""Two of every service behind one gateway: killing one at a time costs nobody an order."""
from chaos import ChaosStack, check_end
from shopping import Shopping, stock_up
from stack import StackTest, main, wait_until

DOUBLED = ("inventory", "payment", "orchestrator")
ONE_EACH = [name for first in DOUBLED for name in (first, f"{first}-2")]
ORDERS_BETWEEN = 25


class Replicas(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = ChaosStack(replicas=DOUBLED)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.answers = {}  # of both tests: nothing else may be in the books

    def end(self, shopping):
        shopping.end()
        self.assertEqual(shopping.troubles, [])
        self.answers.update(shopping.answers)
        check_end(self, self.stack, self.answers)

    def goes_on(self, shopping, what):
        goal = shopping.acknowledged() + ORDERS_BETWEEN
        wait_until(lambda: shopping.acknowledged() >= goal or shopping.troubles, 90,
                   f"orders go on {what}")

    def test_every_failed_request_becomes_its_order_when_asked_again(self):
        stock_up(self.stack, scarce=100_000)
        shopping = Shopping(self.stack, clients=12, seed=1,
                            methods=["pm_card_visa", "pm_card_failOnce"]).start()
        self.goes_on(shopping, "with all of them")
        for name in ONE_EACH:
            self.stack.hurt("kill", name)
            self.goes_on(shopping, f"after {name} was killed")
        self.end(shopping)
        refused = {key: answer for key, answer in shopping.answers.items()
                   if answer.status != 201}
        self.assertEqual(refused, {}, "not turned into an order")

    def test_one_that_hangs_is_gone_around_and_its_checkouts_taken_over(self):
        stock_up(self.stack, scarce=100_000)
        shopping = Shopping(self.stack, clients=8, seed=2, methods=["pm_card_visa"]).start()
        for name in ONE_EACH:
            self.stack.hurt("stop", name)
            self.goes_on(shopping, f"while {name} hangs")
            self.stack.wake(name)
        self.end(shopping)


if __name__ == "__main__":
    main()
