-- The X-Request-Id of the request that claimed a checkout: what a shopper has in hand, by which
-- an operator finds the order.  Not indexed: both ids hold their time, so the order's stands
-- close behind the request's in the primary key.
--
-- Alone with what locks nothing: it locks the table until the COMMIT, for a moment.
ALTER TABLE orders.checkouts ADD COLUMN request_id text; -- null: claimed before, or no ULID
