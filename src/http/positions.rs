//! What an account holds by the gateway's own books.

use actix_web::HttpRequest;
use actix_web::web::Json;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::AccountName;
use tranche_actors::ports::store::HeldPosition;
use utoipa::ToSchema;

use super::documented::ProblemDoc;
use super::problem::{Code, Problem};
use super::shapes::{Items, decimal, stamp};
use super::{Gateway, queries, refusals};

/// What is held of a symbol, at average cost. Money is in the quote currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Position)]
pub(super) struct PositionView {
    account: String,
    symbol: String,
    /// Short is negative.
    qty: String,
    /// The average entry price; null when flat.
    avg_price: Option<String>,
    /// Profit of what was closed, before fees.
    realised_pnl: String,
    /// Fees so far.
    fees: String,
    /// Profit of what is open, against `last_price`.
    unrealised_pnl: Option<String>,
    /// The last price at which this account traded the symbol.
    last_price: Option<String>,
    /// How old that price is, in seconds.
    last_price_age_seconds: Option<i64>,
    /// Grows with every change.
    version: u64,
    updated_at: String,
}

impl PositionView {
    fn of(account: &AccountName, held: &HeldPosition, now: DateTime<Utc>) -> Self {
        let position = &held.position;
        Self {
            account: account.to_string(),
            symbol: held.symbol.to_string(),
            qty: canonical(position.qty),
            avg_price: decimal(position.avg_price()),
            realised_pnl: canonical(position.realised_pnl),
            fees: canonical(position.fees),
            unrealised_pnl: decimal(position.last.map(|(price, _)| position.unrealised_pnl(price))),
            last_price: decimal(position.last.map(|(price, _)| price)),
            last_price_age_seconds: position.last.map(|(_, at)| (now - at).num_seconds()),
            version: position.version,
            updated_at: stamp(held.updated_at),
        }
    }
}

/// What the accounts hold, by account and symbol.
#[utoipa::path(
    get, path = "/api/v1/positions", tag = "portfolio", operation_id = "list_positions",
    params(("account" = Option<String>, Query, description = "Of this one alone")),
    responses(
        (status = 200, body = Items<PositionView>, description = "Every symbol that was ever held"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn list(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<PositionView>>, Problem> {
    let offices = match queries::account(request.query_string())? {
        Some(account) => vec![gateway.office_in(Some(account))?],
        None => gateway.state.accounts.iter().collect(),
    };
    gateway.serves()?;
    let now = gateway.state.clock.now();
    let mut items = Vec::new();
    for office in offices {
        let held = gateway.state.store.positions(&office.account).await.map_err(refusals::store)?;
        items.extend(held.iter().map(|held| PositionView::of(&office.account, held, now)));
    }
    Ok(Json(Items::all(items)))
}

/// What an account holds of a symbol.
#[utoipa::path(
    get, path = "/api/v1/positions/{symbol}", tag = "portfolio", operation_id = "get_position",
    params(
        ("symbol" = String, Path, description = "As the list of positions has it"),
        ("account" = Option<String>, Query, description = "`default` if absent"),
    ),
    responses(
        (status = 200, body = PositionView, description = "What is held, or was"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn get(request: HttpRequest, gateway: Gateway) -> Result<Json<PositionView>, Problem> {
    let office = gateway.office_in(queries::account(request.query_string())?)?;
    gateway.serves()?;
    let asked = request.match_info().get("symbol").unwrap_or_default();
    let held = gateway.state.store.positions(&office.account).await.map_err(refusals::store)?;
    let found = held.iter().find(|held| held.symbol.as_str() == asked);
    let never = || {
        let detail = format!("the account {} never held such a symbol: check its spelling", office.account);
        Problem::new(Code::NotFound, detail)
    };
    found.map(|held| Json(PositionView::of(&office.account, held, gateway.state.clock.now()))).ok_or_else(never)
}
