//! Lockouts: accounts, and symbols of accounts, that may reduce and not open.

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tranche_actors::commands::ChangeLimits;
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::limits::{Changer, LimitBook, LimitChange, LockKey, LockKind, LockRule, Lockout};
use tranche_actors::domain::names::{AccountName, Symbol};
use utoipa::ToSchema;

use super::documented::{LockDoc, ProblemDoc, RepeatableDoc};
use super::fields::{Choice, Fields};
use super::kill_switch::MAX_OPERATOR;
use super::problem::{Code, Problem};
use super::requests::MAX_REASON;
use super::schedules::time;
use super::shapes::{Items, stamp};
use super::{Gateway, body, once, queries, words};

const KINDS: Choice<LockKind> = Choice { all: LockKind::ALL, word: LockKind::as_str, designed: &[] };

/// A lockout. What is locked is the union of them all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lockout)]
pub(super) struct LockView {
    /// The account, the rule, and the symbol where it is one's.
    id: String,
    account: String,
    /// The one symbol that is locked; null: all of the account.
    symbol: Option<String>,
    rule: String,
    #[schema(schema_with = words::lock_kind)]
    kind: &'static str,
    reason: String,
    operator: String,
    locked_by: String,
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: Option<String>,
}

impl LockView {
    pub(super) fn of((key, lockout): (&LockKey, &Lockout)) -> Self {
        Self {
            id: key.to_string(),
            account: key.account.to_string(),
            symbol: key.symbol.as_ref().map(ToString::to_string),
            rule: key.rule.to_string(),
            kind: lockout.kind.as_str(),
            reason: lockout.reason.clone(),
            operator: lockout.operator.clone(),
            locked_by: lockout.by.to_string(),
            since: stamp(lockout.since),
            until: lockout.until.map(stamp),
        }
    }
}

/// Who is locked now.
#[utoipa::path(
    get, path = "/api/v1/lockouts", tag = "controls", operation_id = "list_lockouts",
    responses(
        (status = 200, body = Items<LockView>, description = "Every lockout that holds"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn list(gateway: Gateway) -> Result<Json<Items<LockView>>, Problem> {
    gateway.serves()?;
    Ok(Json(held(&gateway.limits().await?, gateway.state.clock.now())))
}

/// Every lockout that holds.
pub(super) fn held(book: &LimitBook, now: DateTime<Utc>) -> Items<LockView> {
    let held = book.lockouts.iter().filter(|(_, lockout)| lockout.holds(now));
    Items::all(held.map(LockView::of).collect())
}

/// Locks an account, or a symbol of it: it may reduce, and open nothing. Of two by one rule the longer holds.
#[utoipa::path(
    post, path = "/api/v1/lockouts", tag = "controls", operation_id = "lock",
    params(RepeatableDoc),
    request_body = LockDoc,
    responses(
        (status = 200, body = LockView, description = "The lockout as it holds"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn post(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::LOCKOUT)?;
    let now = gateway.state.clock.now();
    let Asked { account, symbol, rule, kind, until, reason, operator } =
        asked(fields, now).map_err(Problem::invalid)?;
    let key = LockKey { account: gateway.office_in(account)?.account.clone(), symbol, rule };
    let lockout = Lockout { kind, reason, operator: operator.clone(), by: by.caller.clone(), since: now, until };
    let changes = vec![LimitChange::Lock(key.clone(), lockout)];
    let asked = ChangeLimits { changes, who: Changer { operator, by } };
    gateway.change(asked, |book| Some(LockView::of((&key, book.lockouts.get(&key)?)))).await
}

/// The body of a lockout.
pub(super) struct Asked {
    account: Option<AccountName>,
    symbol: Option<Symbol>,
    rule: LockRule,
    kind: LockKind,
    until: Option<DateTime<Utc>>,
    reason: String,
    operator: String,
}

pub(super) fn asked(mut fields: Fields<'_>, now: DateTime<Utc>) -> Result<Asked, Vec<FieldError>> {
    for name in ["operator", "reason"] {
        fields.require(name);
    }
    let account = fields.name("account", AccountName::parse);
    let symbol = fields.name("symbol", Symbol::parse);
    let is_default = !fields.given("rule");
    let rule = fields.name("rule", LockRule::parse).or_else(|| LockRule::parse("operator").ok().filter(|_| is_default));
    let kind = fields.choice("kind", &KINDS).unwrap_or(LockKind::Permanent);
    let until = fields.name("until", time);
    if kind.ends_by_itself() && !fields.given("until") && until.is_none() {
        fields.fault("until", "missing", "is required of a lockout that ends by itself");
    } else if !kind.ends_by_itself() && until.is_some() {
        fields.fault("until", "not_allowed", "is not taken by a lockout that somebody has to lift");
    } else if until.is_some_and(|until| until <= now) {
        fields.fault("until", "out_of_range", "must be in the future");
    }
    let reason = fields.words("reason", MAX_REASON);
    let operator = fields.words("operator", MAX_OPERATOR);
    let said = rule.zip(reason).zip(operator);
    let asked = said.map(|((rule, reason), operator)| Asked { account, symbol, rule, kind, until, reason, operator });
    fields.finish(asked)
}

/// Lifts a lockout.
#[utoipa::path(
    delete, path = "/api/v1/lockouts/{id}", tag = "controls", operation_id = "unlock",
    params(
        ("id" = String, Path, description = "As the list of lockouts has it"),
        ("operator" = String, Query, description = "Who, in at most 64 characters"),
        RepeatableDoc,
    ),
    responses(
        (status = 200, body = Items<LockView>, description = "What is locked still"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn delete(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    body::nothing_said(&bytes)?;
    let by = once::by(&request, &bytes, once::LOCKOUTS)?;
    let operator = queries::operator(request.query_string())?;
    let id = request.match_info().get("id").unwrap_or_default();
    let key = LockKey::parse(id).map_err(|_| no_lockout(id))?;
    // What it has lifted is not there any more.
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.serves()?;
    let now = gateway.state.clock.now();
    if !gateway.limits().await?.lockouts.get(&key).is_some_and(|lockout| lockout.holds(now)) {
        return Err(no_lockout(id));
    }
    let changes = vec![LimitChange::Unlock(key)];
    gateway.change(ChangeLimits { changes, who: Changer { operator, by } }, |book| Some(held(book, now))).await
}

fn no_lockout(id: &str) -> Problem {
    let shown = id.chars().take(128).collect::<String>();
    Problem::new(Code::NotFound, format!("there is no lockout {shown:?}: GET /api/v1/lockouts lists them"))
}
