"""money.py - compares what refusals say about the money with the card provider's books.

    none            the provider has no charge of that order, or one that took nothing
    refunded        it took the money and gave it back
    refund_pending  not known, or not yet given back; a repeat of the key says what became of it
"""
PENDING = "refund_pending"
STATUSES = {"none": {None, "declined", "voided"}, "refunded": {"refunded"},
            PENDING: {None, "declined", "voided", "captured", "refunded"}}
# Refusals that are stored with their key, and so state what became of the money.
TELLING = {"payment_declined", "out_of_stock", "unknown_sku", "failed_precondition",
           "price_changed", "reservation_expired", "checkout_failed"}


def falsehood(answer, status):
    """What is wrong with the answer when the provider's status of the charge is this, or None."""
    if answer.status == 201 or answer.code not in TELLING:
        return None
    money = answer.json.get("money")
    if status in STATUSES.get(money, ()):
        return None
    return f"money is told as {money}, but the provider's charge is {status}: {answer!r}"


def follows(first, then):
    """Whether this answer to a repeat is right: the same bytes, except that a pending refund may end."""
    if (first.status, first.body) == (then.status, then.body):
        return True
    if first.status != then.status or first.status == 201:
        return False
    one, two = first.json, then.json
    return one.pop("money", None) == PENDING and two.pop("money", None) in STATUSES and one == two


def provider_statuses(rows, key):
    """{key: the provider's status of that order's charge}; rows runs SQL, key is its key's."""
    return dict(rows(f"SELECT {key}, s.status FROM orders.checkouts k JOIN sandbox.charges s "
                     "ON s.idempotency_key = 'chg_' || k.order_id"))
