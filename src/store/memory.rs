//! The run table in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::{DUE_PAGE, RunStore};
use crate::ids::Subject;
use crate::run::{DueRun, Item, Open, Write, WriteResult};
use crate::service::ServiceError;
use crate::time::Millis;

/// A table that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    table: RefCell<Table>,
}

#[derive(Debug, Default)]
struct Table {
    items: HashMap<Subject, Item>,
    /// The index of open runs, by shard. A write costs the same however many runs there are, and so does a page.
    open: BTreeMap<u8, BTreeSet<DueRun>>,
}

impl Table {
    fn put(&mut self, item: Item) {
        let to = item.state.open();
        let from = self.items.get(&item.subject).and_then(|item| item.state.open());
        if from != to {
            let place = |open: Open| DueRun { sweep_at_ms: open.sweep_at_ms, subject: item.subject.clone() };
            if let Some(open) = from {
                self.open.entry(open.shard).or_default().remove(&place(open));
            }
            if let Some(open) = to {
                self.open.entry(open.shard).or_default().insert(place(open));
            }
        }
        self.items.insert(item.subject.clone(), item);
    }
}

impl MemoryStore {
    /// All items, for tests and summaries.
    pub fn items(&self) -> Vec<Item> {
        self.table.borrow().items.values().cloned().collect()
    }

    /// How many runs are open: active, or ended and not confirmed published.
    pub fn open_runs(&self) -> usize {
        self.table.borrow().open.values().map(BTreeSet::len).sum()
    }
}

impl RunStore for MemoryStore {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        Ok(self.table.borrow().items.get(subject).cloned())
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        let mut table = self.table.borrow_mut();
        let written = write.apply(table.items.get(write.subject()));
        if let WriteResult::Applied(item) = &written {
            table.put((**item).clone());
        }
        Ok(written)
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        let table = self.table.borrow();
        let rest = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let open = table.open.get(&shard).into_iter().flat_map(|open| open.range(rest));
        Ok(open.take_while(|due| due.sweep_at_ms < before).take(DUE_PAGE).cloned().collect())
    }
}
