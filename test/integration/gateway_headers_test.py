"""What a request says in its header fields beside who asks: its trace, its key, its body's
type; and the id by which its way can be followed through every service's log."""
import gzip
import http.client
import contextlib
import json
import os
import signal
import threading
import uuid

import jsonschema
import yaml

from stack import REPO, SERVICES, Answer, StackTest, main, wait_until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACE = f"00-{TRACE_ID}-{PARENT}-01"


class Headers(StackTest):
    environment = {"CHECKOUT_ORCHESTRATOR_LEASE_MS": "1000",
                   "CHECKOUT_ORCHESTRATOR_RECOVER_EVERY_MS": "50"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.stack.product("rare", 1, price_cents=250)

    def setUp(self):
        self.shopper = self.stack.shopper()
        self.addCleanup(self.shopper.close)

    def send(self, method, path, fields, body=b""):
        """One request with exactly these fields, in order; names may be repeated."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        try:
            connection.putrequest(method, path)
            for name, value in [("Authorization", f"Bearer {self.shopper.token}"), *fields,
                                ("Content-Length", str(len(body)))]:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def order(self, fields=(), sku="cup", method="pm_card_visa", key=None):
        """Orders a fresh cart."""
        cart = str(uuid.uuid4())
        self.expect(self.shopper.put_cart(cart, [(sku, 1)]), 201)
        body = json.dumps({"cart_id": cart, "payment_method_id": method}).encode()
        return self.send("POST", "/v1/orders",
                         [("Idempotency-Key", key or cart), *fields], body)

    # --- traces ---

    def trace_of(self, answer):
        """The traceparent that came to the event of the order."""
        (trace,), = self.stack.sql("SELECT traceparent FROM orders.outbox WHERE order_id = "
                                   f"'{answer.json['order_id']}'")
        self.assertRegex(trace, r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
        return trace.split("-")

    def test_a_trace_goes_on_with_span_ids_of_our_own(self):
        for given in (TRACE, TRACE.replace("00", "01", 1), f"fe{TRACE[2:]}-later"):
            answer = self.expect(self.order([("traceparent", given)]), 201)
            _, trace, parent, flags = self.trace_of(answer)
            self.assertEqual((trace, flags), (TRACE_ID, "01"), given)
            self.assertNotEqual(parent, PARENT)
        answer = self.expect(self.order([("traceparent", TRACE[:-1] + "0")]), 201)
        self.assertEqual(self.trace_of(answer)[3], "00", "not sampled stays so")

    def test_a_traceparent_that_cannot_be_followed_starts_a_new_trace(self):
        for fields in ([], [("traceparent", TRACE)] * 2,
                       [("traceparent", TRACE), ("Traceparent", "00")],
                       [("traceparent", "")], [("traceparent", "nonsense")],
                       [("traceparent", TRACE.upper())], [("traceparent", "ff" + TRACE[2:])],
                       [("traceparent", TRACE + "-more")],
                       [("traceparent", f"{TRACE}, {TRACE}")],
                       [("traceparent", "x" * 4000)],
                       [("tracestate", "a=1")] * 3, [("tracestate", "=,;" * 500)]):
            answer = self.expect(self.order(fields), 201)
            self.assertNotEqual(self.trace_of(answer)[1], TRACE_ID, fields)

    # --- the request's id ---

    def follow(self, answer, services=SERVICES):
        """The lines about a request in the services' logs; each must have one."""
        needle = f"request={answer.headers['x-request-id']} "
        found = {}
        for name in services:
            def lines(name=name):
                return [line for line in self.stack.log(name).splitlines() if needle in line]

            found[name] = wait_until(lines, 30, f"{name} has {needle}in its log")
        return found

    def test_an_orders_request_id_is_in_every_services_log(self):
        answer = self.expect(self.order(), 201)
        found = self.follow(answer)
        order = answer.json["order_id"]
        self.assertTrue(any(f"order={order} outcome=completed" in line
                            for line in found["orchestrator"]), found)
        for name, method in (("inventory", "Reserve"), ("inventory", "Confirm"),
                             ("payment", "Charge"), ("orchestrator", "Place")):
            self.assertTrue(any(f"/{method} " in line and "result=ok" in line
                                for line in found[name]), (method, found))

    def test_so_is_that_of_a_request_that_fails(self):
        answer = self.expect(self.order(method="pm_card_chargeDeclined"), 402,
                             "payment_declined")
        found = self.follow(answer)
        self.assertIn("result=payment_declined", "\n".join(found["payment"]))
        self.assertIn("/Release ", "\n".join(found["inventory"]))
        self.assertRegex("\n".join(found["orchestrator"]),
                         r"(?s)event=step_failed .*outcome=payment_declined")
        self.expect(self.order(sku="rare"), 201)
        answer = self.expect(self.order(sku="rare"), 409, "out_of_stock")
        found = self.follow(answer, ("gateway", "orchestrator", "inventory"))
        self.assertIn("result=out_of_stock", "\n".join(found["inventory"]))
        answer = self.expect(self.order(method="pm_card_failOnce"), 201)
        self.assertIn("event=provider_charge_failed", "\n".join(self.follow(answer)["payment"]))

    def test_reads_and_carts_are_followed_as_well(self):
        self.follow(self.shopper.put_cart("c", [("cup", 1)]), ("gateway", "orchestrator"))
        self.follow(self.shopper.ask("GET", "/v1/products"), ("gateway", "inventory"))
        answer = self.shopper.ask("GET", f"/v1/orders/{'0' * 26}")
        found = self.follow(self.expect(answer, 404, "not_found"), ("gateway", "orchestrator"))
        self.assertIn("result=not_found", "\n".join(found["orchestrator"]))

    def test_who_takes_a_checkout_over_goes_on_with_its_trace(self):
        key = str(uuid.uuid4())
        os.kill(pid := self.stack.pid("payment"), signal.SIGSTOP)
        try:
            thread = threading.Thread(target=self.order, args=([("traceparent", TRACE)],),
                                      kwargs={"key": key})
            thread.start()
            checkout = "orders.checkouts c JOIN inventory.reservations r ON r.id = c.order_id"
            (order,), = wait_until(lambda: self.stack.sql(
                f"SELECT order_id FROM {checkout} WHERE right(c.idempotency_key, 36) = '{key}'"), 30,
                "its stock is reserved")
            self.stack.kill("orchestrator")
        finally:
            with contextlib.suppress(ProcessLookupError):  # ./up has found it meanwhile
                os.kill(pid, signal.SIGCONT)
        self.stack.kills += self.stack.pid("payment") != pid
        thread.join(60)
        wait_until(lambda: self.stack.sql("SELECT 1 FROM orders.checkouts WHERE order_id = "
                                          f"'{order}' AND state = 'completed'"), 60, "it ends")
        (request,), = self.stack.sql("SELECT request_id FROM orders.checkouts "
                                     f"WHERE order_id = '{order}'")
        self.assertIn(f"event=checkout_taken_over request={request} order={order}",
                      self.stack.log("orchestrator"))
        self.assertRegex(self.stack.log("inventory"),
                         f"request={request} order={order} method=\\S+/Confirm .* "
                         f"trace=00-{TRACE_ID}-")

    # --- the body's type ---

    def test_json_is_read_whatever_its_types_parameters(self):
        for kind in ("application/json", "application/json; version=1; charset=UTF-8",
                     'Application/JSON;charset="utf-8";x="a;charset=latin1"',
                     "text/plain;charset=UTF-8", "application/json;"):
            answer = self.send("PUT", f"/v1/carts/{uuid.uuid4()}", [("Content-Type", kind)],
                               b'{"lines":[]}')
            self.expect(answer, 201)
        for kind in ("application/json; charset=latin1", "text/plain; charset=utf-16",
                     "application/json; charset=utf-8; charset=utf-8", "text/html", "json"):
            answer = self.send("PUT", "/v1/carts/c", [("Content-Type", kind)],
                               b'{"lines":[]}')
            self.expect(answer, 415, "unsupported_media_type")
            self.assertNotIn("accept-encoding", answer.headers)

    def test_a_compressed_body_is_refused_as_that(self):
        body = gzip.compress(b'{"lines":[]}')
        for coding in ("gzip", "br", "identity, gzip"):
            answer = self.send("PUT", "/v1/carts/c", [
                ("Content-Type", "application/json"), ("Content-Encoding", coding)], body)
            self.expect(answer, 415, "unsupported_media_type")
            self.assertEqual(answer.headers["accept-encoding"], "identity")
            self.assertIn("identity", answer.json["detail"])
        self.expect(self.send("PUT", f"/v1/carts/{uuid.uuid4()}", [
            ("Content-Encoding", "identity")], b'{"lines":[]}'), 201)

    # --- keys ---

    def test_the_longest_key_fits_in_quotes_and_in_the_document(self):
        quoted = '"' + '\\"' * 255 + '"'
        document = yaml.safe_load((REPO / "gateway" / "openapi.yaml").read_text())
        schema = document["components"]["parameters"]["Key"]["schema"]
        jsonschema.Draft202012Validator(schema).validate(quoted)
        self.expect(self.order(key=quoted), 201)
        for key in ('"unfinished', '"good-key";a=1', '"key-one-1", "key-two-2"',
                    '"bad\\escape"', '"tab\there"', "'single quotes have a blank'"):
            self.expect(self.order(key=key), 400, "invalid_argument")

    def test_the_documents_text_plain_bodies_are_texts(self):
        document = yaml.safe_load((REPO / "gateway" / "openapi.yaml").read_text())
        for path, method in (("/v1/orders", "post"), ("/v1/carts/{cart_id}", "put")):
            content = document["paths"][path][method]["requestBody"]["content"]
            jsonschema.Draft202012Validator(content["text/plain"]["schema"]).validate(
                '{"lines":[]}')


if __name__ == "__main__":
    main()
