-- What one column must be is said by its type.  PostgreSQL reads the text of a table's CHECKs
-- anew in each statement, which took a tenth of a lone order; a domain's it keeps ready.
--
-- Rules between columns stay for what is sold and paid.  The others said what our statements
-- write anyway; the tests look for such rows after every fault ("no row contradicts itself").
--
-- Rewrites these tables, under a lock.  Services older than this migration must be started
-- anew after it.

CREATE DOMAIN inventory.pieces AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN inventory.cents AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN inventory.reservation_state AS text
    CHECK (VALUE IN ('held', 'confirmed', 'released', 'expired', 'refused'));
CREATE DOMAIN inventory.refusal AS text
    CHECK (VALUE IN ('out_of_stock', 'unknown_sku', 'mixed_currencies'));

ALTER TABLE inventory.stock
    DROP CONSTRAINT stock_available_check,
    DROP CONSTRAINT stock_held_check,
    DROP CONSTRAINT stock_sold_check,
    ALTER available TYPE inventory.pieces,
    ALTER held TYPE inventory.pieces,
    ALTER sold TYPE inventory.pieces;

ALTER TABLE inventory.reservations
    DROP CONSTRAINT reservations_state_check,
    DROP CONSTRAINT reservations_refusal_check,
    DROP CONSTRAINT reservations_total_cents_check,
    DROP CONSTRAINT reservations_check,
    DROP CONSTRAINT reservations_check1,
    DROP CONSTRAINT reservations_check2,
    ALTER state TYPE inventory.reservation_state,
    ALTER refusal TYPE inventory.refusal,
    ALTER total_cents TYPE inventory.cents;

CREATE DOMAIN payment.cents AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN payment.currency AS text CHECK (octet_length(VALUE) = 3
    AND translate(VALUE, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '') = '');
CREATE DOMAIN payment.charge_state AS text
    CHECK (VALUE IN ('intent', 'captured', 'declined', 'refunding', 'refunded'));

ALTER TABLE payment.charges
    DROP CONSTRAINT charges_state_check,
    DROP CONSTRAINT charges_amount_cents_check,
    DROP CONSTRAINT charges_currency_check,
    DROP CONSTRAINT charges_check1,
    DROP CONSTRAINT charges_check2,
    DROP CONSTRAINT charges_check3,
    ALTER state TYPE payment.charge_state,
    ALTER amount_cents TYPE payment.cents,
    ALTER currency TYPE payment.currency;

CREATE DOMAIN sandbox.charge_status AS text
    CHECK (VALUE IN ('captured', 'declined', 'refunded', 'voided'));

ALTER TABLE sandbox.charges
    DROP CONSTRAINT charges_status_check,
    ALTER status TYPE sandbox.charge_status;

CREATE DOMAIN orders.cents AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN orders.currency AS text CHECK (octet_length(VALUE) = 3
    AND translate(VALUE, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '') = '');
CREATE DOMAIN orders.checkout_state AS text
    CHECK (VALUE IN ('running', 'aborting', 'completed', 'failed'));
CREATE DOMAIN orders.fingerprint AS bytea CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN orders.order_status AS text CHECK (VALUE IN ('created'));

ALTER TABLE orders.checkouts
    DROP CONSTRAINT checkouts_state_check,
    DROP CONSTRAINT checkouts_fingerprint_check,
    DROP CONSTRAINT checkouts_expected_total_cents_check,
    DROP CONSTRAINT checkouts_check,
    DROP CONSTRAINT checkouts_check1,
    ALTER state TYPE orders.checkout_state,
    ALTER fingerprint TYPE orders.fingerprint,
    ALTER expected_total_cents TYPE orders.cents;

ALTER TABLE orders.orders
    DROP CONSTRAINT orders_status_check,
    DROP CONSTRAINT orders_total_cents_check,
    DROP CONSTRAINT orders_currency_check,
    ALTER status TYPE orders.order_status,
    ALTER total_cents TYPE orders.cents,
    ALTER currency TYPE orders.currency;

CREATE DOMAIN orders.place AS bigint CHECK (VALUE >= 1);

ALTER TABLE orders.outbox
    DROP CONSTRAINT outbox_sequence_check,
    DROP CONSTRAINT outbox_position_check,
    ALTER sequence TYPE orders.place,
    ALTER position TYPE orders.place;
