//! What `tranche db` asks of a store: its state, and whether everything in it is as it should be.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::Serialize;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use tranche_actors::ports::store::StoreError;

use super::capital;
use super::cells::{self, Cells, cell, maybe_number, number, owned};
use super::load::Tables;
use super::migrations::{Migration, checksum};

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub store: &'static str,
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// The version of its schema; 0 where there is none yet.
    pub version: u32,
    /// The version that this program makes of it.
    pub known: u32,
    /// How much room it takes, in bytes.
    pub bytes: u64,
    /// What is wrong with it, by its backend's own quick check and its versions.
    pub findings: Vec<String>,
}

/// Versions that don't fit this program.
pub(super) fn version_findings(applied: &[(u32, String)], migrations: &[Migration]) -> Vec<String> {
    let mut findings = Vec::new();
    for (version, ran) in applied {
        match migrations.iter().find(|migration| migration.version == *version) {
            None => findings.push(format!("schema version {version} is not known to this program")),
            Some(migration) if checksum(migration) != *ran => {
                findings.push(format!("migration {version} has changed since it ran"));
            }
            Some(_) => {}
        }
    }
    for migration in migrations {
        if !applied.iter().any(|(version, _)| *version == migration.version) {
            findings.push(format!("migration {} is pending: {}", migration.version, migration.description));
        }
    }
    findings
}

/// What a fresh schema has and this one has not, and the other way round.
pub(super) fn structure_findings(fresh: &[String], found: &[String]) -> Vec<String> {
    let (fresh, found) = (fresh.iter().collect::<BTreeSet<_>>(), found.iter().collect::<BTreeSet<_>>());
    let missing = fresh.difference(&found).map(|one| format!("missing or changed: {one}"));
    missing.chain(found.difference(&fresh).map(|one| format!("not of this schema: {one}"))).collect()
}

const EVENTS: &str = "
SELECT a.account, a.next_event, count(e.number) AS events, min(e.number) AS least, max(e.number) AS most
FROM accounts AS a LEFT JOIN order_events AS e ON e.account = a.account GROUP BY a.account, a.next_event ORDER BY 1";

const LONE_EVENTS: &str = "
SELECT DISTINCT account FROM order_events AS e
WHERE NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.account = e.account)";

const LONE_SLICES: &str = "
SELECT client_order_id FROM orders AS o WHERE kind = 'child' AND NOT EXISTS (
    SELECT 1 FROM orders AS p WHERE p.client_order_id = o.parent_order_id AND p.kind = 'parent')";

const HALF_PARENTS: &str = "
SELECT client_order_id FROM orders AS o
WHERE kind = 'parent' AND NOT EXISTS (SELECT 1 FROM parents AS p WHERE p.client_order_id = o.client_order_id)";

const CAPITAL: &str = "SELECT * FROM capital_transactions ORDER BY account, number";

const PORTFOLIOS: &str = "SELECT * FROM portfolio_state ORDER BY account";

const DAYS: &str = "SELECT * FROM daily_pnl ORDER BY account, day";

const SINGLES: &str = "SELECT * FROM orders WHERE kind = 'single'";

const PARENTS: &str = "SELECT * FROM orders JOIN parents USING (client_order_id) WHERE kind = 'parent'";

/// How many parents' slices are held at once.
const AT_ONCE: usize = 200;

/// A connection that may be asked anything.
pub(super) trait Questions: Tables {
    fn ask(&mut self, sql: &'static str) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;
}

/// Everything that the tables promise beyond what their backend sees to: the events' numbers, what belongs together,
/// whether each row can be read, and that every parent's numbers add up.
pub(super) async fn content_findings<T: Questions>(tables: &mut T) -> Result<Vec<String>, StoreError> {
    let mut findings = Vec::new();
    for row in tables.ask(EVENTS).await? {
        findings.extend(gap(&row)?);
    }
    for (sql, column, what) in [
        (LONE_EVENTS, "account", "events without their account"),
        (LONE_SLICES, "client_order_id", "a slice without its parent"),
        (HALF_PARENTS, "client_order_id", "a parent without its schedule"),
    ] {
        for row in tables.ask(sql).await? {
            findings.push(format!("{what}: {}", cell(&row, column, owned)?));
        }
    }
    findings.extend(equity_findings(tables).await?);
    for row in tables.ask(SINGLES).await? {
        findings.extend(cells::order(&row).err().map(|error| unreadable(&row, &error)));
    }
    let mut parents = Vec::new();
    for row in tables.ask(PARENTS).await? {
        match cells::parent(&row) {
            Ok(parent) => parents.push(parent),
            Err(error) => findings.push(unreadable(&row, &error)),
        }
    }
    for some in parents.chunks(AT_ONCE) {
        let ids = some.iter().map(|parent| parent.id.as_str()).collect();
        let mut slices = BTreeMap::<OrderId, Vec<Order>>::new();
        for row in tables.named(T::SQL.children, ids).await? {
            match cells::order(&row) {
                Ok(order) => {
                    let Some(parent) = order.slice.as_ref().map(|slice| slice.parent.clone()) else { continue };
                    slices.entry(parent).or_default().push(order);
                }
                Err(error) => findings.push(unreadable(&row, &error)),
            }
        }
        findings.extend(
            some.iter().flat_map(|parent| sums(parent, slices.get(&parent.id).map(Vec::as_slice).unwrap_or_default())),
        );
    }
    Ok(findings)
}

/// What accounts are worth is the sum of their ledgers of capital, and so are the results of their trading days.
async fn equity_findings<T: Questions>(tables: &mut T) -> Result<Vec<String>, StoreError> {
    let mut ledgers = BTreeMap::<String, Vec<CapitalEntry>>::new();
    for row in tables.ask(CAPITAL).await? {
        ledgers.entry(cell(&row, "account", owned)?).or_default().push(capital::entry(&row)?);
    }
    let mut days = BTreeMap::<String, Vec<DayResult>>::new();
    for row in tables.ask(DAYS).await? {
        days.entry(cell(&row, "account", owned)?).or_default().push(capital::day(&row)?);
    }
    let mut portfolios = BTreeMap::<String, Portfolio>::new();
    for row in tables.ask(PORTFOLIOS).await? {
        portfolios.insert(cell(&row, "account", owned)?, capital::portfolio(&row)?);
    }
    let accounts = ledgers.keys().chain(days.keys()).chain(portfolios.keys()).cloned().collect::<BTreeSet<_>>();
    let of_one = |account: &String| {
        let portfolio = portfolios.get(account).copied().unwrap_or_default();
        let ledger = ledgers.get(account).map(Vec::as_slice).unwrap_or_default();
        let days = days.get(account).map(Vec::as_slice).unwrap_or_default();
        let faults = portfolio.faults(ledger, days).into_iter();
        faults.map(|fault| format!("account {account:?}: {fault}")).collect::<Vec<_>>()
    };
    Ok(accounts.iter().flat_map(of_one).collect())
}

fn unreadable(row: &impl Cells, error: &StoreError) -> String {
    let id = row.text("client_order_id").ok().flatten().unwrap_or("an order without an id");
    format!("{id}: {error}")
}

/// Numbers go from 1 to the one before the account's next, without a gap.
fn gap(row: &impl Cells) -> Result<Option<String>, StoreError> {
    let (account, next, events) =
        (cell(row, "account", owned)?, number::<u64>(row, "next_event")?, number::<u64>(row, "events")?);
    let (least, most) = (maybe_number::<u64>(row, "least")?, maybe_number::<u64>(row, "most")?);
    let whole = match (least, most) {
        (None, None) => next == 1,
        (least, most) => least == Some(1) && most == Some(events) && next == events.saturating_add(1),
    };
    let shown = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    Ok((!whole).then(|| {
        format!(
            "the events of account {account:?} have gaps: {events} of them, the first {}, the last {}, the next {next}",
            shown(least),
            shown(most)
        )
    }))
}

/// A parent's quantity is all somewhere, and its slices, each counted once with what took its place, say the same.
fn sums(parent: &Parent, slices: &[Order]) -> Vec<String> {
    let mut findings = Vec::new();
    if !parent.adds_up() {
        findings.push(format!("parent {}: its quantities do not add up", parent.id));
    }
    let mut by_number = BTreeMap::<u32, (Decimal, Decimal)>::new();
    for order in slices {
        let Some(slice) = &order.slice else { continue };
        let (whole, filled) = by_number.entry(slice.slice_num).or_default();
        *whole = order.qty.get();
        *filled = order.filled_qty.max(*filled);
    }
    let planned = by_number.values().map(|(whole, _)| whole).sum::<Decimal>();
    if planned != parent.qty.get() {
        findings.push(format!("parent {}: {} ordered, its slices are {planned}", parent.id, parent.qty.get()));
    }
    let filled = by_number.values().map(|(_, filled)| filled).sum::<Decimal>();
    if filled != parent.progress.filled_qty {
        let said = parent.progress.filled_qty;
        findings.push(format!("parent {}: {said} filled, its slices have {filled}", parent.id));
    }
    findings
}
