#!/usr/bin/env python3
"""order.py - a cart and one order, from a program of one's own.

    python3 docs/examples/order.py http://127.0.0.1:8080 TOKEN SKU [PAYMENT_METHOD]

The key is made once, before the first attempt, and is the same in each. So it does not matter
whether an attempt was lost on its way or the answer to it was: there is one order at most. A
shop keeps the key with its own record of the click, until the answer is final.

Prints the answer as JSON. Exit status: 0 ordered, 1 refused.
"""
import json
import sys
import time
import urllib.error
import urllib.request
import uuid

# "Ask again with the same key"; so does no answer at all.
AGAIN = {408, 429, 503, 504}


def ask(method, url, token, body, **fields):
    """(status, answer); (0, {}) when there was no answer."""
    head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **fields}
    request = urllib.request.Request(url, json.dumps(body).encode(), head, method=method)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)
    except (OSError, ValueError):
        return 0, {}


def until_final(*request, **fields):
    pause = 0.5
    while True:
        status, answer = ask(*request, **fields)
        if status not in AGAIN and status != 0 and not answer.get("retryable"):
            return status, answer
        time.sleep(pause)
        pause = min(2 * pause, 8)


def main():
    shop, token, sku, *method = sys.argv[1:]
    cart, key = str(uuid.uuid4()), str(uuid.uuid4())
    status, answer = until_final("PUT", f"{shop}/v1/carts/{cart}", token,
                                 {"lines": [{"sku": sku, "quantity": 1}]})
    if status in (200, 201):
        status, answer = until_final(
            "POST", f"{shop}/v1/orders", token,
            {"cart_id": cart, "payment_method_id": method[0] if method else "pm_card_visa"},
            **{"Idempotency-Key": key})
    print(json.dumps(answer, indent=2))
    sys.exit(0 if status == 201 else 1)


main()
