"""A reservation nobody confirms gives its stock back by itself."""
import concurrent.futures
import contextlib
import subprocess
import uuid

from stack import StackTest, check_sums, main, wait_until

RESERVATION = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Stock(StackTest):
    environment = {"CHECKOUT_INVENTORY_RESERVATION_TTL_MS": "300",
                   "CHECKOUT_INVENTORY_REAP_EVERY_MS": "50"}

    def call(self, method, **message):
        return self.stack.call(f"inventory.v1.Inventory/{method}", **message)

    def test_an_expired_reservation_is_given_back_and_cannot_be_confirmed(self):
        self.stack.product("cup", 10)
        self.call("Reserve", reservation_id=RESERVATION, lines=[{"sku": "cup", "quantity": 4}])
        wait_until(lambda: self.stack.stock("cup") == (10, 0, 0), 30, "the stock is back")
        state = self.stack.sql("SELECT state FROM inventory.reservations")
        self.assertEqual(state, [["expired"]])
        refused = self.stack.ctl("call", "inventory.v1.Inventory/Confirm",
                                 f'{{"reservation_id":"{RESERVATION}"}}', check=False)
        self.assertEqual(refused.returncode, 64 + 9, refused.stderr)
        self.assertIn("reservation_expired", refused.stdout + refused.stderr)

    def test_an_adjustment_is_booked_once_however_often_it_is_sent(self):
        self.stack.product("saucer", 0)
        for _ in range(3):
            self.call("AdjustStock", sku="saucer", delta=7, reason="test", adjustment_id="a1")
        self.assertEqual(self.stack.stock("saucer"), (7, 0, 0))


class Locked(StackTest):
    """Somebody has a transaction open in psql that has changed one product's stock."""

    @contextlib.contextmanager
    def locked(self, sku):
        with subprocess.Popen(["psql", "-XAtq", self.stack.database()], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            try:
                holder.stdin.write("BEGIN; SELECT sku FROM inventory.stock"
                                   f" WHERE sku = '{sku}' FOR UPDATE;\n")
                holder.stdin.flush()
                self.assertEqual(holder.stdout.readline(), f"{sku}\n")
                yield
            finally:
                holder.stdin.close()  # which ends the transaction

    def buy(self, sku):
        key = str(uuid.uuid4())
        with contextlib.closing(self.stack.shopper()) as shopper:
            self.assertEqual(shopper.put_cart(key, [(sku, 1)]).status, 201)
            return sku, shopper.order(key, key)

    def test_the_others_are_sold_while_one_is_locked(self):
        """An order of what is locked is refused, or unknown as long as Release waits, too."""
        for sku in ("saucer", "mug"):
            self.stack.product(sku, 100)
        self.buy("mug")
        with self.locked("saucer"), concurrent.futures.ThreadPoolExecutor(16) as pool:
            for sku, answer in pool.map(self.buy, ["saucer", "mug", "mug", "mug"] * 8):
                self.assertIn(answer.status, (503, 504) if sku == "saucer" else (201,),
                              f"{sku}: {answer!r}")
        self.assertEqual(self.buy("saucer")[1].status, 201)
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
