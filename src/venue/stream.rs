//! The stream of trade updates.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, Session};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};

use super::desk::Caller;
use super::refusal::Refusal;
use super::shop::Shop;

const UPDATES: &str = "trade_updates";

/// What a client sends. The two forms of a handshake differ in where the key is.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    action: String,
    #[serde(default)]
    data: Data,
    key: Option<String>,
    secret: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Data {
    key_id: Option<String>,
    secret_key: Option<String>,
    #[serde(default)]
    streams: Vec<String>,
}

/// `GET /stream`.
pub(super) async fn stream(
    request: HttpRequest,
    body: web::Payload,
    shop: web::Data<Shop>,
) -> actix_web::Result<HttpResponse> {
    let (busy, down) = {
        let desk = shop.desk();
        (desk.mischief.faults().busy, desk.mischief.faults().stream_down)
    };
    if busy {
        return Ok(Refusal::busy().response());
    }
    if down {
        return Ok(Refusal::broken(503).response());
    }
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let mut listener = Listener { shop: shop.into_inner(), session, caller: None, updates: None };
    let mut messages = messages.aggregate_continuations();
    actix_web::rt::spawn(async move {
        loop {
            let goes_on = tokio::select! {
                message = messages.recv() => match message {
                    Some(Ok(message)) => listener.hear(message).await,
                    Some(Err(_)) | None => false,
                },
                update = next(&mut listener.updates) => match update {
                    Ok(frame) => listener.send(&frame).await,
                    // Fallen behind, or cut.
                    Err(RecvError::Lagged(_) | RecvError::Closed) => false,
                },
            };
            if !goes_on {
                // Who has gone needs no goodbye.
                listener.session.close(None).await.ok();
                return;
            }
        }
    });
    Ok(response)
}

async fn next(updates: &mut Option<broadcast::Receiver<Arc<str>>>) -> Result<Arc<str>, RecvError> {
    match updates {
        Some(updates) => updates.recv().await,
        None => std::future::pending().await,
    }
}

struct Listener {
    shop: Arc<Shop>,
    session: Session,
    caller: Option<Caller>,
    updates: Option<broadcast::Receiver<Arc<str>>>,
}

impl Listener {
    /// Answers a message. False ends the connection.
    async fn hear(&mut self, message: AggregatedMessage) -> bool {
        match message {
            AggregatedMessage::Text(text) => self.answer(text.as_bytes()).await,
            AggregatedMessage::Binary(bytes) => self.answer(&bytes).await,
            AggregatedMessage::Ping(bytes) => self.session.pong(&bytes).await.is_ok(),
            AggregatedMessage::Pong(_) => true,
            AggregatedMessage::Close(_) => false,
        }
    }

    async fn answer(&mut self, bytes: &[u8]) -> bool {
        let Ok(Said { action, data, key, secret }) = serde_json::from_slice(bytes) else {
            return self.complain("invalid message").await;
        };
        match action.as_str() {
            "authenticate" | "auth" => {
                let (key, secret) = (data.key_id.or(key), data.secret_key.or(secret));
                self.authenticate(&action, &key.unwrap_or_default(), &secret.unwrap_or_default()).await
            }
            "listen" => self.listen(data.streams).await,
            _ => self.complain("invalid action").await,
        }
    }

    async fn authenticate(&mut self, action: &str, key: &str, secret: &str) -> bool {
        self.caller = self.shop.caller(key, secret).ok();
        let status = if self.caller.is_some() { "authorized" } else { "unauthorized" };
        let told = json!({"stream": "authorization", "data": {"status": status, "action": action}});
        self.say(&told).await && self.caller.is_some()
    }

    async fn listen(&mut self, streams: Vec<String>) -> bool {
        let Some(caller) = &self.caller else {
            return self.complain("not authenticated").await;
        };
        let known = streams.into_iter().filter(|stream| stream == UPDATES).collect::<Vec<_>>();
        // Listening begins before it is said, so that nothing falls between.
        self.updates = (!known.is_empty()).then(|| self.shop.hub().listen(&caller.account));
        self.say(&json!({"stream": "listening", "data": {"streams": known}})).await
    }

    async fn complain(&mut self, message: &str) -> bool {
        self.say(&json!({"action": "error", "data": {"error_message": message}})).await
    }

    async fn say(&mut self, value: &Value) -> bool {
        self.send(&value.to_string()).await
    }

    async fn send(&mut self, text: &str) -> bool {
        let sent = if self.shop.text_frames {
            self.session.text(text.to_owned()).await
        } else {
            self.session.binary(text.as_bytes().to_vec()).await
        };
        sent.is_ok()
    }
}
