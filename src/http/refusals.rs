//! How refusals of the actors and of the store are told to a client.

use actix::MailboxError;
use chrono::{DateTime, Utc};
use serde_json::json;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::breaker::{MIN_RESET_REASON, ResetRefused};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::ledger::NotReplaceable;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::{AccountName, OrderId, Symbol};
use tranche_actors::gate::ShutReason;
use tranche_actors::health::{Health, Part};
use tranche_actors::ports::store::StoreError;

use super::problem::{Code, Problem};
use super::shapes::stamp;
use super::switch_shapes::KillView;

/// What there is to say of a symbol in quarantine.
const QUARANTINED: &str = "is quarantined, because the broker's books did not fit ours, and takes only orders that reduce a position: \
    GET /api/v1/reconciliation/orphans says why, and DELETE clears it there";

/// Nothing is asked of an account that no settings here are of, and nothing of it is written.
pub(super) fn not_configured(account: &AccountName) -> Problem {
    let detail = format!(
        "it is of the account {account}, which is not configured in this instance: nothing was done; ask an instance that \
         has this account, or configure it again"
    );
    Problem::new(Code::AccountNotConfigured, detail).with("account", account.as_str())
}

/// A refused command as an answer.
pub(super) fn command(error: CommandError, health: &Health, now: DateTime<Utc>) -> Problem {
    match error {
        CommandError::Invalid(faults) => Problem::invalid(faults),
        CommandError::KeyReused => key_reused(),
        CommandError::Answered => answered(),
        CommandError::IdReused => Problem::new(
            Code::OrderIdReused,
            "the id, or the id of one of its slices, names another order: choose another client_order_id",
        ),
        CommandError::NotFound => {
            Problem::new(Code::NotFound, "there is no such order, or it is of another kind: check the id")
        }
        CommandError::ParentTerminal => {
            Problem::new(Code::ParentTerminal, "the parent has ended, so there is nothing left to change")
        }
        CommandError::NotPaused(status) => {
            Problem::new(Code::NotPaused, format!("the parent is {status}, not paused, so there is nothing to resume"))
                .with("order_status", status.as_str())
        }
        CommandError::NotResolvable(status) => {
            Problem::new(Code::NotResolvable, format!("an order that is {status} can't be settled by hand"))
                .with("order_status", status.as_str())
        }
        CommandError::NotReplaceable(why) => not_replaceable(why),
        CommandError::Conflict(detail) => Problem::new(Code::Conflict, detail),
        CommandError::PortfolioMoved { expected, found } => Problem::new(
            Code::VersionConflict,
            format!("the portfolio is at version {found}, not {expected}: read it again, and decide anew"),
        )
        .with("expected_version", expected)
        .with("found_version", found),
        CommandError::BelowZero { equity } => Problem::new(
            Code::InsufficientEquity,
            format!("the account's closed equity is {}: nothing was taken out", canonical(equity)),
        )
        .with("closed_equity", canonical(equity)),
        CommandError::AlreadyEngaged(state) => engaged(&state),
        CommandError::SecondOperator => second_operator(),
        CommandError::NotEngaged => not_engaged(health),
        CommandError::Reset(why) => not_reset(why),
        CommandError::Quarantined => Problem::new(Code::SymbolQuarantined, format!("the symbol {QUARANTINED}")),
        CommandError::Limited { code, detail } => Problem::new(code.into(), detail),
        CommandError::AlreadyCleared => {
            Problem::new(Code::Conflict, "an operator has cleared it before, so there is nothing left to clear")
        }
        CommandError::Gate(reason) => shut(reason, health, now),
        CommandError::Busy { what, retry_after } => {
            Problem::new(Code::LimitReached, format!("{what} is full: try again a little later"))
                .with("limit", what)
                .retry_after(retry_after)
        }
        CommandError::StoreUnavailable => store_unavailable(),
        CommandError::SwitchboardUnavailable => Problem::new(
            Code::SwitchboardUnavailable,
            "Redis can't be reached, and nothing was released: try again when /readyz says that it answers",
        ),
        CommandError::OutcomeUnknown => Problem::new(
            Code::StoreUnavailable,
            "whether this was stored is not known: send the same request again, which does nothing twice",
        )
        .with("outcome", "unknown"),
    }
}

fn key_reused() -> Problem {
    let detail = "this Idempotency-Key was sent with another request before: send that request again, or use a new key";
    Problem::new(Code::IdempotencyKeyReused, detail)
}

fn answered() -> Problem {
    let detail = "this request was carried out before, and its answer is kept no longer: look at what it was about";
    Problem::new(Code::Conflict, detail)
}

fn second_operator() -> Problem {
    let detail = "your word is kept for 5 minutes: the kill switch stays engaged until somebody else, with a key of another \
        name, disengages it too";
    Problem::new(Code::SecondOperatorNeeded, detail)
}

fn not_reset(why: ResetRefused) -> Problem {
    match why {
        ResetRefused::NotTripped => {
            Problem::new(Code::NotTripped, "there is nothing to reset: read the breaker's status")
        }
        ResetRefused::ReasonTooShort => {
            let rule = format!("must have at least {MIN_RESET_REASON} characters");
            Problem::invalid(vec![FieldError::new("reason", "too_short", rule)])
        }
    }
}

/// An order that no other can take the place of, and what to do instead.
fn not_replaceable(why: NotReplaceable) -> Problem {
    let (status, advice) = match why {
        NotReplaceable::Ended(status) => {
            (Some(status), "read it: where it was replaced, replaced_by names the order to change")
        }
        NotReplaceable::NotLive(status) | NotReplaceable::Changing(status) => {
            (Some(status), "read it, and try again once that is over")
        }
        NotReplaceable::TooOften => (None, "the order itself lives on"),
    };
    let problem = Problem::new(Code::NotReplaceable, format!("the order can't be replaced: {why}; {advice}"));
    match status {
        Some(status) => problem.with("order_status", status.as_str()),
        None => problem,
    }
}

/// A refused order as an answer: where it is its symbol that takes no orders, the symbol is named.
pub(super) fn of_symbol(problem: Problem, symbol: &Symbol) -> Problem {
    if !problem.is(Code::SymbolQuarantined) {
        return problem;
    }
    let detail = format!("{symbol} {QUARANTINED}");
    Problem::new(Code::SymbolQuarantined, detail).with("symbol", symbol.as_str())
}

/// An order was asked for by the id of a parent.
pub(super) fn is_parent(id: &OrderId) -> Problem {
    let detail = format!(
        "{id} is a parent, not an order: GET /api/v1/orders/{id}/slices shows its slices, and DELETE cancels what is \
         left of them"
    );
    Problem::new(Code::NotFound, detail)
}

/// A parent was asked for by the id of an order.
pub(super) fn is_order(id: &OrderId) -> Problem {
    let detail = format!(
        "{id} is an order, not a parent: GET /api/v1/orders/{id} shows it, and POST /api/v1/orders/{id}/cancel cancels it"
    );
    Problem::new(Code::NotFound, detail)
}

/// An actor that did not answer: it died, or took too long.
pub(super) fn mailbox(error: MailboxError) -> Problem {
    tracing::error!(%error, "a command was not answered");
    let detail = match error {
        MailboxError::Closed => "what carries this out has failed and is being rebuilt",
        MailboxError::Timeout => "what carries this out did not answer in time",
    };
    Problem::new(
        Code::OwnerUnavailable,
        format!("{detail}; whether it was done is not known: look, or send the same request again"),
    )
    .with("outcome", "unknown")
}

/// A read that the store did not answer.
pub(super) fn store(error: StoreError) -> Problem {
    tracing::error!(%error, "a read failed");
    match error {
        StoreError::Corrupt { .. } => {
            Problem::new(Code::Internal, "what is stored can't be read: the log says more, under this request's id")
        }
        StoreError::Unavailable { .. }
        | StoreError::Constraint { .. }
        | StoreError::Deposed
        | StoreError::Unusable { .. }
        | StoreError::OutcomeUnknown { .. } => store_unavailable(),
    }
}

/// The gate is shut.
pub(super) fn shut(reason: ShutReason, health: &Health, now: DateTime<Utc>) -> Problem {
    let problem = Problem::new(Code::from(reason), explain(reason, health));
    match reason {
        ShutReason::KillSwitchEngaged => match health.kill().filter(KillState::is_engaged) {
            Some(kill) => problem
                .with("engaged_by", json!(kill.engaged_by))
                .with("reason", json!(kill.engagement_reason))
                .with("engagement_id", json!(kill.engagement_id)),
            None => problem,
        },
        ShutReason::CircuitBreakerTripped => match health.breaker() {
            Some(breaker) => problem.with("reason", json!(breaker.trip_reason)),
            None => problem,
        },
        ShutReason::CircuitBreakerQuiet => {
            let left = health.breaker().and_then(|breaker| breaker.quiet_until);
            match left.and_then(|until| (until - now).to_std().ok()) {
                Some(wait) => problem.retry_after(wait),
                None => problem,
            }
        }
        ShutReason::KillSwitchUnknown
        | ShutReason::CircuitBreakerUnknown
        | ShutReason::Starting
        | ShutReason::Draining
        | ShutReason::NotOwner
        | ShutReason::ClockUnsure
        | ShutReason::StoreUnavailable
        | ShutReason::BrokerUnavailable
        | ShutReason::BrokerUnauthorised => problem,
    }
}

/// The same as [`explain`] for who has shown no key: without what an operator wrote, and without the operator.
pub(super) fn explain_to_anybody(reason: ShutReason, health: &Health) -> String {
    match reason {
        ShutReason::KillSwitchEngaged => {
            "the kill switch is engaged; an operator has to disengage it (its status says who engaged it and why)"
                .to_owned()
        }
        ShutReason::CircuitBreakerTripped => {
            "the circuit breaker tripped; an operator has to reset it (its status says why it tripped)".to_owned()
        }
        ShutReason::CircuitBreakerQuiet
        | ShutReason::KillSwitchUnknown
        | ShutReason::CircuitBreakerUnknown
        | ShutReason::Starting
        | ShutReason::Draining
        | ShutReason::NotOwner
        | ShutReason::ClockUnsure
        | ShutReason::StoreUnavailable
        | ShutReason::BrokerUnavailable
        | ShutReason::BrokerUnauthorised => explain(reason, health),
    }
}

/// Why the gate is shut and what to do about it, for a person.
fn explain(reason: ShutReason, health: &Health) -> String {
    let because = |part| {
        let detail = health.part(part).map(|part| part.detail).unwrap_or_default();
        if detail.is_empty() { detail } else { format!(" ({detail})") }
    };
    match reason {
        ShutReason::KillSwitchEngaged => {
            let engaged = health.kill().filter(KillState::is_engaged);
            let parts = health.halts();
            match engaged.as_ref().map(|kill| kill.engaged_by.as_ref().zip(kill.engagement_reason.as_ref())) {
                None if !parts.is_empty() => {
                    let parts = parts.iter().map(|halt| halt.scope.to_string()).collect::<Vec<_>>().join(", ");
                    format!("the kill switch stops {parts}; an operator has to let that go")
                }
                Some(Some((by, why))) => format!("{by} engaged the kill switch: {why}; an operator has to disengage it"),
                Some(None) | None => "the kill switch is engaged; an operator has to disengage it".to_owned(),
            }
        }
        ShutReason::CircuitBreakerTripped => {
            let why = health.breaker().and_then(|breaker| breaker.trip_reason);
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            format!("the circuit breaker tripped{why}; an operator has to reset it")
        }
        ShutReason::CircuitBreakerQuiet => {
            let until = health.breaker().and_then(|breaker| breaker.quiet_until);
            let until = until.map(|until| format!(" until {}", stamp(until))).unwrap_or_default();
            format!("the circuit breaker was reset, and entries stay blocked{until}")
        }
        ShutReason::KillSwitchUnknown => format!(
            "the kill switch could not be read lately{}, so trading is stopped until it is",
            because(Part::Switches)
        ),
        ShutReason::CircuitBreakerUnknown => format!(
            "the circuit breaker could not be read{}, so trading is stopped until it is",
            because(Part::Switches)
        ),
        ShutReason::Starting => "the gateway is starting or recovering: try again when /readyz says so".to_owned(),
        ShutReason::Draining => "the gateway is shutting down and takes no new work: ask its successor".to_owned(),
        ShutReason::NotOwner => {
            "another instance owns the account, or this one's lease on it is over: try again, whoever has it then answers"
                .to_owned()
        }
        ShutReason::ClockUnsure => format!(
            "the machine's clock was set by itself, and is not known to agree with the broker's{}: see to its time; nothing is \
             sent and nothing expires until it does",
            because(Part::Clock)
        ),
        ShutReason::StoreUnavailable => format!("the store does not commit{}", because(Part::Store)),
        ShutReason::BrokerUnavailable => format!(
            "the broker can't be reached, or its books were not compared with ours yet{}",
            because(Part::Broker)
        ),
        ShutReason::BrokerUnauthorised => {
            let why = because(Part::Broker);
            format!(
                "the broker refuses the gateway's key or its account{why}: give it a key that works and start it again, or \
                 have the account unblocked; it is asked again every half minute"
            )
        }
    }
}

fn engaged(state: &KillState) -> Problem {
    let by = state.engaged_by.as_deref().unwrap_or("somebody");
    let view = KillView::of(state);
    Problem::new(
        Code::AlreadyEngaged,
        format!("{by} engaged the kill switch before; nothing is sent, and there is nothing more to do"),
    )
    .with("state", view.state)
    .with("engaged_at", json!(view.engaged_at))
    .with("engaged_by", json!(view.engaged_by))
    .with("reason", json!(view.engagement_reason))
    .with("engagement_id", json!(view.engagement_id))
    .with("mode", json!(view.mode))
}

fn not_engaged(health: &Health) -> Problem {
    let view = health.kill().map(|state| KillView::of(&state));
    Problem::new(
        Code::NotEngaged,
        "the kill switch is not engaged: if trading is stopped all the same, /readyz says why",
    )
    .with("state", view.as_ref().map_or("UNKNOWN", |view| view.state))
    .with("disengaged_at", json!(view.as_ref().and_then(|view| view.disengaged_at.clone())))
    .with("disengaged_by", json!(view.and_then(|view| view.disengaged_by)))
}

fn store_unavailable() -> Problem {
    Problem::new(
        Code::StoreUnavailable,
        "the store is unavailable, and nothing was changed: try again when /readyz says so",
    )
}
