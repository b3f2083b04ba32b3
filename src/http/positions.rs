//! What an account holds by the gateway's own books.

use actix_web::web::Json;
use serde::Serialize;
use tranche_actors::domain::ids::DEFAULT_NAME;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::AccountName;
use tranche_actors::ports::store::HeldPosition;
use utoipa::ToSchema;

use super::documented::ProblemDoc;
use super::problem::{Code, Problem};
use super::shapes::{Items, decimal, stamp};
use super::{Gateway, refusals};

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

/// What the account holds, by symbol.
#[utoipa::path(
    get, path = "/api/v1/positions", tag = "orders", operation_id = "list_positions",
    responses(
        (status = 200, body = Items<PositionView>, description = "Every symbol that was ever held"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn list(gateway: Gateway) -> Result<Json<Items<PositionView>>, Problem> {
    gateway.serves()?;
    let account = AccountName::parse(DEFAULT_NAME)
        .map_err(|_| Problem::new(Code::Internal, "the default account has no proper name"))?;
    let held = gateway.state.store.positions(&account).await.map_err(refusals::store)?;
    let now = gateway.state.clock.now();
    let view = |held: HeldPosition| {
        let position = held.position;
        PositionView {
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
    };
    Ok(Json(Items::all(held.into_iter().map(view).collect())))
}
