//! Takes settings out of the layers one by one, typed, and gathers every fault instead of stopping at the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::time::Duration;

use rust_decimal::Decimal;
use secrecy::SecretString;
use tranche_actors::domain::ids::DEFAULT_NAME;
use tranche_actors::domain::names::AccountName;
use tranche_actors::domain::text::BadText;

use super::layers::{Found, Key, Origin};
use super::raw::Raw;
use super::{Fault, Shown};

/// What is shown of a secret.
const MASK: &str = "********";

/// What an account does not inherit once it says the other itself: two halves of one thing.
const OWN: [(&str, &str); 6] = [
    ("alpaca.key_id", "alpaca.key_id_file"),
    ("alpaca.key_id_file", "alpaca.key_id"),
    ("alpaca.secret_key", "alpaca.secret_key_file"),
    ("alpaca.secret_key_file", "alpaca.secret_key"),
    ("alpaca.stream_url", "alpaca.base_url"),
    ("alpaca.data_url", "alpaca.base_url"),
];

/// The settings that were found, and what was taken of them.
///
/// A faulty setting reads as some value of its type; [`Reader::finish`] sees to it that none gets any further.
pub(super) struct Reader {
    /// Whose settings of the broker are being read; none: those of the account `default`.
    account: Option<String>,
    /// What was found for the broker of `default`.
    inherited: BTreeMap<Key, Found>,
    found: BTreeMap<Key, Found>,
    known: BTreeSet<Key>,
    shown: Vec<Shown>,
    faults: Vec<Fault>,
}

impl Reader {
    pub(super) fn new(found: BTreeMap<Key, Found>, faults: Vec<Fault>) -> Self {
        let broker = Key::of("broker");
        let inherited = found.iter().filter(|(key, _)| key.below(&broker).is_some());
        let inherited = inherited.map(|(key, found)| (key.clone(), found.clone())).collect();
        Self { account: None, inherited, found, known: BTreeSet::new(), shown: Vec::new(), faults }
    }

    /// What was taken, for people to see; or every fault, what nobody took included.
    pub(super) fn finish(mut self) -> Result<Vec<Shown>, Vec<Fault>> {
        for (key, found) in std::mem::take(&mut self.found) {
            if found.raw == Raw::EmptySection && self.known.iter().any(|known| known.below(&key).is_some()) {
                continue;
            }
            let message = self.unknown(&key);
            self.faults.push(Fault::at(&key, message, Some(&found.origin)));
        }
        if self.faults.is_empty() {
            self.shown.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(self.shown)
        } else {
            self.faults.sort_by(|a, b| a.key.cmp(&b.key));
            Err(self.faults)
        }
    }

    fn unknown(&self, key: &Key) -> String {
        match key.segments() {
            [first, account, ..] if first == "accounts" && account == DEFAULT_NAME => {
                return "is of the account of [broker] itself: set it there".to_owned();
            }
            [first, account, ..] if first == "accounts" && AccountName::parse(account).is_err() => {
                return "is of no account: a name is 1 to 32 of a-z, 0-9 and '_'".to_owned();
            }
            _ => {}
        }
        if self.known.iter().any(|known| known.below(key).is_some()) {
            return "is a section, not a setting".to_owned();
        }
        let Some((_, section)) = key.segments().split_last() else {
            return "is unknown".to_owned();
        };
        let siblings = self
            .known
            .iter()
            .filter(|known| known.segments().split_last().is_some_and(|(_, own)| own == section))
            .filter_map(|known| known.segments().last().cloned())
            .collect::<Vec<_>>();
        if siblings.is_empty() {
            "is unknown".to_owned()
        } else {
            format!("is unknown; its section has {}", siblings.join(", "))
        }
    }

    /// A fault of a setting that was taken.
    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let key = self.key(key);
        self.faults.push(Fault::at(&key, message.into(), None));
    }

    /// A rule between settings, judged only where each of them is right by itself; the first is blamed.
    pub(super) fn rule<const N: usize>(&mut self, keys: [&str; N], holds: bool, message: impl Into<String>) {
        let keys = keys.map(|key| self.key(key));
        let faulty = keys.iter().any(|key| self.faults.iter().any(|fault| fault.key == Some(key.to_string())));
        if let Some(first) = keys.first()
            && !holds
            && !faulty
        {
            self.faults.push(Fault::at(first, message.into(), None));
        }
    }

    /// The place of a setting: the broker's are read once for each account.
    fn key(&self, key: &str) -> Key {
        match &self.account {
            Some(account) if key.starts_with("broker.") => Key::of(&format!("accounts.{account}.{key}")),
            Some(_) | None => Key::of(key),
        }
    }

    /// Reads an account's own broker: what it doesn't say is as it is for `default`, but for what belongs together with
    /// what it does say, and for the file of the paper broker's book, which no two accounts can share.
    pub(super) fn of_account<T>(&mut self, account: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let (common, own) = (Key::of("broker"), Key::of(&format!("accounts.{account}.broker")));
        let below = |section: &Key, found: &BTreeMap<Key, Found>| {
            let keys = found.iter().filter_map(|(key, found)| Some((key.below(section)?.join("."), found.clone())));
            keys.collect::<BTreeMap<_, _>>()
        };
        let (inherited, said) = (below(&common, &self.inherited), below(&own, &self.found));
        for (name, mut found) in inherited {
            if said.contains_key(&name) {
                continue;
            }
            let goes_with = OWN.iter().filter(|(own, _)| *own == name);
            if name == "paper.book" || goes_with.clone().any(|(_, with)| said.contains_key(*with)) {
                if name.ends_with("key_id") || name.ends_with("secret_key") {
                    continue;
                }
                found = Found { raw: Raw::Text(String::new()), origin: Origin::Default };
            }
            self.found.insert(Key::of(&format!("{own}.{name}")), found);
        }
        self.account = Some(account.to_owned());
        let read = read(self);
        self.account = None;
        read
    }

    fn take(&mut self, key: &str) -> Option<Found> {
        let key = self.key(key);
        let found = self.found.remove(&key);
        match &found {
            Some(found) => self.show(&key, found),
            None => self.faults.push(Fault::at(&key, "is missing in every layer".to_owned(), None)),
        }
        self.known.insert(key);
        found
    }

    fn show(&mut self, key: &Key, found: &Found) {
        self.shown.push(Shown {
            key: key.to_string(),
            variable: key.variable(),
            value: found.raw.plain(),
            from: found.origin.to_string(),
        });
    }

    fn refuse(&mut self, key: &str, found: &Found, rule: impl Display) {
        let message = format!("{rule}; got {}", found.raw);
        let key = self.key(key);
        self.faults.push(Fault::at(&key, message, Some(&found.origin)));
    }

    /// A value read by a function that knows the rule.
    fn parsed<T>(&mut self, key: &str, otherwise: T, rule: impl Display, read: impl Fn(&Raw) -> Option<T>) -> T {
        let Some(found) = self.take(key) else {
            return otherwise;
        };
        read(&found.raw).unwrap_or_else(|| {
            self.refuse(key, &found, rule);
            otherwise
        })
    }

    /// A text, which may be empty.
    pub(super) fn text(&mut self, key: &str) -> String {
        self.parsed(key, String::new(), "must be a text", |raw| raw.text().map(str::to_owned))
    }

    /// A text that is not set where it is empty.
    pub(super) fn optional(&mut self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    /// Some texts: a list, or one text with commas; empty for none.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        let rule = "must be a list of texts, or one text with commas";
        self.parsed(key, Vec::new(), rule, Raw::list)
    }

    /// A whole number of any unsigned type.
    pub(super) fn whole<N>(&mut self, key: &str, range: RangeInclusive<u64>) -> N
    where
        N: TryFrom<u64> + Default,
    {
        let rule = format!("must be a whole number from {} to {}", range.start(), range.end());
        self.parsed(key, N::default(), rule, |raw| {
            raw.whole().filter(|number| range.contains(number)).and_then(|number| N::try_from(number).ok())
        })
    }

    /// A whole number that is not set where it is empty.
    pub(super) fn optional_whole(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let rule = format!("must be a whole number from {} to {}, or empty", range.start(), range.end());
        self.parsed(key, None, rule, |raw| {
            if raw.text() == Some("") {
                return Some(None);
            }
            raw.whole().filter(|number| range.contains(number)).map(Some)
        })
    }

    /// A whole number above zero.
    pub(super) fn count(&mut self, key: &str, most: u64) -> NonZeroU32 {
        NonZeroU32::new(self.whole(key, 1..=most)).unwrap_or(NonZeroU32::MIN)
    }

    /// A whole number above zero, of things in memory.
    pub(super) fn size(&mut self, key: &str, most: u64) -> NonZeroUsize {
        NonZeroUsize::new(self.whole(key, 1..=most)).unwrap_or(NonZeroUsize::MIN)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.parsed(key, false, "must be true or false", Raw::flag)
    }

    /// A time above zero, in the unit that the key's name ends with; `most` is in that unit too.
    pub(super) fn time(&mut self, key: &str, most: u64) -> Duration {
        self.time_from(key, 1, "above 0", most)
    }

    /// A time that may be zero.
    pub(super) fn time_or_zero(&mut self, key: &str, most: u64) -> Duration {
        self.time_from(key, 0, "from 0", most)
    }

    fn time_from(&mut self, key: &str, least_ms: u64, least: &str, most: u64) -> Duration {
        let (unit, ms) = if key.ends_with("_ms") { ("milliseconds", 1) } else { ("seconds", 1000) };
        let rule = format!("must be a time in {unit}, {least} and at most {most}, as a bare number");
        let range = least_ms..=most.saturating_mul(ms);
        self.parsed(key, Duration::ZERO, rule, |raw| {
            raw.millis(ms).filter(|time| range.contains(time)).map(Duration::from_millis)
        })
    }

    /// A number with a fraction, read exactly.
    pub(super) fn decimal(&mut self, key: &str, least: Decimal, most: Decimal) -> Decimal {
        let rule = format!("must be a number from {least} to {most}, in quotes where it has a fraction");
        self.parsed(key, least, rule, |raw| raw.decimal().filter(|number| (least..=most).contains(number)))
    }

    /// One of some words. Those planned are refused with the word that they are.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)], planned: &[&str], otherwise: T) -> T {
        let Some(found) = self.take(key) else {
            return otherwise;
        };
        let all = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let text = found.raw.text().unwrap_or_default();
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        if planned.contains(&text) {
            self.refuse(key, &found, format!("must be one of {all}: that one is designed, but not built yet"));
        } else {
            self.refuse(key, &found, format!("must be one of {all}"));
        }
        otherwise
    }

    /// A secret: in a variable, or in the file that `{key}_file` names. Neither is ever shown.
    pub(super) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let file = self.optional(&file_key);
        let path = self.key(key);
        self.known.insert(path.clone());
        let direct = self.found.remove(&path);
        if let Some(found) = &direct {
            self.show(&path, &Found { raw: Raw::Text(MASK.to_owned()), origin: found.origin.clone() });
        }
        match (direct, file) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.fault(key, format!("is given twice, by itself and by {file_key}"));
                None
            }
            (Some(found), None) => self.secret_of_variable(key, found),
            (None, Some(file)) => match std::fs::read_to_string(&file) {
                Ok(text) => self.checked_secret(&file_key, text.trim()),
                Err(error) => {
                    self.fault(&file_key, format!("names a file that can't be read: {file}: {error}"));
                    None
                }
            },
        }
    }

    /// A URL, whose password is never shown: by itself, or in the file that `{key}_file` names.
    pub(super) fn url(&mut self, key: &str) -> String {
        let file_key = format!("{key}_file");
        let file = self.optional(&file_key);
        let path = Key::of(key);
        self.known.insert(path.clone());
        let found = self.found.remove(&path);
        let text = found.as_ref().and_then(|found| found.raw.text()).unwrap_or_default().to_owned();
        // An empty text takes back what a layer below has set, as a container's image does.
        let origin = found.filter(|_| !text.is_empty()).map_or(Origin::Default, |found| found.origin);
        let (text, origin) = match (file, &origin) {
            (None, _) => (text, origin),
            (Some(file), Origin::Default) => match std::fs::read_to_string(&file) {
                Ok(text) => (text.trim().to_owned(), Origin::File(file)),
                Err(error) => {
                    self.fault(&file_key, format!("names a file that can't be read: {file}: {error}"));
                    (text, origin)
                }
            },
            (Some(_), Origin::File(_) | Origin::Flag | Origin::Variable) => {
                self.fault(key, format!("is given twice, by itself and by {file_key}"));
                (text, origin)
            }
        };
        self.show(&path, &Found { raw: Raw::Text(without_password(&text)), origin });
        text
    }

    fn secret_of_variable(&mut self, key: &str, found: Found) -> Option<SecretString> {
        match (found.origin, found.raw) {
            (Origin::Variable, Raw::Text(text)) => self.checked_secret(key, text.trim()),
            (Origin::Variable | Origin::Default | Origin::File(_) | Origin::Flag, _) => {
                let message = format!("is a secret: give it by its variable, or by a file that {key}_file names");
                self.fault(key, message);
                None
            }
        }
    }

    fn checked_secret(&mut self, key: &str, text: &str) -> Option<SecretString> {
        if text.is_empty() || text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            self.fault(key, "must hold 1 to 512 visible ASCII characters");
            return None;
        }
        Some(SecretString::from(text))
    }

    /// The names right below a section, whatever they are.
    pub(super) fn names_below(&self, section: &str) -> BTreeSet<String> {
        let section = Key::of(section);
        self.found
            .keys()
            .filter_map(|key| key.below(&section))
            .filter(|rest| rest.len() > 1)
            .filter_map(|rest| rest.first().cloned())
            .collect()
    }

    /// A number of one symbol, if it is set. It has a way of its own because symbols may have dots.
    pub(super) fn of_symbol<T>(
        &mut self,
        symbol: &str,
        name: &str,
        read: impl Fn(Decimal) -> Result<T, BadText>,
    ) -> Option<T> {
        let key = Key::of_symbol(symbol, name);
        self.known.insert(key.clone());
        let found = self.found.remove(&key)?;
        self.show(&key, &found);
        let number = found.raw.decimal().ok_or(BadText { rule: "must be a number, in quotes where it has a fraction" });
        match number.and_then(read) {
            Ok(value) => Some(value),
            Err(rule) => {
                let message = format!("{rule}; got {}", found.raw);
                self.faults.push(Fault::at(&key, message, Some(&found.origin)));
                None
            }
        }
    }
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // A query may name a password too; what is before the last @ is a login, whatever else it looks like.
    if rest.to_lowercase().contains("password=") {
        return format!("{scheme}://{MASK}");
    }
    match rest.rsplit_once('@') {
        Some((login, host)) => format!("{scheme}://{}:{MASK}@{host}", login.split(':').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite://data", "sqlite://data"),
            ("postgres://u:p@h:1/d?sslmode=require", "postgres://u:********@h:1/d?sslmode=require"),
            ("postgres://u:p@ss@h/d", "postgres://u:********@h/d"),
            ("postgres://u:p/?#w@h/d", "postgres://u:********@h/d"),
            ("postgres://h/d?user=u&Password=p", "postgres://********"),
            ("redis://:p@h:1/0", "redis://:********@h:1/0"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
