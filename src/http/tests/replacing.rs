//! Replacement over HTTP, and the orders that stand in each other's place.

use actix::{Context, Handler};
use serde_json::json;
use tranche_actors::commands::{CommandError, ReplaceOrder, ReplacedOrder};
use tranche_actors::domain::ledger::NotReplaceable;
use tranche_actors::domain::names::BrokerOrderId;
use tranche_actors::domain::order::{Order, Replaces};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Instruction;

use super::fakes::{Clerk, asked, now, rules};
use super::*;

impl Handler<ReplaceOrder> for Clerk {
    type Result = Result<ReplacedOrder, CommandError>;

    fn handle(&mut self, message: ReplaceOrder, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.0.keep_hash(&message.request.request_hash);
        let live = self.order(&message.id)?;
        let asked = asked(message.by, message.key);
        let new = message.request.replacement(&live, &rules(), &asked).map_err(CommandError::Invalid)?;
        let replaces = Replaces {
            order: live.id.clone(),
            broker_order_id: BrokerOrderId::parse("B-1").unwrap(),
            first: live.id.clone(),
            number: 1,
        };
        let id = tranche_actors::domain::names::OrderId::parse(&format!("{}.r1", live.id)).unwrap();
        let instruction = Instruction { terms: new.terms, ..live.instruction.clone() };
        let order = Order {
            slice: live.slice,
            replaces: Some(replaces),
            origin: live.origin,
            ..Order::new(id, &instruction, new.qty, &live.account, &live.strategy_id, now())
        };
        Ok(ReplacedOrder { replayed: false, order })
    }
}

fn patch(path: &str, body: impl Into<String>) -> Ask {
    ask(Method::PATCH, path).bytes(body.into().into_bytes())
}

/// A gateway that knows a limit order to buy 10, and its path.
macro_rules! with_order {
    ($fixture:ident, $app:ident, $path:ident) => {
        let $fixture = Fixture::ready();
        let $app = serve!($fixture);
        let sent = post("/api/v1/orders", SINGLE).of(&$app).await;
        let $path = format!("/api/v1/orders/{}", sent.body["client_order_id"].as_str().unwrap());
    };
}

#[actix_web::test]
async fn a_replacement_is_answered_with_the_order_that_is_to_take_the_place() {
    with_order!(fixture, app, path);
    let answer = patch(&path, r#"{"qty":"12","limit_price":98.5}"#).header("Idempotency-Key", "k").of(&app).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let id = path.rsplit('/').next().unwrap();
    for (field, value) in [
        ("client_order_id", json!(format!("{id}.r1"))),
        ("replaces", json!(id)),
        ("replaced_by", json!(null)),
        ("qty", json!("12")),
        ("limit_price", json!("98.5")),
        ("status", json!("pending_new")),
    ] {
        assert_eq!(answer.body[field], value, "{field}");
    }
    let told = fixture.notes.sent().pop().unwrap();
    assert!(told.contains("ReplaceOrder") && told.contains("key: Some(\"k\")"), "{told}");
}

#[actix_web::test]
async fn the_key_may_stand_in_the_body_and_the_hash_covers_what_is_asked() {
    with_order!(fixture, app, path);
    patch(&path, r#"{"qty":12,"idempotency_key":"k"}"#).of(&app).await;
    patch(&path, r#"{"qty":"12.0"}"#).header("Idempotency-Key", "\"k\"").of(&app).await;
    patch(&path, r#"{"qty":13,"idempotency_key":"k"}"#).header("Idempotency-Key", "k").of(&app).await;
    let sent = fixture.notes.sent();
    assert!(sent[1..].iter().all(|told| told.contains("key: Some(\"k\")")), "{sent:?}");
    let hashes = fixture.notes.hashes();
    assert_eq!(hashes[1], hashes[2], "a key is not a part of what is asked, and 12 is 12.0");
    assert_ne!(hashes[2], hashes[3]);
    let two = patch(&path, r#"{"qty":12,"idempotency_key":"k"}"#).header("Idempotency-Key", "l").of(&app).await;
    assert_eq!((two.status, two.faulty_fields()), (StatusCode::UNPROCESSABLE_ENTITY, vec!["idempotency_key"]));
}

#[actix_web::test]
async fn fields_that_break_rules_are_named_and_nothing_is_sent() {
    with_order!(fixture, app, path);
    let before = fixture.notes.sent().len();
    for (body, fields) in [
        ("{}", vec!["body"]),
        (r#"{"qty":null}"#, vec!["body"]),
        (r#"{"idempotency_key":"k"}"#, vec!["body"]),
        (r#"{"qty":0}"#, vec!["qty"]),
        (r#"{"limit_price":"x"}"#, vec!["limit_price"]),
        (r#"{"stop_price":[1]}"#, vec!["stop_price"]),
        (r#"{"trail_price":-1}"#, vec!["trail_price"]),
        (r#"{"trail_percent":100}"#, vec!["trail_percent"]),
        (r#"{"qty":12,"idempotency_key":"a|b"}"#, vec!["idempotency_key"]),
        (r#"{"qty":12,"side":"sell"}"#, vec!["side"]),
        (r#"{"qty":12,"qty":13}"#, vec!["qty"]),
    ] {
        let answer = patch(&path, body).of(&app).await;
        assert_eq!((answer.status, answer.faulty_fields()), (StatusCode::UNPROCESSABLE_ENTITY, fields), "{body}");
    }
    assert_eq!(fixture.notes.sent().len(), before);
    // What depends on the order is judged where the order is known.
    for (body, fields) in [
        (r#"{"stop_price":5}"#, vec!["stop_price"]),
        (r#"{"trail_price":5,"trail_percent":1}"#, vec!["trail_price", "trail_percent"]),
        (r#"{"qty":"0.5"}"#, vec!["qty"]),
        (r#"{"limit_price":"98.505"}"#, vec!["limit_price"]),
        (r#"{"limit_price":"99.50","qty":"10"}"#, vec!["body"]),
    ] {
        let answer = patch(&path, body).of(&app).await;
        assert_eq!((answer.status, answer.faulty_fields()), (StatusCode::UNPROCESSABLE_ENTITY, fields), "{body}");
    }
}

#[actix_web::test]
async fn what_can_not_be_replaced_says_why() {
    with_order!(fixture, app, path);
    let nobody = patch("/api/v1/orders/nobody", r#"{"qty":12}"#).of(&app).await;
    assert_eq!((nobody.status, nobody.code()), (StatusCode::NOT_FOUND, "not_found"));
    for (why, status) in [
        (NotReplaceable::Ended(OrderStatus::Filled), json!("filled")),
        (NotReplaceable::Changing(OrderStatus::PendingReplace), json!("pending_replace")),
        (NotReplaceable::NotLive(OrderStatus::Submitting), json!("submitting")),
        (NotReplaceable::TooOften, json!(null)),
    ] {
        fixture.notes.refuse_with(CommandError::NotReplaceable(why));
        let answer = patch(&path, r#"{"qty":12}"#).of(&app).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "not_replaceable"));
        assert_eq!(answer.body.get("order_status").cloned().unwrap_or_default(), status);
    }
}
