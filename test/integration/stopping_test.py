"""Stopping takes the time that the settings allow, tells what it cut off, and then is no success."""
import os
import re
import signal
import threading
import uuid

from edge import Gateway, held_up
from gateway_drain_test import listens
from stack import StackTest, main, wait_until

PATIENCE = 60  # seconds


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
        wait_until(lambda: shopper.ask("GET", "/healthz").status == 200, PATIENCE, "it serves")
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

    def test_a_call_that_outlasts_the_stop_is_told_and_the_status_is_not_0(self):
        pid, said = self.stack.pid("inventory"), len(self.stack.log("inventory"))
        adjust = threading.Thread(target=self.stack.ctl, kwargs={"check": False}, args=(
            "call", "--max-time", "8", "AdjustStock",
            '{"sku": "cup", "delta": 1, "reason": "a test", "adjustmentId": "outlasts"}'))
        with held_up(self.stack, "inventory.stock") as waiting:
            adjust.start()
            wait_until(waiting, PATIENCE, "the call waits for the database")
            self.stack.kills += 1
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: "event=call_cut" in self.stack.log("inventory")[said:], PATIENCE,
                       "it is told")
        adjust.join(PATIENCE)
        line = re.search(r"event=call_cut (.*)", self.stack.log("inventory")[said:])[1]
        self.assertRegex(line, r"request=\S+ method=inventory.v1.Inventory/AdjustStock caller=\S+")
        wait_until(lambda: "inventory ended (exit status 1)" in self.stack.output(), PATIENCE,
                   "it ends, and not with success")
        wait_until(lambda: self.stack.pid("inventory") not in (None, pid), PATIENCE, "it is back")


if __name__ == "__main__":
    main()
