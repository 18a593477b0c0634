//! The two pollers of `dev`: the bridge and, for comparison, a poller without a table. Both get the same messages and faults.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;
use uuid::Uuid;

use super::state::{Poller, QueueJournal, State};
use crate::bus::EventBus;
use crate::event::Event;
use crate::ids::{MessageId, Subject};
use crate::message::Record;
use crate::postpress::{Answer, NotAdmitted, Provider, SyncCall, Token};
use crate::queue::{MemoryQueue, Outgoing, Queue, VisibilityChange};
use crate::service::ServiceError;
use crate::simulator::{Faults, Simulator};
use crate::time::Clock;
use crate::trace::TraceHeader;

/// After how many receives a message becomes a dead letter: as in the deployed queue.
const MAX_RECEIVE_COUNT: u32 = 5;
/// How much later a message is delivered once more that was deleted.
const DELIVERED_AGAIN_AFTER: Duration = Duration::from_secs(4);

/// How often deliveries and processes fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeliveryFaults {
    /// Share of the deleted messages that are delivered once more; each text once at most.
    pub(super) redelivery_rate: f64,
    /// Share of the publishes before which the process is killed.
    pub(super) kill_rate: f64,
}

impl DeliveryFaults {
    /// Whether the process is killed now.
    pub(super) fn kills(self) -> bool {
        rand::rng().random_bool(self.kill_rate)
    }
}

/// The queue of a poller, with the messages of the processes before.
pub(super) fn queue(
    state: &Rc<State>,
    poller: Poller,
    invocation: Duration,
    faults: DeliveryFaults,
) -> anyhow::Result<Rc<MemoryQueue>> {
    let name = Uuid::new_v4().to_string();
    let redelivered = RefCell::new(BTreeSet::new());
    // A text once at most: all messages of a poller without a table have the text of their trigger, and each repeat would soon be
    // repeated itself.
    let redelivery = move |record: &Record| {
        let is_repeated = rand::rng().random_bool(faults.redelivery_rate);
        (is_repeated && redelivered.borrow_mut().insert(record.body.clone())).then_some(DELIVERED_AGAIN_AFTER)
    };
    let queue = MemoryQueue::new(&name, Clock::System, invocation, MAX_RECEIVE_COUNT)
        .with_redelivery(Box::new(redelivery))
        .with_journal(Box::new(QueueJournal { state: Rc::clone(state), poller }));
    state.restore(poller, &queue)?;
    Ok(Rc::new(queue))
}

/// A simulated provider whose chats outlive the process.
#[derive(Clone)]
pub(super) struct SavedProvider {
    pub(super) simulator: Simulator,
    state: Rc<State>,
    poller: Poller,
}

impl SavedProvider {
    pub(super) fn new(state: &Rc<State>, poller: Poller, faults: Faults, age: Duration) -> anyhow::Result<Self> {
        let simulator = Simulator::resumed(faults, age, state.syncs(poller)?);
        Ok(Self { simulator, state: Rc::clone(state), poller })
    }
}

impl Provider for SavedProvider {
    /// Saves what the call changed before its answer is returned. After a kill in between, the next process's provider does not
    /// know of the call, as if the request had been lost.
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        let answer = self.simulator.sync(call, deadline).await;
        if let Some(saved) = self.simulator.save(&call.subject) {
            self.state.save_sync(self.poller, &call.subject, &saved);
        }
        answer
    }

    async fn admit(&self, subject: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        self.simulator.admit(subject, until).await
    }
}

/// A bus before which the process may be killed: the publish never returns, and the message comes again after the invocation's
/// time.
pub(super) struct UnreliableBus<B> {
    pub(super) bus: B,
    pub(super) faults: DeliveryFaults,
}

impl<B: EventBus> EventBus for UnreliableBus<B> {
    async fn publish(&self, events: &[Event], trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        if self.faults.kills() {
            pending::<()>().await;
        }
        self.bus.publish(events, trace).await
    }
}

/// Where triggers go: to the bridge, and a copy to the poller beside it.
#[derive(Clone)]
pub(super) struct BothQueues {
    pub(super) bridge: Rc<MemoryQueue>,
    pub(super) stateless: Rc<MemoryQueue>,
}

impl Queue for BothQueues {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        self.stateless.send(messages).await;
        self.bridge.send(messages).await
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        self.bridge.change_visibility(messages).await
    }
}
