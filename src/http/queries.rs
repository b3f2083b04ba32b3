//! Query strings.

use std::collections::BTreeMap;

use actix_web::web;
use chrono::NaiveDate;
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::names::{self, AccountName, OrderId};
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::text::BadText;
use tranche_actors::ports::store::{OrderFilter, ParentFilter};

use super::fields::bad_words;
use super::kill_switch::MAX_OPERATOR;
use super::problem::{Code, Problem};
use super::requests::{MAX_REASON, date};
use super::schedules::time;

/// Most rows of a page of orders.
pub(super) const MAX_LIMIT: u32 = 500;
/// Rows of a page that names no limit.
pub(super) const DEFAULT_LIMIT: u32 = 100;
/// Most entries of a switch's history.
pub(super) const MAX_HISTORY: u32 = 1_000;

/// Which list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ListQuery {
    /// Single orders and slices.
    Orders(OrderFilter),
    /// Parents.
    Parents(ParentFilter),
}

/// The filters of `GET /orders`.
pub(super) fn list(text: &str) -> Result<ListQuery, Problem> {
    let mut query = Query::of(text)?;
    let is_parents = match query.take("kind").as_deref() {
        None => false,
        Some("parent") => true,
        Some(_) => {
            let rule = "must be 'parent'; without it the list is of single orders and slices";
            query.fault("kind", "unknown_value", rule);
            false
        }
    };
    let symbol = query.parse("symbol", names::symbol);
    let strategy_id = query.parse("strategy_id", tranche_actors::domain::names::StrategyId::parse);
    let since = query.parse("since", time);
    let cursor = query.parse("cursor", cursor);
    let limit = query.limit(MAX_LIMIT, DEFAULT_LIMIT);
    if is_parents {
        let status = query.parse("status", |word| {
            ParentStatus::from_word(word).ok_or(BadText { rule: "must be a status of parents" })
        });
        return query.finish(ListQuery::Parents(ParentFilter { status, symbol, strategy_id, since, cursor, limit }));
    }
    let status = query
        .parse("status", |word| OrderStatus::from_word(word).ok_or(BadText { rule: "must be a status of orders" }));
    let parent = query.parse("parent", OrderId::parse);
    query.finish(ListQuery::Orders(OrderFilter { status, symbol, strategy_id, parent, since, cursor, limit }))
}

/// How many entries of a switch's history are asked for.
pub(super) fn history(text: &str) -> Result<u32, Problem> {
    let mut query = Query::of(text)?;
    let limit = query.limit(MAX_HISTORY, DEFAULT_LIMIT);
    query.finish(limit)
}

/// Which page of a list that has no filters.
pub(super) fn page(text: &str) -> Result<(Option<u64>, u32), Problem> {
    let mut query = Query::of(text)?;
    let cursor = query.parse("cursor", cursor);
    let limit = query.limit(MAX_LIMIT, DEFAULT_LIMIT);
    query.finish((cursor, limit))
}

/// Of which account, who clears an orphan, and why.
pub(super) fn clearance(text: &str) -> Result<(Option<AccountName>, String, String), Problem> {
    let mut query = Query::of(text)?;
    let account = query.parse("account", AccountName::parse);
    let operator = query.words("operator", MAX_OPERATOR);
    let reason = query.words("reason", MAX_REASON);
    let said = operator.zip(reason).map(|(operator, reason)| (account, operator, reason));
    query.finish(said)?.ok_or_else(|| Problem::new(Code::Internal, "a parameter is missing"))
}

/// Who asks.
pub(super) fn operator(text: &str) -> Result<String, Problem> {
    let mut query = Query::of(text)?;
    let operator = query.words("operator", MAX_OPERATOR);
    query.finish(operator)?.ok_or_else(|| Problem::new(Code::Internal, "a parameter is missing"))
}

/// Of which account, and which page of what changed its capital.
pub(super) fn capital(text: &str) -> Result<(Option<AccountName>, Option<u64>, u32), Problem> {
    let mut query = Query::of(text)?;
    let account = query.parse("account", AccountName::parse);
    let cursor = query.parse("cursor", cursor);
    let limit = query.limit(MAX_LIMIT, DEFAULT_LIMIT);
    query.finish((account, cursor, limit))
}

/// Of which account, and which trading days.
pub(super) fn days(text: &str) -> Result<(Option<AccountName>, Option<NaiveDate>, u32), Problem> {
    let mut query = Query::of(text)?;
    let account = query.parse("account", AccountName::parse);
    let until = query.parse("until", date);
    let limit = query.limit(MAX_LIMIT, DEFAULT_LIMIT);
    query.finish((account, until, limit))
}

/// Of which account; the first one if it doesn't say.
pub(super) fn account(text: &str) -> Result<Option<AccountName>, Problem> {
    let mut query = Query::of(text)?;
    let account = query.parse("account", AccountName::parse);
    query.finish(account)
}

fn cursor(text: &str) -> Result<u64, BadText> {
    text.parse().map_err(|_| BadText { rule: "must be the next_cursor of an earlier page" })
}

/// The pairs of a query string. An empty value filters nothing.
struct Query {
    values: BTreeMap<String, String>,
    faults: Vec<FieldError>,
}

impl Query {
    fn of(text: &str) -> Result<Self, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| Problem::new(Code::MalformedRequest, "the query string can't be read"))?;
        let mut query = Self { values: BTreeMap::new(), faults: Vec::new() };
        for (name, value) in pairs.into_inner() {
            if query.values.insert(name.clone(), value).is_some() {
                query.fault(&name, "duplicate", "is there more than once");
            }
        }
        Ok(query)
    }

    fn fault(&mut self, name: &str, code: &'static str, rule: impl Into<String>) {
        self.faults.push(FieldError::new(name, code, rule));
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).filter(|value| !value.is_empty())
    }

    fn parse<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, BadText>) -> Option<T> {
        let text = self.take(name)?;
        parse(&text).map_err(|bad| self.fault(name, "invalid", bad.rule)).ok()
    }

    /// A text for people that has to be there.
    fn words(&mut self, name: &str, longest: usize) -> Option<String> {
        let Some(text) = self.take(name) else {
            self.fault(name, "missing", "is required");
            return None;
        };
        match bad_words(&text, longest) {
            Some((code, rule)) => {
                self.fault(name, code, rule);
                None
            }
            None => Some(text),
        }
    }

    fn limit(&mut self, most: u32, default: u32) -> u32 {
        let Some(text) = self.take("limit") else { return default };
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        if limit.is_none() {
            self.fault("limit", "out_of_range", format!("must lie between 1 and {most}"));
        }
        limit.unwrap_or(default)
    }

    fn finish<T>(mut self, value: T) -> Result<T, Problem> {
        let unknown = std::mem::take(&mut self.values);
        for name in unknown.keys() {
            let shown = name.chars().take(64).collect::<String>();
            self.fault(&shown, "unknown_parameter", "is not a parameter of this call");
        }
        if self.faults.is_empty() { Ok(value) } else { Err(Problem::invalid(self.faults)) }
    }
}
