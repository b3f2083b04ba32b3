//! The one place where the venue's state changes: takes what is asked, writes the journal, and only then says what to answer
//! and what to tell.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{BrokerOrderId, Symbol};
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::{NewOrder, VenueStatus};
use tranche_actors::market::book::{BookOrder, Change};
use tranche_actors::market::engine::Accepted;
use uuid::Uuid;

use super::account::{Account, Happening, internal_id};
use super::draft::{Draft, Patch, Size, bought};
use super::faults::Mischief;
use super::hours::{Hours, eastern};
use super::journal::{Entry, Journal, JournalError, Outcome, Request};
use super::refusal::Refusal;
use super::shape::{self, Spelling};

/// Something that changes an account.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Submit(Box<Draft>),
    Replace(Uuid, Box<Patch>),
    Cancel(Uuid),
    CancelAll,
    /// Closes the position of a symbol, or so much of it.
    Close(Symbol, Share),
}

/// How much of a position is closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    All,
    Qty(Decimal),
    Percent(Decimal),
}

/// What an act came to.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

/// What is told on the stream of an account.
pub(super) struct Told {
    pub(super) account: String,
    pub(super) happenings: Vec<Happening>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) account: String,
    pub(super) key: String,
}

pub(super) struct Desk {
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) mischief: Mischief,
    pub(super) hours: Hours,
    journal: Journal,
    late: Vec<(DateTime<Utc>, Caller, Act)>,
}

/// What an act did, before it is written down.
struct Done {
    result: Result<Reply, Refusal>,
    entries: Vec<Entry>,
    happenings: Vec<Happening>,
    client_order_id: Option<String>,
    id: Option<Uuid>,
}

impl Desk {
    pub(super) const fn new(
        accounts: BTreeMap<String, Account>,
        mischief: Mischief,
        hours: Hours,
        journal: Journal,
    ) -> Self {
        Self { accounts, mischief, hours, journal, late: Vec::new() }
    }

    pub(super) fn spelling(&self) -> Spelling {
        Spelling { offset_minutes: self.mischief.faults().offset_minutes }
    }

    /// The account of a caller. Every key has one.
    pub(super) fn account(&self, name: &str) -> Result<&Account, Refusal> {
        self.accounts.get(name).ok_or_else(|| Refusal::not_found("account not found"))
    }

    /// Lets the time pass: the market moves, what was late arrives.
    pub(super) fn tick(&mut self, now: DateTime<Utc>) -> Result<Vec<Told>, JournalError> {
        let (mut entries, mut told) = (Vec::new(), Vec::new());
        let halted = self.hours.open_at(now).is_none();
        for account in self.accounts.values_mut() {
            account.engine.halt(halted);
            let mut changes = Vec::new();
            if self.mischief.faults().replaces_lose {
                for id in losing(account) {
                    changes.extend(account.engine.fill(&id, None, None, now));
                }
            }
            changes.extend(account.engine.tick(now));
            let (written, happenings) = account.tell(changes);
            entries.extend(written);
            told.push(Told { account: account.name.clone(), happenings });
        }
        self.journal.write(now, entries)?;
        let (arrived, late): (Vec<_>, _) = std::mem::take(&mut self.late).into_iter().partition(|(at, ..)| *at <= now);
        self.late = late;
        for (_, caller, act) in arrived {
            told.push(self.act(&caller, act, Some("arrived_late"), now)?.1);
        }
        told.retain(|told| !told.happenings.is_empty());
        Ok(told)
    }

    /// Takes an act. What it says is on disk when this returns.
    pub(super) fn act(
        &mut self,
        caller: &Caller,
        act: Act,
        fault: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(Result<Reply, Refusal>, Told), JournalError> {
        let action = act.name();
        let done = self.done(&caller.account, act, now);
        let refusal = done.result.as_ref().err();
        let mut entries = done.entries;
        entries.push(Entry::Request(Box::new(Request {
            account: caller.account.clone(),
            key: caller.key.clone(),
            action: action.to_owned(),
            client_order_id: done.client_order_id,
            id: done.id,
            outcome: if refusal.is_some() { Outcome::Refused } else { Outcome::Accepted },
            status: Some(done.result.as_ref().map_or_else(|refusal| refusal.status, |reply| reply.status)),
            code: refusal.and_then(|refusal| refusal.code),
            message: refusal.map(|refusal| refusal.message.clone()),
            fault: fault.map(str::to_owned),
        })));
        self.journal.write(now, entries)?;
        Ok((done.result, Told { account: caller.account.clone(), happenings: done.happenings }))
    }

    /// Stages a trade. Answers whether there was one.
    pub(super) fn fill(
        &mut self,
        id: Uuid,
        qty: Option<Qty>,
        price: Option<Price>,
        now: DateTime<Utc>,
    ) -> Result<(Told, bool), JournalError> {
        let mut told = Told { account: String::new(), happenings: Vec::new() };
        let mut entries = Vec::new();
        if let Some(account) = self.accounts.values_mut().find(|account| account.order(id).is_some()) {
            let order_id = account.order(id).map(|held| held.order.broker_order_id.clone());
            let changes = order_id.map(|id| account.engine.fill(&id, qty, price, now)).unwrap_or_default();
            (entries, told.happenings) = account.tell(changes);
            told.account.clone_from(&account.name);
        }
        let traded = !entries.is_empty();
        self.journal.write(now, entries)?;
        Ok((told, traded))
    }

    /// Writes down a request that was not taken, and keeps it for later where it is to arrive late.
    pub(super) fn not_taken(
        &mut self,
        caller: &Caller,
        act: Act,
        (fault, status): (&str, Option<u16>),
        arrives_after: Option<TimeDelta>,
        now: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        let (client_order_id, id) = act.names();
        let request = Request {
            account: caller.account.clone(),
            key: caller.key.clone(),
            action: act.name().to_owned(),
            client_order_id,
            id,
            outcome: if status.is_some() { Outcome::Refused } else { Outcome::Lost },
            status,
            code: None,
            message: None,
            fault: Some(fault.to_owned()),
        };
        self.journal.write(now, vec![Entry::Request(Box::new(request))])?;
        if let Some(after) = arrives_after {
            self.late.push((now.checked_add_signed(after).unwrap_or(now), caller.clone(), act));
        }
        Ok(())
    }

    fn done(&mut self, account: &str, act: Act, now: DateTime<Utc>) -> Done {
        let (client_order_id, id) = act.names();
        let mut done = Done {
            result: Err(Refusal::not_found("account not found")),
            entries: Vec::new(),
            happenings: Vec::new(),
            client_order_id,
            id,
        };
        let (hours, spelling) = (self.hours, self.spelling());
        let Some(account) = self.accounts.get_mut(account) else { return done };
        account.engine.halt(hours.open_at(now).is_none());
        let mut at = Moment { account, hours, now, spelling, mischief: &self.mischief, done: &mut done };
        let result = match act {
            Act::Submit(draft) => at.submit(*draft),
            Act::Replace(id, patch) => at.replace(id, &patch),
            Act::Cancel(id) => at.cancel(id),
            Act::CancelAll => Ok(at.cancel_all()),
            Act::Close(symbol, share) => at.close(symbol, share),
        };
        done.result = result;
        done
    }
}

impl Act {
    const fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "submit",
            Self::Replace(..) => "replace",
            Self::Cancel(_) => "cancel",
            Self::CancelAll => "cancel_all",
            Self::Close(..) => "close",
        }
    }

    fn names(&self) -> (Option<String>, Option<Uuid>) {
        match self {
            Self::Submit(draft) => (draft.client_order_id(), None),
            Self::Replace(id, patch) => (patch.client_order_id.clone(), Some(*id)),
            Self::Cancel(id) => (None, Some(*id)),
            Self::CancelAll | Self::Close(..) => (None, None),
        }
    }
}

/// One act on one account.
struct Moment<'a> {
    account: &'a mut Account,
    hours: Hours,
    now: DateTime<Utc>,
    spelling: Spelling,
    mischief: &'a Mischief,
    done: &'a mut Done,
}

impl Moment<'_> {
    fn submit(&mut self, draft: Draft) -> Result<Reply, Refusal> {
        let sound = draft.sound()?;
        let Instruction { symbol, side, .. } = &sound.instruction;
        let quote = self.account.engine.quote(symbol, self.now);
        let (qty, notional) = match sound.size {
            Size::Qty(qty) => (qty, None),
            Size::Notional(notional) => (bought(notional, quote.touch(*side))?, Some(notional)),
        };
        self.admissible(&sound.instruction, qty.get())?;
        let named = self.name(sound.client_order_id);
        let new = self.order(&named, sound.instruction, qty)?;
        let session_end = self.session_end(&new.instruction);
        let accepted = self.account.engine.submit(&new, self.now, session_end).map_err(Refusal::of)?;
        Ok(self.accepted(accepted, named, notional))
    }

    fn replace(&mut self, id: Uuid, patch: &Patch) -> Result<Reply, Refusal> {
        let old = self.known(id)?.clone();
        let (instruction, qty) = patch.applied_to(&old.order.instruction, old.order.qty)?;
        if self.account.card(&old).notional.is_some() {
            return Err(Refusal::invalid("notional orders cannot be replaced"));
        }
        let named = self.name(patch.client_order_id.clone());
        let new = self.order(&named, instruction, qty)?;
        let session_end = self.session_end(&new.instruction);
        let takes_at = self.mischief.replace_takes(self.now);
        let engine = &mut self.account.engine;
        let accepted = engine.replace(&old.order.broker_order_id, &new, self.now, session_end, takes_at);
        let accepted = accepted.map_err(Refusal::of)?;
        Ok(self.accepted(accepted, named, None))
    }

    fn cancel(&mut self, id: Uuid) -> Result<Reply, Refusal> {
        let held = self.known(id)?;
        let (order_id, status) = (held.order.broker_order_id.clone(), shape::status_word(held));
        self.done.client_order_id = Some(self.account.card(held).client_order_id);
        let confirmed = self.mischief.cancel_confirmed(self.now);
        let changes = self.account.engine.cancel(&order_id, self.now, confirmed);
        let refused = |_| Refusal::invalid(format!("order is not cancelable: it is already in \"{status}\" state"));
        let changes = changes.map_err(refused)?;
        self.tell(changes);
        Ok(Reply { status: 204, body: None })
    }

    fn cancel_all(&mut self) -> Reply {
        let live = self.account.engine.book().live().map(|held| self.account.card(held).id).collect::<Vec<_>>();
        let each = live.into_iter().map(|id| match self.cancel(id) {
            Ok(_) => json!({"id": id, "status": 200}),
            Err(refusal) => json!({"id": id, "status": 500, "body": refusal.body()}),
        });
        let each = each.collect::<Vec<_>>();
        self.done.client_order_id = None;
        Reply { status: 207, body: Some(Value::Array(each)) }
    }

    fn close(&mut self, symbol: Symbol, share: Share) -> Result<Reply, Refusal> {
        let held = self.account.holding(&symbol).qty;
        if held.is_zero() {
            return Err(Refusal::not_found(format!("position not found: {symbol}")));
        }
        let qty = match share {
            Share::All => held.abs(),
            Share::Qty(qty) => qty,
            Share::Percent(percent) => (held.abs() * percent / Decimal::ONE_HUNDRED).round_dp(9),
        };
        let qty = Qty::new(qty).map_err(|error| Refusal::invalid(format!("qty {}", error.rule)))?;
        let side = if held.is_sign_positive() { Side::Sell } else { Side::Buy };
        let instruction =
            Instruction { symbol, side, terms: Terms::Market, time_in_force: TimeInForce::Day, extended_hours: false };
        self.admissible(&instruction, qty.get())?;
        let named = self.name(None);
        let new = self.order(&named, instruction, qty)?;
        let session_end = self.session_end(&new.instruction);
        let accepted = self.account.engine.submit(&new, self.now, session_end).map_err(Refusal::of)?;
        Ok(self.accepted(accepted, named, None))
    }

    fn known(&self, id: Uuid) -> Result<&BookOrder, Refusal> {
        self.account.order(id).ok_or_else(|| Refusal::not_found(format!("order not found for {id}")))
    }

    /// The client's id of an order, or one of ours.
    fn name(&self, given: Option<String>) -> String {
        let number = self.account.engine.book().next_seq();
        given
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| self.account.named("client", &number.to_string()).to_string())
    }

    fn order(&self, named: &str, instruction: Instruction, qty: Qty) -> Result<NewOrder, Refusal> {
        let client_order_id = internal_id(named).ok_or_else(|| Refusal::invalid("client_order_id is not valid"))?;
        Ok(NewOrder { client_order_id, instruction, qty })
    }

    /// When an order's session is over: for the opening auction that is when the next one begins.
    fn session_end(&self, instruction: &Instruction) -> DateTime<Utc> {
        match instruction.time_in_force {
            TimeInForce::Opg => self.hours.next_open(self.now),
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok | TimeInForce::Cls => {
                self.hours.next_close(self.now)
            }
        }
    }

    /// The rules of the venue that are not the book's.
    fn admissible(&self, order: &Instruction, qty: Decimal) -> Result<(), Refusal> {
        self.in_its_window(order.time_in_force)?;
        if self.mischief.faults().chance.reject_symbols.contains(&order.symbol) {
            return Err(Refusal::invalid(format!("asset {} is not tradable", order.symbol)));
        }
        if order.extended_hours && !matches!(order.terms, Terms::Limit { .. }) {
            return Err(Refusal::invalid("extended hours order must be DAY limit orders"));
        }
        if let Some(opposite) = self.opposite(order) {
            return Err(Refusal::wash_trade(&self.account.card(opposite).id.to_string()));
        }
        let existing = self.account.holding(&order.symbol).qty;
        let closes = existing * order.side.sign() < Decimal::ZERO;
        let held = self.account.open_qty(&order.symbol, order.side);
        if closes && qty + held > existing.abs() {
            return Err(Refusal::held_for_orders(order.symbol.as_str(), qty, existing.abs(), held));
        }
        let is_short = order.side == Side::Sell && existing <= Decimal::ZERO;
        if is_short && !qty.is_integer() {
            return Err(Refusal::forbidden("fractional orders cannot be sold short"));
        }
        Ok(())
    }

    /// Orders for an auction are refused while it is too late for the one and too early for the next.
    fn in_its_window(&self, time_in_force: TimeInForce) -> Result<(), Refusal> {
        let local = eastern(self.now).time();
        let minute = |hour, minute| chrono::NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default();
        let shut_from = match (self.hours, time_in_force) {
            (Hours::Weekdays { .. }, TimeInForce::Opg) => minute(9, 28),
            (Hours::Weekdays { .. }, TimeInForce::Cls) => minute(15, 50),
            (Hours::Always, _) | (_, TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok) => {
                return Ok(());
            }
        };
        if local >= shut_from && local < minute(19, 0) {
            let from = shut_from.format("%H:%M");
            let message = format!("{time_in_force} orders are not accepted between {from} and 19:00 Eastern");
            return Err(Refusal::forbidden(message));
        }
        Ok(())
    }

    /// An open order of the other side that this one could trade against.
    fn opposite(&self, order: &Instruction) -> Option<&BookOrder> {
        let limit = |terms: Terms| terms.limit_price();
        self.account.engine.book().live().find(|held| {
            let other = &held.order.instruction;
            let crosses = match (limit(order.terms), limit(other.terms)) {
                (Some(mine), Some(theirs)) if order.side == Side::Buy => mine >= theirs,
                (Some(mine), Some(theirs)) => mine <= theirs,
                (None, _) | (_, None) => true,
            };
            other.symbol == order.symbol && other.side != order.side && crosses
        })
    }

    fn accepted(&mut self, accepted: Accepted, named: String, notional: Option<Decimal>) -> Reply {
        let Accepted { order, mut changes } = accepted;
        let first = changes.iter().find(|change| change.order.order.broker_order_id == order.broker_order_id);
        let Some(first) = first.map(|change| change.order.clone()) else {
            return Reply { status: 500, body: None };
        };
        self.account.note(&first, named.clone(), notional);
        if self.mischief.faults().replaces_lose
            && let Some(old) = order.replaces.as_ref()
        {
            changes.extend(self.account.engine.fill(old, None, None, self.now));
        }
        self.tell(changes);
        let card = self.account.card(&first);
        self.done.client_order_id = Some(named);
        self.done.id = Some(card.id);
        let word = if order.replaces.is_some() { "accepted" } else { "pending_new" };
        let body = shape::order(self.account, &first, &card, word, self.spelling);
        Reply { status: 200, body: Some(body) }
    }

    fn tell(&mut self, changes: Vec<Change>) {
        let (entries, happenings) = self.account.tell(changes);
        self.done.entries.extend(entries);
        self.done.happenings.extend(happenings);
    }
}

/// The orders that are being replaced.
fn losing(account: &Account) -> Vec<BrokerOrderId> {
    let live = account.engine.book().live();
    let pending = live.filter(|held| held.order.status == VenueStatus::PendingReplace);
    pending.map(|held| held.order.broker_order_id.clone()).collect()
}
