//! How the program begins and ends: what stops a start, what a signal does, and the demo.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::house::{Api, House, Outcome, SOON, answer, eventually};
use crate::report::{assert_adds_up, assert_books_agree, text};

fn single(id: &str) -> Value {
    json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market", "client_order_id": id})
}

/// A start that has to fail with this exit code, with what it says.
#[track_caller]
fn refused(command: &mut Command, code: i32) -> String {
    let outcome = Outcome::of(command.arg("serve"));
    assert_eq!(outcome.code, code, "{outcome:?}");
    outcome.stderr
}

#[tokio::test]
async fn a_first_signal_drains_and_ends_with_success() {
    // Long enough that a busy machine asks while it drains.
    let house = House::new(&[
        ("broker.paper.latency_ms", "5000"),
        ("broker.timeout_ms", "20000"),
        ("actors.drain_ms", "30000"),
        ("execution.submit_wait_ms", "0"),
    ]);
    let mut server = house.serve().await;
    let api = server.api.clone();
    let (status, order) = api.post("/api/v1/orders", &single("flying")).await;
    assert_eq!(status, 201, "{order}");
    eventually("the order is at the broker", SOON, async || (house.book().orders.len() == 1).then_some(())).await;
    server.signal(Signal::TERM);
    server.line("draining", SOON);
    eventually("new work is refused", SOON, async || {
        let (status, answer) = api.post("/api/v1/orders", &single("late")).await;
        (status == 503 && answer["code"] == "draining").then_some(())
    })
    .await;
    let (status, ready) = api.get("/readyz").await;
    assert_eq!((status, &ready["ready"]), (503, &json!(false)), "{ready}");
    assert_eq!(server.ended(SOON).await.code(), Some(0), "{}", server.log());
    server.line("stopped", SOON);

    let rows = house.query("SELECT json_object('id', client_order_id, 'status', status) FROM orders").await;
    assert_eq!(rows.len(), 1, "what was refused was not stored: {rows:?}");
    assert!(rows[0]["status"] == "filled" || rows[0]["status"] == "accepted", "its answer was waited for: {rows:?}");
    let server = house.serve().await;
    assert_books_agree(&house, &server.api).await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_the_next_start_recovers() {
    let house = House::new(&[
        ("broker.paper.latency_ms", "5000"),
        ("broker.timeout_ms", "20000"),
        ("actors.drain_ms", "30000"),
        ("execution.submit_wait_ms", "0"),
        ("execution.claim_seconds", "1"),
    ]);
    let mut server = house.serve().await;
    let (status, order) = server.api.post("/api/v1/orders", &single("flying")).await;
    assert_eq!(status, 201, "{order}");
    eventually("the order is at the broker", SOON, async || (house.book().orders.len() == 1).then_some(())).await;
    server.signal(Signal::INT);
    server.line("draining", SOON);
    assert!(server.has_ended().is_none(), "it waits for the order");
    let began = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended(Duration::from_secs(2)).await;
    assert!(status.code() != Some(0) && began.elapsed() < Duration::from_secs(2), "{status}");
    let mut house = house;
    house.set("broker.paper.latency_ms", "10");
    let server = house.serve().await;
    eventually("the order is found", SOON, async || {
        (server.api.order("flying").await["status"] == "filled").then_some(())
    })
    .await;
    assert_books_agree(&house, &server.api).await;
}

#[tokio::test]
async fn a_second_instance_on_the_same_folder_is_refused_with_the_first_ones_process_id() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let told = refused(&mut house.program(), 1);
    let pid = server.pid().as_raw_nonzero().to_string();
    assert!(told.contains(&format!("process {pid}")), "{told}");
    assert_eq!(server.api.get("/livez").await.0, 200, "the first goes on");
    drop(server);
    house.serve().await;
}

#[tokio::test]
async fn a_taken_port_is_refused_by_its_address() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let told =
        refused(House::new(&[("http.bind", &address)]).program().env("TRANCHE__STORAGE__URL", "sqlite://elsewhere"), 1);
    assert!(told.contains(&address) && told.contains("taken"), "{told}");
}

#[tokio::test]
async fn beyond_this_machine_a_key_is_needed_to_start_and_to_be_served() {
    let mut house = House::new(&[("http.bind", "0.0.0.0:0")]);
    let told = refused(&mut house.program(), 2);
    assert!(told.contains("ADMIN_KEY_FILE"), "the refusal names what mends it: {told}");

    let key = "correct-horse-battery-staple-0123456789";
    let file = house.path().join("key");
    std::fs::write(&file, format!("{key}\n")).unwrap();
    house.set("auth.admin_key_file", file.to_str().unwrap());
    let server = house.listen();
    let port = server.api.base.rsplit(':').next().unwrap();
    let api = Api::new(&format!("127.0.0.1:{port}"));
    eventually("the server is ready, and says so to everybody", SOON, async || {
        (api.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
    for path in ["/api/v1/orders", "/api/v1/status", "/api/v1/kill-switch/status", "/metrics"] {
        let (status, problem) = api.get(path).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthorised")), "{path}: {problem}");
        let wrong = answer(api.request("GET", path).bearer_auth("correct-horse-battery-staple-0123456788")).await;
        assert_eq!(wrong.0, 401, "{path}");
        let right = answer(api.request("GET", path).bearer_auth(key)).await;
        assert_eq!(right.0, 200, "{path}: {}", right.1);
    }
    let (status, problem) = api.post("/api/v1/orders", &single("x")).await;
    assert_eq!(status, 401, "{problem}");
    let (status, problem) = api.post("/api/v1/kill-switch/engage", &json!({"operator": "a", "reason": "b"})).await;
    assert_eq!(status, 401, "{problem}");
    let rows = house.rows().await;
    assert_eq!(rows, 0, "nothing was stored for strangers");
    let sent = answer(api.request("POST", "/api/v1/orders").bearer_auth(key).json(&single("x"))).await;
    assert_eq!(sent.0, 201, "{}", sent.1);
    for path in ["/livez", "/healthz"] {
        assert_eq!(api.get(path).await.0, 200);
    }
    let with_key = |name: &str, value: &str| {
        Outcome::of(house.program().env("TRANCHE_URL", &api.base).env(name, value).args(["kill", "status"]))
    };
    assert_eq!(with_key("TRANCHE_KEY_FILE", file.to_str().unwrap()).code, 0);
    assert_eq!(with_key("TRANCHE_KEY", "another key").code, 3);
    assert!(!server.log().contains(key), "the key is not in the log");
}

#[tokio::test]
async fn a_ledger_of_a_newer_program_stops_the_start_with_the_reason() {
    let house = House::new(&[]);
    house.serve().await.stop().await;
    let options = SqliteConnectOptions::new().filename(house.file("ledger.db"));
    let mut ledger = options.connect().await.unwrap();
    let columns = sqlx::query_scalar::<_, String>("SELECT group_concat(name) FROM pragma_table_info('schema_version')");
    let columns = columns.fetch_one(&mut ledger).await.unwrap();
    assert!(columns.contains("version"), "{columns}");
    let newest = "UPDATE schema_version SET version = 9000 WHERE version = (SELECT max(version) FROM schema_version)";
    sqlx::raw_sql(newest).execute(&mut ledger).await.unwrap();
    ledger.close().await.unwrap();
    let told = refused(&mut house.program(), 1);
    assert!(told.contains("9000") && told.contains("newer than this program"), "{told}");
}

#[tokio::test]
async fn pending_migrations_that_may_not_run_unasked_stop_the_start() {
    let house = House::new(&[("storage.migrate_on_start", "false")]);
    let told = refused(&mut house.program(), 1);
    assert!(told.contains("migrat"), "{told}");
    assert_eq!(Outcome::of(house.program().args(["config", "check"])).code, 0);
}

/// A demo with what it prints, killed when the value goes.
struct Demo {
    child: Child,
    lines: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Demo {
    fn start(house: &House, bind: &str) -> Self {
        let mut command = house.program();
        command.env("TRANCHE__HTTP__BIND", bind).arg("demo").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (stdout, sink) = (child.stdout.take().unwrap(), std::sync::Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                sink.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    async fn until_said(&self, what: &str, within: Duration) -> String {
        eventually(what, within, async || {
            let said = self.said();
            said.contains(what).then_some(said)
        })
        .await
    }

    /// Where it is up.
    async fn api(&self) -> Api {
        let said = self.until_said("tranche is up at http://", SOON).await;
        let rest = said.split("tranche is up at http://").nth(1).unwrap();
        Api::new(rest.split(',').next().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("-- what the demo said:\n{}\n--", self.said());
        }
    }
}

#[tokio::test]
async fn the_demo_works_twice_at_once_from_start_to_end_and_leaves_its_server_up() {
    let house = House::new(&[]);
    // A port whose next one is likely to be free, too.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bind = format!("127.0.0.1:{port}");
    let began = Instant::now();
    let first = Demo::start(&house, &bind);
    let first_api = first.api().await;
    assert_eq!(first_api.base, format!("http://{bind}"));
    let second = Demo::start(&house, &bind);
    let second_api = second.api().await;
    assert_ne!(first_api.base, second_api.base);
    assert!(second.said().contains(&format!("{bind} is taken")), "{}", second.said());
    for (demo, api) in [(&first, &first_api), (&second, &second_api)] {
        let said = demo.until_said("Ctrl-C ends it.", Duration::from_secs(60)).await;
        assert!(said.contains("The parent is completed"), "{said}");
        assert!(said.contains("arrival price") && said.to_lowercase().contains("twap"), "what it cost: {said}");
        assert!(said.contains(&format!("curl -s {}/api/v1/orders/", api.base)), "{said}");
        let parents = api.all("/api/v1/orders?kind=parent").await;
        assert_eq!(parents.len(), 1);
        assert_adds_up(&parents[0], &api.slices(&text(&parents[0]["parent_order_id"])).await);
    }
    assert!(began.elapsed() < Duration::from_secs(55), "about half a minute: {:?}", began.elapsed());
    for demo in [first, second] {
        let mut demo = demo;
        kill_process(Pid::from_child(&demo.child), Signal::INT).unwrap();
        let status = eventually("the demo has ended", SOON, async || demo.child.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0));
    }
}
