-- Finished checkouts, and with them their keys, are pruned after a while; orders never are.
-- What a checkout said of its cart must stay said: a cart that was ordered is marked before
-- the checkout goes.

ALTER TABLE orders.carts ADD COLUMN ordered_at timestamptz; -- null: not, or its checkout tells
