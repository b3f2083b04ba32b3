//! What is SQLite's own: the file, the locks, a full disk. The port's rules are in the conformance suite.

use std::path::{Path, PathBuf};

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

mod conforms {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::sync::Mutex;
    use tranche_actors::ports::store::Store;

    use super::{Folder, folder};
    use crate::storage::conformance::{Place, suite};
    use crate::storage::lock::DataLock;
    use crate::storage::sqlite::{SqliteSettings, SqliteStore};

    struct File {
        folder: Folder,
        lock: Mutex<Option<Arc<DataLock>>>,
    }

    impl File {
        fn new() -> Self {
            Self {
                folder: folder(),
                lock: Mutex::new(None),
            }
        }
    }

    #[async_trait]
    impl Place for File {
        async fn store(&self) -> Box<dyn Store> {
            let mut held = self.lock.lock().await;
            let lock = held.get_or_insert_with(|| Arc::new(DataLock::take(self.folder.path()).unwrap()));
            let settings = SqliteSettings {
                busy_timeout: Duration::from_secs(1),
                ..SqliteSettings::default()
            };
            Box::new(SqliteStore::new(lock.clone(), settings))
        }
    }

    suite!(File::new());
}
