//! The claim is on the disk before the broker's book takes the order: seen from the kernel's side.

use std::collections::BTreeMap;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::house::{House, PROGRAM, SOON, Server, eventually};
use crate::report::text;

/// A system call on a file, by the lines of the trace at which it began and ended.
#[derive(Debug)]
struct Call {
    name: String,
    file: String,
    data: String,
    began: usize,
    ended: usize,
    succeeded: bool,
}

/// Reads what `strace -f -y` wrote, with calls that others interrupted put together again.
fn read(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut open = BTreeMap::<&str, (usize, String)>::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, line)) = line.split_once(' ') else {
            continue;
        };
        let line = line.trim_start();
        if let Some(head) = line.strip_suffix("<unfinished ...>") {
            open.insert(thread, (number, head.to_owned()));
        } else if line.starts_with("<... ") {
            let Some((began, head)) = open.remove(thread) else {
                continue;
            };
            let tail = line.split_once("resumed>").map(|(_, tail)| tail).unwrap();
            calls.extend(call(&format!("{head}{tail}"), began, number));
        } else {
            calls.extend(call(line, number, number));
        }
    }
    calls
}

/// `name(3</path/of/the/file>, "data"…) = 24`
fn call(line: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (fd, rest) = rest.split_once('<')?;
    fd.parse::<u32>().ok()?;
    let (path, data) = rest.split_once('>')?;
    let (data, result) = data.rsplit_once(" = ")?;
    Some(Call {
        name: name.to_owned(),
        file: path.rsplit('/').next()?.to_owned(),
        data: data.to_owned(),
        began,
        ended,
        succeeded: !result.starts_with('-') && !result.starts_with('?'),
    })
}

#[tokio::test]
async fn the_claim_of_a_slice_is_synced_to_the_disk_before_the_book_of_the_broker_takes_the_order() {
    let house = House::new(&[]);
    let trace = house.path().join("trace");
    let mut command = Command::new("strace");
    house.settle_in(&mut command);
    command.args(["-f", "-y", "-qq", "-s", "70000", "-e", "signal=none", "-e"]);
    command.args(["trace=write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync", "-o"]);
    command.arg(&trace).args([PROGRAM, "serve"]);
    assert!(
        Command::new("strace").arg("-V").output().is_ok(),
        "this test watches system calls with strace, which is missing: apt-get install strace"
    );
    let server = Server::start(command);
    server.until_trading().await;
    let plan = server
        .api
        .slice(json!({
            "symbol": "AAPL", "side": "buy", "qty": "30", "order_type": "market",
            "duration_seconds": 3, "interval_seconds": 1, "client_order_id": "p",
        }))
        .await;
    server.api.until_ended("p", SOON).await;
    // strace would keep a signal to itself: it is the program that has to end.
    let lock = std::fs::read_to_string(house.file("tranche.lock")).unwrap();
    kill_process(Pid::from_raw(lock.trim().parse().unwrap()).unwrap(), Signal::TERM).unwrap();
    let mut server = server;
    eventually("the traced program has ended", SOON, async || server.has_ended()).await;

    let calls = read(&std::fs::read_to_string(&trace).unwrap());
    let slices = plan["slices"].as_array().unwrap();
    assert_eq!(slices.len(), 3);
    for slice in slices {
        let id = text(&slice["client_order_id"]);
        let writes = |file: &'static str| {
            calls.iter().filter(move |call| call.file == file && call.name.contains("write") && call.succeeded)
        };
        // The row of the order in the ledger: its id, and its status some columns further on.
        let claimed = |data: &str| {
            data.match_indices(&id)
                .any(|(at, _)| data[at..].chars().take(400).collect::<String>().contains("submitting"))
        };
        let claim = writes("ledger.db-wal")
            .find(|call| claimed(&call.data))
            .unwrap_or_else(|| panic!("no claim of {id} in the trace"));
        let taken = writes("paper-book.db-wal")
            .find(|call| call.data.contains(&id))
            .unwrap_or_else(|| panic!("the book never took {id}"));
        let synced = calls.iter().find(|call| {
            let syncs = call.name == "fdatasync" || call.name == "fsync";
            syncs && call.succeeded && call.file == "ledger.db-wal" && call.began > claim.ended
        });
        let synced = synced.unwrap_or_else(|| panic!("the claim of {id} was never synced"));
        assert!(
            synced.ended < taken.began,
            "{id}: claimed at line {}, synced at {}, taken at {}",
            claim.ended,
            synced.ended,
            taken.began
        );
        println!(
            "{id}: claim written at line {}, synced at line {}, taken by the book at line {}",
            claim.ended + 1,
            synced.ended + 1,
            taken.began + 1
        );
    }
}
