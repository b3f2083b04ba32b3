//! Bodies of requests, from their fields to the requests that the actors take.
//!
//! The structs that the documentation shows stand in [`super::documented`]; a test holds the two together.

use chrono::NaiveDate;
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::ids::DEFAULT_NAME;
use tranche_actors::domain::ledger::Resolution;
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{self, AccountName, OrderId, StrategyId, Symbol};
use tranche_actors::domain::plan::{Schedule, Span};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::request::{ParentRequest, SingleRequest};
use tranche_actors::domain::status::OperatorEnd;
use tranche_actors::domain::terms::{Instruction, Side};
use tranche_actors::domain::text::BadText;

use super::canonical::Canonical;
use super::fields::{Choice, Fields};
use super::schedules::schedule;
use super::terms::{Menu, OF_PARENTS, OF_SINGLES, OrderTerms, spell, terms};

/// Longest text for people.
pub(super) const MAX_REASON: usize = 500;
/// Parts of paths that mean something else there, so no order may be called so: the path of slices, and the dots that
/// clients and proxies resolve before anything is sent.
const PATH_WORDS: [&str; 3] = ["slice", ".", ".."];

const SIDES: Choice<Side> = Choice { all: Side::ALL, word: Side::as_str, designed: &[] };
const CATCH_UPS: Choice<CatchUp> = Choice { all: CatchUp::ALL, word: CatchUp::as_str, designed: &["spread"] };
const COMPLETIONS: Choice<Completion> = Choice { all: Completion::ALL, word: Completion::as_str, designed: &["cross"] };
const ENDS: Choice<OperatorEnd> = Choice { all: OperatorEnd::ALL, word: OperatorEnd::as_str, designed: &[] };

/// The body of `POST /orders/slice`.
pub(crate) fn parent(mut fields: Fields<'_>) -> Result<ParentRequest, Vec<FieldError>> {
    let order = order(&mut fields, &OF_PARENTS);
    let schedule = schedule(&mut fields);
    let catch_up = fields.choice("catch_up", &CATCH_UPS).unwrap_or(CatchUp::Skip);
    let completion = fields.choice("completion", &COMPLETIONS);
    fields.unsupported("price_bound");
    let request = order.zip(schedule).map(|(order, schedule)| {
        let completion = completion.unwrap_or_else(|| Completion::of(order.instruction.time_in_force));
        let request_hash = hash("slice", &order, Some((&schedule, catch_up, completion)));
        ParentRequest {
            instruction: order.instruction,
            qty: order.qty,
            schedule,
            trade_date: order.trade_date,
            strategy_id: order.strategy_id,
            account: order.account,
            client_order_id: order.client_order_id,
            catch_up,
            completion,
            request_hash,
        }
    });
    fields.finish(request)
}

/// The body of `POST /orders`.
pub(crate) fn single(mut fields: Fields<'_>) -> Result<SingleRequest, Vec<FieldError>> {
    let order = order(&mut fields, &OF_SINGLES);
    let request = order.map(|order| {
        let request_hash = hash("single", &order, None);
        SingleRequest {
            instruction: order.instruction,
            qty: order.qty,
            trade_date: order.trade_date,
            strategy_id: order.strategy_id,
            account: order.account,
            client_order_id: order.client_order_id,
            request_hash,
        }
    });
    fields.finish(request)
}

/// The body of `POST /orders/{id}/resolve`.
pub(super) fn resolution(mut fields: Fields<'_>) -> Result<Resolution, Vec<FieldError>> {
    for name in ["as", "reason"] {
        fields.require(name);
    }
    let end = fields.choice("as", &ENDS);
    for name in ["filled_qty", "filled_avg_price"] {
        match (end, fields.given(name)) {
            (Some(OperatorEnd::Filled), false) => fields.fault(name, "missing", "is required of a filled order"),
            (Some(OperatorEnd::Rejected), true) => {
                fields.fault(name, "wrong_combination", "is for orders that traded");
            }
            (Some(OperatorEnd::Filled | OperatorEnd::Canceled), true)
            | (Some(OperatorEnd::Canceled | OperatorEnd::Rejected), false)
            | (None, _) => {}
        }
    }
    if end == Some(OperatorEnd::Canceled) {
        for (name, other) in [("filled_qty", "filled_avg_price"), ("filled_avg_price", "filled_qty")] {
            if fields.given(other) && !fields.given(name) {
                fields.fault(name, "missing", format!("goes with {other}"));
            }
        }
    }
    let filled_qty = fields.qty("filled_qty").map(Qty::get);
    let filled_avg_price = fields.price("filled_avg_price").map(Price::get);
    let reason = fields.words("reason", MAX_REASON);
    let resolution = end.zip(reason).map(|(end, reason)| Resolution { end, filled_qty, filled_avg_price, reason });
    fields.finish(resolution)
}

/// What parents and single orders have in common.
struct OrderFields {
    instruction: Instruction,
    qty: Qty,
    trade_date: Option<NaiveDate>,
    strategy_id: StrategyId,
    account: AccountName,
    client_order_id: Option<OrderId>,
}

fn order(fields: &mut Fields<'_>, menu: &Menu) -> Option<OrderFields> {
    for name in ["symbol", "side", "qty", "order_type"] {
        fields.require(name);
    }
    let symbol = fields.name("symbol", names::symbol);
    let side = fields.choice("side", &SIDES);
    let qty = fields.qty("qty");
    let terms = terms(fields, menu);
    let trade_date = fields.name("trade_date", date);
    let strategy_id = or_default(fields, "strategy_id", names::client_strategy);
    let account = or_default(fields, "account", AccountName::parse);
    let client_order_id = fields.name("client_order_id", own_id);
    Some(OrderFields {
        instruction: instruction(symbol, side, terms)?,
        qty: qty?,
        trade_date,
        strategy_id: strategy_id?,
        account: account?,
        client_order_id,
    })
}

fn instruction(symbol: Option<Symbol>, side: Option<Side>, terms: Option<OrderTerms>) -> Option<Instruction> {
    let OrderTerms { terms, time_in_force, extended_hours } = terms?;
    Some(Instruction { symbol: symbol?, side: side?, terms, time_in_force, extended_hours })
}

fn or_default<T>(fields: &mut Fields<'_>, name: &str, parse: fn(&str) -> Result<T, BadText>) -> Option<T> {
    let is_given = fields.given(name);
    let value = fields.name(name, parse);
    if is_given { value } else { parse(DEFAULT_NAME).ok() }
}

fn own_id(text: &str) -> Result<OrderId, BadText> {
    if PATH_WORDS.contains(&text) {
        return Err(BadText { rule: "must not be 'slice', '.' or '..', which mean something else in a path" });
    }
    names::client_order_id(text)
}

pub(super) fn date(text: &str) -> Result<NaiveDate, BadText> {
    let parsed = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    parsed
        .filter(|date| text.len() == 10 && date.to_string() == text)
        .ok_or(BadText { rule: "must be a date as YYYY-MM-DD" })
}

/// A hash over what was asked, the same however it was spelled. What is absent or at its default is left out, so that
/// hashes stay as they are when requests get new fields.
fn hash(kind: &str, order: &OrderFields, parent: Option<(&Schedule, CatchUp, Completion)>) -> String {
    let mut form = Canonical::default();
    form.put("kind", kind);
    form.put("symbol", order.instruction.symbol.as_str());
    form.put("side", order.instruction.side.as_str());
    form.decimal("qty", Some(order.qty.get()));
    spell(&mut form, order.instruction.terms);
    form.put("time_in_force", order.instruction.time_in_force.as_str());
    if order.instruction.extended_hours {
        form.put("extended_hours", "true");
    }
    form.maybe("trade_date", order.trade_date.map(|date| date.to_string()));
    form.put("strategy_id", order.strategy_id.as_str());
    form.put("account", order.account.as_str());
    form.maybe("client_order_id", order.client_order_id.as_ref().map(OrderId::to_string));
    if let Some((schedule, catch_up, completion)) = parent {
        form.put(
            schedule.span.field(),
            &match schedule.span {
                Span::Minutes(n) | Span::Seconds(n) => n.to_string(),
            },
        );
        form.put("interval_seconds", &schedule.interval_seconds.to_string());
        form.maybe("start_time", schedule.start_time.map(super::shapes::stamp));
        form.decimal("max_slice_qty", schedule.max_slice_qty.map(Qty::get));
        if let Some(jitter) = &schedule.randomize {
            form.decimal("randomize.size_pct", Some(jitter.size_pct));
            form.decimal("randomize.time_pct", Some(jitter.time_pct));
            form.maybe("randomize.seed", jitter.seed.clone());
        }
        if catch_up != CatchUp::Skip {
            form.put("catch_up", catch_up.as_str());
        }
        form.put("completion", completion.as_str());
    }
    form.hash()
}
