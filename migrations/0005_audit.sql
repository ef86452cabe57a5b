-- What audits and operators look things up by, and what they want to know of the past.

-- An event is one of its order's, once; and an order's events are found by its id.
CREATE UNIQUE INDEX outbox_of_order ON orders.outbox (order_id, sequence);

-- What happened to a checkout other than going straight to its end: written together with
-- the change it tells of, and never by one that simply completes.
CREATE TABLE orders.incidents (
    order_id text COLLATE "C" NOT NULL REFERENCES orders.checkouts ON DELETE CASCADE,
    epoch    bigint NOT NULL,
    kind     text NOT NULL
        CHECK (kind IN ('refused', 'taken_over', 'needs_attention', 'retried')),
    at       timestamptz NOT NULL DEFAULT now(),
    owner    text,
    step     text,
    tries    bigint,
    cause    text,
    PRIMARY KEY (order_id, epoch, kind)
);
