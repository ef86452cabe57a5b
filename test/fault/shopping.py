"""shopping.py - shoppers who repeat requests, send two at once and hang up early.

Each order has a key, and whatever happens the shopper asks with it until the answer is final.
Every answer ever given for a key has to be the same.
"""
import http.client
import random
import threading
import time
import uuid

import money
from stack import Shopper

SKUS = [f"soak-{i}" for i in range(10)]
SCARCE = "soak-scarce"
METHODS = (["pm_card_visa"] * 10 + ["pm_card_failOnce", "pm_card_timeout"] * 2 +
           ["pm_card_chargeDeclined", "pm_card_insufficientFunds", "pm_card_late"])
REFUSALS = {(402, "payment_declined"), (409, "out_of_stock"), (409, "checkout_failed"),
            (409, "reservation_expired")}


def stock_up(stack, scarce=200):
    for i, sku in enumerate(SKUS):
        stack.product(sku, 1_000_000, price_cents=100 + i)
    stack.product(SCARCE, scarce, price_cents=999)


class Shopping:
    """`clients` threads that place orders until end() is called."""

    def __init__(self, stack, clients, seed, methods=METHODS, patience=150):
        self.stack, self.methods, self.patience = stack, methods, patience
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.answers = {}  # key -> the final Answer
        self.asked = {}    # key -> (shopper's user, token, cart, method)
        self.codes = {}    # (status, code) -> count, of everything answered
        self.impolite = []  # retryable, without Retry-After
        self.troubles = []
        self.threads = [threading.Thread(target=self._shop, args=(seed * 1000 + n,), daemon=True)
                        for n in range(clients)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def end(self, seconds=180):
        self.ended.set()
        limit = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0, limit - time.monotonic()))
        if any(thread.is_alive() for thread in self.threads):
            self.troubles.append(f"shoppers still wait after {seconds} s")
        return self

    def acknowledged(self):
        with self.lock:
            return sum(answer.status == 201 for answer in self.answers.values())

    # --- one shopper ---

    def _shop(self, seed):
        dice = random.Random(seed)
        shopper = Shopper(self.stack, timeout=30)
        twin = Shopper(self.stack, user=shopper.user, token=shopper.token, timeout=30)
        try:
            while not self.ended.is_set() and not self.troubles:
                self._order(shopper, twin, dice)
        except BaseException as trouble:  # whatever it is, the test must see it
            self.troubles.append(f"shopper {seed}: {trouble!r}")
        finally:
            shopper.close()
            twin.close()

    def _order(self, shopper, twin, dice):
        cart = str(uuid.uuid4())
        lines = [(sku, dice.randint(1, 3)) for sku in dice.sample(SKUS, dice.randint(1, 4))]
        if dice.random() < 0.15:
            lines.append((SCARCE, dice.randint(1, 2)))
        filled = shopper.until_final(lambda: self.count(shopper.put_cart(cart, lines)),
                                     self.patience)
        if filled.status not in (200, 201):
            raise AssertionError(f"PUT cart: {filled!r}")
        method = dice.choice(self.methods)
        answer = self._place(shopper, twin, dice.random(), cart, cart, method)
        # After a refusal the cart is free again, for a new key.
        if answer.status != 201 and dice.random() < 0.3:
            self._place(shopper, twin, dice.random(), cart, cart + "-again", "pm_card_visa")

    def _place(self, shopper, twin, how, cart, key, method):
        self.asked[key] = (shopper, cart, method)
        if how < 0.2:
            answers = self._twice(shopper, twin, cart, key, method)
        elif how < 0.4:
            self._impatiently(shopper, cart, key, method, how)
            answers = [self._until_final(shopper, cart, key, method)]
        else:
            answers = [self._until_final(shopper, cart, key, method)]
        if how > 0.8:
            answers.append(self._until_final(shopper, cart, key, method))
        for answer in answers:
            self.keep(key, answer)
        return answers[0]

    def _until_final(self, shopper, cart, key, method):
        return shopper.until_final(lambda: self.count(shopper.order(cart, key, method)),
                                   self.patience)

    def _twice(self, shopper, twin, cart, key, method):
        """Sends both at once and waits for both."""
        second = []

        def ask():
            try:
                second.append(self._until_final(twin, cart, key, method))
            except BaseException as trouble:
                self.troubles.append(f"twin: {trouble!r}")
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        first = self._until_final(shopper, cart, key, method)
        thread.join(self.patience)
        return [first, *second]

    def _impatiently(self, shopper, cart, key, method, how):
        """Hangs up after some tens of milliseconds."""
        hasty = Shopper(self.stack, user=shopper.user, token=shopper.token, timeout=how / 4)
        try:
            self.keep_if_final(key, hasty.order(cart, key, method))
        except (OSError, http.client.HTTPException):
            pass
        finally:
            hasty.close()

    # --- answers ---

    def count(self, answer):
        with self.lock:
            name = (answer.status, answer.code)
            self.codes[name] = self.codes.get(name, 0) + 1
            if (answer.status >= 400 and answer.json.get("retryable")
                    and "retry-after" not in answer.headers):
                self.impolite.append(answer)
        return answer

    def keep_if_final(self, key, answer):
        if answer.status < 400 or not answer.json.get("retryable", False):
            self.keep(key, answer)

    def keep(self, key, answer):
        """A final answer of a key is kept; all others must be the same, but for a refund that
        was pending.  Which of two answers is the later one is not known here."""
        if answer.status != 201 and (answer.status, answer.code) not in REFUSALS:
            raise AssertionError(f"{key}: an answer nobody should get: {answer!r}")
        with self.lock:
            known = self.answers.setdefault(key, answer)
            if money.follows(known, answer):
                self.answers[key] = answer
        if not money.follows(known, answer) and not money.follows(answer, known):
            raise AssertionError(f"{key}: answered {known!r}, then {answer!r}")

    def ask_all_again(self, clients=4):
        """Repeats all keys: a different answer, by any byte, is a trouble."""
        keys = list(self.answers)

        def ask(share):
            try:
                for key in share:
                    owner, cart, method = self.asked[key]
                    again = Shopper(self.stack, user=owner.user, token=owner.token, timeout=30)
                    self.keep(key, self._until_final(again, cart, key, method))
                    again.close()
            except BaseException as trouble:
                self.troubles.append(f"asking again: {trouble!r}")
        threads = [threading.Thread(target=ask, args=(keys[n::clients],), daemon=True)
                   for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        return self
