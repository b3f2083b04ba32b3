//! The stream of order events: opened, listened to, and given up as soon as it may be broken.
//!
//! A task of its own reads it, so that it is read and kept alive however slow the reader of the events is. It ends, and
//! with it the stream of events, when the connection does, when nothing was heard for too long, or when the reader fell
//! too far behind. Whoever opens it again must wait: a second, then twice as long each time.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{SinkExt, Stream, StreamExt, stream};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tranche_actors::domain::venue::VenueEvent;
use tranche_actors::ports::{Clock, Entropy, VenueError};

use super::client::Wire;
use super::settings::AlpacaSettings;
use super::wire::{self, WireUpdate};

/// How often we ask whether the other end lives.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A stream on which nothing arrived for so long, not even an answer to a ping, is broken.
const SILENT_FOR: Duration = Duration::from_secs(25);
/// Events that a slow reader may fall behind.
const BUFFER: usize = 8_192;
/// Largest message that is read.
const LARGEST: usize = 1024 * 1024;
/// The first wait before it is opened again, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// A stream that lived so long was a good one: the next one may be opened at once.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// The one stream that we listen to.
const UPDATES: &str = "trade_updates";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A message of the stream, as far as its kind goes.
#[derive(Deserialize)]
struct Envelope<'a> {
    stream: Option<String>,
    action: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Control {
    status: Option<String>,
    streams: Option<Vec<String>>,
    error_message: Option<String>,
}

/// What a message is.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Authorized,
    Unauthorized,
    Listening,
    Events(Vec<VenueEvent>),
    /// The broker is not content with us, in its words.
    Error(String),
    /// Nothing that matters.
    Nothing,
}

/// Opens streams, not too often.
pub(super) struct Opener {
    url: String,
    key_id: SecretString,
    secret_key: SecretString,
    timeout: Duration,
    wire: Arc<Wire>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pause: Arc<Mutex<Pause>>,
}

/// When the stream may be opened again, on the clock that counts suspended time.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    not_before: Duration,
    why: String,
}

impl Pause {
    /// A second, doubling up to 64 s, give or take a fifth.
    fn lengthen(&mut self, now: Duration, bits: u64, why: String) {
        let full = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_WAIT);
        let ms = u64::try_from(full.as_millis()).unwrap_or(0);
        let wait = Duration::from_millis(ms - ms / 5 + bits % (ms * 2 / 5).max(1));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait;
        self.why = why;
    }
}

impl Opener {
    pub(super) fn new(
        settings: &AlpacaSettings,
        wire: &Arc<Wire>,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Self {
        Self {
            url: settings.places.stream.to_string(),
            key_id: settings.key_id.clone(),
            secret_key: settings.secret_key.clone(),
            timeout: settings.timeout,
            wire: Arc::clone(wire),
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
            pause: Arc::default(),
        }
    }

    /// Opens the stream, and answers once the broker has said that it listens to us. While it must not be opened yet,
    /// nothing is asked of the broker.
    pub(super) async fn open(&self) -> Result<BoxStream<'static, VenueEvent>, VenueError> {
        if let Some(detail) = self.wire.refusal() {
            return Err(VenueError::Unauthorised { detail });
        }
        let now = self.clock.boottime();
        {
            let pause = lock(&self.pause);
            if now < pause.not_before {
                let seconds = (pause.not_before - now).as_secs() + 1;
                let detail = format!("{}; the stream is opened again in {seconds} s", pause.why);
                return Err(VenueError::Unavailable { detail });
            }
        }
        let late = || VenueError::Unavailable { detail: "the stream was not opened in time".to_owned() };
        match tokio::time::timeout(self.timeout, self.subscribe()).await.unwrap_or_else(|_| Err(late())) {
            Ok((socket, first)) => Ok(self.follow(socket, first).boxed()),
            Err(error) => {
                if let VenueError::Unauthorised { detail } = &error {
                    self.wire.rest(detail);
                }
                lock(&self.pause).lengthen(now, self.entropy.bits(), detail_of(&error));
                Err(error)
            }
        }
    }

    /// Connects, authenticates, and listens. Events may arrive before the last answer.
    async fn subscribe(&self) -> Result<(Socket, Vec<VenueEvent>), VenueError> {
        let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        let connected = connect_async_with_config(&self.url, Some(config), true).await;
        let (mut socket, _) = connected.map_err(|error| refused(&error))?;
        let key = json!({"key_id": self.key_id.expose_secret(), "secret_key": self.secret_key.expose_secret()});
        say(&mut socket, &json!({"action": "authenticate", "data": key})).await?;
        loop {
            match next(&mut socket).await? {
                Heard::Authorized => break,
                Heard::Unauthorized => {
                    let detail = "the broker's stream refuses the key".to_owned();
                    return Err(VenueError::Unauthorised { detail });
                }
                Heard::Error(detail) => return Err(VenueError::Unavailable { detail }),
                Heard::Listening | Heard::Events(_) | Heard::Nothing => {}
            }
        }
        say(&mut socket, &json!({"action": "listen", "data": {"streams": [UPDATES]}})).await?;
        let mut first = Vec::new();
        loop {
            match next(&mut socket).await? {
                Heard::Listening => return Ok((socket, first)),
                Heard::Events(events) => first.extend(events),
                Heard::Unauthorized => {
                    let detail = "the broker's stream refuses the key".to_owned();
                    return Err(VenueError::Unauthorised { detail });
                }
                Heard::Error(detail) => return Err(VenueError::Unavailable { detail }),
                Heard::Authorized | Heard::Nothing => {}
            }
        }
    }

    /// Reads the stream in a task of its own.
    fn follow(&self, socket: Socket, first: Vec<VenueEvent>) -> impl Stream<Item = VenueEvent> + Send + use<> {
        let (sender, receiver) = mpsc::channel(BUFFER);
        let (clock, entropy, pause) = (Arc::clone(&self.clock), Arc::clone(&self.entropy), Arc::clone(&self.pause));
        let began = clock.boottime();
        tokio::spawn(async move {
            let why = read(socket, &sender, (PING_EVERY, SILENT_FOR)).await;
            tracing::warn!(reason = why, "the broker's stream of events ended");
            let now = clock.boottime();
            let mut pause = lock(&pause);
            if now.saturating_sub(began) >= GOOD_LIFE {
                *pause = Pause::default();
            } else {
                pause.lengthen(now, entropy.bits(), why);
            }
        });
        let rest = stream::unfold(receiver, |mut events| async { events.recv().await.map(|event| (event, events)) });
        stream::iter(first).chain(rest)
    }
}

/// Hands on what arrives, until there is a reason not to: that is the answer.
async fn read(socket: Socket, events: &mpsc::Sender<VenueEvent>, (ping, silence): (Duration, Duration)) -> String {
    let mut socket = pin!(socket);
    let mut pings = tokio::time::interval_at(Instant::now() + ping, ping);
    let mut heard_at = Instant::now();
    loop {
        let frame = tokio::select! {
            () = events.closed() => return "nobody listens to it any more".to_owned(),
            _ = pings.tick() => {
                if heard_at.elapsed() >= silence {
                    return format!("nothing was heard for {} s", heard_at.elapsed().as_secs());
                }
                let sent = tokio::time::timeout(ping, socket.send(Message::Ping(Vec::new().into()))).await;
                match sent {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return format!("a ping could not be sent: {error}"),
                    Err(_) => return "a ping could not be sent in time".to_owned(),
                }
            }
            frame = socket.next() => frame,
        };
        heard_at = Instant::now();
        let news = match frame {
            None => return "the broker closed it".to_owned(),
            Some(Err(error)) => return error.to_string(),
            Some(Ok(frame)) => match sort(&frame) {
                Heard::Events(news) => news,
                Heard::Unauthorized => return "the broker's stream refuses the key".to_owned(),
                Heard::Error(detail) => return detail,
                Heard::Authorized | Heard::Listening | Heard::Nothing => Vec::new(),
            },
        };
        for event in news {
            if events.try_send(event).is_err() {
                return "its reader fell too far behind".to_owned();
            }
        }
    }
}

fn detail_of(error: &VenueError) -> String {
    match error {
        VenueError::Unavailable { detail } | VenueError::Unauthorised { detail } => detail.clone(),
        VenueError::NotNow { .. } => error.to_string(),
    }
}

async fn say(socket: &mut Socket, message: &serde_json::Value) -> Result<(), VenueError> {
    let text = Message::Text(Utf8Bytes::from(message.to_string()));
    socket.send(text).await.map_err(|error| VenueError::Unavailable { detail: error.to_string() })
}

async fn next(socket: &mut Socket) -> Result<Heard, VenueError> {
    match socket.next().await {
        Some(Ok(frame)) => Ok(sort(&frame)),
        Some(Err(error)) => Err(VenueError::Unavailable { detail: error.to_string() }),
        None => Err(VenueError::Unavailable { detail: "the broker closed the stream".to_owned() }),
    }
}

/// Why there is no stream. A refused key may show already in the answer to the handshake.
fn refused(error: &SocketError) -> VenueError {
    let detail = format!("the stream can't be opened: {error}");
    if let SocketError::Http(answer) = error
        && matches!(answer.status().as_u16(), 401 | 403)
    {
        return VenueError::Unauthorised { detail };
    }
    VenueError::Unavailable { detail }
}

/// JSON comes in text frames, and at the paper account in binary ones.
pub(super) fn sort(frame: &Message) -> Heard {
    let text = match frame {
        Message::Text(text) => text.as_str(),
        Message::Binary(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => return unreadable("it is no text"),
        },
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return Heard::Nothing,
    };
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return unreadable("it is no JSON") };
    let control =
        || envelope.data.and_then(|data| serde_json::from_str::<Control>(data.get()).ok()).unwrap_or_default();
    match (envelope.stream.as_deref(), envelope.action.as_deref()) {
        (Some("authorization"), _) => match control().status.as_deref() {
            Some("authorized") => Heard::Authorized,
            _ => Heard::Unauthorized,
        },
        (Some("listening"), _) => match control().streams {
            Some(streams) if streams.iter().any(|stream| stream == UPDATES) => Heard::Listening,
            _ => Heard::Error("the broker does not let us listen to order events".to_owned()),
        },
        (Some(UPDATES), _) => match envelope.data.map(RawValue::get).and_then(update) {
            Some(event) => Heard::Events(vec![event]),
            None => unreadable("it tells of no order"),
        },
        (None, Some("error")) | (Some("error"), _) => {
            Heard::Error(format!("the broker's stream: {}", control().error_message.unwrap_or_default()))
        }
        (Some(_) | None, _) => Heard::Nothing,
    }
}

/// What can't be read may have been an event: the books have to be compared.
fn unreadable(why: &str) -> Heard {
    tracing::warn!(why, "a message of the broker's stream can't be read");
    Heard::Events(vec![VenueEvent::Gap])
}

/// The event in the data of an update. Its own status is passed over: the order says where it stands.
fn update(data: &str) -> Option<VenueEvent> {
    let update = serde_json::from_str::<WireUpdate<'_>>(data).ok()?;
    let order = wire::lenient(update.order?.get()).ok()?;
    Some(match update.event.as_deref() {
        Some("trade_bust" | "trade_correct") => VenueEvent::Corrected { client_order_id: order.client_order_id },
        Some("fill" | "partial_fill") => {
            let execution = update.trade(&order);
            VenueEvent::Order { order: Box::new(order), execution }
        }
        Some(_) | None => VenueEvent::Order { order: Box::new(order), execution: None },
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
