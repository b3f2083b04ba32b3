-- The ledger's first tables.
--
-- Decimals are TEXT, exact and canonical (no exponent, no trailing zeros). Times are TEXT, RFC 3339 in UTC with six digits and Z, so
-- that they sort as they are. JSON is TEXT as it was written.

-- One row per account: the term of its owner, the number of its next event, the nonce of its last batch.
-- The account '' is nobody's: under it stand the events of the switches.
CREATE TABLE accounts (
    account    TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    term       INTEGER NOT NULL CHECK (term >= 0),
    expires_at TEXT,
    next_event INTEGER NOT NULL CHECK (next_event >= 1),
    batch      INTEGER NOT NULL
) STRICT;

INSERT INTO accounts (account, owner, term, next_event, batch) VALUES ('', '', 0, 1, 0);

-- Clustered by the order of arrival, since ids are hashes; no foreign key to the parent, which would halve the insert rate.
CREATE TABLE orders (
    client_order_id     TEXT NOT NULL PRIMARY KEY,
    kind                TEXT NOT NULL CHECK (kind IN ('parent', 'child', 'single')),
    strategy_id         TEXT NOT NULL,
    account             TEXT NOT NULL,
    symbol              TEXT NOT NULL,
    side                TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    qty                 TEXT NOT NULL,
    order_type          TEXT NOT NULL,
    limit_price         TEXT,
    stop_price          TEXT,
    trail_price         TEXT,
    trail_percent       TEXT,
    time_in_force       TEXT NOT NULL,
    extended_hours      INTEGER NOT NULL CHECK (extended_hours IN (0, 1)),
    status              TEXT NOT NULL,
    venue_status        TEXT,
    broker_order_id     TEXT,
    parent_order_id     TEXT,
    plan_version        INTEGER,
    slice_num           INTEGER,
    total_slices        INTEGER,
    scheduled_time      TEXT NOT NULL,
    attempt             INTEGER NOT NULL,
    tries               INTEGER NOT NULL,
    claimed_at          TEXT,
    absent_at           TEXT,
    cancel_requested_at TEXT,
    at_venue            INTEGER NOT NULL CHECK (at_venue IN (0, 1)),
    reduces             INTEGER NOT NULL DEFAULT 0 CHECK (reduces IN (0, 1)),
    makes_up            TEXT,
    filled_qty          TEXT NOT NULL,
    filled_cost         TEXT NOT NULL,
    filled_avg_price    TEXT,
    reason_code         TEXT,
    error_message       TEXT,
    replaces            TEXT,
    caller              TEXT,
    idempotency_key     TEXT,
    request_hash        TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    submitted_at        TEXT,
    terminal_at         TEXT,
    CHECK ((kind = 'child') = (parent_order_id IS NOT NULL)),
    CHECK ((kind = 'child') = (caller IS NULL))
) STRICT;

-- A parent's slices, as its timers want them: in the order of their times.
CREATE INDEX idx_orders_parent ON orders (parent_order_id, scheduled_time, slice_num) WHERE parent_order_id IS NOT NULL;
CREATE INDEX idx_orders_open ON orders (status, scheduled_time) WHERE terminal_at IS NULL;
CREATE INDEX idx_orders_state_account ON orders (status, account);
CREATE INDEX idx_orders_marked ON orders (account) WHERE cancel_requested_at IS NOT NULL AND terminal_at IS NULL;
CREATE UNIQUE INDEX idx_orders_key ON orders (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- What only a parent has; the rest is in its row of orders, and the two change together.
CREATE TABLE parents (
    client_order_id   TEXT NOT NULL PRIMARY KEY REFERENCES orders (client_order_id),
    schedule          TEXT NOT NULL CHECK (json_valid(schedule)),
    interval_seconds  INTEGER NOT NULL,
    start_at          TEXT NOT NULL,
    end_at            TEXT NOT NULL,
    trade_date        TEXT NOT NULL,
    catch_up          TEXT NOT NULL,
    completion        TEXT NOT NULL,
    working_qty       TEXT NOT NULL,
    unknown_qty       TEXT NOT NULL,
    pending_qty       TEXT NOT NULL,
    unexecuted_qty    TEXT NOT NULL,
    open_slices       INTEGER NOT NULL,
    rejected_slices   INTEGER NOT NULL,
    failed_slices     INTEGER NOT NULL,
    arrival_price     TEXT,
    benchmark_area    TEXT NOT NULL,
    benchmark_seconds TEXT NOT NULL,
    warnings          TEXT NOT NULL CHECK (json_valid(warnings))
) STRICT;

-- Everything that happened, numbered without gaps per account.
CREATE TABLE order_events (
    account         TEXT NOT NULL,
    number          INTEGER NOT NULL CHECK (number >= 1),
    client_order_id TEXT,
    event           TEXT NOT NULL,
    old_status      TEXT,
    new_status      TEXT,
    data            TEXT NOT NULL,
    actor           TEXT NOT NULL,
    at              TEXT NOT NULL,
    PRIMARY KEY (account, number)
) STRICT;

CREATE INDEX idx_order_events_order ON order_events (client_order_id) WHERE client_order_id IS NOT NULL;

CREATE TRIGGER order_events_never_change BEFORE UPDATE ON order_events
BEGIN SELECT raise(ABORT, 'order_events is append-only'); END;
CREATE TRIGGER order_events_never_go BEFORE DELETE ON order_events
BEGIN SELECT raise(ABORT, 'order_events is append-only'); END;

-- A trade is known by its order at the broker and the cumulative quantity; its own id is an attribute.
CREATE TABLE executions (
    broker_order_id TEXT NOT NULL,
    cum_qty         TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    execution_id    TEXT NOT NULL,
    account         TEXT NOT NULL,
    symbol          TEXT NOT NULL,
    side            TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    qty             TEXT NOT NULL,
    price           TEXT NOT NULL,
    fee             TEXT NOT NULL,
    at              TEXT NOT NULL,
    PRIMARY KEY (broker_order_id, cum_qty)
) STRICT;

CREATE TABLE portfolio_positions (
    account      TEXT NOT NULL,
    symbol       TEXT NOT NULL,
    qty          TEXT NOT NULL,
    cost         TEXT NOT NULL,
    avg_price    TEXT,
    realised_pnl TEXT NOT NULL,
    fees         TEXT NOT NULL,
    last_price   TEXT,
    last_at      TEXT,
    version      INTEGER NOT NULL CHECK (version >= 1),
    updated_at   TEXT NOT NULL,
    PRIMARY KEY (account, symbol),
    CHECK ((last_price IS NULL) = (last_at IS NULL))
) STRICT;

CREATE INDEX idx_positions_updated ON portfolio_positions (updated_at DESC);

-- A switch whose row is missing counts as shut: these two rows are made here, once, and never again.
CREATE TABLE switches (
    switch     TEXT NOT NULL PRIMARY KEY,
    state      TEXT NOT NULL CHECK (json_valid(state)),
    updated_at TEXT NOT NULL
) STRICT;

INSERT INTO switches (switch, state, updated_at) VALUES
(
    'kill_switch',
    '{"state":"ACTIVE","engaged_at":null,"engaged_by":null,"engagement_reason":null,"engagement_details":null,'
    || '"disengaged_at":null,"disengaged_by":null,"disengagement_notes":null,"engagement_count_today":0,"counted_on":null,'
    || '"engagement_id":null,"mode":null}',
    strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
),
(
    'circuit_breaker',
    '{"state":"OPEN","tripped_at":null,"trip_reason":null,"trip_details":null,"reset_at":null,"reset_by":null,'
    || '"trip_count_today":0,"counted_on":null,"quiet_until":null}',
    strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
);

CREATE TABLE switch_history (
    id        INTEGER PRIMARY KEY,
    switch    TEXT NOT NULL,
    event     TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    operator  TEXT NOT NULL,
    reason    TEXT,
    details   TEXT
) STRICT;

CREATE INDEX idx_switch_history ON switch_history (switch);

CREATE TRIGGER switch_history_never_changes BEFORE UPDATE ON switch_history
BEGIN SELECT raise(ABORT, 'switch_history is append-only'); END;
CREATE TRIGGER switch_history_never_goes BEFORE DELETE ON switch_history
BEGIN SELECT raise(ABORT, 'switch_history is append-only'); END;

-- Symbols that take no new entries until an operator clears them.
CREATE TABLE quarantine (
    account         TEXT NOT NULL,
    symbol          TEXT NOT NULL,
    reason          TEXT NOT NULL,
    broker_order_id TEXT,
    data            TEXT NOT NULL,
    since           TEXT NOT NULL,
    cleared_at      TEXT,
    cleared_by      TEXT,
    PRIMARY KEY (account, symbol)
) STRICT;

CREATE TABLE position_differences (
    id      INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    symbol  TEXT NOT NULL,
    ours    TEXT NOT NULL,
    theirs  TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;
