-- An idempotency key belongs to its user: two users may choose the same one.  The columns
-- stay plain, unique and not null; what stands in them is the user's id, a space and the key.
-- No key holds a space, so a row of the old form, the key alone, cannot be taken for one of
-- the new form, whatever the user chose.
--
-- Old and new programs run beside each other for a while, and both forms stand in the
-- tables.  One click still becomes one order:
--
-- * The new claim looks for the key in both forms, of this user, among checkouts and orders.
--   A click that came to an old program first is found and answered as before.
-- * The old claim finds a row of the new form by nothing but its cart.  A click that comes to
--   a new program first and then to an old one is refused as cart_already_ordered, since
--   checkouts_cart lets one checkout of a cart run or succeed; it is not answered as a
--   repeat, and a click that failed may be tried anew.  So start old programs anew soon.
-- * Both at once: neither sees the other's row, and checkouts_cart refuses the second.
--
-- Orders are rewritten here, in one statement.  It locks rows that nobody else changes or
-- waits for.  What locks a table, for a moment until the COMMIT, comes after it.
--
-- Checkouts are not rewritten.  A repeat of a click waits for whoever is changing the row it
-- repeats, and so does the whole batch it stands in, until this transaction ends.  They are
-- gone after keys_kept_ms; new programs write the new form when such a checkout becomes an
-- order, and when they prune one whose order an old program wrote.  After that no row of the
-- old form is left.
SET LOCAL statement_timeout = 0;
UPDATE orders.orders SET idempotency_key = user_id || ' ' || idempotency_key
WHERE strpos(idempotency_key, ' ') = 0;

-- The currency the shopper was shown, checked with the total; null: none was told.
ALTER TABLE orders.checkouts ADD COLUMN expected_currency text;

-- Beside ordered_at: the order a cart became, once its checkout is gone.
ALTER TABLE orders.carts ADD COLUMN order_id text;

-- Ends the transaction as a serialization failure does, so that it is run again: a statement
-- found that its snapshot was too old for what it has written.
CREATE FUNCTION orders.run_again() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'changed by a concurrent transaction' USING ERRCODE = '40001';
END
$$;
