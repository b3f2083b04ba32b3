//! The numbers that the actors work by; configuration fills them in.

use std::num::NonZeroU32;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::domain::breaker::ErrorRule;
use crate::domain::guards::GuardRules;
use crate::domain::kill::KillMode;
use crate::domain::names::AccountName;
use crate::domain::request::PlanRules;
use crate::domain::trading_day::DayEnd;
use crate::ports::store::InstanceCard;

/// How an account is leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How long a lease goes on that is not renewed, by the store's clock.
    pub length: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
}

impl Lease {
    /// How long the owner itself takes it to go on: less by a fifth, for what is on its way then, and for clocks that run at
    /// different speeds.
    #[must_use]
    pub fn held(&self) -> Duration {
        self.length - self.length / 5
    }
}

/// Who says when the market is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarSource {
    /// Nobody: it never closes.
    AlwaysOpen,
    /// The rules of the New York Stock Exchange.
    Nyse,
    /// The venue, asked so often.
    Venue {
        /// How often its clock and calendar are read.
        refresh: Duration,
    },
}

/// The numbers that the actors work by.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The account that is traded.
    pub account: AccountName,
    /// What this instance tells the others of itself.
    pub card: InstanceCard,
    /// How often it does so.
    pub tell_every: Duration,
    /// How accounts are leased; `None`: a lock keeps all other instances out.
    pub lease: Option<Lease>,
    /// When the account's trading days end.
    pub day_end: DayEnd,
    /// What plans are held to.
    pub plan_rules: PlanRules,
    /// Most parents that may be open at once.
    pub max_open_parents: usize,
    /// How long a claim is good for.
    pub claim: Duration,
    /// How late a slice may be sent.
    pub grace: Duration,
    /// How late a single order may be sent.
    pub single_grace: Duration,
    /// How far apart the two look-ups have to be that make an order absent.
    pub unknown_settle: Duration,
    /// How long an absent order has to stay so before it is given up.
    pub absent_settle: Duration,
    /// How often our books are compared with the broker's.
    pub reconcile: Duration,
    /// How long the answer to a single order waits for the venue.
    pub submit_wait: Duration,
    /// How often the market is sampled for the interval TWAP.
    pub benchmark: Duration,
    /// How many sends that never left an order may have.
    pub max_tries: u32,
    /// How long a request to the broker may take.
    pub send_timeout: Duration,
    /// Most sends in flight at once.
    pub max_in_flight: usize,
    /// Most orders that may wait for the rate budget.
    pub max_queue: usize,
    /// Requests that the broker takes in a minute; `None`: no limit.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Who says when the market is open.
    pub calendar: CalendarSource,
    /// How often the gate's lease is renewed.
    pub gate_poll: Duration,
    /// How long a renewal holds.
    pub gate_open: Duration,
    /// How long engaging waits for sends in flight.
    pub kill_settle: Duration,
    /// Whether it takes two operators, with keys of different names, to disengage.
    pub second_operator: bool,
    /// What an engagement by another program of the stack does.
    pub foreign_mode: KillMode,
    /// How long entries stay blocked after a reset of the breaker.
    pub quiet_period: Duration,
    /// When broker errors trip the breaker.
    pub error_rule: ErrorRule,
    /// By how much a position may differ from the broker's before the breaker trips; `None`: it never trips for that.
    pub position_tolerance: Option<Decimal>,
    /// Which other lines trip the breaker.
    pub guards: GuardRules,
    /// How often the prices of what is held are read, where a line needs them.
    pub mark_every: Duration,
    /// Whether a trip cancels open orders.
    pub cancel_on_trip: bool,
    /// A commit that takes longer shuts the gate.
    pub commit_timeout: Duration,
    /// How often a commit is tried while the gate is shut for that.
    pub probe: Duration,
    /// How often it is looked whether every actor's mailbox is open.
    pub heartbeat: Duration,
    /// Most writes in one transaction.
    pub max_batch: usize,
    /// Most commits that may wait.
    pub max_commits: usize,
    /// How long shutting down waits for sends in flight.
    pub drain: Duration,
    /// Whether open orders are cancelled on shutdown.
    pub cancel_on_shutdown: bool,
}
