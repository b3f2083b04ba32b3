//! The readers of what Alpaca answers and tells, for bytes that it would never send.

use chrono::NaiveDate;
use reqwest::header::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::Message;
use tranche_actors::domain::names::{OrderId, Symbol};

use super::answers as kinds;
use super::client::Answer;
use super::pace::Headers;
use super::{account, market, pages, stream, wire};
use crate::hostile::done;

/// Answers of every call, each kind from the same body; the first byte chooses the status.
pub fn answers(bytes: &[u8]) {
    const STATUSES: [u16; 12] = [200, 204, 207, 301, 400, 401, 403, 404, 408, 422, 429, 500];
    let Some((first, body)) = bytes.split_first() else { return };
    // A body that is no text never gets here.
    let Ok(body) = std::str::from_utf8(body) else { return };
    let status = STATUSES.get(usize::from(*first) % STATUSES.len()).copied().unwrap_or(200);
    let answer = || Answer::of(status, body.to_owned());
    done(kinds::sort(&answer()));
    let (Ok(id), Ok(symbol)) = (OrderId::parse("an-order"), Symbol::parse("AAPL")) else { return };
    done(kinds::submitted(&id, Ok(answer()), |_| std::time::Duration::ZERO));
    done(kinds::canceled(Ok(answer()), |_| std::time::Duration::ZERO));
    let answer = answer();
    if let Ok(value) = HeaderValue::from_str(body) {
        let names = ["x-request-id", "date", "x-ratelimit-reset", "x-ratelimit-remaining", "retry-after"];
        let headers = names.map(|name| (HeaderName::from_static(name), value.clone()));
        done(Headers::read(&headers.into_iter().collect(), &crate::clock::SystemClock));
    }
    done(wire::strict(body));
    done(wire::lenient(body));
    done(pages::orders(&answer));
    done(pages::fills(&answer));
    done(account::positions(&answer));
    done(account::account(&answer));
    done(account::clock(&answer));
    done(account::calendar(&answer, NaiveDate::MIN, NaiveDate::MAX));
    done(market::quote(&answer, &symbol));
    done(market::bars(&answer, NaiveDate::MAX, 20));
}

/// Messages of the stream, as a text and as bytes.
pub fn events(bytes: &[u8]) {
    done(stream::sort(&Message::Binary(bytes.to_vec().into())));
    if let Ok(text) = std::str::from_utf8(bytes) {
        done(stream::sort(&Message::text(text)));
    }
}
