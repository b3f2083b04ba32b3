//! What a venue is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rust_decimal::Decimal;

use super::faults::VenueFaults;
use super::hours::Hours;

/// The account of a key that names none.
pub const DEFAULT_ACCOUNT: &str = "default";

/// What a venue is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub bind: SocketAddr,
    /// The folder of its journal.
    pub folder: PathBuf,
    /// The keys that it takes.
    pub keys: Vec<KeyOption>,
    /// What an account begins with.
    pub cash: Decimal,
    /// Decides quotes, ids and chances.
    pub seed: u64,
    /// How often the market moves.
    pub quote_interval: Duration,
    /// How long an answer takes, by the venue's clock.
    pub latency: Duration,
    /// Requests that a key has in a window.
    pub rate_limit: u32,
    /// How long a window of the rate limit is, by the venue's clock.
    pub rate_window: Duration,
    /// How many times as fast as the system's its clock runs.
    pub time_scale: u32,
    /// When the market is open.
    pub hours: Hours,
    /// Whether the stream sends text frames.
    pub text_frames: bool,
    /// How often an order is filled in part by chance, in thousandths.
    pub partial_per_mille: u16,
    /// What goes wrong.
    pub faults: VenueFaults,
}

/// A key: `ID:SECRET`, or `ID:SECRET:ACCOUNT`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyOption {
    /// What it is known by.
    pub id: String,
    /// What proves it.
    pub secret: String,
    /// Whose it is.
    pub account: String,
}

impl std::fmt::Debug for KeyOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyOption").field("id", &self.id).field("account", &self.account).finish_non_exhaustive()
    }
}

impl FromStr for KeyOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':').map(str::to_owned);
        let (id, secret, account) = (parts.next(), parts.next(), parts.next());
        match (id, secret, parts.next()) {
            (Some(id), Some(secret), None) if !id.is_empty() && !secret.is_empty() => {
                Ok(Self { id, secret, account: account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned()) })
            }
            (_, _, _) => Err("must be ID:SECRET or ID:SECRET:ACCOUNT".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_an_id_a_secret_and_perhaps_an_account_and_shows_no_secret() {
        let key = "PK1:hush".parse::<KeyOption>().unwrap();
        assert_eq!((key.id.as_str(), key.account.as_str()), ("PK1", DEFAULT_ACCOUNT));
        assert_eq!("PK1:hush:other".parse::<KeyOption>().unwrap().account, "other");
        assert!(!format!("{key:?}").contains("hush"));
        for bad in ["", "PK1", "PK1:", ":hush", "a:b:c:d"] {
            assert!(bad.parse::<KeyOption>().is_err(), "{bad}");
        }
    }
}
