ALTER TABLE accounts DROP COLUMN history;
