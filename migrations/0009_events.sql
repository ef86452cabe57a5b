-- The outbox becomes a log that can be read: the relay gives each committed event the next
-- position, so that nobody ever sees a later position before an earlier one.

-- The number a row got when it was inserted: not in the order of commits, so not for readers.
ALTER TABLE orders.outbox RENAME COLUMN position TO id;

ALTER TABLE orders.outbox
    ADD COLUMN position bigint CHECK (position >= 1), -- NULL until the relay has placed it
    ADD COLUMN traceparent text;                      -- of the request that caused it

CREATE INDEX outbox_unplaced ON orders.outbox (id) WHERE position IS NULL;
CREATE UNIQUE INDEX outbox_position ON orders.outbox (position) WHERE position IS NOT NULL;

-- Each row changes once or twice, and the index of what is unplaced is read all the time.
ALTER TABLE orders.outbox SET (autovacuum_vacuum_scale_factor = 0.01);

-- Where the relay stands; one row.
--
--      pruned          published         placed
--   ...gone |  readable    |  not yet with   |  committed, without a position
--           |              |  the bus        |
CREATE TABLE orders.relay (
    the_only   boolean PRIMARY KEY DEFAULT true CHECK (the_only),
    placed     bigint NOT NULL DEFAULT 0, -- the last position given
    published  bigint NOT NULL DEFAULT 0, -- the bus acknowledged all up to here
    pruned     bigint NOT NULL DEFAULT 0, -- all up to here are gone
    pruned_to  timestamptz NOT NULL DEFAULT '-infinity', -- and none of those was younger
    holder     text,                      -- the process that relays
    held_since timestamptz,
    CHECK (pruned <= published AND published <= placed)
);

INSERT INTO orders.relay DEFAULT VALUES;

-- How far each consumer has come.
CREATE TABLE orders.cursors (
    caller       text COLLATE "C" NOT NULL, -- as in orchestrator.callers
    name         text COLLATE "C" NOT NULL,
    position     bigint NOT NULL CHECK (position >= 0),
    committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, name)
);

ALTER TABLE orders.checkouts ADD COLUMN traceparent text;
