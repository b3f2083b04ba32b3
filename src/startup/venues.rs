//! The broker that the settings ask for, opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tranche_actors::ports::{Clock, Entropy, Venue};

use super::StartupError;
use crate::brokers::alpaca::AlpacaVenue;
use crate::brokers::alpaca::settings::AlpacaSettings;
use crate::brokers::paper::PaperVenue;
use crate::brokers::paper::settings::PaperSettings;
use crate::settings::{Broker, BrokerKind};

/// A broker at work.
pub(super) enum Opened {
    Paper(Arc<PaperVenue>),
    Alpaca { venue: Arc<AlpacaVenue>, mode: &'static str },
}

impl Opened {
    pub(super) async fn open(
        broker: &Broker,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, StartupError> {
        match broker.kind {
            BrokerKind::Paper => {
                let (own, book) = paper(broker)?;
                Ok(Self::Paper(Arc::new(PaperVenue::open(&own, &book, Arc::clone(clock)).await?)))
            }
            BrokerKind::Alpaca => {
                let own = alpaca(broker)?;
                let mode = own.environment.as_str();
                tracing::info!(mode, places = ?own.places, "orders go to Alpaca");
                Ok(Self::Alpaca { venue: Arc::new(AlpacaVenue::new(&own, clock, entropy)?), mode })
            }
        }
    }

    pub(super) fn venue(&self) -> Arc<dyn Venue> {
        match self {
            Self::Paper(venue) => venue.clone(),
            Self::Alpaca { venue, .. } => venue.clone(),
        }
    }

    /// How orders are sent, and to whom.
    pub(super) fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Paper(_) => ("paper", "paper"),
            Self::Alpaca { mode, .. } => (mode, "alpaca"),
        }
    }

    /// Ends what is of this process.
    pub(super) async fn close(self) {
        match self {
            Self::Paper(venue) => venue.close().await,
            Self::Alpaca { .. } => {}
        }
    }
}

fn alpaca(broker: &Broker) -> Result<AlpacaSettings, StartupError> {
    let own = &broker.alpaca;
    let (key_id, secret_key) = own.key.clone().ok_or(StartupError::NoKey)?;
    Ok(AlpacaSettings {
        environment: own.environment,
        places: own.places.clone(),
        key_id,
        secret_key,
        connect_timeout: own.connect_timeout,
        timeout: broker.timeout,
        data_feed: own.data_feed.clone(),
        data_requests_per_minute: own.data_requests_per_minute,
    })
}

fn paper(broker: &Broker) -> Result<(PaperSettings, PathBuf), StartupError> {
    let paper = &broker.paper;
    let quotes = serde_json::to_value(&paper.quotes)?;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let own = PaperSettings {
        book: Some(paper.book.clone()),
        seed: paper.seed,
        quotes: serde_json::from_value(quotes)?,
        speed: paper.speed,
        cash: paper.cash,
        latency_ms: millis(paper.latency),
        quote_interval_ms: millis(paper.quote_interval),
        slippage_bps: paper.slippage_bps,
        fees: tranche_actors::market::fills::Fees { per_unit: paper.fee_per_unit, bps: paper.fee_bps },
        faults: serde_json::from_value(paper.faults.clone().into())?,
        event_buffer: paper.event_buffer.get(),
    };
    Ok((own, paper.book.clone()))
}
