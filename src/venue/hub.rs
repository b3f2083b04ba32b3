//! Who listens to the stream of an account, and what arrives there: late, twice, out of order or never, as it is to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tranche_actors::domain::money::canonical;
use tranche_actors::market::faults::EventFault;

use super::account::{Account, Happening};
use super::faults::Mischief;
use super::shape::{self, Spelling};

/// Events that a listener may fall behind before its connection is cut.
const BEHIND: usize = 16_384;

/// The streams of all accounts.
#[derive(Default)]
pub(super) struct Hub {
    streams: BTreeMap<String, broadcast::Sender<Arc<str>>>,
    /// By account, the events that wait for a later one to overtake them.
    overtaken: BTreeMap<String, Vec<Arc<str>>>,
    number: u64,
}

impl Hub {
    /// `from` is something that grows over all starts, so that no event has the id of an earlier one.
    pub(super) fn new(from: u64) -> Self {
        Self { number: from, ..Self::default() }
    }

    pub(super) fn listen(&mut self, account: &str) -> broadcast::Receiver<Arc<str>> {
        self.stream(account).subscribe()
    }

    /// Cuts every connection.
    pub(super) fn cut(&mut self) {
        self.streams.clear();
    }

    fn stream(&mut self, account: &str) -> &broadcast::Sender<Arc<str>> {
        self.streams.entry(account.to_owned()).or_insert_with(|| broadcast::channel(BEHIND).0)
    }

    pub(super) fn tell(
        &mut self,
        account: &Account,
        happenings: Vec<Happening>,
        mischief: &mut Mischief,
        now: DateTime<Utc>,
    ) {
        let spelling = Spelling { offset_minutes: mischief.faults().offset_minutes };
        for happening in happenings {
            let strike = mischief.event();
            self.number += 1;
            let mut data = self.event(account, &happening, spelling, now);
            if strike.no_execution_id {
                data.remove("execution_id");
            }
            if strike.stale {
                let at = happening.execution.as_ref().map_or(now, |trade| trade.at) - TimeDelta::minutes(1);
                data.insert("timestamp".to_owned(), spelling.time(at).into());
            }
            let frame: Arc<str> = json!({"stream": "trade_updates", "data": data}).to_string().into();
            match strike.fault {
                EventFault::None => self.send(&account.name, frame),
                EventFault::Lost => {}
                EventFault::Duplicated => {
                    self.send(&account.name, Arc::clone(&frame));
                    self.send(&account.name, frame);
                }
                EventFault::Reordered => {
                    self.overtaken.entry(account.name.clone()).or_default().push(frame);
                    continue;
                }
            }
            self.release(&account.name);
        }
    }

    /// Sends what was held back; at the latest with the next move of the market.
    pub(super) fn release_all(&mut self) {
        for account in self.overtaken.keys().cloned().collect::<Vec<_>>() {
            self.release(&account);
        }
    }

    fn release(&mut self, account: &str) {
        for frame in self.overtaken.remove(account).unwrap_or_default() {
            self.send(account, frame);
        }
    }

    fn send(&mut self, account: &str, frame: Arc<str>) {
        // An error says that nobody listens, which is nobody's loss.
        drop(self.stream(account).send(frame));
    }

    fn event(
        &self,
        account: &Account,
        happening: &Happening,
        spelling: Spelling,
        now: DateTime<Utc>,
    ) -> Map<String, Value> {
        let Happening { event, order, execution, position } = happening;
        let card = account.card(order);
        let at = spelling.time(execution.as_ref().map_or(now, |trade| trade.at));
        let status = if *event == "pending_new" { "pending_new" } else { shape::status_word(order) };
        let known_by = format!("{}|{event}|{}", order.order.broker_order_id, order.order.filled_qty);
        let execution_id = match execution {
            Some(trade) => account.named("execution", &trade.execution_id),
            None => account.named("execution", &known_by),
        };
        let mut data = Map::from_iter([
            ("event".to_owned(), Value::from(*event)),
            ("event_id".to_owned(), format!("{:026}", self.number).into()),
            ("execution_id".to_owned(), execution_id.to_string().into()),
            ("order".to_owned(), shape::order(account, order, &card, status, spelling)),
            ("timestamp".to_owned(), at.clone().into()),
            ("at".to_owned(), at.into()),
        ]);
        if let Some(trade) = execution {
            data.insert("price".to_owned(), canonical(trade.price.get()).into());
            data.insert("qty".to_owned(), canonical(trade.qty.get()).into());
            data.insert("position_qty".to_owned(), canonical(*position).into());
        }
        data
    }
}
