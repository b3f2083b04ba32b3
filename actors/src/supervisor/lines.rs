//! Every line of the house. They outlive the actors at their ends.

use actix::Addr;

use super::Supervisor;
use crate::broker::{Adopt, Broker, BrokerLines, BrokerTurned, CancelMarked, Dispatch};
use crate::cancel_all::CancelEverything;
use crate::circuit_breaker::{BrokerAnswered, CircuitBreaker, PositionDiffers};
use crate::commands::{Disengage, Engage, Reset, Trip};
use crate::kill_switch::{KillLines, KillSwitch, ResumeCancels};
use crate::line::Line;
use crate::persistence::{Committed, Persist, Persistence, StoreTurned};
use crate::reconciler::{Compare, CompareSoon, Reconciler, ReconcilerLines};
use crate::twap_parent::ParentLines;

/// Every line of the house.
#[derive(Clone, Default)]
pub(super) struct Lines {
    pub(super) persist: Line<Persist>,
    pub(super) committed: Line<Committed>,
    pub(super) store_turned: Line<StoreTurned>,
    pub(super) engage: Line<Engage>,
    pub(super) disengage: Line<Disengage>,
    pub(super) resume_cancels: Line<ResumeCancels>,
    pub(super) trip: Line<Trip>,
    pub(super) reset: Line<Reset>,
    pub(super) answered: Line<BrokerAnswered>,
    pub(super) position_differs: Line<PositionDiffers>,
    pub(super) broker_turned: Line<BrokerTurned>,
    pub(super) dispatch: Line<Dispatch>,
    pub(super) adopt: Line<Adopt>,
    pub(super) cancel_marked: Line<CancelMarked>,
    pub(super) cancel_everything: Line<CancelEverything>,
    pub(super) compare: Line<Compare>,
    pub(super) compare_soon: Line<CompareSoon>,
}

impl Lines {
    pub(super) fn connect_root(&self, root: &Addr<Supervisor>) {
        self.committed.connect(root);
        self.store_turned.connect(root);
        self.broker_turned.connect(root);
    }

    pub(super) fn connect_kill_switch(&self, addr: &Addr<KillSwitch>) {
        self.engage.connect(addr);
        self.disengage.connect(addr);
        self.resume_cancels.connect(addr);
    }

    pub(super) fn connect_breaker(&self, addr: &Addr<CircuitBreaker>) {
        self.trip.connect(addr);
        self.reset.connect(addr);
        self.answered.connect(addr);
        self.position_differs.connect(addr);
    }

    pub(super) fn connect_persistence(&self, addr: &Addr<Persistence>) {
        self.persist.connect(addr);
    }

    pub(super) fn connect_broker(&self, addr: &Addr<Broker>) {
        self.dispatch.connect(addr);
        self.adopt.connect(addr);
        self.cancel_marked.connect(addr);
        self.cancel_everything.connect(addr);
    }

    pub(super) fn connect_reconciler(&self, addr: &Addr<Reconciler>) {
        self.compare.connect(addr);
        self.compare_soon.connect(addr);
    }

    pub(super) fn disconnect_account(&self) {
        self.dispatch.disconnect();
        self.adopt.disconnect();
        self.cancel_marked.disconnect();
        self.cancel_everything.disconnect();
        self.compare.disconnect();
        self.compare_soon.disconnect();
    }

    pub(super) fn disconnect(&self) {
        self.disconnect_account();
        self.persist.disconnect();
        self.committed.disconnect();
        self.store_turned.disconnect();
        self.broker_turned.disconnect();
        self.engage.disconnect();
        self.disengage.disconnect();
        self.resume_cancels.disconnect();
        self.trip.disconnect();
        self.reset.disconnect();
        self.answered.disconnect();
        self.position_differs.disconnect();
    }

    pub(super) fn for_kill_switch(&self) -> KillLines {
        KillLines { persist: self.persist.clone(), cancel: self.cancel_everything.clone() }
    }

    pub(super) fn for_broker(&self) -> BrokerLines {
        BrokerLines {
            persist: self.persist.clone(),
            answered: self.answered.clone(),
            turned: self.broker_turned.clone(),
        }
    }

    pub(super) fn for_reconciler(&self) -> ReconcilerLines {
        ReconcilerLines {
            persist: self.persist.clone(),
            adopt: self.adopt.clone(),
            dispatch: self.dispatch.clone(),
            position_differs: self.position_differs.clone(),
        }
    }

    pub(super) fn for_parent(&self) -> ParentLines {
        ParentLines {
            persist: self.persist.clone(),
            dispatch: self.dispatch.clone(),
            cancel: self.cancel_marked.clone(),
        }
    }
}
