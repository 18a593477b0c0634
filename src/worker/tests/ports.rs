//! Ports over the in-memory ones that inject faults where a test says so; each records the requests and their times.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, advance, sleep};

use crate::bus::{EventBus, MemoryBus};
use crate::event::Event;
use crate::ids::{MessageId, Subject};
use crate::postpress::pace::{Pace, Rate};
use crate::postpress::{Answer, Finish, NotAdmitted, Progress, Provider, SyncCall, Token};
use crate::queue::{MemoryQueue, Outgoing, Queue, VisibilityChange};
use crate::run::{DueRun, Item, Write, WriteResult};
use crate::service::ServiceError;
use crate::store::{MemoryStore, RunStore};
use crate::time::Millis;
use crate::trace::TraceHeader;

/// A fault of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not executed; the error is transient.
    Throttled,
    /// It is not executed; the error is permanent.
    Refused,
    /// It is executed, but the caller gets a transient error.
    ReplyLost,
    /// It is executed, but the caller gets no reply.
    Silent,
    /// It is executed after this time.
    Slow(Duration),
    /// It panics after a second.
    Panics,
    /// It blocks the whole thread for this time, as a blocking table does, so that no time limit can interrupt it.
    Blocks(Duration),
}

impl Fault {
    fn error(self) -> ServiceError {
        match self {
            Self::Refused => ServiceError::Permanent("refused".to_owned()),
            _ => ServiceError::Transient(format!("{self:?}")),
        }
    }

    /// Whether the caller may repeat what was already done.
    pub(super) fn hides_success(self) -> bool {
        matches!(self, Self::ReplyLost | Self::Silent)
    }
}

/// A port's requests, and the faults to inject.
///
/// An operation is named by its kind and, on the table, by its chat: `claim c`. A fault for `claim` applies to every chat.
pub(super) struct Faults {
    began: Instant,
    plans: RefCell<Vec<Plan>>,
    asked: RefCell<Vec<(String, Duration)>>,
}

struct Plan {
    operation: String,
    fault: Fault,
    times: u32,
}

impl Faults {
    fn new() -> Self {
        Self { began: Instant::now(), plans: RefCell::default(), asked: RefCell::default() }
    }

    /// Makes the next operation of this name fail.
    pub(super) fn once(&self, operation: &str, fault: Fault) {
        self.plan(operation, fault, 1);
    }

    /// Makes every operation of this name fail, until [`Faults::heal`].
    pub(super) fn always(&self, operation: &str, fault: Fault) {
        self.plan(operation, fault, u32::MAX);
    }

    /// Removes all faults.
    pub(super) fn heal(&self) {
        self.plans.borrow_mut().clear();
    }

    /// When each operation of this name was requested.
    pub(super) fn asked(&self, operation: &str) -> Vec<Duration> {
        self.asked.borrow().iter().filter(|(name, _)| is_named(name, operation)).map(|(_, at)| *at).collect()
    }

    /// The number of operations of each kind.
    pub(super) fn tally(&self) -> HashMap<String, usize> {
        let mut tally = HashMap::new();
        for (name, _) in self.asked.borrow().iter() {
            *tally.entry(kind_of(name).to_owned()).or_default() += 1;
        }
        tally
    }

    /// Forgets the requests so far.
    pub(super) fn forget(&self) {
        self.asked.borrow_mut().clear();
    }

    fn plan(&self, operation: &str, fault: Fault, times: u32) {
        self.plans.borrow_mut().push(Plan { operation: operation.to_owned(), fault, times });
    }

    fn next(&self, operation: String) -> Option<Fault> {
        let mut plans = self.plans.borrow_mut();
        let plan = plans.iter_mut().find(|plan| plan.times > 0 && is_named(&operation, &plan.operation));
        self.asked.borrow_mut().push((operation, self.began.elapsed()));
        plan.map(|plan| {
            plan.times -= 1;
            plan.fault
        })
    }

    async fn around<T>(
        &self,
        operation: String,
        carry_out: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let Some(fault) = self.next(operation) else { return carry_out.await };
        match fault {
            Fault::Throttled | Fault::Refused => Err(fault.error()),
            Fault::ReplyLost => {
                carry_out.await?;
                Err(fault.error())
            }
            Fault::Silent => {
                carry_out.await?;
                pending().await
            }
            Fault::Slow(time) => {
                sleep(time).await;
                carry_out.await
            }
            Fault::Panics => {
                sleep(Duration::from_secs(1)).await;
                panic!("this fault panics");
            }
            Fault::Blocks(time) => {
                // Its first poll advances the clock.
                advance(time).now_or_never();
                carry_out.await
            }
        }
    }
}

fn kind_of(operation: &str) -> &str {
    operation.split(' ').next().unwrap_or(operation)
}

fn is_named(operation: &str, name: &str) -> bool {
    operation == name || kind_of(operation) == name
}

/// A run table; its operations are `read`, `due`, and each [`Write`]'s.
pub(super) struct FaultyStore {
    pub(super) inner: MemoryStore,
    pub(super) faults: Faults,
}

impl FaultyStore {
    pub(super) fn new() -> Self {
        Self { inner: MemoryStore::default(), faults: Faults::new() }
    }
}

impl RunStore for FaultyStore {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        self.faults.around(format!("read {}", subject.id()), self.inner.read(subject)).await
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        let kind = match write {
            Write::Start { .. } => "start",
            Write::Claim { .. } => "claim",
            Write::Join { .. } => "join",
            Write::Cancel { .. } => "cancel",
            Write::End { .. } => "end",
            Write::MarkPublished { .. } => "mark",
            Write::MoveSweep { .. } => "move",
        };
        self.faults.around(format!("{kind} {}", write.subject().id()), self.inner.write(write)).await
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        self.faults.around(format!("due {shard}"), self.inner.due(shard, before, after)).await
    }
}

/// A queue; its operations are `send`, a whole request, and `entry`, one message of it.
pub(super) struct FaultyQueue {
    pub(super) inner: MemoryQueue,
    pub(super) faults: Faults,
    sent: RefCell<Vec<Outgoing>>,
}

impl FaultyQueue {
    pub(super) fn new(inner: MemoryQueue) -> Self {
        Self { inner, faults: Faults::new(), sent: RefCell::default() }
    }

    /// The messages sent since the last call.
    pub(super) fn take_sent(&self) -> Vec<Outgoing> {
        self.sent.take()
    }

    async fn send_entries(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        let faults: Vec<_> = messages.iter().map(|_| self.faults.next("entry".to_owned())).collect();
        let accepted = messages.iter().zip(&faults).filter(|(_, fault)| fault.is_none());
        let accepted: Vec<Outgoing> = accepted.map(|(message, _)| message.clone()).collect();
        let mut sent = self.inner.send(&accepted).await.into_iter();
        self.sent.borrow_mut().extend(accepted);
        let result = |fault: Option<Fault>| fault.map_or_else(|| sent.next().unwrap(), |fault| Err(fault.error()));
        faults.into_iter().map(result).collect()
    }
}

impl Queue for FaultyQueue {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        let request = async { Ok(self.send_entries(messages).await) };
        let results = self.faults.around("send".to_owned(), request).await;
        results.unwrap_or_else(|error| vec![Err(error); messages.len()])
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        let request = async { Ok(self.inner.change_visibility(messages).await) };
        let results = self.faults.around("change visibility".to_owned(), request).await;
        results.unwrap_or_else(|error| vec![Err(error); messages.len()])
    }
}

/// A bus; its one operation is `publish`.
pub(super) struct FaultyBus {
    pub(super) inner: MemoryBus,
    pub(super) faults: Faults,
    offered: RefCell<Vec<String>>,
}

impl FaultyBus {
    pub(super) fn new() -> Self {
        Self { inner: MemoryBus::default(), faults: Faults::new(), offered: RefCell::default() }
    }

    /// The details of all events offered for publication, including the unpublished ones.
    pub(super) fn offered(&self) -> Vec<String> {
        self.offered.borrow().clone()
    }
}

impl EventBus for FaultyBus {
    async fn publish(&self, events: &[Event], trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        self.offered.borrow_mut().extend(events.iter().map(Event::detail_json));
        let request = async { Ok(self.inner.publish(events, trace).await) };
        let results = self.faults.around("publish".to_owned(), request).await;
        results.unwrap_or_else(|error| vec![Err(error); events.len()])
    }
}

/// What the provider does for one call.
#[derive(Debug, Clone)]
pub(super) enum Move {
    /// It answers.
    Say(Answer),
    /// It answers after this time.
    SayAfter(Duration, Answer),
    /// The call panics.
    Panic,
}

pub(super) const STARTED: Move = Move::Say(Answer::InProgress(Progress::Started));
pub(super) const RUNNING: Move = Move::Say(Answer::InProgress(Progress::Running));
pub(super) const DONE: Move = Move::Say(Answer::Over(Finish::Done));

/// A call as the provider saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) chat: String,
    pub(super) deadline: Duration,
}

/// A provider that answers from a script; chats without one stay in progress forever.
#[derive(Default)]
pub(super) struct Scripted {
    scripts: RefCell<HashMap<String, VecDeque<Move>>>,
    calls: RefCell<Vec<Called>>,
    in_flight: Cell<usize>,
    max_in_flight: Cell<usize>,
    pace: Option<Pace>,
}

impl Scripted {
    /// A provider whose calls keep to this rate.
    pub(super) fn paced(rate: Rate) -> Self {
        Self { pace: Some(Pace::new(Some(rate))), ..Self::default() }
    }

    /// Scripts the chat's next calls; one more panics.
    pub(super) fn script(&self, chat: &str, moves: impl IntoIterator<Item = Move>) {
        self.scripts.borrow_mut().entry(chat.to_owned()).or_default().extend(moves);
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> Vec<Called> {
        self.calls.borrow().clone()
    }

    /// The maximum number of concurrent calls.
    pub(super) fn max_in_flight(&self) -> usize {
        self.max_in_flight.get()
    }

    fn next(&self, chat: &str) -> Move {
        match self.scripts.borrow_mut().get_mut(chat) {
            Some(moves) => moves.pop_front().unwrap_or(Move::Panic),
            None => RUNNING,
        }
    }
}

impl Provider for Scripted {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        let (chat, began) = (&call.subject, Instant::now());
        self.calls.borrow_mut().push(Called { chat: chat.id().to_owned(), deadline });
        self.in_flight.update(|calls| calls + 1);
        self.max_in_flight.set(self.max_in_flight.get().max(self.in_flight.get()));
        let answer = match self.next(chat.id()) {
            Move::Say(answer) => answer,
            Move::SayAfter(time, answer) => {
                sleep(time).await;
                answer
            }
            Move::Panic => panic!("the provider was called too often for {}, or its script panics", chat.id()),
        };
        self.in_flight.update(|calls| calls - 1);
        self.pace.iter().for_each(|pace| pace.react(&answer, began));
        answer
    }

    async fn admit(&self, _: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        match &self.pace {
            Some(pace) => pace.acquire(until).await.map_err(NotAdmitted::Later),
            None => Ok(Token::default()),
        }
    }
}
