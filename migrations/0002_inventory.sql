-- Products, stock, reservations, and the ledger of what came in and went out.
-- Money is in minor units (cents), quantities in pieces.

CREATE TABLE inventory.products (
    sku         text COLLATE "C" PRIMARY KEY CHECK (sku ~ '^[A-Za-z0-9._-]{1,64}$'),
    title       text NOT NULL,
    price_cents bigint NOT NULL CHECK (price_cents BETWEEN 0 AND 1000000000),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$')
);

-- One row a SKU, updated by every order for it: space is left in each page so that the
-- new version fits beside the old (a HOT update, no index touched).
CREATE TABLE inventory.stock (
    sku       text COLLATE "C" PRIMARY KEY REFERENCES inventory.products,
    received  bigint NOT NULL DEFAULT 0,
    available bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held      bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    sold      bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
    CHECK (received = available + held + sold)
) WITH (fillfactor = 50);

-- What was booked in or out; received is the sum of deltas of a SKU.
CREATE TABLE inventory.ledger (
    adjustment_id text COLLATE "C" PRIMARY KEY,
    sku           text COLLATE "C" NOT NULL REFERENCES inventory.products,
    delta         bigint NOT NULL CHECK (delta <> 0),
    reason        text NOT NULL,
    booked_at     timestamptz NOT NULL DEFAULT now()
);

--   (reserve) --> held --> confirmed --> released
--                  |  \--> released
--                  \-----> expired
--   (reserve) --> refused       (release first) --> released: the tombstone
CREATE TABLE inventory.reservations (
    id                text COLLATE "C" PRIMARY KEY,
    state             text NOT NULL
        CHECK (state IN ('held', 'confirmed', 'released', 'expired', 'refused')),
    skus              text[] COLLATE "C" NOT NULL DEFAULT '{}',
    quantities        bigint[] NOT NULL DEFAULT '{}',
    unit_prices_cents bigint[] NOT NULL DEFAULT '{}',
    total_cents       bigint NOT NULL DEFAULT 0,
    currency          text,
    refusal           text CHECK (refusal IN ('out_of_stock', 'unknown_sku', 'mixed_currencies')),
    refused_skus      text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    expires_at        timestamptz,
    settled_at        timestamptz,
    CHECK ((state = 'refused') = (refusal IS NOT NULL))
);

-- For the reaper: only what is held has an end.
CREATE INDEX reservations_expiring ON inventory.reservations (expires_at) WHERE state = 'held';
