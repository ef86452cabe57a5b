-- Events that the bus refused while it took others: set aside, so that they hold nobody up.
--
-- A row is a copy, since its event leaves the outbox when it is old.  It goes when the bus has
-- acknowledged it or an operator drops it.  No event is given to the bus while one before it
-- of its order is here: it comes here, too, with no attempt made.
CREATE TABLE orders.dead_letters (
    position    bigint PRIMARY KEY,
    order_id    text COLLATE "C" NOT NULL,
    sequence    bigint NOT NULL,
    type        text NOT NULL,
    payload     jsonb NOT NULL,
    traceparent text,
    created_at  timestamptz NOT NULL,
    attempts    bigint NOT NULL,                    -- that the bus refused
    reason      text NOT NULL,                      -- what it said last
    refused_at  timestamptz NOT NULL DEFAULT now(), -- for the first time
    next_at     timestamptz,                        -- not tried before; NULL: given up
    UNIQUE (order_id, sequence)
);
