//! What is SQLite's own: the file, the locks, a full disk. The port's rules are in the conformance suite.

use std::path::{Path, PathBuf};

use tranche_actors::domain::names::OrderId;

mod broken;
mod conforms;
mod contents;
mod upkeep;

/// A folder that goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// A folder of the test's own.
pub(crate) fn folder() -> Folder {
    let path = std::env::temp_dir().join(format!("tranche-test-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&path).unwrap();
    Folder(path)
}

fn id(text: &str) -> OrderId {
    OrderId::parse(text).unwrap()
}
