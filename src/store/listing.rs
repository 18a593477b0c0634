//! Lists of runs: the open ones by their index, the ended ones by a scan.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{DUE_PAGE, RunTable};
use crate::ids::{Subject, Workspace};
use crate::run::{ACTIVE_SHARDS, DueRun, ENDED_SHARDS, Item};
use crate::service::ServiceError;
use crate::time::Millis;

/// Maximum number of pages that a list of ended runs scans.
const PAGES_MAX: usize = 40;
/// How many items of a table a terminal reads concurrently.
pub(crate) const CONCURRENT_READS: usize = 16;

/// Which runs to list.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Only those of this workspace.
    pub workspace: Option<&'a Workspace>,
    /// At most so many.
    pub limit: usize,
}

/// Open runs, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRuns {
    /// The runs: those that a sweep reads first.
    pub runs: Vec<Item>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// Runs that have ended, latest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRuns {
    /// The runs.
    pub runs: Vec<Item>,
    /// How many items were scanned; each costs as much as a read.
    pub looked_at: usize,
    /// Whether the whole table was scanned and no run was left out.
    pub is_complete: bool,
}

impl Wanted<'_> {
    fn includes(&self, subject: &Subject) -> bool {
        self.workspace.is_none_or(|workspace| subject.workspace() == workspace)
    }
}

impl RunTable {
    /// The open runs.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn open_runs(&self, wanted: Wanted<'_>) -> Result<OpenRuns, ServiceError> {
        let mut due = Vec::new();
        for shard in ACTIVE_SHARDS.chain(ENDED_SHARDS) {
            due.extend(self.due_of_shard(shard, wanted).await?);
        }
        due.sort_by(|one, other| (one.sweep_at_ms, &one.subject).cmp(&(other.sweep_at_ms, &other.subject)));
        let is_cut = due.len() > wanted.limit;
        due.truncate(wanted.limit);
        let reads = due.into_iter().map(|due| async move { self.read(&due.subject).await });
        let items: Vec<Option<Item>> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
        // The index is eventually consistent.
        let mut runs: Vec<Item> = items.into_iter().flatten().filter(|item| item.state.open().is_some()).collect();
        runs.sort_by(|one, other| (one.started_at_ms, &one.subject).cmp(&(other.started_at_ms, &other.subject)));
        Ok(OpenRuns { runs, is_cut })
    }

    /// A shard's open runs, at least one more than wanted if there are that many.
    async fn due_of_shard(&self, shard: u8, wanted: Wanted<'_>) -> Result<Vec<DueRun>, ServiceError> {
        let mut due: Vec<DueRun> = Vec::new();
        let mut after: Option<DueRun> = None;
        while due.len() <= wanted.limit {
            let page = self.due(shard, Millis(u64::MAX), after.as_ref()).await?;
            let is_last = page.len() < DUE_PAGE;
            after = page.last().cloned();
            due.extend(page.into_iter().filter(|due| wanted.includes(&due.subject)));
            if is_last {
                break;
            }
        }
        Ok(due)
    }

    /// Scans for ended runs until it has as many as wanted or has read 40 pages.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn ended_runs(&self, wanted: Wanted<'_>, now: Millis) -> Result<EndedRuns, ServiceError> {
        let (mut runs, mut looked_at): (Vec<Item>, _) = (Vec::new(), 0);
        let mut after: Option<Subject> = None;
        let mut is_complete = false;
        for _ in 0..PAGES_MAX {
            let page = self.ended_page(after.as_ref()).await?;
            looked_at += page.looked_at;
            // DynamoDB deletes expired items only after days.
            let is_wanted = |item: &Item| !item.is_expired(now) && wanted.includes(&item.subject);
            runs.extend(page.runs.into_iter().filter(is_wanted));
            after = page.next;
            is_complete = after.is_none() && runs.len() <= wanted.limit;
            if after.is_none() || runs.len() >= wanted.limit {
                break;
            }
        }
        runs.truncate(wanted.limit);
        let finished_at = |item: &Item| item.state.outcome().map(|outcome| outcome.finished_at);
        runs.sort_by(|one, other| finished_at(other).cmp(&finished_at(one)).then(one.subject.cmp(&other.subject)));
        Ok(EndedRuns { runs, looked_at, is_complete })
    }
}
