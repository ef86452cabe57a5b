-- What a row must be, said to the database as well; and tables whose rows all change once
-- or twice are cleaned up early, so that what is dead never outweighs what lives.

ALTER TABLE inventory.reservations
    ADD CHECK (cardinality(skus) = cardinality(quantities)
               AND cardinality(skus) = cardinality(unit_prices_cents)),
    ADD CHECK (total_cents >= 0),
    ADD CHECK (state NOT IN ('held', 'confirmed', 'expired')
               OR expires_at IS NOT NULL AND currency IS NOT NULL AND cardinality(skus) > 0);

ALTER TABLE payment.charges
    ADD CHECK (state <> 'captured' OR provider_charge_id IS NOT NULL),
    ADD CHECK (state <> 'declined' OR decline_code IS NOT NULL),
    ADD CHECK (state IN ('refunding', 'refunded')
               OR user_id IS NOT NULL AND method_id IS NOT NULL AND currency IS NOT NULL),
    ADD CHECK (currency ~ '^[A-Z]{3}$');

ALTER TABLE orders.checkouts
    ADD CHECK (octet_length(fingerprint) = 32),
    ADD CHECK (expected_total_cents >= 0),
    ADD CHECK ((state IN ('completed', 'failed')) = (finished_at IS NOT NULL));

ALTER TABLE orders.outbox ADD CHECK (sequence >= 1);

-- Two steps of one owner can both come to need attention.
UPDATE orders.incidents SET step = '' WHERE step IS NULL;
ALTER TABLE orders.incidents
    ALTER COLUMN step SET DEFAULT '',
    ALTER COLUMN step SET NOT NULL,
    DROP CONSTRAINT incidents_pkey,
    ADD PRIMARY KEY (order_id, epoch, kind, step);

ALTER TABLE orders.checkouts SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE inventory.reservations SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE inventory.stock SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE payment.charges SET (autovacuum_vacuum_scale_factor = 0.01);
