//! Commands against a small gateway that answers as ours does.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use actix_web::web::{self, Json, Path};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use clap::Parser;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::settings::{Inputs, Settings};

/// Keeps what is printed, and says when a word of it was.
#[derive(Clone, Default)]
pub(super) struct Screen {
    text: Arc<Mutex<String>>,
    last_word: Arc<Notify>,
}

impl Screen {
    pub(super) fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut text = self.text.lock().unwrap();
        text.push_str(std::str::from_utf8(bytes).unwrap());
        if text.contains("Ctrl-C") {
            self.last_word.notify_one();
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How often the parent was asked for: each look finds it one slice further.
type Looks = web::Data<AtomicUsize>;

const STAGES: [(&str, &str); 4] = [("0", "working"), ("21", "working"), ("42", "working"), ("42", "completed")];

fn problem(status: u16, code: &str) -> HttpResponse {
    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap())
        .content_type("application/problem+json")
        .json(json!({"detail": format!("no: {code}"), "code": code, "errors": [{"field": "qty", "code": "c", "message": "is wrong"}]}))
}

async fn slice(body: Json<Value>, request: HttpRequest) -> HttpResponse {
    if body["qty"] == "0" {
        return problem(422, "invalid");
    }
    let id = request.headers().get("Idempotency-Key").map_or("p", |key| key.to_str().unwrap());
    HttpResponse::Created().json(json!({
        "parent_order_id": id, "symbol": body["symbol"], "side": body["side"], "total_qty": body["qty"],
        "total_slices": 2, "status": "working", "warnings": [], "slices": [],
    }))
}

async fn parent(id: Path<String>, looks: Looks) -> HttpResponse {
    if *id == "none" {
        return problem(404, "order_not_found");
    }
    if *id == "single" {
        return HttpResponse::Ok().json(json!({
            "client_order_id": "single", "status": "filled", "symbol": "AAPL", "side": "buy", "qty": "1",
            "filled_qty": "1",
        }));
    }
    let (filled, status) = STAGES[looks.fetch_add(1, Ordering::SeqCst).min(3)];
    HttpResponse::Ok().json(json!({
        "kind": "parent", "parent_order_id": *id, "symbol": "AAPL", "side": "buy", "total_qty": "42", "total_slices": 2,
        "status": status, "filled_qty": filled, "filled_avg_price": "100.1", "arrival_price": "100",
        "interval_twap": "100.1",
    }))
}

async fn slices(id: Path<String>, looks: Looks) -> HttpResponse {
    if *id == "single" {
        return problem(404, "not_found");
    }
    let stage = looks.load(Ordering::SeqCst);
    let one = |num: usize| {
        let filled = num < stage;
        json!({
            "client_order_id": format!("s{num}"), "status": if filled { "filled" } else { "pending_new" }, "qty": "21",
            "symbol": "AAPL", "side": "buy", "slice_num": num, "total_slices": 2, "filled_avg_price": null,
            "filled_qty": if filled { "21" } else { "0" }, "updated_at": "2026-11-21T10:00:00Z",
        })
    };
    HttpResponse::Ok().json([one(0), one(1)])
}

async fn cancel_parent(id: Path<String>) -> HttpResponse {
    match id.as_str() {
        "p" => HttpResponse::Ok().json(json!({"parent_order_id": "p", "pending_canceled": 1})),
        "ended" => problem(409, "parent_terminal"),
        _ => problem(404, "order_not_found"),
    }
}

async fn resume(id: Path<String>) -> HttpResponse {
    match id.as_str() {
        "p" => HttpResponse::Ok().json(json!({"parent_order_id": "p", "status": "working"})),
        _ => problem(409, "not_paused"),
    }
}

async fn cancel_single(id: Path<String>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"client_order_id": *id, "status": "pending_cancel"}))
}

async fn switch(request: HttpRequest) -> HttpResponse {
    match request.headers().get("Authorization").map(|value| value.to_str().unwrap()) {
        Some("Bearer open sesame") => HttpResponse::Ok().json(json!({"state": "ACTIVE", "known": true})),
        Some(_) | None => problem(401, "unauthorised"),
    }
}

async fn history() -> HttpResponse {
    HttpResponse::Ok().json(json!({"items": [{
        "event": "TRIPPED", "timestamp": "2026-11-21T14:30:00Z", "operator": "eve", "reason": "MANUAL", "details": null,
    }], "next_cursor": null}))
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/livez", web::get().to(HttpResponse::Ok))
        .route(
            "/readyz",
            web::get().to(|| async { HttpResponse::Ok().json(json!({"ready": true, "trading_allowed": true})) }),
        )
        .service(
            web::scope("/api/v1")
                .route("/orders/slice", web::post().to(slice))
                .route("/orders", web::post().to(|| async { problem(503, "kill_switch_engaged") }))
                .route("/orders/{id}", web::get().to(parent))
                .route("/orders/{id}/slices", web::get().to(slices))
                .route("/orders/{id}/slices", web::delete().to(cancel_parent))
                .route("/orders/{id}/resume", web::post().to(resume))
                .route("/orders/{id}/cancel", web::post().to(cancel_single))
                .route("/circuit-breaker/history", web::get().to(history))
                .route("/kill-switch/history", web::get().to(history))
                .route("/kill-switch/status", web::get().to(switch)),
        );
}

/// A server that ends when it is told to; its address goes to `on_ready`.
async fn serve(on_ready: impl FnOnce(std::net::SocketAddr), end: Arc<Notify>) {
    let looks = Looks::new(AtomicUsize::new(0));
    let server = HttpServer::new(move || App::new().app_data(looks.clone()).configure(routes))
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
    on_ready(server.addrs()[0]);
    let running = server.run();
    let handle = running.handle();
    let running = actix_web::rt::spawn(running);
    end.notified().await;
    handle.stop(false).await;
    running.await.unwrap().unwrap();
}

/// A gateway in a thread of its own, which ends with this value.
struct Gateway {
    url: String,
    end: Arc<Notify>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Gateway {
    fn start() -> Self {
        let (tell, ready) = mpsc::channel();
        let end = Arc::new(Notify::new());
        let ending = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            launch::on_a_system(serve(move |address| tell.send(address).unwrap(), ending));
        });
        Self { url: format!("http://{}", ready.recv().unwrap()), end, thread: Some(thread) }
    }

    /// Runs a command against it: its exit code, and what it printed or the error that it ended with.
    fn run(&self, words: &str) -> (u8, String) {
        run_at(&self.url, words)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end.notify_one();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn run_at(url: &str, words: &str) -> (u8, String) {
    let screen = Screen::default();
    let mut out = Out::plain(Box::new(screen.clone()));
    let words = format!("tranche {words} --url {url}");
    let cli = Cli::try_parse_from(words.split_whitespace()).unwrap();
    match dispatch(cli, &mut out) {
        Ok(()) => (0, screen.text()),
        Err(error) => (error.code(), format!("{}{error}", screen.text())),
    }
}

#[test]
fn the_words_of_the_command_line_fit_together() {
    Cli::command().debug_assert();
    assert!(Cli::try_parse_from(["tranche"]).unwrap().command.is_none());
    let bind = Cli::try_parse_from(["tranche", "--bind", "127.0.0.1:0"]).unwrap();
    assert!(bind.command.is_none());
    let both = ["tranche", "order", "slice", "buy", "1", "A", "--duration-minutes=1", "--duration-seconds=1"];
    assert!(Cli::try_parse_from(both).is_err());
    let neither = ["tranche", "order", "slice", "buy", "1", "A"];
    assert!(Cli::try_parse_from(neither).is_err());
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    assert_eq!(run(["tranche", "no-such-command"].map(OsString::from)), 2);
    assert_eq!(run(["tranche", "--help"].map(OsString::from)), 0);
    assert_eq!(run(["tranche", "config", "check", "--set", "gate.poll_ms=fast"].map(OsString::from)), 2);
    let screen = Screen::default();
    let cli = Cli::try_parse_from(["tranche", "completions", "zsh"]).unwrap();
    dispatch(cli, &mut Out::plain(Box::new(screen.clone()))).unwrap();
    assert!(screen.text().starts_with("#compdef tranche"));
}

#[test]
fn an_order_is_sent_shown_and_refused() {
    let gateway = Gateway::start();
    let (code, text) = gateway.run("order slice buy 42 AAPL --duration-seconds 30 --idempotency-key k1");
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("k1 buy 42 AAPL in 2 slices: working"), "{text}");
    let (code, text) = gateway.run("order slice buy 0 AAPL --duration-seconds 30");
    assert_eq!((code, text.as_str()), (3, "no: invalid [422 invalid]\n  qty: is wrong"));
    let (code, text) = gateway.run("order submit buy 1 AAPL");
    assert_eq!(code, 4, "{text}");
    let (code, text) = gateway.run("order show p --json");
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["parent_order_id"], "p");
    let (code, text) = gateway.run("order show p");
    assert_eq!(code, 0);
    assert!(text.contains("against the arrival price 100: 10 bps worse"), "{text}");
    assert_eq!(gateway.run("order show none").0, 3);
    assert_eq!(gateway.run("order show ../kill-switch").0, 2);
}

#[test]
fn a_cancel_finds_out_what_it_cancels() {
    let gateway = Gateway::start();
    assert!(gateway.run("order cancel p").1.contains("pending canceled:  1"));
    assert!(gateway.run("order cancel single").1.contains("pending_cancel"));
    assert_eq!(gateway.run("order cancel ended").0, 3);
    assert!(gateway.run("order resume p").1.contains("working"));
    assert_eq!(gateway.run("order resume working").0, 3);
}

#[test]
fn a_watch_tells_each_slice_once_and_ends_with_the_parent() {
    let gateway = Gateway::start();
    let (code, text) = gateway.run("order watch p");
    assert_eq!(code, 0);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "10:00:00  slice 1 of 2  filled               21 of 21 at -",
            "10:00:00  slice 2 of 2  filled               21 of 21 at -",
            "p is completed",
            "buy 42 AAPL: 42 of 42 filled at 100.1 on average",
            "  against the arrival price 100: 10 bps worse",
            "  against the interval TWAP 100.1: the same",
        ]
    );
    assert_eq!(gateway.run("order watch none").0, 3);
    let (code, text) = gateway.run("order watch single");
    assert_eq!(code, 2);
    assert!(text.contains("`tranche order show single`"), "{text}");
}

#[test]
fn a_key_is_taken_from_its_file() {
    let gateway = Gateway::start();
    assert_eq!(gateway.run("kill status").0, 3);
    let file = std::env::temp_dir().join(format!("tranche-cli-key-{}", std::process::id()));
    std::fs::write(&file, "open sesame\n").unwrap();
    let (code, text) = gateway.run(&format!("kill status --key-file {}", file.display()));
    assert_eq!((code, text.as_str()), (0, "known:  yes\nstate:  ACTIVE\n"));
    assert_eq!(gateway.run("kill status --key-file /nonexistent").0, 2);
}

#[test]
fn a_history_says_when_what_who_and_why() {
    let gateway = Gateway::start();
    let text = "TIMESTAMP             EVENT    OPERATOR  REASON\n2026-11-21T14:30:00Z  TRIPPED  eve       MANUAL\n";
    for switch in ["kill", "breaker"] {
        assert_eq!(gateway.run(&format!("{switch} history")), (0, text.to_owned()));
    }
}

#[test]
fn health_is_the_servers_own_word() {
    let gateway = Gateway::start();
    assert_eq!(gateway.run("health"), (0, "alive\n".to_owned()));
    let url = gateway.url.clone();
    drop(gateway);
    assert_eq!(run_at(&url, "health").0, 4);
    let (code, text) = run_at(&url, "breaker status");
    assert_eq!(code, 4);
    assert!(text.contains(&url), "{text}");
}

#[actix_web::test]
async fn the_demo_plays_its_sample_and_leaves_the_server_up() {
    let screen = Screen::default();
    let end = Arc::clone(&screen.last_word);
    let settings = Settings::load(&Inputs::default()).unwrap();
    let launch = |_, on_ready: demo::OnReady| async {
        serve(on_ready, end).await;
        Ok(())
    };
    demo::stage(settings, launch, &mut Out::plain(Box::new(screen.clone()))).await.unwrap();
    let text = screen.text();
    assert!(text.contains("buy 103 AAPL in 2 slices over half a minute"), "{text}");
    assert!(text.contains("The parent is completed. What it cost:"), "{text}");
    assert!(text.contains("against the interval TWAP 100.1: the same"), "{text}");
    assert!(text.ends_with("Ctrl-C ends it.\n"), "{text}");
}

#[actix_web::test]
async fn a_demo_whose_server_does_not_start_says_why() {
    let settings = Settings::load(&Inputs::default()).unwrap();
    let launch = |_, _| async { Err(LaunchError::GaveUp { detail: "no disk".to_owned() }) };
    let error = demo::stage(settings, launch, &mut Out::nowhere()).await.unwrap_err();
    assert_eq!(error.code(), 70);
    assert!(error.to_string().contains("no disk"));
}
