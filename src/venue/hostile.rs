//! The readers of the double's requests, for bytes that no client would send.

use actix_web::web::Query;
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::terms::{Instruction, Prices, Side, Terms, TimeInForce};

use super::admin::{ClockSetting, RateSetting, Staged};
use super::draft::{Draft, Patch};
use super::faults::VenueFaults;
use super::hours::{Hours, eastern};
use super::{clock, orders, reads, stream};
use crate::hostile::done;

/// Bodies, query strings and messages of the stream, each kind from the same bytes.
pub fn requests(bytes: &[u8]) {
    done(serde_json::from_slice::<Draft>(bytes).map(Draft::sound));
    done(serde_json::from_slice::<stream::Said>(bytes));
    done(serde_json::from_slice::<RateSetting>(bytes));
    done(serde_json::from_slice::<Staged>(bytes));
    done(serde_json::from_slice::<VenueFaults>(bytes).map(|faults| faults.check()));
    if let Ok(setting) = serde_json::from_slice::<ClockSetting>(bytes) {
        let clock = clock::ScaledClock::new(1, None);
        setting.set(&clock);
        done(Hours::Always.next_close(clock.now()));
    }
    patch(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        done(Query::<orders::Listing>::from_query(text));
        done(Query::<orders::ByClient>::from_query(text));
        done(Query::<reads::Closing>::from_query(text));
        done(Query::<reads::Activities>::from_query(text));
        done(orders::time(Some(text)));
        done(text.parse::<Hours>());
        if let Ok(range) = Query::<reads::Range>::from_query(text)
            && let Ok(days) = range.days(clock::ScaledClock::new(1, None).now())
        {
            let sessions = Hours::Always.calendar(days.0, days.1).map(|session| eastern(session.closes).date_naive());
            let most = usize::try_from(reads::MOST_DAYS).unwrap_or(0);
            assert!(sessions.count() <= most + 1, "a calendar without end");
        }
    }
}

fn patch(bytes: &[u8]) {
    let Ok(patch) = serde_json::from_slice::<Patch>(bytes) else { return };
    let (Ok(symbol), Ok(price), Ok(qty)) = (Symbol::parse("AAPL"), Price::new(10.into()), Qty::new(5.into())) else {
        return;
    };
    for prices in [
        Prices { limit: Some(price), stop: Some(price), ..Prices::default() },
        Prices { trail_price: Some(price), ..Prices::default() },
    ] {
        let order_type = if prices.limit.is_some() {
            tranche_actors::domain::terms::OrderType::StopLimit
        } else {
            tranche_actors::domain::terms::OrderType::TrailingStop
        };
        let Some(terms) = Terms::new(order_type, prices) else { continue };
        let old = Instruction {
            symbol: symbol.clone(),
            side: Side::Buy,
            terms,
            time_in_force: TimeInForce::Gtc,
            extended_hours: false,
        };
        done(patch.applied_to(&old, qty));
    }
}
