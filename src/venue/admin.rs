//! `/admin`: what a test or a person does to the venue while it runs. From this machine alone, without a key.

use std::time::Duration;

use actix_web::guard::GuardContext;
use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tranche_actors::domain::money::{Price, Qty};
use uuid::Uuid;

use super::clock::ScaledClock;
use super::faults::VenueFaults;
use super::refusal::Refusal;
use super::shop::Shop;

/// Whether a request comes from this machine, and not by way of a page of somebody else's.
pub(super) fn is_near(context: &GuardContext<'_>) -> bool {
    let head = context.head();
    head.peer_addr.is_none_or(|peer| peer.ip().is_loopback()) && !head.headers.contains_key("origin")
}

pub(super) async fn faults(shop: Data<Shop>) -> HttpResponse {
    HttpResponse::Ok().json(shop.desk().mischief.faults())
}

/// For how long, in milliseconds of the venue; then the faults of before come back.
#[derive(Debug, Deserialize)]
pub(super) struct For {
    for_ms: Option<u64>,
}

pub(super) async fn set_faults(shop: Data<Shop>, query: Query<For>, body: Bytes) -> HttpResponse {
    let faults = match serde_json::from_slice::<VenueFaults>(&body) {
        Ok(faults) => faults,
        Err(error) => return Refusal::malformed(error.to_string()).response(),
    };
    if let Err(wrong) = faults.check() {
        return Refusal::invalid(wrong).response();
    }
    let before = shop.desk().mischief.faults().clone();
    put(&shop, faults);
    if let Some(ms) = query.for_ms {
        let shop = shop.clone();
        actix_web::rt::spawn(async move {
            shop.pause(Duration::from_millis(ms)).await;
            put(&shop, before);
        });
    }
    faults_now(&shop)
}

fn faults_now(shop: &Shop) -> HttpResponse {
    HttpResponse::Ok().json(shop.desk().mischief.faults())
}

fn put(shop: &Shop, faults: VenueFaults) {
    let down = faults.stream_down;
    shop.desk().mischief.set(faults);
    if down {
        shop.hub().cut();
    }
}

pub(super) async fn cut_streams(shop: Data<Shop>) -> HttpResponse {
    shop.hub().cut();
    HttpResponse::NoContent().finish()
}

/// The clock: what it is, or what it is to be.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ClockSetting {
    scale: Option<u32>,
    advance_ms: Option<u64>,
}

impl ClockSetting {
    pub(super) fn set(&self, clock: &ScaledClock) {
        if let Some(scale) = self.scale {
            clock.set_scale(scale);
        }
        if let Some(ms) = self.advance_ms {
            clock.advance(Duration::from_millis(ms));
        }
    }
}

pub(super) async fn clock(shop: Data<Shop>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"now": shop.clock.now(), "scale": shop.clock.scale()}))
}

pub(super) async fn set_clock(shop: Data<Shop>, body: Bytes) -> HttpResponse {
    let setting = match serde_json::from_slice::<ClockSetting>(&body) {
        Ok(setting) => setting,
        Err(error) => return Refusal::malformed(error.to_string()).response(),
    };
    setting.set(&shop.clock);
    shop.tick();
    clock(shop).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateSetting {
    limit: u32,
}

pub(super) async fn set_rate(shop: Data<Shop>, body: Bytes) -> HttpResponse {
    match serde_json::from_slice::<RateSetting>(&body) {
        Ok(RateSetting { limit }) => {
            shop.rates().set_limit(limit);
            HttpResponse::NoContent().finish()
        }
        Err(error) => Refusal::malformed(error.to_string()).response(),
    }
}

/// A trade that is staged: all that is left, at the order's limit or the touch, unless said.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Staged {
    qty: Option<Qty>,
    price: Option<Price>,
}

pub(super) async fn fill(request: HttpRequest, shop: Data<Shop>, id: Path<Uuid>, body: Bytes) -> HttpResponse {
    let staged = if body.is_empty() { Ok(Staged::default()) } else { serde_json::from_slice::<Staged>(&body) };
    let staged = match staged {
        Ok(staged) => staged,
        Err(error) => return Refusal::malformed(error.to_string()).response(),
    };
    let filled = {
        let mut desk = shop.desk();
        let filled = desk.fill(*id, staged.qty, staged.price, shop.clock.now());
        filled.map(|(told, traded)| {
            shop.tell(&mut desk, vec![told]);
            traded
        })
    };
    match filled {
        Ok(true) => HttpResponse::NoContent().finish(),
        Ok(false) => Refusal::invalid("there is no such order with so much left").response(),
        Err(error) => {
            shop.broken.send_replace(Some(super::full(&error)));
            super::around::answer(&request, super::shop::Ending::Cut)
        }
    }
}
