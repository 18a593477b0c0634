//! The outside of the workers: provider, table, queue and bus, with their latencies, faults and counts.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::EventBus;
use postpress_bridge::event::Event;
use postpress_bridge::ids::{MessageId, Subject};
use postpress_bridge::postpress::{Answer, Body, Mask, Provider, SyncCall};
use postpress_bridge::queue::{MemoryQueue, Outgoing, Queue, VisibilityChange};
use postpress_bridge::run::{DueRun, Item, Write, WriteResult};
use postpress_bridge::service::ServiceError;
use postpress_bridge::store::{MemoryStore, RunStore, item_bytes};
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::trace::TraceHeader;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use uuid::Uuid;

/// Round trips within a region: assumed, not documented.
const TABLE: Duration = Duration::from_millis(5);
const QUEUE: Duration = Duration::from_millis(10);
const BUS: Duration = Duration::from_millis(20);
/// The provider's answers, evenly between these.
const PROVIDER_MILLISECONDS: Range<u64> = 50..300;
/// The share of the table's requests that are throttled while it is.
const THROTTLED: f64 = 0.9;
/// DynamoDB's write unit (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>).
const WRITE_UNIT_BYTES: usize = 1024;

/// What was counted at the ports.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) polls: Cell<u64>,
    pub(super) syncs: Cell<u64>,
    pub(super) reads: Cell<u64>,
    pub(super) pages: Cell<u64>,
    pub(super) writes: Cell<u64>,
    pub(super) table_units: Cell<u64>,
    pub(super) index_units: Cell<u64>,
    pub(super) throttles: Cell<u64>,
    pub(super) messages: Cell<u64>,
    pub(super) puts: Cell<u64>,
}

/// When the provider is down, and when the table is throttled.
#[derive(Debug, Clone, Default)]
pub(super) struct Outages {
    pub(super) provider: Range<Millis>,
    pub(super) table: Range<Millis>,
}

/// A chat, from the trigger to the ending.
#[derive(Debug, Clone, Copy, Default)]
struct Chat {
    ends_at: Option<Millis>,
    is_reported: bool,
    ending: Option<Uuid>,
}

pub(super) struct Outside {
    pub(super) counts: Counts,
    pub(super) store: MemoryStore,
    pub(super) queue: Rc<MemoryQueue>,
    pub(super) clock: Clock,
    outages: Outages,
    /// How long every sync lasts, unless they differ.
    length: Option<Duration>,
    chats: RefCell<HashMap<Subject, Chat>>,
    random: RefCell<StdRng>,
    /// From the provider's end of each sync to the publication of its event, in milliseconds.
    pub(super) lateness: RefCell<Vec<u32>>,
    /// Events of a run that was published before.
    pub(super) repeats: Cell<u64>,
    /// What must not happen.
    pub(super) breaches: RefCell<Vec<String>>,
}

fn add(count: &Cell<u64>, more: usize) {
    count.set(count.get() + u64::try_from(more).expect("a count"));
}

impl Outside {
    pub(super) fn new(queue: Rc<MemoryQueue>, clock: Clock, outages: Outages, length: Option<Duration>) -> Self {
        Self {
            counts: Counts::default(),
            store: MemoryStore::default(),
            queue,
            clock,
            outages,
            length,
            chats: RefCell::default(),
            random: RefCell::new(StdRng::seed_from_u64(1)),
            lateness: RefCell::default(),
            repeats: Cell::new(0),
            breaches: RefCell::default(),
        }
    }

    /// Unless all are alike, a sync lasts 30 s to an hour, as often below as above six minutes.
    fn sync_length(&self) -> Duration {
        let random = || Duration::from_secs(30).mul_f64(120_f64.powf(self.random.borrow_mut().random()));
        self.length.unwrap_or_else(random)
    }

    fn breach(&self, text: String) {
        self.breaches.borrow_mut().push(text);
    }

    async fn table(&self) -> Result<(), ServiceError> {
        sleep(TABLE).await;
        if self.outages.table.contains(&self.clock.now()) && self.random.borrow_mut().random_bool(THROTTLED) {
            add(&self.counts.throttles, 1);
            return Err(ServiceError::Throttled("throttled".to_owned()));
        }
        Ok(())
    }

    fn published(&self, event: &Event) {
        let detail = &event.detail;
        let mut chats = self.chats.borrow_mut();
        let Some(chat) = detail.subject().and_then(|subject| chats.get_mut(&subject)) else {
            return self.breach(format!("an event of an unknown chat: {event:?}"));
        };
        match (chat.ending.replace(detail.event_id), chat.ends_at) {
            (Some(before), _) if before == detail.event_id => add(&self.repeats, 1),
            (None, Some(ends_at)) if detail.status.is_some() && detail.triggers.len() == 1 => {
                let late = self.clock.now().since(ends_at).as_millis();
                self.lateness.borrow_mut().push(u32::try_from(late).unwrap_or(u32::MAX));
            }
            _ => self.breach(format!("an ending that is not the chat's first and only one: {event:?}")),
        }
    }
}

impl Provider for Outside {
    async fn sync(&self, call: &SyncCall, _deadline: Duration) -> Answer {
        let id = &call.subject;
        let latency = Duration::from_millis(self.random.borrow_mut().random_range(PROVIDER_MILLISECONDS));
        add(&self.counts.polls, 1);
        sleep(latency / 2).await;
        let now = self.clock.now();
        let is_down = self.outages.provider.contains(&now);
        let status = {
            let mut chats = self.chats.borrow_mut();
            let chat = chats.entry(id.clone()).or_default();
            match chat.ends_at {
                _ if is_down => None,
                Some(_) if chat.is_reported => {
                    self.breach(format!("{} was called after its ending, which restarts its sync", id.id()));
                    Some("SYNC_STARTED")
                }
                None => {
                    chat.ends_at = Some(now + self.sync_length());
                    add(&self.counts.syncs, 1);
                    Some("SYNC_STARTED")
                }
                Some(ends_at) if ends_at > now => Some("SYNC_RUNNING"),
                Some(_) => {
                    chat.is_reported = true;
                    Some("SYNC_DONE")
                }
            }
        };
        sleep(latency / 2).await;
        let Some(status) = status else { return Answer::from_response(id, 503, None, &Body::whole(""), Mask::NONE) };
        let body = format!(r#"{{"object":"ChatHistorySync","chat_id":"{}","status":"{status}"}}"#, id.id());
        Answer::from_response(id, 200, None, &Body::whole(&*body), Mask::NONE)
    }
}

impl RunStore for Outside {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        add(&self.counts.reads, 1);
        self.table().await?;
        self.store.read(subject).await
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        self.table().await?;
        let written = self.store.write(write).await?;
        add(&self.counts.writes, 1);
        let size = |item: &Item| item_bytes(item).expect("an item that was stored");
        let (bytes, index) = match &written {
            WriteResult::Applied(item) => (size(item), index_units(write)),
            WriteResult::ConditionFailed(item) => (item.as_deref().map_or(1, size), 0),
        };
        add(&self.counts.table_units, bytes.div_ceil(WRITE_UNIT_BYTES));
        add(&self.counts.index_units, index);
        Ok(written)
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        add(&self.counts.pages, 1);
        self.table().await?;
        self.store.due(shard, before, after).await
    }
}

/// The writes of the index of open runs, which has keys only: one where an entry appears or disappears, two where its key
/// changes (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html>, "Write capacity units").
fn index_units(write: &Write) -> usize {
    match write {
        Write::Start { .. } | Write::MarkPublished { .. } => 1,
        Write::End { .. } | Write::MoveSweep { .. } => 2,
        Write::Claim { .. } | Write::Join { .. } | Write::Cancel { .. } => 0,
    }
}

impl Queue for Outside {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        add(&self.counts.messages, messages.len());
        sleep(QUEUE).await;
        self.queue.send(messages).await
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        sleep(QUEUE).await;
        self.queue.change_visibility(messages).await
    }
}

/// Keeps no events, unlike the bus in memory: a million would be most of the memory that is measured.
impl EventBus for Outside {
    async fn publish(&self, events: &[Event], _trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        add(&self.counts.puts, 1);
        sleep(BUS).await;
        events.iter().for_each(|event| self.published(event));
        vec![Ok(()); events.len()]
    }
}
