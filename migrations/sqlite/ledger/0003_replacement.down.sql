-- Back to orders that nothing takes the place of. The replacements go, and what they replaced stays as it is; of a replacement that is
-- still open the way back would lose an order, so it stops there.
CREATE TABLE no_replacement_is_open (open INTEGER NOT NULL CHECK (open = 0)) STRICT;
INSERT INTO no_replacement_is_open (open) SELECT count(*) FROM orders WHERE replaces IS NOT NULL AND terminal_at IS NULL;
DROP TABLE no_replacement_is_open;

CREATE TABLE old_orders (
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

INSERT INTO old_orders (
    rowid, client_order_id, kind, strategy_id, account, symbol, side, qty, order_type, limit_price, stop_price, trail_price,
    trail_percent, time_in_force, extended_hours, status, venue_status, broker_order_id, parent_order_id, plan_version,
    slice_num, total_slices, scheduled_time, attempt, tries, claimed_at, absent_at, cancel_requested_at, at_venue, reduces,
    makes_up, filled_qty, filled_cost, filled_avg_price, reason_code, error_message, replaces, caller, idempotency_key,
    request_hash, created_at, updated_at, submitted_at, terminal_at
)
SELECT
    rowid, client_order_id, kind, strategy_id, account, symbol, side, qty, order_type, limit_price, stop_price, trail_price,
    trail_percent, time_in_force, extended_hours, status, venue_status, broker_order_id, parent_order_id, plan_version,
    slice_num, total_slices, scheduled_time, attempt, tries, claimed_at, absent_at, cancel_requested_at, at_venue, reduces,
    makes_up, filled_qty, filled_cost, filled_avg_price, reason_code, error_message, replaces, caller, idempotency_key,
    request_hash, created_at, updated_at, submitted_at, terminal_at
FROM orders WHERE replaces IS NULL ORDER BY rowid;

CREATE TABLE old_parents (
    client_order_id   TEXT NOT NULL PRIMARY KEY REFERENCES old_orders (client_order_id),
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

INSERT INTO old_parents (
    rowid, client_order_id, schedule, interval_seconds, start_at, end_at, trade_date, catch_up, completion, working_qty,
    unknown_qty, pending_qty, unexecuted_qty, open_slices, rejected_slices, failed_slices, arrival_price, benchmark_area,
    benchmark_seconds, warnings
)
SELECT
    rowid, client_order_id, schedule, interval_seconds, start_at, end_at, trade_date, catch_up, completion, working_qty,
    unknown_qty, pending_qty, unexecuted_qty, open_slices, rejected_slices, failed_slices, arrival_price, benchmark_area,
    benchmark_seconds, warnings
FROM parents ORDER BY rowid;

DROP TABLE parents;
DROP TABLE orders;
ALTER TABLE old_orders RENAME TO orders;
ALTER TABLE old_parents RENAME TO parents;

-- A parent's slices, as its timers want them: in the order of their times.
CREATE INDEX idx_orders_parent ON orders (parent_order_id, scheduled_time, slice_num) WHERE parent_order_id IS NOT NULL;
CREATE INDEX idx_orders_open ON orders (status, scheduled_time) WHERE terminal_at IS NULL;
CREATE INDEX idx_orders_state_account ON orders (status, account);
CREATE INDEX idx_orders_marked ON orders (account) WHERE cancel_requested_at IS NOT NULL AND terminal_at IS NULL;
CREATE UNIQUE INDEX idx_orders_key ON orders (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
