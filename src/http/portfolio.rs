//! What an account is worth: its equity, what changed it, and the results of its trading days.

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use tranche_actors::commands::MoveCapital;
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::{AccountName, Caller};
use tranche_actors::domain::portfolio::{CapitalEntry, CapitalMove, DayResult, Direction, Portfolio};
use tranche_actors::domain::position::{Open, unrealised};
use utoipa::ToSchema;

use super::documented::{CapitalDoc, ProblemDoc, RepeatableDoc};
use super::fields::{Choice, Fields};
use super::forward::Bearer;
use super::kill_switch::MAX_OPERATOR;
use super::once::{self, Came};
use super::problem::Problem;
use super::requests::MAX_REASON;
use super::shapes::{Items, decimal, stamp};
use super::{Gateway, Shared, body, queries, refusals, words};

const DIRECTIONS: Choice<Direction> = Choice { all: Direction::ALL, word: Direction::as_str, designed: &[] };

/// What an account is worth by the gateway's own books. Money is in the quote currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Portfolio)]
pub(super) struct PortfolioView {
    account: String,
    /// The first deposit.
    initial_capital: String,
    /// Deposits less withdrawals.
    net_capital: String,
    /// All that was ever booked: without what is open.
    closed_equity: String,
    /// Profit of what is open, at the last price of each symbol; null where one has none.
    unrealised_pnl: Option<String>,
    /// `closed_equity` with `unrealised_pnl`.
    open_equity: Option<String>,
    /// `closed_equity` with half of `unrealised_pnl`.
    blended_equity: Option<String>,
    /// The age of the oldest of these prices, in seconds; null where nothing is open.
    price_age_seconds: Option<i64>,
    /// The most that `closed_equity` ever was.
    high_water_mark: String,
    /// How far what trading brought, with what is open, is below the most that it ever brought.
    drawdown: Option<String>,
    /// Grows with every change of closed equity.
    version: u64,
}

impl PortfolioView {
    pub(super) fn of(account: &AccountName, portfolio: &Portfolio, open: Option<&Open>) -> Self {
        let open_pnl = open.map(|open| open.pnl);
        let half = open_pnl.map(|pnl| (pnl / rust_decimal::Decimal::TWO).normalize());
        Self {
            account: account.to_string(),
            initial_capital: canonical(portfolio.initial_capital),
            net_capital: canonical(portfolio.net_capital),
            closed_equity: canonical(portfolio.closed_equity),
            unrealised_pnl: decimal(open_pnl),
            open_equity: decimal(open_pnl.map(|pnl| portfolio.closed_equity + pnl)),
            blended_equity: decimal(half.map(|half| portfolio.closed_equity + half)),
            price_age_seconds: open.and_then(|open| open.oldest).map(|age| age.num_seconds()),
            high_water_mark: canonical(portfolio.high_water_mark),
            drawdown: decimal(open_pnl.map(|pnl| portfolio.drawdown(pnl))),
            version: portfolio.version,
        }
    }
}

/// One change of an account's capital.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CapitalTransaction)]
pub(super) struct CapitalView {
    /// Its place in the account's ledger of capital, from 1 on without gaps.
    number: u64,
    #[schema(schema_with = words::capital_kind)]
    kind: &'static str,
    /// Below zero is lost, paid or taken out.
    amount: String,
    equity_before: String,
    equity_after: String,
    /// The trading day that it counts to.
    trading_day: String,
    /// The order that traded.
    client_order_id: Option<String>,
    symbol: Option<String>,
    /// Who: `gateway`, or whoever moved capital.
    actor: String,
    reason: Option<String>,
    at: String,
}

impl CapitalView {
    fn of(entry: &CapitalEntry) -> Self {
        Self {
            number: entry.number,
            kind: entry.kind.as_str(),
            amount: canonical(entry.amount),
            equity_before: canonical(entry.before),
            equity_after: canonical(entry.after),
            trading_day: entry.day.to_string(),
            client_order_id: entry.order.as_ref().map(ToString::to_string),
            symbol: entry.symbol.as_ref().map(ToString::to_string),
            actor: entry.actor.clone(),
            reason: entry.reason.clone(),
            at: stamp(entry.at),
        }
    }
}

/// The result of a trading day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DailyPnl)]
pub(super) struct DayView {
    account: String,
    /// The date on which the trading day ends.
    day: String,
    /// Profit of what was closed, before fees.
    realised_pnl: String,
    fees: String,
    /// `realised_pnl` less `fees`.
    net_pnl: String,
    /// Deposits less withdrawals.
    capital: String,
    /// Trades that were reported one by one.
    executions: u32,
    /// Single orders and parents that traded for the first time.
    orders: u32,
    /// Closed equity when the day began; null of a day that was never opened.
    opening_equity: Option<String>,
    /// Profit of what was open then.
    opening_unrealised_pnl: Option<String>,
    opened_at: Option<String>,
}

impl DayView {
    fn of(account: &AccountName, result: &DayResult) -> Self {
        Self {
            account: account.to_string(),
            day: result.day.to_string(),
            realised_pnl: canonical(result.realised_pnl),
            fees: canonical(result.fees),
            net_pnl: canonical(result.net()),
            capital: canonical(result.capital),
            executions: result.executions,
            orders: result.orders,
            opening_equity: decimal(result.opening.map(|opening| opening.equity)),
            opening_unrealised_pnl: decimal(result.opening.map(|opening| opening.unrealised_pnl)),
            opened_at: result.opening.map(|opening| stamp(opening.at)),
        }
    }
}

/// What an account is worth.
#[utoipa::path(
    get, path = "/api/v1/portfolio", tag = "portfolio", operation_id = "get_portfolio",
    params(("account" = Option<String>, Query, description = "`default` if absent")),
    responses(
        (status = 200, body = PortfolioView, description = "By the gateway's own books"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn get(request: HttpRequest, gateway: Gateway) -> Result<Json<PortfolioView>, Problem> {
    let account = gateway.office_in(queries::account(request.query_string())?)?.account.clone();
    gateway.serves()?;
    let portfolio = gateway.state.store.portfolio(&account).await.map_err(refusals::store)?;
    gateway.worth(&account, &portfolio).await.map(Json)
}

/// What changed an account's capital, newest first.
#[utoipa::path(
    get, path = "/api/v1/portfolio/capital", tag = "portfolio", operation_id = "list_capital",
    params(
        ("account" = Option<String>, Query, description = "`default` if absent"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of an earlier page"),
        ("limit" = Option<u32>, Query, description = "1 to 500; 100 if absent"),
    ),
    responses(
        (status = 200, body = Items<CapitalView>, description = "One page of it"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn list(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<CapitalView>>, Problem> {
    let (account, cursor, limit) = queries::capital(request.query_string())?;
    let account = &gateway.office_in(account)?.account;
    gateway.serves()?;
    let entries = gateway.state.store.capital(account, cursor, limit).await.map_err(refusals::store)?;
    // The numbers have no gaps, and the first one is 1.
    let next = entries.last().map(|entry| entry.number).filter(|number| *number > 1);
    Ok(Json(Items::page(entries.iter().map(CapitalView::of).collect(), next)))
}

/// Pays in or takes out. What is taken out was there: a withdrawal can't take closed equity below zero.
///
/// With an `Idempotency-Key`, repeating the request is safe; a repetition's answer leaves out what hangs on prices.
#[utoipa::path(
    post, path = "/api/v1/portfolio/capital", tag = "portfolio", operation_id = "move_capital",
    request_body = CapitalDoc,
    params(
        ("account" = Option<String>, Query, description = "`default` if absent"),
        RepeatableDoc,
    ),
    responses(
        (status = 200, body = PortfolioView, description = "What the account is worth after it"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn move_capital(
    request: HttpRequest,
    payload: Payload,
    gateway: Gateway,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::CAPITAL)?;
    let asked = capital_of(fields, by.caller.clone()).map_err(Problem::invalid)?;
    let office = gateway.office_in(queries::account(request.query_string())?)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.takes_work()?;
    let office = match gateway.bearer(&office.account, &request, &bytes).await? {
        Bearer::Here(office) => office,
        Bearer::Answered(answer) => return Ok(answer),
    };
    let command = MoveCapital { asked, by: by.clone() };
    match gateway.ask_once(&office.desk.move_capital, command, &by).await? {
        Came::Now(portfolio) => Ok(HttpResponse::Ok().json(gateway.worth(&office.account, &portfolio).await?)),
        Came::Before(first) => Ok(first),
    }
}

/// The body of a deposit or a withdrawal.
pub(super) fn capital_of(mut fields: Fields<'_>, caller: Caller) -> Result<CapitalMove, Vec<FieldError>> {
    for name in ["kind", "amount", "operator", "reason"] {
        fields.require(name);
    }
    let direction = fields.choice("kind", &DIRECTIONS);
    let amount = fields.money("amount");
    let expected = fields.integer("expected_version", 0, u64::MAX);
    let operator = fields.words("operator", MAX_OPERATOR);
    let reason = fields.words("reason", MAX_REASON);
    let said = direction.zip(amount).zip(operator.zip(reason));
    let asked = said.map(|((direction, amount), (operator, reason))| CapitalMove {
        direction,
        amount,
        expected,
        operator,
        reason,
        by: caller,
    });
    fields.finish(asked)
}

/// The results of an account's trading days, newest first; days on which nothing happened are left out.
#[utoipa::path(
    get, path = "/api/v1/pnl/daily", tag = "portfolio", operation_id = "list_daily_pnl",
    params(
        ("account" = Option<String>, Query, description = "`default` if absent"),
        ("until" = Option<String>, Query, description = "The last trading day, as YYYY-MM-DD"),
        ("limit" = Option<u32>, Query, description = "1 to 500; 100 if absent"),
    ),
    responses(
        (status = 200, body = Items<DayView>, description = "By trading day"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn days(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<DayView>>, Problem> {
    let (account, until, limit) = queries::days(request.query_string())?;
    let account = &gateway.office_in(account)?.account;
    gateway.serves()?;
    let days = gateway.state.store.days(account, until, limit).await.map_err(refusals::store)?;
    Ok(Json(Items::all(days.iter().map(|day| DayView::of(account, day)).collect())))
}

impl Shared {
    async fn worth(&self, account: &AccountName, portfolio: &Portfolio) -> Result<PortfolioView, Problem> {
        let held = self.state.store.positions(account).await.map_err(refusals::store)?;
        let open = unrealised(held.iter().map(|held| &held.position), self.state.clock.now());
        Ok(PortfolioView::of(account, portfolio, open.as_ref()))
    }
}
