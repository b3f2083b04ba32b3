//! Closing what is held once trading was stopped: which engagements want it, how much an order may close, and when an account
//! is flat.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;

use super::halts::Halt;
use super::kill::{KillMode, KillState};
use super::limits::LimitScope;
use super::money::Qty;
use super::names::{AccountName, OrderId, Symbol};
use super::order::Order;
use super::status::OrderStatus;
use super::terms::{Instruction, Side, Terms, TimeInForce};
use super::text::words;
use super::venue::{Unclosable, VenueOrder};

/// An engagement of the kill switch in mode `flatten` that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flattening {
    /// Everything, or an account.
    pub scope: LimitScope,
    /// The engagement.
    pub engagement: String,
    /// Since when it is in force.
    pub since: DateTime<Utc>,
}

impl Flattening {
    /// What the switch of everything wants.
    #[must_use]
    pub fn of_kill(state: &KillState) -> Option<Self> {
        let wanted = state.is_engaged() && state.mode.is_some_and(KillMode::flattens);
        let (engagement, since) = (state.engagement_id.clone()?, state.engaged_at?);
        wanted.then_some(Self { scope: LimitScope::Global, engagement, since })
    }

    /// What the halt of a part wants: of an account alone, since a position is nobody's within it.
    #[must_use]
    pub fn of_halt(halt: &Halt) -> Option<Self> {
        let wanted = halt.mode.flattens() && may_flatten(&halt.scope);
        let (scope, engagement) = (halt.scope.clone(), halt.engagement_id.clone());
        wanted.then_some(Self { scope, engagement, since: halt.engaged_at })
    }

    /// Whether it wants this account's positions closed.
    #[must_use]
    pub fn is_of(&self, account: &AccountName) -> bool {
        match &self.scope {
            LimitScope::Global => true,
            LimitScope::Account(name) => name == account,
            LimitScope::Strategy(_) | LimitScope::Symbol(_) => false,
        }
    }
}

/// Whether positions can be closed for such a scope.
#[must_use]
pub const fn may_flatten(scope: &LimitScope) -> bool {
    match scope {
        LimitScope::Global | LimitScope::Account(_) => true,
        LimitScope::Strategy(_) | LimitScope::Symbol(_) => false,
    }
}

words!(
    /// What the closing of a position waits for.
    Awaits {
        /// An order of ours in the symbol has not ended: it is being cancelled, or looked up.
        OpenOrders = "open_orders",
        /// An order that closes it is on its way, or at the broker.
        Outcome = "outcome",
        /// Others reduce it as far as it goes.
        OtherOrders = "other_orders",
        /// What the broker holds differs from our books, and has not been seen twice.
        Position = "position_unconfirmed",
        /// The market is shut, or its hours are not known.
        Session = "session_closed",
        /// Nothing may be sent to the broker now, for the reasons that the gate has.
        Gate = "gate",
        /// The last order brought nothing: the next one waits a little.
        Retry = "retry",
        /// The order is about to be sent.
        Sending = "sending",
    }
);

/// A position that is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// What is held.
    pub symbol: Symbol,
    /// How much, by the broker's word; short is negative.
    pub qty: Decimal,
    /// The order that closes it: the last one that was sent, or the one that is next.
    pub order: OrderId,
    /// What it waits for.
    pub awaits: Awaits,
}

/// How far the closing of an account's positions has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The engagement that wants it.
    pub engagement: String,
    /// What is left, by the broker's last word; nothing is known before its first.
    pub left: Vec<Left>,
    /// What is held besides, which a person has to close at the broker: no order of ours can.
    pub unclosable: Vec<Unclosable>,
    /// The broker says that nothing is held, and nothing of the account is open or unknown.
    pub flat: bool,
    /// When the broker was asked last and answered.
    pub seen_at: Option<DateTime<Utc>>,
    /// Why nothing is known now, for a person.
    pub because: Option<String>,
}

impl Progress {
    /// Before the broker was asked.
    #[must_use]
    pub fn unseen(engagement: &str) -> Self {
        let (engagement, left, unclosable, seen_at) = (engagement.to_owned(), Vec::new(), Vec::new(), None);
        Self {
            engagement,
            left,
            unclosable,
            flat: false,
            seen_at,
            because: Some("the broker was not asked yet".to_owned()),
        }
    }
}

/// The order that closes a position, or a part of it: never more than what is held, less what others may take of it.
#[must_use]
pub fn closes(symbol: &Symbol, held: Decimal, open: &[VenueOrder]) -> Option<(Instruction, Qty)> {
    let side = if held.is_sign_negative() { Side::Buy } else { Side::Sell };
    let reducing = open.iter().filter(|order| order.instruction.symbol == *symbol && order.instruction.side == side);
    let taken = reducing.map(|order| (order.qty.get() - order.filled_qty).max(Decimal::ZERO)).sum::<Decimal>();
    let qty = Qty::new(held.abs() - taken).ok()?;
    // What is traded round the clock takes no day orders; its symbols are pairs.
    let time_in_force = if symbol.as_str().contains('/') { TimeInForce::Gtc } else { TimeInForce::Day };
    let instruction =
        Instruction { symbol: symbol.clone(), side, terms: Terms::Market, time_in_force, extended_hours: false };
    Some((instruction, qty))
}

/// How long the next order waits after the `n`th has ended so: a broker that refuses is not asked in a hot loop.
#[must_use]
pub fn pause_after(order: &Order, n: u32) -> chrono::TimeDelta {
    match order.status {
        OrderStatus::Filled => chrono::TimeDelta::zero(),
        OrderStatus::PendingNew
        | OrderStatus::Submitting
        | OrderStatus::SubmittedUnconfirmed
        | OrderStatus::Submitted
        | OrderStatus::Accepted
        | OrderStatus::PartiallyFilled
        | OrderStatus::PendingCancel
        | OrderStatus::PendingReplace
        | OrderStatus::Canceled
        | OrderStatus::Expired
        | OrderStatus::Rejected
        | OrderStatus::Replaced
        | OrderStatus::Failed
        | OrderStatus::BlockedKillSwitch
        | OrderStatus::BlockedCircuitBreaker
        | OrderStatus::BlockedRisk
        | OrderStatus::DryRun => chrono::TimeDelta::seconds(1_i64 << n.saturating_sub(1).min(5)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::halts::{Halted, Halts};
    use crate::domain::kill::EngageOrder;
    use crate::domain::names::{BrokerOrderId, StrategyId};
    use crate::domain::venue::VenueStatus;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn acme() -> Symbol {
        Symbol::parse("ACME").unwrap()
    }

    fn open(side: Side, qty: u32, filled: u32) -> VenueOrder {
        let instruction = Instruction { side, ..closes(&acme(), Decimal::ONE, &[]).unwrap().0 };
        VenueOrder {
            broker_order_id: BrokerOrderId::parse("1").unwrap(),
            client_order_id: OrderId::parse("other").unwrap(),
            instruction,
            qty: Qty::new(Decimal::from(qty)).unwrap(),
            status: VenueStatus::Accepted,
            filled_qty: Decimal::from(filled),
            filled_avg_price: None,
            reason: None,
            replaces: None,
            replaced_by: None,
            submitted_at: at(0),
        }
    }

    #[test]
    fn an_account_and_everything_can_be_flattened_and_no_other_part() {
        let order =
            EngageOrder { operator: "ops".into(), reason: "a test".into(), details: None, mode: KillMode::Flatten };
        let engaged = KillState::default().engage_anew(&order, at(1), at(1).date_naive());
        let of_all = Flattening::of_kill(&engaged).unwrap();
        assert_eq!((&of_all.scope, of_all.since), (&LimitScope::Global, at(1)));
        assert_eq!(Flattening::of_kill(&KillState { mode: Some(KillMode::Cancel), ..engaged.clone() }), None);
        assert_eq!(Flattening::of_kill(&engaged.disengage("ops", None, at(2)).unwrap()), None);
        let (one, two) = (AccountName::parse("one").unwrap(), AccountName::parse("two").unwrap());
        assert!(of_all.is_of(&one) && of_all.is_of(&two));
        let halt = |scope| match Halts::default().engage(&scope, &order, at(1)) {
            Halted::New(halt) => Flattening::of_halt(&halt),
            Halted::Escalated(_) | Halted::Already(_) => None,
        };
        let of_one = halt(LimitScope::Account(one.clone())).unwrap();
        assert!(of_one.is_of(&one) && !of_one.is_of(&two));
        assert_eq!(halt(LimitScope::Symbol(acme())), None);
        assert_eq!(halt(LimitScope::Strategy(StrategyId::parse("alpha").unwrap())), None);
    }

    proptest! {
        #[test]
        fn what_closes_never_opens_or_flips_together_with_what_others_take(
            held in -200_i64..200,
            others in prop::collection::vec((any::<bool>(), 1_u32..50, 0_u32..50), 0..6),
        ) {
            let held = Decimal::from(held);
            let side = |buys| if buys { Side::Buy } else { Side::Sell };
            let others = others.into_iter().map(|(buys, qty, filled)| open(side(buys), qty, filled.min(qty))).collect::<Vec<_>>();
            let reduces = if held.is_sign_negative() { Side::Buy } else { Side::Sell };
            let taken = others.iter().filter(|order| order.instruction.side == reduces);
            let taken = taken.map(|order| order.qty.get() - order.filled_qty).sum::<Decimal>();
            match closes(&acme(), held, &others) {
                Some((instruction, qty)) => {
                    prop_assert_eq!(instruction.side, reduces);
                    prop_assert_eq!(qty.get() + taken, held.abs());
                }
                None => prop_assert!(taken >= held.abs()),
            }
        }
    }
}
