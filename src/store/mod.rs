//! The run table: one item per subject, changed by conditional writes only.
//!
//! A store carries out the [`Write`]s that [`crate::run`] describes; it decides nothing.

use crate::ids::Subject;
use crate::run::{DueRun, Item, Write, WriteResult};
use crate::service::ServiceError;
use crate::time::Millis;

#[cfg(feature = "aws")]
mod attributes;
#[cfg(feature = "aws")]
mod dynamodb;
mod layout;
mod listing;
mod memory;
mod run_table;
mod sqlite;
mod state_lock;

#[cfg(feature = "aws")]
pub use dynamodb::DynamoStore;
#[cfg(feature = "aws")]
pub(crate) use dynamodb::OPEN_INDEX;
pub use layout::item_bytes;
pub(crate) use listing::CONCURRENT_READS;
pub use listing::{EndedRuns, OpenRuns, Wanted};
pub use memory::MemoryStore;
pub use run_table::{Driver, RunTable};
pub(crate) use sqlite::integer;
pub use sqlite::{Command, CommandName, SqliteStore, StateFileError};
pub use state_lock::StateLock;

/// The page size of [`RunStore::due`].
pub const DUE_PAGE: usize = 250;

/// The page size of [`RunTable::ended_page`], counted in scanned items.
pub const SCAN_PAGE: usize = 250;

/// The ended runs of a scanned page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedPage {
    /// The runs.
    pub runs: Vec<Item>,
    /// How many items were scanned; each costs as much as a read.
    pub looked_at: usize,
    /// The subject to continue after; `None` at the end of the table.
    pub next: Option<Subject>,
}

/// Where runs are stored.
pub trait RunStore {
    /// Reads an item, strongly consistent with all earlier writes.
    fn read(&self, subject: &Subject) -> impl Future<Output = Result<Option<Item>, ServiceError>>;

    /// Executes a conditional write. If its condition fails, returns the item.
    fn write(&self, write: &Write) -> impl Future<Output = Result<WriteResult, ServiceError>>;

    /// The open runs of one shard due before `before`, soonest first, at most [`DUE_PAGE`], continuing after `after`.
    fn due(
        &self,
        shard: u8,
        before: Millis,
        after: Option<&DueRun>,
    ) -> impl Future<Output = Result<Vec<DueRun>, ServiceError>>;
}

impl<S: RunStore> RunStore for std::rc::Rc<S> {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        (**self).read(subject).await
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        (**self).write(write).await
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        (**self).due(shard, before, after).await
    }
}
