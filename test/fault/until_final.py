"""until_final.py - many orders at little cost, by bench/load.c, each repeated until its answer is final.

    load = UntilFinal(stack, connections=64, orders=20000, rate=600, seed=5).start()
    load.wait_answered(1000)    # false when it ended before
    load.join(120)
    load.placed                 # {order id: total in cents} of every 201 answered

Carts are stored beforehand, and a few shoppers own them all.
"""
import json
import random
import struct
import subprocess
import time
import uuid

from chaos import BUILD
from load import SCARCE, SKUS

SHOPPERS = 32
LINE = struct.Struct("<I")


class UntilFinal:
    def __init__(self, stack, connections, orders, rate, seed=1, seconds=300):
        self.stack, self.orders = stack, orders
        self.answers = stack.base / "answers"
        self.answers.touch()
        self.read, self.rest = 0, b""
        self.answered, self.placed, self.troubles = 0, {}, []
        self.report = None
        self._prepare(random.Random(seed))
        self.command = [str(BUILD / "bin" / "test_load"), "--ports", str(stack.port),
                        "--connections", str(connections), "--seconds", str(seconds),
                        "--rate", str(rate), "--until-final", str(self.answers),
                        str(stack.base / "requests")]

    def _prepare(self, dice):
        users = [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(SHOPPERS)]
        tokens = {user: self.stack.token(user) for user in users}
        carts = []
        with open(self.stack.base / "requests", "wb") as out:
            for n in range(self.orders):
                user, name = users[n % SHOPPERS], f"cart-{n}"
                lines = [{"sku": sku, "quantity": dice.randint(1, 3)}
                         for sku in dice.sample(SKUS, dice.randint(2, 4))]
                if dice.random() < 0.1:
                    lines.append({"sku": SCARCE, "quantity": 1})
                carts.append(f"{user}\t{name}\t{json.dumps(lines)}\n")
                request = self._request(name, tokens[user])
                out.write(LINE.pack(len(request)) + request)
        self.stack.sql("INSERT INTO orders.users (id) VALUES "
                       + ", ".join(f"('{user}')" for user in users))
        subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.stack.database(), "-c",
                        "COPY orders.carts (user_id, id, lines) FROM STDIN"],
                       input="".join(carts), text=True, check=True, timeout=60)

    @staticmethod
    def _request(cart, token):
        body = f'{{"cart_id":"{cart}","payment_method_id":"pm_card_visa"}}'
        return (f"POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}"
                f"\r\nIdempotency-Key: key-of-{cart}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def start(self):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *self.command], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def hear(self):
        """Reads the answers since the last call."""
        with open(self.answers, "rb") as answers:
            answers.seek(self.read)
            new = answers.read()
        self.read += len(new)
        *lines, self.rest = (self.rest + new).split(b"\n")
        for line in lines:
            self.answered += 1
            status, body = line.decode().split(" ", 1)
            if status == "201":
                said = json.loads(body)
                if self.placed.setdefault(said["order_id"], said["total_cents"]) is None:
                    self.troubles.append(f"without a total: {body}")
            else:
                self.troubles.append(f"POST order: {status} {body}")

    def wait_answered(self, count):
        while self.answered < count:
            ended = self.process.poll() is not None
            self.hear()
            if ended or self.troubles:
                return self.answered >= count
            time.sleep(0.05)
        return True

    def join(self, seconds):
        """Waits until all are answered; else it is a trouble."""
        try:
            out, said = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            out, said = "", f"not at its end after {seconds} s"
        self.hear()
        if self.process.returncode != 0:
            self.troubles.append(f"load: {said}")
            return self
        self.report = json.loads(out)
        if self.answered != self.orders or len(self.placed) != self.orders:
            self.troubles.append(f"{self.answered} answers, {len(self.placed)} orders: "
                                 f"{self.report}")
        return self
