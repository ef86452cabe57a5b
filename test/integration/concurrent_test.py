"""64 clients place 5,000 orders of overlapping SKUs, and every sum comes out."""
import time

from load import SCARCE, Load, stock_up
from stack import StackTest, check_sums, main

CLIENTS, ORDERS, SCARCE_PIECES = 64, 5000, 200


class Concurrent(StackTest):
    def test_many_clients_leave_orders_charges_and_reservations_equal(self):
        stock_up(self.stack, SCARCE_PIECES)
        load = Load(self.stack, CLIENTS, ORDERS)
        started = time.monotonic()
        load.start().join(300)
        print(f"{load.answered} answers in {time.monotonic() - started:.1f} s")

        self.assertEqual(load.troubles, [])
        self.assertEqual(load.answered, ORDERS)
        self.assertEqual(len(load.placed) + load.refused, ORDERS)
        self.assertEqual(check_sums(self, self.stack), len(load.placed))
        stored = {key: int(total) for key, total in
                  self.stack.sql("SELECT id, total_cents FROM orders.orders")}
        self.assertEqual(stored, load.placed)
        # What is scarce is sold to the last piece and not one more.
        self.assertEqual(self.stack.stock(SCARCE), (0, 0, SCARCE_PIECES))
        self.assertGreater(load.refused, 0)


if __name__ == "__main__":
    main()
