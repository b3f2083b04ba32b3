//! The statements that save a batch.
//!
//! The rows of a statement come as one JSON array, unpacked once into binary JSON: without `MATERIALIZED` SQLite would
//! parse the row again for each of its columns.

/// `INSERT` of a JSON array's objects, whose fields are named like the columns.
macro_rules! insert {
    ($table:literal, $first:literal $(, $column:literal)* $(,)?) => {
        concat!(
            "WITH r (v) AS MATERIALIZED (SELECT value FROM jsonb_each(?1)) INSERT INTO ", $table,
            " (", $first, $(", ", $column,)* ") SELECT v ->> '", $first, "'", $(", v ->> '", $column, "'",)* " FROM r"
        )
    };
}

/// `UPDATE` of the rows that a JSON array's objects name by their client order id.
macro_rules! update {
    ($table:literal, $first:literal $(, $column:literal)* $(,)?) => {
        concat!(
            "WITH r (v) AS MATERIALIZED (SELECT value FROM jsonb_each(?1)) UPDATE ", $table,
            " SET ", $first, " = v ->> '", $first, "'", $(", ", $column, " = v ->> '", $column, "'",)*
            " FROM r WHERE client_order_id = v ->> 'client_order_id'"
        )
    };
}

pub(super) const INSERT_ORDERS: &str = insert!(
    "orders",
    "client_order_id",
    "kind",
    "strategy_id",
    "account",
    "symbol",
    "side",
    "qty",
    "order_type",
    "limit_price",
    "stop_price",
    "time_in_force",
    "extended_hours",
    "status",
    "venue_status",
    "broker_order_id",
    "parent_order_id",
    "plan_version",
    "slice_num",
    "total_slices",
    "scheduled_time",
    "attempt",
    "tries",
    "claimed_at",
    "absent_at",
    "cancel_requested_at",
    "at_venue",
    "filled_qty",
    "filled_cost",
    "filled_avg_price",
    "reason_code",
    "error_message",
    "caller",
    "idempotency_key",
    "request_hash",
    "created_at",
    "updated_at",
    "submitted_at",
    "terminal_at",
);

pub(super) const UPDATE_ORDERS: &str = update!(
    "orders",
    "status",
    "venue_status",
    "broker_order_id",
    "plan_version",
    "attempt",
    "tries",
    "claimed_at",
    "absent_at",
    "cancel_requested_at",
    "at_venue",
    "filled_qty",
    "filled_cost",
    "filled_avg_price",
    "reason_code",
    "error_message",
    "updated_at",
    "submitted_at",
    "terminal_at",
);

pub(super) const INSERT_PARENTS: &str = insert!(
    "parents",
    "client_order_id",
    "schedule",
    "interval_seconds",
    "start_at",
    "end_at",
    "trade_date",
    "catch_up",
    "completion",
    "working_qty",
    "unknown_qty",
    "pending_qty",
    "unexecuted_qty",
    "open_slices",
    "rejected_slices",
    "failed_slices",
    "arrival_price",
    "benchmark_area",
    "benchmark_seconds",
    "warnings",
);

pub(super) const UPDATE_PARENTS: &str = update!(
    "parents",
    "working_qty",
    "unknown_qty",
    "pending_qty",
    "unexecuted_qty",
    "open_slices",
    "rejected_slices",
    "failed_slices",
    "benchmark_area",
    "benchmark_seconds",
);

pub(super) const INSERT_EXECUTIONS: &str = insert!(
    "executions",
    "broker_order_id",
    "cum_qty",
    "client_order_id",
    "execution_id",
    "account",
    "symbol",
    "side",
    "qty",
    "price",
    "fee",
    "at",
);

pub(super) const INSERT_SWITCH_ENTRIES: &str = insert!(
    "switch_history",
    "switch",
    "event",
    "timestamp",
    "operator",
    "reason",
    "details",
);

/// `?2` is the account, `?3` the number of the first event, `?4` the time.
pub(super) const INSERT_EVENTS: &str = "
WITH r (k, v) AS MATERIALIZED (SELECT key, value FROM jsonb_each(?1))
INSERT INTO order_events (account, number, client_order_id, event, old_status, new_status, data, actor, at)
SELECT ?2, ?3 + k, v ->> 'client_order_id', v ->> 'event', v ->> 'old_status', v ->> 'new_status', v ->> 'data',
    v ->> 'actor', ?4
FROM r";

/// A position replaces the version before, and no other.
pub(super) const WRITE_POSITIONS: &str = "
WITH r (v) AS MATERIALIZED (SELECT value FROM jsonb_each(?1))
INSERT INTO portfolio_positions
    (account, symbol, qty, cost, avg_price, realised_pnl, fees, last_price, last_at, version, updated_at)
SELECT v ->> 'account', v ->> 'symbol', v ->> 'qty', v ->> 'cost', v ->> 'avg_price', v ->> 'realised_pnl',
    v ->> 'fees', v ->> 'last_price', v ->> 'last_at', v ->> 'version', ?2
FROM r WHERE true
ON CONFLICT (account, symbol) DO UPDATE SET
    qty = excluded.qty, cost = excluded.cost, avg_price = excluded.avg_price, realised_pnl = excluded.realised_pnl,
    fees = excluded.fees, last_price = excluded.last_price, last_at = excluded.last_at, version = excluded.version,
    updated_at = excluded.updated_at
WHERE portfolio_positions.version = excluded.version - 1";

/// A position that is not at the version that was read; one that is missing is at version 0.
pub(super) const CONFLICT: &str = "
SELECT v ->> 'symbol' AS symbol, (v ->> 'version') - 1 AS expected, coalesce(p.version, 0) AS found
FROM (SELECT value AS v FROM jsonb_each(?1)) LEFT JOIN portfolio_positions AS p
    ON p.account = v ->> 'account' AND p.symbol = v ->> 'symbol'
WHERE coalesce(p.version, 0) <> (v ->> 'version') - 1 LIMIT 1";

/// A symbol that is in quarantine stays there for the reason that it came for; one that was cleared comes back.
pub(super) const QUARANTINE: &str = "
INSERT INTO quarantine (account, symbol, reason, broker_order_id, data, since)
SELECT ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?3 FROM json_each(?1) WHERE true
ON CONFLICT (account, symbol) DO UPDATE SET reason = excluded.reason, broker_order_id = excluded.broker_order_id,
    data = excluded.data, since = excluded.since, cleared_at = NULL, cleared_by = NULL
WHERE cleared_at IS NOT NULL";

pub(super) const DIFFERENCES: &str = "
INSERT INTO position_differences (account, symbol, ours, theirs, at)
SELECT ?2, value ->> 0, value ->> 1, value ->> 2, ?3 FROM json_each(?1)";

pub(super) const SWITCH: &str = "
INSERT INTO switches (switch, state, updated_at) VALUES (?1, ?2, ?3)
ON CONFLICT (switch) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at";

/// The statements above that look something up, for the test of their plans.
#[cfg(test)]
pub(in crate::storage) const ALL: &[&str] = &[UPDATE_ORDERS, UPDATE_PARENTS, WRITE_POSITIONS, CONFLICT];
