"""baseline.py - what we are measured against: PostgreSQL's own statements, nginx, gRPC C++.

pgbench runs the four statements of a checkout, each a transaction of its own, in a cluster
of the same settings, schema and catalogue (an idle stack's):

    claim       insert the checkout
    reserve     lock the SKUs in order, deduct them, insert the reservation
    charge      insert the charge
    complete    finish the checkout, insert order and event

It does less than a checkout: it verifies no token, reads no cart (its snapshot is written
down in the statement), asks no card provider, confirms nothing, compensates nothing.
"""
import json
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from machine import children
from shop import BUILD, HOT, SKUS, USERS, free_port, wait_until

CLIENTS = (8, 16, 32, 64)
PGBENCH = max(Path("/usr/lib/postgresql").glob("*/bin/pgbench"),  # the newest, as ./up has it
              key=lambda path: int(path.parts[-3]), default="pgbench")

DRAW = {
    False: rf"""
\set a random(1, {SKUS})
\set step random(0, {SKUS} - 2)
\set b 1 + (:a + :step) % {SKUS}""",
    True: "",
}
SKU_LIST = {False: "'sku-' || :a, 'sku-' || :b", True: f"'{HOT}'"}

STATEMENTS = r"""
\set n random(1, 4000000000000000000)
\set user random(1, {users}){draw}
INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,
        payment_method_id, fingerprint, cart, owner, lease_until)
    VALUES ('bench-' || :n::text,
            '00000000-0000-4000-8000-' || lpad(:user::text, 12, '0') || ' key-' || :n::text,
            ('00000000-0000-4000-8000-' || lpad(:user::text, 12, '0'))::uuid,
            'cart-' || :n::text, 'pm_card_visa', sha256(:n::text::bytea),
            '[{{"sku": "sku-1", "quantity": 1}}, {{"sku": "sku-2", "quantity": 1}}]', 'bench',
            now() + interval '1 day');
WITH locked AS (
    SELECT sku FROM inventory.stock WHERE sku = ANY (ARRAY[{skus}]) ORDER BY sku FOR UPDATE
), deducted AS (
    UPDATE inventory.stock s SET available = available - 1, sold = sold + 1
    FROM locked l JOIN inventory.products p USING (sku)
    WHERE s.sku = l.sku RETURNING s.sku, p.price_cents
)
INSERT INTO inventory.reservations (id, state, skus, quantities, unit_prices_cents,
        total_cents, currency, expires_at)
    SELECT 'bench-' || :n::text, 'confirmed', array_agg(sku), array_agg(1::bigint),
           array_agg(price_cents), sum(price_cents), 'EUR', now() + interval '15 min'
    FROM deducted;
INSERT INTO payment.charges (id, state, user_id, method_id, provider_token, amount_cents,
        currency, provider_charge_id, settled_at)
    VALUES ('bench-' || :n::text, 'captured',
            ('00000000-0000-4000-8000-' || lpad(:user::text, 12, '0'))::uuid,
            'pm_card_visa', 'pm_card_visa', 1000, 'EUR', 'ch-' || :n::text, now());
WITH done AS (
    UPDATE orders.checkouts SET state = 'completed', finished_at = now()
    WHERE order_id = 'bench-' || :n::text AND state = 'running'
    RETURNING order_id, user_id, idempotency_key, cart_id, cart
), placed AS (
    INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency, cart_id,
                               reservation_id, charge_id, lines)
    SELECT order_id, user_id, 1000, idempotency_key, 'EUR', cart_id, order_id, order_id, cart
    FROM done
)
INSERT INTO orders.outbox (order_id, sequence, type, payload)
    SELECT order_id, 1, 'order.created',
           jsonb_build_object('order_id', order_id, 'user_id', user_id, 'total_cents', 1000,
                              'currency', 'EUR', 'lines', cart)
    FROM done;
"""


class Pgbench:
    """The four statements, in the cluster of `stack`."""

    def __init__(self, stack):
        self.stack = stack
        self.scripts = {}
        for hot in (False, True):
            path = stack.base / f"pgbench-{'hot' if hot else 'spread'}.sql"
            path.write_text(STATEMENTS.format(users=USERS, draw=DRAW[hot],
                                              skus=SKU_LIST[hot]))
            self.scripts[hot] = path

    def run(self, clients, seconds, hot=False):
        """{"rate": orders/s, "p50_ms": of one order}"""
        with tempfile.TemporaryDirectory(dir=self.stack.base) as folder:
            done = subprocess.run(
                [PGBENCH, "-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T",
                 str(max(1, round(seconds))), "-l", "--log-prefix", f"{folder}/log", "-f", str(self.scripts[hot]), self.stack.database()],
                capture_output=True, text=True, timeout=seconds + 120)
            rate = re.search(r"tps = ([\d.]+) ", done.stdout)
            if done.returncode != 0 or rate is None:
                raise AssertionError(f"pgbench: {done.stdout}{done.stderr}")
            took = sorted(int(line.split()[2]) for log in Path(folder).iterdir()
                          for line in log.read_text().splitlines())
        return {"rate": float(rate[1]), "p50_ms": took[len(took) // 2] / 1000}


# --- nginx -------------------------------------------------------------------------------

NGINX = """
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log {folder}/access.log combined buffer=64k flush=1s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server_tokens off;
    keepalive_requests 100000000;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port};
        location / {{
{headers}
            return 201 '{body}';
        }}
    }}
}}
"""


class Child:
    """A process of ours that is ended with us, and at the end of a `with`."""

    def __init__(self, command, at_our_death="KILL", **more):
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", at_our_death, *command],
                                        stdin=subprocess.DEVNULL, start_new_session=True,
                                        **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def exchange(port, request):
    """The bytes of the answer to one request."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(request)
        while more := connection.recv(65536):
            got += more
            head, end, body = got.partition(b"\r\n\r\n")
            if end and len(body) >= int(re.search(rb"Content-Length: (\d+)", head)[1]):
                return got
    raise AssertionError(f"half an answer: {got!r}")


class Nginx(Child):
    """nginx that gives one answer of the gateway to everything: its fields, its body, and
    as many bytes.  Like the gateway, it logs each request, many lines to a write."""

    OWN = ("content-type", "content-length", "date", "connection", "server")
    ADDED = "Server: nginx\r\nConnection: keep-alive\r\n"

    def __init__(self, folder, workers, request, answer):
        folder = Path(folder) / f"nginx-{workers}"
        folder.mkdir()
        self.port, self.workers = free_port(), workers
        head, body = answer.decode().split("\r\n\r\n")
        headers = "\n".join(f'            add_header {name} "{value}";'
                            for name, value in self._fields(head))
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, port=self.port, workers=workers,
                                     headers=headers, body=body))
        super().__init__([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf),
                          "-e", f"{folder}/nginx.log"], at_our_death="TERM")
        wait_until(self._listens, 10, "nginx listens")
        if len(exchange(self.port, request)) != len(answer):
            raise AssertionError(f"nginx has another number of bytes than {answer!r}")

    def _fields(self, head):
        """(name, value) to add; the longest is cut by what nginx adds of its own."""
        fields = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
        ours = sum(len(name) + len(value) + 4 for name, value in fields
                   if name.lower() in ("connection", "server"))
        fields = {name: value for name, value in fields if name.lower() not in self.OWN}
        longest = max(fields, key=lambda name: len(fields[name]))
        kept = len(fields[longest]) + ours - len(self.ADDED)
        fields[longest] = fields[longest][:kept].ljust(kept, "x")
        return fields.items()

    def pids(self):
        return [self.process.pid, *children(self.process.pid)]

    def _listens(self):
        return subprocess.run(["curl", "-fsS", "-o", "/dev/null",
                               f"http://127.0.0.1:{self.port}/"],
                              capture_output=True).returncode == 0


# --- RPC ---------------------------------------------------------------------------------

class Echoes:
    """Both echo servers, over a unix socket and TCP; sealed ours, plain gRPC's."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.ours, self.grpc = BUILD / "bin" / "rpc_echo", BUILD / "bin" / "grpc_echo"
        subprocess.run([str(self.ours), "keys", str(folder)], check=True)
        tcp, other = free_port(), free_port()
        self.urls = {"ipc": f"ipc://{folder}/echo.sock", "tcp": f"tcp://127.0.0.1:{tcp}"}
        self.addresses = {"ipc": f"unix:{folder}/grpc.sock", "tcp": f"127.0.0.1:{other}"}
        self.children = []

    def __enter__(self):
        for url in self.urls.values():
            self.children.append(Child([str(self.ours), "serve", str(self.folder), url]))
        if self.grpc.exists():
            for address in self.addresses.values():
                self.children.append(Child([str(self.grpc), "serve", address]))
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.__exit__()

    def _run(self, command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stderr}")
        return json.loads(done.stdout)

    def run_ours(self, transport, in_flight, seconds):
        return self._run([self.ours, "load", self.folder, self.urls[transport], in_flight,
                          seconds])

    def run_grpc(self, transport, in_flight, seconds):
        return self._run([self.grpc, "load", self.addresses[transport], in_flight, seconds])
