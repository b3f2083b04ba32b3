//! Reference prices and daily volumes of the venue, kept for a moment, with their age. Nobody asks for them but limits that
//! need them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveDate;
use futures_util::future::join_all;
use rust_decimal::Decimal;

use crate::domain::limits::Quoted;
use crate::domain::liquidity::{DAYS, average};
use crate::domain::names::Symbol;
use crate::domain::trading_day::DayEnd;
use crate::ports::World;
use crate::sync::{Arc, Mutex, lock};

/// How long a quote serves before the venue is asked again.
const RECENT: Duration = Duration::from_secs(1);
/// How long the venue may take. What comes later serves nobody: the order waits, and asks again.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most symbols that are remembered.
const MOST_SYMBOLS: usize = 10_000;

/// What the venue said last of each symbol.
#[derive(Clone)]
pub(crate) struct Prices {
    world: World,
    known: Arc<Mutex<KnownPrices>>,
    power: Arc<tokio::sync::Mutex<Option<ToldPower>>>,
}

/// What the broker said that may be bought for, if it did, and when it was asked.
type ToldPower = (Option<Decimal>, Duration);

#[derive(Default)]
struct KnownPrices {
    /// With the instant of the clock that counts suspended time at which each was asked for.
    quotes: BTreeMap<Symbol, (Quoted, Duration)>,
    /// When the venue told no price of a symbol: it is not asked again at once.
    untold: BTreeMap<Symbol, Duration>,
    day: Option<NaiveDate>,
    /// `None` of a symbol that the venue has no bars of.
    volumes: BTreeMap<Symbol, Option<Decimal>>,
}

impl KnownPrices {
    fn is_recent(&self, symbol: &Symbol, now: Duration) -> bool {
        let asked = [self.quotes.get(symbol).map(|(_, asked)| *asked), self.untold.get(symbol).copied()];
        asked.into_iter().flatten().max().is_some_and(|asked| now < asked + RECENT)
    }
}

impl Prices {
    pub(crate) fn new(world: World) -> Self {
        Self { world, known: Arc::default(), power: Arc::default() }
    }

    /// The last price of each of these symbols, however old: a price says its age. Recent ones are not asked for again.
    pub(crate) async fn quotes(&self, symbols: &BTreeSet<Symbol>) -> BTreeMap<Symbol, Quoted> {
        if symbols.is_empty() {
            return BTreeMap::new();
        }
        let now = self.world.clock.boottime();
        let asked = symbols.iter().filter(|symbol| !lock(&self.known).is_recent(symbol, now));
        let asked = asked.map(|symbol| async move {
            let quote = tokio::time::timeout(PATIENCE, self.world.venue.quote(symbol)).await.ok().and_then(Result::ok);
            (symbol.clone(), quote.map(|quote| Quoted { price: quote.mid(), at: quote.at }))
        });
        let read = join_all(asked).await;
        let mut known = lock(&self.known);
        if known.quotes.len() >= MOST_SYMBOLS {
            known.quotes.clear();
        }
        known.untold.retain(|_, asked| now < *asked + RECENT);
        for (symbol, quoted) in read {
            match quoted {
                Some(quoted) => drop(known.quotes.insert(symbol, (quoted, now))),
                None => drop(known.untold.insert(symbol, now)),
            }
        }
        let last = |symbol: &Symbol| Some((symbol.clone(), known.quotes.get(symbol)?.0));
        symbols.iter().filter_map(last).collect()
    }

    /// What is known of these symbols without asking, however old.
    pub(crate) fn known(&self, symbols: &BTreeSet<Symbol>) -> BTreeMap<Symbol, Quoted> {
        let known = lock(&self.known);
        symbols.iter().filter_map(|symbol| Some((symbol.clone(), known.quotes.get(symbol)?.0))).collect()
    }

    /// Those of the symbols that nobody has asked for of late.
    pub(crate) fn outdated(&self, symbols: &BTreeSet<Symbol>) -> BTreeSet<Symbol> {
        let (now, known) = (self.world.clock.boottime(), lock(&self.known));
        symbols.iter().filter(|symbol| !known.is_recent(symbol, now)).cloned().collect()
    }

    /// The average daily volume of each of these symbols, read once a trading day; one that isn't known is left out.
    pub(crate) async fn volumes(&self, symbols: &BTreeSet<Symbol>) -> BTreeMap<Symbol, Decimal> {
        if symbols.is_empty() {
            return BTreeMap::new();
        }
        let today = DayEnd::new_york().trading_day(self.world.clock.now());
        let unknown = {
            let mut known = lock(&self.known);
            if known.day != Some(today) || known.volumes.len() >= MOST_SYMBOLS {
                known.day = Some(today);
                known.volumes.clear();
            }
            symbols.iter().filter(|symbol| !known.volumes.contains_key(*symbol)).collect::<Vec<_>>()
        };
        let asked = unknown.into_iter().map(|symbol| async move {
            let bars = tokio::time::timeout(PATIENCE, self.world.venue.daily_bars(symbol, DAYS)).await.ok()?.ok()?;
            Some((symbol.clone(), average(&bars)))
        });
        let read = join_all(asked).await;
        let mut known = lock(&self.known);
        known.volumes.extend(read.into_iter().flatten());
        let volume = |symbol: &Symbol| Some((symbol.clone(), known.volumes.get(symbol).copied().flatten()?));
        symbols.iter().filter_map(volume).collect()
    }

    /// What the broker says that may be bought for, now. Of those who ask while another one's answer is awaited, the first
    /// asks for all.
    pub(crate) async fn buying_power(&self) -> ToldPower {
        let wanted = self.world.clock.boottime();
        let mut last = self.power.lock().await;
        if let Some((amount, asked)) = *last
            && wanted <= asked
        {
            return (amount, asked);
        }
        let asked = self.world.clock.boottime();
        let account = tokio::time::timeout(PATIENCE, self.world.venue.account()).await;
        let amount = account.ok().and_then(Result::ok).map(|account| account.buying_power);
        *last = Some((amount, asked));
        (amount, asked)
    }
}
