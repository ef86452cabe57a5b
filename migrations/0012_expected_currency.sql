-- The currency the shopper was shown, checked with the total; null: none was told.
--
-- Alone in its transaction: it locks the table until the COMMIT, for a moment.
ALTER TABLE orders.checkouts ADD COLUMN expected_currency text;
