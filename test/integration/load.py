"""load.py - many shoppers at once, each of which checks its answers."""
import random
import threading
import uuid

from stack import Shopper

SKUS = [f"load-{i}" for i in range(12)]
SCARCE = "load-scarce"


def stock_up(stack, scarce):
    """Stocks twelve SKUs with plenty, and one that runs out."""
    for i, sku in enumerate(SKUS):
        stack.product(sku, 1_000_000, price_cents=100 + i)
    stack.product(SCARCE, scarce, price_cents=999)


class Load:
    """`orders` orders by `clients` clients; some lines overlap on every SKU."""

    def __init__(self, stack, clients, orders, seed=1, timeout=30):
        self.stack, self.orders, self.seed = stack, orders, seed
        self.shoppers = [Shopper(stack, timeout=timeout) for _ in range(clients)]
        self.lock = threading.Lock()
        self.next = 0
        self.placed = {}  # order id -> total_cents, of every 201 answered
        self.refused = 0  # final 409 out_of_stock
        self.answered = 0
        self.troubles = []
        self.threads = [threading.Thread(target=self._client, args=(n,), daemon=True)
                        for n in range(clients)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def join(self, seconds):
        for thread in self.threads:
            thread.join(seconds)
        if any(thread.is_alive() for thread in self.threads):
            self.troubles.append(f"clients still wait after {seconds} s each")
        return self

    def _client(self, number):
        dice = random.Random(self.seed * 1000 + number)
        try:
            while self._take():
                self._place(self.shoppers[number], dice)
        except BaseException as trouble:  # whatever it is, the test must see it
            self.troubles.append(f"client {number}: {trouble!r}")
        finally:
            self.shoppers[number].close()

    def _take(self):
        with self.lock:
            self.next += 1
            return self.next <= self.orders and not self.troubles

    def _place(self, shopper, dice):
        name = str(uuid.uuid4())
        lines = [(sku, dice.randint(1, 3)) for sku in dice.sample(SKUS, dice.randint(2, 4))]
        if dice.random() < 0.1:
            lines.append((SCARCE, 1))
        filled = shopper.until_final(lambda: shopper.put_cart(name, lines))
        if filled.status not in (200, 201):
            raise AssertionError(f"PUT cart: {filled!r}")
        answer = shopper.order_until_final(name, name)
        with self.lock:
            self.answered += 1
            if answer.status == 201:
                self.placed[answer.json["order_id"]] = answer.json["total_cents"]
            elif (answer.status, answer.code) == (409, "out_of_stock"):
                self.refused += 1
            else:
                self.troubles.append(f"POST order: {answer!r}")
