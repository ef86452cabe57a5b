"""An order is found by any id that people outside have; lists are newest first, can be
narrowed, and say when they were cut and how to go on."""
import json
import re
import uuid

from stack import StackTest, main, wait_until


class Find(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.shopper = cls.stack.shopper()
        cls.addClassCleanup(cls.shopper.close)
        cls.cart, cls.key = str(uuid.uuid4()), str(uuid.uuid4())
        cls.declined = cls.place("pm_card_chargeDeclined", str(uuid.uuid4()), 402)
        cls.order = cls.place("pm_card_visa", cls.key, 201)
        cls.other = cls.stack.shopper()
        cls.addClassCleanup(cls.other.close)
        cls.ids = [cls.new_order() for _ in range(3)]
        wait_until(lambda: cls.stack.unfinished() == 0, 30, "all are finished")

    @classmethod
    def place(cls, method, key, status):
        cls.shopper.put_cart(cls.cart, [("cup", 1)])
        answer = cls.shopper.order(cls.cart, key, method)
        if answer.status != status:
            raise AssertionError(repr(answer))
        cls.request = answer.headers["x-request-id"]
        (order,), = cls.stack.sql("SELECT order_id FROM orders.checkouts "
                                  f"WHERE split_part(idempotency_key, ' ', 2) = '{key}'")
        return order

    @classmethod
    def new_order(cls):
        cart = str(uuid.uuid4())
        cls.other.put_cart(cart, [("cup", 1)])
        return cls.other.order(cart, cart).json["order_id"]

    def provider_id(self):
        (name,), = self.stack.sql("SELECT provider_charge_id FROM payment.charges "
                                  f"WHERE id = '{self.order}'")
        return name

    def ways(self):
        """Words and options that all name self.order."""
        return {"order": [self.order], "request": [self.request],
                "key": [self.key, "--user", self.shopper.user],
                "provider's": [self.provider_id()], "cart": [self.cart],
                "cart of user": [self.cart, "--user", self.shopper.user]}

    def test_explain_takes_any_id(self):
        for way, words in self.ways().items():
            with self.subTest(way):
                told = json.loads(self.stack.ctl("explain", *words, "--json"))
                self.assertEqual((told["order_id"], told["state"]), (self.order, "completed"))
                self.assertIn(f"by request {self.request}", told["timeline"][0]["what"])

    def test_show_takes_any_id(self):
        for command, field in (("orders", "order"), ("checkouts", "checkout"),
                               ("charges", "charge_id"), ("reservations", "reservation_id")):
            for way, words in self.ways().items():
                with self.subTest(command=command, way=way):
                    told = json.loads(self.stack.ctl(command, "show", *words, "--json"))
                    told = told[field]
                    self.assertEqual(told if isinstance(told, str) else told["order_id"],
                                     self.order)

    def test_of_several_the_newest_is_taken_and_the_others_are_named(self):
        done = self.stack.ctl("checkouts", "show", self.cart, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(self.order, done.stdout)
        self.assertRegex(done.stderr, f"2 checkouts have .*The others: {self.declined}")

    def test_what_is_nobodys_id_is_not_found(self):
        other = str(uuid.uuid4())
        for words in ([other], ["0" * 26], ["no-such-cart"], ["sbx_none"], ["x y"],
                      [self.key, "--user", other], [self.cart, "--user", other]):
            for command in (["explain"], ["checkouts", "show"], ["charges", "show"]):
                done = self.stack.ctl(*command, *words, check=False)
                self.assertEqual(done.returncode, 64 + 5, (command, words, done.stderr))
        done = self.stack.ctl("explain", self.key, check=False)
        self.assertIn("for an idempotency key add --user", done.stderr)
        done = self.stack.ctl("explain", "", check=False)
        self.assertEqual((done.returncode, "word 1 is empty" in done.stderr), (2, True))

    # --- lists ---

    def list(self, command, *options):
        """(ids, the --after to go on with)."""
        done = self.stack.ctl(command, "list", *options, "--json", check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        field = {"checkouts": "order_id", "charges": "charge_id",
                 "reservations": "reservation_id"}[command]
        return [entry[field] for entry in told.get(command, [])], told.get("next_before_id")

    def test_lists_are_newest_first_and_go_on_where_they_were_cut(self):
        every = sorted([self.declined, self.order, *self.ids], reverse=True)
        for command in ("checkouts", "charges", "reservations"):
            self.assertEqual(self.list(command), (every, None))
            seen, after = [], []
            while after is not None:
                ids, more = self.list(command, "--limit", "2", *after)
                seen += ids
                after = ["--after", more] if more else None
            self.assertEqual(seen, every, command)

    def test_every_list_says_when_it_was_cut_and_how_to_go_on(self):
        wait_until(lambda: self.stack.number("SELECT placed FROM orders.relay") == 4, 30,
                   "the events have positions")
        for words, head in ((["orders", "list", "--user", self.other.user], 1),
                            (["checkouts", "list"], 1), (["charges", "list"], 1),
                            (["reservations", "list"], 1), (["events", "read"], 0)):
            with self.subTest(words):
                cut = self.stack.ctl(*words, "--limit", "2", check=False)
                more = re.search(r"^More.*: the same command with --after (\S+)$", cut.stderr,
                                 re.MULTILINE)
                self.assertTrue(more, cut)
                rest = self.stack.ctl(*words, "--after", more[1], check=False)
                whole = self.stack.ctl(*words, check=False)
                self.assertEqual((rest.stderr, whole.stderr), ("", ""))
                self.assertEqual(cut.stdout.splitlines() + rest.stdout.splitlines()[head:],
                                 whole.stdout.splitlines())

    def test_a_users_orders_are_narrowed_too(self):
        def orders(*options):
            told = json.loads(self.stack.ctl("orders", "list", "--user", self.shopper.user,
                                             *options, "--json"))
            return [order["order_id"] for order in told.get("orders", [])]

        for options, expected in (
                ([], [self.order]), (["--cart", self.cart], [self.order]),
                (["--cart", "other"], []), (["--since", "1h"], [self.order]),
                (["--until", "1h"], []), (of_key := ["--idempotency-key", self.key], [self.order]),
                ([*of_key, "--cart", self.cart, "--since", "1h", "--limit", "5"], [self.order]),
                ([*of_key, "--cart", "other"], []), ([*of_key, "--until", "1h"], [])):
            self.assertEqual(orders(*options), expected, options)
        done = self.stack.ctl("orders", "list", "--user", self.shopper.user, "--after", "x",
                              *of_key, check=False)
        self.assertIn("there is no next page: leave cursor out", done.stderr)

    def test_filters_narrow_them(self):
        user, mine = ["--user", self.shopper.user], [self.order, self.declined]
        failed, whole = ["--status", "failed"], [*user, "--cart", self.cart]
        for options, expected in (
                (user, mine), (whole, mine), ([*user, *failed], [self.declined]),
                (["--cart", self.cart, "--status", "Completed"], [self.order]),
                (of_key := [*user, "--idempotency-key", self.key], [self.order]),
                ([*of_key, "--cart", self.cart, "--status", "completed"], [self.order]),
                ([*of_key, *failed], []), ([*of_key, "--until", "1h"], []),
                ([*user, "--since", "1h"], mine), ([*user, "--until", "1h"], []),
                ([*user, "--since", "2020-01-31T12:00Z", "--until", "2020-02-01"], [])):
            self.assertEqual(self.list("checkouts", *options), (expected, None), options)
        self.assertEqual(self.list("charges", *user, "--status", "captured"), ([self.order], None))
        self.assertEqual(self.list("charges", "--status", "declined")[0], [self.declined])
        self.assertEqual(self.list("reservations", "--status", "released")[0], [self.declined])
        self.assertEqual(self.list("reservations", "--until", "1h")[0], [])

    def test_they_are_narrowed_to_one_order(self):
        for command, here, elsewhere in (("checkouts", "completed", "failed"),
                                         ("charges", "captured", "declined"),
                                         ("reservations", "confirmed", "released")):
            for options, expected in (([], [self.order]), (["--status", here], [self.order]),
                                      (["--since", "1h", "--limit", "3"], [self.order]),
                                      (["--status", elsewhere], []), (["--until", "1h"], [])):
                self.assertEqual(self.list(command, "--order", self.order, *options),
                                 (expected, None), (command, options))

    def test_a_filter_that_makes_no_sense_is_refused_in_a_sentence(self):
        for command, options, said in (
                ("checkouts", ["--status", "gone"],
                 'must be one of running, aborting, completed, failed'),
                ("charges", ["--status", "running"], "must be one of intent, captured"),
                ("checkouts", ["--since", "yesterday"], "write how long ago, such as 30m"),
                ("checkouts", ["--until", "2026-13-41"], "write how long ago"),
                ("checkouts", ["--user", "me"], "user_id must be a UUID"),
                ("checkouts", ["--cart", "a b"], "cart_id must be 1 to 64"),
                *((command, ["--order", "x"], "must be a ULID")
                  for command in ("checkouts", "charges", "reservations")),
                ("checkouts", ["--idempotency-key", self.key], "a key belongs to its user")):
            done = self.stack.ctl(command, "list", *options, check=False)
            self.assertNotEqual(done.returncode, 0, options)
            self.assertIn(said, done.stderr)

    def test_past_10000_a_list_says_what_it_has_looked_at(self):
        self.stack.sql("""
            INSERT INTO payment.charges (id, state, settled_at)
            SELECT '7' || lpad(n::text, 25, '0'), 'refunded', now()
            FROM generate_series(1, 10000) AS n""")
        try:
            done = self.stack.ctl("charges", "list", "--status", "declined", check=False)
            after = re.search(r"Only the newest 10000 were looked at, up to (\S+)\.  More: the same "
                              r"command with --after \1$", done.stderr, re.MULTILINE)
            self.assertTrue(after, done.stderr)
            self.assertEqual(self.list("charges", "--status", "declined", "--after", after[1]),
                             ([self.declined], None))
            told = json.loads(self.stack.ctl("explain", self.provider_id(), "--json"))
            self.assertEqual(told["order_id"], self.order)
        finally:
            self.stack.sql("DELETE FROM payment.charges WHERE id LIKE '7%'")


if __name__ == "__main__":
    main()
