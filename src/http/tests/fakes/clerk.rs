//! Who takes the commands, notes them and answers as told.

use actix::{Actor, Context, Handler};
use async_trait::async_trait;
use rust_decimal::Decimal;
use tranche_actors::commands::{
    CancelOrder, CancelParent, CanceledParent, ChangeLimits, ChangedLimits, ClearCause, ClearedCause, CommandError,
    CompareNow, Disengage, Engage, EngageAnswer, InstanceOutcome, MoveCapital, NoteCompared, ReadVolume, Released,
    Reset, ResolveOrder, ResumeParent, SubmitOrder, SubmitParent, SubmittedOrder, SubmittedParent, Trip, Tripped,
};
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::ledger::CancelCounts;
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::liquidity::{Liquidity, Volume};
use tranche_actors::domain::names::{AccountName, OrderId};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::{Parent, ParentStatus};
use tranche_actors::domain::portfolio::Portfolio;
use tranche_actors::domain::resuming::Resumes;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::AnyOrder;

use super::books::orphan;
use super::{Notes, asked, engaged, now, rules, worth};
use crate::http::StopTrading;

/// Takes every command.
pub(in crate::http::tests) struct Clerk(pub(in crate::http::tests) Notes);

impl Actor for Clerk {
    type Context = Context<Self>;
}

impl Handler<SubmitParent> for Clerk {
    type Result = Result<SubmittedParent, CommandError>;

    fn handle(&mut self, message: SubmitParent, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.0.keep_hash(&message.request.request_hash);
        let planned = message.request.plan(&rules(), &asked(message.by, message.key));
        let (mut parent, slices) = planned.map_err(CommandError::Invalid)?;
        parent.status = ParentStatus::Working;
        parent.progress.pending_qty = parent.qty.get();
        let replayed = self.0.with(|noted| {
            noted.slices.insert(parent.id.clone(), slices.clone());
            let any = AnyOrder::Parent(Box::new(parent.clone()));
            noted.orders.insert(parent.id.clone(), any).is_some()
        });
        Ok(SubmittedParent { replayed, parent, slices })
    }
}

impl Handler<SubmitOrder> for Clerk {
    type Result = Result<SubmittedOrder, CommandError>;

    fn handle(&mut self, message: SubmitOrder, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.0.keep_hash(&message.request.request_hash);
        let order = message.request.order(&rules(), &asked(message.by, message.key));
        let order = order.map_err(CommandError::Invalid)?;
        let any = AnyOrder::Order(Box::new(order.clone()));
        let replayed = self.0.with(|noted| noted.orders.insert(order.id.clone(), any).is_some());
        Ok(SubmittedOrder { replayed, order })
    }
}

impl Clerk {
    pub(in crate::http::tests) fn order(&self, id: &OrderId) -> Result<Order, CommandError> {
        match self.0.with(|noted| noted.orders.get(id).cloned()) {
            Some(AnyOrder::Order(order)) => Ok(*order),
            Some(AnyOrder::Parent(_)) | None => Err(CommandError::NotFound),
        }
    }
}

impl Handler<ChangeLimits> for Clerk {
    type Result = Result<ChangedLimits, CommandError>;

    fn handle(&mut self, message: ChangeLimits, _: &mut Context<Self>) -> Self::Result {
        self.0.with(|noted| noted.last_once = message.who.by.once.as_deref().cloned());
        self.0.take(&message)?;
        let before = LimitBook::default();
        Ok(ChangedLimits { after: before.clone().changed(&message.changes, &message.who, now()), before })
    }
}

impl Handler<CancelParent> for Clerk {
    type Result = Result<CanceledParent, CommandError>;

    fn handle(&mut self, message: CancelParent, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        match self.0.with(|noted| noted.orders.get(&message.id).cloned()) {
            Some(AnyOrder::Parent(parent)) => Ok(CanceledParent {
                parent: Parent { status: ParentStatus::Canceling, ..*parent },
                counts: CancelCounts {
                    pending_canceled: 3,
                    open_cancel_requested: 1,
                    already_terminal: 1,
                    in_flight: 0,
                },
            }),
            Some(AnyOrder::Order(_)) | None => Err(CommandError::NotFound),
        }
    }
}

impl Handler<ResumeParent> for Clerk {
    type Result = Result<Parent, CommandError>;

    fn handle(&mut self, message: ResumeParent, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        match self.0.with(|noted| noted.orders.get(&message.id).cloned()) {
            Some(AnyOrder::Parent(parent)) => Ok(Parent { status: ParentStatus::Working, paused: None, ..*parent }),
            Some(AnyOrder::Order(_)) | None => Err(CommandError::NotFound),
        }
    }
}

impl Handler<CancelOrder> for Clerk {
    type Result = Result<Order, CommandError>;

    fn handle(&mut self, message: CancelOrder, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.order(&message.id)
    }
}

impl Handler<ResolveOrder> for Clerk {
    type Result = Result<Order, CommandError>;

    fn handle(&mut self, message: ResolveOrder, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.order(&message.id)
    }
}

impl Handler<Disengage> for Clerk {
    type Result = Result<Released, CommandError>;

    fn handle(&mut self, message: Disengage, _: &mut Context<Self>) -> Self::Result {
        self.0.with(|noted| noted.last_once = message.by.once.as_deref().cloned());
        self.0.take(&message)?;
        let released = engaged().disengage(&message.operator, message.notes.as_deref(), now());
        let state = released.ok_or(CommandError::NotEngaged)?;
        let account = AccountName::parse("default").unwrap();
        let parent_order_ids = vec![OrderId::parse("abc").unwrap()];
        Ok(Released { state, resumes: Some(vec![Resumes { account, parents: 1, slices: 3, parent_order_ids }]) })
    }
}

impl Handler<Trip> for Clerk {
    type Result = Result<Tripped, CommandError>;

    fn handle(&mut self, message: Trip, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        let today = DayEnd::new_york().trading_day(now());
        let tripped = BreakerState::default().trip(&message.reason, message.details, now(), today);
        Ok(Tripped { state: tripped.unwrap(), not_durable: vec!["redis"] })
    }
}

impl Handler<Reset> for Clerk {
    type Result = Result<BreakerState, CommandError>;

    fn handle(&mut self, message: Reset, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        let tripped = BreakerState::default().trip("MANUAL", None, now(), now().date_naive()).unwrap();
        Ok(tripped.reset(&message.operator, &message.reason, now(), chrono::TimeDelta::seconds(300))?)
    }
}

impl Handler<ClearCause> for Clerk {
    type Result = Result<ClearedCause, CommandError>;

    fn handle(&mut self, message: ClearCause, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        let known = ["b-1", "b-2"].contains(&message.cause.as_str());
        let cause = known.then(|| orphan(message.cause.as_str())).ok_or(CommandError::NotFound)?;
        Ok(ClearedCause { cause, released: false })
    }
}

impl Handler<MoveCapital> for Clerk {
    type Result = Result<Portfolio, CommandError>;

    fn handle(&mut self, message: MoveCapital, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        Ok(worth())
    }
}

impl Handler<NoteCompared> for Clerk {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, message: NoteCompared, _: &mut Context<Self>) -> Self::Result {
        self.0.with(|noted| noted.last_once = message.by.once.as_deref().cloned());
        self.0.take(&message)
    }
}

impl Handler<CompareNow> for Clerk {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, message: CompareNow, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)
    }
}

impl Handler<ReadVolume> for Clerk {
    type Result = Result<Volume, CommandError>;

    fn handle(&mut self, _: ReadVolume, _: &mut Context<Self>) -> Self::Result {
        Ok(Liquidity::new(2_500.into(), Decimal::ONE).map_or(Volume::Off, Volume::Known))
    }
}

/// The kill switch's own way.
pub(super) struct Lever(pub(super) Notes);

#[async_trait(?Send)]
impl StopTrading for Lever {
    async fn engage(&self, engage: Engage) -> Result<EngageAnswer, CommandError> {
        self.0.take(&engage)?;
        let scope = engage.scope;
        Ok(EngageAnswer {
            scope,
            state: engaged(),
            engagement_id: "e-1".to_owned(),
            unknown: vec![OrderId::parse("abc").unwrap()],
            cancel_requested: 2,
            cancel_confirmed: 1,
            cancel_failed: 1,
            flatten_orders: Vec::new(),
            instances: vec![InstanceOutcome { id: "one".to_owned(), outcome: "confirmed" }],
            not_durable: vec!["database"],
            covers: "all",
        })
    }
}
