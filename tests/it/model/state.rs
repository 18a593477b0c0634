//! The bridge's world at one moment, small enough for exhaustive search: one chat, a table of one item, a queue, the
//! provider, a few handlers and a budget of faults.
//!
//! Every decision is the production code's: [`MessageHandler`] decides the steps, [`Write::apply`] is the table, [`sweep`]
//! is the sweep. `handler` and `environment` define what can happen next, `provider` what the provider does.
//!
//! Time is abstract: a lease is held or expired, and anything may happen arbitrarily late.
//!
//! [`MessageHandler`]: postpress_bridge::run::MessageHandler
//! [`sweep`]: postpress_bridge::run::sweep

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postpress_bridge::event::Event;
use postpress_bridge::ids::{ClaimId, MessageId, RunId};
use postpress_bridge::message::{self, Record};
use postpress_bridge::run::{Item, Jitter, PollState, Rules, RunState, Step, StepContext, Task, Write, WriteResult};
use postpress_bridge::time::Millis;

use super::canonical::{Fingerprint, Name, Part};
use super::faults::Faults;
use super::handler::Handler;
use super::mutant::Mutant;
use super::provider::Sync;
use super::scope::Scope;
use super::search::System;

pub(super) const NOW: Millis = Millis(1_000_000);
pub(super) const HELD: Millis = Millis(2_000_000);
pub(super) const OVER: Millis = Millis(0);

/// A world to search, and the clause omitted from the protocol.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) scope: Scope,
    pub(super) mutant: Option<Mutant>,
    differences: AtomicU64,
}

#[derive(Clone)]
pub(super) struct State {
    pub(super) item: Option<Part<Item>>,
    pub(super) queue: Vec<Queued>,
    pub(super) handlers: Vec<Part<Handler>>,
    pub(super) sync: Part<Sync>,
    /// Abandoned requests that have not landed yet.
    pub(super) late: Vec<Part<Late>>,
    pub(super) left: Faults,
    /// For each of the scope's later messages, one bit: whether it is still to be sent.
    pub(super) unsent: u8,
    /// The published endings in order, without repeats.
    pub(super) published: Vec<Part<Event>>,
    /// The accepted triggers that no published ending contains.
    pub(super) accepted: Part<Vec<MessageId>>,
    /// The message that drives the run was lost, and there was no claim since: only the sweep can help.
    pub(super) is_orphaned: bool,
    pub(super) broken: Option<&'static str>,
}

#[derive(Clone)]
pub(super) struct Queued {
    pub(super) message: Part<Message>,
    pub(super) in_flight: u8,
}

impl Queued {
    fn new(message: Part<Message>) -> Self {
        Self { message, in_flight: 0 }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) task: Task,
}

#[derive(Clone, Hash)]
pub(super) enum Late {
    /// A write, and whether a lease has expired since it was prepared.
    Write(Box<Write>, bool),
    Call(RunId),
}

/// A step, for the trace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Deliver(usize, bool),
    Did(usize, &'static str),
    Fault(usize, &'static str),
    Crash(usize, &'static str),
    World(&'static str),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(place, false) => write!(f, "the queue delivers its message {place}"),
            Self::Deliver(place, true) => write!(f, "the queue delivers its message {place} although it is in flight"),
            Self::Did(handler, what) => write!(f, "handler {handler}: {what}"),
            Self::Fault(handler, what) => write!(f, "handler {handler}: {what} (a fault)"),
            Self::Crash(handler, what) => write!(f, "handler {handler} dies{what}"),
            Self::World(what) => f.write_str(what),
        }
    }
}

/// The possible next steps, and the state after each.
pub(super) type Next = Vec<(Action, State)>;

pub(super) fn rules() -> Rules {
    Rules {
        lease_margin: Duration::ZERO,
        overdue: Duration::from_secs(500),
        run_ttl: Duration::from_secs(1_000_000_000),
        ..Rules::default()
    }
}

pub(super) fn tick(rules: &Rules, now: Millis) -> StepContext<'_> {
    StepContext { now, jitter: Jitter::NONE, rules }
}

/// The trigger messages as sent. Only a request with several messages needs an `idempotency_key`.
fn triggers(scope: &Scope) -> impl Iterator<Item = Message> {
    scope.requests.iter().enumerate().map(|(place, request)| {
        let key = if scope.is_repeated(*request) { r#", "idempotency_key": "k""# } else { "" };
        parse(place, &format!(r#"{{"{}": "c"{key}}}"#, scope.id_field()), NOW)
    })
}

/// A producer's message.
fn parse(place: usize, body: &str, sent_at: Millis) -> Message {
    let id = MessageId::new(format!("t{}", place + 1));
    let record = Record {
        message_id: id.clone(),
        receipt_handle: String::new(),
        body: body.to_owned(),
        sent_at,
        receive_count: 1,
        trace: None,
        group: None,
    };
    match message::Message::parse(&record, "postpress.bridge") {
        message::Message::Trigger(trigger) => Message { id, task: Task::Trigger(trigger) },
        message::Message::Cancel(cancel) => Message { id, task: Task::Cancel(cancel) },
        other => panic!("{other:?}"),
    }
}

impl State {
    fn new(scope: &Scope) -> Self {
        let queue = triggers(scope).map(|message| Queued::new(Part::new(message)));
        Self {
            item: None,
            queue: queue.collect(),
            handlers: Vec::new(),
            sync: Part::new(Sync::Idle),
            late: Vec::new(),
            left: scope.faults,
            unsent: (1 << scope.later.len()) - 1,
            published: Vec::new(),
            accepted: Part::new(Vec::new()),
            is_orphaned: false,
            broken: None,
        }
    }

    pub(super) fn change(&mut self, handler: usize, change: impl FnOnce(&mut Handler)) {
        let mut changed = Handler::clone(&self.handlers[handler]);
        change(&mut changed);
        self.handlers[handler] = Part::new(changed);
    }

    pub(super) fn break_promise(&mut self, promise: &'static str) {
        self.broken.get_or_insert(promise);
    }

    /// A lease has expired, which claims in progress do not know.
    pub(super) fn outdate_claims(&mut self) {
        for n in 0..self.handlers.len() {
            if matches!(self.handlers[n].step, Step::Write(Write::Claim { .. })) {
                self.change(n, |handler| handler.is_outdated = true);
            }
        }
        for late in &mut self.late {
            if let Late::Write(write, false) = &**late
                && matches!(**write, Write::Claim { .. })
            {
                *late = Part::new(Late::Write(write.clone(), true));
            }
        }
    }

    /// The time, which moves on with each later message, so that a run began either before or after it.
    pub(super) fn now(&self, scope: &Scope) -> Millis {
        let sent = scope.later.len() as u64 - u64::from(self.unsent.count_ones());
        NOW + Duration::from_millis(2 * sent)
    }

    /// The scope's later messages, sent now.
    pub(super) fn send_later(&self, scope: &Scope, next: &mut Next) {
        if !self.item.as_ref().is_some_and(|item| item.state.is_active()) {
            return;
        }
        for (place, later) in scope.later.iter().enumerate().filter(|(place, _)| self.unsent >> place & 1 == 1) {
            let mut sent = self.clone();
            sent.unsent &= !(1 << place);
            let sent_at = self.now(scope) + Duration::from_millis(1);
            let message = Part::new(parse(scope.requests.len() + place, later.body(), sent_at));
            sent.queue.push(Queued::new(message));
            next.push((Action::World(later.is_sent()), sent));
        }
    }

    /// A handler of it is done or dead, so the message can be delivered again.
    pub(super) fn release(&mut self, id: &MessageId) {
        if let Some(queued) = self.queue.iter_mut().find(|queued| queued.message.id == *id) {
            queued.in_flight -= 1;
        }
    }

    /// A handler sends a poll.
    pub(super) fn send(&mut self, task: Task) {
        self.send_as("p", task);
    }

    /// The sweep sends a poll, recognizable by its id.
    pub(super) fn send_by_sweep(&mut self, task: Task) {
        self.send_as("s", task);
    }

    fn send_as(&mut self, sender: &str, task: Task) {
        let id = self.unused(|number| format!("{sender}{number}"), |id| Name::of_message(id));
        self.queue.push(Queued::new(Part::new(Message { id: MessageId::new(id), task })));
    }

    pub(super) fn unused_claim(&self) -> ClaimId {
        ClaimId::from_random(self.unused(u128::from, |claim| Some(Name::Claim(*claim))))
    }

    pub(super) fn unused_run(&self) -> RunId {
        self.unused(|number| RunId::from_random(number.into()), |run| Some(Name::Run(run.as_uuid().as_u128())))
    }

    /// The first of these that the state does not contain. Names are reused to keep their number small.
    fn unused<T>(&self, nth: impl Fn(u32) -> T, name: impl Fn(&T) -> Option<Name>) -> T {
        let names: Vec<&[Name]> = self.names().collect();
        let is_used = |id: &T| names.iter().any(|names| name(id).is_some_and(|name| names.contains(&name)));
        (0..).map(nth).find(|id| !is_used(id)).unwrap()
    }

    fn names(&self) -> impl Iterator<Item = &[Name]> {
        let item = self.item.iter().map(Part::names);
        let queue = self.queue.iter().map(|queued| queued.message.names());
        let handlers = self.handlers.iter().map(Part::names);
        let late = self.late.iter().map(Part::names);
        let published = self.published.iter().map(Part::names);
        item.chain(queue).chain(handlers).chain(late).chain(published).chain([self.sync.names(), self.accepted.names()])
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut fingerprint = Fingerprint::default();
        fingerprint.parts(self.item.iter().map(|item| (item, 0)));
        fingerprint.part(&self.sync);
        fingerprint.parts(self.handlers.iter().map(|handler| (handler, 0)));
        fingerprint.parts(self.queue.iter().map(|queued| (&queued.message, u64::from(queued.in_flight))));
        fingerprint.parts(self.late.iter().map(|late| (late, 0)));
        fingerprint.part(&self.accepted);
        fingerprint.number(self.published.len() as u64);
        self.published.iter().for_each(|event| fingerprint.part(event));
        let [faults @ .., ahead] = self.left.each();
        fingerprint.number(u64::from_be_bytes(faults));
        fingerprint.number(ahead.into());
        fingerprint.number(self.unsent.into());
        fingerprint.number(u64::from(self.is_orphaned) << 1 | u64::from(self.broken.is_some()));
        fingerprint.finish()
    }

    /// Nothing waits or is in progress, and every accepted trigger has its ending.
    pub(super) fn is_goal(&self) -> bool {
        let is_quiet = self.queue.is_empty() && self.handlers.is_empty();
        is_quiet && self.item.as_ref().is_none_or(|item| item.state.is_published()) && self.accepted.is_empty()
    }
}

impl System for Bridge {
    type State = State;
    type Action = Action;
    type Pool = Pool;

    fn initial(&self) -> State {
        State::new(&self.scope)
    }

    fn next(&self, state: &State) -> Vec<(Action, State)> {
        let mut next = Vec::new();
        self.deliveries(state, &mut next);
        for handler in 0..state.handlers.len() {
            self.steps(state, handler, &mut next);
            self.crashes(state, handler, &mut next);
        }
        state.send_later(&self.scope, &mut next);
        self.landings(state, &mut next);
        self.lease(state, &mut next);
        self.sweeps(state, &mut next);
        self.dead_letters(state, &mut next);
        next
    }

    fn fingerprint(&self, state: &State) -> u64 {
        state.fingerprint()
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.broken.map(str::to_owned)
    }

    fn is_goal(&self, state: &State) -> bool {
        state.is_goal()
    }

    /// No fault happens, no abandoned request lands, since it may never do so, and no further message is sent.
    fn is_ordinary(&self, before: &State, after: &State) -> bool {
        // Other runs ahead of ours in the index are no fault.
        let faults = |state: &State| Faults { ahead: 0, ..state.left };
        let is_unasked = before.unsent == after.unsent;
        is_unasked && faults(before) == faults(after) && before.late.len() == after.late.len()
    }

    fn share(pool: &mut Pool, state: &mut State) {
        state.item.iter_mut().for_each(|item| keep(&mut pool.items, item));
        state.handlers.iter_mut().for_each(|handler| keep(&mut pool.handlers, handler));
        state.queue.iter_mut().for_each(|queued| keep(&mut pool.messages, &mut queued.message));
        state.late.iter_mut().for_each(|late| keep(&mut pool.late, late));
        state.published.iter_mut().for_each(|event| keep(&mut pool.events, event));
        keep(&mut pool.accepted, &mut state.accepted);
        keep(&mut pool.syncs, &mut state.sync);
    }
}

/// All known parts, which are far fewer than states.
#[derive(Default)]
pub(super) struct Pool {
    items: HashSet<Part<Item>>,
    handlers: HashSet<Part<Handler>>,
    messages: HashSet<Part<Message>>,
    late: HashSet<Part<Late>>,
    events: HashSet<Part<Event>>,
    accepted: HashSet<Part<Vec<MessageId>>>,
    syncs: HashSet<Part<Sync>>,
}

fn keep<T>(known: &mut HashSet<Part<T>>, part: &mut Part<T>) {
    match known.get(part) {
        Some(known) => *part = known.clone(),
        None => {
            known.insert(part.clone());
        }
    }
}

impl Bridge {
    pub(super) fn new(scope: Scope, mutant: Option<Mutant>) -> Self {
        Self { scope, mutant, differences: AtomicU64::new(0) }
    }

    /// How often the mutant deviated from the protocol.
    pub(super) fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, differs: bool) {
        self.differences.fetch_add(u64::from(differs), Ordering::Relaxed);
    }

    /// The table executes a write. An outdated claim finds every lease held.
    pub(super) fn write(&self, state: &mut State, write: &Write, is_outdated: bool) -> WriteResult {
        let asked = write;
        let mut write = write.clone();
        if let (Write::Claim { now, .. }, true) = (&mut write, is_outdated) {
            *now = OVER;
        }
        let before = state.item.as_deref().cloned();
        let before = before.as_ref();
        let item = match self.mutant {
            Some(mutant) => self.applied_by(mutant, &mut write, before),
            None => applied(&write, before),
        };
        let Some(item) = item else {
            return WriteResult::ConditionFailed(before.cloned().map(Box::new));
        };
        self.check_write(state, &write);
        state.check_cancel(asked, &item);
        state.is_orphaned &=
            before.is_some_and(|before| before.claim_id == item.claim_id) && !item.state.is_published();
        state.item = Some(Part::new(item.clone()));
        WriteResult::Applied(Box::new(item))
    }

    fn applied_by(&self, mutant: Mutant, write: &mut Write, before: Option<&Item>) -> Option<Item> {
        let as_protocol_says = applied(write, before);
        let mut applied_to = before.cloned();
        if let Some(item) = &mut applied_to {
            mutant.applied_to(write, item);
        }
        let mut item = write_to(write, applied_to.as_ref());
        if let Some(item) = &mut item {
            mutant.taken(write, item, applied_to.as_ref());
        }
        let item = item.map(plain);
        self.note(item != as_protocol_says);
        item
    }
}

/// The item after the write; `None` if its condition fails.
fn applied(write: &Write, before: Option<&Item>) -> Option<Item> {
    write_to(write, before).map(plain)
}

fn write_to(write: &Write, before: Option<&Item>) -> Option<Item> {
    match write.apply(before) {
        WriteResult::Applied(item) => Some(*item),
        WriteResult::ConditionFailed(_) => None,
    }
}

/// Removes what does not affect the protocol: the number of polls, the accumulated state, the times of the next sweep and of a cancel.
fn plain(mut item: Item) -> Item {
    item.polls = 1;
    item.learned = PollState::default();
    item.cancelled_at = item.cancelled_at.map(|_| NOW);
    if let RunState::Active { open } | RunState::Ended { open, .. } = &mut item.state {
        open.sweep_at_ms = OVER;
    }
    item
}
