-- Beside ordered_at: the order a cart became, once its checkout is gone.
--
-- Alone with what locks nothing: it locks the table until the COMMIT, for a moment.
ALTER TABLE orders.carts ADD COLUMN order_id text;

-- Ends the transaction as a serialization failure does, so that it is run again: a statement
-- found that its snapshot was too old for what it has written.
CREATE FUNCTION orders.run_again() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'changed by a concurrent transaction' USING ERRCODE = '40001';
END
$$;
