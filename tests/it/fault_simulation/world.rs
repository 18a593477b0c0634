//! The outside of all invocations: the table, the queue, the bus, the provider, and the random choice of faults.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use postpress_bridge::bus::{EventBus, MemoryBus};
use postpress_bridge::message::Record;
use postpress_bridge::queue::{MemoryQueue, Redelivery, Source};
use postpress_bridge::run::{DueRun, Item, Write, WriteResult};
use postpress_bridge::service::ServiceError;
use postpress_bridge::simulator::Simulator;
use postpress_bridge::store::{MemoryStore, RunStore};
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::{event::Event, ids::Subject};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::crowd;
use super::history::{Fault, Log, Operation, Request, What};
use super::mutant::Mutant;
use super::plan::{Plan, Service};

/// When every world begins.
pub(super) const EPOCH: Millis = Millis(1_795_514_400_000);

pub(super) struct World {
    pub(super) chance: Rc<Chance>,
    pub(super) store: MemoryStore,
    pub(super) queue: MemoryQueue,
    pub(super) provider: Simulator,
    pub(super) clock: Clock,
    bus: MemoryBus,
    mutant: Option<Mutant>,
}

impl World {
    pub(super) fn new(plan: Plan, mutant: Option<Mutant>) -> Self {
        let provider = Simulator::new(plan.provider);
        let (clock, visibility, max_receives) = (Clock::starting_at(EPOCH), plan.visibility, plan.max_receives);
        let chance = Rc::new(Chance::new(plan));
        let queue = MemoryQueue::new("m", clock, visibility, max_receives).with_redelivery(chance.redelivery());
        let (store, bus) = (MemoryStore::default(), MemoryBus::default());
        let world = Self { chance, store, queue, provider, clock, bus, mutant };
        if world.chance.plan.is_crowded {
            crowd::starts(EPOCH).for_each(|start| drop(world.execute(&start)));
        }
        world
    }

    /// The items of the world's chats.
    pub(super) fn items(&self) -> Vec<Item> {
        let mut items = self.store.items();
        items.retain(|item| !crowd::has(&item.subject));
        items
    }

    /// Makes the crowd due, if there is one.
    pub(super) fn crowd_is_due(&self, now: Millis) {
        crowd::is_due(self.store.items(), now).for_each(|write| drop(self.execute(&write)));
    }

    /// The due runs of a shard as a worker reads them.
    pub(super) fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Vec<DueRun> {
        let due = at_once(self.store.due(shard, before, after)).expect("a table in memory does not fail");
        if self.mutant == Some(Mutant::SweepsBeginWithTheCrowd) { crowd::first(due) } else { due }
    }

    /// The chat's actual item.
    pub(super) fn item(&self, chat: &Subject) -> Option<Item> {
        at_once(self.store.read(chat)).expect("a table in memory does not fail")
    }

    /// The chat's item as a worker reads it.
    pub(super) fn read(&self, chat: &Subject) -> Option<Item> {
        let item = self.item(chat);
        match self.mutant {
            Some(mutant) => item.map(|item| mutant.read(item)),
            None => item,
        }
    }

    pub(super) fn write(&self, write: &Write) -> WriteResult {
        let Some(mutant) = self.mutant else { return self.execute(write) };
        if let Some(before) = mutant.before(write) {
            self.execute(&before);
        }
        self.execute(&mutant.write(write.clone(), self.item(write.subject())))
    }

    fn execute(&self, write: &Write) -> WriteResult {
        at_once(self.store.write(write)).expect("a table in memory does not fail")
    }

    pub(super) fn publish(&self, event: &Event) {
        at_once(self.bus.publish(std::slice::from_ref(event), None));
    }
}

/// The in-memory services complete at once.
pub(super) fn at_once<T>(done: impl Future<Output = T>) -> T {
    done.now_or_never().expect("memory does not wait")
}

/// Random choices while a world runs, and its log.
pub(super) struct Chance {
    pub(super) plan: Plan,
    pub(super) log: Log,
    random: RefCell<StdRng>,
    healed: Cell<bool>,
}

impl Chance {
    fn new(plan: Plan) -> Self {
        // Different values than the plan's.
        let random = RefCell::new(StdRng::seed_from_u64(!plan.seed));
        Self { plan, log: Log::new(), random, healed: Cell::new(false) }
    }

    /// Ends all faults.
    pub(super) fn heal(&self) {
        self.healed.set(true);
        self.log.note(0, What::Healed);
    }

    /// Returns true at this rate, until all faults have ended.
    pub(super) fn happens(&self, rate: f64) -> bool {
        rate > 0.0 && !self.healed.get() && self.random.borrow_mut().random_bool(rate)
    }

    /// A random time, as often below as above the geometric mean.
    pub(super) fn between(&self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_secs_f64().ln(), most.as_secs_f64().ln());
        let seconds = self.random.borrow_mut().random_range(least..most).exp();
        Duration::from_millis(Duration::from_secs_f64(seconds).as_millis().try_into().unwrap())
    }

    pub(super) fn below(&self, most: u32) -> u32 {
        self.random.borrow_mut().random_range(0..most)
    }

    /// This request's fault, if any.
    pub(super) fn fault(&self, request: &Request) -> Option<Fault> {
        if self.healed.get() {
            return None;
        }
        let service = match request.operation() {
            Operation::Send | Operation::VisibilityChange => Service::Queue,
            Operation::Publish => Service::Bus,
            _ => Service::Table,
        };
        if let Some(out) = self.plan.brown_out(service, self.log.now()) {
            return Some(if out.hangs { Fault::Hangs } else { Fault::Out });
        }
        let troubles = &self.plan.troubles;
        if self.happens(troubles.throttles) {
            return Some(Fault::Throttled);
        }
        if self.happens(troubles.refusals) {
            return Some(Fault::Refused);
        }
        if self.happens(troubles.replies_lost) {
            return Some(
                [Fault::ReplyLost, Fault::Silent, Fault::Hangs].choose(&mut *self.random.borrow_mut()).unwrap().clone(),
            );
        }
        if self.happens(troubles.late) {
            return Some(Fault::Late(self.between(Duration::from_secs(1), Duration::from_secs(180))));
        }
        if self.happens(troubles.slow) {
            return Some(Fault::Slow(self.between(Duration::from_millis(200), Duration::from_secs(8))));
        }
        let entries = match request {
            Request::Send(messages) => messages.len(),
            Request::Publish(events) => events.len(),
            _ => 0,
        };
        let failed: Vec<usize> = (0..entries).filter(|_| self.happens(troubles.entries_failed)).collect();
        (!failed.is_empty()).then_some(Fault::Entries(failed))
    }

    /// Whether the provider now only answers 503.
    pub(super) fn provider_is_out(&self) -> bool {
        !self.healed.get() && self.plan.brown_out(Service::Provider, self.log.now()).is_some()
    }

    /// When an invocation dies, if it does.
    pub(super) fn death(&self) -> Option<Death> {
        self.happens(self.plan.troubles.crashes).then(|| match self.below(5) {
            0 => Death::After(self.between(Duration::from_millis(20), Duration::from_secs(15))),
            kind => Death::AtPoint(self.below([6, 12, 40, 160][kind as usize - 1])),
        })
    }

    /// An invocation's clock, with as much skew as allowed.
    pub(super) fn clock(&self, began: tokio::time::Instant) -> Clock {
        let skew = u32::try_from(self.plan.troubles.skew.as_millis()).unwrap();
        let ahead = if skew == 0 { 0 } else { self.below(skew) };
        Clock::Virtual { epoch: EPOCH + Duration::from_millis(ahead.into()), began }
    }

    fn redelivery(self: &Rc<Self>) -> Redelivery {
        let chance = Rc::clone(self);
        Box::new(move |record| {
            chance.happens(chance.plan.troubles.delivered_after_deletion).then(|| {
                let after = chance.between(Duration::from_millis(10), Duration::from_mins(20));
                let message = record.message_id.clone();
                chance.log.note(0, What::DeletedAgain { message, after });
                after
            })
        })
    }
}

/// When an invocation dies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Death {
    /// At the n-th possible point, counted from 0: before or after one of its requests to the outside.
    AtPoint(u32),
    /// After this time, whatever it waits for then.
    After(Duration),
}

/// The event source mapping's side of the queue.
impl Source for World {
    async fn receive(&self, max: usize) -> Result<Vec<Record>, ServiceError> {
        let batch = self.queue.receive(max).await?;
        let chance = &self.chance;
        if chance.happens(chance.plan.troubles.receives_lost) {
            let messages = batch.iter().map(|record| record.message_id.clone()).collect();
            chance.log.note(0, What::ReceiveLost { messages });
            return Err(ServiceError::Transient("the receive was lost".to_owned()));
        }
        for record in &batch {
            if chance.happens(chance.plan.troubles.delivered_in_flight) {
                let after = chance.between(Duration::from_millis(1), Duration::from_secs(60));
                chance.log.note(0, What::VisibleAgain { message: record.message_id.clone(), after });
                self.queue.set_visibility_timeout(&record.receipt_handle, after);
            }
        }
        Ok(batch)
    }

    async fn delete(&self, records: &[Record]) -> Result<(), ServiceError> {
        if self.chance.happens(self.chance.plan.troubles.deletes_lost) {
            let messages = records.iter().map(|record| record.message_id.clone()).collect();
            self.chance.log.note(0, What::DeleteLost { messages });
            return Err(ServiceError::Transient("the delete was lost".to_owned()));
        }
        self.queue.delete(records).await
    }
}
