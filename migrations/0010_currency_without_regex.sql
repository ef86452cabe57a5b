-- The same rule for currencies, three letters A to Z, at a tenth of the time: a regular
-- expression took 7 % of the time of the process that writes orders.

ALTER TABLE orders.orders
    DROP CONSTRAINT orders_currency_check,
    ADD CONSTRAINT orders_currency_check CHECK (octet_length(currency) = 3
        AND translate(currency, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '') = '');

ALTER TABLE payment.charges
    DROP CONSTRAINT charges_currency_check,
    ADD CONSTRAINT charges_currency_check CHECK (octet_length(currency) = 3
        AND translate(currency, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '') = '');
