-- Replacement: an order that is to take the place of a live one, and the chain of all of them.
--
-- A replacement says who asked for it, also where it is a slice. That changes a CHECK, and SQLite can change one only by making the
-- table anew; its rows keep their places, which pages of lists go by.

CREATE TABLE new_orders (
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
    replaces_broker_id  TEXT,
    replaced_by         TEXT,
    chain               TEXT,
    chain_place         INTEGER,
    caller              TEXT,
    idempotency_key     TEXT,
    request_hash        TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    submitted_at        TEXT,
    terminal_at         TEXT,
    CHECK ((kind = 'child') = (parent_order_id IS NOT NULL)),
    CHECK ((kind = 'child' AND replaces IS NULL) = (caller IS NULL)),
    CHECK ((replaces IS NULL) = (replaces_broker_id IS NULL)),
    CHECK ((replaces IS NULL) = (chain IS NULL)),
    CHECK ((replaces IS NULL) = (chain_place IS NULL))
) STRICT;

INSERT INTO new_orders (
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
FROM orders ORDER BY rowid;

CREATE TABLE new_parents (
    client_order_id   TEXT NOT NULL PRIMARY KEY REFERENCES new_orders (client_order_id),
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

INSERT INTO new_parents (
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
ALTER TABLE new_orders RENAME TO orders;
ALTER TABLE new_parents RENAME TO parents;

-- A parent's slices, as its timers want them: in the order of their times.
CREATE INDEX idx_orders_parent ON orders (parent_order_id, scheduled_time, slice_num) WHERE parent_order_id IS NOT NULL;
CREATE INDEX idx_orders_open ON orders (status, scheduled_time) WHERE terminal_at IS NULL;
CREATE INDEX idx_orders_state_account ON orders (status, account);
CREATE INDEX idx_orders_marked ON orders (account) WHERE cancel_requested_at IS NOT NULL AND terminal_at IS NULL;
CREATE UNIQUE INDEX idx_orders_key ON orders (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- The replacements of an order, by the first of them all.
CREATE INDEX idx_orders_chain ON orders (chain) WHERE chain IS NOT NULL;
