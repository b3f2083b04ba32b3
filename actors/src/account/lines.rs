//! Every line of an account. They outlive the actors at their ends.

use actix::Addr;

use super::Account;
use crate::broker::{Adopt, Broker, BrokerLines, BrokerTurned, CancelMarked, Dispatch};
use crate::cancel_all::CancelEverything;
use crate::circuit_breaker::{BrokerAnswered, LineCrossed, PositionDiffers};
use crate::kill_switch::ResumeCancels;
use crate::line::Line;
use crate::persistence::{Committed, Persist, Persistence, StoreTurned, WriterLines};
use crate::portfolio::{Heed, Portfolio, PortfolioLines};
use crate::reconciler::{Compare, CompareSoon, Reconciler, ReconcilerLines};
use crate::risk_desk::{Admit, Booked, Load, Release, Reserve, RiskDesk, Weigh};
use crate::supervisor::ProcessLines;
use crate::twap_parent::ParentLines;

/// Every line of an account.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) persist: Line<Persist>,
    pub(super) committed: Line<Committed>,
    pub(super) store_turned: Line<StoreTurned>,
    pub(super) broker_turned: Line<BrokerTurned>,
    pub(super) dispatch: Line<Dispatch>,
    pub(super) adopt: Line<Adopt>,
    pub(super) cancel_marked: Line<CancelMarked>,
    pub(super) cancel_everything: Line<CancelEverything>,
    pub(super) compare: Line<Compare>,
    pub(super) compare_soon: Line<CompareSoon>,
    pub(super) load_limits: Line<Load>,
    pub(super) admit: Line<Admit>,
    booked: Line<Booked>,
    reserve: Line<Reserve>,
    release: Line<Release>,
    weigh: Line<Weigh>,
    pub(super) heed: Line<Heed>,
    /// Of the whole process.
    pub(super) resume_cancels: Line<ResumeCancels>,
    answered: Line<BrokerAnswered>,
    position_differs: Line<PositionDiffers>,
    line_crossed: Line<LineCrossed>,
}

impl Lines {
    pub(super) fn of(process: &ProcessLines) -> Self {
        Self {
            persist: Line::default(),
            committed: Line::default(),
            store_turned: Line::default(),
            broker_turned: Line::default(),
            dispatch: Line::default(),
            adopt: Line::default(),
            cancel_marked: Line::default(),
            cancel_everything: Line::default(),
            compare: Line::default(),
            compare_soon: Line::default(),
            load_limits: Line::default(),
            admit: Line::default(),
            booked: Line::default(),
            reserve: Line::default(),
            release: Line::default(),
            weigh: Line::default(),
            heed: Line::default(),
            resume_cancels: process.resume_cancels.clone(),
            answered: process.answered.clone(),
            position_differs: process.position_differs.clone(),
            line_crossed: process.line_crossed.clone(),
        }
    }

    pub(super) fn connect_account(&self, account: &Addr<Account>) {
        self.committed.connect(account);
        self.store_turned.connect(account);
        self.broker_turned.connect(account);
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

    pub(super) fn connect_risk_desk(&self, addr: &Addr<RiskDesk>) {
        self.load_limits.connect(addr);
        self.admit.connect(addr);
        self.booked.connect(addr);
        self.reserve.connect(addr);
        self.release.connect(addr);
        self.weigh.connect(addr);
    }

    pub(super) fn connect_portfolio(&self, addr: &Addr<Portfolio>) {
        self.heed.connect(addr);
    }

    /// The lines to what is stopped between two ownerships.
    pub(super) fn disconnect_workers(&self) {
        self.dispatch.disconnect();
        self.adopt.disconnect();
        self.cancel_marked.disconnect();
        self.cancel_everything.disconnect();
        self.compare.disconnect();
        self.compare_soon.disconnect();
        self.load_limits.disconnect();
        self.admit.disconnect();
        self.booked.disconnect();
        self.reserve.disconnect();
        self.release.disconnect();
        self.weigh.disconnect();
        self.heed.disconnect();
    }

    pub(super) fn disconnect(&self) {
        self.disconnect_workers();
        self.persist.disconnect();
        self.committed.disconnect();
        self.store_turned.disconnect();
        self.broker_turned.disconnect();
    }

    pub(super) fn for_persistence(&self) -> WriterLines {
        WriterLines {
            committed: self.committed.clone(),
            booked: self.booked.clone(),
            turned: self.store_turned.clone(),
        }
    }

    pub(super) fn for_broker(&self) -> BrokerLines {
        BrokerLines {
            persist: self.persist.clone(),
            answered: self.answered.clone(),
            turned: self.broker_turned.clone(),
            reserve: self.reserve.clone(),
            release: self.release.clone(),
            weigh: self.weigh.clone(),
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

    pub(super) fn for_portfolio(&self) -> PortfolioLines {
        PortfolioLines { persist: self.persist.clone(), crossed: self.line_crossed.clone() }
    }

    pub(super) fn for_parent(&self) -> ParentLines {
        ParentLines {
            persist: self.persist.clone(),
            dispatch: self.dispatch.clone(),
            cancel: self.cancel_marked.clone(),
        }
    }
}
