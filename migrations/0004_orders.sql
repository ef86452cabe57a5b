-- Users, carts, checkouts (the saga's memory), orders, and the outbox of events.

-- Users come from the token's subject and are created on first sight.
CREATE TABLE orders.users (
    id         uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A cart belongs to its user: two users' carts of one name are two carts.
CREATE TABLE orders.carts (
    user_id    uuid NOT NULL REFERENCES orders.users,
    id         text COLLATE "C" NOT NULL,
    lines      jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id)
);

-- One row a checkout, written before any side effect.
--
--   running --> completed                 an order stands beside it
--      |  \---> failed                    nothing had been done that needs undoing
--      \------> aborting --> failed       its effects are being undone
--
-- Every change is conditional on state and epoch; whoever takes a checkout over raises
-- the epoch, so that an owner who wakes up late changes nothing.
CREATE TABLE orders.checkouts (
    order_id             text COLLATE "C" PRIMARY KEY,
    idempotency_key      text COLLATE "C" NOT NULL UNIQUE,
    user_id              uuid NOT NULL,
    cart_id              text COLLATE "C" NOT NULL,
    payment_method_id    text NOT NULL,
    fingerprint          bytea NOT NULL,
    cart                 jsonb NOT NULL,
    expected_total_cents bigint,
    state                text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'aborting', 'completed', 'failed')),
    failure_reason       text,
    failure_message      text,
    failure_subject      text,
    owner                text NOT NULL,
    epoch                bigint NOT NULL DEFAULT 1,
    lease_until          timestamptz NOT NULL,
    taken_over_at        timestamptz,
    needs_attention      boolean NOT NULL DEFAULT false,
    created_at           timestamptz NOT NULL DEFAULT now(),
    finished_at          timestamptz,
    CHECK ((state IN ('aborting', 'failed')) = (failure_reason IS NOT NULL))
);

-- A cart is ordered once: no second checkout while one runs or has succeeded.
CREATE UNIQUE INDEX checkouts_cart ON orders.checkouts (user_id, cart_id)
    WHERE state <> 'failed';

-- For recovery: only what is unfinished has a lease to watch.
CREATE INDEX checkouts_unfinished ON orders.checkouts (lease_until)
    WHERE state IN ('running', 'aborting');

CREATE TABLE orders.orders (
    id              text COLLATE "C" PRIMARY KEY,
    user_id         uuid NOT NULL REFERENCES orders.users,
    total_cents     bigint NOT NULL CHECK (total_cents >= 0),
    status          text NOT NULL DEFAULT 'created' CHECK (status IN ('created')),
    idempotency_key text COLLATE "C" NOT NULL UNIQUE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    cart_id         text COLLATE "C" NOT NULL,
    reservation_id  text COLLATE "C" NOT NULL,
    charge_id       text COLLATE "C" NOT NULL,
    lines           jsonb NOT NULL
);

CREATE INDEX orders_of_user ON orders.orders (user_id, created_at DESC);

-- Events commit with what they tell of; the relay publishes them afterwards.
CREATE TABLE orders.outbox (
    position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id     text COLLATE "C" NOT NULL,
    sequence     bigint NOT NULL,
    type         text NOT NULL,
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
