//! Figures of several runs, and the sheet that they are put down on.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// The value that so many percent don't exceed.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * count(sorted.len())).ceil();
    let below = sorted.iter().zip(1_u32..).take_while(|(_, n)| f64::from(*n) <= rank);
    below.last().map(|(value, _)| *value).expect("something was measured")
}

/// A count as a number to compute with.
pub(crate) fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).expect("small enough a count"))
}

/// One figure over the runs.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        Self {
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            median: percentile(values, 50.0),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    fn text(self) -> String {
        let digits = match self.median {
            value if value < 10.0 => 2,
            value if value < 100.0 => 1,
            _ => 0,
        };
        let Self { min, median, max } = self;
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }

    fn json(self) -> Value {
        json!({"min": self.min, "median": self.median, "max": self.max})
    }
}

/// What a figure should come to.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    AtLeast(f64),
    AtMost(f64),
}

impl Reach {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}{unit}"),
            Self::AtMost(bound) => format!("≤ {bound}{unit}"),
        }
    }
}

/// One line of the sheet.
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    value: Spread,
    beside: Option<(&'static str, Spread)>,
    ratio: Option<Spread>,
    reach: Reach,
    note: String,
}

impl Row {
    /// A figure with a target of its own.
    pub(crate) fn absolute(what: &str, unit: &'static str, value: Spread, reach: Reach) -> Self {
        Self { what: what.to_owned(), unit, value, beside: None, ratio: None, reach, note: String::new() }
    }

    /// The same, with something to see it beside.
    pub(crate) fn beside(
        what: &str,
        unit: &'static str,
        value: Spread,
        beside: (&'static str, Spread),
        reach: Reach,
    ) -> Self {
        Self { beside: Some(beside), ..Self::absolute(what, unit, value, reach) }
    }

    /// A figure whose ratio to its limit has the target.
    pub(crate) fn ratio(
        what: &str,
        unit: &'static str,
        value: Spread,
        beside: (&'static str, Spread),
        ratio: Spread,
        reach: Reach,
    ) -> Self {
        Self { ratio: Some(ratio), ..Self::beside(what, unit, value, beside, reach) }
    }

    pub(crate) fn noted(self, note: String) -> Self {
        Self { note, ..self }
    }

    fn is_met(&self) -> bool {
        self.reach.is_met(self.ratio.unwrap_or(self.value).median)
    }

    fn cells(&self) -> [String; 6] {
        let (unit, of_ratio) = match self.ratio {
            Some(_) => ("", "×"),
            None => (self.unit, ""),
        };
        let space = if unit.is_empty() { "" } else { " " };
        [
            self.what.clone(),
            format!("{} {}", self.value.text(), self.unit),
            self.beside.map_or_else(String::new, |(what, value)| format!("{} {} {what}", value.text(), self.unit)),
            self.ratio.map_or_else(String::new, |ratio| ratio.text()),
            self.reach.text(&format!("{space}{unit}{of_ratio}")),
            if self.is_met() { "yes" } else { "NO" }.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let (relation, bound) = match self.reach {
            Reach::AtLeast(bound) => ("at_least", bound),
            Reach::AtMost(bound) => ("at_most", bound),
        };
        json!({
            "what": self.what, "unit": self.unit, "value": self.value.json(),
            "beside": self.beside.map(|(what, value)| json!({"what": what, "value": value.json()})),
            "ratio": self.ratio.map(Spread::json),
            "target": {"of": if self.ratio.is_some() { "ratio" } else { "value" }, relation: bound},
            "reached": self.is_met(), "note": self.note,
        })
    }
}

/// Everything that was measured.
pub(crate) struct Sheet {
    rows: Vec<Row>,
    load_before: String,
}

impl Sheet {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), load_before: load_average() }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The table for a person.
    pub(crate) fn table(&self) -> String {
        let head = ["what", "median (min–max)", "beside it", "ratio", "target", "reached"].map(str::to_owned);
        let lines = std::iter::once(head).chain(self.rows.iter().map(Row::cells));
        let lines = lines.collect::<Vec<_>>();
        let widths: [usize; 6] =
            std::array::from_fn(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0));
        let mut table = String::new();
        for (at, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(table, "{}", cells.collect::<Vec<_>>().join("  ").trim_end()).unwrap();
            let row = at.checked_sub(1).and_then(|at| self.rows.get(at));
            if let Some(row) = row.filter(|row| !row.note.is_empty()) {
                writeln!(table, "  {}", row.note).unwrap();
            }
        }
        writeln!(
            table,
            "{} processors; load average {} before, {} after",
            processors(),
            self.load_before,
            load_average()
        )
        .unwrap();
        table
    }

    /// The same for a program.
    pub(crate) fn json(&self) -> String {
        let sheet = json!({
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "processors": processors(),
            "load_average": {"before": self.load_before, "after": load_average()},
        });
        format!("{sheet:#}\n")
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
