"""A cart in several windows: what is replaced or ordered is what was on the screen."""
import os
import signal
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from stack import StackTest, check_sums, main, wait_until


def fresh():
    return str(uuid.uuid4())


class Carts(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.stack.product("pot", 1000, price_cents=1999)

    def setUp(self):
        self.shopper = self.stack.shopper()
        self.addCleanup(self.shopper.close)

    def put(self, cart, lines, **conditions):
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in lines]
        return self.shopper.ask("PUT", f"/v1/carts/{cart}", {"lines": lines}, **conditions)

    def get(self, cart, **conditions):
        return self.shopper.ask("GET", f"/v1/carts/{cart}", **conditions)

    def changed(self, answer, status, cart):
        """A problem that holds the cart as it is."""
        self.expect(answer, status, "cart_changed")
        self.assertEqual(answer.json["status"], status)
        self.assertEqual(answer.json["cart"], self.get(cart).json)

    def test_a_cart_has_an_etag_of_its_lines(self):
        first, second = fresh(), fresh()
        put = self.expect(self.put(first, [("cup", 1)]), 201)
        self.assertRegex(put.headers["etag"], r'^"[0-9a-f]{32}(\.[!#-~]+)?"$')
        self.assertEqual(put.headers["content-location"], f"/v1/carts/{first}")
        got = self.expect(self.get(first), 200)
        self.assertEqual(got.headers["etag"], put.headers["etag"])
        self.assertEqual(got.json["etag"], put.headers["etag"])
        self.assertEqual(got.body, put.body)
        self.put(second, [("cup", 1), ("pot", 1)])
        other = self.put(second, [("pot", 1), ("cup", 1)])
        self.assertNotIn(put.headers["etag"], (other.headers["etag"],))

    def test_a_copy_that_is_good_is_304(self):
        cart = fresh()
        etag = self.put(cart, [("cup", 1)]).headers["etag"]
        for condition in (etag, f"W/{etag}", f'"x", {etag}', f"{etag},", "*"):
            same = self.get(cart, If_None_Match=condition)
            self.assertEqual((same.status, same.body), (304, b""), condition)
            self.assertEqual(same.headers["etag"], etag)
        self.put(cart, [("cup", 2)])
        self.expect(self.get(cart, If_None_Match=etag), 200)
        for odd in ("x", '"', '"a" "b"', "", "*, *", "W/x"):
            self.expect(self.get(cart, If_None_Match=odd), 400, "invalid_argument")

    def test_a_changed_price_or_title_is_another_copy_but_not_another_cart(self):
        cart = fresh()
        self.stack.product("moving", 10, price_cents=100)
        first = self.put(cart, [("moving", 1)]).headers["etag"]
        self.assertEqual(self.get(cart, If_None_Match=first).status, 304)
        seen = {first}
        for put in ({"price_cents": 200, "title": "Test moving"},
                    {"price_cents": 200, "title": "Moved"}):
            self.stack.call("inventory.v1.Inventory/PutProduct", sku="moving", currency="EUR", **put)
            answer = self.expect(self.get(cart, If_None_Match=", ".join(seen)), 200)
            self.assertEqual(answer.json["lines"][0]["title"], put["title"])
            seen.add(answer.headers["etag"])
        self.assertEqual(len(seen), 3)
        self.assertEqual(len({etag.split(".")[0] for etag in seen}), 1)
        # Other stock is shown as well, so a copy from before it is none.
        self.stack.call("inventory.v1.Inventory/AdjustStock", sku="moving", delta=-4,
                        reason="test", adjustment_id="moving-4")
        self.expect(self.get(cart, If_None_Match=", ".join(seen)), 200)
        # A change is guarded by the lines alone, the price by expected_total_cents.
        self.expect(self.put(cart, [("moving", 2)], If_Match=first), 200)
        lost = self.put(cart, [("moving", 3)], If_Match=first)
        self.changed(lost, 412, cart)
        self.assertEqual(lost.json["cart"]["total_cents"], 400)

    def test_without_prices_the_tag_is_of_the_lines_alone(self):
        cart = fresh()
        priced = self.put(cart, [("cup", 1)]).headers["etag"]
        os.kill(pid := self.stack.pid("inventory"), signal.SIGSTOP)
        try:
            plain = self.expect(self.get(cart, If_None_Match=priced), 200)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(plain.headers["etag"], priced.split(".")[0] + '"')
        self.assertEqual(plain.json["lines"], [{"sku": "cup", "quantity": 1}])

    def test_who_replaces_a_cart_may_demand_what_was_seen(self):
        cart = fresh()
        first = self.put(cart, [("cup", 1)]).headers["etag"]
        second = self.expect(self.put(cart, [("cup", 2)], If_Match=first), 200).headers["etag"]
        lost = self.put(cart, [("cup", 3)], If_Match=first)
        self.changed(lost, 412, cart)
        self.assertEqual([(line["sku"], line["quantity"], line["unit_price_cents"])
                          for line in lost.json["cart"]["lines"]], [("cup", 2, 250)])
        self.changed(self.put(cart, [("cup", 3)], If_Match=f"W/{second}"), 412, cart)
        self.changed(self.put(cart, [("cup", 3)], If_Match='"of.elsewhere"'), 412, cart)
        self.changed(self.get(cart, If_Match=first), 412, cart)
        # A repeat whose answer was lost, and what stands behind the dot.
        self.expect(self.put(cart, [("cup", 2)], If_Match=first), 200)
        lines = second.strip('"').split(".")[0]
        self.expect(self.put(cart, [("cup", 4)], If_Match=f'"x", "{lines}.other"'), 200)
        self.expect(self.put(cart, [("cup", 5)], If_Match="*"), 200)
        self.assertIsNone(self.expect(self.put(fresh(), [("cup", 1)], If_Match="*"), 412,
                                      "cart_changed").json["cart"])
        for odd in ("x", "", ",".join(['"a"'] * 17)):
            self.expect(self.put(cart, [("cup", 5)], If_Match=odd), 400, "invalid_argument")

    def test_a_cart_may_be_made_only_where_there_is_none(self):
        cart = fresh()
        self.expect(self.put(cart, [("cup", 1)], If_None_Match="*"), 201)
        self.changed(self.put(cart, [("cup", 2)], If_None_Match="*"), 412, cart)
        self.expect(self.put(cart, [("cup", 2)], If_None_Match='"x"'), 400, "invalid_argument")

    def test_of_many_puts_at_once_one_makes_the_cart(self):
        shoppers = [self.stack.shopper(self.shopper.user) for _ in range(6)]
        for shopper in shoppers:
            self.addCleanup(shopper.close)
        with ThreadPoolExecutor(len(shoppers)) as pool:
            for _ in range(10):
                cart = fresh()
                said = list(pool.map(lambda s: s.put_cart(cart, [("cup", 1)]).status, shoppers))
                self.assertEqual(sorted(said), [200] * 5 + [201])

    def test_what_is_ordered_is_what_was_seen(self):
        cart, key = fresh(), fresh()
        seen = self.put(cart, [("cup", 1)]).headers["etag"]
        now = self.put(cart, [("cup", 2)]).headers["etag"]
        lost = self.shopper.order(cart, key, expected_cart=seen)
        self.changed(lost, 409, cart)
        self.assertFalse(lost.replayed)
        # Nothing was claimed: the key serves for what is there now.
        placed = self.expect(self.shopper.order(cart, key, expected_cart=now), 201)
        self.assertEqual(placed.json["total_cents"], 500)
        # Ordered already comes before a condition that does not hold.
        for again in (self.put(cart, [("cup", 3)], If_Match=seen),
                      self.shopper.order(cart, fresh(), expected_cart=seen)):
            self.expect(again, 409, "cart_already_ordered")
        for odd in (now.strip('"'), "*", "", f"{now}, {now}", 7):
            self.expect(self.shopper.order(cart, fresh(), expected_cart=odd), 400,
                        "invalid_argument")

    def test_a_cart_is_put_and_ordered_at_once_without_losing_either(self):
        """Two connections, and so two batches of one writer: in the order, or refused."""
        other = self.stack.shopper(self.shopper.user, token=self.shopper.token)
        self.addCleanup(other.close)
        for _ in range(20):
            cart, answers = fresh(), []
            self.put(cart, [("cup", 1)])
            thread = threading.Thread(
                target=lambda: answers.append(other.order(cart, fresh())))  # noqa: B023
            thread.start()
            put = self.put(cart, [("cup", 2)])
            thread.join(60)
            total = self.expect(answers[0], 201).json["total_cents"]
            self.assertEqual((put.status, total) in ((200, 500), (409, 250)), True,
                             f"{put!r} and {total}")

    def test_an_order_of_a_cart_that_stays_locked_says_that_nothing_was_done(self):
        cart, key = fresh(), fresh()
        self.put(cart, [("cup", 1)])
        with subprocess.Popen(["psql", "-XAtq", self.stack.database()], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            holder.stdin.write("BEGIN; SELECT id FROM orders.carts"
                               f" WHERE id = '{cart}' FOR UPDATE;\n")
            holder.stdin.flush()
            self.assertEqual(holder.stdout.readline(), f"{cart}\n")
            refused = self.expect(self.shopper.order(cart, key), 503, "overloaded")
            self.assertIn("nothing was changed", refused.json["detail"])
            self.assertEqual(self.stack.number("SELECT count(*) FROM orders.checkouts"
                                               f" WHERE cart_id = '{cart}'"), 0)
            holder.stdin.close()  # which ends the transaction
        self.expect(self.shopper.order(cart, key), 201)

    def test_zz_the_sums_come_out(self):
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
