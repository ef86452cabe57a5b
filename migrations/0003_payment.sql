-- Payment methods, charges, and the sandbox provider's own ledger.

CREATE TABLE payment.methods (
    user_id        uuid NOT NULL,
    id             text COLLATE "C" NOT NULL,
    provider_token text NOT NULL,
    label          text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id)
);

--   (charge) --> intent --> captured --> refunding --> refunded
--                  |  \--> declined         ^
--                  \-----------------------/        (refund first) --> refunded: tombstone
CREATE TABLE payment.charges (
    id                 text COLLATE "C" PRIMARY KEY,
    state              text NOT NULL
        CHECK (state IN ('intent', 'captured', 'declined', 'refunding', 'refunded')),
    user_id            uuid,
    method_id          text,
    provider_token     text,
    amount_cents       bigint NOT NULL DEFAULT 0 CHECK (amount_cents >= 0),
    refunded_cents     bigint NOT NULL DEFAULT 0
        CHECK (refunded_cents BETWEEN 0 AND amount_cents),
    currency           text,
    provider_charge_id text,
    decline_code       text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    settled_at         timestamptz
);

-- The sandbox plays the card network: what it says it charged is what "really" happened.
-- It has a schema and role of its own, as another company's database would.
CREATE TABLE sandbox.charges (
    idempotency_key    text COLLATE "C" PRIMARY KEY,
    provider_charge_id text,
    status             text NOT NULL
        CHECK (status IN ('captured', 'declined', 'refunded', 'voided')),
    method             text,
    amount_cents       bigint NOT NULL DEFAULT 0,
    refunded_cents     bigint NOT NULL DEFAULT 0,
    currency           text,
    decline_code       text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    refunded_at        timestamptz
);

-- How often each key was tried, for methods that fail before they succeed.
CREATE TABLE sandbox.attempts (
    idempotency_key text COLLATE "C" PRIMARY KEY,
    count           bigint NOT NULL
);
