//! Pre-trade limits: what can be limited, for whom, and which of several limits holds.
//!
//! Shaped after RTS 6 article 15 and SEC rule 15c3-5(c)(1). None is set until somebody sets it; of several that fit an
//! order the tightest holds, and each is counted within one account.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::MAX_SCALE;
use super::names::{AccountName, Caller, StrategyId, Symbol};
use super::text::{BadText, words};

pub use changing::{Changer, LimitChange, entries};
pub use checking::{Check, Gathered, Known, Needs, Quoted, Verdict};
pub use exposure::{Exposure, Reach, Wish};
pub use lockouts::{LockKey, LockKind, LockRule, Lockout};
pub use pace::Pace;
pub use power::Power;
pub use room::Room;

mod changing;
mod checking;
mod exposure;
mod legs;
mod lockouts;
mod pace;
mod power;
mod room;

words!(
    /// What can be limited; the word is the reason code of what it stops.
    Control {
        /// The quantity of one order, in units of the instrument.
        MaxOrderQty = "max_order_qty",
        /// Quantity times price of one order, in the quote currency.
        MaxOrderNotional = "max_order_notional",
        /// How far an order's price may be from the reference price, in percent of it.
        PriceCollar = "price_collar",
        /// The position in a symbol, long or short, once all that is open has traded; in units.
        MaxPosition = "max_position",
        /// The positions together, once all that is open has traded, at reference prices.
        MaxGrossExposure = "max_gross_exposure",
        /// How many orders may be open at once.
        MaxOpenOrders = "max_open_orders",
        /// How many orders may leave within any minute.
        MaxMessageRate = "max_message_rate",
        /// For how many seconds the same single order or parent is not taken again.
        DuplicateOrder = "duplicate_order",
        /// 1: nothing is opened.
        RestrictedSymbol = "restricted_symbol",
        /// What has to be left of the buying power that the broker tells, in its currency. Without a limit nothing has to be,
        /// and an entry is held to what the broker tells where it does.
        BuyingPower = "insufficient_buying_power",
        /// How much of the average daily volume one order, or one parent, may be, in percent.
        MaxAdvShare = "max_adv_share",
        /// How old a reference price may be, in seconds.
        StalePrice = "stale_price",
    }
);

impl Control {
    /// Whether an order waits that meets it, up to its grace: what stops it passes by itself.
    #[must_use]
    pub const fn passes_by_itself(self) -> bool {
        match self {
            Self::StalePrice | Self::MaxMessageRate | Self::MaxOpenOrders => true,
            Self::MaxOrderQty
            | Self::MaxOrderNotional
            | Self::PriceCollar
            | Self::MaxPosition
            | Self::MaxGrossExposure
            | Self::DuplicateOrder
            | Self::RestrictedSymbol
            | Self::BuyingPower
            | Self::MaxAdvShare => false,
        }
    }

    /// Whether the larger of two values is the tighter one.
    const fn larger_is_tighter(self) -> bool {
        match self {
            Self::DuplicateOrder | Self::RestrictedSymbol | Self::BuyingPower => true,
            Self::MaxOrderQty
            | Self::MaxOrderNotional
            | Self::PriceCollar
            | Self::MaxPosition
            | Self::MaxGrossExposure
            | Self::MaxOpenOrders
            | Self::MaxMessageRate
            | Self::MaxAdvShare
            | Self::StalePrice => false,
        }
    }

    /// The tighter of two values.
    #[must_use]
    pub fn tighter(self, one: Decimal, other: Decimal) -> Decimal {
        if self.larger_is_tighter() { one.max(other) } else { one.min(other) }
    }

    /// A value that this control can have.
    ///
    /// # Errors
    /// The rule that the value breaks.
    pub fn value(self, value: Decimal) -> Result<Decimal, BadText> {
        let value = value.normalize();
        let (most, rule) = match self {
            Self::RestrictedSymbol => (Decimal::ONE, "must be 0 or 1"),
            Self::DuplicateOrder | Self::StalePrice => (Decimal::from(86_400), "must be 0 to 86400 seconds"),
            Self::MaxOpenOrders | Self::MaxMessageRate => (Decimal::from(1_000_000), "must be 0 to 1000000"),
            Self::PriceCollar | Self::MaxAdvShare => (Decimal::from(1_000), "must be 0 to 1000 percent"),
            Self::MaxOrderQty | Self::MaxOrderNotional | Self::MaxPosition | Self::MaxGrossExposure => {
                (MOST, "must be 0 to 1000000000000000000000")
            }
            Self::BuyingPower => (MOST, "must be 0 to 1000000000000000000000"),
        };
        if value < Decimal::ZERO || value > most {
            return Err(BadText { rule });
        }
        let whole = match self {
            Self::RestrictedSymbol
            | Self::DuplicateOrder
            | Self::StalePrice
            | Self::MaxOpenOrders
            | Self::MaxMessageRate => true,
            Self::PriceCollar
            | Self::MaxAdvShare
            | Self::MaxOrderQty
            | Self::MaxOrderNotional
            | Self::MaxPosition
            | Self::MaxGrossExposure
            | Self::BuyingPower => false,
        };
        if whole && !value.is_integer() {
            return Err(BadText { rule: "must be a whole number" });
        }
        if value.scale() > MAX_SCALE {
            return Err(BadText { rule: "must have at most 9 decimal places" });
        }
        Ok(value)
    }
}

/// What stops an order, by its stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCode {
    /// A limit.
    Limit(Control),
    /// The account, or the symbol in it, is locked.
    Lockout,
}

impl StopCode {
    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit(control) => control.as_str(),
            Self::Lockout => "lockout",
        }
    }
}

/// The largest product of a quantity and a price.
const MOST: Decimal = Decimal::from_parts(3_735_027_712, 902_409_669, 54, false, 0);

/// Whose orders a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// Everybody's.
    Global,
    /// Those of an account.
    Account(AccountName),
    /// Those of a client's strategy.
    Strategy(StrategyId),
    /// Those in a symbol.
    Symbol(Symbol),
}

impl LimitScope {
    /// The kind of the scope, as the store names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Account(_) => "account",
            Self::Strategy(_) => "strategy",
            Self::Symbol(_) => "symbol",
        }
    }

    /// What it names; empty for everybody.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Global => "",
            Self::Account(name) => name.as_str(),
            Self::Strategy(name) => name.as_str(),
            Self::Symbol(name) => name.as_str(),
        }
    }

    /// The scope of a kind and a name, if there is one.
    #[must_use]
    pub fn parse(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "global" if name.is_empty() => Some(Self::Global),
            "account" => AccountName::parse(name).ok().map(Self::Account),
            "strategy" => StrategyId::parse(name).ok().map(Self::Strategy),
            "symbol" => Symbol::parse(name).ok().map(Self::Symbol),
            _ => None,
        }
    }
}

impl std::fmt::Display for LimitScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Account(_) | Self::Strategy(_) | Self::Symbol(_) => write!(f, "{} {}", self.kind(), self.name()),
        }
    }
}

/// What a limit is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LimitKey {
    /// Whose orders it is for.
    pub scope: LimitScope,
    /// What it limits.
    pub control: Control,
}

impl std::fmt::Display for LimitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.control, self.scope)
    }
}

/// A limit that somebody has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its value, in the control's own unit.
    pub value: Decimal,
    /// Who set it, as given.
    pub operator: String,
    /// The name of the key.
    pub by: Caller,
    /// When.
    pub at: DateTime<Utc>,
}

/// What stands in a limit's place for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOverride {
    /// The value that holds instead.
    pub limit: Limit,
    /// Why.
    pub reason: String,
    /// From then on the limit itself holds again.
    pub until: DateTime<Utc>,
}

/// Every limit, and which state of them this is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitBook {
    /// Grows with every change.
    pub revision: u64,
    /// The limits.
    pub limits: BTreeMap<LimitKey, Limit>,
    /// What holds instead of them for a while, over ones included.
    pub overrides: BTreeMap<LimitKey, LimitOverride>,
    /// Who may not open positions. They stand beside the limits, so that a change of either is one change.
    pub lockouts: BTreeMap<LockKey, Lockout>,
}

impl Subject<'_> {
    /// Whether a limit or a halt of this scope is for it.
    #[must_use]
    pub fn is_of(self, scope: &LimitScope) -> bool {
        match scope {
            LimitScope::Global => true,
            LimitScope::Account(account) => account == self.account,
            LimitScope::Strategy(strategy) => strategy == self.strategy,
            LimitScope::Symbol(symbol) => symbol == self.symbol,
        }
    }
}

/// Whose order it is, as far as limits go by it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The account that trades.
    pub account: &'a AccountName,
    /// The client's strategy.
    pub strategy: &'a StrategyId,
    /// What is traded.
    pub symbol: &'a Symbol,
}

impl LimitBook {
    /// The longest lock on an account, or on one symbol of it, that holds now.
    #[must_use]
    pub fn lock(&self, account: &AccountName, symbol: &Symbol, now: DateTime<Utc>) -> Option<(&LockKey, &Lockout)> {
        let locks = |key: &LockKey| key.account == *account && key.symbol.as_ref().is_none_or(|of| of == symbol);
        let holding = self.lockouts.iter().filter(|(key, lockout)| locks(key) && lockout.holds(now));
        holding.max_by_key(|(_, lockout)| (lockout.until.is_none(), lockout.until))
    }

    /// Whether a control is limited for anybody.
    #[must_use]
    pub fn has(&self, control: Control) -> bool {
        self.limits.keys().chain(self.overrides.keys()).any(|key| key.control == control)
    }

    /// Every value of a control that holds for an order now, with whose orders it is for.
    pub fn holding<'a>(
        &'a self,
        control: Control,
        subject: Subject<'a>,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = (LimitScope, Decimal)> + 'a {
        // Most books are empty, and then the names of an order need not be copied to find that out.
        let scopes = (!self.limits.is_empty() || !self.overrides.is_empty()).then(|| {
            [
                LimitScope::Global,
                LimitScope::Account(subject.account.clone()),
                LimitScope::Strategy(subject.strategy.clone()),
                LimitScope::Symbol(subject.symbol.clone()),
            ]
        });
        scopes.into_iter().flatten().filter_map(move |scope| {
            let key = LimitKey { scope, control };
            let instead = self.overrides.get(&key).filter(|instead| now < instead.until);
            let value = instead.map(|instead| &instead.limit).or_else(|| self.limits.get(&key))?.value;
            Some((key.scope, value))
        })
    }

    /// The tightest value of a control that holds for an order now.
    #[must_use]
    pub fn tightest(&self, control: Control, subject: Subject<'_>, now: DateTime<Utc>) -> Option<Decimal> {
        self.holding(control, subject, now).map(|(_, value)| value).reduce(|one, other| control.tighter(one, other))
    }
}

#[cfg(test)]
mod tests;
