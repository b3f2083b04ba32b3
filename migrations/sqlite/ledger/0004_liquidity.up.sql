-- The limit by volume that a parent's plan kept to, as JSON, so that it can be seen why its slices are as large as they are.
ALTER TABLE parents ADD COLUMN liquidity TEXT CHECK (liquidity IS NULL OR json_valid(liquidity));
