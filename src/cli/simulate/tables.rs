//! The report of a run, for people.

use rust_decimal::Decimal;

use super::report::{Filled, Late, OrderReport, Pace, ParentReport, Report, seconds};
use crate::cli::output;
use crate::cli::views::number;

/// Beyond so many parents they are told as one: their lines would be read by nobody.
const MOST_LINES: usize = 100;

/// The report, line by line.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!("seed {}", report.seed), String::new()];
    if (1..=MOST_LINES).contains(&report.parents.len()) {
        lines.push(parents(&report.parents));
        lines.push(String::new());
    }
    if (1..=MOST_LINES).contains(&report.orders.len()) {
        lines.push(orders(&report.orders));
        lines.push(String::new());
    }
    lines.push(output::table(&["", ""], &summary(report)).trim_start_matches('\n').to_owned());
    lines
}

fn parents(parents: &[ParentReport]) -> String {
    let row = |parent: &ParentReport| {
        let (filled, price) = quantities(&parent.filled);
        let (median, worst) = late(&parent.late);
        vec![
            parent.id.clone(),
            parent.symbol.clone(),
            parent.side.to_string(),
            parent.status.to_owned(),
            format!("{} of {}", parent.executed, parent.planned),
            median,
            worst,
            filled,
            price,
            bps(parent.against_arrival_bps),
            bps(parent.against_twap_bps),
            parent.slices.iter().map(|(status, count)| format!("{count} {status}")).collect::<Vec<_>>().join(", "),
        ]
    };
    let headings = [
        "PARENT", "SYMBOL", "SIDE", "STATUS", "EXECUTED", "LATE", "WORST", "FILLED", "PRICE", "ARRIVAL", "TWAP",
        "SLICES",
    ];
    output::table(&headings, &parents.iter().map(row).collect::<Vec<_>>())
}

fn orders(orders: &[OrderReport]) -> String {
    let row = |order: &OrderReport| {
        let (filled, price) = quantities(&order.filled);
        vec![
            order.id.clone(),
            order.symbol.clone(),
            order.side.to_string(),
            order.status.to_owned(),
            late(&order.late).1,
            filled,
            price,
            order.reason.clone().unwrap_or_default(),
        ]
    };
    let headings = ["ORDER", "SYMBOL", "SIDE", "STATUS", "LATE", "FILLED", "PRICE", "REASON"];
    output::table(&headings, &orders.iter().map(row).collect::<Vec<_>>())
}

fn summary(report: &Report) -> Vec<Vec<String>> {
    let totals = &report.totals;
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| rows.push(vec![format!("{name}:"), text]);
    if totals.parents > 0 {
        let (median, worst) = late(&totals.late);
        row("parents", format!("{}, {} of {} slices executed", totals.parents, totals.executed, totals.planned));
        row("filled", format!("{} of {}", number(Some(totals.filled_qty)), number(Some(totals.qty))));
        row("late", format!("{median} in the median, {worst} at worst, from due to taken"));
    }
    for (name, counts) in [("refused", &report.refused), ("unexecuted", &report.unexecuted)] {
        for (what, count) in counts {
            row(name, format!("{count} × {what}"));
        }
    }
    if report.faults > 0 {
        row("faults", format!("{} of {} struck", report.faults_struck, report.faults));
    }
    row("restarts", report.processes.saturating_sub(1).to_string());
    match (report.steps, &report.digest) {
        (Some(steps), Some(digest)) => {
            row("steps", steps.to_string());
            row("digest", digest.clone());
        }
        (Some(_) | None, _) => row("steps", "not watched".to_owned()),
    }
    row("time", pace(report.pace));
    row("again", report.command.clone());
    rows
}

/// How long a run took.
pub(super) fn pace(pace: Pace) -> String {
    let (simulated, real) = (seconds(pace.simulated), seconds(pace.real));
    format!("{simulated} s simulated in {real} s, {} times as fast as life", pace.ratio())
}

fn quantities(filled: &Filled) -> (String, String) {
    let price = filled.filled_avg_price.map(|price| price.round_dp(4));
    (format!("{} of {}", number(Some(filled.filled_qty)), number(Some(filled.qty))), number(price))
}

fn late(late: &Late) -> (String, String) {
    let shown = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{:03} s", ms / 1_000, ms % 1_000));
    (shown(late.median_ms), shown(late.worst_ms))
}

fn bps(bps: Option<Decimal>) -> String {
    bps.map_or_else(|| "-".to_owned(), |bps| format!("{bps} bps"))
}
