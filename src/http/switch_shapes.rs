//! What the answers about the kill switch and the circuit breaker look like: the words and the fields of the stack's
//! Redis protocol, and what the protocol has no field for.

use serde::Serialize;
use serde_json::Value;
use tranche_actors::commands::EngageAnswer;
use tranche_actors::domain::breaker::{BreakerState, BreakerWord};
use tranche_actors::domain::flatten::{Left, Progress};
use tranche_actors::domain::halts::Halt;
use tranche_actors::domain::kill::{KillMode, KillState, KillWord};
use tranche_actors::domain::ledger::SwitchEntry;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::AccountName;
use tranche_actors::domain::resuming::Resumes;
use tranche_actors::domain::venue::Unclosable;
use tranche_actors::health::Standing;
use utoipa::ToSchema;

use super::shapes::stamp;
use super::words;

/// The word of a switch that could not be read.
const UNKNOWN: &str = "UNKNOWN";

/// The kill switch.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = KillSwitch)]
pub(super) struct KillView {
    /// `ACTIVE`: trading may go on. `ENGAGED`: it is stopped. `UNKNOWN`: the switch could not be read, and it is too.
    #[schema(schema_with = words::kill_state)]
    pub(super) state: &'static str,
    #[schema(format = DateTime)]
    pub(super) engaged_at: Option<String>,
    pub(super) engaged_by: Option<String>,
    pub(super) engagement_reason: Option<String>,
    #[schema(schema_with = words::any_json)]
    pub(super) engagement_details: Option<Value>,
    #[schema(format = DateTime)]
    pub(super) disengaged_at: Option<String>,
    pub(super) disengaged_by: Option<String>,
    pub(super) disengagement_notes: Option<String>,
    /// In this trading day.
    pub(super) engagement_count_today: u32,
    /// Whether the switch could be read lately.
    pub(super) known: bool,
    /// Why it could not.
    pub(super) unknown_because: Option<String>,
    /// The last engagement.
    pub(super) engagement_id: Option<String>,
    /// What is stopped: `global`, and parts.
    #[schema(schema_with = words::scopes)]
    pub(super) scopes: Vec<LimitScope>,
    /// The parts that are stopped, each with its own engagement.
    pub(super) parts: Vec<StoppedPart>,
    /// What the last engagement does: `halt`, `cancel` or `flatten`.
    pub(super) mode: Option<&'static str>,
}

impl KillView {
    /// A switch that was read.
    pub(super) fn of(state: &KillState) -> Self {
        let state = state.clone();
        let is_engaged = state.is_engaged();
        Self {
            state: state.state.as_str(),
            engaged_at: state.engaged_at.map(stamp),
            engaged_by: state.engaged_by,
            engagement_reason: state.engagement_reason,
            engagement_details: state.engagement_details,
            disengaged_at: state.disengaged_at.map(stamp),
            disengaged_by: state.disengaged_by,
            disengagement_notes: state.disengagement_notes,
            engagement_count_today: state.engagement_count_today,
            known: true,
            unknown_because: None,
            engagement_id: state.engagement_id,
            scopes: if is_engaged { vec![LimitScope::Global] } else { Vec::new() },
            parts: Vec::new(),
            mode: state.mode.map(KillMode::as_str),
        }
    }

    /// The same beside the parts that are stopped.
    pub(super) fn beside(mut self, parts: Vec<Halt>) -> Self {
        self.scopes.extend(parts.iter().map(|halt| halt.scope.clone()));
        self.parts = parts.into_iter().map(StoppedPart::of).collect();
        self
    }

    /// A switch that could not be read. One that was engaged when it was read last is so still.
    pub(super) fn unknown(last: Option<Self>, because: Option<String>) -> Self {
        match last {
            Some(engaged) if engaged.state == KillWord::Engaged.as_str() => {
                Self { known: false, unknown_because: because, ..engaged }
            }
            Some(_) | None => Self { state: UNKNOWN, unknown_because: because, ..Self::default() },
        }
    }
}

/// A part that is stopped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoppedPart {
    #[schema(schema_with = words::scope)]
    scope: LimitScope,
    engagement_id: String,
    #[schema(format = DateTime)]
    engaged_at: String,
    engaged_by: String,
    engagement_reason: String,
    #[schema(schema_with = words::any_json)]
    engagement_details: Option<Value>,
    /// `halt`, `cancel` or `flatten`.
    mode: &'static str,
}

impl StoppedPart {
    fn of(halt: Halt) -> Self {
        Self {
            scope: halt.scope,
            engagement_id: halt.engagement_id,
            engaged_at: stamp(halt.engaged_at),
            engaged_by: halt.engaged_by,
            engagement_reason: halt.reason,
            engagement_details: halt.details,
            mode: halt.mode.as_str(),
        }
    }
}

/// What engaging came to. No byte of an order is written after it but of those listed in `unknown` and, in mode `flatten`, of
/// those that close what is held.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Engaged)]
pub(super) struct EngagedView {
    #[serde(flatten)]
    switch: KillView,
    /// Orders that may be live without an answer.
    unknown: Vec<String>,
    /// Open orders that were asked to be cancelled.
    cancel_requested: u32,
    /// How many of these the broker confirmed in time.
    cancel_confirmed: u32,
    /// How many could not be asked yet; they are retried until confirmed.
    cancel_failed: u32,
    /// In mode `flatten` the first order of each position; it is sent once nothing else of it is open or unknown.
    flatten_orders: Vec<String>,
    instances: Vec<InstanceView>,
    /// Where the engagement is not durable yet: `database`, `redis`.
    not_durable: Vec<&'static str>,
    /// `all`, or `this_instance` where the database can't be read, or did not take it.
    covers: &'static str,
}

/// The kill switch, and how far closing what is held has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KillSwitchStatus)]
pub(super) struct KillStatusView {
    #[serde(flatten)]
    pub(super) switch: KillView,
    /// The accounts whose positions an engagement in force wants closed.
    pub(super) flattening: Vec<FlatteningView>,
}

/// How far closing an account's positions has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Flattening)]
pub(super) struct FlatteningView {
    account: String,
    engagement_id: String,
    /// The broker says that nothing is held, and nothing of the account is open or unknown. Absent where this instance
    /// can't say.
    flat: Option<bool>,
    /// What is held still, by the broker's last word.
    left: Vec<LeftView>,
    /// What is held besides, of a kind or a name that no order from here can close: a person has to close it at the broker.
    unclosable: Vec<UnclosableView>,
    /// When the broker said so.
    #[schema(format = DateTime)]
    seen_at: Option<String>,
    /// Why nothing is known now.
    because: Option<String>,
}

/// A position that is left.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeftPosition)]
struct LeftView {
    symbol: String,
    /// Short is negative.
    qty: String,
    /// The order that closes it: the last one that was sent, or the next.
    client_order_id: String,
    /// What it waits for.
    #[schema(schema_with = words::awaits)]
    awaits: &'static str,
}

/// A position that no order from here can close.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnclosablePosition)]
struct UnclosableView {
    /// What is held, in the broker's own words.
    name: String,
    /// Short is negative.
    qty: String,
}

impl FlatteningView {
    /// An account that an engagement wants flat, and what is known of it here.
    pub(super) fn of(account: &AccountName, engagement: &str, known: Option<Progress>, standing: &Standing) -> Self {
        let elsewhere = match standing {
            Standing::Standby { owner } => Some(format!("it is seen to by its owner {owner}")),
            Standing::Unknown | Standing::Owner { .. } => Some("it is not seen to yet".to_owned()),
        };
        let left = |left: &Left| LeftView {
            symbol: left.symbol.to_string(),
            qty: canonical(left.qty),
            client_order_id: left.order.to_string(),
            awaits: left.awaits.as_str(),
        };
        let unclosable = |held: &Unclosable| UnclosableView { name: held.name.clone(), qty: canonical(held.qty) };
        Self {
            account: account.to_string(),
            engagement_id: engagement.to_owned(),
            flat: known.as_ref().map(|known| known.flat),
            left: known.iter().flat_map(|known| &known.left).map(left).collect(),
            unclosable: known.iter().flat_map(|known| &known.unclosable).map(unclosable).collect(),
            seen_at: known.as_ref().and_then(|known| known.seen_at).map(stamp),
            because: known.map_or(elsewhere, |known| known.because),
        }
    }
}

/// The kill switch once it is released, and what goes on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReleasedKillSwitch)]
pub(super) struct ReleasedView {
    #[serde(flatten)]
    switch: KillView,
    /// What goes on, by account; accounts of which nothing does are left out. Absent where it could not be read.
    resumes: Option<Vec<ResumesView>>,
}

/// What of an account goes on. What became due meanwhile follows the parents' `catch_up`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Resumes)]
struct ResumesView {
    account: String,
    /// Parents with slices left that nothing else holds.
    parents: usize,
    /// Their slices that have not ended.
    slices: u64,
    /// The first 50 of the parents.
    parent_order_ids: Vec<String>,
}

impl ReleasedView {
    /// A switch that is released.
    pub(super) fn of(switch: KillView, resumes: Option<Vec<Resumes>>) -> Self {
        let view = |one: Resumes| ResumesView {
            account: one.account.to_string(),
            parents: one.parents,
            slices: one.slices,
            parent_order_ids: one.parent_order_ids.iter().map(ToString::to_string).collect(),
        };
        Self { switch, resumes: resumes.map(|resumes| resumes.into_iter().map(view).collect()) }
    }
}

/// How an instance stopped.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceOutcome)]
pub(super) struct InstanceView {
    id: String,
    /// `confirmed` or `lapsed`.
    outcome: &'static str,
}

impl EngagedView {
    /// The answer as it is shown.
    pub(super) fn of(answer: EngageAnswer) -> Self {
        let texts = |ids: Vec<_>| ids.iter().map(ToString::to_string).collect();
        Self {
            switch: KillView {
                engagement_id: Some(answer.engagement_id),
                scopes: vec![answer.scope],
                ..KillView::of(&answer.state)
            },
            unknown: answer.unknown.iter().map(ToString::to_string).collect(),
            cancel_requested: answer.cancel_requested,
            cancel_confirmed: answer.cancel_confirmed,
            cancel_failed: answer.cancel_failed,
            flatten_orders: texts(answer.flatten_orders),
            instances: answer
                .instances
                .into_iter()
                .map(|instance| InstanceView { id: instance.id, outcome: instance.outcome })
                .collect(),
            not_durable: answer.not_durable,
            covers: answer.covers,
        }
    }
}

/// The circuit breaker.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CircuitBreaker)]
pub(super) struct BreakerView {
    /// `OPEN`: trading is allowed. `TRIPPED`: it is stopped. `QUIET_PERIOD`: reset a moment ago, and still stopped.
    /// `UNKNOWN`: the breaker could not be read, and trading is stopped.
    #[schema(schema_with = words::breaker_state)]
    state: &'static str,
    #[schema(format = DateTime)]
    tripped_at: Option<String>,
    trip_reason: Option<String>,
    #[schema(schema_with = words::any_json)]
    trip_details: Option<Value>,
    #[schema(format = DateTime)]
    reset_at: Option<String>,
    reset_by: Option<String>,
    /// In this trading day.
    trip_count_today: u32,
    /// When the quiet period ends.
    #[schema(format = DateTime)]
    quiet_until: Option<String>,
    /// Whether the breaker could be read lately.
    known: bool,
    /// Why it could not.
    unknown_because: Option<String>,
    /// Of a trip: where it is not durable yet, `database` or `redis`; it is retried for as long as it is held.
    not_durable: Vec<&'static str>,
}

impl BreakerView {
    /// A breaker that was read.
    pub(super) fn of(state: &BreakerState) -> Self {
        let state = state.clone();
        Self {
            state: state.state.as_str(),
            tripped_at: state.tripped_at.map(stamp),
            trip_reason: state.trip_reason,
            trip_details: state.trip_details,
            reset_at: state.reset_at.map(stamp),
            reset_by: state.reset_by,
            trip_count_today: state.trip_count_today,
            quiet_until: state.quiet_until.map(stamp),
            known: true,
            unknown_because: None,
            not_durable: Vec::new(),
        }
    }

    /// A breaker that has just been tripped.
    pub(super) fn tripped(state: &BreakerState, not_durable: Vec<&'static str>) -> Self {
        Self { not_durable, ..Self::of(state) }
    }

    /// A breaker that could not be read. One that was tripped when it was read last is so still.
    pub(super) fn unknown(last: Option<Self>, because: Option<String>) -> Self {
        match last {
            Some(tripped) if tripped.state == BreakerWord::Tripped.as_str() => {
                Self { known: false, unknown_because: because, ..tripped }
            }
            Some(_) | None => Self { state: UNKNOWN, unknown_because: because, ..Self::default() },
        }
    }
}

/// What was done to a switch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SwitchEvent)]
pub(super) struct SwitchEventView {
    /// `ENGAGED`, `DISENGAGED`, `TRIPPED`, `RESET`, …
    event: String,
    #[schema(format = DateTime)]
    timestamp: String,
    /// Who, as given.
    operator: String,
    /// Why, or the notes.
    reason: Option<String>,
    #[schema(schema_with = words::any_json)]
    details: Option<Value>,
}

impl SwitchEventView {
    /// An entry of a switch's history.
    pub(super) fn of(entry: SwitchEntry) -> Self {
        Self {
            event: entry.event,
            timestamp: stamp(entry.timestamp),
            operator: entry.operator,
            reason: entry.reason,
            details: entry.details,
        }
    }
}
