"""Each process is killed once in the middle of a run, and nothing is lost or doubled."""
from load import Load, stock_up
from stack import PROCESSES, StackTest, check_sums, main, wait_until

CLIENTS, ORDERS = 64, 2400


class Crash(StackTest):
    def test_killing_each_process_in_the_middle_loses_and_doubles_nothing(self):
        stock_up(self.stack, scarce=60)
        load = Load(self.stack, CLIENTS, ORDERS).start()
        for n, victim in enumerate(PROCESSES, start=1):
            wait_until(lambda: load.answered >= n * ORDERS // 7 or load.troubles, 180,
                       f"the run goes on before {victim} is killed")
            self.stack.kill(victim)
        load.join(240)

        self.assertEqual(load.troubles, [])
        self.assertEqual(load.answered, ORDERS)
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        stored = {key: int(total) for key, total in
                  self.stack.sql("SELECT id, total_cents FROM orders.orders")}
        self.assertEqual({key: total for key, total in load.placed.items()
                          if stored.get(key) != total}, {}, "answered with 201 but not there")
        self.assertEqual(len(stored), len(load.placed))
        check_sums(self, self.stack)
        for name in PROCESSES:
            self.assertIn(f"{name} ended (killed by signal 9)", self.stack.output())


if __name__ == "__main__":
    main()
