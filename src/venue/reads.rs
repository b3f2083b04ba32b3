//! What an account and the market are like: account, positions, activities, clock, calendar, assets.

use actix_web::web::{Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Days, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use tranche_actors::domain::money::{canonical, parse_decimal};
use tranche_actors::domain::names::{Symbol, symbol};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::Execution;

use super::account::Account;
use super::around::answer;
use super::desk::{Act, Caller, Desk, Share};
use super::hours::eastern;
use super::orders::time;
use super::refusal::Refusal;
use super::shape;
use super::shop::Shop;

/// Activities on a page, and at most.
const ACTIVITIES: usize = 100;
/// Days of a calendar that nobody bounds.
const CALENDAR_DAYS: u64 = 366;
/// Most days of a calendar.
pub(super) const MOST_DAYS: u64 = 3_660;
/// The assets that a list shows; by its symbol there is any.
const LISTED: [&str; 8] = ["AAPL", "AMZN", "GOOGL", "META", "MSFT", "NVDA", "SPY", "TSLA"];

/// Looks at the caller's account at this moment, and answers after the latency.
async fn look(
    shop: &Shop,
    caller: &Caller,
    look: impl FnOnce(&Desk, &Account, DateTime<Utc>) -> Result<Value, Refusal>,
) -> HttpResponse {
    let looked = {
        let desk = shop.desk();
        desk.account(&caller.account).and_then(|account| look(&desk, account, shop.clock.now()))
    };
    shop.pause(shop.latency).await;
    match looked {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => refusal.response(),
    }
}

pub(super) async fn account(shop: Data<Shop>, caller: ReqData<Caller>) -> HttpResponse {
    look(&shop, &caller, |desk, account, now| {
        let book = account.engine.book();
        let (long, short) = (account.value(now, Side::Buy), account.value(now, Side::Sell));
        let equity = canonical(book.cash() + long + short);
        let buying_power = canonical((book.cash() - book.reserved()).max(Decimal::ZERO));
        let opened = book.orders_after(0).next().map_or(now, |first| first.order.submitted_at);
        Ok(json!({
            "id": account.id,
            "account_number": format!("PA{:.10}", account.id.simple().to_string().to_uppercase()),
            "status": "ACTIVE",
            "crypto_status": "ACTIVE",
            "currency": "USD",
            "buying_power": buying_power,
            "regt_buying_power": buying_power,
            "daytrading_buying_power": "0",
            "effective_buying_power": buying_power,
            "non_marginable_buying_power": buying_power,
            "cash": canonical(book.cash()),
            "accrued_fees": "0",
            "portfolio_value": equity,
            "equity": equity,
            "last_equity": equity,
            "trading_blocked": false,
            "transfers_blocked": false,
            "account_blocked": false,
            "trade_suspended_by_user": false,
            "shorting_enabled": true,
            "created_at": desk.spelling().time(opened),
            "multiplier": "1",
            "long_market_value": canonical(long),
            "short_market_value": canonical(short),
            "initial_margin": "0",
            "maintenance_margin": "0",
            "last_maintenance_margin": "0",
            "sma": "0",
            "options_approved_level": 0,
            "options_trading_level": 0,
        }))
    })
    .await
}

pub(super) async fn configurations(shop: Data<Shop>, caller: ReqData<Caller>) -> HttpResponse {
    look(&shop, &caller, |_, _, _| {
        Ok(json!({
            "dtbp_check": "entry",
            "fractional_trading": true,
            "max_margin_multiplier": "1",
            "no_shorting": false,
            "pdt_check": "entry",
            "suspend_trade": false,
            "trade_confirm_email": "none",
            "ptp_no_exception_entry": false,
            "max_options_trading_level": null,
        }))
    })
    .await
}

fn held(account: &Account, symbol: &Symbol, position: &Position, now: DateTime<Utc>) -> Value {
    let closing = if position.qty.is_sign_positive() { Side::Sell } else { Side::Buy };
    let open = account.open_qty(symbol, closing) * -closing.sign();
    shape::position(account, symbol, position, account.price(symbol, now), open)
}

pub(super) async fn positions(shop: Data<Shop>, caller: ReqData<Caller>) -> HttpResponse {
    look(&shop, &caller, |_, account, now| {
        let all = account.holdings().map(|(symbol, position)| held(account, symbol, position, now));
        Ok(all.collect())
    })
    .await
}

pub(super) async fn position(shop: Data<Shop>, caller: ReqData<Caller>, name: Path<String>) -> HttpResponse {
    look(&shop, &caller, |_, account, now| {
        let all = account.holdings();
        let named = |symbol: &Symbol| {
            symbol.as_str().eq_ignore_ascii_case(&name) || account.asset_uuid(symbol).to_string() == *name
        };
        let found = all.into_iter().find(|(symbol, _)| named(symbol));
        let (symbol, position) = found.ok_or_else(|| Refusal::not_found("position does not exist"))?;
        Ok(held(account, symbol, position, now))
    })
    .await
}

/// How much of a position is to be closed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Closing {
    qty: Option<String>,
    percentage: Option<String>,
}

pub(super) async fn close(
    request: HttpRequest,
    shop: Data<Shop>,
    caller: ReqData<Caller>,
    name: Path<String>,
    query: Query<Closing>,
) -> HttpResponse {
    let number = |text: &str| parse_decimal(text).map_err(|error| Refusal::invalid(error.rule));
    let share = match (&query.qty, &query.percentage) {
        (None, None) => Ok(Share::All),
        (Some(qty), None) => number(qty).map(Share::Qty),
        (None, Some(percent)) => number(percent).map(Share::Percent),
        (Some(_), Some(_)) => Err(Refusal::invalid("only one of qty or percentage is accepted")),
    };
    let symbol = symbol(&name).map_err(|_| Refusal::not_found("position does not exist"));
    match share.and_then(|share| Ok((symbol?, share))) {
        Ok((symbol, share)) => answer(&request, shop.act(&caller, Act::Close(symbol, share)).await),
        Err(refusal) => refusal.response(),
    }
}

/// Closing everything at once would make orders that nobody named.
pub(super) async fn close_all() -> HttpResponse {
    Refusal::invalid("closing all positions is not supported").response()
}

/// What a list of activities is asked for by.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Activities {
    page_token: Option<String>,
    page_size: Option<usize>,
    after: Option<String>,
    until: Option<String>,
    date: Option<NaiveDate>,
    direction: Option<String>,
}

pub(super) async fn fills(shop: Data<Shop>, caller: ReqData<Caller>, query: Query<Activities>) -> HttpResponse {
    look(&shop, &caller, |desk, account, _| {
        let (after, until) = (time(query.after.as_deref())?, time(query.until.as_deref())?);
        let size = query.page_size.unwrap_or(ACTIVITIES);
        if !(1..=ACTIVITIES).contains(&size) {
            return Err(Refusal::invalid("page_size must be from 1 to 100"));
        }
        let book = account.engine.book();
        let within = |trade: &&Execution| {
            after.is_none_or(|after| trade.at > after)
                && until.is_none_or(|until| trade.at < until)
                && query.date.is_none_or(|date| eastern(trade.at).date_naive() == date)
        };
        let mut trades = book.executions().iter().filter(within).collect::<Vec<_>>();
        match query.direction.as_deref() {
            Some("asc") => {}
            None | Some("desc") => trades.reverse(),
            Some(_) => return Err(Refusal::invalid("invalid direction")),
        }
        let begin = match query.page_token.as_deref().filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => {
                let place = trades.iter().position(|trade| shape::activity_id(account, trade) == token);
                place.ok_or_else(|| Refusal::invalid("invalid page_token"))? + 1
            }
        };
        let page = trades.into_iter().skip(begin).take(size);
        let rows = page.filter_map(|trade| {
            let held = book.get(&trade.broker_order_id)?;
            Some(shape::fill(account, held, trade, desk.spelling()))
        });
        Ok(rows.collect())
    })
    .await
}

pub(super) async fn clock(shop: Data<Shop>, caller: ReqData<Caller>) -> HttpResponse {
    look(&shop, &caller, |desk, _, now| {
        let hours = desk.hours;
        let spelt = |at: DateTime<Utc>| eastern(at).to_rfc3339();
        Ok(json!({
            "timestamp": eastern(now).to_rfc3339_opts(chrono::SecondsFormat::Nanos, false),
            "is_open": hours.open_at(now).is_some(),
            "next_open": spelt(hours.next_open(now)),
            "next_close": spelt(hours.next_close(now)),
        }))
    })
    .await
}

/// The days of a calendar.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    start: Option<String>,
    end: Option<String>,
}

impl Range {
    /// The first day and the last; a calendar ends after some years, whatever is asked.
    pub(super) fn days(&self, now: DateTime<Utc>) -> Result<(NaiveDate, NaiveDate), Refusal> {
        let day = |text: &Option<String>| Ok::<_, Refusal>(time(text.as_deref())?.map(|at| at.date_naive()));
        let first = day(&self.start)?.unwrap_or_else(|| eastern(now).date_naive());
        let after = |days| first.checked_add_days(Days::new(days)).unwrap_or(first);
        let last = day(&self.end)?.unwrap_or_else(|| after(CALENDAR_DAYS));
        Ok((first, last.min(after(MOST_DAYS))))
    }
}

pub(super) async fn calendar(shop: Data<Shop>, caller: ReqData<Caller>, query: Query<Range>) -> HttpResponse {
    look(&shop, &caller, |desk, _, now| {
        let (first, last) = query.days(now)?;
        let spelt = |at: DateTime<Utc>| eastern(at).format("%H:%M").to_string();
        let sessions = desk.hours.calendar(first, last).map(|session| {
            // The end of a day can't be spelt as its last hour.
            let midnight = eastern(session.closes).date_naive() > session.date;
            let close = if midnight { "23:59".to_owned() } else { spelt(session.closes) };
            json!({
                "date": session.date,
                "open": spelt(session.opens),
                "close": close,
                "session_open": "0400",
                "session_close": "2000",
                "settlement_date": session.date,
            })
        });
        Ok(sessions.collect())
    })
    .await
}

pub(super) async fn asset(shop: Data<Shop>, caller: ReqData<Caller>, name: Path<String>) -> HttpResponse {
    look(&shop, &caller, |desk, account, _| {
        let listed = || LISTED.iter().filter_map(|name| Symbol::parse(name).ok());
        let by_id = listed().find(|symbol| account.asset_uuid(symbol).to_string() == *name);
        let symbol = by_id.or_else(|| symbol(&name).ok());
        let symbol = symbol.ok_or_else(|| Refusal::not_found(format!("asset not found for {name}")))?;
        Ok(shown(desk, account, &symbol))
    })
    .await
}

pub(super) async fn assets(shop: Data<Shop>, caller: ReqData<Caller>) -> HttpResponse {
    look(&shop, &caller, |desk, account, _| {
        let listed = LISTED.iter().filter_map(|name| Symbol::parse(name).ok());
        Ok(listed.map(|symbol| shown(desk, account, &symbol)).collect())
    })
    .await
}

fn shown(desk: &Desk, account: &Account, symbol: &Symbol) -> Value {
    let refused = desk.mischief.faults().chance.reject_symbols.contains(symbol);
    shape::asset(account.asset_uuid(symbol), symbol, !refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_has_the_days_that_are_asked_for_and_ends_after_ten_years() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let days = |start: &str, end: &str| {
            let (first, last) = Range { start: Some(start.into()), end: Some(end.into()) }.days(now).unwrap();
            (first.to_string(), last.to_string())
        };
        assert_eq!(days("2026-03-06", "2026-03-12"), ("2026-03-06".into(), "2026-03-12".into()));
        assert_eq!(days("", ""), ("2026-11-22".into(), "2027-11-23".into()));
        assert_eq!(days("0026-03-06", "2026-03-12T00:00:00-04:00"), ("0026-03-06".into(), "0036-03-13".into()));
    }
}
