"""Stopping takes the time that the settings allow, tells what it cut off, and then is no success."""
import contextlib
import os
import re
import signal
import subprocess
import threading
import uuid

from edge import Gateway
from gateway_drain_test import listens
from stack import StackTest, main, wait_until

PATIENCE = 60  # seconds
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAZ"


class Stopping(StackTest):
    environment = {"CHECKOUT_INVENTORY_DRAIN_MS": "200"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("cup", 1000)

    def gateway(self, name, **settings):
        gateway = Gateway(self.stack, name, **settings)
        self.addCleanup(gateway.kill)
        return gateway.start()

    def ordered(self, shopper):
        key = str(uuid.uuid4())
        self.assertEqual(shopper.put_cart(key, [("cup", 1)]).status, 201)
        return shopper.order(key, key)

    def test_a_load_balancer_is_told_before_the_port_closes(self):
        gateway = self.gateway("told", drain_delay_ms=3000)
        shopper = gateway.shopper()
        self.addCleanup(shopper.close)
        self.assertEqual(shopper.ask("GET", "/healthz").status, 200)
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: shopper.ask("GET", "/healthz").status == 503, PATIENCE, "it is told")
        shopper.close()
        self.assertTrue(listens(gateway.port), "who has not asked /healthz yet may still come")
        self.assertEqual(self.ordered(shopper).status, 201)
        wait_until(lambda: not listens(gateway.port), PATIENCE, "the port closes")
        gateway.stop()

    def test_the_time_to_stop_follows_from_the_settings(self):
        gateway = self.gateway("patient", place_timeout_ms=60000, transfer_timeout_ms=20000,
                               drain_delay_ms=1)
        gateway.stop()
        within = int(re.search(r"event=stopping .*within_ms=(\d+)", gateway.log())[1])
        self.assertGreaterEqual(within, 80001)

    @contextlib.contextmanager
    def locked(self, table):
        """Whoever wants to write to the table waits."""
        session = subprocess.Popen(["psql", "-XAtq", self.stack.database()], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            session.stdin.write(f"BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE; SELECT 'locked';\n")
            session.stdin.flush()
            self.assertEqual(session.stdout.readline(), "locked\n")
            yield
        finally:
            session.stdin.close()
            session.wait(PATIENCE)
            session.stdout.close()

    def waits_for_a_lock(self):
        return self.stack.number("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0

    def test_a_call_that_outlasts_the_stop_is_told_and_the_status_is_not_0(self):
        pid, said = self.stack.pid("inventory"), len(self.stack.log("inventory"))
        reserve = threading.Thread(target=self.stack.ctl, kwargs={"check": False}, args=(
            "call", "--max-time", "8", "inventory.v1.Inventory/Reserve",
            f'{{"reservationId": "{ULID}", "lines": [{{"sku": "cup", "quantity": 1}}]}}'))
        with self.locked("inventory.stock"):
            reserve.start()
            wait_until(self.waits_for_a_lock, PATIENCE, "the call waits for the database")
            self.stack.kills += 1
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: "event=call_cut" in self.stack.log("inventory")[said:], PATIENCE,
                       "it is told")
        reserve.join(PATIENCE)
        line = re.search(r"event=call_cut (.*)", self.stack.log("inventory")[said:])[1]
        self.assertRegex(line, rf"request=\S+ order={ULID} method=inventory.v1.Inventory/Reserve "
                               r"caller=\S+")
        wait_until(lambda: "inventory ended (exit status 1)" in self.stack.output(), PATIENCE,
                   "it ends, and not with success")
        wait_until(lambda: self.stack.pid("inventory") not in (None, pid), PATIENCE, "it is back")


if __name__ == "__main__":
    main()
