//! The statements that save a batch, made once from the names of the rows' columns.

use std::sync::LazyLock;

use super::super::columns::{insert, update};
use crate::storage::capital::{CapitalRow, DayRow, PortfolioRow};
use crate::storage::columns::Columns;
use crate::storage::rows::{
    AnswerRow, AuditRow, CauseRow, DifferenceRow, EventRow, ExecutionRow, LimitRow, LockoutRow, OrderRow, OverrideRow,
    ParentRow, PositionRow, ProgressRow, StateRow, SwitchEntryRow,
};

type Sql = LazyLock<String>;

pub(super) static INSERT_ORDERS: Sql = Sql::new(|| insert::<OrderRow<'_>>("orders", &[]));
pub(super) static UPDATE_ORDERS: Sql = Sql::new(|| update::<StateRow<'_>>("orders"));
pub(super) static INSERT_PARENTS: Sql = Sql::new(|| insert::<ParentRow<'_>>("parents", &[]));
pub(super) static UPDATE_PARENTS: Sql = Sql::new(|| update::<ProgressRow<'_>>("parents"));
pub(super) static INSERT_EXECUTIONS: Sql = Sql::new(|| insert::<ExecutionRow<'_>>("executions", &[]));
pub(super) static INSERT_LIMITS: Sql = Sql::new(|| insert::<LimitRow<'_>>("limits", &[]));
pub(super) static INSERT_OVERRIDES: Sql = Sql::new(|| insert::<OverrideRow<'_>>("limit_overrides", &[]));
pub(super) static INSERT_LOCKOUTS: Sql = Sql::new(|| insert::<LockoutRow<'_>>("lockouts", &[]));
pub(super) static INSERT_ANSWERS: Sql = Sql::new(|| insert::<AnswerRow<'_>>("idempotency_keys", &[]));
pub(super) static INSERT_SWITCH_ENTRIES: Sql = Sql::new(|| insert::<SwitchEntryRow<'_>>("switch_history", &[]));

/// `?2` is the account, `?3` the time.
pub(super) static INSERT_DIFFERENCES: Sql =
    Sql::new(|| insert::<DifferenceRow<'_>>("position_differences", &[("account", "?2"), ("at", "?3")]));

/// `?2` is the account, `?3` the time.
pub(in crate::storage::sqlite) static INSERT_AUDIT: Sql =
    Sql::new(|| insert::<AuditRow<'_>>("audit", &[("account", "?2"), ("at", "?3")]));

/// `?2` is the account, `?3` the time, `?4` the number of the first event.
pub(super) static INSERT_EVENTS: Sql = Sql::new(|| {
    let fixed = [("account", "?2"), ("at", "?3"), ("number", "?4 + k")];
    insert::<EventRow<'_>>("order_events", &fixed)
});

/// A cause is written once, and again when it is cleared. `?2` is the account.
pub(super) static WRITE_CAUSES: Sql = Sql::new(|| {
    let rows = insert::<CauseRow<'_>>("quarantine_causes", &[("account", "?2")]);
    let set = ["cleared_at", "cleared_by", "cleared_reason", "cleared_caller"];
    let set = set.map(|name| format!("{name} = excluded.{name}"));
    format!("{rows} ON CONFLICT (account, cause) DO UPDATE SET {}", set.join(", "))
});

/// A position replaces the version before, and no other. `?2` is the time.
pub(super) static WRITE_POSITIONS: Sql = Sql::new(|| {
    let rows = insert::<PositionRow<'_>>("portfolio_positions", &[("updated_at", "?2")]);
    let set = PositionRow::names();
    let set = set.iter().map(|(name, _)| *name).chain(["updated_at"]).map(|name| format!("{name} = excluded.{name}"));
    format!(
        "{rows} ON CONFLICT (account, symbol) DO UPDATE SET {}
        WHERE portfolio_positions.version = excluded.version - 1",
        set.collect::<Vec<_>>().join(", ")
    )
});

/// What an account is worth replaces the version before, and no other. `?2` is the time.
pub(super) static WRITE_PORTFOLIO: Sql = Sql::new(|| {
    let rows = insert::<PortfolioRow<'_>>("portfolio_state", &[("updated_at", "?2")]);
    let set = PortfolioRow::names();
    let set = set.iter().map(|(name, _)| *name).chain(["updated_at"]).map(|name| format!("{name} = excluded.{name}"));
    format!(
        "{rows} ON CONFLICT (account) DO UPDATE SET {} WHERE portfolio_state.version = excluded.version - 1",
        set.collect::<Vec<_>>().join(", ")
    )
});

/// `?2` is the account, `?3` the time.
pub(super) static INSERT_CAPITAL: Sql =
    Sql::new(|| insert::<CapitalRow<'_>>("capital_transactions", &[("account", "?2"), ("at", "?3")]));

/// The result of a trading day is written as often as it changes. `?2` is the time.
pub(super) static WRITE_DAYS: Sql = Sql::new(|| {
    let rows = insert::<DayRow<'_>>("daily_pnl", &[("updated_at", "?2")]);
    let set = DayRow::names();
    let set = set.iter().map(|(name, _)| *name).chain(["updated_at"]).map(|name| format!("{name} = excluded.{name}"));
    format!("{rows} ON CONFLICT (account, day) DO UPDATE SET {}", set.collect::<Vec<_>>().join(", "))
});

pub(super) const PORTFOLIO_VERSION: &str = "SELECT version FROM portfolio_state WHERE account = ?1";

/// A position that is not at the version that was read, of arrays of account, symbol and that version; one that is
/// missing is at version 0.
pub(super) const CONFLICT: &str = "
SELECT v ->> 1 AS symbol, v ->> 2 AS expected, coalesce(p.version, 0) AS found
FROM (SELECT value AS v FROM jsonb_each(?1)) LEFT JOIN portfolio_positions AS p
    ON p.account = v ->> 0 AND p.symbol = v ->> 1
WHERE coalesce(p.version, 0) <> v ->> 2 LIMIT 1";

pub(super) const CLEAR_LIMITS: [&str; 3] =
    ["DELETE FROM limits", "DELETE FROM limit_overrides", "DELETE FROM lockouts"];

pub(super) const SWITCH: &str = "
INSERT INTO switches (switch, state, updated_at) VALUES (?1, ?2, ?3)
ON CONFLICT (switch) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at";

/// What is kept no longer goes with the next answer that is kept.
pub(super) const FORGET_ANSWERS: &str = "DELETE FROM idempotency_keys WHERE at <= ?1";

pub(super) const CONFIRM: &str = "
INSERT INTO switch_confirmations (engagement_id, instance_id, cut, confirmed_at)
VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) ON CONFLICT (engagement_id, instance_id) DO NOTHING";

/// The statements that look something up, for the test of their plans.
#[cfg(test)]
pub(in crate::storage) fn all() -> [&'static str; 7] {
    [&UPDATE_ORDERS, &UPDATE_PARENTS, &WRITE_POSITIONS, &WRITE_PORTFOLIO, &WRITE_DAYS, PORTFOLIO_VERSION, CONFLICT]
}
