//! `/v2/orders`.

use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tranche_actors::domain::terms::Side;
use tranche_actors::market::book::BookOrder;
use uuid::Uuid;

use super::account::Account;
use super::around::{answer, answered};
use super::desk::{Act, Caller, Desk};
use super::draft::{Draft, Patch};
use super::refusal::Refusal;
use super::shape;
use super::shop::Shop;

/// Orders on a page, unless asked, and at most.
const PAGE: usize = 50;
const MOST: usize = 500;

/// What a list of orders is asked for by.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listing {
    status: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
    until: Option<String>,
    direction: Option<String>,
    symbols: Option<String>,
    side: Option<String>,
    before_order_id: Option<Uuid>,
    after_order_id: Option<Uuid>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ByClient {
    client_order_id: String,
}

pub(super) async fn submit(
    request: HttpRequest,
    shop: Data<Shop>,
    caller: ReqData<Caller>,
    body: Bytes,
) -> HttpResponse {
    match serde_json::from_slice::<Draft>(&body) {
        Ok(draft) => answer(&request, shop.act(&caller, Act::Submit(Box::new(draft))).await),
        Err(error) => Refusal::malformed(format!("request body format is invalid: {error}")).response(),
    }
}

pub(super) async fn replace(
    request: HttpRequest,
    shop: Data<Shop>,
    caller: ReqData<Caller>,
    id: Path<String>,
    body: Bytes,
) -> HttpResponse {
    let id = match order_id(&id) {
        Ok(id) => id,
        Err(refusal) => return refusal.response(),
    };
    match serde_json::from_slice::<Patch>(&body) {
        Ok(patch) => answer(&request, shop.act(&caller, Act::Replace(id, Box::new(patch))).await),
        Err(error) => Refusal::malformed(format!("request body format is invalid: {error}")).response(),
    }
}

pub(super) async fn cancel(
    request: HttpRequest,
    shop: Data<Shop>,
    caller: ReqData<Caller>,
    id: Path<String>,
) -> HttpResponse {
    match order_id(&id) {
        Ok(id) => answer(&request, shop.act(&caller, Act::Cancel(id)).await),
        Err(refusal) => refusal.response(),
    }
}

pub(super) async fn cancel_all(request: HttpRequest, shop: Data<Shop>, caller: ReqData<Caller>) -> HttpResponse {
    answer(&request, shop.act(&caller, Act::CancelAll).await)
}

pub(super) async fn get(shop: Data<Shop>, caller: ReqData<Caller>, id: Path<String>) -> HttpResponse {
    let found = order_id(&id).and_then(|id| {
        look_up(&shop, &caller, |account| {
            account.order(id).ok_or_else(|| Refusal::not_found(format!("order not found for {id}")))
        })
    });
    shop.pause(shop.latency).await;
    respond(found)
}

pub(super) async fn by_client_order_id(
    shop: Data<Shop>,
    caller: ReqData<Caller>,
    query: Query<ByClient>,
) -> HttpResponse {
    let id = &query.client_order_id;
    let found = look_up(&shop, &caller, |account| {
        account.order_of_client(id).ok_or_else(|| Refusal::not_found(format!("order not found for {id}")))
    });
    shop.pause(shop.latency).await;
    respond(found)
}

pub(super) async fn list(shop: Data<Shop>, caller: ReqData<Caller>, query: Query<Listing>) -> HttpResponse {
    let listed = {
        let mut desk = shop.desk();
        if desk.mischief.lookup_fails() { Err(Refusal::broken(503)) } else { listed(&mut desk, &caller, &query) }
    };
    shop.pause(shop.latency).await;
    match listed {
        Ok(orders) => HttpResponse::Ok().json(orders),
        Err(refusal) => refusal.response(),
    }
}

fn respond(found: Result<serde_json::Value, Refusal>) -> HttpResponse {
    match found {
        Ok(body) => answered(200, Some(body)),
        Err(refusal) => refusal.response(),
    }
}

fn look_up(
    shop: &Shop,
    caller: &Caller,
    find: impl FnOnce(&Account) -> Result<&BookOrder, Refusal>,
) -> Result<serde_json::Value, Refusal> {
    let mut desk = shop.desk();
    if desk.mischief.lookup_fails() {
        return Err(Refusal::broken(503));
    }
    let is_unknown = desk.mischief.status_is_unknown();
    let spelling = desk.spelling();
    let account = desk.account(&caller.account)?;
    let held = find(account)?;
    Ok(shown(account, held, is_unknown, spelling))
}

fn shown(account: &Account, held: &BookOrder, is_unknown: bool, spelling: shape::Spelling) -> serde_json::Value {
    let word = if is_unknown { "under_investigation" } else { shape::status_word(held) };
    shape::order(account, held, &account.card(held), word, spelling)
}

fn listed(desk: &mut Desk, caller: &Caller, query: &Listing) -> Result<Vec<serde_json::Value>, Refusal> {
    let spelling = desk.spelling();
    let is_unknown = desk.mischief.status_is_unknown();
    let account = desk.account(&caller.account)?;
    let wanted = Wanted::of(query, account)?;
    let orders = account.engine.book().orders_after(0).filter(|held| wanted.takes(held)).collect::<Vec<_>>();
    let page: Vec<_> = if wanted.oldest_first {
        orders.into_iter().take(wanted.limit).collect()
    } else {
        orders.into_iter().rev().take(wanted.limit).collect()
    };
    Ok(page.into_iter().map(|held| shown(account, held, is_unknown, spelling)).collect())
}

/// A listing that makes sense.
struct Wanted {
    open: Option<bool>,
    limit: usize,
    after: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    oldest_first: bool,
    symbols: Option<Vec<String>>,
    side: Option<Side>,
    /// Places in the sequence of all orders, both exclusive.
    between: (u64, u64),
}

impl Wanted {
    fn of(query: &Listing, account: &Account) -> Result<Self, Refusal> {
        let open = match query.status.as_deref() {
            None | Some("open") => Some(true),
            Some("closed") => Some(false),
            Some("all") => None,
            Some(_) => return Err(Refusal::invalid("invalid status")),
        };
        let oldest_first = match query.direction.as_deref() {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(Refusal::invalid("invalid direction")),
        };
        let side = match query.side.as_deref() {
            None => None,
            Some(word) => Some(Side::from_word(word).ok_or_else(|| Refusal::invalid("invalid side"))?),
        };
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=MOST).contains(&limit) {
            return Err(Refusal::invalid("limit must be from 1 to 500"));
        }
        let place = |id: Option<Uuid>| match id {
            None => Ok(None),
            Some(id) => match account.order(id) {
                Some(held) => Ok(Some(held.seq)),
                None => Err(Refusal::not_found(format!("order not found for {id}"))),
            },
        };
        let symbols = query.symbols.as_ref().map(|text| text.split(',').map(|one| one.trim().to_uppercase()).collect());
        Ok(Self {
            open,
            limit,
            after: time(query.after.as_deref())?,
            until: time(query.until.as_deref())?,
            oldest_first,
            symbols,
            side,
            between: (place(query.after_order_id)?.unwrap_or(0), place(query.before_order_id)?.unwrap_or(u64::MAX)),
        })
    }

    fn takes(&self, held: &BookOrder) -> bool {
        let instruction = &held.order.instruction;
        let at = held.order.submitted_at;
        self.open.is_none_or(|open| open != held.order.status.is_terminal())
            && self.after.is_none_or(|after| at > after)
            && self.until.is_none_or(|until| at < until)
            && self.side.is_none_or(|side| side == instruction.side)
            && self.symbols.as_ref().is_none_or(|all| all.iter().any(|symbol| symbol == instruction.symbol.as_str()))
            && held.seq > self.between.0
            && held.seq < self.between.1
    }
}

/// A time as a client spells it: RFC 3339, or a day.
pub(super) fn time(text: Option<&str>) -> Result<Option<DateTime<Utc>>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let day = || text.parse::<chrono::NaiveDate>().ok().map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc());
    // A plus sign that was not encoded arrives as a space.
    let at = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|at| at.to_utc()).or_else(day);
    at.map(Some).ok_or_else(|| Refusal::invalid(format!("invalid time {text}")))
}

fn order_id(text: &str) -> Result<Uuid, Refusal> {
    Uuid::parse_str(text).map_err(|_| Refusal::invalid("invalid order_id"))
}
