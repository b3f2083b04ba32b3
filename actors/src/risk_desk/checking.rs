//! Asking the desk: for room at the time of an order, for leave at its submission.

use std::collections::BTreeSet;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{NotLoaded, RiskDesk};
use crate::domain::limits::{Check, Control, Gathered, Known, LimitBook, Needs, StopCode, Subject, Verdict, Wish};
use crate::domain::names::{StrategyId, Symbol};
use crate::ports::store::StoreError;

/// Asks for room for orders that are about to be claimed, all of them in this order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Reserved, NotLoaded>")]
pub(crate) struct Reserve {
    pub(crate) wishes: Vec<Wish>,
    /// The limits are known to have changed since the last time.
    pub(crate) anew: bool,
}

/// What became of the wishes, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    /// Each with the client's strategy, as the desk knows it.
    pub(crate) verdicts: Vec<(Verdict, StrategyId)>,
    /// The revision of the limits that this goes by.
    pub(crate) limits: u64,
}

/// Asks whether orders would get room that are due, without reserving any.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<Verdict>, NotLoaded>")]
pub(crate) struct Weigh(pub(crate) Vec<Wish>);

/// Asks whether a single order, a parent or a replacement may be taken, as a whole.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<bool, NotAdmitted>")]
pub(crate) struct Admit {
    pub(crate) wish: Wish,
    /// The gate lets nothing else pass.
    pub(crate) exits_only: bool,
    /// It can be a duplicate, and another one be one of it.
    pub(crate) is_new: bool,
}

/// Why a submission is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// A limit stands against it.
    Limited {
        /// What stands against it.
        code: StopCode,
        /// The same for a person.
        detail: String,
    },
    /// The desk has not been loaded, or the limits could not be read.
    Unready,
}

impl Handler<Reserve> for RiskDesk {
    type Result = ResponseActFuture<Self, Result<Reserved, NotLoaded>>;

    fn handle(&mut self, Reserve { wishes, anew }: Reserve, _: &mut Self::Context) -> Self::Result {
        self.reserve(wishes, Look { limits: anew, power: false })
    }
}

impl Handler<Weigh> for RiskDesk {
    type Result = ResponseActFuture<Self, Result<Vec<Verdict>, NotLoaded>>;

    fn handle(&mut self, Weigh(wishes): Weigh, _: &mut Self::Context) -> Self::Result {
        if !self.loaded {
            return Box::pin(async { Err(NotLoaded) }.into_actor(self));
        }
        let wishes = self.named(wishes);
        Box::pin(self.gather(wishes, Look::ANEW).map(|(wishes, gathered), act, _| {
            let gathered = gathered.map_err(|_| NotLoaded)?;
            act.pace.forget(act.world.clock.boottime());
            Ok(wishes.iter().map(|wish| act.known(&gathered, wish).check(wish, Check::Due)).collect())
        }))
    }
}

impl Handler<Admit> for RiskDesk {
    type Result = ResponseActFuture<Self, Result<bool, NotAdmitted>>;

    fn handle(&mut self, Admit { wish, exits_only, is_new }: Admit, _: &mut Self::Context) -> Self::Result {
        if !self.loaded {
            return Box::pin(async { Err(NotAdmitted::Unready) }.into_actor(self));
        }
        let wishes = self.named(vec![wish]);
        let looked = self.gather(wishes, Look::ANEW).then(|(wishes, gathered), act, _| {
            // The broker's figure may have grown since it was read.
            let is_short = |wish: &Wish, gathered: &Gathered| {
                let verdict = act.known(gathered, wish).check(wish, Check::Whole);
                matches!(verdict, Verdict::Ends { code: StopCode::Limit(Control::BuyingPower), .. })
            };
            match (wishes.first(), &gathered) {
                (Some(wish), Ok(read)) if is_short(wish, read) => act.gather(wishes, Look::WITH_POWER),
                _ => Box::pin(async { (wishes, gathered) }.into_actor(act)),
            }
        });
        Box::pin(looked.map(move |(wishes, gathered), act, _| {
            let gathered = gathered.map_err(|_| NotAdmitted::Unready)?;
            let wish = wishes.into_iter().next().ok_or(NotAdmitted::Unready)?;
            match act.known(&gathered, &wish).check(&wish, Check::Whole) {
                Verdict::Goes { reduces: false } if exits_only => Ok(false),
                Verdict::Goes { reduces } => act.admit(wish, gathered.now, reduces, is_new),
                Verdict::Ends { code, detail } | Verdict::Waits { code, detail } => {
                    Err(NotAdmitted::Limited { code, detail })
                }
            }
        }))
    }
}

/// What is read again before a check, however lately it was.
#[derive(Clone, Copy, Debug)]
struct Look {
    limits: bool,
    power: bool,
}

impl Look {
    /// By the limits as they are stored.
    const ANEW: Self = Self { limits: true, power: false };
    /// By the broker's buying power too.
    const WITH_POWER: Self = Self { limits: true, power: true };
}

impl RiskDesk {
    fn admit(&mut self, wish: Wish, now: DateTime<Utc>, reduces: bool, is_new: bool) -> Result<bool, NotAdmitted> {
        if !is_new || !self.book.has(Control::DuplicateOrder) {
            return Ok(reduces);
        }
        // What takes a position back is bounded by the position.
        if let Some(detail) = self.duplicates(&wish, now).filter(|_| !reduces) {
            return Err(NotAdmitted::Limited { code: StopCode::Limit(Control::DuplicateOrder), detail });
        }
        self.remember(wish, now);
        Ok(reduces)
    }

    /// Whatever stops an order is looked at once more by the limits as they are stored, and the broker's buying power as it is
    /// now: they may have become laxer, and nobody tells. That limits have become tighter shows at the claim.
    fn reserve(&self, wishes: Vec<Wish>, look: Look) -> ResponseActFuture<Self, Result<Reserved, NotLoaded>> {
        if !self.loaded {
            return unready(self);
        }
        let wishes = self.named(wishes);
        Box::pin(self.gather(wishes, look).then(move |(wishes, gathered), act, _| {
            let Ok(gathered) = gathered else {
                return unready(act);
            };
            act.pace.forget(act.world.clock.boottime());
            let before = act.pace.len();
            let verdicts = act.grant(&wishes, &gathered);
            if !look.power && verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Goes { .. })) {
                for wish in &wishes {
                    act.room.release(&wish.symbol, &wish.id);
                }
                act.pace.truncate(before);
                return act.reserve(wishes, Look::WITH_POWER);
            }
            let limits = act.book.revision;
            let verdicts = verdicts.into_iter().zip(wishes.into_iter().map(|wish| wish.strategy)).collect();
            Box::pin(async move { Ok(Reserved { verdicts, limits }) }.into_actor(act))
        }))
    }

    /// Checks and reserves one after the other, so that each finds less room by what those before it took.
    fn grant(&mut self, wishes: &[Wish], gathered: &Gathered) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let known = self.known(gathered, wish);
            let (verdict, worth) = (known.check(wish, Check::Due), known.worth(wish));
            if let Verdict::Goes { reduces } = verdict {
                self.room.reserve(wish, worth.filter(|_| !reduces));
                self.pace.note(wish, self.world.clock.boottime());
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    /// What of the world the wishes need, read now; the limits, if they are read, before that.
    fn gather(
        &self,
        wishes: Vec<Wish>,
        look: Look,
    ) -> ResponseActFuture<Self, (Vec<Wish>, Result<Gathered, StoreError>)> {
        let (store, known) = (self.world.store.clone(), self.book.revision);
        let read = async move { if look.limits { store.limits(Some(known)).await } else { Ok(None) } };
        Box::pin(read.into_actor(self).then(move |read, act, ctx| {
            let changed = read.map(|book| act.take_book(book));
            let needs = act.needs(&wishes);
            let is_due = act.room.power().is_due(act.world.clock.boottime());
            let asks_power = look.power || (needs.buying_power && is_due);
            act.refresh(&needs.hints, is_due && !asks_power, ctx);
            let (prices, clock) = (act.prices.clone(), act.world.clock.clone());
            let gathered = async move {
                if let Err(error) = changed {
                    return (wishes, Err(error), None);
                }
                let power = async { if asks_power { Some(prices.buying_power().await) } else { None } };
                let (mut quotes, volumes, power) =
                    tokio::join!(prices.quotes(&needs.prices), prices.volumes(&needs.volumes), power);
                quotes.extend(prices.known(&needs.hints));
                (wishes, Ok(Gathered { quotes, volumes, now: clock.now() }), power)
            };
            gathered.into_actor(act).map(|(wishes, gathered, power), act, _| {
                if let Some((amount, asked)) = power {
                    act.room.tell(amount, asked);
                }
                (wishes, gathered)
            })
        }))
    }

    /// Asks for what is worth knowing and not worth waiting for, unless it is being asked for.
    pub(super) fn refresh(&mut self, hints: &BTreeSet<Symbol>, with_power: bool, ctx: &mut Context<Self>) {
        let hints = self.prices.outdated(hints);
        if self.refreshing || (hints.is_empty() && !with_power) {
            return;
        }
        self.refreshing = true;
        let prices = self.prices.clone();
        let asked = async move {
            let power = async { if with_power { Some(prices.buying_power().await) } else { None } };
            tokio::join!(prices.quotes(&hints), power).1
        };
        ctx.spawn(asked.into_actor(self).map(|power, act, _| {
            act.refreshing = false;
            if let Some((amount, asked)) = power {
                act.room.tell(amount, asked);
            }
        }));
    }

    fn take_book(&mut self, book: Option<LimitBook>) {
        if let Some(book) = book {
            tracing::info!(account = %self.account, revision = book.revision, "the limits have changed");
            self.book = book;
        }
    }

    fn needs(&self, wishes: &[Wish]) -> Needs {
        let mut needs = Needs::default();
        let nothing = Gathered { now: self.world.clock.now(), ..Gathered::default() };
        wishes.iter().for_each(|wish| needs.add(wish, &self.known(&nothing, wish)));
        needs
    }

    fn known<'a>(&'a self, gathered: &'a Gathered, wish: &Wish) -> Known<'a> {
        Known {
            account: &self.account,
            book: &self.book,
            room: &self.room,
            pace: &self.pace,
            quotes: &gathered.quotes,
            volume: gathered.volumes.get(&wish.symbol).copied(),
            buying_power: self.room.power().left_for_sure(self.world.clock.boottime()),
            buying_power_of_late: self.room.power().left(self.world.clock.boottime()),
            now: gathered.now,
        }
    }

    /// A slice that is brought without its parent is of the strategy that the desk knows it by.
    fn named(&self, mut wishes: Vec<Wish>) -> Vec<Wish> {
        for wish in &mut wishes {
            if let Some(strategy) = self.room.exposure().strategy(&wish.symbol, &wish.chain) {
                wish.strategy = strategy.clone();
            }
        }
        wishes
    }

    pub(super) fn limit(&self, control: Control, wish: &Wish, now: DateTime<Utc>) -> Option<Decimal> {
        let subject = Subject { account: &self.account, strategy: &wish.strategy, symbol: &wish.symbol };
        self.book.tightest(control, subject, now)
    }
}

/// Nothing is known, and so nothing is granted.
fn unready(desk: &RiskDesk) -> ResponseActFuture<RiskDesk, Result<Reserved, NotLoaded>> {
    Box::pin(async { Err(NotLoaded) }.into_actor(desk))
}
