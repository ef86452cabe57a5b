-- One schema and one login role per service; no service can read another's tables.
-- Roles belong to the whole cluster, so they may already be there.

DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['inventory', 'payment', 'orders', 'sandbox'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'checkout_' || service) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', 'checkout_' || service);
        END IF;
        EXECUTE format('CREATE SCHEMA %I', service);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service, 'checkout_' || service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I '
                       'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I',
                       service, 'checkout_' || service);
    END LOOP;
END
$$;
