-- Everybody may connect to a new database of PostgreSQL's; where that was taken back (REVOKE
-- CONNECT ... FROM PUBLIC, as many do), our roles need it by name.

DO $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO checkout_inventory, checkout_payment, '
                   'checkout_orders, checkout_sandbox', current_database());
END
$$;
