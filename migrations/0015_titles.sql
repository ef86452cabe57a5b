-- A sold line keeps the title it was sold under.  NULL: reserved before this migration, or
-- by a service from before it; the line then has no title.  Only the catalogue changes.
--
-- The title of an order's line stands in orders.orders.lines, which is JSON.
ALTER TABLE inventory.reservations ADD COLUMN titles text[];
