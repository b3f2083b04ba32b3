//! The keys of Alpaca: which of its worlds, where that is, and who we are.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::reader::Reader;
use super::sections::{Alpaca, BrokerKind};
use crate::brokers::alpaca::settings::{DATA_URL, Environment, Places};

/// Alpaca's own hosts: the two worlds must not be mixed up.
const PAPER_HOST: &str = "paper-api.alpaca.markets";
const LIVE_HOST: &str = "api.alpaca.markets";

/// Reads `[broker.alpaca]`.
pub(super) fn read(r: &mut Reader, kind: BrokerKind, timeout: Duration) -> Alpaca {
    let words = [("paper", Environment::Paper), ("live", Environment::Live)];
    let environment = r.word("broker.alpaca.env", &words, &[], Environment::Paper);
    let plain = r.flag("broker.alpaca.allow_plain");
    let places = places(r, environment, plain);
    let (key_id, secret_key) = (r.secret("broker.alpaca.key_id"), r.secret("broker.alpaca.secret_key"));
    let alpaca = Alpaca {
        environment,
        places,
        connect_timeout: r.time("broker.alpaca.connect_timeout_ms", 60_000),
        data_feed: r.word("broker.alpaca.data_feed", &[("iex", "iex"), ("sip", "sip")], &[], "iex").to_owned(),
        data_requests_per_minute: r.whole("broker.alpaca.data_rate_limit_per_minute", 0..=1_000_000),
        key: None,
    };
    r.rule(
        ["broker.alpaca.connect_timeout_ms", "broker.timeout_ms"],
        kind == BrokerKind::Paper || alpaca.connect_timeout <= timeout,
        "must not be longer than broker.timeout_ms (TRANCHE__BROKER__TIMEOUT_MS)",
    );
    Alpaca { key: key(r, kind, (key_id, secret_key)), ..alpaca }
}

fn key(
    r: &mut Reader,
    kind: BrokerKind,
    (key_id, secret_key): (Option<SecretString>, Option<SecretString>),
) -> Option<(SecretString, SecretString)> {
    if kind == BrokerKind::Alpaca {
        let mend = "is needed for broker.kind = \"alpaca\": give it by its variable, by a file";
        r.rule(
            ["broker.alpaca.key_id", "broker.alpaca.key_id_file"],
            key_id.is_some(),
            format!("{mend} that broker.alpaca.key_id_file names, or by APCA_API_KEY_ID"),
        );
        r.rule(
            ["broker.alpaca.secret_key", "broker.alpaca.secret_key_file"],
            secret_key.is_some(),
            format!("{mend} that broker.alpaca.secret_key_file names, or by APCA_API_SECRET_KEY"),
        );
    }
    key_id.zip(secret_key)
}

/// The three places. What isn't said follows from the host of orders: where that is not Alpaca's own, nothing goes there.
fn places(r: &mut Reader, environment: Environment, plain: bool) -> Places {
    let base_text = r.optional("broker.alpaca.base_url");
    let stream_text = r.optional("broker.alpaca.stream_url");
    let data_text = r.optional("broker.alpaca.data_url");
    let of_alpaca = fixed(environment);
    let base = match base_text {
        Some(text) => url(r, "broker.alpaca.base_url", &text, ("https", "http"), plain),
        None => Some(of_alpaca.base.clone()),
    }
    .unwrap_or_else(|| of_alpaca.base.clone());
    let base = without_version(base);
    let wrong = match environment {
        Environment::Paper => LIVE_HOST,
        Environment::Live => PAPER_HOST,
    };
    r.rule(
        ["broker.alpaca.base_url", "broker.alpaca.env"],
        base.host_str() != Some(wrong),
        format!(
            "names {wrong}, but broker.alpaca.env (TRANCHE__BROKER__ALPACA__ENV) is {:?}: real money has to be asked for \
             by both",
            environment.as_str()
        ),
    );
    let is_alpacas = matches!(base.host_str(), Some(PAPER_HOST | LIVE_HOST));
    let stream = match stream_text {
        Some(text) => url(r, "broker.alpaca.stream_url", &text, ("wss", "ws"), plain),
        None if is_alpacas => None,
        None => Some(stream_of(&base)),
    };
    r.rule(
        ["broker.alpaca.stream_url", "broker.alpaca.base_url"],
        stream.as_ref().is_none_or(|stream| stream.host_str() != Some(wrong)),
        "is of another world than broker.alpaca.env (TRANCHE__BROKER__ALPACA__ENV)",
    );
    let data = match data_text {
        Some(text) => url(r, "broker.alpaca.data_url", &text, ("https", "http"), plain),
        None if is_alpacas => None,
        None => Some(base.clone()),
    };
    Places { stream: stream.unwrap_or(of_alpaca.stream), data: data.unwrap_or(of_alpaca.data), base }
}

fn fixed(environment: Environment) -> Places {
    #[expect(clippy::expect_used, reason = "these addresses are constants, and a test reads them")]
    let url = |text: &str| Url::parse(text).expect("a constant address");
    Places { base: url(environment.base_url()), stream: url(environment.stream_url()), data: url(DATA_URL) }
}

/// The SDKs take the address with and without the version of the interface.
fn without_version(mut base: Url) -> Url {
    let path = base.path().trim_end_matches('/').trim_end_matches("/v2").to_owned();
    base.set_path(&path);
    base
}

fn stream_of(base: &Url) -> Url {
    let mut stream = base.clone();
    let scheme = if base.scheme() == "http" { "ws" } else { "wss" };
    let path = format!("{}/stream", base.path().trim_end_matches('/'));
    // Both schemes are special ones to an address, and between those it may change.
    if stream.set_scheme(scheme).is_ok() {
        stream.set_path(&path);
    }
    stream
}

/// An address that a secret may be sent to: encrypted, or on this machine. A refused one isn't repeated whole: it may hold
/// a password.
fn url(r: &mut Reader, key: &str, text: &str, (secure, open): (&str, &str), plain: bool) -> Option<Url> {
    let Ok(url) = Url::parse(text) else {
        r.fault(key, format!("must be an address, such as {secure}://HOST"));
        return None;
    };
    let scheme = url.scheme().to_owned();
    let has_more = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
    if scheme != secure && scheme != open {
        r.fault(key, format!("must begin with {secure}:// or, on this machine, with {open}://"));
    } else if has_more || url.fragment().is_some() || url.host_str().is_none_or(str::is_empty) {
        r.fault(key, "must have a host, and nothing of a user, a question or a fragment");
    } else if scheme == open && !plain && !is_loopback(&url) {
        let rule = format!("must begin with {secure}://: the key would be sent in the clear to another machine");
        r.fault(key, format!("{rule} (broker.alpaca.allow_plain allows it)"));
    } else {
        return Some(url);
    }
    None
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
