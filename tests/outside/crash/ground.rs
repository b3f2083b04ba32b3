//! What outlives the gateway that is killed: its ledger and its broker. And the reckoning of the two at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::alpaca::double::Double;
use crate::chance::Chance;
use crate::house::{Api, House, Outcome, Server, eventually};
use crate::report::{assert_adds_up, assert_books_agree, text};

/// What takes minutes in life takes seconds here.
const SCALED_DOWN: [(&str, &str); 9] = [
    ("execution.claim_seconds", "1"),
    ("execution.misfire_grace_seconds", "20"),
    ("execution.single_grace_seconds", "20"),
    ("execution.unknown_settle_ms", "100"),
    ("execution.absent_settle_s", "2"),
    ("execution.reconcile_seconds", "1"),
    ("execution.submit_wait_ms", "300"),
    ("breaker.broker_errors.enabled", "false"),
    // Of a database that others could take over: the next life has it as soon as the lease of the one before is over.
    ("lease.seconds", "3"),
];
/// The same of the paper broker, which answers from within the process.
const PAPER: [(&str, &str); 3] =
    [("broker.timeout_ms", "250"), ("broker.paper.latency_ms", "30"), ("broker.paper.quote_interval_ms", "50")];
const ALPACA: [(&str, &str); 2] = [("broker.timeout_ms", "3000"), ("broker.alpaca.connect_timeout_ms", "2000")];

/// What goes wrong at either broker, in thousandths: more than a third of all answers is lost or late.
const FAULTS: [(&str, u16); 6] = [
    ("timeout_after_per_mille", 333),
    ("timeout_before_per_mille", 80),
    ("delay_per_mille", 100),
    ("event_lost_per_mille", 200),
    ("event_duplicated_per_mille", 100),
    ("event_reordered_per_mille", 100),
];

/// How many send orders at once.
const CLIENTS: u64 = 4;

/// Where the orders go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Broker {
    Paper,
    /// The double, a process of its own that nobody kills.
    Alpaca,
}

/// A ledger and a broker under one gateway after the other.
pub(crate) struct Ground {
    pub(crate) house: House,
    double: Option<Double>,
    seed: u64,
}

impl Ground {
    /// With a ledger in this database, or in the folder of the house.
    pub(crate) fn new(database: Option<&str>, broker: Broker, seed: u64) -> Self {
        let (mut house, double) = match broker {
            Broker::Paper => (House::new(&[&SCALED_DOWN[..], &PAPER].concat()), None),
            Broker::Alpaca => {
                let venue_seed = seed.to_string();
                let options =
                    ["--rate-limit", "10000000", "--cash", "1000000000", "--latency-ms", "30", "--seed", &venue_seed];
                let double = Double::start(&options);
                (double.house(&[&SCALED_DOWN[..], &ALPACA].concat()), Some(double))
            }
        };
        house.set("lease.renew_seconds", "0.75");
        house.set("broker.paper.seed", &(seed % 1_000_000).to_string());
        if let Some(url) = database {
            house.set("storage.url", url);
        }
        Self { house, double, seed }
    }

    /// Has the broker lose answers and events, or be late with them, from the next start on.
    pub(crate) async fn spoil(&mut self) {
        match &self.double {
            None => {
                for (name, per_mille) in FAULTS {
                    self.house.set(&format!("broker.paper.faults.{name}"), &per_mille.to_string());
                }
                self.house.set("broker.paper.faults.delay_ms", "400");
            }
            Some(double) => {
                let mut chance = json!({"delay_ms": 4_000});
                for (name, per_mille) in FAULTS {
                    chance[name] = json!(per_mille);
                }
                double.faults(&json!({"chance": chance, "arrives_after_ms": 700})).await;
            }
        }
    }

    /// How many orders the broker has.
    pub(crate) fn orders(&self) -> usize {
        match &self.double {
            None => self.house.book().orders.len(),
            Some(double) => double.orders().len(),
        }
    }

    /// Waits until nothing is open any more, stops the gateway, and holds against each other what was promised, the
    /// interface, the ledger and the broker's own record. Says what was counted.
    pub(crate) async fn reckon(&self, server: Server, promised: &Promised) -> String {
        let api = &server.api;
        let parents = settled(api, self.seed).await;
        let promised = promised.lock().unwrap().clone();
        assert!(!promised.is_empty(), "nothing was promised, so nothing was shown");
        for id in &promised {
            api.order(id).await;
        }
        for parent in &parents {
            let id = text(&parent["parent_order_id"]);
            assert_adds_up(&api.order(&id).await, &api.slices(&id).await);
        }
        let recorded = match &self.double {
            None => {
                assert_books_agree(&self.house, api).await;
                let book = self.house.book();
                format!("the broker's book: {} orders, {} executions", book.ids().len(), book.executions.len())
            }
            Some(double) => {
                double.assert_books_agree(api).await;
                let sent = double.requests("submit");
                let twice = sent.iter().filter(|request| request["outcome"] == "refused").count();
                let orders = double.orders().len();
                format!("the broker's journal: {} submissions, {twice} refused, {orders} orders", sent.len())
            }
        };
        let orders = api.all("/api/v1/orders").await;
        let again = orders.iter().filter(|order| order["attempt"].as_u64().unwrap() > 1).count();
        server.stop().await;
        let verified = Outcome::of(self.house.program().args(["db", "verify", "--json"])).json();
        assert_eq!(verified["findings"], json!([]), "{verified}");
        format!(
            "lost 0, doubled 0; {} promises, {} parents, {} orders, {again} of them sent more than once; {recorded}",
            promised.len(),
            parents.len(),
            orders.len()
        )
    }
}

/// What was promised, by whichever client.
pub(crate) type Promised = Arc<Mutex<BTreeSet<String>>>;

/// Sends parents and single orders by several clients at once, as long as there is somebody to take them; keeps what was
/// promised.
pub(crate) async fn load(api: &Api, life: u64, chance: &mut Chance, promised: &Promised) {
    let clients = (0..CLIENTS).map(|client| one_by_one(api, format!("{life}.{client}"), chance.next(), promised));
    join_all(clients.collect::<Vec<_>>()).await;
}

async fn one_by_one(api: &Api, client: String, seed: u64, promised: &Promised) {
    let mut chance = Chance(seed);
    for number in 0_u64.. {
        let id = format!("{client}.{number}");
        let (path, body) = if chance.within(0, 3) == 0 {
            (
                "/api/v1/orders",
                json!({"symbol": "MSFT", "side": "sell", "qty": "5", "order_type": "market", "client_order_id": id}),
            )
        } else {
            ("/api/v1/orders/slice", parent(&id, chance.within(2, 5)))
        };
        // While it starts it refuses; a request that was cut off promises nothing.
        if let Ok(response) = api.request("POST", path).json(&body).send().await
            && response.status() == 201
        {
            promised.lock().unwrap().insert(id);
        }
        tokio::time::sleep(chance.millis(20, 200)).await;
    }
}

/// A parent of so many slices, one each second.
pub(crate) fn parent(id: &str, slices: u64) -> Value {
    json!({
        "symbol": "AAPL", "side": "buy", "qty": (slices * 10 + 3).to_string(), "order_type": "market",
        "duration_seconds": slices, "interval_seconds": 1, "client_order_id": id,
    })
}

/// Waits until nothing is open any more: every parent, every order.
async fn settled(api: &Api, seed: u64) -> Vec<Value> {
    let what = format!("every parent and every order has ended (OUTSIDE_SEED={seed})");
    eventually(&what, Duration::from_secs(120), async || {
        let parents = api.all("/api/v1/orders?kind=parent").await;
        let orders = api.all("/api/v1/orders").await;
        let open = |row: &Value, name: &str| row[name].is_null();
        let is_open =
            parents.iter().any(|row| open(row, "ended_at")) || orders.iter().any(|row| open(row, "terminal_at"));
        // Long lists take their time to write.
        tokio::time::sleep(Duration::from_millis(200)).await;
        (!is_open).then_some(parents)
    })
    .await
}
