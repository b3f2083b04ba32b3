-- What an account is worth: an append-only ledger of capital, one row that sums it up, and the result of each trading day.
CREATE TABLE capital_transactions (
    account         TEXT NOT NULL,
    number          BIGINT NOT NULL CHECK (number >= 1),
    kind            TEXT NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'trading_pnl', 'fee', 'dividend', 'interest')),
    amount          NUMERIC NOT NULL,
    equity_before   NUMERIC NOT NULL,
    equity_after    NUMERIC NOT NULL,
    trading_day     DATE NOT NULL,
    client_order_id TEXT,
    symbol          TEXT,
    actor           TEXT NOT NULL,
    reason          TEXT,
    at              TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, number)
);

CREATE TRIGGER capital_transactions_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON capital_transactions
FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();

CREATE TABLE portfolio_state (
    account         TEXT NOT NULL PRIMARY KEY,
    initial_capital NUMERIC NOT NULL,
    net_capital     NUMERIC NOT NULL,
    closed_equity   NUMERIC NOT NULL,
    high_water_mark NUMERIC NOT NULL,
    peak_result     NUMERIC NOT NULL,
    entries         BIGINT NOT NULL CHECK (entries >= 0),
    version         BIGINT NOT NULL CHECK (version >= 1),
    updated_at      TIMESTAMPTZ NOT NULL
);

CREATE TABLE daily_pnl (
    account            TEXT NOT NULL,
    day                DATE NOT NULL,
    realised_pnl       NUMERIC NOT NULL,
    fees               NUMERIC NOT NULL,
    capital            NUMERIC NOT NULL,
    executions         BIGINT NOT NULL,
    orders             BIGINT NOT NULL,
    opening_equity     NUMERIC,
    opening_unrealised NUMERIC,
    opened_at          TIMESTAMPTZ,
    updated_at         TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, day),
    CHECK ((opened_at IS NULL) = (opening_equity IS NULL)),
    CHECK ((opened_at IS NULL) = (opening_unrealised IS NULL))
);

-- What an order's trades realised; none of a parent, whose slices have theirs.
ALTER TABLE orders ADD COLUMN realised_pnl NUMERIC;
