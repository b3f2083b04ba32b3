//! A server that reads requests whole, notes them down, and answers the bytes that it was told to, or does worse.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{OrderId, Symbol};
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::NewOrder;
use tranche_actors::ports::{Clock, Entropy};

use crate::brokers::alpaca::AlpacaVenue;
use crate::brokers::alpaca::settings::{AlpacaSettings, Environment, Places};
use crate::clock::{SystemClock, SystemEntropy};

/// What the server does with a request that it has read.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Answers with a status, more headers, and a body, and keeps the connection.
    Answer(u16, &'static str, String),
    /// Writes these bytes and closes.
    Write(String),
    /// Closes without a word.
    Cut,
    /// Never answers.
    Stall,
}

impl Act {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::Answer(status, "X-Request-ID: req-7\r\n", body.to_string())
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) head: String,
    pub(super) body: String,
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Does one act after the other, over all connections; the last one again and again.
    pub(super) async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let (seen, acts) = (Arc::clone(&server.seen), Arc::new(acts));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&seen), Arc::clone(&acts)));
            }
        });
        server
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn venue(&self) -> AlpacaVenue {
        venue_at(self.address)
    }
}

async fn serve(mut socket: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, acts: Arc<Vec<Act>>) {
    while let Some(request) = read(&mut socket).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            seen.len() - 1
        };
        let act = acts.get(number).or(acts.last()).cloned().unwrap();
        match act {
            Act::Answer(status, headers, body) => {
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
                if socket.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::Write(bytes) => {
                socket.write_all(bytes.as_bytes()).await.ok();
                return;
            }
            Act::Cut => return,
            Act::Stall => std::future::pending().await,
        }
    }
}

/// A whole request; none once the other end has closed.
async fn read(socket: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head_lower = head.to_lowercase();
            let length = head_lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
            if body.len() >= length {
                let line = head.lines().next().unwrap().to_owned();
                return Some(Seen { line, head: head_lower, body: body.to_owned() });
            }
        }
        let mut chunk = [0; 4096];
        match socket.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

pub(super) const SECRET: &str = "s3cr3t-0f-0urs";

pub(super) fn settings(address: SocketAddr) -> AlpacaSettings {
    let url = |text: String| Url::parse(&text).unwrap();
    AlpacaSettings {
        environment: Environment::Paper,
        places: Places {
            base: url(format!("http://{address}/")),
            stream: url(format!("ws://{address}/stream")),
            data: url(format!("http://{address}/")),
        },
        key_id: SecretString::from("PKOURS"),
        secret_key: SecretString::from(SECRET),
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_millis(1_500),
        data_feed: "iex".to_owned(),
        data_requests_per_minute: 0,
    }
}

pub(super) fn venue_at(address: SocketAddr) -> AlpacaVenue {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    AlpacaVenue::new(&settings(address), &clock, &entropy).unwrap()
}

pub(super) fn id(text: &str) -> OrderId {
    OrderId::parse(text).unwrap()
}

pub(super) fn order() -> NewOrder {
    let limit_price = Price::new("99.5".parse().unwrap()).unwrap();
    NewOrder {
        client_order_id: id("abc"),
        instruction: Instruction {
            symbol: Symbol::parse("AAPL").unwrap(),
            side: Side::Buy,
            terms: Terms::Limit { limit_price },
            time_in_force: TimeInForce::Day,
            extended_hours: false,
        },
        qty: Qty::new("10".parse().unwrap()).unwrap(),
    }
}

/// The broker's view of that order.
pub(super) fn taken() -> Value {
    serde_json::json!({
        "id": "o-1", "client_order_id": "abc", "symbol": "AAPL", "side": "buy", "type": "limit", "qty": "10",
        "time_in_force": "day", "limit_price": "99.50", "status": "accepted", "filled_qty": "0",
        "submitted_at": "2026-11-20T15:00:00.123456789Z",
    })
}
