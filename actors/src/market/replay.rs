//! A recorded series of quotes, replayed from an origin at a chosen speed.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::sized_quote::SizedQuote;
use crate::domain::money::{Price, canonical};

/// One recorded quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When it was quoted.
    pub at: DateTime<Utc>,
    /// The best price that somebody paid.
    pub bid: Price,
    /// The best price that somebody took.
    pub ask: Price,
    /// How much was wanted at the bid; `None`: unlimited.
    pub bid_size: Option<Decimal>,
    /// How much was offered at the ask; `None`: unlimited.
    pub ask_size: Option<Decimal>,
    /// The last price traded; `None`: the mid stands for it.
    pub last: Option<Decimal>,
}

/// Recorded quotes in the order of their time: never empty, and none of them crossed.
#[derive(Clone, Debug)]
pub struct Series {
    first: Row,
    rows: Vec<Row>,
    crossed: usize,
}

/// Why rows make no series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SeriesError {
    /// Nothing is left to replay.
    #[error("there is no quote whose bid is at or below its ask")]
    Empty,
    /// A row is older than the one before it.
    #[error("row {row} is older than the row before it")]
    Unordered {
        /// Which row, counted from 0.
        row: usize,
    },
}

impl Series {
    /// A series of these rows, without the crossed ones (bid above ask), which are counted.
    ///
    /// # Errors
    /// [`SeriesError`].
    pub fn new(rows: Vec<Row>) -> Result<Self, SeriesError> {
        let ascending = rows.iter().zip(rows.iter().skip(1));
        if let Some(before) = ascending.into_iter().position(|(before, after)| after.at < before.at) {
            return Err(SeriesError::Unordered { row: before + 1 });
        }
        let all = rows.len();
        let rows = rows.into_iter().filter(|row| row.bid <= row.ask).collect::<Vec<_>>();
        let first = rows.first().cloned().ok_or(SeriesError::Empty)?;
        Ok(Self { first, crossed: all - rows.len(), rows })
    }

    /// How many rows were crossed, and left out.
    #[must_use]
    pub const fn crossed(&self) -> usize {
        self.crossed
    }

    /// A short text that differs where a series differs: tells whether a replay goes on or is a new one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        for row in &self.rows {
            let optional = [row.bid_size, row.ask_size, row.last].map(|value| value.map(canonical).unwrap_or_default());
            let [bid_size, ask_size, last] = optional;
            let (bid, ask) = (canonical(row.bid.get()), canonical(row.ask.get()));
            hasher.update(format!("{}|{bid}|{ask}|{bid_size}|{ask_size}|{last}\n", row.at.timestamp_micros()));
        }
        hasher.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A series with the instant at which its first row stands, and how fast its time runs.
#[derive(Clone, Debug)]
pub struct Replay {
    series: Series,
    origin: DateTime<Utc>,
    speed: Decimal,
}

impl Replay {
    /// `speed` is in seconds of the series per second; at or below zero the first row stands for ever.
    #[must_use]
    pub const fn new(series: Series, origin: DateTime<Utc>, speed: Decimal) -> Self {
        Self { series, origin, speed }
    }

    /// The index of the row that stands at a time; before the origin the first one does, after the end the last.
    #[must_use]
    pub fn index_at(&self, at: DateTime<Utc>) -> u64 {
        let elapsed = Decimal::from((at - self.origin).num_microseconds().unwrap_or(i64::MAX).max(0));
        let moved = elapsed.checked_mul(self.speed).and_then(|moved| moved.to_i64());
        let moved = TimeDelta::microseconds(moved.unwrap_or(i64::MAX).max(0));
        let now = self.series.first.at.checked_add_signed(moved);
        let begun = self.series.rows.partition_point(|row| now.is_none_or(|now| row.at <= now));
        u64::try_from(begun.saturating_sub(1)).unwrap_or(u64::MAX)
    }

    /// The quote of an index; beyond the end, the last.
    #[must_use]
    pub fn quote(&self, index: u64) -> SizedQuote {
        let rows = &self.series.rows;
        let row = usize::try_from(index).ok().and_then(|index| rows.get(index));
        let row = row.or_else(|| rows.last()).unwrap_or(&self.series.first);
        SizedQuote {
            bid: row.bid,
            ask: row.ask,
            bid_size: row.bid_size,
            ask_size: row.ask_size,
            last: row.last.unwrap_or((row.bid.get() + row.ask.get()) / Decimal::TWO),
        }
    }

    /// When the last row begins to stand; `None` if never.
    #[must_use]
    pub fn end(&self) -> Option<DateTime<Utc>> {
        let last = self.series.rows.last()?.at;
        let length = Decimal::from((last - self.series.first.at).num_microseconds()?);
        let real = length.checked_div(self.speed).filter(|real| !real.is_sign_negative())?;
        self.origin.checked_add_signed(TimeDelta::microseconds(real.ceil().to_i64()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn row(time: &str, bid: &str, ask: &str) -> Row {
        let price = |text: &str| Price::new(text.parse().unwrap()).unwrap();
        Row { at: at(time), bid: price(bid), ask: price(ask), bid_size: None, ask_size: None, last: None }
    }

    fn three_minutes() -> Series {
        Series::new(vec![
            row("2012-02-01T00:00:00Z", "1.10", "1.12"),
            row("2012-02-01T00:01:00Z", "1.30", "1.20"),
            row("2012-02-01T00:02:00Z", "1.14", "1.14"),
            row("2012-02-01T00:03:00Z", "1.15", "1.16"),
        ])
        .unwrap()
    }

    #[test]
    fn a_crossed_row_is_left_out_and_counted() {
        let series = three_minutes();
        assert_eq!(series.crossed(), 1);
        assert_eq!(Series::new(vec![row("2012-02-01T00:00:00Z", "2", "1")]).unwrap_err(), SeriesError::Empty);
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        let rows = vec![
            row("2012-02-01T00:01:00Z", "1", "1"),
            row("2012-02-01T00:01:00Z", "1", "1"),
            row("2012-02-01T00:00:00Z", "1", "1"),
        ];
        assert_eq!(Series::new(rows).unwrap_err(), SeriesError::Unordered { row: 2 });
    }

    #[test]
    fn a_replay_runs_from_its_origin_at_its_speed() {
        let replay = Replay::new(three_minutes(), at("2026-01-01T12:00:00Z"), Decimal::from(60));
        let index = |time| replay.index_at(at(time));
        assert_eq!(index("2025-01-01T00:00:00Z"), 0);
        assert_eq!(index("2026-01-01T12:00:01.999999Z"), 0);
        assert_eq!(index("2026-01-01T12:00:02Z"), 1);
        assert_eq!(index("2026-01-01T12:00:03Z"), 2);
        assert_eq!(index("2036-01-01T12:00:00Z"), 2);
        assert_eq!(replay.quote(0).last, "1.11".parse().unwrap());
        assert_eq!(replay.quote(9), replay.quote(2));
        assert_eq!(replay.end(), Some(at("2026-01-01T12:00:03Z")));
    }

    #[test]
    fn another_series_has_another_fingerprint() {
        let other = Series::new(vec![row("2012-02-01T00:00:00Z", "1.10", "1.12")]).unwrap();
        assert_eq!(three_minutes().fingerprint(), three_minutes().fingerprint());
        assert_ne!(three_minutes().fingerprint(), other.fingerprint());
    }
}
