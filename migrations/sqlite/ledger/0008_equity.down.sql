ALTER TABLE orders DROP COLUMN realised_pnl;
DROP TABLE daily_pnl;
DROP TABLE portfolio_state;
DROP TABLE capital_transactions;
