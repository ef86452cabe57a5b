"""A reservation nobody confirms gives its stock back by itself."""
from stack import StackTest, main, wait_until

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


if __name__ == "__main__":
    main()
