//! The built program as a process, on a folder that goes with it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Connection;

/// Longest wait for the server to take orders.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder that cargo builds into.
pub(crate) fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("below the target folder")
}

/// A folder that goes when it is not needed any more.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("bench-{}", uuid::Uuid::new_v4().simple());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("bench: {}: {error}", self.0.display());
        }
    }
}

/// A running gateway; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    folder: Folder,
    pub(crate) address: SocketAddr,
    /// From the start of the process to the first 200 of `/readyz`.
    pub(crate) ready_after: Duration,
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("bench: the server {} did not end: {error}", self.child.id());
        }
    }
}

/// How much was committed so far.
pub(crate) struct Commits {
    pub(crate) commits: f64,
    pub(crate) writes: f64,
}

impl Server {
    /// Starts a gateway with settings besides its own, and waits until it takes orders.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let folder = Folder::new();
        let address = free_address();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tranche"));
        command
            .args(["serve", "--bind", &address.to_string()])
            .args(["--set", &format!("storage.url=sqlite://{}", folder.path().display())])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // Nothing of the caller's own set-up may decide a figure.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRANCHE_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        let started = Instant::now();
        let mut server = Self { child: command.spawn().unwrap(), folder, address, ready_after: Duration::ZERO };
        let mut connection = server.until_ready(started).await;
        server.ready_after = started.elapsed();
        server.until_trading(&mut connection, started).await;
        server
    }

    async fn until_ready(&self, started: Instant) -> Connection {
        while started.elapsed() < PATIENCE {
            if let Ok(mut connection) = Connection::open(self.address).await
                && connection.get("/readyz").await.is_ok_and(|answer| answer.status == 200)
            {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the server is not ready: {}", self.log());
    }

    async fn until_trading(&self, connection: &mut Connection, started: Instant) {
        while started.elapsed() < PATIENCE {
            let answer = connection.get("/readyz").await.unwrap();
            let view: serde_json::Value = serde_json::from_slice(answer.body).unwrap();
            if view["trading_allowed"] == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the server takes no orders: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await.unwrap()
    }

    /// The commits of the actors so far, by the server's own metrics.
    pub(crate) async fn commits(&self) -> Commits {
        let mut connection = self.connect().await;
        let answer = connection.get("/metrics").await.unwrap();
        let text = std::str::from_utf8(answer.body).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0.0, |value| value.trim().parse().unwrap())
        };
        Commits {
            commits: value("tranche_commit_batch_writes_count "),
            writes: value("tranche_commit_batch_writes_sum "),
        }
    }

    /// What the process has in memory, in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1_024.0
    }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
