//! The readers of requests, for bytes that nobody would send.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use chrono::{DateTime, Utc};
use tranche_actors::domain::audit::By;
use tranche_actors::domain::liquidity::Volume;
use tranche_actors::domain::names::{AccountName, Caller, OrderId};
use tranche_actors::domain::request::{Asked, PlanRules};

use super::canonical::Canonical;
use super::fields::Fields;
use super::{
    auth, body, circuit_breaker, kill_switch, limits, lockouts, portfolio, queries as query, request_id, requests,
    terms,
};
use crate::hostile::done;
use crate::keys;

/// The body of every call, each kind from the same bytes.
///
/// # Panics
/// When an order that was read comes to a plan that doesn't add up.
pub fn bodies(bytes: &[u8]) {
    let Ok(caller) = Caller::parse("anybody") else { return };
    let by = || By::from(caller.clone());
    let now = DateTime::UNIX_EPOCH;
    let of = || Fields::of_body(bytes).ok();
    done(body::nothing_said(bytes));
    let mut form = Canonical::default();
    form.json("body", serde_json::from_slice(bytes).ok().as_ref());
    done(form.hash());
    let Some(fields) = of() else { return };
    if let Ok(parent) = requests::parent(fields) {
        plan(&parent, caller.clone(), now);
    }
    let Ok(id) = OrderId::parse("an-order") else { return };
    done(of().map(requests::single));
    done(of().map(requests::resolution));
    done(of().map(|fields| terms::replacement(fields, &id)));
    done(of().map(|fields| kill_switch::engagement(fields, by(), None)));
    done(of().map(|fields| kill_switch::release(fields, by())));
    done(of().map(|fields| circuit_breaker::trip_of(fields, by())));
    done(of().map(|fields| circuit_breaker::reset_of(fields, by())));
    done(of().map(|fields| limits::limit_of(fields, by())));
    done(of().map(|fields| limits::override_of(fields, by(), now)));
    done(of().map(|fields| lockouts::asked(fields, now)));
    done(of().map(|fields| portfolio::capital_of(fields, caller.clone())));
}

/// Whatever is asked for, a plan has as many slices as are allowed at most, and together they are the whole.
fn plan(parent: &tranche_actors::domain::request::ParentRequest, by: Caller, at: DateTime<Utc>) {
    let rules = PlanRules {
        instruments: [].into(),
        accounts: AccountName::parse("default").into_iter().collect(),
        max_slices: 1_000,
        orders_per_minute: Some(180),
        refuse_past_close: false,
        adv_pct: None,
    };
    done(parent.check_times(at));
    if let Ok((_, slices)) = parent.plan_by_volume(&rules, &Asked { by, key: None, at }, &Volume::Off) {
        assert!(slices.len() <= 1_000, "{} slices", slices.len());
        let total = slices.iter().map(|slice| slice.qty.get()).sum::<rust_decimal::Decimal>();
        assert_eq!(total, parent.qty.get(), "the slices are not the whole");
    }
}

/// The query string of every call, and the names in paths.
pub fn queries(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    done(query::list(text));
    done(query::history(text));
    done(query::page(text));
    done(query::clearance(text));
    done(query::operator(text));
    done(query::capital(text));
    done(query::days(text));
    done(query::account(text));
    done(OrderId::parse(text));
    done(tranche_actors::domain::limits::LockKey::parse(text));
}

/// Every header that is read, each from the same bytes.
pub fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let request = |name: HeaderName| TestRequest::default().append_header((name, value.clone())).to_http_request();
    done(body::idempotency_key(&request(HeaderName::from_static("idempotency-key"))));
    done(body::is_json(&request(header::CONTENT_TYPE)));
    done(body::is_json(&request(header::CONTENT_ENCODING)));
    let id = request_id::RequestId::of(request(request_id::HEADER.clone()).headers());
    assert!((1..=128).contains(&id.as_str().len()), "{id:?}");
    if let Some(token) = auth::bearer(&value) {
        done(keys::id_of(token));
    }
    for name in [header::HOST, header::ORIGIN] {
        let request = request(name);
        done(auth::comes_from_here(request.headers(), request.uri()));
    }
}
