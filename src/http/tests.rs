//! The server as its clients see it, on actors and a store that only note what they are asked.

use std::future::Future;

use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use actix_web::{App, web};
use serde_json::Value;

use self::fakes::Fixture;
use super::{app, around, auth, from_fn, routes};

mod answers;
mod arbitrary;
mod description;
mod fakes;
mod forwarding;
mod letting_in;
mod limiting;
mod reading;
mod reconciling;
mod repeating;
mod replacing;
mod roles;
mod service;
mod worth;
mod wrong_fields;

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    closes: bool,
    body: Value,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    fn faulty_fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["field"].as_str().unwrap()).collect()
    }
}

/// A request to be.
struct Ask {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

fn ask(method: Method, path: &str) -> Ask {
    Ask { method, path: path.to_owned(), headers: Vec::new(), body: None }
}

fn get(path: &str) -> Ask {
    ask(Method::GET, path)
}

fn post(path: &str, body: impl Into<String>) -> Ask {
    ask(Method::POST, path).bytes(body.into().into_bytes())
}

impl Ask {
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// A body, as JSON if nothing else is said.
    fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.header("content-type", "application/json")
    }

    fn request(self) -> TestRequest {
        let mut request = TestRequest::default().method(self.method).uri(&self.path);
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.append_header((*name, HeaderValue::from_str(value).unwrap()));
        }
        match self.body {
            Some(body) => request.set_payload(body),
            None => request,
        }
    }

    async fn of<A: Fn(Self) -> F, F: Future<Output = Answer>>(self, app: &A) -> Answer {
        app(self).await
    }
}

async fn answer(response: impl Future<Output = actix_web::Result<ServiceResponse<BoxBody>>>) -> Answer {
    let response = match response.await {
        Ok(response) => response.into_parts().1,
        Err(error) => error.error_response(),
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let closes = response.head().connection_type() == actix_web::http::ConnectionType::Close;
    let bytes = to_bytes(response.into_body()).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status, headers, closes, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
}

/// The application of a fixture.
macro_rules! serve {
    ($fixture:expr) => {{
        let app = actix_web::test::init_service(app!($fixture.shared())).await;
        move |ask: Ask| answer(app.call(ask.request().to_request()))
    }};
}
use serve;

/// A parent of 103 over five minutes.
const PARENT: &str = r#"{"symbol":"aapl","side":"buy","qty":"103","duration_minutes":5,"order_type":"market","trade_date":"2026-11-21"}"#;
/// Somebody pays in.
const DEPOSIT: &str =
    r#"{"kind":"deposit","amount":"250.000000001","operator":"ops","reason":"more","expected_version":4}"#;
/// A single order of ten.
const SINGLE: &str = r#"{"symbol":"AAPL","side":"buy","qty":10,"order_type":"limit","limit_price":"99.5"}"#;
