//! The switches in a real Redis, beside programs that we did not write: `redis-cli`, and Python's JSON.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tranche_servers::Server as Redis;

use crate::house::{Api, House, Outcome, SOON, eventually};

const KILL: &str = "kill_switch:state";
const BREAKER: &str = "circuit_breaker:state";

/// As another program's engagement looks: other order, spaces, a field of its own, a number that no float holds.
const ENGAGED: &str = r#"{ "engagement_reason":"Pr\u00fcfung" , "state" : "ENGAGED",
  "own": {"n": 12345678901234567890.10, "list": [ ]}, "engaged_by": "j\u00fcrgen",
  "engaged_at": "2026-11-20T09:00:00.250000+00:00", "engagement_details": null, "engagement_count_today": 3 }"#;

fn cli(redis: &Redis, words: &[&str]) -> String {
    let outcome = Outcome::of(Command::new("redis-cli").args(["-u", redis.url(), "--raw"]).args(words));
    outcome.ok().trim_end_matches('\n').to_owned()
}

/// Bytes go in by the standard input, so that no shell touches them.
fn put(redis: &Redis, key: &str, value: &str) {
    let mut command = Command::new("redis-cli");
    command.args(["-u", redis.url(), "-x", "SET", key]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What Python's JSON makes of a value that it is given as JSON.
fn by_python(value: &Value) -> String {
    let program = "import json,sys; sys.stdout.write(json.dumps(json.loads(sys.argv[1])))";
    Outcome::of(Command::new("python3").args(["-c", program, &value.to_string()])).ok()
}

fn read_by_python(redis: &Redis, key: &str, expression: &str) -> String {
    let program = format!("import json,sys,datetime; v=json.loads(sys.argv[1]); print({expression})");
    Outcome::of(Command::new("python3").args(["-c", &program, &cli(redis, &["GET", key])])).ok().trim().to_owned()
}

fn house_at(redis: &Redis) -> House {
    House::new(&[("redis.url", redis.url()), ("kill_switch.settle_ms", "100"), ("breaker.quiet_period_seconds", "1")])
}

async fn state(api: &Api, switch: &str) -> Value {
    api.get(&format!("/api/v1/{switch}/status")).await.1
}

async fn until_state(api: &Api, switch: &str, word: &str) -> Value {
    eventually(&format!("{switch} is {word}"), SOON, async || {
        let view = state(api, switch).await;
        (view["state"] == word).then_some(view)
    })
    .await
}

/// What a key holds, once it has this in it: an answer comes before a Redis that is slow.
async fn until_told(redis: &Redis, key: &str, part: &str) -> String {
    eventually(&format!("{key} tells {part}"), SOON, async || {
        let told = cli(redis, &["GET", key]);
        told.contains(part).then_some(told)
    })
    .await
}

#[tokio::test]
async fn a_strangers_words_stop_us_and_let_us_go_and_ours_can_be_read() {
    let redis = Redis::redis();
    let house = house_at(&redis);
    let server = house.serve().await;
    let api = &server.api;
    assert!(cli(&redis, &["GET", KILL]).contains("\"ACTIVE\""), "the first start creates it");

    put(&redis, KILL, ENGAGED);
    let view = until_state(api, "kill-switch", "ENGAGED").await;
    assert_eq!((&view["engaged_by"], &view["mode"]), (&json!("jürgen"), &json!("cancel")));
    let release = by_python(&json!({
        "disengaged_by": "Zoë", "state": "ACTIVE", "disengaged_at": "2026-11-20T09:01:00+00:00", "x": {},
        "engaged_at": "2026-11-20T09:00:00.250000+00:00",
    }));
    assert!(release.contains("Zo\\u00eb") && release.contains(": "), "{release}");
    put(&redis, KILL, &release);
    until_state(api, "kill-switch", "ACTIVE").await;
    server.until_trading().await;

    put(
        &redis,
        BREAKER,
        &by_python(&json!({"trip_reason": "ä", "tripped_at": "2026-11-20T09:02:00+00:00", "state": "TRIPPED"})),
    );
    until_state(api, "circuit-breaker", "TRIPPED").await;
    // A reset counts once Redis was seen holding the trip, which is written down by then.
    eventually("the trip is written down", SOON, async || {
        let (_, history) = api.get("/api/v1/circuit-breaker/history").await;
        history["items"].to_string().contains("TRIPPED").then_some(())
    })
    .await;
    let reset = json!({"state": "QUIET_PERIOD", "reset_by": "Bob", "reset_at": "2026-11-20T09:03:00+00:00", "tripped_at": null});
    put(&redis, BREAKER, &by_python(&reset));
    until_state(api, "circuit-breaker", "OPEN").await;
    server.until_trading().await;

    // Ours, over theirs: what is not ours to say stays as it was written.
    put(&redis, KILL, &ENGAGED.replace("ENGAGED", "ACTIVE"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    api.engage("halt").await;
    let told = until_told(&redis, KILL, "\"ENGAGED\"").await;
    assert!(told.contains("\"own\":{\"n\": 12345678901234567890.10, \"list\": [ ]}"), "{told}");
    let at = "datetime.datetime.fromisoformat(v['engaged_at']).utcoffset()";
    assert_eq!(read_by_python(&redis, KILL, &format!("v['state'], v['engaged_by'], {at}")), "ENGAGED ann 0:00:00");
    api.disengage().await;
    let last = cli(&redis, &["LINDEX", "kill_switch:history", "-1"]);
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["event"], &last["operator"]), (&json!("DISENGAGED"), &json!("ann")));
    let (status, tripped) =
        api.post("/api/v1/circuit-breaker/trip", &json!({"operator": "ann", "reason": "MANUAL"})).await;
    assert_eq!(status, 200, "{tripped}");
    until_told(&redis, BREAKER, "\"TRIPPED\"").await;
    let reason = "it was a drill, and it is over";
    let (status, quiet) =
        api.post("/api/v1/circuit-breaker/reset", &json!({"operator": "ann", "reason": reason})).await;
    assert_eq!(status, 200, "{quiet}");
    let newest = cli(&redis, &["ZRANGE", "circuit_breaker:trip_history", "-1", "-1", "WITHSCORES"]);
    let (entry, score) = newest.split_once('\n').unwrap();
    let entry: Value = serde_json::from_str(entry).unwrap();
    assert_eq!((&entry["reason"], &entry["reset_by"]), (&json!("MANUAL"), &json!("ann")));
    assert!(score.parse::<f64>().unwrap() > 1.7e9, "{score}");
}

#[tokio::test]
async fn histories_keep_their_last_1000_entries() {
    let redis = Redis::redis();
    let fill = "for i=1,1200 do redis.call('RPUSH','kill_switch:history','old'..i) \
                redis.call('ZADD','circuit_breaker:trip_history',i,'old'..i) end";
    cli(&redis, &["EVAL", fill, "0"]);
    let house = house_at(&redis);
    let server = house.serve().await;
    server.api.engage("halt").await;
    server.api.post("/api/v1/circuit-breaker/trip", &json!({"operator": "ann", "reason": "MANUAL"})).await;
    assert_eq!(cli(&redis, &["LLEN", "kill_switch:history"]), "1000");
    assert_eq!(cli(&redis, &["LINDEX", "kill_switch:history", "0"]), "old202");
    assert_eq!(cli(&redis, &["ZCARD", "circuit_breaker:trip_history"]), "1000");
    assert_eq!(cli(&redis, &["ZRANGE", "circuit_breaker:trip_history", "0", "0"]), "old202");
}

#[tokio::test]
async fn a_flush_or_an_old_snapshot_while_engaged_stays_shut_and_a_missing_key_needs_an_operator() {
    let redis = Redis::redis();
    let house = house_at(&redis);
    let server = house.serve().await;
    let before = cli(&redis, &["GET", KILL]);
    server.api.engage("cancel").await;
    cli(&redis, &["FLUSHALL"]);
    server.kill();
    cli(&redis, &["FLUSHALL"]);
    let server = house.listen();
    server.until_ready().await;
    assert_eq!(until_state(&server.api, "kill-switch", "ENGAGED").await["engaged_by"], "ann");
    put(&redis, KILL, &before);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(state(&server.api, "kill-switch").await["state"], "ENGAGED");
    server.api.disengage().await;

    cli(&redis, &["FLUSHALL"]);
    let view = until_state(&server.api, "kill-switch", "UNKNOWN").await;
    assert!(view["unknown_because"].as_str().unwrap().contains("missing"), "{view}");
    assert_eq!(server.api.get("/readyz").await.1["trading_allowed"], false);
    assert_eq!(cli(&redis, &["EXISTS", KILL, BREAKER]), "0", "nobody makes it up");
    let told = Outcome::of(house.program().args(["switches", "init"])).ok();
    assert!(told.contains("kill_switch:state: ACTIVE") && told.contains("circuit_breaker:state: OPEN"), "{told}");
    server.until_trading().await;
    let again = Outcome::of(house.program().args(["switches", "init"]));
    assert_eq!(again.code, 1, "{again:?}");
}

#[tokio::test]
async fn without_redis_everything_is_shut_within_a_second_and_goes_on_when_it_is_back() {
    let mut redis = Redis::redis();
    let house = house_at(&redis);
    let server = house.serve().await;
    let api = &server.api;
    let body = json!({
        "symbol": "AAPL", "side": "buy", "qty": "80", "order_type": "market", "duration_seconds": 8, "interval_seconds": 1,
        "client_order_id": "works",
    });
    api.slice(body).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    redis.kill();
    let killed = Instant::now();
    let mut slowest = Duration::ZERO;
    eventually("the gate is shut", Duration::from_secs(1), async || {
        let began = Instant::now();
        let (_, ready) = api.get("/readyz").await;
        slowest = slowest.max(began.elapsed());
        (ready["trading_allowed"] == false).then_some(())
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(1));
    until_state(api, "kill-switch", "UNKNOWN").await;
    let view = api.get("/readyz").await.1;
    assert_eq!(view["parts"]["redis"]["status"], "down", "{view}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waiting = api.slices("works").await;
    assert!(waiting.iter().all(|slice| slice["status"] != "blocked_kill_switch"), "what is due waits");

    let engaged = api.engage("halt").await;
    assert_eq!(engaged["not_durable"], json!(["redis"]));
    let (status, refused) = api.post("/api/v1/kill-switch/disengage", &json!({"operator": "ann"})).await;
    assert_eq!((status, &refused["code"]), (503, &json!("switchboard_unavailable")), "{refused}");
    redis.start();
    eventually("Redis is told", SOON, async || cli(&redis, &["GET", KILL]).contains("ENGAGED").then_some(())).await;
    api.disengage().await;
    redis.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    redis.start();
    let back = Instant::now();
    server.until_trading().await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    api.until_ended("works", SOON).await;
}

#[tokio::test]
async fn a_redis_that_is_frozen_slows_no_request() {
    let mut redis = Redis::redis();
    let house = house_at(&redis);
    let server = house.serve().await;
    let order = |n: u32| json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market", "client_order_id": format!("o-{n}")});
    let timed = async |from: u32| {
        let mut times = Vec::new();
        for n in from..from + 20 {
            let began = Instant::now();
            server.api.post("/api/v1/orders", &order(n)).await;
            times.push(began.elapsed());
        }
        times.sort();
        times[10]
    };
    let usual = timed(0).await;
    redis.freeze();
    let frozen = timed(100).await;
    redis.thaw();
    assert!(frozen < usual + Duration::from_millis(50), "{frozen:?} after {usual:?}");
}

#[tokio::test]
async fn of_two_gateways_that_engage_at_once_one_wins() {
    let redis = Redis::redis();
    let (one, two) = (house_at(&redis), house_at(&redis));
    let first = one.serve().await;
    let second = two.serve().await;
    // The same operator in the same microsecond would be one engagement.
    let engage = async |api: &Api, operator: &str| {
        let body = json!({"operator": operator, "reason": "a drill", "mode": "halt"});
        api.post("/api/v1/kill-switch/engage", &body).await
    };
    let (mine, yours) = futures_util::join!(engage(&first.api, "ann"), engage(&second.api, "bob"));
    let mut codes = [mine.0, yours.0];
    codes.sort_unstable();
    assert_eq!(codes, [200, 409], "{mine:?} {yours:?}");
    let told = read_by_python(&redis, KILL, "v['engaged_at']");
    for api in [&first.api, &second.api] {
        let view = until_state(api, "kill-switch", "ENGAGED").await;
        assert_eq!(view["engaged_at"].as_str().unwrap().trim_end_matches('Z'), told.trim_end_matches("+00:00"));
    }
    first.api.disengage().await;
    until_state(&second.api, "kill-switch", "ACTIVE").await;
}
