//! PostgreSQL and Redis for tests and benchmarks, by `scripts/servers`.
//!
//! A test that only needs a place of its own takes a [`Database`] or a [`RedisDatabase`]: those share one server, the one
//! that `TEST_POSTGRES_URL` or `TEST_REDIS_URL` names, or else one that this process starts. A test that kills, stops or
//! flushes its server starts a [`Server`] of its own. Whatever was started here ends with this process, also when that is
//! killed: the script watches a pipe.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "without its server a test can't go on, and says which command would have helped"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Names a PostgreSQL server that tests may make databases in; its user has to be a superuser.
pub const POSTGRES_URL: &str = "TEST_POSTGRES_URL";

/// Names a Redis server whose databases, but for the first, tests may empty.
pub const REDIS_URL: &str = "TEST_REDIS_URL";

/// Set where the servers go with the command that runs the tests.
const PRIVATE: &str = "TEST_SERVERS_ARE_PRIVATE";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/servers");

/// How many databases a private Redis has, the first of which counts those that were given out.
const REDIS_DATABASES: u32 = 4096;

/// A server of this test's own: it can be killed and started again, under the same URL and with the data that it kept.
#[derive(Debug)]
pub struct Server {
    script: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    /// Starts PostgreSQL.
    ///
    /// # Panics
    /// When there is none, and says how to get it.
    #[must_use]
    pub fn postgres() -> Self {
        Self::start_kind(&["postgres"])
    }

    /// Starts PostgreSQL that takes connections by TLS alone; `ca.pem` in that folder is what made its certificate.
    ///
    /// # Panics
    /// When there is none, and says how to get it.
    #[must_use]
    pub fn postgres_by_tls(folder: &Path) -> Self {
        Self::start_kind(&["postgres", &folder.display().to_string()])
    }

    /// Starts Redis; it keeps what it answered over a kill.
    ///
    /// # Panics
    /// When there is none, and says how to get it.
    #[must_use]
    pub fn redis() -> Self {
        Self::start_kind(&["redis"])
    }

    /// Starts Redis that takes connections by TLS alone; `ca.pem` in that folder is what made its certificate.
    ///
    /// # Panics
    /// When there is none, and says how to get it.
    #[must_use]
    pub fn redis_by_tls(folder: &Path) -> Self {
        Self::start_kind(&["redis", &folder.display().to_string()])
    }

    fn start_kind(kind: &[&str]) -> Self {
        let mut command = Command::new(SCRIPT);
        command.arg("hold").args(kind).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().unwrap_or_else(|error| panic!("{SCRIPT}: {error}"));
        let commands = script.stdin.take();
        let mut server =
            Self { answers: BufReader::new(script.stdout.take().unwrap()), script, commands, url: String::new() };
        server.url = server.answer();
        server
    }

    /// Where it listens; PostgreSQL's names the database `postgres`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same server, another database; PostgreSQL's is made here, Redis's has a number.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        if self.url.starts_with("postgres") {
            sql(&self.url, &format!("CREATE DATABASE {name}"));
        }
        with_database(&self.url, name)
    }

    /// Kills every process of the server with signal 9.
    ///
    /// # Panics
    /// When the script that holds the server has ended.
    pub fn kill(&mut self) {
        self.tell("kill");
    }

    /// Kills every process of PostgreSQL but its first, which then makes them anew and recovers by itself.
    ///
    /// # Panics
    /// When the script that holds the server has ended.
    pub fn kill_backends(&mut self) {
        self.tell("kill-backends");
    }

    /// Starts the server again, and waits until it can be asked.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start(&mut self) {
        self.tell("start");
    }

    /// Ends the server in its proper way.
    ///
    /// # Panics
    /// When the script that holds the server has ended.
    pub fn stop(&mut self) {
        self.tell("stop");
    }

    /// Stops every process of the server where it is, so that it neither answers nor refuses.
    ///
    /// # Panics
    /// When the script that holds the server has ended.
    pub fn freeze(&mut self) {
        self.tell("freeze");
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    /// When the script that holds the server has ended.
    pub fn thaw(&mut self) {
        self.tell("thaw");
    }

    /// Starts PostgreSQL as if a standby had taken over: with the same data, under another timeline.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn take_over(&mut self) {
        self.tell("take-over");
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
        assert_eq!(self.answer(), "done", "{command}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).unwrap();
        assert!(read > 0, "there is no server; what is missing is told above by {SCRIPT}");
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.commands.take());
        self.script.wait().ok();
    }
}

/// The server that tests share. What this process has started ends with it.
fn shared(variable: &str, started: &'static OnceLock<Server>, start: fn() -> Server) -> String {
    match std::env::var(variable) {
        Ok(url) if !url.is_empty() => url,
        Ok(_) | Err(_) => started.get_or_init(start).url.clone(),
    }
}

static POSTGRES: OnceLock<Server> = OnceLock::new();
static REDIS: OnceLock<Server> = OnceLock::new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An empty database of PostgreSQL. It is dropped with the value where the server stays; that takes a checkpoint.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    url: String,
    stays: bool,
}

impl Database {
    /// Makes one.
    ///
    /// # Panics
    /// When there is no server, or it refuses.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a server")]
    pub fn new() -> Self {
        let server = shared(POSTGRES_URL, &POSTGRES, Server::postgres);
        let stays = std::env::var_os(POSTGRES_URL).is_some() && std::env::var_os(PRIVATE).is_none();
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{}_{number}", since.as_millis(), std::process::id());
        sql(&server, &format!("CREATE DATABASE {name}"));
        let url = with_database(&server, &name);
        Self { server, name, url, stays }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.stays {
            return;
        }
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        Command::new(SCRIPT).args(["sql", &self.server, &statement]).stderr(Stdio::null()).status().ok();
    }
}

/// An empty database of Redis. A test that flushes all of them takes a [`Server`] instead.
#[derive(Debug)]
pub struct RedisDatabase {
    url: String,
}

impl RedisDatabase {
    /// Empties one that nobody uses.
    ///
    /// # Panics
    /// When there is no server, or it refuses.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a server")]
    pub fn new() -> Self {
        let server = shared(REDIS_URL, &REDIS, Server::redis);
        let count = run(&["redis", &server, "INCR", "tests"]).trim().parse::<u32>().unwrap();
        let databases = run(&["redis", &server, "CONFIG", "GET", "databases"]);
        let databases = databases.lines().next_back().and_then(|last| last.parse().ok()).unwrap_or(REDIS_DATABASES);
        let url = with_database(&server, &format!("{}", 1 + count % (databases - 1)));
        run(&["redis", &url, "FLUSHDB"]);
        Self { url }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Has a PostgreSQL server run a statement, and gives back what it prints.
///
/// # Panics
/// When it fails.
pub fn sql(url: &str, statement: &str) -> String {
    run(&["sql", url, statement])
}

/// A whole database of a PostgreSQL server, as SQL.
///
/// # Panics
/// When it can't be dumped.
pub fn dump(url: &str) -> String {
    run(&["dump", url])
}

/// Makes a database anew from what [`dump`] gave; whoever is connected to it is cut off.
///
/// # Panics
/// When it can't be made.
pub fn restore(url: &str, dump: &str) {
    let mut script = Command::new(SCRIPT).args(["restore", url]).stdin(Stdio::piped()).spawn().unwrap();
    script.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
    assert!(script.wait().unwrap().success(), "scripts/servers restore {url}");
}

/// Has a Redis server run a command, and gives back what it prints.
///
/// # Panics
/// When it fails.
pub fn redis(url: &str, words: &[&str]) -> String {
    run(&[&["redis", url], words].concat())
}

/// Has PostgreSQL's own benchmark load a server, and gives back what it prints.
///
/// # Panics
/// When it fails.
pub fn pgbench(url: &str, words: &[&str]) -> String {
    run(&[&["pgbench", url], words].concat())
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(SCRIPT).args(arguments).stdin(Stdio::null()).output().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "scripts/servers {arguments:?}: {said}{failed}");
    said.into_owned()
}

/// A URL with its path changed; neither host nor password may hold a slash.
fn with_database(url: &str, name: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (address, options) = rest.split_once('?').map_or((rest, None), |(address, options)| (address, Some(options)));
    let host = address.split_once('/').map_or(address, |(host, _)| host);
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    format!("{scheme}://{host}/{name}{options}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gets_another_database() {
        assert_eq!(with_database("postgres://a:b@c:1/d?x=y", "e"), "postgres://a:b@c:1/e?x=y");
        assert_eq!(with_database("redis://c:1", "7"), "redis://c:1/7");
    }

    #[test]
    fn databases_are_apart_and_go_with_their_tests_where_the_server_stays() {
        let (mut one, two) = (Database::new(), Database::new());
        sql(one.url(), "CREATE TABLE a ()");
        sql(two.url(), "CREATE TABLE a ()");
        one.stays = true;
        let (url, name) = (one.server.clone(), one.name.clone());
        drop(one);
        assert_eq!(sql(&url, &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'")), "");
        let (one, two) = (RedisDatabase::new(), RedisDatabase::new());
        redis(one.url(), &["SET", "a", "1"]);
        assert_eq!(redis(two.url(), &["EXISTS", "a"]), "0\n");
    }

    #[test]
    fn what_was_committed_outlives_a_kill() {
        let mut server = Server::postgres();
        let url = server.database("kept");
        sql(&url, "CREATE TABLE a AS SELECT 7 AS x");
        server.kill();
        server.start();
        assert_eq!(sql(&url, "SELECT x FROM a"), "7\n");
        let mut server = Server::redis();
        redis(server.url(), &["SET", "a", "7"]);
        server.kill();
        server.start();
        assert_eq!(redis(server.url(), &["GET", "a"]), "7\n");
    }
}
