//! Pre-trade limits: what holds for whom, changed by an operator's word, and overridden for a while.

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use tranche_actors::commands::ChangeLimits;
use tranche_actors::domain::audit::By;
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::limits::{Changer, Control, Limit, LimitBook, LimitChange, LimitKey, LimitScope};
use tranche_actors::domain::money::canonical;
use utoipa::ToSchema;

use super::documented::{LimitDoc, OverrideDoc, ProblemDoc, RepeatableDoc};
use super::fields::{Choice, Fields, Said};
use super::kill_switch::{MAX_OPERATOR, scope};
use super::once::{self, Came};
use super::problem::{Code, Problem};
use super::requests::MAX_REASON;
use super::schedules::time;
use super::shapes::stamp;
use super::{Gateway, Shared, body, refusals, words};

const CONTROLS: Choice<Control> = Choice { all: Control::ALL, word: Control::as_str, designed: &[] };
/// The longest override: what should hold for longer is a limit.
const LONGEST: TimeDelta = TimeDelta::days(7);
/// The largest value that a field can say; the control says which of these it takes.
const MOST: Decimal = Decimal::from_parts(3_735_027_712, 902_409_669, 54, false, 0);

/// All limits. Of several that fit an order the tightest holds; each is counted within one account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub(super) struct LimitsView {
    /// Grows with every change.
    revision: u64,
    limits: Vec<LimitView>,
    overrides: Vec<OverrideView>,
}

/// A limit that somebody has set.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limit)]
pub(super) struct LimitView {
    #[schema(schema_with = words::scope)]
    scope: LimitScope,
    /// What is limited; the code of what it stops.
    #[schema(schema_with = words::control)]
    control: &'static str,
    /// In the control's own unit.
    value: String,
    operator: String,
    set_by: String,
    #[schema(format = DateTime)]
    set_at: String,
}

/// What holds instead of a limit for a while.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LimitOverride)]
pub(super) struct OverrideView {
    #[serde(flatten)]
    limit: LimitView,
    reason: String,
    /// From then on the limit itself holds again.
    #[schema(format = DateTime)]
    until: String,
}

impl LimitsView {
    pub(super) fn of(book: &LimitBook) -> Self {
        let instead = book.overrides.iter().map(|(key, instead)| OverrideView {
            limit: LimitView::of(key, &instead.limit),
            reason: instead.reason.clone(),
            until: stamp(instead.until),
        });
        Self {
            revision: book.revision,
            limits: book.limits.iter().map(|(key, limit)| LimitView::of(key, limit)).collect(),
            overrides: instead.collect(),
        }
    }
}

impl LimitView {
    fn of(key: &LimitKey, limit: &Limit) -> Self {
        Self {
            scope: key.scope.clone(),
            control: key.control.as_str(),
            value: canonical(limit.value),
            operator: limit.operator.clone(),
            set_by: limit.by.to_string(),
            set_at: stamp(limit.at),
        }
    }
}

/// Every limit that is set, and what holds instead of one for a while.
#[utoipa::path(
    get, path = "/api/v1/limits", tag = "controls", operation_id = "get_limits",
    responses(
        (status = 200, body = LimitsView, description = "All of them; none is set until somebody sets it"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn get(gateway: Gateway) -> Result<Json<LimitsView>, Problem> {
    gateway.serves()?;
    Ok(Json(LimitsView::of(&gateway.limits().await?)))
}

/// Sets a limit, or takes it away where `value` is null. It holds for the very next order, on every instance.
#[utoipa::path(
    put, path = "/api/v1/limits", tag = "controls", operation_id = "set_limit",
    params(RepeatableDoc),
    request_body = LimitDoc,
    responses(
        (status = 200, body = LimitsView, description = "The limits as they are now"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn put(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::LIMITS)?;
    let asked = limit_of(fields, by).map_err(Problem::invalid)?;
    gateway.change(asked, |book| Some(LimitsView::of(book))).await
}

/// Lets another value hold instead of a limit, or of none, until a time; then the limit itself holds again.
#[utoipa::path(
    post, path = "/api/v1/limits/overrides", tag = "controls", operation_id = "override_limit",
    params(RepeatableDoc),
    request_body = OverrideDoc,
    responses(
        (status = 200, body = LimitsView, description = "The limits as they are now"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn post(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::LIMITS)?;
    let asked = override_of(fields, by, gateway.state.clock.now()).map_err(Problem::invalid)?;
    gateway.change(asked, |book| Some(LimitsView::of(book))).await
}

/// The body of a limit.
pub(super) fn limit_of(mut fields: Fields<'_>, by: By) -> Result<ChangeLimits, Vec<FieldError>> {
    for name in ["operator", "control"] {
        fields.require(name);
    }
    let key = key(&mut fields);
    let value = match fields.said("value") {
        Said::Nothing => {
            fields.fault("value", "missing", "is required: null takes the limit away");
            None
        }
        Said::Null => None,
        Said::Value => value(&mut fields, key.as_ref()),
    };
    let change = key.map(|key| match value {
        Some(value) => LimitChange::Set(key, value),
        None => LimitChange::Remove(key),
    });
    let operator = fields.words("operator", MAX_OPERATOR);
    let asked = change
        .zip(operator)
        .map(|(change, operator)| ChangeLimits { changes: vec![change], who: Changer { operator, by } });
    fields.finish(asked)
}

/// The body of an override.
pub(super) fn override_of(mut fields: Fields<'_>, by: By, now: DateTime<Utc>) -> Result<ChangeLimits, Vec<FieldError>> {
    for name in ["operator", "control", "value", "until", "reason"] {
        fields.require(name);
    }
    let key = key(&mut fields);
    let value = value(&mut fields, key.as_ref());
    let until = fields.name("until", time);
    if until.is_some_and(|until| until <= now || until > now + LONGEST) {
        fields.fault("until", "out_of_range", "must be in the next 7 days");
    }
    let reason = fields.words("reason", MAX_REASON);
    let operator = fields.words("operator", MAX_OPERATOR);
    let said = key.zip(value).zip(until).zip(reason).zip(operator);
    let asked = said.map(|((((key, value), until), reason), operator)| ChangeLimits {
        changes: vec![LimitChange::Override { key, value, until, reason }],
        who: Changer { operator, by },
    });
    fields.finish(asked)
}

fn key(fields: &mut Fields<'_>) -> Option<LimitKey> {
    let scope = scope(fields);
    fields.choice("control", &CONTROLS).map(|control| LimitKey { scope, control })
}

/// A value that the control takes.
fn value(fields: &mut Fields<'_>, key: Option<&LimitKey>) -> Option<Decimal> {
    let value = fields.between("value", Decimal::ZERO, MOST)?;
    match key?.control.value(value) {
        Ok(value) => Some(value),
        Err(broken) => {
            fields.fault("value", "out_of_range", broken.rule);
            None
        }
    }
}

impl Shared {
    /// The limits and lockouts as they are stored.
    pub(super) async fn limits(&self) -> Result<LimitBook, Problem> {
        Ok(self.state.store.limits(None).await.map_err(refusals::store)?.unwrap_or_default())
    }

    /// Changes them, durably and once, and shows what came of it.
    pub(super) async fn change<V: Serialize>(
        &self,
        asked: ChangeLimits,
        shown: impl FnOnce(&LimitBook) -> Option<V>,
    ) -> Result<HttpResponse, Problem> {
        let by = asked.who.by.clone();
        if let Some(first) = self.first_answer(&by).await? {
            return Ok(first);
        }
        self.is_staying()?;
        match self.ask_once(&self.state.switches.limits, asked, &by).await? {
            Came::Before(first) => Ok(first),
            Came::Now(changed) => match shown(&changed.after) {
                Some(view) => Ok(HttpResponse::Ok().json(view)),
                None => Err(Problem::new(Code::Internal, "the change is not in the book")),
            },
        }
    }
}
