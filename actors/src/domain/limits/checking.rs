//! The checks themselves: may an order leave, by all that is known now? What isn't known refuses, but for exits.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::exposure::{Exposure, Reach, Wish};
use super::{Control, LimitBook, LimitScope, Pace, Room, StopCode, Subject};
use crate::domain::money::canonical;
use crate::domain::names::{AccountName, Symbol};
use crate::domain::terms::{Side, Terms};

/// How old a reference price may be where a limit needs one and nobody has said.
const FRESH: TimeDelta = TimeDelta::seconds(10);

/// When an order is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// As a whole, when it is submitted: what passes by itself until it is due says nothing yet.
    Whole,
    /// When it is due.
    Due,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may leave.
    Goes {
        /// It can only bring the position closer to flat.
        reduces: bool,
    },
    /// It may not.
    Ends {
        /// What stops it.
        code: StopCode,
        /// The same for a person.
        detail: String,
    },
    /// It may not now, and what stops it passes by itself.
    Waits {
        /// What stops it.
        code: StopCode,
        /// The same for a person.
        detail: String,
    },
}

/// A reference price with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Half-way between bid and ask.
    pub price: Decimal,
    /// When.
    pub at: DateTime<Utc>,
}

/// What was read of the world for a check.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Reference prices.
    pub quotes: BTreeMap<Symbol, Quoted>,
    /// Average daily volumes.
    pub volumes: BTreeMap<Symbol, Decimal>,
    /// When.
    pub now: DateTime<Utc>,
}

/// What a check goes by.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The account that trades.
    pub account: &'a AccountName,
    /// The limits.
    pub book: &'a LimitBook,
    /// What is held, what is open, and what may be bought for.
    pub room: &'a Room,
    /// The orders of the last minute.
    pub pace: &'a Pace,
    /// Reference prices.
    pub quotes: &'a BTreeMap<Symbol, Quoted>,
    /// The average daily volume of the order's symbol.
    pub volume: Option<Decimal>,
    /// What is left of what the broker says that may be bought for.
    pub buying_power: Option<Decimal>,
    /// The same by a figure that need not be fresh.
    pub buying_power_of_late: Option<Decimal>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What has to be read of the world before an order can be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Reference prices of these symbols.
    pub prices: BTreeSet<Symbol>,
    /// The average daily volume of these.
    pub volumes: BTreeSet<Symbol>,
    /// The buying power.
    pub buying_power: bool,
    /// Prices that are worth knowing and not worth waiting for.
    pub hints: BTreeSet<Symbol>,
}

impl Needs {
    /// Adds what a wish needs.
    pub fn add(&mut self, wish: &Wish, known: &Known<'_>) {
        let limit = |control| known.limit(control, wish);
        let priced = limit(Control::StalePrice).is_some()
            || (limit(Control::PriceCollar).is_some() && has_price(wish.terms))
            || (limit(Control::MaxOrderNotional).is_some() && worst_price(wish.terms, wish.side, None).is_none());
        if priced {
            self.prices.insert(wish.symbol.clone());
        }
        if limit(Control::MaxAdvShare).is_some() {
            self.volumes.insert(wish.symbol.clone());
        }
        let unpriced = worst_price(wish.terms, wish.side, None).is_none().then(|| wish.symbol.clone());
        if limit(Control::BuyingPower).is_some() {
            self.buying_power = true;
            self.prices.extend(unpriced);
            self.prices.extend(known.room.uncounted(&wish.chain).map(|(symbol, _)| symbol.clone()));
        } else {
            self.hints.extend(unpriced);
        }
        if limit(Control::MaxGrossExposure).is_some() {
            self.prices.insert(wish.symbol.clone());
            self.prices.extend(known.exposure().symbols().into_iter().cloned());
        }
    }
}

/// Why a check doesn't let an order go.
type Stop = (Control, String);

impl<'a> Known<'a> {
    /// Whether an order may leave.
    #[must_use]
    pub fn check(&self, wish: &Wish, check: Check) -> Verdict {
        let reduces = self.exposure().is_reduced_by(wish);
        let lock = self.book.lock(self.account, &wish.symbol, self.now);
        if let Some((key, lockout)) = lock.filter(|_| !reduces) {
            let until = lockout.until.map_or_else(|| "it is lifted".to_owned(), |until| until.to_rfc3339());
            return Verdict::Ends {
                code: StopCode::Lockout,
                detail: format!("{key} is locked until {until}: {}", lockout.reason),
            };
        }
        let stopped = match self.of_its_own(wish, reduces) {
            Ok(()) if reduces => Ok(()),
            Ok(()) => self.of_all(wish, check),
            Err(stop) => Err(stop),
        };
        match stopped {
            Ok(()) => Verdict::Goes { reduces },
            Err((control, detail)) => {
                let code = StopCode::Limit(control);
                if control.passes_by_itself() {
                    Verdict::Waits { code, detail }
                } else {
                    Verdict::Ends { code, detail }
                }
            }
        }
    }

    const fn exposure(&self) -> &'a Exposure {
        self.room.exposure()
    }

    fn limit(&self, control: Control, wish: &Wish) -> Option<Decimal> {
        self.book.tightest(control, self.subject(wish), self.now)
    }

    const fn subject<'s>(&'s self, wish: &'s Wish) -> Subject<'s> {
        Subject { account: self.account, strategy: &wish.strategy, symbol: &wish.symbol }
    }

    /// The bounds of one order, which hold for an exit too; only what isn't known doesn't stop one.
    fn of_its_own(&self, wish: &Wish, reduces: bool) -> Result<(), Stop> {
        if let Some(most) = self.limit(Control::MaxOrderQty, wish) {
            within(Control::MaxOrderQty, wish.largest, most, "units in one order")?;
        }
        if let Some(most) = self.limit(Control::MaxOrderNotional, wish) {
            match self.worst(wish.terms, wish.side, &wish.symbol, wish) {
                Ok(price) => within(Control::MaxOrderNotional, wish.largest * price, most, "in one order")?,
                Err(_) if reduces => {}
                Err(stop) => return Err(stop),
            }
        }
        if let Some(most) = self.limit(Control::PriceCollar, wish).filter(|_| has_price(wish.terms)) {
            match self.price(&wish.symbol, wish) {
                Ok(reference) => collar(wish.terms, reference, most)?,
                Err(_) if reduces => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// The bounds that an entry shares with others.
    fn of_all(&self, wish: &Wish, check: Check) -> Result<(), Stop> {
        if self.limit(Control::RestrictedSymbol, wish).is_some_and(|value| !value.is_zero()) {
            let detail = format!("{} is restricted: positions in it can only be reduced", wish.symbol);
            return Err((Control::RestrictedSymbol, detail));
        }
        if self.limit(Control::StalePrice, wish).is_some() {
            self.price(&wish.symbol, wish)?;
        }
        let size = self.exposure().size(wish);
        let reach = self.exposure().beside(&wish.symbol, &wish.chain).and(wish.side, size);
        if let Some(most) = self.limit(Control::MaxPosition, wish) {
            within(
                Control::MaxPosition,
                reach.towards(wish.side),
                most,
                "units in the symbol, all that is open traded",
            )?;
        }
        if let Some(pct) = self.limit(Control::MaxAdvShare, wish) {
            let unknown = || (Control::MaxAdvShare, "the average daily volume is not known".to_owned());
            let volume = self.volume.ok_or_else(unknown)?;
            within(Control::MaxAdvShare, wish.qty, volume * pct / Decimal::ONE_HUNDRED, "units by the daily volume")?;
        }
        self.gross(wish, reach)?;
        self.power(wish, reach, size)?;
        match check {
            Check::Whole => Ok(()),
            Check::Due => self.counts(wish),
        }
    }

    fn gross(&self, wish: &Wish, reach: Reach) -> Result<(), Stop> {
        for (scope, most) in self.book.holding(Control::MaxGrossExposure, self.subject(wish), self.now) {
            let mut gross = reach.furthest() * self.price(&wish.symbol, wish)?;
            let others = match scope {
                LimitScope::Symbol(_) => BTreeSet::new(),
                LimitScope::Global | LimitScope::Account(_) | LimitScope::Strategy(_) => self.exposure().symbols(),
            };
            for symbol in others.into_iter().filter(|symbol| **symbol != wish.symbol) {
                let reach = self.exposure().beside(symbol, &wish.chain);
                gross += reach.furthest() * self.price(symbol, wish)?;
            }
            within(Control::MaxGrossExposure, gross, most, "in all positions, all that is open traded")?;
        }
        Ok(())
    }

    /// An entry is held to what the broker tells. Where it tells nothing, or a price is missing, only a limit is a reason to
    /// refuse: the broker itself takes no more than it has power for.
    fn power(&self, wish: &Wish, reach: Reach, size: Decimal) -> Result<(), Stop> {
        let limit = self.limit(Control::BuyingPower, wish);
        let (needed, left) = match self.needed_and_left(wish, reach, size, limit.is_some()) {
            Ok(both) => both,
            Err(_) if limit.is_none() => return Ok(()),
            Err(stop) => return Err(stop),
        };
        let least = limit.unwrap_or_default();
        if left - needed >= least {
            return Ok(());
        }
        let [needed, left, least] = [needed, left, least].map(|value| canonical(value.round_dp(2)));
        Err((Control::BuyingPower, format!("{needed} of {left} would not leave {least}")))
    }

    /// The broker has taken off what it knows of, and has given back what closes a position; what is on its way is taken off
    /// here. Where it need not be `sure`, figure and prices may be old.
    fn needed_and_left(
        &self,
        wish: &Wish,
        reach: Reach,
        size: Decimal,
        sure: bool,
    ) -> Result<(Decimal, Decimal), Stop> {
        let unknown = || (Control::BuyingPower, "the broker's buying power is not known".to_owned());
        let worst = |terms, side, symbol| {
            if sure {
                self.worst(terms, side, symbol, wish)
            } else {
                self.likely(terms, side, symbol).ok_or_else(unknown)
            }
        };
        let told = if sure { self.buying_power } else { self.buying_power_of_late };
        let mut left = told.ok_or_else(unknown)?;
        for (symbol, leg) in self.room.uncounted(&wish.chain) {
            left -= leg.leaves * worst(leg.terms, leg.side, symbol)?;
        }
        for leg in self.exposure().at_venue(&wish.symbol, &wish.chain) {
            left += leg.leaves * worst(leg.terms, leg.side, &wish.symbol)?;
        }
        // Of a replacement by less than what has traded nothing is left.
        let opens = reach.towards(wish.side).min(size).max(Decimal::ZERO);
        Ok((opens * worst(wish.terms, wish.side, &wish.symbol)?, left))
    }

    /// What an order may take up at most, by prices however old; `None` where none is known.
    #[must_use]
    pub fn worth(&self, wish: &Wish) -> Option<Decimal> {
        Some(wish.qty * self.likely(wish.terms, wish.side, &wish.symbol)?)
    }

    fn likely(&self, terms: Terms, side: Side, symbol: &Symbol) -> Option<Decimal> {
        worst_price(terms, side, None).or_else(|| worst_price(terms, side, Some(self.quotes.get(symbol)?.price)))
    }

    fn counts(&self, wish: &Wish) -> Result<(), Stop> {
        let subject = self.subject(wish);
        for (scope, most) in self.book.holding(Control::MaxMessageRate, subject, self.now) {
            counted(Control::MaxMessageRate, self.pace.count(&scope), most, "orders within a minute", &scope)?;
        }
        for (scope, most) in self.book.holding(Control::MaxOpenOrders, subject, self.now) {
            let open = self.exposure().open(&scope, &wish.chain);
            counted(Control::MaxOpenOrders, open, most, "open orders", &scope)?;
        }
        Ok(())
    }

    /// The reference price of a symbol, if it is fresh enough for this order.
    fn price(&self, symbol: &Symbol, wish: &Wish) -> Result<Decimal, Stop> {
        let oldest = self.limit(Control::StalePrice, wish).and_then(|seconds| seconds.to_i64());
        let oldest = oldest.map_or(FRESH, TimeDelta::seconds);
        let unknown = |why: String| (Control::StalePrice, why);
        let quoted = self.quotes.get(symbol).ok_or_else(|| unknown(format!("no price of {symbol} is known")))?;
        let age = self.now - quoted.at;
        if age > oldest {
            let (age, oldest) = (age.num_milliseconds(), oldest.num_milliseconds());
            return Err(unknown(format!("the price of {symbol} is {age} ms old, more than {oldest} ms")));
        }
        Ok(quoted.price)
    }

    fn worst(&self, terms: Terms, side: Side, symbol: &Symbol, wish: &Wish) -> Result<Decimal, Stop> {
        match worst_price(terms, side, None) {
            Some(price) => Ok(price),
            None => {
                let reference = self.price(symbol, wish)?;
                Ok(worst_price(terms, side, Some(reference)).unwrap_or(reference))
            }
        }
    }
}

/// The highest price that an order may trade at, as far as its terms and a reference price say; `None` where they don't.
/// A buy has it in its limit. All else may trade at the market, or better.
fn worst_price(terms: Terms, side: Side, reference: Option<Decimal>) -> Option<Decimal> {
    let prices = terms.prices();
    match (side, prices.limit) {
        (Side::Buy, Some(limit)) => Some(limit.get()),
        (Side::Buy | Side::Sell, limit) => {
            let named = [limit, prices.stop].into_iter().flatten().map(|price| price.get());
            reference.map(|reference| named.fold(reference, Decimal::max))
        }
    }
}

fn has_price(terms: Terms) -> bool {
    let prices = terms.prices();
    prices.limit.is_some() || prices.stop.is_some()
}

fn collar(terms: Terms, reference: Decimal, most: Decimal) -> Result<(), Stop> {
    let prices = terms.prices();
    for price in [prices.limit, prices.stop].into_iter().flatten() {
        let distance = (price.get() - reference).abs() * Decimal::ONE_HUNDRED;
        if distance > most * reference {
            let [price, reference, most] = [price.get(), reference, most].map(canonical);
            let detail = format!("{price} is more than {most} % from the reference price {reference}");
            return Err((Control::PriceCollar, detail));
        }
    }
    Ok(())
}

fn within(control: Control, value: Decimal, most: Decimal, what: &str) -> Result<(), Stop> {
    if value <= most {
        return Ok(());
    }
    let [value, most] = [value, most].map(|value| canonical(value.round_dp(9)));
    Err((control, format!("{value} {what}, more than {most}")))
}

fn counted(control: Control, count: usize, most: Decimal, what: &str, scope: &LimitScope) -> Result<(), Stop> {
    if Decimal::from(count) < most {
        return Ok(());
    }
    Err((control, format!("{count} {what} ({scope}), at most {}", canonical(most))))
}
