//! What the books say, and whether they say the same.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::Value;

use crate::house::{Api, House};

/// A decimal that an answer carries as a string; null is zero.
#[track_caller]
pub(crate) fn dec(value: &Value) -> Decimal {
    match value {
        Value::Null => Decimal::ZERO,
        Value::String(text) => text.parse().unwrap(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => panic!("{value} is no decimal"),
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// When something happened, in microseconds.
#[track_caller]
pub(crate) fn micros(value: &Value) -> i64 {
    let at = chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap_or_else(|| panic!("{value} is no time")));
    at.unwrap().timestamp_micros()
}

/// The paper broker's book.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) orders: Vec<Value>,
    pub(crate) executions: Vec<Value>,
    pub(crate) positions: BTreeMap<String, Decimal>,
}

impl Book {
    pub(crate) fn of(book: Value) -> Self {
        let rows = |name: &str| book[name].as_array().unwrap().clone();
        let positions = rows("positions").iter().map(|row| (text(&row["symbol"]), dec(&row["qty"]))).collect();
        Self { orders: rows("orders"), executions: rows("executions"), positions }
    }

    /// Its orders by the ids that they were sent under; an id that is there twice is a failure.
    #[track_caller]
    pub(crate) fn by_id(&self) -> BTreeMap<String, Value> {
        let mut orders = BTreeMap::new();
        for order in &self.orders {
            let before = orders.insert(text(&order["client_order_id"]), order.clone());
            assert!(before.is_none(), "two orders under one id: {order}");
        }
        orders
    }

    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.by_id().into_keys().collect()
    }

    /// What was traded under an id, by the executions alone.
    pub(crate) fn traded(&self, id: &str) -> Decimal {
        let of_id = self.executions.iter().filter(|execution| execution["client_order_id"] == id);
        of_id.map(|execution| dec(&execution["qty"])).sum()
    }
}

/// Whether the numbers of an ended parent add up, from its slices to its total.
#[track_caller]
pub(crate) fn assert_adds_up(parent: &Value, slices: &[Value]) {
    let id = &parent["parent_order_id"];
    let total = dec(&parent["total_qty"]);
    let (filled, unexecuted) = (dec(&parent["filled_qty"]), dec(&parent["unexecuted_qty"]));
    assert_eq!(filled + unexecuted, total, "parent {id}: {parent}");
    for name in ["working_qty", "unknown_qty", "pending_qty"] {
        assert_eq!(dec(&parent[name]), Decimal::ZERO, "{name} of {id}: {parent}");
    }
    let planned = slices.iter().map(|slice| dec(&slice["qty"])).sum::<Decimal>();
    assert_eq!(planned, total, "the slices of {id} are its whole quantity");
    let traded = slices.iter().map(|slice| dec(&slice["filled_qty"])).sum::<Decimal>();
    assert_eq!(traded, filled, "the slices of {id} hold its fills");
    for (at, slice) in slices.iter().enumerate() {
        assert_eq!(slice["slice_num"], at, "{slice}");
        assert!(!slice["terminal_at"].is_null(), "a slice of an ended parent has ended: {slice}");
    }
}

/// The words of a slice that was never sent.
pub(crate) const NEVER_SENT: &[&str] =
    &["expired", "canceled", "blocked_kill_switch", "blocked_circuit_breaker", "failed"];

/// Holds the gateway's books against the broker's, once nothing is open any more: every order of ours has one order at
/// the broker, or none and was never filled; each order of the broker's is ours; quantities, fills and positions are
/// equal to the last digit.
pub(crate) async fn assert_books_agree(house: &House, api: &Api) {
    let book = house.book();
    let theirs = book.by_id();
    let ours = api.all("/api/v1/orders").await;
    let mut known = BTreeSet::new();
    for order in &ours {
        let id = text(&order["client_order_id"]);
        assert!(known.insert(id.clone()), "two of our orders under one id: {id}");
        let filled = dec(&order["filled_qty"]);
        assert_eq!(book.traded(&id), filled, "the executions of {order}");
        match theirs.get(&id) {
            Some(their) => {
                assert_eq!(dec(&their["qty"]), dec(&order["qty"]), "{order} and {their}");
                assert_eq!(dec(&their["filled_qty"]), filled, "{order} and {their}");
                assert_eq!(their["status"], order["status"], "{order} and {their}");
                assert_eq!(their["broker_order_id"], order["broker_order_id"], "{order} and {their}");
            }
            None => {
                assert_eq!(filled, Decimal::ZERO, "filled, but not at the broker: {order}");
                let status = order["status"].as_str().unwrap();
                assert!(NEVER_SENT.contains(&status), "not at the broker: {order}");
            }
        }
    }
    for id in theirs.keys() {
        assert!(known.contains(id), "the broker has an order that we don't know: {id}");
    }
    assert_positions_agree(api, &book).await;
}

async fn assert_positions_agree(api: &Api, book: &Book) {
    let (status, held) = api.get("/api/v1/positions").await;
    assert_eq!(status, 200, "{held}");
    let held = held.as_array().unwrap_or_else(|| held["items"].as_array().unwrap());
    let held = held.iter().map(|row| (text(&row["symbol"]), dec(&row["qty"])));
    let of_fills = book.executions.iter().fold(BTreeMap::<String, Decimal>::new(), |mut held, execution| {
        let qty = dec(&execution["qty"]);
        let signed = if execution["side"] == "buy" { qty } else { -qty };
        *held.entry(text(&execution["symbol"])).or_default() += signed;
        held
    });
    assert_eq!(book.positions, of_fills, "the broker's positions are its executions");
    assert_eq!(held.collect::<BTreeMap<_, _>>(), book.positions, "our positions are the broker's");
}
