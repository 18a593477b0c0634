//! The run table: one item per chat, changed by conditional writes only.
//!
//! A store carries out the [`Write`]s that [`crate::run`] describes; it decides nothing.

use crate::ids::Subject;
use crate::run::{Item, Write, WriteResult};
use crate::service::ServiceError;
use crate::time::Millis;

#[cfg(feature = "aws")]
mod attributes;
#[cfg(feature = "aws")]
mod dynamodb;
mod memory;
mod run_table;
mod sqlite;

#[cfg(feature = "aws")]
pub use dynamodb::DynamoStore;
#[cfg(feature = "aws")]
pub(crate) use dynamodb::OPEN_INDEX;
pub use memory::MemoryStore;
pub use run_table::RunTable;
pub use sqlite::{Command, SqliteStore, StateFileError};

/// How many runs [`RunStore::due`] gives at once.
pub const DUE_PAGE: usize = 100;

/// How many items [`RunTable::ended_page`] looks at.
pub const SCAN_PAGE: usize = 250;

/// A part of the table that was looked through for runs that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedPage {
    /// Those found.
    pub runs: Vec<Item>,
    /// How many items were looked at to find them; each costs as if it were read.
    pub looked_at: usize,
    /// The chat after which the next page goes on; nothing at the table's end.
    pub next: Option<Subject>,
}

/// A run in the index of open runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRun {
    /// When a sweep is to look at it.
    pub sweep_at_ms: Millis,
    /// Its chat.
    pub subject: Subject,
}

/// Where the runs are kept.
pub trait RunStore {
    /// Reads a chat's item, and sees every write that was taken before.
    fn read(&self, subject: &Subject) -> impl Future<Output = Result<Option<Item>, ServiceError>>;

    /// Carries a conditional write out. A refusal brings the item that refused it.
    fn write(&self, write: &Write) -> impl Future<Output = Result<WriteResult, ServiceError>>;

    /// The open runs of one shard that are due before then, soonest first, at most [`DUE_PAGE`], going on after `after`.
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
