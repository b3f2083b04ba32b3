//! Two instances on one PostgreSQL, at one double, each with keys of its own there: the journal tells who sent.

use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::stream::{self, StreamExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use tranche_servers::Database;

use super::double::{Double, KEY, at};
use super::{AMPLE, QUICK};
use crate::chance::{Chance, number, seed};
use crate::house::{Api, House, SOON, Server, eventually};
use crate::report::text;

mod stopping;

const ACCOUNTS: [&str; 4] = ["default", "second", "third", "fourth"];
/// The keys of the first instance and of the second, one for each account.
const FIRST: [&str; 4] = [KEY.0, "PKFIRST2", "PKFIRST3", "PKFIRST4"];
const SECOND: [&str; 4] = ["PKSECOND1", "PKSECOND2", "PKSECOND3", "PKSECOND4"];
/// A lease in these tests, and how often it is renewed: three tenths of what they are in life.
const LEASE: Duration = Duration::from_secs(3);
const RENEWAL: &str = "0.9";
/// Three tenths of 12 s, and what a busy machine adds to a recovery; how long it took is printed.
const TAKEN_OVER: Duration = Duration::from_millis(3_600 + 20_000);

/// So many clients ask at once.
const CLIENTS: usize = 32;

/// Two houses at one database and one double, with the same accounts.
struct Two {
    double: Double,
    _database: Database,
    houses: [House; 2],
}

impl Two {
    fn new() -> Self {
        Self::with(&[])
    }

    /// The same with a double that works by these options too.
    fn with(of_double: &[&str]) -> Self {
        // The double knows the first key of all by itself, and calls the first account so.
        let keys = FIRST.iter().zip(ACCOUNTS).skip(1).chain(SECOND.iter().zip(ACCOUNTS));
        let keys = keys.map(|(key, account)| match account {
            "default" => format!("{key}:secret"),
            _ => format!("{key}:secret:{account}"),
        });
        let keys = keys.collect::<Vec<_>>();
        let mut options = [&AMPLE, of_double].concat();
        for key in &keys {
            options.extend(["--key", key.as_str()]);
        }
        let (double, database) = (Double::start(&options), Database::new());
        let seconds = LEASE.as_secs().to_string();
        let houses = [FIRST, SECOND].map(|keys| {
            let mut house = double.house(&QUICK);
            house.set("storage.url", database.url());
            house.set("lease.seconds", &seconds);
            house.set("lease.renew_seconds", RENEWAL);
            if keys[0] != KEY.0 {
                house.set("broker.alpaca.key_id", keys[0]);
                house.set("broker.alpaca.secret_key", "secret");
            }
            for (account, key) in ACCOUNTS.iter().zip(keys).skip(1) {
                house.set(&format!("accounts.{account}.broker.alpaca.key_id"), key);
                house.set(&format!("accounts.{account}.broker.alpaca.secret_key"), "secret");
            }
            house
        });
        Self { double, _database: database, houses }
    }

    /// The first instance owns all accounts, the second one stands by.
    async fn serve(&self) -> (Server, Server) {
        let first = self.houses[0].serve().await;
        until_owner(&first.api, &id_of(&first.api).await, SOON).await;
        let second = self.houses[1].listen();
        second.until_ready().await;
        (first, second)
    }

    /// How many orders were sent by one of these keys since then.
    fn sent_by(&self, keys: &[&str], since: chrono::DateTime<Utc>) -> usize {
        let sent = self.double.requests("submit").into_iter();
        sent.filter(|line| keys.contains(&line["key"].as_str().unwrap()) && at(line) > since).count()
    }
}

async fn id_of(api: &Api) -> String {
    text(&api.get("/api/v1/status").await.1["instance"])
}

async fn owners(api: &Api) -> Vec<Value> {
    let (_, status) = api.get("/api/v1/status").await;
    status["accounts"].as_array().unwrap().iter().map(|account| account["owner"].clone()).collect()
}

async fn until_owner(api: &Api, instance: &str, within: Duration) {
    eventually("it owns all accounts, and may send", within, async || {
        let (_, status) = api.get("/api/v1/status").await;
        let accounts = status["accounts"].as_array().unwrap();
        let is_ours = |account: &Value| account["owner"] == instance && account["reasons"] == json!([]);
        (accounts.len() == ACCOUNTS.len() && accounts.iter().all(is_ours)).then_some(())
    })
    .await;
}

/// So many parents, each with so many slices so far apart.
#[derive(Clone, Copy)]
struct Work {
    parents: u64,
    slices: u64,
    interval: u64,
}

impl Work {
    /// Enough for so many seconds, and no more than a machine bears that tests something else besides.
    fn of(parents: u64, seconds: u64) -> Self {
        let interval = (parents / 40).max(1);
        Self { parents, slices: seconds.div_ceil(interval), interval }
    }

    fn orders(self) -> usize {
        usize::try_from(self.parents * self.slices).unwrap()
    }

    /// Parents of all accounts in turn, submitted at one instance.
    async fn submit(self, api: &Api, prefix: &str) -> Vec<String> {
        let Self { parents, slices, interval } = self;
        let ids = (0..parents).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        let sent = ids.iter().zip(ACCOUNTS.iter().cycle()).map(async |(id, account)| {
            let body = json!({"symbol": "AAPL", "side": "buy", "qty": slices * 2, "duration_seconds": slices * interval,
                "interval_seconds": interval, "order_type": "market", "client_order_id": id, "account": account});
            // As any client does: who is told to try again does, under the same id.
            eventually("the parent is taken", SOON, async || {
                let (status, answer) = api.post("/api/v1/orders/slice", &body).await;
                assert!(matches!(status, 200 | 201 | 503), "{status} {answer}");
                (status != 503).then_some(())
            })
            .await;
        });
        stream::iter(sent).buffered(CLIENTS).collect::<Vec<_>>().await;
        ids
    }
}

/// Every slice was sent once, and traded.
async fn all_traded(two: &Two, api: &Api, parents: &[String], work: Work) {
    for parent in parents {
        let ended = api.until_ended(parent, Duration::from_secs(60)).await;
        assert_eq!(ended["status"], "completed", "{ended}");
        let statuses = api.slices(parent).await.into_iter().map(|slice| slice["status"].clone()).collect::<Vec<_>>();
        assert_eq!(statuses.len(), usize::try_from(work.slices).unwrap());
        assert!(statuses.iter().all(|status| status == "filled"), "{parent}: {statuses:?}");
    }
    // Two orders under one id fail in there.
    let orders = two.double.orders().len();
    assert_eq!(orders, work.orders());
    println!("{orders} orders of {} parents at the venue, none lost, none twice", parents.len());
}

#[tokio::test]
async fn accounts_are_taken_over_from_an_instance_that_was_killed_and_no_slice_is_lost_or_sent_twice() {
    let (kills, parents) = (number("OUTSIDE_TAKEOVERS").unwrap_or(2), number("OUTSIDE_PARENTS").unwrap_or(6));
    let mut chance = Chance(seed());
    let two = Two::new();
    let (mut owner, mut standby) = two.serve().await;
    let mut houses = [&two.houses[0], &two.houses[1]];
    let work = Work::of(parents, 4 + kills * 4);
    // Asked at the instance that owns nothing, which hands it on.
    let ids = work.submit(&standby.api, "worked").await;
    for _ in 0..kills {
        tokio::time::sleep(chance.millis(300, 1_500)).await;
        owner.kill();
        let killed = Instant::now();
        until_owner(&standby.api, &id_of(&standby.api).await, TAKEN_OVER).await;
        println!("taken over after {:?}", killed.elapsed());
        let next = houses[0].listen();
        next.until_ready().await;
        (owner, standby) = (standby, next);
        houses.reverse();
    }
    all_traded(&two, &owner.api, &ids, work).await;
    drop(standby);
}

#[tokio::test]
async fn a_frozen_owner_is_deposed_and_wakes_up_sending_nothing() {
    let (times, parents) = (number("OUTSIDE_FREEZES").unwrap_or(1), number("OUTSIDE_PARENTS").unwrap_or(6));
    let mut chance = Chance(seed());
    let two = Two::new();
    let (mut owner, mut standby) = two.serve().await;
    let mut keys = [FIRST, SECOND];
    let work = Work::of(parents, 5 + times * 8);
    let ids = work.submit(&owner.api, "worked").await;
    for _ in 0..times {
        tokio::time::sleep(chance.millis(300, 1_500)).await;
        owner.signal(Signal::STOP);
        until_owner(&standby.api, &id_of(&standby.api).await, TAKEN_OVER).await;
        tokio::time::sleep(LEASE).await;
        let woken = Utc::now();
        owner.signal(Signal::CONT);
        let new = id_of(&standby.api).await;
        eventually("it stands by", SOON, async || {
            let (_, status) = owner.api.get("/api/v1/status").await;
            let accounts = status["accounts"].as_array().unwrap();
            let is_out =
                |account: &Value| account["reasons"].as_array().is_some_and(|all| all.contains(&json!("not_owner")));
            accounts.iter().all(is_out).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(two.sent_by(&keys[0], woken), 0, "a deposed owner sends nothing");
        assert!(two.sent_by(&keys[1], woken - LEASE) > 0, "the new one does");
        assert_eq!(owners(&owner.api).await, vec![json!(new); ACCOUNTS.len()]);
        std::mem::swap(&mut owner, &mut standby);
        keys.reverse();
    }
    all_traded(&two, &owner.api, &ids, work).await;
}

#[tokio::test]
async fn a_cancel_at_the_instance_that_does_not_own_the_account_meets_a_slice_with_one_outcome() {
    let parents = number("OUTSIDE_CANCELS").unwrap_or(20);
    let mut chance = Chance(seed());
    let two = Two::new();
    let (owner, standby) = two.serve().await;
    // A slice is due each second from when its parent was taken; the answer and the cancel take a part of the first one, or
    // all of it where the machine is busy.
    let ids = (0..parents).map(|n| (n, chance.millis(0, 1_000))).collect::<Vec<_>>();
    let canceled = ids.iter().map(async |(n, delay)| {
        tokio::time::sleep(Duration::from_millis(n % 20 * 40)).await;
        let id = Work::of(1, 4).submit(&owner.api, &format!("raced{n}-")).await.remove(0);
        tokio::time::sleep(*delay).await;
        let (status, counts) = standby.api.delete(&format!("/api/v1/orders/{id}/slices")).await;
        assert!(status == 200 || (status == 409 && counts["code"] == "parent_terminal"), "{status} {counts}");
        (id, status == 200)
    });
    let mut stopped = 0;
    for (id, taken) in stream::iter(canceled).buffered(CLIENTS).collect::<Vec<_>>().await {
        let ended = owner.api.until_ended(&id, SOON).await;
        let (theirs, ours) = (two.double.orders(), owner.api.slices(&id).await);
        for slice in &ours {
            let sent = theirs.get(&text(&slice["client_order_id"]));
            match slice["status"].as_str().unwrap() {
                "filled" => assert_eq!(sent.unwrap()["row"]["status"], "filled", "{slice}"),
                "canceled" => {
                    stopped += 1;
                    assert!(sent.is_none_or(|sent| sent["row"]["status"] == "canceled"), "{slice} {sent:?}");
                }
                _ => panic!("{slice}"),
            }
        }
        assert!(taken || ended["status"] == "completed", "{ended}");
    }
    assert!(stopped > 0 || parents < 5, "some cancels came first");
}
