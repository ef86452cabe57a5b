"""What a storefront's operator relies on: keys that change, TLS, cookies, logs."""
import http.client
import json
import re
import socket
import ssl
import subprocess
import uuid

from edge import Gateway, KeyServer
from stack import CTL, Answer, StackTest, main, wait_until


def fresh():
    return str(uuid.uuid4())


class Edge(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)
        cls.user = fresh()
        cls.keys = cls.stack.state / "keys"

    def issuer(self, name):
        """A new issuer's key; its public half as a JWKS document."""
        jwks = self.stack.base / f"{name}.json"
        self.stack.ctl("key", "issuer", "--out", str(self.stack.base / f"{name}.key"),
                       "--jwks", str(jwks))
        return jwks.read_bytes()

    def token_of(self, name):
        key = {"CHECKOUT_CHECKOUTCTL_JWT_KEY_FILE": str(self.stack.base / f"{name}.key")}
        return subprocess.run(
            [CTL, "--state", self.stack.state, "token", "--user", self.user], check=True,
            env={**self.stack._environ(), **key}, capture_output=True, text=True).stdout.strip()

    def is_let_in(self, gateway, token):
        shopper = gateway.shopper(self.user, token)
        answer = shopper.ask("GET", "/v1/orders")
        shopper.close()
        self.assertIn(answer.status, (200, 401), repr(answer))
        return answer.status == 200

    def becomes(self, gateway, token, let_in, what):
        wait_until(lambda: self.is_let_in(gateway, token) == let_in, 30, what)

    def does_not_start(self, **settings):
        """It ends by itself and says why."""
        gateway = Gateway(self.stack, "refused", **settings)
        with self.assertRaisesRegex(AssertionError, "event=start_failed"):
            gateway.start()
        # nng may not have freed yet what was closed right after it was opened.
        gateway.log_file.unlink()

    # --- keys ---

    def test_keys_change_with_their_file_and_a_bad_one_changes_nothing(self):
        first, second = self.issuer("first"), self.issuer("second")
        old, new = self.token_of("first"), self.token_of("second")
        document = self.stack.base / "served.json"
        document.write_bytes(first)
        with Gateway(self.stack, "rotating", jwks_file=document, jwks_every_ms=50) as gateway:
            self.assertTrue(self.is_let_in(gateway, old))
            self.assertFalse(self.is_let_in(gateway, new))
            for bad in (b"", b"{", b'{"keys":[]}', first[: len(first) // 2]):
                said = gateway.log().count("event=keys_reload_failed")
                document.write_bytes(bad)
                wait_until(lambda: gateway.log().count("event=keys_reload_failed") > said, 30,
                           "the bad keys are seen")
                self.assertTrue(self.is_let_in(gateway, old))
                document.write_bytes(first)
                self.settle(gateway, document)
            document.write_bytes(second)
            self.becomes(gateway, new, True, "the new key counts")
            self.assertFalse(self.is_let_in(gateway, old))
            document.unlink()
            wait_until(lambda: "cannot open" in gateway.log(), 30, "the loss is seen")
            self.assertTrue(self.is_let_in(gateway, new))

    def settle(self, gateway, document):
        """Until a change has been taken, so that the next warning is a new one."""
        taken = gateway.log().count("event=keys_loaded")
        keys = json.loads(document.read_bytes())
        document.write_text(json.dumps({**keys, "nonce": fresh()}))
        wait_until(lambda: gateway.log().count("event=keys_loaded") > taken, 30, "they are taken")

    def test_keys_come_from_a_url_that_may_go_away(self):
        server = KeyServer(self.issuer("first"))
        self.addCleanup(server.stop)
        with Gateway(self.stack, "fetching", jwks_file="", jwks_url=server.url,
                     jwks_every_ms=50) as gateway:
            old = self.token_of("first")
            self.assertTrue(self.is_let_in(gateway, old))
            for gone in (b"", b"x" * 300000):
                asked, server.document = server.asked, gone
                wait_until(lambda: server.asked > asked + 2, 30, "it is asked in vain")
                self.assertTrue(self.is_let_in(gateway, old))
            server.document = self.issuer("second")
            self.becomes(gateway, self.token_of("second"), True, "the new key counts")
            self.assertFalse(self.is_let_in(gateway, old))

    def test_without_any_keys_it_does_not_start(self):
        nowhere = self.stack.base / "nowhere.json"
        for settings in ({"jwks_file": nowhere}, {"jwks_file": ""},
                         {"jwks_file": "", "jwks_url": "http://id.example/jwks"}):
            self.does_not_start(**settings)

    def test_all_bad_tokens_get_one_answer_and_the_log_the_reason(self):
        good = self.stack.token(self.user)
        head, claims, signature = good.split(".")
        bodies = set()
        for token, reason in ((good[:-4] + "AAAA", "the signature is wrong"),
                              (f"{head}.{claims}", "the token has not three parts"),
                              ("x" * 9000, "the token is longer than 8192 bytes"),
                              (f"{head}.{claims}.{signature}=", "the signature is not")):
            shopper = self.stack.shopper(self.user, token=token)

            def told():
                """Asks once more: one line a second is written."""
                answer = self.expect(shopper.ask("GET", "/v1/orders"), 401, "unauthenticated")
                bodies.add((answer.body, answer.headers["www-authenticate"]))
                return re.search(f".*event=refused.*{answer.headers['x-request-id']}.*",
                                 self.stack.log("gateway"))

            line = wait_until(told, 10, "it is logged")
            self.assertIn(reason, line[0])
            self.assertNotIn(token, self.stack.log("gateway"))
            shopper.close()
        self.assertEqual(len(bodies), 1)

    # --- browsers ---

    def test_the_storefronts_fetch_works_with_its_session_cookie_alone(self):
        """fetch('/v1/orders', {method:'POST', headers:{'Idempotency-Key': key}, body})"""
        token = self.stack.token(self.user)
        bearer = self.stack.shopper(self.user, token=token)
        cart, key = fresh(), fresh()
        bearer.put_cart(cart, [("cup", 1)])
        body = json.dumps({"cart_id": cart, "payment_method_id": "pm_card_visa"})
        host = f"localhost:{self.stack.port}"
        for name, host, origin, type_, status in (
                ("session", host, "https://evil.example", None, 403),
                ("session", host, None, None, 403),
                ("other", host, f"http://{host}", None, 401),
                ("session", host, f"http://{host}", "text/plain;charset=UTF-8", 201),
                ("session", host, f"http://{host}", None, 201)):
            connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=30)
            connection.putrequest("POST", "/v1/orders", skip_host=True,
                                  skip_accept_encoding=True)
            headers = {"Host": host, "Cookie": f"{name}={token}", "Idempotency-Key": key,
                       "Content-Length": len(body), "Origin": origin, "Content-Type": type_}
            for header, value in headers.items():
                if value is not None:
                    connection.putheader(header, value)
            connection.endheaders(body.encode())
            response = connection.getresponse()
            answer = Answer(response, response.read())
            self.assertEqual(answer.status, status, repr(answer))
            connection.close()
        self.assertTrue(answer.replayed)
        bearer.close()

    def test_the_cookies_name_is_a_setting(self):
        with Gateway(self.stack, "named", session_cookie="__Host-shop") as gateway:
            shopper = gateway.shopper(self.user, self.stack.token(self.user))
            token, shopper.token = shopper.token, None
            self.assertEqual(shopper.ask("GET", "/v1/orders",
                                         Cookie=f"__Host-shop={token}").status, 200)
            self.assertEqual(shopper.ask("GET", "/v1/orders",
                                         Cookie=f"session={token}").status, 401)
            shopper.close()

    # --- whose it is ---

    def test_another_users_orders_and_carts_are_not_there(self):
        one, other = self.stack.shopper(), self.stack.shopper()
        carts = [fresh(), fresh()]
        for cart in carts:
            one.put_cart(cart, [("cup", 1)])
            placed = self.expect(one.order(cart, cart), 201)
        self.expect(other.ask("GET", f"/v1/carts/{cart}"), 404, "not_found")
        self.expect(other.ask("GET", placed.headers["location"]), 404, "not_found")
        self.expect(other.order(cart, fresh()), 404, "not_found")
        cursor = one.ask("GET", "/v1/orders?limit=1").json["next_cursor"]
        self.expect(other.ask("GET", f"/v1/orders?cursor={cursor}"), 400, "invalid_argument")
        for bad in (cursor[:-2], cursor + "AA", cursor[::-1], "e30", "x" * 300):
            self.expect(one.ask("GET", f"/v1/orders?cursor={bad}"), 400, "invalid_argument")
        for shopper in (one, other):
            shopper.close()

    # --- TLS ---

    def certificate(self, name):
        cert, key = (self.stack.base / f"{name}.{part}" for part in ("pem", "key.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
            check=True, capture_output=True)
        return cert, key

    def ask_tls(self, gateway, context, path="/v1/products"):
        connection = http.client.HTTPSConnection("localhost", gateway.port, timeout=30,
                                                 context=context)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response, response.read()), connection.sock.version()
        finally:
            connection.close()

    def tls_status(self, gateway, context, lines):
        """Of a request with exactly these header lines."""
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as plain, \
                context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(b"GET /v1/products HTTP/1.1\r\n" + lines + b"\r\n")
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status

    def test_tls_by_certificate_files(self):
        cert, key = self.certificate("shop")
        _, another = self.certificate("another")
        context = ssl.create_default_context(cafile=cert)
        with Gateway(self.stack, "secure", tls_cert_file=cert, tls_key_file=key,
                     idle_timeout_ms=2000) as gateway:
            answer, version = self.ask_tls(gateway, context)
            self.assertEqual((answer.status, version), (200, "TLSv1.3"))
            self.assertEqual(answer.headers["strict-transport-security"], "max-age=31536000")
            self.assertEqual(self.tls_status(gateway, context, b"Host: localhost\r\n"), 200)
            host = b"Host: localhost"
            for nul in (host + b"\0\n", host + b"\r\n\0\n", b"\0" + host + b"\r\n"):
                self.assertEqual(self.tls_status(gateway, context, nul), 400)
            old = ssl.create_default_context(cafile=cert)
            with self.assertWarns(DeprecationWarning):
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            old.set_ciphers("ALL:@SECLEVEL=0")
            with self.assertRaises(OSError):
                self.ask_tls(gateway, old)
            plain = gateway.shopper(self.user, "none")
            answer = self.expect(plain.ask("GET", "/v1/products"), 400, "invalid_argument")
            self.assertIn("use https", answer.json["detail"])
            self.assertEqual(self.ask_tls(gateway, context)[0].status, 200)
        for settings in ({"tls_key_file": another}, {"tls_key_file": ""}):
            self.does_not_start(tls_cert_file=cert, **settings)

    def shows(self, gateway, certificate):
        """Whether a new connection is shown that certificate."""
        context = ssl.create_default_context(cafile=certificate)
        try:
            return self.ask_tls(gateway, context)[0].status == 200
        except ssl.SSLCertVerificationError:
            return False

    def test_a_renewed_certificate_is_shown_without_a_restart_and_a_bad_one_is_not(self):
        (first, first_key), (second, second_key) = map(self.certificate, ("first", "second"))
        served, key = (self.stack.base / f"served.{part}" for part in ("pem", "key.pem"))
        served.write_bytes(first.read_bytes())
        key.write_bytes(first_key.read_bytes())
        with Gateway(self.stack, "renewed", tls_cert_file=served, tls_key_file=key) as gateway:
            self.assertTrue(self.shows(gateway, first))
            stays = http.client.HTTPSConnection(
                "localhost", gateway.port, timeout=30,
                context=ssl.create_default_context(cafile=first))
            stays.connect()
            key.write_bytes(second_key.read_bytes())
            served.write_bytes(second.read_bytes())
            wait_until(lambda: self.shows(gateway, second), 30, "the new certificate is shown")
            self.assertFalse(self.shows(gateway, first))
            stays.request("GET", "/v1/products")
            self.assertEqual(stays.getresponse().status, 200)
            stays.close()
            event = "event=http_certificate_reload_failed"
            for bad, reason in ((b"", "not a PEM certificate"),
                                (second.read_bytes()[:-100], "not a PEM certificate"),
                                (first.read_bytes(), "is not the certificate's")):
                said = gateway.log().count(event)
                served.write_bytes(bad)
                wait_until(lambda: gateway.log().count(event) > said, 30,
                           "the bad one is seen")
                self.assertIn(reason, gateway.log().rsplit(event, 1)[1])
                self.assertTrue(self.shows(gateway, second))
            key.unlink()
            wait_until(lambda: "cannot open" in gateway.log(), 30, "the loss is seen")
            self.assertTrue(self.shows(gateway, second))

    # --- a crowd ---

    def test_a_crowd_that_asks_in_one_moment_is_answered(self):
        """128 and 256, which is as many events as the loop takes at a time."""
        ask = b"OPTIONS /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with Gateway(self.stack, "crowd") as gateway:
            crowd = []
            for size in (128, 256):
                while len(crowd) < size:
                    crowd.append(socket.create_connection(("127.0.0.1", gateway.port), 30))
                    crowd[-1].sendall(ask)
                    self.assertIn(b" 204 ", crowd[-1].recv(4096))
                with gateway.frozen():
                    for one in crowd:
                        one.sendall(ask)
                for one in crowd:
                    self.assertIn(b" 204 ", one.recv(4096))
            for one in crowd:
                one.close()

    # --- for operators ---

    def counted(self):
        """What the stack's gateway counts: {name: {label values: value}}."""
        read = json.loads(self.stack.ctl(
            "call", "rpc.v1.Metrics/Read", '{"prefix": "http_server_"}', "--service", "gateway",
            "--json"))
        found = {}
        for metric in read["metrics"]:
            labels = tuple(label["value"] for label in metric.get("labels", []))
            found.setdefault(metric["name"], {})[labels] = int(metric.get("value", 0))
        return found

    def test_requests_are_counted_by_route_and_status_and_none_stays_in_flight(self):
        before = self.counted().get("http_server_calls", {})
        shopper = self.stack.shopper(self.user)
        for method, path, status in (("GET", "/v1/orders", 200), ("GET", "/v1/orders", 200),
                                     ("GET", "/v1/orders?limit=0", 400), ("GET", "/none", 404),
                                     ("DELETE", "/v1/orders", 405), ("GET", "/v1/products", 200)):
            self.assertEqual(shopper.ask(method, path).status, status)
        shopper.close()
        after = self.counted()
        more = {labels: count - before.get(labels, 0)
                for labels, count in after["http_server_calls"].items()}
        self.assertEqual({labels: count for labels, count in more.items() if count},
                         {("list_orders", "2xx"): 2, ("list_orders", "4xx"): 1,
                          ("none", "4xx"): 2, ("list_products", "2xx"): 1})
        wait_until(lambda: not any(self.counted().get("http_server_in_flight", {}).values()), 10,
                   "none is in flight")

    def health_of(self, gateway):
        public = re.search(r"^public *= *(\S+)", (self.keys / "gateway.key").read_text(),
                           re.MULTILINE)[1]
        return json.loads(self.stack.ctl(
            "call", "rpc.v1.Health/Check", "{}", "--url",
            f"ipc://{self.stack.state}/run/{gateway.name}.sock", "--service-key", public, "--json"))

    def test_a_gateway_without_an_orchestrator_says_that_it_does_not_serve(self):
        nowhere = f"ipc://{self.stack.state}/run/nowhere.sock"
        with Gateway(self.stack, "lonely", orchestrator_addresses=nowhere) as gateway:
            said = self.health_of(gateway)
            self.assertEqual((said["status"], said["detail"]),
                             ("NOT_SERVING", "no connection to the orchestrator"))
        with Gateway(self.stack, "joined") as gateway:
            wait_until(lambda: self.health_of(gateway)["status"] == "SERVING", 30, "it serves")

    # --- logs ---

    def test_each_request_has_an_access_line_with_its_id(self):
        shopper = self.stack.shopper(self.user)
        answer = shopper.ask("GET", "/v1/orders?limit=5")
        line = wait_until(lambda: re.search(
            f"event=access request={answer.headers['x-request-id']} .*", self.stack.log("gateway")),
            10, "it is logged")[0]
        self.assertRegex(line, r'method=GET status=200 ms=\d+ path=/v1/orders$')
        self.assertNotIn(shopper.token, self.stack.log("gateway"))
        shopper.close()


if __name__ == "__main__":
    main()
