//! Whether a process drives the runs of a state file: each process that does holds a lock beside it.
//!
//! The lock is on a file of its own, since SQLite has locks on the state file. The system releases it when the process ends,
//! however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The lock of a process that drives runs, held until it is dropped. Several processes can hold it at once.
#[derive(Debug)]
pub struct StateLock {
    file: File,
    path: PathBuf,
    /// Whether the file stays.
    is_kept: bool,
}

impl StateLock {
    /// Takes the lock for this state file.
    ///
    /// # Errors
    /// If the lock's file cannot be created, or the file system has no locks.
    pub fn take(state_file: &Path) -> io::Result<Self> {
        let path = path(state_file);
        let file = File::options().create(true).append(true).open(&path)?;
        file.lock_shared()?;
        Ok(Self { file, path, is_kept: false })
    }

    /// Takes the lock if no other process has it, and keeps all others from it; `None` if one has it.
    ///
    /// # Errors
    /// If the lock's file cannot be created, or the file system has no locks.
    pub fn take_alone(state_file: &Path) -> io::Result<Option<Self>> {
        let path = path(state_file);
        let file = File::options().create(true).append(true).open(&path)?;
        match file.try_lock() {
            // Removing the file would let two others lock two different files.
            Ok(()) => Ok(Some(Self { file, path, is_kept: true })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether any process has the lock. Where that cannot be found out, one is assumed to have it.
    pub fn is_taken(state_file: &Path) -> bool {
        match File::open(path(state_file)) {
            Ok(file) => file.try_lock().is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// The last process removes the file. One that takes the lock at the same moment is then not seen, which only affects what
/// `status` says.
impl Drop for StateLock {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let others = self.file.unlock().map_err(TryLockError::Error).and_then(|()| self.file.try_lock());
        if others.is_ok() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn path(state_file: &Path) -> PathBuf {
    let mut path = state_file.as_os_str().to_owned();
    path.push("-lock");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_can_be_taken_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("dev.sqlite3");
        let alone = StateLock::take_alone(&state).unwrap();
        assert!(alone.is_some() && StateLock::take_alone(&state).unwrap().is_none());
        drop(alone);
        assert!(StateLock::take_alone(&state).unwrap().is_some());
    }

    #[test]
    fn lock_is_taken_while_any_process_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("runs.sqlite3");
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        assert!(!StateLock::is_taken(&state));
        let one = StateLock::take(&state).unwrap();
        let two = StateLock::take(&state).unwrap();
        drop(one);
        assert!(StateLock::is_taken(&state));
        drop(two);
        assert_eq!((StateLock::is_taken(&state), files()), (false, 0));

        std::fs::write(path(&state), "").unwrap();
        assert!(!StateLock::is_taken(&state), "the file of a process that was killed");
        assert_eq!(files(), 1, "looking changes nothing");
    }
}
