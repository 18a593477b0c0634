//! The run table in memory.

use std::cell::RefCell;
use std::collections::HashMap;

use super::{DUE_PAGE, RunStore};
use crate::ids::Subject;
use crate::run::{DueRun, Item, Write, WriteResult};
use crate::service::ServiceError;
use crate::time::Millis;

/// A table that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    items: RefCell<HashMap<Subject, Item>>,
}

impl MemoryStore {
    /// All items, for tests and summaries.
    pub fn items(&self) -> Vec<Item> {
        self.items.borrow().values().cloned().collect()
    }
}

impl RunStore for MemoryStore {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        Ok(self.items.borrow().get(subject).cloned())
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        let mut items = self.items.borrow_mut();
        let written = write.apply(items.get(write.subject()));
        if let WriteResult::Applied(item) = &written {
            items.insert(item.subject.clone(), (**item).clone());
        }
        Ok(written)
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        let place = |due: &DueRun| (due.sweep_at_ms, due.subject.clone());
        let mut due: Vec<DueRun> = self
            .items
            .borrow()
            .values()
            .filter_map(|item| item.state.open().filter(|open| open.shard == shard).map(|open| (item, open)))
            .map(|(item, open)| DueRun { sweep_at_ms: open.sweep_at_ms, subject: item.subject.clone() })
            .filter(|due| due.sweep_at_ms < before && after.is_none_or(|after| place(due) > place(after)))
            .collect();
        due.sort_by_key(place);
        due.truncate(DUE_PAGE);
        Ok(due)
    }
}
