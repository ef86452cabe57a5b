-- A checkout that is aborting can never become an order any more, and its shopper may have
-- been told so: the cart is free for another key from then on, not only once all is undone.

DROP INDEX orders.checkouts_cart;
CREATE UNIQUE INDEX checkouts_cart ON orders.checkouts (user_id, cart_id)
    WHERE state IN ('running', 'completed');
