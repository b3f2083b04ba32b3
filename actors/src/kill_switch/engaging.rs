//! What follows once the gate is shut: sends stopped, open orders cancelled, all of it answered.

use std::time::Duration;

use super::KillLines;
use crate::cancel_all::{CancelEverything, CancelTally, Everywhere};
use crate::commands::{EngageAnswer, InstanceOutcome};
use crate::domain::kill::{KillMode, KillState};
use crate::domain::names::OrderId;
use crate::ports::World;

/// What engaging works with once the gate is shut.
pub(super) struct Duties {
    pub(super) world: World,
    pub(super) instance: String,
    pub(super) lines: KillLines,
}

/// Waits for the sends in flight and cuts off what is left: after this nothing is being written.
pub(super) async fn stop_sends(accounts: Everywhere, settle: Duration) -> Vec<OrderId> {
    let deadline = tokio::time::Instant::now() + settle;
    while !accounts.is_quiet() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = accounts.in_flight();
    accounts.cut_all();
    left
}

/// Steps 2 to 6 of engaging, the gate being shut: durable, sends stopped, open orders cancelled, answered.
pub(super) async fn carry_out(
    duties: Duties,
    state: KillState,
    settle: Duration,
    durable: tokio::sync::oneshot::Receiver<()>,
) -> EngageAnswer {
    let saved = tokio::time::timeout(Duration::from_secs(1), durable);
    let stopped = async {
        let cut = stop_sends(duties.lines.accounts.clone(), settle).await;
        let from_store = tokio::time::timeout(Duration::from_secs(1), duties.world.store.unknown_orders()).await;
        (cut, from_store)
    };
    let (saved, (cut, from_store)) = futures_util::join!(saved, stopped);
    let mut unknown = duties.lines.accounts.doubtful();
    unknown.extend(cut);
    let covers = match from_store {
        Ok(Ok(ids)) => {
            unknown.extend(ids);
            "all"
        }
        Ok(Err(_)) | Err(_) => "this_instance",
    };
    unknown.sort();
    unknown.dedup();
    let tally = if state.mode == Some(KillMode::Cancel) {
        let everything = CancelEverything { within: settle, also: unknown.clone() };
        let within = settle + Duration::from_millis(500);
        match tokio::time::timeout(within, duties.lines.accounts.cancel(everything)).await {
            Ok(Ok(tally)) => tally,
            // Nobody said what was open: that is a failure to cancel it, and the marks are retried.
            Ok(Err(_)) | Err(_) => CancelTally { failed: 1, ..CancelTally::default() },
        }
    } else {
        CancelTally::default()
    };
    EngageAnswer {
        engagement_id: state.engagement_id.clone().unwrap_or_default(),
        state,
        unknown,
        cancel_requested: tally.requested,
        cancel_confirmed: tally.confirmed,
        cancel_failed: tally.failed,
        flatten_orders: Vec::new(),
        instances: vec![InstanceOutcome { id: duties.instance, outcome: "confirmed" }],
        not_durable: if matches!(saved, Ok(Ok(()))) { Vec::new() } else { vec!["database"] },
        covers,
    }
}
