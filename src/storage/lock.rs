//! One instance per data folder: the second one refuses to start, and says who was first.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

/// The file that carries the lock, and the process id of its holder.
pub const LOCK_FILE: &str = "tranche.lock";

/// The right to use a data folder. It ends with the value, and at the latest with the process: the kernel keeps it, so
/// a file that a crash left behind locks nobody out.
#[derive(Debug)]
pub struct DataLock {
    folder: PathBuf,
    _file: File,
}

/// Why a data folder is not ours.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another instance uses it.
    #[error("another instance{} uses the data folder {}", holder(.pid.as_ref()), .folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The other's process id, where it could be read.
        pid: Option<u32>,
    },
    /// The folder can't be made, or the lock file not be opened.
    #[error("the data folder {} can't be used", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

fn holder(pid: Option<&u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

impl DataLock {
    /// Takes a data folder for this process, and makes it where it is missing.
    ///
    /// # Errors
    /// When another instance has it, or it can't be used.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(LOCK_FILE))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held { folder: folder.to_owned(), pid: read_pid(&mut file) });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        write_pid(&mut file).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), _file: file })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sqlite::tests::folder;

    #[test]
    fn a_second_instance_learns_who_holds_the_folder() {
        let folder = folder();
        let first = DataLock::take(folder.path()).unwrap();
        let error = DataLock::take(folder.path()).unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(error.to_string().contains(&format!("process {}", std::process::id())));
        drop(first);
        DataLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_behind_locks_nobody_out() {
        let folder = folder();
        std::fs::write(folder.path().join(LOCK_FILE), "4294967295 and more text than a pid\n").unwrap();
        DataLock::take(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join(LOCK_FILE)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }
}
