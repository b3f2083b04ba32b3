//! What each fault does when its time has come, and when it is over.

use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::order::Order;

use super::{Act, People};
use crate::controls::{disengage, engage, reset, trip};
use crate::faults::FaultKind;
use crate::life::Death;
use crate::run::Stage;
use crate::tape::Step;

impl People {
    pub(super) fn strike(&mut self, stage: &Stage, which: usize) {
        let Some(fault) = self.faults.get(which).cloned() else { return };
        stage.tape.note(&Step::Fault(&fault.kind.to_string()));
        let now = stage.elapsed();
        if let Some(lasts) = fault.kind.lasts() {
            self.put(now + lasts, Act::Mend(which));
        }
        if let Some((death, points)) = fault.at_point() {
            stage.life.doom(death, points);
        }
        if fault.kind.strikes_at_once() {
            stage.tape.strike("at once");
        }
        match fault.kind {
            FaultKind::Submission(fate) => stage.venue.plan([fate]),
            FaultKind::Replacement(fate) => stage.venue.plan_replacements([fate]),
            FaultKind::Cancel(fault) => stage.venue.plan_cancels([fault]),
            FaultKind::Event(fault) => stage.venue.plan_events([fault]),
            FaultKind::Commit(fault) => stage.store.plan([fault]),
            FaultKind::StoreFails(method, _) => stage.store.calls.fail(method, true),
            FaultKind::VenueFails(method, _) => stage.venue.calls.fail(method, true),
            FaultKind::VenueSilent(method, _) => stage.venue.calls.silence(method, true),
            FaultKind::StreamEnds => stage.venue.end_streams(),
            FaultKind::StreamDown(_) => {
                stage.venue.calls.fail("events", true);
                stage.venue.end_streams();
            }
            FaultKind::StreamGap(_) => stage.venue.mute(true),
            FaultKind::Busy(lasts, names_it) => stage.venue.be_busy(lasts, names_it),
            FaultKind::KeyRefused(_) => stage.venue.refuse_key(true),
            FaultKind::ActorDies(_) => {}
            FaultKind::Crash(_, down) => self.down = down,
            FaultKind::Suspended(slept) => stage.clock.freeze(slept),
            FaultKind::ClockSet(millis) => stage.clock.set(millis),
            FaultKind::StaleClaim(number) => stale_claim(stage, number),
            FaultKind::Engaged(mode, ..) => self.called.push_back(engage(LimitScope::Global, mode)),
            FaultKind::Overtaken(mode, ..) => self.ask_at(now, engage(LimitScope::Global, mode)),
            FaultKind::Tripped(_) => self.ask_at(now, trip()),
        }
    }

    pub(super) fn mend(&mut self, stage: &Stage, which: usize) {
        let Some(fault) = self.faults.get(which).cloned() else { return };
        match fault.kind {
            FaultKind::StoreFails(method, _) => stage.store.calls.fail(method, false),
            FaultKind::VenueFails(method, _) => stage.venue.calls.fail(method, false),
            FaultKind::VenueSilent(method, _) => stage.venue.calls.silence(method, false),
            FaultKind::StreamDown(_) => stage.venue.calls.fail("events", false),
            FaultKind::StreamGap(_) => stage.venue.mute(false),
            FaultKind::KeyRefused(_) => stage.venue.refuse_key(false),
            FaultKind::Engaged(..) => self.ask_at(stage.elapsed(), disengage(LimitScope::Global)),
            FaultKind::Overtaken(mode, points, held) => {
                self.called.push_back(engage(LimitScope::Global, mode));
                self.ask_at(stage.elapsed(), disengage(LimitScope::Global));
                stage.life.doom(Death::Nobody, points);
                self.ask_at(stage.elapsed() + held, disengage(LimitScope::Global));
            }
            FaultKind::Tripped(_) => self.ask_at(stage.elapsed(), reset()),
            FaultKind::Submission(_)
            | FaultKind::Replacement(_)
            | FaultKind::Cancel(_)
            | FaultKind::Event(_)
            | FaultKind::Commit(_)
            | FaultKind::StreamEnds
            | FaultKind::Busy(..)
            | FaultKind::ActorDies(_)
            | FaultKind::Crash(..)
            | FaultKind::Suspended(_)
            | FaultKind::StaleClaim(_)
            | FaultKind::ClockSet(_) => {}
        }
    }
}

/// Claims an order that is not to be claimed: one that was claimed before, or one under a plan that is not in force.
fn stale_claim(stage: &Stage, number: u64) {
    let claims = stage.store.look(|ledger| {
        let limits = ledger.limits().revision;
        let claim = |order: &Order| {
            let version = order.slice.as_ref().map(|slice| slice.plan_version);
            let plan_version = if order.is_claimable() { version.map(|version| version + 1) } else { version };
            let stale = !order.status.is_terminal() && (plan_version.is_some() || !order.is_claimable());
            stale.then(|| Write::Claim { id: order.id.clone(), plan_version, reduces: false, limits })
        };
        ledger.orders().filter_map(claim).collect::<Vec<_>>()
    });
    let place = usize::try_from(number).unwrap_or(0).checked_rem(claims.len()).unwrap_or(0);
    if let Some(claim) = claims.into_iter().nth(place) {
        stage.store.slip_in(claim, stage.clock.wall());
    }
}
