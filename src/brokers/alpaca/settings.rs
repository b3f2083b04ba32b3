//! What the connector has to know: where Alpaca is, who we are, and how long to wait.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

/// Which of Alpaca's two worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Money of play.
    Paper,
    /// Real money.
    Live,
}

impl Environment {
    /// Its word in configuration and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Live => "live",
        }
    }

    /// The host of orders and of the account.
    #[must_use]
    pub const fn base_url(self) -> &'static str {
        match self {
            Self::Paper => "https://paper-api.alpaca.markets",
            Self::Live => "https://api.alpaca.markets",
        }
    }

    /// The stream of order events.
    #[must_use]
    pub const fn stream_url(self) -> &'static str {
        match self {
            Self::Paper => "wss://paper-api.alpaca.markets/stream",
            Self::Live => "wss://api.alpaca.markets/stream",
        }
    }
}

/// The host of quotes and bars, of both worlds.
pub const DATA_URL: &str = "https://data.alpaca.markets";

/// The three places, each without a slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Places {
    /// Orders and the account.
    pub base: Url,
    /// The stream of order events.
    pub stream: Url,
    /// Quotes and bars.
    pub data: Url,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.base, self.stream, self.data)
    }
}

/// All that the connector works by. Its secrets don't show in `Debug`.
#[derive(Clone, Debug)]
pub struct AlpacaSettings {
    /// Which world.
    pub environment: Environment,
    /// Where it is.
    pub places: Places,
    /// The key's id.
    pub key_id: SecretString,
    /// The key's secret.
    pub secret_key: SecretString,
    /// Longest wait for a connection, its TLS included.
    pub connect_timeout: Duration,
    /// Longest wait for a whole answer.
    pub timeout: Duration,
    /// Whose quotes: `iex` or `sip`.
    pub data_feed: String,
    /// Requests to the host of quotes and bars within any minute, where it is a host of its own; 0: no limit.
    pub data_requests_per_minute: u32,
}
