ALTER TABLE parents DROP COLUMN liquidity;
