-- What became of the money of a checkout that was refused, beside its reason; NULL while it
-- is not refused, and for those that were refused before this migration.
--
-- The column of a domain without rules is added without rewriting the table; the rule is not
-- checked against rows, which are all NULL.  Alone with what locks nothing else: it locks the
-- table until the COMMIT, for a moment.
CREATE DOMAIN orders.money AS text;
ALTER TABLE orders.checkouts ADD COLUMN failure_money orders.money;
ALTER DOMAIN orders.money ADD CONSTRAINT money_check
    CHECK (VALUE IN ('none', 'refunded', 'refund_pending')) NOT VALID;
