"""Stopping takes the time that the settings allow, tells what it cut off, and then is no success."""
import os
import re
import signal
import socket
import threading
import uuid

from edge import Gateway, held_up
from gateway_drain_test import listens, order, read_answer
from stack import StackTest, main, wait_until

PATIENCE = 60  # seconds
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAZ"


class Stopping(StackTest):
    environment = {"CHECKOUT_INVENTORY_DRAIN_MS": "200",
                   "CHECKOUT_ORCHESTRATOR_GIVE_UP_MS": "12000"}

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

    def order_without_end(self, gateway, key):
        """A connection, and a request whose card never answers: bytes to be sent there."""
        shopper = gateway.shopper()
        self.addCleanup(shopper.close)
        self.assertEqual(shopper.put_cart(key, [("cup", 1)]).status, 201)
        connection = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)
        self.addCleanup(connection.close)
        return connection, order(shopper.token, key, "pm_card_unreachable")

    def test_an_order_that_outlasts_the_stop_is_answered_and_told_and_the_status_is_not_0(self):
        """The time to stop is that of one request.  It covers the first; only when that has its
        answer is the head of the second complete, for which a stop waits, too, but no longer."""
        gateway = self.gateway("cut", place_timeout_ms=6000, transfer_timeout_ms=3000)
        first, second = str(uuid.uuid4()), str(uuid.uuid4())
        late, request = self.order_without_end(gateway, second)
        late.sendall(request[:20])
        early, whole = self.order_without_end(gateway, first)
        early.sendall(whole)
        wait_until(lambda: self.stack.number(
            f"SELECT count(*) FROM orders.checkouts WHERE cart_id = '{first}'"), PATIENCE,
            "the first runs")
        gateway.process.send_signal(signal.SIGTERM)
        self.expect(read_answer(early), 504, "outcome_unknown")
        self.assertNotIn("event=request_cut", gateway.log())
        late.sendall(request[20:])
        self.expect(read_answer(late), 504, "outcome_unknown")
        self.assertEqual(gateway.process.wait(PATIENCE), 1)
        [line] = re.findall(r"event=request_cut (.*)", gateway.log())
        self.assertRegex(line, r"^request=\S+ method=POST path=/v1/orders status=504 ")

    def test_a_call_that_outlasts_the_stop_is_told_and_the_status_is_not_0(self):
        pid, said = self.stack.pid("inventory"), len(self.stack.log("inventory"))
        reserve = threading.Thread(target=self.stack.ctl, kwargs={"check": False}, args=(
            "call", "--max-time", "8", "inventory.v1.Inventory/Reserve",
            f'{{"reservationId": "{ULID}", "lines": [{{"sku": "cup", "quantity": 1}}]}}'))
        with held_up(self.stack, "inventory.stock") as waiting:
            reserve.start()
            wait_until(waiting, PATIENCE, "the call waits for the database")
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
