"""proxies.py - nginx and HAProxy, as deploy/ has them, in front of gateways of a test.

    cls.certificate, cls.key, cls.both = self_signed(cls.stack)
    proxy = Nginx(self, gateways)    # a StackTest that has these three
    shopper = TlsShopper(self.stack, proxy)
"""
import http.client
import signal
import socket
import ssl
import subprocess

from stack import REPO, Shopper, free_port, wait_until


def self_signed(stack):
    """For localhost: the files of a certificate, of its key, and of both together."""
    certificate, key, both = (stack.base / name for name in ("shop.pem", "shop.key", "both.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate, key, both


class TlsShopper(Shopper):
    """A shopper who connects by https."""

    def __init__(self, stack, proxy, *more):
        super().__init__(stack, *more)
        self.proxy = proxy

    def ask(self, *request, **headers):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                "localhost", self.proxy.port, timeout=30, context=self.proxy.context)
        return super().ask(*request, **headers)


class Proxy:
    """A proxy with the configuration of deploy/, its addresses and paths replaced."""

    def __init__(self, test, gateways):
        self.test, self.gateways = test, gateways
        self.port = free_port()
        self.folder = test.stack.state / f"{self.name}"
        self.folder.mkdir(mode=0o755, exist_ok=True)
        self.context = ssl.create_default_context(cafile=test.certificate)
        text = (REPO / self.source).read_text()
        for old, new in self.replacements():
            test.assertIn(old, text, f"{self.source} has become another")
            text = text.replace(old, new)
        self.conf = self.folder / "proxy.conf"
        self.conf.write_text(text)
        with open(test.stack.state / "log" / f"{self.name}.log", "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.command()], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        wait_until(self.accepts, 30, f"{self.name} accepts connections")

    def replacements(self):
        return [(f"127.0.0.1:{port}", f"127.0.0.1:{gateway.port}")
                for port, gateway in zip((8081, 8082), self.gateways)]

    def accepts(self):
        if self.process.poll() is not None:
            raise AssertionError(self.test.stack.log(self.name))
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Nginx(Proxy):
    name, source = "nginx", "deploy/nginx/checkout.conf"

    def replacements(self):
        return [*super().replacements(), ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
                ("/etc/ssl/certs/checkout.pem", str(self.test.certificate)),
                ("/etc/ssl/private/checkout.key", str(self.test.key))]

    def command(self):
        frame = self.folder / "nginx.conf"
        places = "".join(f"{name}_temp_path {self.folder}/{name};"
                         for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        frame.write_text(f"daemon off; pid {self.folder}/pid; error_log stderr; events {{}}"
                         f"http {{ access_log off; {places} include {self.conf}; }}")
        return ["/usr/sbin/nginx", "-p", str(self.folder), "-c", str(frame), "-e", "stderr"]


class Haproxy(Proxy):
    name, source = "haproxy", "deploy/haproxy/haproxy.cfg"

    def replacements(self):
        return [*super().replacements(), ("bind :443", f"bind 127.0.0.1:{self.port}"),
                ("/etc/ssl/private/checkout-with-key.pem", str(self.test.both))]

    def command(self):
        return ["/usr/sbin/haproxy", "-db", "-f", str(self.conf)]
