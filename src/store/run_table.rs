//! The run table as those see it who only look: deployed, or in a terminal's file.

#[cfg(feature = "aws")]
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "aws")]
use super::DynamoStore;
use super::{DueRun, EndedPage, RunStore, SqliteStore};
use crate::ids::{ChatId, Subject};
use crate::run::Item;
#[cfg(feature = "aws")]
use crate::service::attempt_to_reach;
use crate::service::{ServiceError, retry_until};
use crate::time::Millis;

/// How long a look may take, tries that fail and may pass included.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// A run table to look at. Nothing is written to it.
#[derive(Debug, Clone)]
pub enum RunTable {
    /// The table of a deployed bridge.
    #[cfg(feature = "aws")]
    Deployed(DeployedTable),
    /// The file that `sync` keeps at a terminal. It is opened for each look, so that nobody who writes meets us there, and a
    /// file that is made meanwhile is found.
    File(PathBuf),
}

/// A table in DynamoDB, and whether it was ever read.
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

    /// A chat's item, as the last write left it.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn read(&self, chat_id: &ChatId) -> Result<Option<Item>, ServiceError> {
        let subject = Subject::from(chat_id);
        match self {
            #[cfg(feature = "aws")]
            Self::Deployed(table) => table.look(async || table.store.read(&subject).await).await,
            Self::File(path) => in_file(path, None, async |store| store.read(&subject).await).await,
        }
    }

    /// The open runs of one shard, as [`RunStore::due`] gives them.
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

    /// Looks a page of the table through for runs that have ended, going on after this chat. There is no index of them.
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

    /// Whether a sweep comes by and revives what is lost. At a terminal `sync` itself does.
    pub fn is_swept(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

/// Looks into the file; `nothing` if it is not there yet.
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
