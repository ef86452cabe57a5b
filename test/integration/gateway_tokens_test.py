"""Whose tokens are let in, and as whom: key sets, and a real OpenID provider."""
import base64
import fcntl
import hashlib
import hmac
import html
import http.client
import json
import re
import secrets
import shutil
import subprocess
import time
import urllib.parse
import uuid

from edge import Gateway, KeyServer
from stack import REPO, StackTest, free_port, main, wait_until

OIDC = REPO / "test" / "oidc"
NAMESPACE = "5f0c8f6e-0f2a-4c57-9a53-4d8f5c9b8a11"


def encode(value):
    """base64url of bytes, or of a value as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs by HS256: keys are by kid, and a key set is made of those that are left."""

    def __init__(self, *kids):
        self.keys = {kid: secrets.token_bytes(32) for kid in kids}

    def document(self, *odd):
        good = [{"kty": "oct", "kid": kid, "k": encode(key)} for kid, key in self.keys.items()]
        return json.dumps({"keys": [*odd, *good]}).encode()

    def token(self, kid, **claims):
        claims = {"iss": "checkout-development", "aud": "checkout", "exp": time.time() + 600,
                  **claims}
        signed = f"{encode({'alg': 'HS256', 'kid': kid})}.{encode(claims)}"
        mac = hmac.new(self.keys[kid], signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{encode(mac)}"


def install_modules():
    """Brings node_modules (git-ignored) to what package-lock.json says, when it is not."""
    stamp, lock = OIDC / "node_modules" / ".installed", OIDC / "package-lock.json"
    with open(OIDC / "package.json", encoding="utf-8") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
            return
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=OIDC,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"npm ci failed in {OIDC}: {done.stderr[-2000:]}")
        shutil.copy(lock, stamp)


class Provider:
    """npm's oidc-provider as a process, with keys of its own for each start."""

    def __init__(self, folder):
        self.port, self.log_file = free_port(), folder / "provider.log"
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "node", str(OIDC / "provider.mjs"),
                 str(self.port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def listens():
            said = self.log_file.read_text()
            if self.process.poll() is not None:
                raise AssertionError(f"the provider ended: {said}")
            return "listening\n" in said

        wait_until(listens, 60, "the provider listens")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None


class Browser:
    """One person at the provider: its cookies, its forms."""

    def __init__(self, provider):
        self.provider, self.cookies = provider, {}

    def ask(self, method, url, form=None):
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(self.provider.issuer, url))
        connection = http.client.HTTPConnection("127.0.0.1", self.provider.port, timeout=30)
        headers = {"Cookie": "; ".join(f"{n}={v}" for n, v in self.cookies.items())}
        body = None if form is None else urllib.parse.urlencode(form)
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, parts._replace(scheme="", netloc="", fragment="").geturl(),
                           body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        for cookie in response.headers.get_all("Set-Cookie", ()):
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        connection.close()
        return response.status, response.headers.get("Location"), text

    def follow(self, method, url, form=None):
        """Until a page, or until the shop is sent to: (its address, None) or (None, page)."""
        for _ in range(10):
            status, location, text = self.ask(method, url, form)
            if status not in (302, 303):
                return None, text
            if location.startswith("http://127.0.0.1/done"):
                return location, None
            method, url, form = "GET", location, None
        raise AssertionError("redirected without an end")

    def log_in(self, name, algorithm):
        """The authorization code flow with PKCE (RFC 6749, 7636); an access token."""
        verifier = secrets.token_urlsafe(32)
        challenge = encode(hashlib.sha256(verifier.encode()).digest())
        query = {"client_id": "shop", "response_type": "code", "scope": "openid order",
                 "redirect_uri": "http://127.0.0.1/done", "code_challenge": challenge,
                 "code_challenge_method": "S256", "resource": f"urn:shop:{algorithm}"}
        done, page = self.follow("GET", "/auth?" + urllib.parse.urlencode(query))
        while done is None:
            action = re.search(r'<form[^>]* action="([^"]+)"', page)
            prompt = re.search(r'name="prompt" value="(\w+)"', page)
            if action is None or prompt is None:
                raise AssertionError(f"no form in {page}")
            done, page = self.follow("POST", html.unescape(action[1]), {
                "prompt": prompt[1], "login": name, "password": "any"})
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(done).query)["code"][0]
        status, _, text = self.ask("POST", "/token", {
            "grant_type": "authorization_code", "code": code, "code_verifier": verifier,
            "redirect_uri": "http://127.0.0.1/done", "client_id": "shop",
            "client_secret": "a secret of this test alone"})
        if status != 200:
            raise AssertionError(f"no token: {status} {text}")
        return json.loads(text)["access_token"]


class Tokens(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000, price_cents=250)

    def gateway(self, name, **settings):
        gateway = Gateway(self.stack, name, **{"jwks_every_ms": 50, **settings})
        self.addCleanup(gateway.stop)
        return gateway.start()

    def served(self, document):
        server = KeyServer(document)
        self.addCleanup(server.stop)
        return server

    def is_let_in(self, gateway, token):
        shopper = gateway.shopper("-", token)
        try:
            answer = shopper.ask("GET", "/v1/orders")
        finally:
            shopper.close()
        self.assertIn(answer.status, (200, 401), repr(answer))
        return answer.status == 200

    def health(self, gateway):
        shopper = gateway.shopper("-", "-")
        try:
            answer = shopper.ask("GET", "/healthz")
        finally:
            shopper.close()
        self.assertEqual(answer.status, 200, repr(answer))
        return answer.json

    def place(self, gateway, token):
        """One order with that token; the user it is of."""
        shopper = gateway.shopper("-", token)
        self.addCleanup(shopper.close)
        cart = str(uuid.uuid4())
        self.expect(shopper.put_cart(cart, [("cup", 1)]), 201)
        placed = self.expect(shopper.order(cart, str(uuid.uuid4())), 201)
        self.expect(shopper.ask("GET", placed.headers["location"]), 200)
        listed = self.expect(shopper.ask("GET", "/v1/orders"), 200)
        self.assertIn(placed.json["order_id"], listed.body.decode())
        return self.stack.sql("SELECT user_id FROM orders.orders WHERE id = "
                              f"'{placed.json['order_id']}'")[0][0]

    # --- key sets ---

    def test_an_odd_key_does_not_keep_a_withdrawn_one_alive(self):
        issuer, user = Issuer("first", "second"), str(uuid.uuid4())
        first, second = issuer.token("first", sub=user), issuer.token("second", sub=user)
        server = self.served(issuer.document())
        gateway = self.gateway("withdrawing", jwks_file="", jwks_url=server.url)
        self.assertTrue(self.is_let_in(gateway, first))
        self.assertTrue(self.is_let_in(gateway, second))
        del issuer.keys["first"]
        server.document = issuer.document({"kty": "RSA", "kid": "small", "n": "AQ", "e": "AQAB"},
                                          {"kty": "OKP", "kid": "wraps", "crv": "X25519"})
        wait_until(lambda: not self.is_let_in(gateway, first), 30, "the first key is withdrawn")
        self.assertTrue(self.is_let_in(gateway, second))
        asked = server.asked
        wait_until(lambda: server.asked > asked + 3, 30, "it is looked at again")
        warnings = re.findall(".*event=key_ignored.*", gateway.log())
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("key 1 kid=small: its n is of 1 bits", warnings[0])
        self.assertIn("key 2 kid=wraps: its crv 'X25519' is not Ed25519", warnings[0])

    def test_a_set_without_a_usable_key_is_told_of_once(self):
        issuer, user = Issuer("first"), str(uuid.uuid4())
        token = issuer.token("first", sub=user)
        server = self.served(issuer.document())
        gateway = self.gateway("useless", jwks_file="", jwks_url=server.url)
        server.document = b'{"keys":[{"kty":"AKP","kid":"odd"}]}'
        wait_until(lambda: "event=keys_reload_failed" in gateway.log(), 30, "it is seen")
        asked = server.asked
        wait_until(lambda: server.asked > asked + 3, 30, "it is looked at again")
        self.assertEqual(gateway.log().count("event=key_ignored"), 1)
        self.assertEqual(gateway.log().count("event=keys_reload_failed"), 1)
        self.assertTrue(self.is_let_in(gateway, token))

    def test_the_body_of_a_redirection_is_no_key_set(self):
        issuer, other, user = Issuer("first"), Issuer("other"), str(uuid.uuid4())
        server = self.served(issuer.document())
        gateway = self.gateway("redirected", jwks_file="", jwks_url=server.url)
        server.document, server.status = other.document(), 302
        wait_until(lambda: "redirections are not followed" in gateway.log(), 30, "it is told")
        self.assertFalse(self.is_let_in(gateway, other.token("other", sub=user)))
        self.assertTrue(self.is_let_in(gateway, issuer.token("first", sub=user)))

    def test_keys_that_are_not_refreshed_are_an_alarm(self):
        issuer, user = Issuer("first"), str(uuid.uuid4())
        token = issuer.token("first", sub=user)
        server = self.served(issuer.document())
        gateway = self.gateway("stale", jwks_file="", jwks_url=server.url, jwks_stale_ms=300)
        self.assertEqual(self.health(gateway), {"status": "serving"})
        for gone in (None, b'{"keys":[]}'):
            server.document = gone
            alarms = gateway.log().count("event=keys_stale")
            wait_until(lambda: gateway.log().count("event=keys_stale") > alarms, 30, "an alarm")
            self.assertEqual(self.health(gateway),
                             {"status": "serving", "warnings": ["token_keys_stale"]})
            self.assertTrue(self.is_let_in(gateway, token))
            asked = server.asked
            wait_until(lambda: server.asked > asked + 3, 30, "it is looked at again")
            self.assertEqual(gateway.log().count("event=keys_stale"), alarms + 1)
            server.document = issuer.document()
            wait_until(lambda: gateway.log().count("event=keys_refreshed") > alarms, 30, "its end")
            self.assertEqual(self.health(gateway), {"status": "serving"})
        alarm = re.search(".*event=keys_stale.*", gateway.log())[0]
        self.assertIn("level=error", alarm)
        self.assertIn(server.url, alarm)

    def test_the_age_of_the_keys_is_a_metric(self):
        read = json.loads(self.stack.ctl(
            "call", "rpc.v1.Metrics/Read", '{"prefix": "jwks_age_ms"}', "--service", "gateway",
            "--json"))
        self.assertEqual([metric["name"] for metric in read["metrics"]], ["jwks_age_ms"])

    def test_settings_that_cannot_work_are_refused_at_the_start(self):
        for settings, said in (({"jwks_stale_ms": 50}, "jwks_stale_ms"),
                               ({"user_claim": ""}, "user_claim"),
                               ({"user_namespace": "shop.example"}, "user_namespace"),
                               ({"jwks_file": "", "jwks_url": "http://localhost:80@id.example/"},
                                "name or password"),
                               ({"jwks_file": "", "jwks_url": "https://a:secret-b@id.example/"},
                                "name or password"),
                               ({"jwks_file": "", "jwks_url": "id.example secret-b"},
                                "not a URL")):
            gateway = Gateway(self.stack, "refused", **{"jwks_every_ms": 50, **settings})
            with self.assertRaisesRegex(AssertionError, "event=start_failed") as refused:
                gateway.start()
            self.assertIn(said, str(refused.exception))
            self.assertNotIn("secret-b", str(refused.exception))
            gateway.log_file.unlink()

    # --- users ---

    def test_a_name_that_is_no_uuid_orders_as_its_uuid(self):
        issuer = Issuer("k")
        document = self.stack.base / "names.json"
        document.write_bytes(issuer.document())
        gateway = self.gateway("mapping", jwks_file=document, user_namespace=NAMESPACE)
        for name in ("auth0|507f1f77bcf86cd799439011", "ann@shop.example"):
            expected = str(uuid.uuid5(uuid.UUID(NAMESPACE), name))
            self.assertEqual(self.place(gateway, issuer.token("k", sub=name)), expected)
            # Who calls itself that UUID is not that user.
            self.assertFalse(self.is_let_in(gateway, issuer.token("k", sub=expected)))
        plain = str(uuid.uuid4())
        self.assertEqual(self.place(gateway, issuer.token("k", sub=plain)), plain)

    def test_without_a_namespace_the_log_says_what_is_missing(self):
        issuer = Issuer("k")
        document = self.stack.base / "plain.json"
        document.write_bytes(issuer.document())
        gateway = self.gateway("plain", jwks_file=document)
        self.assertFalse(self.is_let_in(gateway, issuer.token("k", sub="auth0|1")))
        wait_until(lambda: "sub is not a UUID in lower case, and there is no user_namespace"
                   in gateway.log(), 10, "the reason is logged")

    def test_a_token_may_have_8_kb_or_what_is_set(self):
        issuer, user = Issuer("k"), str(uuid.uuid4())
        document = self.stack.base / "long.json"
        document.write_bytes(issuer.document())
        token = issuer.token("k", sub=user, groups="x" * 5500)
        self.assertTrue(7000 < len(token) < 8192)
        self.assertTrue(self.is_let_in(self.gateway("roomy", jwks_file=document), token))
        tight = self.gateway("tight", jwks_file=document, token_bytes_max=len(token) - 1)
        self.assertFalse(self.is_let_in(tight, token))
        wait_until(lambda: f"the token is longer than {len(token) - 1} bytes" in tight.log(),
                   10, "the reason is logged")

    # --- a real provider ---

    def test_tokens_of_a_real_provider_order_and_read(self):
        install_modules()
        provider = Provider(self.stack.base)
        self.addCleanup(provider.stop)
        provider.start()
        gateway = self.gateway("federated", jwks_file="", jwks_url=provider.issuer + "/jwks",
                               jwt_issuer=provider.issuer, user_namespace=NAMESPACE)
        self.assertRegex(gateway.log(), r"ignored=2 .*kid=wide-\d+: its crv 'P-384'"
                                        r".*kid=wraps-\d+: its use 'enc'")
        old = None
        for algorithm in ("RS256", "ES256", "EdDSA"):
            name = f"auth0|{algorithm}"
            old = Browser(provider).log_in(name, algorithm)
            self.assertEqual(self.place(gateway, old),
                             str(uuid.uuid5(uuid.UUID(NAMESPACE), name)))
        # It comes back with other keys: what the old ones signed is over.
        provider.stop()
        provider.start()
        wait_until(lambda: not self.is_let_in(gateway, old), 30, "the old keys are withdrawn")
        self.place(gateway, Browser(provider).log_in("auth0|RS256", "RS256"))


if __name__ == "__main__":
    main()
