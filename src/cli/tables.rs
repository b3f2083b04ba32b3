//! The server's answers as tables for people.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::CliError;
use super::client::ClientError;
use super::output::{self, Out, cell, one_line};
use super::views::{Order, Parent, Plan, clock, number};

/// Prints an answer: as it is for a program, as `human` makes it for a person.
pub(super) fn print(
    answer: &Value,
    json: bool,
    out: &mut Out,
    human: impl FnOnce(&Value) -> Result<String, CliError>,
) -> Result<(), CliError> {
    if json {
        return Ok(out.json(answer)?);
    }
    Ok(out.line(&human(answer)?)?)
}

/// Reads an answer as what it should be.
pub(super) fn read<'a, T: Deserialize<'a>>(answer: &'a Value) -> Result<T, CliError> {
    T::deserialize(answer).map_err(|source| ClientError::Malformed { source }.into())
}

/// The fields of one thing.
pub(super) fn fields(answer: &Value) -> Result<String, CliError> {
    Ok(output::fields(answer))
}

/// A plan and its slices.
pub(super) fn plan(answer: &Value) -> Result<String, CliError> {
    let plan = read::<Plan>(answer)?;
    let mut text = format!(
        "{} {} {} {} in {} slices: {}\n",
        plan.parent_order_id,
        plan.side,
        number(Some(plan.total_qty)),
        plan.symbol,
        plan.total_slices,
        plan.status
    );
    for warning in &plan.warnings {
        text.push_str(&format!("warning: {}\n", cell(warning)));
    }
    let rows = plan
        .slices
        .iter()
        .map(|slice| {
            vec![
                slice.slice_num.to_string(),
                number(Some(slice.qty)),
                clock(Some(slice.scheduled_time)),
                slice.client_order_id.clone(),
                slice.status.clone(),
            ]
        })
        .collect::<Vec<_>>();
    text.push_str(&output::table(&["SLICE", "QTY", "DUE", "ID", "STATUS"], &rows));
    Ok(text)
}

/// A page of a list.
pub(super) fn list(answer: &Value, of_parents: bool) -> Result<String, CliError> {
    let items = answer.get("items").cloned().unwrap_or_default();
    let mut text =
        if of_parents { parents(&read::<Vec<Parent>>(&items)?) } else { orders(&read::<Vec<Order>>(&items)?) };
    if let Some(cursor) = answer.get("next_cursor").and_then(Value::as_str) {
        text.push_str(&format!("\nmore: --cursor {cursor}"));
    }
    Ok(text)
}

/// Orders, one a line.
pub(super) fn orders(orders: &[Order]) -> String {
    let rows = orders
        .iter()
        .map(|order| {
            let place = match (order.slice_num, order.parent_order_id.is_some()) {
                (Some(num), true) => num.to_string(),
                (Some(_) | None, _) => "-".to_owned(),
            };
            vec![
                date_and_clock(order.scheduled_time.or(order.created_at)),
                order.client_order_id.clone(),
                place,
                order.symbol.clone(),
                order.side.to_string(),
                number(Some(order.qty)),
                number(Some(order.filled_qty)),
                number(order.filled_avg_price),
                order.status.clone(),
                one_line(order.reason_code.as_deref().unwrap_or_default()),
            ]
        })
        .collect::<Vec<_>>();
    let headings = ["TIME", "ID", "SLICE", "SYMBOL", "SIDE", "QTY", "FILLED", "PRICE", "STATUS", "REASON"];
    output::table(&headings, &rows)
}

fn parents(parents: &[Parent]) -> String {
    let rows = parents
        .iter()
        .map(|parent| {
            vec![
                date_and_clock(parent.created_at),
                parent.parent_order_id.clone(),
                parent.symbol.clone(),
                parent.side.to_string(),
                number(Some(parent.total_qty)),
                number(Some(parent.filled_qty)),
                number(parent.filled_avg_price),
                parent.total_slices.to_string(),
                parent.status.clone(),
                date_and_clock(parent.ended_at),
            ]
        })
        .collect::<Vec<_>>();
    let headings = ["TIME", "ID", "SYMBOL", "SIDE", "QTY", "FILLED", "PRICE", "SLICES", "STATUS", "ENDED"];
    output::table(&headings, &rows)
}

/// What happened to an order, oldest first.
pub(super) fn events(answer: &Value) -> Result<String, CliError> {
    Ok(columns(answer, &["number", "at", "event", "old_status", "new_status", "actor", "data"]))
}

/// Columns of the objects of a list, by their fields' names; a column that is empty throughout is left out.
pub(super) fn columns(answer: &Value, names: &[&str]) -> String {
    let items = answer.get("items").unwrap_or(answer).as_array().map(Vec::as_slice).unwrap_or_default();
    let value = |item: &Value, name: &str| item.get(name).map(cell).unwrap_or_default();
    let used =
        names.iter().copied().filter(|name| items.iter().any(|item| !value(item, name).is_empty())).collect::<Vec<_>>();
    let rows = items.iter().map(|item| used.iter().map(|name| value(item, name)).collect()).collect::<Vec<_>>();
    let headings = used.iter().map(|name| name.replace('_', " ").to_uppercase()).collect::<Vec<_>>();
    let headings = headings.iter().map(String::as_str).collect::<Vec<_>>();
    if rows.is_empty() {
        return "nothing yet".to_owned();
    }
    output::table(&headings, &rows)
}

fn date_and_clock(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.format("%F %T").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_shows_each_slice_and_its_warnings() {
        let answer = json!({
            "parent_order_id": "20abc83977c561c389787d47", "symbol": "AAPL", "side": "buy", "total_qty": "103",
            "total_slices": 2, "status": "working", "warnings": ["the budget is tight"],
            "slices": [{"slice_num": 0, "qty": "52", "scheduled_time": "2026-11-21T10:00:00.5Z",
                        "client_order_id": "a", "status": "pending_new"}],
        });
        let text = plan(&answer).unwrap();
        assert_eq!(
            text,
            "20abc83977c561c389787d47 buy 103 AAPL in 2 slices: working\nwarning: the budget is tight\n\
             SLICE  QTY  DUE       ID  STATUS\n0      52   10:00:00  a   pending_new"
        );
    }

    #[test]
    fn a_list_is_shown_with_or_without_its_envelope() {
        let items = json!([{"event": "ENGAGED", "operator": "eve", "notes": null}]);
        let text = "EVENT    OPERATOR\nENGAGED  eve";
        assert_eq!(columns(&items, &["event", "operator", "notes"]), text);
        assert_eq!(columns(&json!({"items": items}), &["event", "operator"]), text);
        assert_eq!(columns(&json!({"items": []}), &["event"]), "nothing yet");
    }

    #[test]
    fn a_page_names_the_next_one() {
        let text = list(&json!({"items": [], "next_cursor": "abc"}), true).unwrap();
        assert!(text.ends_with("more: --cursor abc"));
        assert!(list(&json!({"items": [{}]}), false).is_err());
    }
}
