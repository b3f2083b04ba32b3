ALTER TABLE orders DROP COLUMN realised_pnl;
DROP TABLE daily_pnl, portfolio_state, capital_transactions;
