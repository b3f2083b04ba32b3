//! Redis as the switchboard: one connection, calls that end within their budget, reconnection beside them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Script, cmd};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tranche_actors::ports::switchboard::{BoardError, BoardReading, HistoryStep, SwitchBoard, SwitchKey, Transition};

/// How long a call may take, whatever Redis does.
const BUDGET: Duration = Duration::from_millis(50);
/// How long connecting may take; nobody waits for it.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two tries to connect, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// How many entries a history keeps.
const MOST_ENTRIES: usize = 1_000;

/// The switchboard in Redis.
pub struct RedisBoard {
    client: Client,
    line: Arc<Mutex<Line>>,
    transition: Script,
}

enum Line {
    /// Nobody has connected yet, or the connection broke.
    Down,
    /// Somebody is at it.
    Connecting {
        why: String,
    },
    Up(MultiplexedConnection),
}

/// The address is not one of a Redis server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the address of a Redis server, such as redis://127.0.0.1:6379/0 or rediss://user:password@host:6380")]
pub struct BadAddress;

impl RedisBoard {
    /// A board at an address; it connects with its first call.
    ///
    /// # Errors
    /// When the address is none of a Redis server. The error doesn't repeat it, for it may hold a password.
    pub fn new(url: &SecretString) -> Result<Self, BadAddress> {
        crate::tls::install();
        let client = Client::open(url.expose_secret()).map_err(|_| BadAddress)?;
        let transition = Script::new(include_str!("transition.lua"));
        Ok(Self { client, line: Arc::new(Mutex::new(Line::Down)), transition })
    }

    /// Connects, and waits for it.
    ///
    /// # Errors
    /// Why that failed.
    pub async fn connect(&self) -> Result<(), BoardError> {
        let connection = connect(&self.client).await.map_err(unreachable)?;
        *self.line.lock().await = Line::Up(connection);
        Ok(())
    }

    /// Asks within the budget; what failed after it was sent has an unknown outcome. What fails or is late leaves a connection that is not used again: a late answer must not be
    /// taken for that of the next call.
    async fn ask<T>(
        &self,
        ask: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, BoardError> {
        let mut connection = self.connection().await?;
        let why = match timeout(BUDGET, ask(&mut connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            // An answer that says no is an answer: nothing was done.
            Ok(Err(error)) if !is_broken(&error) => return Err(unreachable(error.to_string())),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", BUDGET.as_millis()),
        };
        self.reconnect(&mut *self.line.lock().await, why.clone());
        Err(BoardError::OutcomeUnknown { detail: why })
    }

    async fn connection(&self) -> Result<MultiplexedConnection, BoardError> {
        let mut line = self.line.lock().await;
        match &*line {
            Line::Up(connection) => Ok(connection.clone()),
            Line::Connecting { why } => Err(unreachable(why.clone())),
            Line::Down => {
                let why = "not connected yet".to_owned();
                self.reconnect(&mut line, why.clone());
                Err(unreachable(why))
            }
        }
    }

    /// Connects anew beside all calls, with pauses that grow.
    fn reconnect(&self, line: &mut Line, why: String) {
        if matches!(line, Line::Connecting { .. }) {
            return;
        }
        *line = Line::Connecting { why };
        let (client, shared) = (self.client.clone(), Arc::downgrade(&self.line));
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let connected = connect(&client).await;
                // Whoever wanted it may be gone.
                let Some(line) = shared.upgrade() else { return };
                match connected {
                    Ok(connection) => {
                        *line.lock().await = Line::Up(connection);
                        return;
                    }
                    Err(why) => *line.lock().await = Line::Connecting { why },
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, String> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(CONNECT));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    match timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no connection within {} ms", CONNECT.as_millis())),
    }
}

/// Whether the connection is of no use any more; an answer that says no is an answer.
fn is_broken(error: &redis::RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || error.is_unrecoverable_error()
}

/// A question that was not answered has changed nothing.
fn of_a_read(error: BoardError) -> BoardError {
    match error {
        BoardError::OutcomeUnknown { detail } => BoardError::Unreachable { detail },
        BoardError::LostRace | BoardError::Unreachable { .. } => error,
    }
}

fn unreachable(detail: impl Into<String>) -> BoardError {
    BoardError::Unreachable { detail: detail.into() }
}

#[async_trait]
impl SwitchBoard for RedisBoard {
    async fn read(&self) -> Result<BoardReading, BoardError> {
        let (kill, breaker) = self
            .ask(async |connection| {
                let mut both = cmd("MGET");
                both.arg(SwitchKey::Kill.as_str()).arg(SwitchKey::Breaker.as_str());
                let values = both.query_async::<redis::Value>(connection).await?;
                Ok(<(Option<Vec<u8>>, Option<Vec<u8>>)>::from_redis_value(values)?)
            })
            .await
            .map_err(of_a_read)?;
        Ok(BoardReading { kill, breaker })
    }

    async fn newest_trip(&self) -> Result<Option<Vec<u8>>, BoardError> {
        self.ask(async |connection| {
            let mut newest = cmd("ZREVRANGE");
            newest.arg(history(SwitchKey::Breaker)).arg(0).arg(0);
            let entries = newest.query_async::<Vec<Vec<u8>>>(connection).await?;
            Ok(entries.into_iter().next())
        })
        .await
        .map_err(of_a_read)
    }

    async fn make(&self, transition: &Transition) -> Result<(), BoardError> {
        let (step, first, second): (_, &[u8], &[u8]) = match &transition.history {
            HistoryStep::None => ("none", b"", b""),
            HistoryStep::Append(entry) => ("append", entry, b""),
            HistoryStep::Insert { entry, score } => ("insert", entry, score.as_bytes()),
            HistoryStep::Complete { from, to } => ("complete", from, to),
        };
        let from = transition.from.as_deref();
        let mut call = self.transition.prepare_invoke();
        call.key(transition.key.as_str()).key(history(transition.key));
        call.arg(u8::from(from.is_some())).arg(from.unwrap_or_default()).arg(transition.to.as_slice());
        call.arg(step).arg(first).arg(second).arg(MOST_ENTRIES);
        match self.ask(async |connection| call.invoke_async::<i64>(connection).await).await? {
            0 => Err(BoardError::LostRace),
            _ => Ok(()),
        }
    }
}

const fn history(key: SwitchKey) -> &'static str {
    match key {
        SwitchKey::Kill => "kill_switch:history",
        SwitchKey::Breaker => "circuit_breaker:trip_history",
    }
}
