"""scenarios.py - what happens in the world while something fails.

Each is a function of (world, fault), where fault is None in a tracing run.  It arms the
fault itself, when its moment has come, and ends with what must be true after it; the end
check of the world comes after that.  LIST says which failpoints of each are cells.
"""
import re
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Callable, Optional

import money
from seams import ELSEWHERE, is_cell
from stack import KEY, wait_until
from world import EXPIRING, PATIENCE, Violation, as_json

CUPS = [("m-cup", 2), ("m-pot", 1)]
CUPS_TOTAL = 2 * 250 + 1999
TRIES = 3  # at passing a failpoint that a race may go around


@dataclass
class Fault:
    point: str
    kind: str


def expect(true, what):
    if not true:
        raise Violation(what)


def arm(world, fault):
    if fault is not None:
        world.arm(fault.point, fault.kind)


def came(world, fault, seconds):
    """Whether the fault has happened, or does within the time."""
    deadline = time.monotonic() + seconds
    while fault is not None and not world.fired(fault.point):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# ---- orders ---------------------------------------------------------------------------


class Ordering:
    """One shopper's order under one key, asked until there is a final answer."""

    def __init__(self, world, lines, method="pm_card_visa"):
        self.world, self.method = world, method
        self.cart = self.key = str(uuid.uuid4())
        filled = world.buyer.until_final(lambda: world.buyer.put_cart(self.cart, lines), PATIENCE)
        expect(filled.status in (200, 201), f"the cart is not filled: {filled!r}")
        self.answer, self.trouble = None, None
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        try:
            self.answer = self.world.buyer.order_until_final(self.cart, self.key, self.method,
                                                             PATIENCE)
        except BaseException as trouble:  # told by join()
            self.trouble = trouble

    def start(self):
        self.thread.start()
        return self

    def join(self):
        self.thread.join(PATIENCE + 10)
        if self.trouble is not None:
            raise Violation(f"no answer: {self.trouble}")
        expect(self.answer is not None, "no answer")
        return self.answer

    def row(self, columns):
        rows = self.world.db.rows(
            f"SELECT {columns} FROM orders.checkouts WHERE {KEY} = '{self.key}'")
        return rows[0] if rows else None

    def wait_row(self, columns, what, wanted):
        return wait_until(lambda: (row := self.row(columns)) and wanted(row) and row, PATIENCE,
                          what)

    def check(self, *allowed):
        """The answer is one of those, it is true, and it stays so at every gateway."""
        answer = self.join()
        expect((answer.status, answer.code) in allowed, f"answered {answer!r}, not {allowed}")
        orders = self.world.db.rows("SELECT id, total_cents FROM orders.orders "
                                          f"WHERE {KEY} = '{self.key}'")
        if answer.status == 201:
            told = [[answer.json["order_id"], str(answer.json["total_cents"])]]
            expect(orders == told, f"answered {answer!r}, but there is {orders}")
        else:
            expect(orders == [], f"refused with {answer!r}, but there is {orders}")
        self.check_money(answer)
        return answer

    def check_money(self, answer):
        """The provider's books are read after the answer: what it told was durable."""
        charge = self.world.db.rows(
            "SELECT s.status FROM sandbox.charges s JOIN orders.checkouts k "
            f"ON s.idempotency_key = 'chg_' || k.order_id WHERE {KEY.replace('idem', 'k.idem')} "
            f"= '{self.key}'")
        wrong = money.falsehood(answer, charge[0][0] if charge else None)
        expect(wrong is None, wrong)

    def check_again(self):
        """All is over: no refund is pending any more, and nothing else has changed."""
        for shopper in (self.world.elsewhere, self.world.buyer):
            again = shopper.order_until_final(self.cart, self.key, self.method, PATIENCE)
            expect(money.follows(self.answer, again),
                   f"first answered {self.answer!r}, then {again!r}")
            expect(again.status == 201 or again.json.get("money") != money.PENDING,
                   f"all is undone, but the answer is {again!r}")
            self.check_money(again)
            self.answer = again

    def left_nothing(self):
        """A refusal leaves no hold, no kept charge: with us or with the provider."""
        left = self.world.db.rows(f"""
            SELECT r.state, c.state FROM orders.checkouts k
            LEFT JOIN inventory.reservations r ON r.id = k.order_id
            LEFT JOIN payment.charges c ON c.id = k.order_id
            WHERE {KEY} = '{self.key}' AND
                  (r.state IN ('held', 'confirmed') OR c.state IN ('captured', 'refunding')
                   OR k.state <> 'failed')""")
        expect(left == [], f"refused with {self.answer!r}, but left {left}")


def finish(world, ordering, fault):
    """After the answer: faults stop, the sums hold, the answer is the same."""
    if fault is not None:
        world.quiet(fault.point, fault.kind)
    world.check_end()
    if ordering.answer.status != 201:
        ordering.left_nothing()
    ordering.check_again()
    return ordering.answer


def an_order(lines, method, *allowed, helpers=()):
    """A scenario of one order; repeated while a race goes around the failpoint."""
    def scenario(world, fault):
        for attempt in range(TRIES):
            ordering = Ordering(world, lines, method)
            for point, kind in helpers:
                if fault is None or point != fault.point:
                    world.arm(point, kind)
            if attempt == 0:
                arm(world, fault)
            ordering.start()
            ordering.check(*allowed)
            if came(world, fault, 2):
                break
        return finish(world, ordering, fault)
    return scenario


PLACED, DECLINED = (201, None), (402, "payment_declined")
EXPIRED, SHORT = (409, "reservation_expired"), (409, "out_of_stock")

approved = an_order(CUPS, "pm_card_visa", PLACED)
declined = an_order(CUPS, "pm_card_chargeDeclined", DECLINED)
fail_once = an_order(CUPS, "pm_card_failOnce", PLACED)
# The reaper needs 50 ms and is given 400 before Confirm is asked.
expired = an_order([("m-cup", 1), (EXPIRING, 1)], "pm_card_visa", EXPIRED, PLACED,
                   helpers=(("orchestrator.call.Charge.after", "late 400"),))
held_up = an_order(CUPS, "pm_card_visa", PLACED,
                   helpers=(("orchestrator.call.Charge.after", "late 800"),))


def out_of_stock(world, fault):
    answer = an_order([("m-cup", 1), ("m-scarce", 2)], "pm_card_visa", SHORT)(world, fault)
    expect(answer.json.get("skus") == ["m-scarce"], f"the wrong SKUs are named: {answer!r}")


# ---- take-overs -----------------------------------------------------------------------


def taken_over(world, fault):
    """The owner dies after Confirm; then the taking over itself fails."""
    ordering = Ordering(world, CUPS)
    world.arm("orchestrator.call.Confirm.after", "crash")
    ordering.start()
    world.wait_fired("orchestrator.call.Confirm.after")
    world.db.rows("SELECT pg_sleep(greatest(0, extract(epoch FROM "
                        "lease_until - clock_timestamp()))) FROM orders.checkouts "
                        f"WHERE {KEY} = '{ordering.key}'")
    arm(world, fault)
    ordering.check(PLACED)
    finish(world, ordering, fault)


def wait_stopped(world, others):
    """The pid of one that hangs, and did not before."""
    return wait_until(lambda: next((pid for pid in world.stopped().values()
                                    if pid not in others), None), PATIENCE, "one more hangs")


def a_zombie(point, hold, method, *allowed):
    """
    One owner hangs before its conditional write, the next one is made to hang earlier in
    the same checkout, so that nobody else can have written; then the first wakes.
    """
    def scenario(world, fault):
        for _ in range(TRIES):
            ordering = Ordering(world, CUPS, method)
            with world.by_hand():
                world.arm(point, "hang")
                ordering.start()
                zombie = wait_stopped(world, set())
                world.arm(hold, "hang")
                owner = wait_stopped(world, {zombie})
                before = ordering.row("order_id, epoch, state")
                world.wake(zombie)
                wait_until(lambda: said_end(world, before[0], 1), PATIENCE, "the zombie gives up")
                after = ordering.row("order_id, epoch, state")
                world.wake(owner)
            ordering.check(*allowed)
            if before[1:] == ["2", "running"] and after[1] == "2":
                break
        expect(after[1:] == ["2", "running"],
               f"a zombie's write was accepted: {before} became {after}")
        finish(world, ordering, fault)
    return scenario


def said_end(world, order_id, epoch):
    """Whether some orchestrator said that it is done with that order of that epoch."""
    return any(f"order={order_id} " in line and line.rstrip().endswith(f"epoch={epoch}")
               and ("lease_lost" in line or "checkout_finished" in line)
               for name in ("orchestrator", "orchestrator-2")
               for line in world.log(name).splitlines()[-200:])


zombie_persist = a_zombie("orchestrator.commit.persist.before", "orchestrator.call.Charge.after",
                          "pm_card_visa", PLACED)
zombie_turn = a_zombie("orchestrator.commit.turn.before", "orchestrator.call.Charge.before",
                       "pm_card_chargeDeclined", DECLINED)


# ---- an operator is needed ------------------------------------------------------------


def attention(world, fault):
    """Payment hangs while it should refund, until an operator has been called."""
    flag = "orchestrator.commit.need_attention.after"
    world.arm("orchestrator.call.Charge.after", "late 400")
    ordering = Ordering(world, [(EXPIRING, 1)])
    with world.by_hand():
        world.arm("payment.serve.Refund.before", "hang")
        arm(world, fault)
        ordering.start()
        world.wait_fired("payment.serve.Refund.before")
        wait_until(lambda: world.fired(fault.point) if fault else flag in world.seen(),
                   PATIENCE, "an operator is called")
    ordering.check(EXPIRED)
    finish(world, ordering, fault)


def retried(world, fault):
    """Payment hangs; an operator has the checkout tried again."""
    ordering = Ordering(world, CUPS)
    with world.by_hand():
        world.arm("payment.serve.Charge.before", "hang")
        ordering.start()
        world.wait_fired("payment.serve.Charge.before")
        order_id = ordering.row("order_id")[0]
        arm(world, fault)
        asking = threading.Thread(daemon=True, target=call_until_done, args=(
            world, "orders.v1.Orders/RetryCheckout", {"order_id": order_id}))
        asking.start()
        if fault is not None:
            world.wait_fired(fault.point)
        else:
            asking.join(PATIENCE)
    asking.join(PATIENCE)
    ordering.check(PLACED)
    finish(world, ordering, fault)


# ---- calls by hand --------------------------------------------------------------------

FINAL_CODES = {64 + code for code in (3, 5, 6, 9, 10, 11)}


def call_until_done(world, method, message, *more):
    """An operator's call, repeated while it says that it may be; the last result."""
    deadline = time.monotonic() + PATIENCE
    while True:
        done = world.ctl("call", method, as_json(message), "--max-time", "2", *more, check=False)
        if done.returncode == 0 or done.returncode in FINAL_CODES:
            return done
        expect(time.monotonic() < deadline, f"{method}: {done.stdout}{done.stderr}")
        time.sleep(0.05)


def a_call(method, message, check=lambda world, message: None):
    """message: a function that makes a fresh one."""
    def scenario(world, fault):
        said = message(world)
        arm(world, fault)
        done = call_until_done(world, method, said)
        expect(done.returncode == 0, f"{method} {said}: {done.stdout}{done.stderr}")
        check(world, said)
        expect(came(world, fault, 10), f"{fault} was not passed")
        if fault is not None:
            world.quiet(fault.point, fault.kind)
        world.check_end()
        check(world, said)
    return scenario


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def has(sql):
    def check(world, message):
        rows = world.db.rows(sql.format(**message))
        expect(rows == [["1"]], f"after {message}: {rows}")
    return check


put_product = a_call(
    "inventory.v1.Inventory/PutProduct",
    lambda world: {"sku": fresh("p"), "title": "Test", "price_cents": 125, "currency": "EUR"},
    has("SELECT count(*) FROM inventory.products JOIN inventory.stock USING (sku) "
        "WHERE sku = '{sku}' AND price_cents = {price_cents}"))
adjust = a_call(
    "inventory.v1.Inventory/AdjustStock",
    lambda world: {"sku": "m-cup", "delta": 3, "reason": "test", "adjustment_id": fresh("a")},
    has("SELECT count(*) FROM inventory.ledger WHERE adjustment_id = '{adjustment_id}' "
        "AND delta = {delta}"))
add_method = a_call(
    "payment.v1.Payment/AddPaymentMethod",
    lambda world: {"user_id": world.buyer.user, "payment_method_id": fresh("pm"),
                   "provider_token": "pm_card_visa", "label": "mine"},
    has("SELECT count(*) FROM payment.methods WHERE id = '{payment_method_id}'"))


def put_cart(world, fault):
    cart = str(uuid.uuid4())
    arm(world, fault)
    answer = world.buyer.until_final(lambda: world.buyer.put_cart(cart, CUPS), PATIENCE)
    expect(answer.status in (200, 201), f"PUT cart: {answer!r}")
    expect(came(world, fault, 10), f"{fault} was not passed")
    if fault is not None:
        world.quiet(fault.point, fault.kind)
    for shopper in (world.elsewhere, world.buyer):
        kept = shopper.until_final(lambda: shopper.ask("GET", f"/v1/carts/{cart}"), PATIENCE)
        expect(kept.status == 200 and kept.body == answer.body, f"{answer!r} became {kept!r}")
    world.check_end()


# ---- events ---------------------------------------------------------------------------


def some_event(world):
    if world.number("SELECT count(*) FROM orders.orders") == 0:
        relayed(world, None)


def relayed(world, fault):
    """An order's event gets its position and is published."""
    world.check_events()
    ordering = Ordering(world, CUPS)
    arm(world, fault)
    ordering.start()
    ordering.check(PLACED)
    expect(came(world, fault, 20), f"{fault} was not passed")
    finish(world, ordering, fault)
    world.check_events()


def relay_changes_hands(world, fault):
    """The relay's session is ended; who takes over notes it."""
    world.sql("GRANT checkout_orders TO checkout_owner")
    arm(world, fault)
    before = world.db.rows("SELECT held_since FROM orders.relay")
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
              "WHERE application_name = 'sequencer'")
    wait_until(lambda: world.db.rows("SELECT held_since FROM orders.relay") != before, PATIENCE,
               "the relay is taken over")
    expect(came(world, fault, 20), f"{fault} was not passed")
    approved(world, None)
    if fault is not None:
        world.quiet(fault.point, fault.kind)
    world.check_events()


def events_pruned(world, fault):
    """An event of no order that was published long ago goes, and no other."""
    world.check_events()
    before = world.number("SELECT pruned FROM orders.relay")
    arm(world, fault)
    world.db.rows("UPDATE orders.outbox SET published_at = now() - interval '20 days' "
                  f"WHERE position = {before + 1} AND order_id LIKE '0OLD%'")
    wait_until(lambda: world.number("SELECT pruned FROM orders.relay") > before, PATIENCE,
               "it is pruned")
    expect(came(world, fault, 10), f"{fault} was not passed")
    if fault is not None:
        world.quiet(fault.point, fault.kind)
    expect(world.number("SELECT pruned FROM orders.relay") == before + 1, "more is pruned")
    world.check_events()


def commit_cursor(world, fault):
    some_event(world)
    a_call("events.v1.Events/Commit", lambda world: {"cursor": fresh("c"), "position": 1},
           has("SELECT count(*) FROM orders.cursors WHERE name = '{cursor}' AND position = 1")
           )(world, fault)


def a_cursor(world, position):
    """One that is there, to be changed."""
    some_event(world)
    cursor = fresh("c")
    world.ctl("call", "events.v1.Events/Commit",
              as_json({"cursor": cursor, "position": position}))
    return {"caller": "operator", "cursor": cursor}


reset_cursor = a_call(
    "events.v1.Events/ResetCursor", lambda world: a_cursor(world, 1) | {
        "position": world.number("SELECT placed FROM orders.relay")},
    has("SELECT count(*) FROM orders.cursors WHERE caller = '{caller}' AND name = '{cursor}' "
        "AND position = {position}"))
delete_cursor = a_call(
    "events.v1.Events/DeleteCursor", lambda world: a_cursor(world, 1),
    has("SELECT 1 - count(*) FROM orders.cursors WHERE caller = '{caller}' AND name = '{cursor}'"))


def replayed(world, fault):
    """The bus is given everything once more, and knows it by its ids."""
    some_event(world)
    a_call("events.v1.Events/Replay", lambda world: {
        "from": world.number("SELECT pruned + 1 FROM orders.relay")})(world, fault)
    world.check_events()


def a_dead_letter(world):
    """An event that the bus refused, given up; of no order, and not of the log."""
    order = f"0OLD{uuid.uuid4().hex[:22].upper()}"
    world.db.rows("INSERT INTO orders.dead_letters (position, order_id, sequence, type, payload, "
                  "created_at, attempts, reason) SELECT coalesce(min(position), 0) - 1, "
                  f"'{order}', 1, 'order.noted', '{{}}', now(), 10, 'a test' "
                  "FROM orders.dead_letters")
    return {"id": f"{order}.1"}


NOT_GIVEN_UP = has("SELECT 1 - count(*) FROM orders.dead_letters "
                   "WHERE order_id || '.' || sequence = '{id}' AND next_at IS NULL")
drop_dead_letter = a_call("events.v1.Events/DropDeadLetter", a_dead_letter, NOT_GIVEN_UP)


def dead_letter_resent(world, fault):
    """The bus, which takes it now, has it in the end, and it is on no list."""
    a_call("events.v1.Events/ResendDeadLetters", a_dead_letter, NOT_GIVEN_UP)(world, fault)
    wait_until(lambda: world.number("SELECT count(*) FROM orders.dead_letters") == 0, PATIENCE,
               "the bus has it")
    world.check_events()


# ---- pruning --------------------------------------------------------------------------


def pruned(world, fault):
    """A checkout refused four days ago is forgotten, and no order with it."""
    old = "0000000000" + uuid.uuid4().hex[:16].upper()  # an id of 1970
    arm(world, fault)
    world.db.rows(f"""
        INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,
            payment_method_id, fingerprint, cart, state, failure_reason, owner, lease_until,
            finished_at)
        VALUES ('{old}', '{old}', '{world.buyer.user}', '{old}', 'pm_card_visa',
            decode(repeat('00', 32), 'hex'), '[]', 'failed', 'out_of_stock', 'nobody',
            now() - interval '4 days', now() - interval '4 days')""")
    wait_until(lambda: world.db.rows(
        f"SELECT order_id FROM orders.checkouts WHERE order_id = '{old}'") == [],
        PATIENCE, "it is pruned")
    expect(came(world, fault, 10), f"{fault} was not passed")
    if fault is not None:
        world.quiet(fault.point, fault.kind)
    world.check_end()


# ---- undoing what never happened ------------------------------------------------------

ULID_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def an_order_id():
    number = uuid.uuid4().int >> 3
    return "0" + "".join(ULID_LETTERS[number >> 5 * i & 31] for i in range(25))


def tombstone(undo_method, undo, do_method, do):
    """Undone before it is done: then it is refused for ever, though repeated."""
    def scenario(world, fault):
        order_id = an_order_id()
        arm(world, fault)
        done = call_until_done(world, undo_method, {undo: order_id})
        expect(done.returncode == 0, f"{undo_method}: {done.stdout}{done.stderr}")
        for _ in range(2):
            late = call_until_done(world, do_method, do(world, order_id))
            expect(late.returncode == 64 + 10,  # ABORTED
                   f"{do_method} after {undo_method} was not refused: {late.stdout}{late.stderr}")
        expect(came(world, fault, 10), f"{fault} was not passed")
        if fault is not None:
            world.quiet(fault.point, fault.kind)
        world.check_end()
    return scenario


release_first = tombstone(
    "inventory.v1.Inventory/Release", "reservation_id", "inventory.v1.Inventory/Reserve",
    lambda world, order_id: {"reservation_id": order_id,
                             "lines": [{"sku": "m-cup", "quantity": 1}]})
refund_first = tombstone(
    "payment.v1.Payment/Refund", "charge_id", "payment.v1.Payment/Charge",
    lambda world, order_id: {"charge_id": order_id, "user_id": world.buyer.user,
                             "payment_method_id": "pm_card_visa", "amount_cents": 500,
                             "currency": "EUR"})


# ---- reads ----------------------------------------------------------------------------


def a_page(path):
    """A shopper's read through the gateway; `path` may name an order or a cart."""
    def scenario(world, fault):
        if not hasattr(world, "an_ordering"):
            world.an_ordering = Ordering(world, CUPS).start()
            world.an_ordering.check(PLACED)
        ordering = world.an_ordering
        where = path.format(order=ordering.answer.json["order_id"], cart=ordering.cart)
        arm(world, fault)
        answer = world.buyer.until_final(lambda: world.buyer.ask("GET", where), PATIENCE)
        expect(answer.status == 200, f"GET {where}: {answer!r}")
        expect(came(world, fault, 10), f"{fault} was not passed")
        if fault is not None:
            world.quiet(fault.point, fault.kind)
    return scenario


def of_order(**more):
    return lambda world: {**more, "order_id": an_order_of(world)}


def an_order_of(world):
    return world.db.rows("SELECT id FROM orders.orders LIMIT 1")[0][0]


# ---- the list -------------------------------------------------------------------------


@dataclass
class Scenario:
    name: str
    mark: str                   # in the table of cells
    run: Callable
    only: Optional[str] = None  # which failpoints are cells; without it all that are passed
    cells: tuple = ()           # or these alone: (failpoint, fault)

    def points(self, seen):
        return sorted(point for point in seen if is_cell(point) and (
            re.search(self.only, point) if self.only else not ELSEWHERE.search(point)))


def read_by_operator(name, service, method, message):
    return Scenario(name, "r", a_call(f"{service}/{method}", message),
                    rf"\.(serve|call)\.{method}\.")


INVENTORY, PAYMENT, ORDERS = "inventory.v1.Inventory", "payment.v1.Payment", "orders.v1.Orders"
EVENTS = "events.v1.Events"

LIST = [
    Scenario("approved", "a", approved),
    Scenario("declined", "d", declined),
    Scenario("out_of_stock", "o", out_of_stock),
    Scenario("expired", "e", expired),
    Scenario("fail_once", "f", fail_once, r"\.commit\.attempt\."),
    Scenario("held_up", "h", held_up, r"\.commit\.renew\."),
    Scenario("taken_over", "t", taken_over, r"\.commit\.take_over\."),
    Scenario("zombie_persist", "z", zombie_persist,
             cells=(("orchestrator.commit.persist.before", "hang"),)),
    Scenario("zombie_turn", "z", zombie_turn,
             cells=(("orchestrator.commit.turn.before", "hang"),)),
    Scenario("attention", "n", attention, r"\.commit\.need_attention\."),
    Scenario("retried", "y", retried, r"\.(RetryCheckout|retry_checkout)\."),
    Scenario("pruned", "k", pruned, r"\.commit\.prune\."),
    Scenario("put_cart", "c", put_cart, r"\.(PutCart|put_cart|carts_put)\."),
    Scenario("put_product", "p", put_product, r"\.(PutProduct|put_product)\."),
    Scenario("adjust", "s", adjust, r"\.(AdjustStock|adjust)\."),
    Scenario("add_method", "m", add_method, r"\.(AddPaymentMethod|add_method)\."),
    Scenario("release_first", "l", release_first, r"^inventory\.(serve\.Re|commit\.re)"),
    Scenario("refund_first", "u", refund_first, r"^payment\.(serve|commit)\."),
    Scenario("page_orders", "r", a_page("/v1/orders"), r"\.(ListOrders|list_orders)\."),
    Scenario("page_order", "r", a_page("/v1/orders/{order}"), r"\.(GetOrder|get_order)\."),
    Scenario("page_cart", "r", a_page("/v1/carts/{cart}"), r"\.(GetCart|get_cart)\."),
    Scenario("page_products", "r", a_page("/v1/products"), r"\.(ListProducts|list_products)\."),
    Scenario("page_health", "r", a_page("/healthz"), r"^gateway\.(answer\.health|call\.Check)\."),
    read_by_operator("get_reservation", INVENTORY, "GetReservation",
                     lambda world: {"reservation_id": an_order_of(world)}),
    read_by_operator("get_stock", INVENTORY, "GetStock", lambda world: {"sku": "m-cup"}),
    read_by_operator("list_reservations", INVENTORY, "ListReservations", lambda world: {}),
    read_by_operator("list_stock", INVENTORY, "ListStock", lambda world: {}),
    read_by_operator("get_charge", PAYMENT, "GetCharge",
                     lambda world: {"charge_id": an_order_of(world)}),
    read_by_operator("list_methods", PAYMENT, "ListPaymentMethods",
                     lambda world: {"user_id": world.buyer.user}),
    read_by_operator("list_charges", PAYMENT, "ListCharges", lambda world: {}),
    read_by_operator("list_provider", PAYMENT, "ListProviderCharges", lambda world: {}),
    read_by_operator("list_checkouts", ORDERS, "ListCheckouts", lambda world: {}),
    read_by_operator("get_checkout", ORDERS, "GetCheckout", of_order()),
    Scenario("relayed", "v", relayed, r"\.(commit\.(place|publish)|bus\.deliver)\."),
    Scenario("relay_changes_hands", "w", relay_changes_hands, r"\.commit\.hold\."),
    Scenario("events_pruned", "g", events_pruned, r"\.commit\.prune_events\."),
    Scenario("commit_cursor", "x", commit_cursor, r"\.(Commit|commit_cursor)\."),
    Scenario("reset_cursor", "x", reset_cursor, r"\.(ResetCursor|reset_cursor)\."),
    Scenario("delete_cursor", "x", delete_cursor, r"\.(DeleteCursor|delete_cursor)\."),
    Scenario("replayed", "x", replayed, r"\.(Replay|replay)\."),
    Scenario("dead_letter_resent", "x", dead_letter_resent,
             r"\.(ResendDeadLetters|resend_dead_letters|settle)\."),
    Scenario("drop_dead_letter", "x", drop_dead_letter,
             r"\.(DropDeadLetter|drop_dead_letter)\."),
    read_by_operator("read_events", EVENTS, "Read", lambda world: {}),
    read_by_operator("get_lag", EVENTS, "GetLag", lambda world: {}),
    read_by_operator("list_dead_letters", EVENTS, "ListDeadLetters", lambda world: {}),
]

BY_NAME = {scenario.name: scenario for scenario in LIST}
