"""The OpenAPI document: it is sound, it is served, and every answer it tells of is given."""
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
import uuid
from pathlib import Path

import jsonschema
import yaml

from edge import Gateway, held_up, raw
from stack import KEY, REPO, Shopper, StackTest, main, wait_until

DOCUMENT = REPO / "gateway" / "openapi.yaml"
LINT = REPO / "test" / "lint"
METHODS = ("get", "put", "post")
TRIES = 5
# What no OpenAPI document tells of: framing, and the server's own.
TRANSPORT = {"content-length", "content-type", "date", "transfer-encoding"}


def fresh():
    return str(uuid.uuid4())


def resolve(document, node):
    """Follows a $ref, or gives the node itself."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


class Document:
    def __init__(self):
        self.text = DOCUMENT.read_bytes()
        self.tree = yaml.safe_load(self.text)

    def responses(self):
        """(operation or component, status) -> response, of all that is told."""
        found = {}
        for path in self.tree["paths"].values():
            for method in METHODS:
                for status, response in path.get(method, {}).get("responses", {}).items():
                    found[path[method]["operationId"], int(status)] = resolve(self.tree, response)
        for response in self.tree["x-any-request"]:
            found[response["$ref"].split("/")[-1], None] = resolve(self.tree, response)
        return found

    def codes(self):
        """All that can stand in a problem's `code`."""
        found = set()

        def look(node):
            if isinstance(node, dict):
                code = node.get("code")
                if isinstance(code, dict):
                    found.update(code.get("enum", [code.get("const")]))
                node = list(node.values())
            for child in node if isinstance(node, list) else ():
                look(child)

        look(self.tree)
        return found - {None}

    def validate(self, schema, value):
        jsonschema.Draft202012Validator(
            {**schema, "components": self.tree["components"]},
            format_checker=jsonschema.FormatChecker()).validate(value)

    def check(self, response, answer):
        """Every header and the body are as told, and nothing else is there."""
        headers = {name.lower(): resolve(self.tree, header)
                   for name, header in response["headers"].items()}
        for name, header in headers.items():
            if name in answer.headers:
                self.validate(header["schema"], answer.headers[name])
            elif header.get("required"):
                raise AssertionError(f"no {name} in {answer!r}")
        more = set(answer.headers) - set(headers) - TRANSPORT
        if more:
            raise AssertionError(f"{more} are told of nowhere: {answer!r}")
        content = response.get("content", {})
        if not content:
            if answer.body != b"":
                raise AssertionError(f"a body, and none is told of: {answer!r}")
            return
        (kind, media), = content.items()
        if answer.headers["content-type"] != kind:
            raise AssertionError(f"{answer.headers['content-type']} and not {kind}: {answer!r}")
        self.validate(media["schema"],
                      answer.json if kind.endswith("json") else answer.body.decode())
        if kind == "application/problem+json" and answer.json["status"] != answer.status:
            raise AssertionError(f"two statuses: {answer!r}")


class Lint(unittest.TestCase):
    def spectral(self):
        """Spectral as the lock file has it, installed once into the user's cache."""
        lock = (LINT / "package-lock.json").read_bytes()
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        folder = cache / "checkout" / f"lint-{hashlib.sha256(lock).hexdigest()[:16]}"
        program = folder / "node_modules" / ".bin" / "spectral"
        if not program.exists():
            making = folder.with_suffix(f".{os.getpid()}")
            making.mkdir(parents=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(LINT / name, making)
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                           cwd=making, check=True, capture_output=True, timeout=300)
            shutil.rmtree(folder, ignore_errors=True)
            making.rename(folder)
        return program

    def lint(self, document):
        return subprocess.run(
            [self.spectral(), "lint", "--ruleset", LINT / "spectral.yaml",
             "--fail-severity=hint", document], capture_output=True, text=True, timeout=120)

    def test_spectral_finds_nothing_to_say(self):
        done = self.lint(DOCUMENT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_code_of_the_document_is_one_of_the_programs(self):
        reasons = set(re.findall(r'"([a-z_]+)",\s+\d{3}, (?:true|false)',
                                 (REPO / "lib" / "base" / "err.h").read_text()))
        self.assertEqual(Document().codes() - reasons, set())

    def test_its_bounds_are_those_of_the_programs(self):
        bounds = {name: int(value) for name, value in re.findall(
            r"\b([A-Z_]+) = (\d+)[,;]", (REPO / "lib/base/contract/bounds.h").read_text())}
        components = Document().tree["components"]
        told = {}

        def look(node, path):
            """Each bound by its path: the places of a schema, and {1,64} in a pattern."""
            for name, child in node.items():
                if name in ("minLength", "maxLength", "maximum", "maxItems"):
                    told[f"{path}.{name}"] = child
                elif name == "pattern" and (counted := re.search(r"\{1,(\d+)\}", str(child))):
                    told[f"{path}.pattern"] = int(counted[1])
                elif isinstance(child, dict):
                    look(child, path if name in ("properties", "schema") else f"{path}.{name}")

        for kind in ("schemas", "parameters"):
            for name, node in components[kind].items():
                look(node, name)
        key = [bounds["IDEMPOTENCY_KEY_MIN"], bounds["IDEMPOTENCY_KEY_MAX"]]
        for path, wanted in {
                "Total.maximum": bounds["TOTAL_CENTS_MAX"],
                "Cents.maximum": bounds["PRICE_CENTS_MAX"],
                "CartLine.quantity.maximum": bounds["QUANTITY_MAX"],
                "PricedCartLine.quantity.maximum": bounds["QUANTITY_MAX"],
                "CartRequest.lines.maxItems": bounds["LINES_MAX"],
                "Cart.lines.maxItems": bounds["LINES_MAX"],
                "OrderPage.orders.maxItems": bounds["ORDERS_PAGE_MAX"],
                "Limit.maximum": bounds["ORDERS_PAGE_MAX"],
                "Cursor.maxLength": bounds["ORDERS_CURSOR_SIZE_MAX"],
                "ProductPage.products.maxItems": bounds["PRODUCTS_PAGE_MAX"],
                "ProductsLimit.maximum": bounds["PRODUCTS_PAGE_MAX"],
                "Search.maxLength": bounds["SEARCH_SIZE_MAX"],
                "Skus.maxItems": bounds["SKUS_MAX"],
                "Name.pattern": bounds["NAME_LENGTH_MAX"],
                "Sku.pattern": bounds["SKU_LENGTH_MAX"],
                "ETag.pattern": bounds["CART_VERSION_MAX"],
                "OrderRequest.expected_cart.pattern": bounds["CART_VERSION_MAX"],
                "OrderRequest.idempotency_key.minLength": key[0],
                "OrderRequest.idempotency_key.maxLength": key[1],
                "KeyOfOrder.minLength": key[0],
                "KeyOfOrder.maxLength": key[1],
                "Key.minLength": key[0],
                "Key.maxLength": 2 * key[1] + 2,  # each character escaped, and the quotes
        }.items():
            with self.subTest(path):
                self.assertEqual(told.pop(path), wanted)
        self.assertEqual({path: bound for path, bound in told.items() if bound != 1}, {},
                         "bounds that are compared with nothing")


class Answers(StackTest):
    # No step's trouble lasts longer than the test's patience.
    environment = {"CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS": "1500",
                   "CHECKOUT_ORCHESTRATOR_STEP_TIMEOUT_MS": "1000",
                   "CHECKOUT_ORCHESTRATOR_GIVE_UP_MS": "3000",
                   "CHECKOUT_INVENTORY_REAP_EVERY_MS": "20"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = Document()
        cls.told = cls.document.responses()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.stack.product("far", 10, price_cents=100, currency="USD")
        cls.given, cls.codes = {}, {None}
        cls.user = fresh()
        cls.token = cls.stack.token(cls.user)

    # --- the requests, one an operation ---

    def operations(self, asks):
        """operation -> a function that gives the answer to a good request, by `asks`."""
        cart = fresh()

        def ask(method, path, body=None, **headers):
            return lambda: asks(method, path, body, **headers)

        order = {"cart_id": "any", "payment_method_id": "pm_card_visa"}
        return {
            "placeOrder": lambda: asks("POST", "/v1/orders", order, Idempotency_Key=fresh()),
            "listOrders": ask("GET", "/v1/orders"),
            "getOrder": ask("GET", "/v1/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            "putCart": ask("PUT", f"/v1/carts/{cart}", {"lines": []}),
            "getCart": ask("GET", f"/v1/carts/{cart}"),
            "listProducts": ask("GET", "/v1/products"),
            "getProduct": ask("GET", "/v1/products/cup"),
            "health": ask("GET", "/healthz"),
            "document": ask("GET", "/openapi.yaml"),
        }

    def give(self, operation, status, answer):
        """The answer is that one, and as the document tells."""
        with self.subTest(operation=operation, status=status):
            response = self.told.get((operation, status))
            self.assertIsNotNone(response, f"not told of: {answer!r}")
            if status is not None:
                self.assertEqual(answer.status, status, repr(answer))
            self.document.check(response, answer)
            self.given[operation, status] = True
            self.codes.add(answer.code)

    def give_all(self, status, shopper, but=()):
        """Every operation that tells of it gives that status."""
        for operation, ask in self.operations(shopper.ask).items():
            if (operation, status) in self.told and operation not in but:
                self.give(operation, status, ask())
        shopper.close()

    def shopper(self, at=None, token=None):
        return (at or self.stack).shopper(self.user, token=token or self.token)

    # --- what is given ---

    def test_a_good_request_is_answered_as_told(self):
        one = self.shopper()
        cart = fresh()
        put = one.put_cart(cart, [("cup", 2)])
        self.give("putCart", 201, put)
        self.give("putCart", 200, one.put_cart(cart, [("cup", 3)]))
        got = one.ask("GET", f"/v1/carts/{cart}")
        self.give("getCart", 200, got)
        etag = got.headers["etag"]
        self.give("getCart", 304, one.ask("GET", f"/v1/carts/{cart}", If_None_Match=etag))
        old = put.headers["etag"]
        self.give("getCart", 412, one.ask("GET", f"/v1/carts/{cart}", If_Match=old))
        self.give("putCart", 412, one.ask("PUT", f"/v1/carts/{cart}", {"lines": []}, If_Match=old))
        self.give("putCart", 412, one.ask("PUT", f"/v1/carts/{fresh()}", {"lines": []},
                                          If_Match=old))
        self.give("placeOrder", 409, one.order(cart, fresh(), expected_cart=old))
        placed = one.order(cart, cart, expected_total_cents=750)
        self.give("placeOrder", 201, placed)
        again = one.order(cart, cart, expected_total_cents=750)
        self.assertTrue(again.replayed)
        self.give("placeOrder", 201, again)
        self.give("getOrder", 200, one.ask("GET", placed.headers["location"]))
        other = fresh()
        one.put_cart(other, [("cup", 1)])
        self.give("placeOrder", 201, one.order(other, other))
        page = one.ask("GET", "/v1/orders?limit=1")
        self.give("listOrders", 200, page)
        self.assertIsNotNone(page.json["next_cursor"])
        self.give("listOrders", 200,
                  one.ask("GET", f"/v1/orders?cursor={page.json['next_cursor']}"))
        self.give("listOrders", 200, one.ask("GET", f"/v1/orders?idempotency_key={cart}"))
        self.give("listProducts", 200, one.ask("GET", "/v1/products"))
        self.give("getProduct", 200, one.ask("GET", "/v1/products/cup"))
        self.give("health", 200, one.ask("GET", "/healthz"))
        self.give("putCart", 409, one.put_cart(cart, [("cup", 1)]))
        self.give("placeOrder", 409, one.order(cart, fresh()))
        one.close()

    def test_the_document_is_served_as_it_is(self):
        one = self.shopper()
        answer = one.ask("GET", "/openapi.yaml")
        self.give("document", 200, answer)
        self.assertEqual(answer.body, self.document.text)
        one.close()

    def test_what_is_refused_for_good_is_told_and_replays(self):
        one = self.shopper()
        cases = [("pm_card_chargeDeclined", [("cup", 1)], 402, "payment_declined"),
                 ("pm_card_visa", [("cup", 9999)], 409, "out_of_stock"),
                 ("pm_card_visa", [("cup", 1), ("far", 1)], 409, "failed_precondition"),
                 ("pm_card_visa", [("nothing", 1)], 422, "unknown_sku"),
                 ("pm_card_unreachable", [("cup", 1)], 409, "checkout_failed")]
        for method, lines, status, code in cases:
            cart = fresh()
            one.put_cart(cart, lines)
            self.expect(one.order_until_final(cart, cart, method), status, code)
            answer = one.order(cart, cart, method)
            self.assertEqual(answer.code, code)
            self.assertTrue(answer.replayed)
            self.give("placeOrder", status, answer)
        cart = fresh()
        one.put_cart(cart, [("cup", 1)])
        answer = one.order(cart, cart, expected_total_cents=1)
        self.assertEqual(answer.code, "price_changed")
        self.give("placeOrder", 409, answer)
        self.assertEqual(self.stack.number(
            "SELECT count(*) FROM payment.charges JOIN orders.checkouts ON id = order_id "
            f"WHERE {KEY} = '{cart}'"), 0, "nothing was charged, or tried to be")
        answer = one.order(cart, cart)
        self.assertEqual(answer.code, "idempotency_key_reused")
        self.give("placeOrder", 422, answer)
        one.put_cart(empty := fresh(), [])
        answer = one.order(empty, fresh())
        self.assertEqual(answer.code, "cart_empty")
        self.give("placeOrder", 422, answer)
        one.close()

    def running(self, key):
        return self.stack.number("SELECT count(*) FROM orders.checkouts WHERE state = 'running' "
                                 f"AND {KEY} = '{key}'")

    def test_a_request_that_still_runs_is_joined_or_asked_to_come_back(self):
        with Gateway(self.stack, "hurried", place_timeout_ms=300) as gateway:
            one, two, joins = self.shopper(), self.shopper(), self.shopper(gateway)
            cart = fresh()
            one.put_cart(cart, [("cup", 1)])
            first = []
            thread = threading.Thread(
                target=lambda: first.append(one.order(cart, cart, "pm_card_unreachable")))
            thread.start()
            wait_until(lambda: self.running(cart), 10, "the first request has claimed its key")
            self.give("placeOrder", 409, wait_until(
                lambda: (answer := joins.order(cart, cart, "pm_card_unreachable")).code ==
                "checkout_in_progress" and answer, 30, "it is told to come back"))
            self.give("placeOrder", 409, two.order(cart, fresh()))
            thread.join(30)
            self.give("placeOrder", 504, first[0])
            for shopper in (one, two, joins):
                shopper.close()

    def order_whose_reservation_runs_out(self, one):
        """In its middle, between Reserve and Confirm.  The cart, and the final answer."""
        cart = fresh()
        one.put_cart(cart, [("cup", 1)])
        of_it = f"FROM orders.checkouts c WHERE r.id = c.order_id AND {KEY} = '{cart}'"
        with held_up(self.stack, "payment.charges") as waiting:
            thread = threading.Thread(target=lambda: one.order(cart, cart))
            thread.start()
            wait_until(waiting, 30, "its charge is held up")
            self.stack.sql(f"UPDATE inventory.reservations r SET expires_at = now() {of_it}")
            wait_until(lambda: self.stack.sql(
                "SELECT 1 FROM inventory.reservations r, orders.checkouts c WHERE r.id = c.order_id "
                f"AND {KEY} = '{cart}' AND r.state <> 'held'"), 30, "it runs out")
        thread.join(30)
        return cart, one.order_until_final(cart, cart)

    def test_a_reservation_that_ran_out_is_told_and_replays(self):
        """On a busy machine an order may grow too old first, and then has failed for that."""
        one, answer = self.shopper(), None
        for _ in range(TRIES):
            cart, answer = self.order_whose_reservation_runs_out(one)
            if answer.code != "checkout_failed":
                break
        self.expect(answer, 409, "reservation_expired")
        again = one.order(cart, cart)
        self.assertTrue(again.replayed)
        self.give("placeOrder", 409, again)
        one.close()

    def test_more_than_may_be_in_flight_is_told(self):
        """One call may be, and it lasts as long as the orchestrator stands still."""
        with Gateway(self.stack, "narrow", calls_max=1, call_timeout_ms=300,
                     place_timeout_ms=60000) as gateway:
            one, two = self.shopper(gateway), self.shopper(gateway)

            def in_flight():  # beside the other's asking, which takes the place for a while
                while one.order(fresh(), fresh()).code in ("overloaded", "rate_limited"):
                    time.sleep(0.02)

            two.ask("GET", "/v1/orders")
            os.kill(pid := self.stack.pid("orchestrator"), signal.SIGSTOP)
            try:
                thread = threading.Thread(target=in_flight)
                thread.start()
                wait_until(lambda: two.ask("GET", "/v1/orders").code == "overloaded", 30,
                           "the one call is in flight")
                self.give_all(503, two, but=("listProducts", "getProduct"))
            finally:
                os.kill(pid, signal.SIGCONT)
            thread.join(30)
            one.close()

    @staticmethod
    def cart_asked_oddly(one):
        one.put_cart(cart := fresh(), [])
        return one.ask("GET", f"/v1/carts/{cart}", If_None_Match="no-tag")

    def test_what_is_malformed_is_told(self):
        one = self.shopper()
        key = {"Idempotency_Key": fresh()}
        self.give("placeOrder", 400, one.ask("POST", "/v1/orders", b"{", **key))
        self.give("putCart", 400, one.ask("PUT", "/v1/carts/c", {"lines": 1}))
        self.give("listOrders", 400, one.ask("GET", "/v1/orders?cursor=made-up"))
        self.give("listProducts", 400, one.ask("GET", "/v1/products?x=1"))
        self.give("listProducts", 400, one.ask("GET", "/v1/products?cursor=made-up"))
        self.give("getProduct", 404, one.ask("GET", "/v1/products/no-such"))
        self.give("placeOrder", 404, one.order(fresh(), fresh()))
        self.give("getOrder", 404, one.ask("GET", "/v1/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV"))
        self.give("getCart", 400, self.cart_asked_oddly(one))
        self.give("getCart", 404, one.ask("GET", f"/v1/carts/{fresh()}"))
        for operation, method, path in (("placeOrder", "POST", "/v1/orders"),
                                        ("putCart", "PUT", "/v1/carts/c")):
            self.give(operation, 413, one.ask(method, path, b" " * 70000, **key))
            self.give(operation, 415, one.ask(method, path, b"{}", Content_Type="text/xml"))
            self.give(operation, 415, one.ask(method, path, b"{}", Content_Encoding="gzip"))
        one.close()

    def test_what_any_request_can_be_answered_with(self):
        port, host = self.stack.port, b"Host: shop.test\r\n"
        for name, data, status in (
                ("Options", b"OPTIONS /v1/orders HTTP/1.1\r\n" + host + b"\r\n", 204),
                ("BadRequest", b"GET /v1/products HTTP/1.1\r\n" + host + host + b"\r\n", 400),
                ("NotFound", b"GET /nothing HTTP/1.1\r\n" + host + b"\r\n", 404),
                ("MethodNotAllowed", b"DELETE /v1/orders HTTP/1.1\r\n" + host + b"\r\n", 405),
                ("HeaderTooLarge",
                 b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 60000 + b"\r\n\r\n", 431),
                ("TargetTooLong", b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\n" + host + b"\r\n",
                 414),
                ("ExpectationFailed", b"GET / HTTP/1.1\r\n" + host + b"Expect: tea\r\n\r\n", 417),
                ("VersionNotSupported", b"GET / HTTP/2.0\r\n" + host + b"\r\n", 505),
                ("NotImplemented", b"PUT /v1/carts/c HTTP/1.1\r\n" + host +
                 b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
                ("NotImplemented", b"CONNECT shop.test:80 HTTP/1.1\r\n" + host + b"\r\n", 501)):
            answer = raw(port, data)
            self.assertEqual(answer.status, status, name)
            self.give(name, None, answer)

    def test_what_a_slow_or_crowded_client_can_be_answered_with(self):
        ask = b"GET /v1/products HTTP/1.1\r\nHost: shop.test\r\n"
        with Gateway(self.stack, "strict", head_timeout_ms=200, per_address_max=1) as gateway:
            self.give("RequestTimeout", None, raw(gateway.port, ask))
            with socket.create_connection(("127.0.0.1", gateway.port), 30):
                self.give("TooManyConnections", None, raw(gateway.port, ask + b"\r\n"))

    def test_who_may_not_ask_is_told(self):
        nobody = Shopper(self.stack, self.user, token="nonsense")
        self.give_all(401, nobody)
        forged = Shopper(self.stack, self.user, token="-")
        forged.token = None
        ask = forged.ask
        forged.ask = lambda *request, **headers: ask(
            *request, Cookie=f"session={self.token}", Origin="https://evil.test", **headers)
        self.give_all(403, forged)

    def test_who_asks_too_often_is_told(self):
        with Gateway(self.stack, "strict", user_rate=1, user_burst=1) as gateway:
            hasty = self.shopper(gateway)
            for operation in self.operations(hasty.ask):
                if (operation, 429) not in self.told:
                    continue
                answers = [self.operations(hasty.ask)[operation]() for _ in range(2)]
                while answers[-1].status != 429:
                    answers.append(self.operations(hasty.ask)[operation]())
                self.give(operation, 429, answers[-1])
            hasty.close()

    def test_trouble_behind_the_gateway_is_told(self):
        nowhere = f"ipc://{self.stack.state}/run/nowhere.sock"
        with Gateway(self.stack, "alone", orchestrator_addresses=nowhere, call_timeout_ms=300,
                     inventory_addresses=nowhere, place_timeout_ms=300) as gateway:
            self.give_all(503, self.shopper(gateway))

    def test_a_fault_of_ours_is_told_as_one_and_not_what_it_is(self):
        """A gateway that the services do not let in."""
        key = self.stack.base / "stranger.key"
        self.stack.ctl("key", "new", "stranger", "--out", str(key))
        changing = ("placeOrder", "putCart")
        with Gateway(self.stack, "stranger", key_file=key) as gateway:
            self.give_all(500, self.shopper(gateway), but=changing)
            health = self.shopper(gateway).ask("GET", "/healthz")
            self.give("health", 503, health)
            self.assertIn({"service": "orchestrator", "reason":
                           "it does not let this gateway in"}, health.json["services"])
            # Refused by name it is known that nothing was changed.
            public = re.search(r"^public *= *(\S+)", key.read_text(), re.MULTILINE)[1]
            self.stack.ctl("key", "allow", str(self.stack.state / "keys/orchestrator.callers"),
                           "stranger", public, "orders.v1.Orders/Nothing")
            self.stack.kill("orchestrator")
            shopper = self.shopper(gateway)
            for operation in changing:
                ask = self.operations(shopper.ask)[operation]
                self.give(operation, 500, wait_until(
                    lambda: (answer := ask()).status == 500 and answer, 60, "it is let in"))
            shopper.close()

    def test_what_is_damaged_is_told(self):
        one, cart = self.shopper(), fresh()
        self.expect(one.put_cart(cart, [("cup", 1)]), 201)
        order = self.expect(one.order(cart, cart), 201).json["order_id"]
        lines = self.stack.sql(f"SELECT lines FROM orders.orders WHERE id = '{order}'")[0][0]
        self.stack.sql(f"UPDATE orders.orders SET lines = '[]' WHERE id = '{order}'")
        answer = self.expect(one.ask("GET", f"/v1/orders/{order}"), 500, "data_loss")
        self.stack.sql(f"UPDATE orders.orders SET lines = '{lines}' WHERE id = '{order}'")
        self.give("getOrder", 500, answer)
        one.close()

    def test_an_outcome_that_is_not_known_is_told(self):
        with Gateway(self.stack, "hasty", call_timeout_ms=300, place_timeout_ms=300) as gateway:
            shopper = self.shopper(gateway)
            shopper.ask("GET", "/v1/orders")
            os.kill(pid := self.stack.pid("orchestrator"), signal.SIGSTOP)
            try:
                self.give_all(504, shopper)
            finally:
                os.kill(pid, signal.SIGCONT)

    def test_zz_every_answer_told_of_was_given(self):
        self.assertEqual(sorted(map(str, set(self.told) - set(self.given))), [])
        self.assertGreater(len(self.document.codes()), 20)
        self.assertEqual(self.document.codes() - self.codes, set())


if __name__ == "__main__":
    main()
