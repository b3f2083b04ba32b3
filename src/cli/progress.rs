//! What changed between two looks at a parent, and how far it is: pure, so that it can be tested without a server.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::output::one_line;
use super::views::{Order, Parent, clock, number};

/// What was told of each slice so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    slices: BTreeMap<u64, (String, Decimal)>,
}

impl Told {
    /// A line for each slice that has changed since it was last told; slices that wait for their time are no news.
    pub(super) fn news(&mut self, slices: &[Order]) -> Vec<String> {
        slices.iter().filter_map(|slice| self.of_slice(slice)).collect()
    }

    fn of_slice(&mut self, slice: &Order) -> Option<String> {
        let now = (slice.status.clone(), slice.filled_qty);
        let before = self.slices.insert(slice.slice_num?, now.clone());
        if before.as_ref() == Some(&now) || (before.is_none() && slice.is_pending()) {
            return None;
        }
        Some(slice_line(slice))
    }
}

fn slice_line(slice: &Order) -> String {
    let number_of = slice.slice_num.unwrap_or_default().saturating_add(1);
    let of = slice.total_slices.unwrap_or_default();
    let width = of.to_string().len();
    let mut line =
        format!("{}  slice {number_of:width$} of {of}  {:<21}", clock(slice.updated_at), one_line(&slice.status));
    if slice.filled_qty.is_zero() {
        line.push_str(&format!("{} {}", slice.side, number(Some(slice.qty))));
    } else {
        let (filled, qty) = (number(Some(slice.filled_qty)), number(Some(slice.qty)));
        line.push_str(&format!("{filled} of {qty} at {}", number(slice.filled_avg_price)));
    }
    for reason in [&slice.reason_code, &slice.error_message].into_iter().flatten() {
        line.push_str(&format!("  ({})", one_line(reason)));
    }
    line
}

/// The quantity that the schedule wanted sent by now.
pub(super) fn scheduled(slices: &[Order], now: DateTime<Utc>) -> Decimal {
    slices.iter().filter(|slice| slice.scheduled_time.is_some_and(|due| due <= now)).map(|slice| slice.qty).sum()
}

/// A bar of so many cells: `█` filled, `▒` working or unknown, `·` still to come, blank unexecuted; `|` is where the
/// schedule is.
pub(super) fn bar(parent: &Parent, scheduled: Option<Decimal>, width: usize) -> String {
    let cells = |qty: Decimal| cells(qty, parent.total_qty, width);
    let filled = cells(parent.filled_qty);
    let live = parent.filled_qty + parent.working_qty + parent.unknown_qty;
    let (live, planned) = (cells(live), cells(live + parent.pending_qty));
    let due = scheduled.map(cells);
    (0..width)
        .map(|cell| match cell {
            cell if cell < filled => '█',
            cell if due.and_then(|due| due.checked_sub(1)) == Some(cell) => '|',
            cell if cell < live => '▒',
            cell if cell < planned => '·',
            _ => ' ',
        })
        .collect()
}

/// How many of `width` cells a quantity takes; some of it is always at least one.
fn cells(qty: Decimal, total: Decimal, width: usize) -> usize {
    let share = (qty * Decimal::from(width)).checked_div(total).unwrap_or_default();
    let rounded = if qty.is_zero() { share } else { share.round().max(Decimal::ONE) };
    rounded.to_usize().unwrap_or(width).min(width)
}

/// How far a parent is, in words.
pub(super) fn summary(parent: &Parent) -> String {
    let mut text = format!("{} of {} filled", number(Some(parent.filled_qty)), number(Some(parent.total_qty)));
    if parent.filled_avg_price.is_some() {
        text.push_str(&format!(" at {}", number(parent.filled_avg_price)));
    }
    let parts = [
        ("working", parent.working_qty),
        ("unknown", parent.unknown_qty),
        ("pending", parent.pending_qty),
        ("unexecuted", parent.unexecuted_qty),
    ];
    for (name, qty) in parts.into_iter().filter(|(_, qty)| !qty.is_zero()) {
        text.push_str(&format!(", {} {name}", number(Some(qty))));
    }
    if !parent.is_terminal() && parent.next_slice_at.is_some() {
        text.push_str(&format!(", next slice {}", clock(parent.next_slice_at)));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(in crate::cli) fn slice(num: u64, status: &str, filled: &str) -> Order {
        serde_json::from_value(json!({
            "client_order_id": format!("s{num}"), "status": status, "symbol": "AAPL", "side": "buy", "qty": "21",
            "filled_qty": filled, "filled_avg_price": "100.50", "slice_num": num, "total_slices": 5,
            "scheduled_time": format!("2026-11-21T10:0{num}:00Z"), "updated_at": "2026-11-21T10:00:07Z",
        }))
        .unwrap()
    }

    pub(in crate::cli) fn parent(filled: i64, working: i64, pending: i64) -> Parent {
        serde_json::from_value(json!({
            "parent_order_id": "p", "symbol": "AAPL", "side": "buy", "total_qty": "100", "total_slices": 5,
            "status": "working", "filled_qty": filled.to_string(), "working_qty": working.to_string(),
            "pending_qty": pending.to_string(), "filled_avg_price": null,
        }))
        .unwrap()
    }

    #[test]
    fn a_slice_is_told_when_it_changes_and_not_again() {
        let mut told = Told::default();
        assert!(told.news(&[slice(0, "pending_new", "0"), slice(1, "pending_new", "0")]).is_empty());
        let news = told.news(&[slice(0, "accepted", "0"), slice(1, "pending_new", "0")]);
        assert_eq!(news, ["10:00:07  slice 1 of 5  accepted             buy 21"]);
        assert!(told.news(&[slice(0, "accepted", "0")]).is_empty());
        let news = told.news(&[slice(0, "partially_filled", "3"), slice(0, "partially_filled", "5")]);
        assert_eq!(news.len(), 2);
        assert!(news[1].ends_with("5 of 21 at 100.5"), "{}", news[1]);
    }

    #[test]
    fn who_comes_late_is_told_what_has_happened() {
        let news = Told::default().news(&[slice(0, "filled", "21"), slice(1, "blocked_kill_switch", "0")]);
        assert_eq!(news.len(), 2);
    }

    #[test]
    fn the_schedule_counts_what_is_due() {
        let slices = [slice(0, "filled", "21"), slice(1, "accepted", "0"), slice(2, "pending_new", "0")];
        let now = "2026-11-21T10:01:00Z".parse().unwrap();
        assert_eq!(scheduled(&slices, now), Decimal::from(42));
    }

    #[test]
    fn the_bar_shows_filled_working_pending_and_the_schedule() {
        assert_eq!(bar(&parent(40, 20, 40), Some(Decimal::from(60)), 10), "████▒|····");
        assert_eq!(bar(&parent(60, 0, 20), None, 10), "██████··  ");
        assert_eq!(bar(&parent(1, 0, 99), Some(Decimal::ZERO), 10), "█·········");
        assert_eq!(summary(&parent(40, 20, 40)), "40 of 100 filled, 20 working, 40 pending");
    }

    proptest! {
        #[test]
        fn the_bar_is_always_as_wide_as_asked(
            filled in 0_i64..200, working in 0_i64..200, pending in 0_i64..200, due in 0_i64..300, width in 0_usize..120
        ) {
            let text = bar(&parent(filled, working, pending), Some(Decimal::from(due)), width);
            prop_assert_eq!(text.chars().count(), width);
        }
    }
}
