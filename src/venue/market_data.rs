//! `/v2/stocks`: quotes, trades and daily bars, as numbers, which is how the real one spells them here.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query, ReqData};
use chrono::{DateTime, Days, SecondsFormat, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::{Symbol, symbol};

use super::account::Account;
use super::desk::{Caller, Desk};
use super::hours::{Hours, Session, eastern};
use super::orders::time;
use super::refusal::Refusal;
use super::shop::Shop;

/// Bars in an answer, unless asked, and at most.
const BARS: usize = 1_000;
const MOST_BARS: usize = 10_000;
/// How far back bars go, in days.
const BACK: u64 = 400;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    symbols: Option<String>,
    timeframe: Option<String>,
    start: Option<String>,
    end: Option<String>,
    limit: Option<usize>,
    sort: Option<String>,
    page_token: Option<String>,
}

/// A decimal as a number.
fn number(value: Decimal) -> Option<Box<RawValue>> {
    RawValue::from_string(canonical(value)).ok()
}

#[derive(Serialize)]
struct QuoteShape {
    t: String,
    ap: Option<Box<RawValue>>,
    #[serde(rename = "as")]
    ask_size: u32,
    ax: &'static str,
    bp: Option<Box<RawValue>>,
    bs: u32,
    bx: &'static str,
    c: [&'static str; 1],
    z: &'static str,
}

#[derive(Serialize)]
struct TradeShape {
    t: String,
    p: Option<Box<RawValue>>,
    s: u32,
    x: &'static str,
    c: [&'static str; 1],
    i: i64,
    z: &'static str,
}

#[derive(Serialize)]
struct BarShape {
    t: String,
    o: Option<Box<RawValue>>,
    h: Option<Box<RawValue>>,
    l: Option<Box<RawValue>>,
    c: Option<Box<RawValue>>,
    v: u64,
    n: u64,
    vw: Option<Box<RawValue>>,
}

fn spelt(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn quote(account: &Account, symbol: &Symbol, now: DateTime<Utc>) -> QuoteShape {
    let quote = account.engine.quote(symbol, now);
    QuoteShape {
        t: spelt(quote.at),
        ap: number(quote.ask.get()),
        ask_size: 5,
        ax: "V",
        bp: number(quote.bid.get()),
        bs: 5,
        bx: "V",
        c: ["R"],
        z: "C",
    }
}

fn trade(account: &Account, symbol: &Symbol, now: DateTime<Utc>) -> TradeShape {
    let quote = account.engine.quote(symbol, now);
    let i = quote.at.timestamp_millis();
    TradeShape { t: spelt(quote.at), p: number(quote.last), s: 100, x: "V", c: ["@"], i, z: "C" }
}

/// The time of a day's bar.
fn midnight(session: Session) -> DateTime<Utc> {
    Hours::midnight(session.date)
}

/// A day's bar. Prices are those of the market at some of its moments; the volume is drawn.
fn bar(account: &Account, symbol: &Symbol, session: Session, now: DateTime<Utc>) -> BarShape {
    const SAMPLES: i32 = 16;
    let ends = session.closes.min(now);
    let span = (ends - session.opens).max(TimeDelta::zero());
    let prices = (0..=SAMPLES).map(|n| account.price(symbol, session.opens + span * n / SAMPLES)).collect::<Vec<_>>();
    let drawn = Sha256::digest(format!("volume|{symbol}|{}", session.date));
    let draw = drawn.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let mean = prices.iter().sum::<Decimal>() / Decimal::from(SAMPLES + 1);
    BarShape {
        t: spelt(midnight(session)),
        o: prices.first().copied().and_then(number),
        h: prices.iter().max().copied().and_then(number),
        l: prices.iter().min().copied().and_then(number),
        c: prices.last().copied().and_then(number),
        v: 1_000_000 + draw % 9_000_000,
        n: 1_000 + draw % 9_000,
        vw: number(mean.round_dp(6)),
    }
}

fn bars(
    desk: &Desk,
    account: &Account,
    symbol: &Symbol,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Result<Vec<BarShape>, Refusal> {
    if asked.timeframe.as_deref().is_none_or(|frame| !matches!(frame, "1Day" | "1D")) {
        return Err(Refusal::invalid("only the timeframe 1Day is supported"));
    }
    let limit = asked.limit.unwrap_or(BARS);
    if !(1..=MOST_BARS).contains(&limit) {
        return Err(Refusal::invalid("limit must be from 1 to 10000"));
    }
    let (start, end) = (time(asked.start.as_deref())?, time(asked.end.as_deref())?.unwrap_or(now).min(now));
    let today = eastern(now).date_naive();
    let start = start.unwrap_or_else(|| Hours::midnight(today));
    let first = eastern(start).date_naive().max(today.checked_sub_days(Days::new(BACK)).unwrap_or(today));
    let sessions = desk.hours.calendar(first, eastern(end).date_naive());
    let within = |session: &Session| session.opens <= now && (start..=end).contains(&midnight(*session));
    let mut sessions = sessions.filter(within).collect::<Vec<_>>();
    match asked.sort.as_deref() {
        None | Some("asc") => {}
        Some("desc") => sessions.reverse(),
        Some(_) => return Err(Refusal::invalid("invalid sort")),
    }
    // One page holds all that there is.
    let begin = if asked.page_token.is_some() { sessions.len() } else { 0 };
    Ok(sessions.into_iter().skip(begin).take(limit).map(|session| bar(account, symbol, session, now)).collect())
}

fn one(name: &str) -> Result<Symbol, Refusal> {
    symbol(name).map_err(|_| Refusal::invalid(format!("invalid symbol: {name}")))
}

fn many(asked: &Asked) -> Result<Vec<Symbol>, Refusal> {
    let names = asked.symbols.as_deref().unwrap_or_default().split(',').filter(|name| !name.trim().is_empty());
    let all = names.map(|name| one(name.trim())).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(Refusal::invalid("symbols is required")) } else { Ok(all) }
}

async fn look(
    shop: &Shop,
    caller: &Caller,
    look: impl FnOnce(&Desk, &Account, DateTime<Utc>) -> Result<HttpResponse, Refusal>,
) -> HttpResponse {
    let looked = {
        let desk = shop.desk();
        desk.account(&caller.account).and_then(|account| look(&desk, account, shop.clock.now()))
    };
    shop.pause(shop.latency).await;
    looked.unwrap_or_else(|refusal| refusal.response())
}

#[derive(Serialize)]
struct OneQuote {
    symbol: Symbol,
    quote: QuoteShape,
}

#[derive(Serialize)]
struct Quotes {
    quotes: BTreeMap<Symbol, QuoteShape>,
}

#[derive(Serialize)]
struct OneTrade {
    symbol: Symbol,
    trade: TradeShape,
}

#[derive(Serialize)]
struct Trades {
    trades: BTreeMap<Symbol, TradeShape>,
}

#[derive(Serialize)]
struct OneBars {
    symbol: Symbol,
    bars: Vec<BarShape>,
    next_page_token: Option<String>,
}

#[derive(Serialize)]
struct AllBars {
    bars: BTreeMap<Symbol, Vec<BarShape>>,
    next_page_token: Option<String>,
}

pub(super) async fn latest_quote(shop: Data<Shop>, caller: ReqData<Caller>, name: Path<String>) -> HttpResponse {
    look(&shop, &caller, |_, account, now| {
        let symbol = one(&name)?;
        let quote = quote(account, &symbol, now);
        Ok(HttpResponse::Ok().json(OneQuote { symbol, quote }))
    })
    .await
}

pub(super) async fn latest_quotes(shop: Data<Shop>, caller: ReqData<Caller>, asked: Query<Asked>) -> HttpResponse {
    look(&shop, &caller, |_, account, now| {
        let quotes = many(&asked)?.into_iter().map(|symbol| (symbol.clone(), quote(account, &symbol, now))).collect();
        Ok(HttpResponse::Ok().json(Quotes { quotes }))
    })
    .await
}

pub(super) async fn latest_trade(shop: Data<Shop>, caller: ReqData<Caller>, name: Path<String>) -> HttpResponse {
    look(&shop, &caller, |_, account, now| {
        let symbol = one(&name)?;
        let trade = trade(account, &symbol, now);
        Ok(HttpResponse::Ok().json(OneTrade { symbol, trade }))
    })
    .await
}

pub(super) async fn latest_trades(shop: Data<Shop>, caller: ReqData<Caller>, asked: Query<Asked>) -> HttpResponse {
    look(&shop, &caller, |_, account, now| {
        let trades = many(&asked)?.into_iter().map(|symbol| (symbol.clone(), trade(account, &symbol, now))).collect();
        Ok(HttpResponse::Ok().json(Trades { trades }))
    })
    .await
}

pub(super) async fn bars_of_one(
    shop: Data<Shop>,
    caller: ReqData<Caller>,
    name: Path<String>,
    asked: Query<Asked>,
) -> HttpResponse {
    look(&shop, &caller, |desk, account, now| {
        let symbol = one(&name)?;
        let bars = bars(desk, account, &symbol, &asked, now)?;
        Ok(HttpResponse::Ok().json(OneBars { symbol, bars, next_page_token: None }))
    })
    .await
}

pub(super) async fn bars_of_many(shop: Data<Shop>, caller: ReqData<Caller>, asked: Query<Asked>) -> HttpResponse {
    look(&shop, &caller, |desk, account, now| {
        let all = many(&asked)?.into_iter().map(|symbol| {
            let bars = bars(desk, account, &symbol, &asked, now)?;
            Ok((symbol, bars))
        });
        let bars = all.collect::<Result<_, Refusal>>()?;
        Ok(HttpResponse::Ok().json(AllBars { bars, next_page_token: None }))
    })
    .await
}

/// What is not there is said in the form of the venue.
pub(super) async fn nothing() -> HttpResponse {
    HttpResponse::NotFound().json(json!({"code": 40_410_000, "message": "endpoint not found"}))
}
