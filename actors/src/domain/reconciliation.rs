//! What comparing our books with the broker's brings to light: causes of quarantine, and positions that differ.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

use super::names::{BrokerOrderId, Caller, Symbol};
use super::text::{name, words};

name!(
    /// What a cause of quarantine is known by: the broker's id of an orphan, our own id of an order that is not what we sent.
    CauseId,
    |text| !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic()),
    "must be 1 to 128 visible ASCII characters"
);

words!(
    /// Why a symbol takes no new entries.
    CauseKind {
        /// The broker has an order that we don't know.
        Orphan = "orphan",
        /// The broker's order of our id is not what we sent.
        NotWhatWasSent = "not_what_was_sent",
    }
);

/// One cause of a symbol's quarantine. It stays until an operator clears it, and a cleared one never comes back: its id
/// names the same order for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What it is known by.
    pub id: CauseId,
    /// Why.
    pub kind: CauseKind,
    /// The symbol that takes no new entries.
    pub symbol: Symbol,
    /// The order at the broker, where it is known.
    pub broker_order_id: Option<BrokerOrderId>,
    /// What was found.
    pub found: Value,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Who cleared it.
    pub cleared: Option<Clearance>,
}

/// An operator's word that a cause is looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clearance {
    /// When.
    pub at: DateTime<Utc>,
    /// Who, as given.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// The name of the key.
    pub by: Caller,
}

/// A position in both books, as one comparison saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// What we hold by our books.
    pub ours: Decimal,
    /// What the broker says.
    pub theirs: Decimal,
    /// The version of our position, which grows with every fill.
    pub version: u64,
}

/// A position that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The symbol.
    pub symbol: Symbol,
    /// What we hold by our books.
    pub ours: Decimal,
    /// What the broker says.
    pub theirs: Decimal,
    /// Seen twice with no fill between: it is no race between two readings.
    pub confirmed: bool,
}

/// The memory of positions that differ: a difference counts when it was seen twice with no fill between, and is told once.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    seen: BTreeMap<Symbol, Sighting>,
    told: BTreeMap<Symbol, (Decimal, Decimal)>,
}

impl Differences {
    /// Takes what a comparison found to differ, and says which differences count from now on.
    pub fn see(&mut self, found: BTreeMap<Symbol, Sighting>) -> Vec<Difference> {
        let mut new = Vec::new();
        for (symbol, sighting) in &found {
            let pair = (sighting.ours, sighting.theirs);
            if self.seen.get(symbol) == Some(sighting) && self.told.get(symbol) != Some(&pair) {
                self.told.insert(symbol.clone(), pair);
                new.push(Difference { symbol: symbol.clone(), ours: pair.0, theirs: pair.1, confirmed: true });
            }
        }
        self.told.retain(|symbol, _| found.contains_key(symbol));
        self.seen = found;
        new
    }

    /// What the last comparison found to differ, by symbol.
    #[must_use]
    pub fn all(&self) -> Vec<Difference> {
        let shown = self.seen.iter().map(|(symbol, seen)| Difference {
            symbol: symbol.clone(),
            ours: seen.ours,
            theirs: seen.theirs,
            confirmed: self.told.get(symbol) == Some(&(seen.ours, seen.theirs)),
        });
        shown.collect()
    }
}

/// How the last comparison went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub took: Duration,
    /// Why the books could not be compared, if they couldn't.
    pub failed: Option<String>,
    /// The positions that differ, by the last comparison that succeeded.
    pub differences: Vec<Difference>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aapl() -> Symbol {
        Symbol::parse("AAPL").unwrap()
    }

    fn found(ours: i64, theirs: i64, version: u64) -> BTreeMap<Symbol, Sighting> {
        [(aapl(), Sighting { ours: ours.into(), theirs: theirs.into(), version })].into()
    }

    #[test]
    fn a_difference_counts_when_it_was_seen_twice_and_is_told_once() {
        let mut differences = Differences::default();
        assert!(differences.see(found(10, 12, 3)).is_empty());
        assert!(!differences.all()[0].confirmed);
        assert_eq!(differences.see(found(10, 12, 3)).len(), 1);
        assert!(differences.all()[0].confirmed);
        assert!(differences.see(found(10, 12, 3)).is_empty());
        assert!(differences.see(found(10, 15, 3)).is_empty(), "another one begins anew");
        assert_eq!(differences.see(found(10, 15, 3)).len(), 1);
        assert!(differences.see(BTreeMap::new()).is_empty());
        assert!(differences.all().is_empty());
        differences.see(found(10, 15, 3));
        assert_eq!(differences.see(found(10, 15, 3)).len(), 1, "one that was gone is told again");
    }

    proptest! {
        #[test]
        fn no_difference_counts_across_a_fill(steps in proptest::collection::vec((0_i64..3, 0_i64..3, 0_u64..3), 1..40)) {
            let mut differences = Differences::default();
            let mut before = None;
            let mut told = None;
            for (ours, theirs, version) in steps {
                let differs = ours != theirs;
                let new = differences.see(if differs { found(ours, theirs, version) } else { BTreeMap::new() });
                let again = differs && before == Some((ours, theirs, version));
                let counts = again && told != Some((ours, theirs));
                prop_assert_eq!(new.len(), usize::from(counts));
                told = if counts { Some((ours, theirs)) } else if differs { told } else { None };
                before = differs.then_some((ours, theirs, version));
            }
        }
    }
}
