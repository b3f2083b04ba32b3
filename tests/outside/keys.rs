//! Keys of the store: made and taken back beside a running server, on both databases, and with the next request.

use std::process::Command;

use serde_json::{Value, json};
use tranche_servers::Server as Database;

use crate::house::{Answer, Api, House, Outcome, SOON, answer, eventually};

fn keys(house: &House, words: &[&str]) -> Outcome {
    let mut program: Command = house.program();
    Outcome::of(program.arg("keys").args(words))
}

/// A key of that name, and its id.
fn add(house: &House, name: &str, role: &str) -> (String, String) {
    let made = keys(house, &["add", name, "--role", role, "--json"]).json();
    (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

async fn status(api: &Api, key: &str) -> Answer {
    answer(api.request("GET", "/api/v1/status").bearer_auth(key)).await
}

async fn post(api: &Api, key: &str, path: &str, body: &Value) -> Answer {
    answer(api.request("POST", path).bearer_auth(key).json(body)).await
}

async fn keys_come_and_go_beside(house: House) {
    let server = house.serve().await;
    assert_eq!(server.api.get("/api/v1/status").await.0, 200, "without a key this machine is let in");
    let (trader, _) = add(&house, "desk", "trader");
    let (operator, id) = add(&house, "ann", "operator");
    eventually("keys are asked for", SOON, async || (server.api.get("/api/v1/status").await.0 == 401).then_some(()))
        .await;
    assert_eq!(status(&server.api, &trader).await.0, 200);
    let engage = json!({"operator": "ann", "reason": "a drill"});
    assert_eq!(post(&server.api, &trader, "/api/v1/kill-switch/engage", &engage).await.0, 200);
    let release = json!({"operator": "ann"});
    assert_eq!(post(&server.api, &trader, "/api/v1/kill-switch/disengage", &release).await.0, 403);
    assert_eq!(post(&server.api, &operator, "/api/v1/kill-switch/disengage", &release).await.0, 200);

    let (_, audit) = answer(server.api.request("GET", "/api/v1/audit").bearer_auth(&operator)).await;
    let told = |entry: &Value| [&entry["action"], &entry["caller"]].map(|word| word.as_str().unwrap().to_owned());
    let told = audit["items"].as_array().unwrap().iter().map(told).collect::<Vec<_>>();
    let expected =
        [["kill_switch.disengage", "ann"], ["kill_switch.engage", "desk"], ["key.add", "shell"], ["key.add", "shell"]];
    assert_eq!(told, expected);

    keys(&house, &["revoke", &id]).ok();
    assert_eq!(status(&server.api, &operator).await.0, 401, "the very next request");
    assert_eq!(status(&server.api, &trader).await.0, 200);
    keys(&house, &["revoke", "desk"]).ok();
    assert_eq!(status(&server.api, &trader).await.0, 401);
    let again = keys(&house, &["revoke", "desk"]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert_eq!(server.api.get("/api/v1/status").await.0, 401, "it never opens again");
    let listed = keys(&house, &["list"]).ok();
    assert!(listed.contains("desk") && listed.contains("operator") && !listed.contains(&trader), "{listed}");
    for text in [&trader, &operator] {
        let secret = text.rsplit('_').next().unwrap();
        assert!(!server.log().contains(secret), "no secret is logged");
    }
    server.stop().await;
}

#[tokio::test]
async fn keys_are_made_and_taken_back_beside_a_running_server() {
    keys_come_and_go_beside(House::new(&[])).await;
}

#[tokio::test]
async fn keys_are_made_and_taken_back_beside_a_running_server_on_postgres() {
    let mut house = House::new(&[]);
    let database = Database::postgres();
    house.set("storage.url", &database.database("tranche"));
    keys_come_and_go_beside(house).await;
}

#[tokio::test]
async fn a_key_of_the_store_is_enough_to_serve_other_machines() {
    let house = House::new(&[("http.bind", "0.0.0.0:0")]);
    let refused = Outcome::of(&mut house.program());
    assert_eq!(refused.code, 2, "{}", refused.stdout);
    for reserved in ["admin", "local", "Ann", ""] {
        assert_eq!(keys(&house, &["add", reserved, "--role", "admin"]).code, 2, "{reserved:?}");
    }
    assert_eq!(keys(&house, &["list", "--json"]).json(), json!({"items": []}));
    let (key, _) = add(&house, "ann", "admin");
    let server = house.listen();
    let api = Api::new(&format!("127.0.0.1:{}", server.api.base.rsplit(':').next().unwrap()));
    eventually("the key lets in", SOON, async || (status(&api, &key).await.0 == 200).then_some(())).await;
    assert_eq!(api.get("/api/v1/status").await.0, 401);
    server.stop().await;
}
