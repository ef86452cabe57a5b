"""A row that is not there, a column that is NULL, a list that is empty: the request that
needs it fails alone, the log says what was missing and of which id, and every process lives.

Rows are damaged the way a superuser or a bad disk does it: the rules that keep them whole
are dropped first.
"""
import json
import uuid

from stack import SERVICES, StackTest, main, wait_until

TABLES = ("orders.checkouts", "orders.orders", "orders.carts", "orders.outbox",
          "inventory.reservations", "inventory.products", "payment.charges")

NO_RULES = "DO $$ DECLARE r record; BEGIN " + """
    FOR r IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
             WHERE contype IN ('c', 'f') AND conrelid::regclass::text = ANY ('{%s}') LOOP
        EXECUTE format('ALTER TABLE %%s DROP CONSTRAINT %%I', r.t, r.conname);
    END LOOP;
    FOR r IN SELECT contypid::regtype AS d, conname FROM pg_constraint
             WHERE contype = 'c' AND contypid <> 0 AND connamespace::regnamespace::text
                 IN ('orders', 'inventory', 'payment') LOOP
        EXECUTE format('ALTER DOMAIN %%s DROP CONSTRAINT %%I', r.d, r.conname);
    END LOOP;
    FOR r IN SELECT a.attrelid::regclass AS t, a.attname FROM pg_attribute a
             WHERE a.attrelid::regclass::text = ANY ('{%s}') AND a.attnotnull
               AND a.attnum > 0 AND a.attidentity = '' AND NOT EXISTS (
                   SELECT FROM pg_index i WHERE i.indrelid = a.attrelid
                   AND i.indisprimary AND a.attnum = ANY (i.indkey)) LOOP
        EXECUTE format('ALTER TABLE %%s ALTER %%I DROP NOT NULL', r.t, r.attname);
    END LOOP;
END $$""" % (",".join(TABLES), ",".join(TABLES))

LOSE = """
    CREATE FUNCTION payment.lose() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
    BEGIN DELETE FROM orders.checkouts WHERE order_id = NEW.id; RETURN NULL; END $$;
    GRANT EXECUTE ON FUNCTION payment.lose() TO PUBLIC;
    CREATE TRIGGER lose AFTER INSERT ON payment.charges
        FOR EACH ROW EXECUTE FUNCTION payment.lose()"""


class Damage(StackTest):
    environment = {"CHECKOUT_ORCHESTRATOR_LEASE_MS": "2000"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("mug", 100000)
        cls.stack.sql(NO_RULES)

    def setUp(self):
        self.shopper = self.stack.shopper()
        self.addCleanup(self.shopper.close)
        self.pids = {name: self.stack.pid(name) for name in SERVICES}
        self.addCleanup(self.check_all_is_well)
        self.cart = "cart-" + uuid.uuid4().hex[:12]
        self.key = "key-" + uuid.uuid4().hex

    def check_all_is_well(self):
        """Nobody died, and the next shopper gets what she wants."""
        self.assertEqual({name: self.stack.pid(name) for name in SERVICES}, self.pids)
        other = self.stack.shopper()
        self.addCleanup(other.close)
        self.expect(other.put_cart("c", [("mug", 1)]), 201)
        self.expect(other.order("c", "key-12345678"), 201)

    def order(self, method="pm_card_visa", status=201, code=None):
        self.expect(self.shopper.put_cart(self.cart, [("mug", 1)]), 201)
        answer = self.expect(self.shopper.order(self.cart, self.key, method), status, code)
        return answer.json.get("order_id") or self.stack.sql(
            "SELECT order_id FROM orders.checkouts "
            f"WHERE idempotency_key = '{self.shopper.user} {self.key}'")[0][0]

    def repeat(self, method="pm_card_visa"):
        """The same wish in other bytes, so that no gateway remembers its answer."""
        body = json.dumps({"payment_method_id": method, "cart_id": self.cart}, indent=1)
        return self.shopper.ask("POST", "/v1/orders", body.encode(), Idempotency_Key=self.key)

    def expect_lost(self, answer):
        return self.expect(answer, 500, "data_loss")

    def expect_logged(self, event, name, service="orchestrator"):
        wait_until(lambda: any(f"event={event}" in line and name in line for line in
                               self.stack.log(service).splitlines()),
                   30, f"{service} logs {event} of {name}")

    # --- a checkout's row ---

    def order_that_is_lost(self, **more):
        """Its checkout is deleted in the moment in which its charge is intended."""
        self.expect(self.shopper.put_cart(self.cart, [("mug", 1)]), 201)
        self.stack.sql(LOSE)
        try:
            self.expect_lost(self.shopper.order(self.cart, self.key, **more))
        finally:
            self.stack.sql("DROP TRIGGER lose ON payment.charges; DROP FUNCTION payment.lose()")
        charges = self.stack.sql("SELECT id FROM payment.charges WHERE user_id = "
                                 f"'{self.shopper.user}'")
        self.assertEqual(len(charges), 1, "asked again, it would have been charged twice")
        self.expect_logged("rows_damaged", f" order={charges[0][0]} ")
        self.expect_logged("checkout_abandoned", charges[0][0])

    def test_a_checkout_deleted_while_it_is_charged(self):
        self.order_that_is_lost()

    def test_a_checkout_deleted_while_it_is_refused(self):
        self.order_that_is_lost(method="pm_card_chargeDeclined")

    def damage_and_repeat(self, damage, method="pm_card_visa", status=201, code=None):
        order = self.order(method, status, code)
        (request,), = self.stack.sql("SELECT request_id FROM orders.checkouts "
                                     f"WHERE order_id = '{order}'")
        self.stack.sql(damage.format(id=order))
        self.expect_lost(self.repeat(method))
        self.expect_logged("checkout_damaged", f"request={request} order={order} ")

    def test_the_order_of_a_completed_checkout_is_gone(self):
        self.damage_and_repeat("DELETE FROM orders.orders WHERE id = '{id}'")

    def test_an_order_without_lines(self):
        self.damage_and_repeat("UPDATE orders.orders SET lines = '[]' WHERE id = '{id}'")

    def test_a_checkout_in_no_state_that_there_is(self):
        self.damage_and_repeat(
            "UPDATE orders.checkouts SET state = 'banana' WHERE order_id = '{id}'")

    def test_a_checkout_whose_cart_is_empty(self):
        self.damage_and_repeat("UPDATE orders.checkouts SET cart = '[]' WHERE order_id = '{id}'")

    def test_a_checkout_without_payment_method(self):
        self.damage_and_repeat(
            "UPDATE orders.checkouts SET payment_method_id = NULL WHERE order_id = '{id}'")

    def test_a_refused_checkout_without_reason(self):
        self.damage_and_repeat(
            "UPDATE orders.checkouts SET failure_reason = NULL WHERE order_id = '{id}'",
            "pm_card_chargeDeclined", 402, "payment_declined")

    def test_a_refused_checkout_that_is_said_to_be_well(self):
        self.damage_and_repeat(
            "UPDATE orders.checkouts SET failure_reason = 'ok' WHERE order_id = '{id}'",
            "pm_card_chargeDeclined", 402, "payment_declined")

    def test_a_checkout_whose_fingerprint_is_gone(self):
        order = self.order()
        self.stack.sql(f"UPDATE orders.checkouts SET fingerprint = NULL WHERE order_id = '{order}'")
        self.expect_lost(self.repeat())
        self.expect_logged("rows_damaged", "statement=claim")

    def test_a_damaged_checkout_is_taken_over_and_its_neighbour_is_finished(self):
        row = ("INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,"
               " payment_method_id, fingerprint, cart, owner, lease_until) VALUES ('{id}',"
               " '{id}', '{user}', '{id}', 'pm_card_visa', '\\x{fp}', '{cart}', 'x',"
               " now() - interval '1 hour');")
        damaged, whole = "01ARZ3NDEKTSV4RRFFQ69G5FAA", "01ARZ3NDEKTSV4RRFFQ69G5FAB"
        same = {"user": self.shopper.user, "fp": "00" * 32}
        self.expect(self.shopper.put_cart(self.cart, [("mug", 1)]), 201)
        self.stack.sql(row.format(id=damaged, cart='{"no": "lines"}', **same) +
                       row.format(id=whole, cart='[{"sku":"mug","quantity":1}]', **same))
        self.expect_logged("checkout_damaged", damaged)
        wait_until(lambda: self.stack.sql("SELECT state FROM orders.checkouts WHERE order_id ="
                                          f" '{whole}'") == [["completed"]], 60, "it is finished")
        self.stack.sql(f"DELETE FROM orders.checkouts WHERE order_id = '{damaged}'")

    # --- what is read afterwards ---

    def test_orders_that_cannot_be_read(self):
        for damage in ("lines = NULL", "lines = '[]'", "currency = NULL", "lines = '{}'",
                       "lines = '[{\"sku\": 7}]'", "lines = '[{\"sku\": \"a b\", \"quantity\": 1}]'"):
            with self.subTest(damage):
                self.cart, self.key = "cart-" + uuid.uuid4().hex[:12], "key-" + uuid.uuid4().hex
                order = self.order()
                self.stack.sql(f"UPDATE orders.orders SET {damage} WHERE id = '{order}'")
                self.expect_lost(self.shopper.ask("GET", f"/v1/orders/{order}"))
                self.stack.sql(f"DELETE FROM orders.orders WHERE id = '{order}'")

    def test_a_cart_that_cannot_be_read(self):
        self.expect(self.shopper.put_cart(self.cart, [("mug", 1)]), 201)
        self.stack.sql(f"UPDATE orders.carts SET lines = NULL WHERE id = '{self.cart}'")
        self.expect_lost(self.shopper.ask("GET", f"/v1/carts/{self.cart}"))

    def test_a_reservation_that_cannot_be_read(self):
        order = self.order()
        self.stack.sql("UPDATE inventory.reservations SET quantities = '{NULL}', settled_at = NULL "
                       f"WHERE id = '{order}'")
        self.expect_rpc_lost("inventory.v1.Inventory/GetReservation", reservation_id=order)

    def test_a_reservation_that_was_held_of_nothing(self):
        ids = ["01ARZ3NDEKTSV4RRFFQ69G5FA" + end for end in "CDEF"]
        for id, damage in zip(ids, ("skus = '{}', quantities = '{}', unit_prices_cents = '{}'",
                                    "currency = NULL", "state = 'banana'", "state = NULL")):
            with self.subTest(damage):
                message = {"reservation_id": id, "lines": [{"sku": "mug", "quantity": 1}]}
                self.stack.call("inventory.v1.Inventory/Reserve", **message)
                self.stack.sql(f"UPDATE inventory.reservations SET {damage} WHERE id = '{id}'")
                self.expect_rpc_lost("inventory.v1.Inventory/Reserve", **message)
                self.expect_logged("reservation_damaged", f"order={id}", "inventory")

    def test_a_charge_that_cannot_be_read(self):
        order = self.order()
        self.stack.sql(f"UPDATE payment.charges SET state = NULL WHERE id = '{order}'")
        self.expect_rpc_lost("payment.v1.Payment/GetCharge", charge_id=order)
        self.expect_rpc_lost("payment.v1.Payment/Refund", charge_id=order)
        self.expect_logged("rows_damaged", order, "payment")

    def test_a_charge_in_no_state_that_there_is(self):
        order = self.order()
        self.stack.sql(f"UPDATE payment.charges SET state = 'banana' WHERE id = '{order}'")
        self.expect_rpc_lost("payment.v1.Payment/Refund", charge_id=order)
        self.expect_logged("charge_damaged", f"order={order}", "payment")

    def test_a_product_without_title_is_left_out_of_the_list(self):
        self.stack.product("nameless", 5)
        self.stack.sql("UPDATE inventory.products SET title = NULL WHERE sku = 'nameless'")
        listed = self.expect(self.shopper.ask("GET", "/v1/products"), 200).json["products"]
        self.assertIn("mug", [product["sku"] for product in listed])
        self.assertNotIn("nameless", [product["sku"] for product in listed])
        self.expect_logged("product_damaged", "nameless", "inventory")

    def test_an_event_that_cannot_be_read(self):
        order = self.order()
        self.stack.sql(f"UPDATE orders.outbox SET payload = NULL WHERE order_id = '{order}'")
        wait_until(lambda: self.stack.sql("SELECT count(*) FROM orders.outbox "
                                          "WHERE position IS NULL") == [["0"]], 30, "placed")
        after = self.stack.number("SELECT position - 1 FROM orders.outbox "
                                  f"WHERE order_id = '{order}'")
        self.expect_rpc_lost("events.v1.Events/Read", after=after)
        self.expect_logged("event_damaged", f"position={after + 1}")

    def test_a_list_with_a_row_that_cannot_be_read(self):
        cases = (("reservations", "inventory", "inventory.reservations SET state", "id"),
                 ("charges", "payment", "payment.charges SET state", "id"),
                 ("checkouts", "orchestrator", "orders.checkouts SET idempotency_key",
                  "order_id"))
        for lists, service, column, id in cases:
            with self.subTest(lists):
                self.cart, self.key = "cart-" + uuid.uuid4().hex[:12], "key-" + uuid.uuid4().hex
                order = self.order("pm_card_chargeDeclined", 402, "payment_declined")
                self.stack.sql(f"UPDATE {column} = NULL WHERE {id} = '{order}'")
                done = self.stack.ctl(lists, "list", check=False)
                self.stack.sql(f"DELETE FROM {column.split()[0]} WHERE {id} = '{order}'")
                self.assertEqual(done.returncode, 64 + 15, done.stdout + done.stderr)
                self.expect_logged("call", f"{order}: In the database", service)

    def test_the_relays_row_is_gone(self):
        self.order()
        kept = self.stack.sql("SELECT placed, published, pruned FROM orders.relay")[0]
        self.stack.sql("DELETE FROM orders.relay")
        self.addCleanup(self.stack.sql, "INSERT INTO orders.relay (placed, published, pruned) "
                        "VALUES ({}, {}, {})".format(*kept))
        self.expect_rpc_lost("events.v1.Events/GetLag")
        self.expect_logged("rows_damaged", "statement=backlog")

    def expect_rpc_lost(self, method, **message):
        done = self.stack.ctl("call", method, json.dumps(message), check=False)
        self.assertEqual(done.returncode, 64 + 15, done.stdout + done.stderr)


if __name__ == "__main__":
    main()
