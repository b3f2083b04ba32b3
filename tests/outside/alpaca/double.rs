//! A double of Alpaca in a folder of its own, as a process of its own, and a gateway that trades there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::house::{Api, Folder, House, PROGRAM, answer};
use crate::report::{dec, text};

/// The key that both sides know.
pub(crate) const KEY: (&str, &str) = ("PKOUTSIDE", "an-outside-secret-0123456789");

/// The double. It is killed when the value goes.
pub(crate) struct Double {
    folder: Folder,
    options: Vec<String>,
    child: Child,
    pub(crate) address: String,
    admin: Api,
}

impl Double {
    /// Starts one on a port that the system picks.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = Folder::of_others();
        let options = options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>();
        let (child, address) = spawn(&folder, "127.0.0.1:0", &options);
        let admin = Api::new(&address);
        Self { folder, options, child, address, admin }
    }

    /// As the kernel does it when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.kill();
        (self.child, self.address) = spawn(&self.folder, &self.address, &self.options);
    }

    /// What goes wrong from now on; what isn't named goes right.
    pub(crate) async fn faults(&self, faults: &Value) {
        let (status, told) = answer(self.admin.request("PUT", "/admin/faults").json(faults)).await;
        assert_eq!(status, 200, "{told}");
    }

    pub(crate) async fn cut_streams(&self) {
        let (status, told) = answer(self.admin.request("POST", "/admin/stream/cut")).await;
        assert!(status < 300, "{status} {told}");
    }

    /// Fills a part of an order, of the double's own id.
    pub(crate) async fn fill(&self, order: &str, qty: &str, price: &str) {
        let body = serde_json::json!({"qty": qty, "price": price});
        let request = self.admin.request("POST", &format!("/admin/orders/{order}/fill")).json(&body);
        let (status, told) = answer(request).await;
        assert!(status < 300, "{status} {told}");
    }

    /// All that it ever accepted or refused. A line that it is just writing is left for the next time.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("venue/journal.jsonl")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its last word on each order, by the id that it was sent under. Two orders under one id are a failure.
    pub(crate) fn orders(&self) -> BTreeMap<String, Value> {
        let (mut last, mut ids) = (BTreeMap::new(), BTreeMap::<String, BTreeSet<String>>::new());
        for line in self.journal().into_iter().filter(|line| line["kind"] == "order") {
            let id = text(&line["client_order_id"]);
            ids.entry(id.clone()).or_default().insert(text(&line["id"]));
            last.insert(id, line);
        }
        for (id, of_id) in ids {
            assert_eq!(of_id.len(), 1, "two orders at the broker under {id}");
        }
        last
    }

    /// The requests of one kind that arrived, oldest first.
    pub(crate) fn requests(&self, action: &str) -> Vec<Value> {
        let journal = self.journal().into_iter();
        journal.filter(|line| line["kind"] == "request" && line["action"] == action).collect()
    }

    pub(crate) async fn positions(&self) -> BTreeMap<String, Decimal> {
        let request = self.admin.request("GET", "/v2/positions");
        let request = request.header("APCA-API-KEY-ID", KEY.0).header("APCA-API-SECRET-KEY", KEY.1);
        let (status, rows) = answer(request).await;
        assert_eq!(status, 200, "{rows}");
        rows.as_array().unwrap().iter().map(|row| (text(&row["symbol"]), dec(&row["qty"]))).collect()
    }

    /// A gateway that trades here, with as many requests as it likes unless `settings` say otherwise.
    pub(crate) fn house(&self, settings: &[(&str, &str)]) -> House {
        let base = format!("http://{}", self.address);
        let own = [
            ("broker.kind", "alpaca"),
            ("broker.alpaca.base_url", base.as_str()),
            ("broker.alpaca.key_id", KEY.0),
            ("broker.alpaca.secret_key", KEY.1),
            ("broker.rate_limit_per_minute", "0"),
        ];
        House::new(&[&own, settings].concat())
    }

    /// Holds the gateway's books against the double's journal once nothing is open any more: one order there for each of
    /// ours that was ever sent, the same status and quantities, the same positions.
    pub(crate) async fn assert_books_agree(&self, api: &Api) {
        let theirs = self.orders();
        let mut known = BTreeSet::new();
        for order in api.all("/api/v1/orders").await {
            let id = text(&order["client_order_id"]);
            match theirs.get(&id) {
                Some(their) => {
                    assert_eq!(order["status"], their["row"]["status"], "{order}\n{their}");
                    assert_eq!(dec(&order["filled_qty"]), dec(&their["filled_qty"]), "{order}\n{their}");
                    assert_eq!(order["broker_order_id"], their["id"], "{order}\n{their}");
                    let (ours, average) = (dec(&order["filled_avg_price"]), dec(&their["row"]["filled_avg_price"]));
                    assert!((ours - average).abs() <= Decimal::new(1, 8), "{order}\n{their}");
                }
                None => {
                    assert_eq!(dec(&order["filled_qty"]), Decimal::ZERO, "{order}");
                    let status = order["status"].as_str().unwrap();
                    assert!(crate::report::NEVER_SENT.contains(&status), "not at the broker: {order}");
                }
            }
            known.insert(id);
        }
        let foreign = theirs.keys().filter(|id| !known.contains(*id)).collect::<Vec<_>>();
        assert!(foreign.is_empty(), "the broker has orders that we don't know: {foreign:?}");
        let (status, held) = api.get("/api/v1/positions").await;
        assert_eq!(status, 200, "{held}");
        let held = held["items"].as_array().unwrap().iter();
        let mut held = held.map(|row| (text(&row["symbol"]), dec(&row["qty"]))).collect::<BTreeMap<_, _>>();
        held.retain(|_, qty| !qty.is_zero());
        assert_eq!(held, self.positions().await, "our positions are the broker's");
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(folder: &Folder, bind: &str, options: &[String]) -> (Child, String) {
    let mut command = Command::new(PROGRAM);
    command
        .args(["venue", "--bind", bind, "--folder", "venue", "--key", &format!("{}:{}", KEY.0, KEY.1)])
        .args(options);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let (_, rest) = said.split_once("http://").unwrap_or_else(|| panic!("the double didn't start: {said}"));
    let address = rest.split(';').next().unwrap().trim().to_owned();
    (child, address)
}

/// When a line of the journal was written.
pub(crate) fn at(line: &Value) -> DateTime<Utc> {
    text(&line["at"]).parse().unwrap()
}

/// The most of these instants that lie within any time of this length.
pub(crate) fn most_within(instants: &[DateTime<Utc>], length: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in instants.iter().enumerate() {
        while (*at - instants[first]).to_std().unwrap() >= length {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}
