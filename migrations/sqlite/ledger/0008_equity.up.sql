-- What an account is worth: an append-only ledger of capital, one row that sums it up, and the result of each trading day.
CREATE TABLE capital_transactions (
    account         TEXT NOT NULL,
    number          INTEGER NOT NULL CHECK (number >= 1),
    kind            TEXT NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'trading_pnl', 'fee', 'dividend', 'interest')),
    amount          TEXT NOT NULL,
    equity_before   TEXT NOT NULL,
    equity_after    TEXT NOT NULL,
    trading_day     TEXT NOT NULL,
    client_order_id TEXT,
    symbol          TEXT,
    actor           TEXT NOT NULL,
    reason          TEXT,
    at              TEXT NOT NULL,
    PRIMARY KEY (account, number)
) STRICT;

CREATE TRIGGER capital_transactions_never_change BEFORE UPDATE ON capital_transactions
BEGIN SELECT raise(ABORT, 'capital_transactions is append-only'); END;
CREATE TRIGGER capital_transactions_never_go BEFORE DELETE ON capital_transactions
BEGIN SELECT raise(ABORT, 'capital_transactions is append-only'); END;

CREATE TABLE portfolio_state (
    account         TEXT NOT NULL PRIMARY KEY,
    initial_capital TEXT NOT NULL,
    net_capital     TEXT NOT NULL,
    closed_equity   TEXT NOT NULL,
    high_water_mark TEXT NOT NULL,
    peak_result     TEXT NOT NULL,
    entries         INTEGER NOT NULL CHECK (entries >= 0),
    version         INTEGER NOT NULL CHECK (version >= 1),
    updated_at      TEXT NOT NULL
) STRICT;

CREATE TABLE daily_pnl (
    account            TEXT NOT NULL,
    day                TEXT NOT NULL,
    realised_pnl       TEXT NOT NULL,
    fees               TEXT NOT NULL,
    capital            TEXT NOT NULL,
    executions         INTEGER NOT NULL,
    orders             INTEGER NOT NULL,
    opening_equity     TEXT,
    opening_unrealised TEXT,
    opened_at          TEXT,
    updated_at         TEXT NOT NULL,
    PRIMARY KEY (account, day),
    CHECK ((opened_at IS NULL) = (opening_equity IS NULL)),
    CHECK ((opened_at IS NULL) = (opening_unrealised IS NULL))
) STRICT;

-- What an order's trades realised; none of a parent, whose slices have theirs.
ALTER TABLE orders ADD COLUMN realised_pnl TEXT;
