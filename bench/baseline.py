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
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from shop import BUILD, HOT, SKUS, USERS, free_port, wait_until

CLIENTS = (8, 16, 32, 64)

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
    VALUES ('bench-' || :n::text, 'key-' || :n::text,
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
                ["/usr/lib/postgresql/15/bin/pgbench", "-n", "-M", "prepared", "-c",
                 str(clients), "-j", "1", "-T", str(seconds), "-l", "--log-prefix",
                 f"{folder}/log", "-f", str(self.scripts[hot]), self.stack.database()],
                capture_output=True, text=True, timeout=seconds + 120)
            rate = re.search(r"tps = ([\d.]+) ", done.stdout)
            if done.returncode != 0 or rate is None:
                raise AssertionError(f"pgbench: {done.stdout}{done.stderr}")
            took = sorted(int(line.split()[2]) for log in Path(folder).iterdir()
                          for line in log.read_text().splitlines())
        return {"rate": float(rate[1]), "p50_ms": took[len(took) // 2] / 1000}
