//! A server in a folder of its own, and the ways to look at it: over HTTP, through the command line, in its files.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::report::Book;

/// The built program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tranche");
/// How often something is asked for again.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for what should come at once, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Asks until there is an answer, and gives up after a bound.
pub(crate) async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < within, "after {} ms still not: {what}", within.as_millis());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self::under(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// A folder for what others do, whose disk is not ours to wait for: where the servers of the tests are, if that is set.
    pub(crate) fn of_others() -> Self {
        std::env::var_os("TEST_SERVERS_FOLDER").map_or_else(Self::new, |folder| Self::under(Path::new(&folder)))
    }

    fn under(path: &Path) -> Self {
        let name = format!("outside-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = path.join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind lies in the build folder.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its output, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Its output as JSON, if it succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// A place where servers run one after the other: its folder with its stores, and its settings.
pub(crate) struct House {
    folder: Folder,
    settings: Vec<(String, String)>,
}

impl House {
    /// `settings` are pairs of key and value, such as `("gate.poll_ms", "50")`.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let mut house = Self { folder: Folder::new(), settings: Vec::new() };
        house.set("http.bind", "127.0.0.1:0");
        house.set("log.format", "json");
        for (key, value) in settings {
            house.set(key, value);
        }
        house
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let name = format!("TRANCHE__{}", key.replace('.', "__").to_uppercase());
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join("data").join(name)
    }

    /// The program with the settings of this house.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        self.settle_in(&mut command);
        command
    }

    /// Makes a command run in this house: in its folder, with its settings, and with nothing of the caller's own set-up.
    pub(crate) fn settle_in(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("TRANCHE")
                || text.starts_with("APCA_")
                || text.starts_with("RUST_")
                || text.to_lowercase().ends_with("_proxy")
            {
                command.env_remove(&name);
            }
        }
        command.envs(self.settings.iter().cloned()).current_dir(self.path()).stdin(Stdio::null());
    }

    /// A server, as soon as it listens.
    pub(crate) fn listen(&self) -> Server {
        let mut command = self.program();
        command.arg("serve");
        Server::start(command)
    }

    /// A server that takes orders.
    pub(crate) async fn serve(&self) -> Server {
        let server = self.listen();
        server.until_trading().await;
        server
    }

    /// The paper broker's book, as its own command shows it.
    pub(crate) fn book(&self) -> Book {
        Book::of(Outcome::of(self.program().args(["paper", "book", "--json"])).json())
    }

    /// The ledger, for reading.
    pub(crate) async fn ledger(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.file("ledger.db"))
            .read_only(true)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        options.connect().await.unwrap()
    }

    /// Everything that one query says, row by row, as JSON.
    pub(crate) async fn query(&self, sql: &'static str) -> Vec<Value> {
        let rows = sqlx::query_scalar::<_, String>(sql).fetch_all(&mut self.ledger().await).await;
        rows.unwrap().iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// How many rows the tables of orders and their history have, together.
    pub(crate) async fn rows(&self) -> i64 {
        let sql = "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM parents) \
                   + (SELECT count(*) FROM order_events) + (SELECT count(*) FROM switch_history)";
        sqlx::query_scalar(sql).fetch_one(&mut self.ledger().await).await.unwrap()
    }
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    grew: Condvar,
}

/// A process of the program that serves. It is killed when the value goes.
pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    pub(crate) api: Api,
}

impl Server {
    /// Starts a command that ends in a server, and waits until that listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (writer, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                writer.lines.lock().unwrap().0.push(line);
                writer.grew.notify_all();
            }
            writer.lines.lock().unwrap().1 = true;
            writer.grew.notify_all();
        });
        let mut server = Self { child, log, api: Api::new("") };
        let line = server.line("listening", SOON);
        server.api = Api::new(line["address"].as_str().unwrap());
        server
    }

    /// The first line of the log with this message.
    pub(crate) fn line(&self, message: &str, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let parsed = lines.0.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(found) = parsed.into_iter().find(|line| line["message"] == message) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.1 {
                drop(lines);
                panic!("no line {message:?} in the log:\n{}", self.log());
            }
            lines = self.log.grew.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().unwrap().0.join("\n")
    }

    /// Waits until it serves, whether or not it may trade.
    pub(crate) async fn until_ready(&self) {
        eventually("the server is ready", SOON, async || (self.api.get("/readyz").await.0 == 200).then_some(())).await;
    }

    pub(crate) async fn until_trading(&self) {
        eventually("trading is allowed", SOON, async || {
            let (_, ready) = self.api.get("/readyz").await;
            (ready["trading_allowed"] == true).then_some(())
        })
        .await;
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// As the kernel does it when memory runs out.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end that was asked for.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        eventually("the process has ended", within, async || self.child.try_wait().unwrap()).await
    }

    /// Asks for a clean end, and gets it.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended(SOON).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let lines = log.lines().collect::<Vec<_>>();
            let from = lines.len().saturating_sub(60);
            eprintln!("-- the last lines of the server's log:\n{}\n--", lines[from..].join("\n"));
        }
    }
}

/// The HTTP interface of a server.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) base: String,
    client: reqwest::Client,
}

/// An answer: its status and its body.
pub(crate) type Answer = (u16, Value);

impl Api {
    pub(crate) fn new(address: &str) -> Self {
        tranche::tls::install();
        // A server closes a connection that was idle for 5 s, and what is sent on it at that moment is lost.
        let client = reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(2));
        let client = client.timeout(Duration::from_secs(60)).build().unwrap();
        Self { base: format!("http://{address}"), client }
    }

    /// A request under the path from the root.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        // A connection that was kept may be closed by the server at the same moment.
        let again = match self.request("GET", path).send().await {
            Ok(response) => return read(response).await,
            Err(failed) => {
                assert!(failed.is_request() && !failed.is_connect(), "{failed:?}");
                self.request("GET", path)
            }
        };
        answer(again).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request("POST", path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        answer(self.request("DELETE", path)).await
    }

    /// A request with a key, so that it may be repeated; `null` is no body.
    pub(crate) async fn keyed(&self, method: &str, path: &str, body: &Value, key: &str) -> Answer {
        let request = self.request(method, path).header("Idempotency-Key", key);
        answer(if body.is_null() { request } else { request.json(body) }).await
    }

    /// Submits a parent, which has to be taken.
    #[track_caller]
    pub(crate) fn slice(&self, body: Value) -> impl Future<Output = Value> {
        let api = self.clone();
        async move {
            let (status, plan) = api.post("/api/v1/orders/slice", &body).await;
            assert_eq!(status, 201, "{plan}");
            plan
        }
    }

    /// An order or a parent.
    pub(crate) async fn order(&self, id: &str) -> Value {
        let (status, order) = self.get(&format!("/api/v1/orders/{id}")).await;
        assert_eq!(status, 200, "{order}");
        order
    }

    pub(crate) async fn slices(&self, parent: &str) -> Vec<Value> {
        let (status, slices) = self.get(&format!("/api/v1/orders/{parent}/slices")).await;
        assert_eq!(status, 200, "{slices}");
        serde_json::from_value(slices).unwrap()
    }

    /// Every row of a list, page by page.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let and = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                Some(cursor) => format!("{path}{and}limit=500&cursor={cursor}"),
                None => format!("{path}{and}limit=500"),
            };
            let (status, body) = self.get(&page).await;
            assert_eq!(status, 200, "{body}");
            items.extend(body["items"].as_array().unwrap().iter().cloned());
            match body["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return items,
            }
        }
    }

    /// Waits until a parent has ended, and shows it.
    pub(crate) async fn until_ended(&self, parent: &str, within: Duration) -> Value {
        eventually("the parent has ended", within, async || {
            let parent = self.order(parent).await;
            (!parent["ended_at"].is_null()).then_some(parent)
        })
        .await
    }

    pub(crate) async fn engage(&self, mode: &str) -> Value {
        let body = json!({"operator": "ann", "reason": "a drill", "mode": mode});
        let (status, engaged) = self.post("/api/v1/kill-switch/engage", &body).await;
        assert_eq!(status, 200, "{engaged}");
        engaged
    }

    pub(crate) async fn disengage(&self) {
        let (status, state) = self.post("/api/v1/kill-switch/disengage", &json!({"operator": "ann"})).await;
        assert_eq!(status, 200, "{state}");
    }
}

/// Sends a request and reads what comes; what is no JSON is a text.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    read(request.send().await.unwrap()).await
}

async fn read(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
