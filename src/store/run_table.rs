//! Read-only access to the run table: a deployed one, or a local state file.

#[cfg(feature = "aws")]
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "aws")]
use super::DynamoStore;
use super::{EndedPage, RunStore, SqliteStore, StateLock};
use crate::ids::Subject;
use crate::run::{DueRun, Item};
#[cfg(feature = "aws")]
use crate::service::attempt_to_reach;
use crate::service::{ServiceError, retry_until};
use crate::time::Millis;

/// The time limit of a read, including retries.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// A read-only run table.
#[derive(Debug, Clone)]
pub enum RunTable {
    /// The table of a deployed bridge.
    #[cfg(feature = "aws")]
    Deployed(DeployedTable),
    /// The local state file of `sync`. It is opened for each read, so that it blocks no writer and a file created in the
    /// meantime is found.
    File(PathBuf),
}

/// What drives the runs of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A deployed bridge, whose sweeps recover lost runs.
    Bridge,
    /// A process that runs `sync` on the local state file. Which chats it drives is not known.
    Terminal,
    /// Nothing: no process runs `sync` on the local state file.
    Stopped,
}

/// A table in DynamoDB, and whether it has been read successfully.
#[cfg(feature = "aws")]
#[derive(Debug, Clone)]
pub struct DeployedTable {
    store: DynamoStore,
    was_read: Cell<bool>,
}

#[cfg(feature = "aws")]
impl DeployedTable {
    async fn look<T>(&self, look: impl AsyncFnMut() -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        if self.was_read.get() {
            return retry_until(until(), look).await;
        }
        let looked = attempt_to_reach(until(), look).await;
        self.was_read.set(looked.is_ok());
        looked
    }
}

impl RunTable {
    /// The table of a deployed bridge.
    #[cfg(feature = "aws")]
    pub fn deployed(store: DynamoStore) -> Self {
        Self::Deployed(DeployedTable { store, was_read: Cell::new(false) })
    }

    /// A subject's item as of the last write.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        match self {
            #[cfg(feature = "aws")]
            Self::Deployed(table) => table.look(async || table.store.read(subject).await).await,
            Self::File(path) => in_file(path, None, async |store| store.read(subject).await).await,
        }
    }

    /// The open runs of one shard, as in [`RunStore::due`].
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        match self {
            #[cfg(feature = "aws")]
            Self::Deployed(table) => table.look(async || table.store.due(shard, before, after).await).await,
            Self::File(path) => in_file(path, Vec::new(), async |store| store.due(shard, before, after).await).await,
        }
    }

    /// Scans a page of the table for ended runs, continuing after the given subject. There is no index of them.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn ended_page(&self, after: Option<&Subject>) -> Result<EndedPage, ServiceError> {
        let nothing = EndedPage { runs: Vec::new(), looked_at: 0, next: None };
        match self {
            #[cfg(feature = "aws")]
            Self::Deployed(table) => table.look(async || table.store.ended_page(after).await).await,
            Self::File(path) => in_file(path, nothing, async |store| store.ended_page(after)).await,
        }
    }

    /// What drives the runs now.
    pub fn driver(&self) -> Driver {
        match self {
            #[cfg(feature = "aws")]
            Self::Deployed(_) => Driver::Bridge,
            Self::File(path) if StateLock::is_taken(path) => Driver::Terminal,
            Self::File(_) => Driver::Stopped,
        }
    }
}

/// Reads from the file; returns `nothing` if it does not exist yet.
async fn in_file<T: Clone>(
    path: &Path,
    nothing: T,
    look: impl AsyncFn(SqliteStore) -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    let look = async || match SqliteStore::open_to_read(path) {
        Ok(Some(store)) => look(store).await,
        Ok(None) => Ok(nothing.clone()),
        Err(error) => Err(ServiceError::Permanent(error.to_string())),
    };
    retry_until(until(), look).await
}

fn until() -> Instant {
    Instant::now() + LOOK_MAX
}
