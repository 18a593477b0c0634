//! The bridge's world, small enough to be searched whole: one chat, a table of one item, a queue, the provider, a few handlers
//! and a budget of faults. Every decision is the production code's: [`Handling`] says the steps, [`Write::apply`] is the
//! table, [`sweep`] is the sweep.
//!
//! Time is not counted: a lease is held or over, and anything may happen as late as it likes.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use postpress_bridge::event::Event;
use postpress_bridge::ids::{ChatId, ClaimId, MessageId, RunId, TriggerKey};
use postpress_bridge::message::{Poll, Trigger, TriggerMessage};
use postpress_bridge::postpress::{Answer, Disposition, Failure, Finish, Progress};
use postpress_bridge::run::{
    Call, Claimable, Delay, Handling, Input, Item, Jitter, Phase, Rules, Schedule, Step, Task, Tick, Verdict, Write,
    Written, sweep,
};
use postpress_bridge::time::Millis;

use super::mutant::Mutant;
use super::search::System;

const NOW: Millis = Millis(1_000_000);
const HELD: Millis = Millis(2_000_000);
const OVER: Millis = Millis(0);
/// More ids than any state uses at once.
const IDS: u128 = 40;

/// How often each fault may happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// A handler dies.
    pub(super) crashes: u8,
    /// A message is delivered while it is in flight, or once more after it was deleted.
    pub(super) duplicates: u8,
    /// A request or its reply is lost; AWS operations are then asked again.
    pub(super) lost: u8,
    /// An AWS operation fails for good, carried out or not.
    pub(super) failed: u8,
    /// What was given up on lands later.
    pub(super) late: u8,
    /// A message is dead-lettered.
    pub(super) dead_letters: u8,
    /// A sweep comes although a message waits.
    pub(super) early_sweeps: u8,
}

/// What is searched: how many triggers and handlers, which faults, and what is left out of the protocol.
pub(super) struct Bridge {
    pub(super) triggers: usize,
    pub(super) handlers: usize,
    pub(super) faults: Faults,
    pub(super) mutant: Option<Mutant>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    item: Option<Item>,
    queue: Vec<Queued>,
    handlers: Vec<Running>,
    sync: Sync,
    late_writes: Vec<Write>,
    late_calls: Vec<RunId>,
    left: Faults,
    /// The endings that are out: the run, a hash of the event's bytes, the triggers in it.
    published: Vec<(RunId, u64, Vec<MessageId>)>,
    accepted: BTreeSet<MessageId>,
    broken: Option<&'static str>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Queued {
    id: MessageId,
    task: Task,
    in_flight: u8,
}

/// A handler on its way. `reply` is the provider's, once the call has landed.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Running {
    id: MessageId,
    task: Task,
    claim_id: ClaimId,
    /// The run that it would start.
    fresh_run: RunId,
    /// The run that it has claimed.
    run_id: Option<RunId>,
    handling: Handling,
    step: Step,
    reply: Option<Answer>,
}

/// The provider's side of the chat.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sync {
    Idle,
    /// Asked so often while it ran.
    Running(u8),
    /// It told its end to a call of this run; the next call starts it again.
    Told(RunId),
}

/// What happens, for the trace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Deliver(u8, bool),
    Did(u8, &'static str),
    Fault(u8, &'static str),
    Crash(u8, &'static str),
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

fn chat() -> ChatId {
    ChatId::parse("c").unwrap()
}

fn rules() -> Rules {
    Rules {
        schedule: Schedule::default(),
        overdue: Duration::from_secs(500),
        run_ttl: Duration::from_secs(1_000_000_000),
    }
}

fn trigger(number: usize) -> Task {
    let id = format!("t{number}");
    let trigger = Trigger {
        message_id: MessageId::new(&id),
        correlation_id: None,
        idempotency_key: None,
        metadata: None,
        requested_at: NOW,
        joined: false,
    };
    Task::Trigger(TriggerMessage { chat_id: chat(), key: TriggerKey::of(&id), trigger })
}

fn no_answer() -> Answer {
    Answer::Failed(Failure {
        disposition: Disposition::Passing,
        envelope: None,
        status: 504,
        detail: "lost".to_owned(),
        retry_after: None,
        may_land_late: true,
    })
}

/// What does not matter to the protocol is the same in every state: how many polls, when the sweep looks.
fn plain(mut item: Item) -> Item {
    item.polls = 1;
    if let Some(open) = &mut item.open {
        open.sweep_at_ms = OVER;
    }
    item
}

impl System for Bridge {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        let queue = (1..=self.triggers).map(|number| Queued {
            id: MessageId::new(format!("t{number}")),
            task: trigger(number),
            in_flight: 0,
        });
        State {
            item: None,
            queue: queue.collect(),
            handlers: Vec::new(),
            sync: Sync::Idle,
            late_writes: Vec::new(),
            late_calls: Vec::new(),
            left: self.faults,
            published: Vec::new(),
            accepted: BTreeSet::new(),
            broken: None,
        }
    }

    fn next(&self, state: &State) -> Vec<(Action, State)> {
        let mut next = Vec::new();
        self.deliveries(state, &mut next);
        for handler in 0..state.handlers.len() {
            self.steps(state, handler, &mut next);
            self.crashes(state, handler, &mut next);
        }
        self.environment(state, &mut next);
        next
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.broken.map(str::to_owned)
    }

    fn is_goal(&self, state: &State) -> bool {
        let quiet = state.queue.is_empty() && state.handlers.is_empty();
        let told = |id: &MessageId| state.published.iter().any(|(_, _, triggers)| triggers.contains(id));
        quiet && state.item.as_ref().is_none_or(Item::is_over) && state.accepted.iter().all(told)
    }
}

type Next = Vec<(Action, State)>;

fn number(index: usize) -> u8 {
    u8::try_from(index).unwrap()
}

impl Bridge {
    fn deliveries(&self, state: &State, next: &mut Next) {
        if state.handlers.len() == self.handlers {
            return;
        }
        for (place, message) in state.queue.iter().enumerate() {
            let twice = message.in_flight > 0;
            if twice && state.left.duplicates == 0 {
                continue;
            }
            let mut state = state.clone();
            state.left.duplicates -= u8::from(twice);
            state.queue[place].in_flight += 1;
            let Queued { id, task, .. } = state.queue[place].clone();
            let claim_id = state.unused_claim();
            let fresh_run = state.unused_run();
            let call = Call { message_id: id.clone(), claim_id, run_id: fresh_run, lease_until_ms: HELD };
            let (handling, step) = Handling::begin(task.clone(), call, tick(&rules()));
            let running = Running { id, task, claim_id, fresh_run, run_id: None, handling, step, reply: None };
            state.handlers.push(running);
            next.push((Action::Deliver(number(place), twice), state));
        }
    }

    /// What the step of a handler can come to.
    fn steps(&self, state: &State, handler: usize, next: &mut Next) {
        let n = number(handler);
        let left = state.left;
        match state.handlers[handler].step.clone() {
            Step::Read => {
                let mut state = state.clone();
                let item = state.item.clone().map(|item| self.as_read(item, &state.handlers[handler].id));
                state.give(handler, Input::Read(item.map(Box::new)));
                next.push((Action::Did(n, "reads the item"), state));
            }
            Step::Write(write) => {
                let name = name_of(&write);
                let mut done = state.clone();
                let written = self.write(&mut done, &write);
                let mut lost = done.clone();
                let mut failed = done.clone();
                done.give(handler, Input::Written(self.as_told(&written, &state.handlers[handler].id)));
                next.push((Action::Did(n, name), done));
                if left.lost > 0 && matches!(written, Written::Taken(_)) {
                    lost.left.lost -= 1;
                    next.push((Action::Fault(n, "the reply to its write is lost; it will ask again"), lost));
                }
                if left.failed > 0 {
                    failed.left.failed -= 1;
                    failed.give(handler, Input::Failed);
                    next.push((Action::Fault(n, "its write is carried out and reported as failed"), failed));
                    let mut untouched = state.clone();
                    untouched.left.failed -= 1;
                    let mut later = untouched.clone();
                    untouched.give(handler, Input::Failed);
                    next.push((Action::Fault(n, "its write fails"), untouched));
                    if left.late > 0 {
                        later.left.late -= 1;
                        later.late_writes.push(write);
                        later.give(handler, Input::Failed);
                        next.push((Action::Fault(n, "its write fails, and will land later"), later));
                    }
                }
            }
            Step::Call => self.call(state, handler, next),
            Step::Send { poll, delay } => {
                let mut sent = state.clone();
                sent.send(poll.clone());
                if left.lost > 0 {
                    let mut twice = sent.clone();
                    twice.left.lost -= 1;
                    twice.send(poll.clone());
                    twice.give(handler, Input::Done);
                    next.push((Action::Fault(n, "sends its poll twice, since the first reply was lost"), twice));
                }
                if left.failed > 0 {
                    for (mut failed, what) in [
                        (state.clone(), "cannot send its poll"),
                        (sent.clone(), "sends its poll and is told that it failed"),
                    ] {
                        failed.left.failed -= 1;
                        failed.give(handler, Input::Failed);
                        next.push((Action::Fault(n, what), failed));
                    }
                }
                sent.give(handler, Input::Done);
                let what = if delay == Delay::NONE { "sends the answer on in a poll" } else { "sends a poll" };
                next.push((Action::Did(n, what), sent));
            }
            Step::Publish(event) => {
                let mut published = state.clone();
                published.publish(&event);
                if left.failed > 0 {
                    for (mut failed, what) in
                        [(state.clone(), "cannot publish"), (published.clone(), "publishes and is told that it failed")]
                    {
                        failed.left.failed -= 1;
                        failed.give(handler, Input::Failed);
                        next.push((Action::Fault(n, what), failed));
                    }
                }
                published.give(handler, Input::Done);
                next.push((Action::Did(n, "publishes the ending"), published));
            }
            Step::Done(verdict) => {
                let mut done = state.clone();
                let running = done.handlers.remove(handler);
                done.release(&running.id);
                match verdict {
                    Verdict::Return(_) => next.push((Action::Did(n, "hands its message back"), done)),
                    Verdict::Acknowledge(_) => {
                        if left.duplicates > 0 {
                            let mut stays = done.clone();
                            stays.left.duplicates -= 1;
                            let what = "acknowledges, and its message is delivered once more";
                            next.push((Action::Fault(n, what), stays));
                        }
                        done.queue.retain(|message| message.id != running.id);
                        next.push((Action::Did(n, "acknowledges"), done));
                    }
                }
            }
        }
    }

    /// A call: it lands, and its reply comes back, each a step of its own.
    fn call(&self, state: &State, handler: usize, next: &mut Next) {
        let n = number(handler);
        let running = &state.handlers[handler];
        if let Some(reply) = running.reply.clone() {
            let mut told = state.clone();
            told.handlers[handler].reply = None;
            if state.left.lost > 0 && !matches!(reply, Answer::Failed(_)) {
                let mut lost = told.clone();
                lost.left.lost -= 1;
                lost.give(handler, Input::Answered(no_answer()));
                next.push((Action::Fault(n, "the provider's reply is lost"), lost));
            }
            let what = match reply {
                Answer::Over(_) => "hears that the sync is over",
                Answer::InProgress(_) => "hears that the sync is in progress",
                _ => "hears nothing from the provider",
            };
            told.give(handler, Input::Answered(reply));
            next.push((Action::Did(n, what), told));
            return;
        }
        let Some(run_id) = running.run_id else { return };
        let mut begun = state.clone();
        let is_active = begun.item.as_ref().is_some_and(|item| item.run_id == run_id && item.phase == Phase::Active);
        if !is_active {
            begun.broken = Some("a call is begun although the run has its ending (S1)");
        }
        if begun.handlers.iter().any(|other| other.reply.is_some()) {
            begun.broken = Some("two calls for one chat are awaited at once (S4)");
        }
        let mut at_first = self.faults;
        at_first.duplicates = state.left.duplicates;
        if state.sync == Sync::Told(run_id) && state.left == at_first {
            begun.broken = Some("a finished sync is restarted with no fault but duplicates (S1)");
        }
        for (answer, mut landed, what) in begun.land(run_id) {
            landed.handlers[handler].reply = Some(answer);
            next.push((Action::Did(n, what), landed));
        }
        if state.left.lost > 0 {
            let mut lost = begun.clone();
            lost.left.lost -= 1;
            lost.handlers[handler].reply = Some(no_answer());
            next.push((Action::Fault(n, "its call is lost on the way"), lost));
        }
        if state.left.late > 0 {
            let mut late = begun.clone();
            late.left.late -= 1;
            late.late_calls.push(run_id);
            late.handlers[handler].reply = Some(no_answer());
            next.push((Action::Fault(n, "gives up on its call, which will land later"), late));
        }
    }

    fn crashes(&self, state: &State, handler: usize, next: &mut Next) {
        if state.left.crashes == 0 {
            return;
        }
        let mut dead = state.clone();
        dead.left.crashes -= 1;
        let running = dead.handlers.remove(handler);
        dead.release(&running.id);
        if state.left.late > 0 {
            let mut late = dead.clone();
            late.left.late -= 1;
            match (&running.step, &running.reply, running.run_id) {
                (Step::Write(write), _, _) => late.late_writes.push(write.clone()),
                (Step::Call, None, Some(run_id)) => late.late_calls.push(run_id),
                _ => late.broken = None,
            }
            if late.late_writes.len() + late.late_calls.len() > dead.late_writes.len() + dead.late_calls.len() {
                next.push((Action::Crash(number(handler), ", and what it had under way will land later"), late));
            }
        }
        next.push((Action::Crash(number(handler), ""), dead));
    }

    fn environment(&self, state: &State, next: &mut Next) {
        for place in 0..state.late_writes.len() {
            let mut landed = state.clone();
            let write = landed.late_writes.remove(place);
            self.write(&mut landed, &write);
            next.push((Action::World("a write that was given up on lands"), landed));
        }
        for place in 0..state.late_calls.len() {
            let mut before = state.clone();
            let run_id = before.late_calls.remove(place);
            for (_, landed, _) in before.land(run_id) {
                next.push((Action::World("a call that was given up on lands"), landed));
            }
        }
        let holder_is_alive = |item: &Item| state.handlers.iter().any(|running| running.claim_id == item.claim_id);
        let held = state.item.as_ref().filter(|item| item.lease_until_ms == HELD);
        if let Some(item) = held.filter(|item| !holder_is_alive(item)) {
            let mut over = state.clone();
            over.item = Some(Item { lease_until_ms: OVER, ..item.clone() });
            next.push((Action::World("the lease of the dead or finished holder is over"), over));
        }
        let idle = state.queue.is_empty() && state.handlers.is_empty();
        if let Some(item) = state.item.as_ref().filter(|_| idle || state.left.early_sweeps > 0) {
            let poll = sweep(item, NOW, &rules()).and_then(|swept| swept.poll);
            if let Some(poll) = poll.filter(|_| self.mutant != Some(Mutant::NoSweep)) {
                let mut swept = state.clone();
                swept.left.early_sweeps -= u8::from(!idle);
                swept.send(poll);
                next.push((Action::World("the sweep sends a poll"), swept));
            }
        }
        if state.left.dead_letters > 0 {
            for place in 0..state.queue.len() {
                if state.queue[place].in_flight == 0 {
                    let mut lost = state.clone();
                    lost.left.dead_letters -= 1;
                    lost.queue.remove(place);
                    next.push((Action::World("a message is dead-lettered"), lost));
                }
            }
        }
    }

    /// What a write came to, as its handler gets to see it.
    fn as_told(&self, written: &Written, reader: &MessageId) -> Written {
        match written.clone() {
            Written::Refused(Some(item)) => Written::Refused(Some(Box::new(self.as_read(*item, reader)))),
            other => other,
        }
    }

    /// The item as a handler gets to see it.
    fn as_read(&self, item: Item, reader: &MessageId) -> Item {
        self.mutant.map_or(item.clone(), |mutant| mutant.read(item, reader))
    }

    fn write(&self, state: &mut State, write: &Write) -> Written {
        let before = state.item.clone();
        let changed = self.mutant.and_then(|mutant| Some((mutant, before.clone()?)));
        let (write, before) = match changed {
            Some((mutant, item)) => {
                let (write, item) = mutant.write(write.clone(), item);
                (write, Some(item))
            }
            None => (write.clone(), before),
        };
        match write.apply(before.as_ref()) {
            Written::Taken(item) => {
                let item = plain(*item);
                if let Write::Start { .. } | Write::Join { .. } = write {
                    state.accepted.extend(item.triggers.last().map(|trigger| trigger.message_id.clone()));
                }
                state.item = Some(item.clone());
                Written::Taken(Box::new(item))
            }
            Written::Refused(_) => Written::Refused(state.item.clone().map(Box::new)),
        }
    }
}

fn tick(rules: &Rules) -> Tick<'_> {
    Tick { now: NOW, jitter: Jitter::NONE, rules }
}

fn name_of(write: &Write) -> &'static str {
    match write {
        Write::Start { .. } => "starts a run",
        Write::Claim { .. } => "claims the run",
        Write::Join { .. } => "joins the run",
        Write::End { .. } => "records the ending",
        Write::MarkPublished { .. } => "marks the ending as published",
        Write::MoveSweep { .. } => "moves the run in the index",
    }
}

impl State {
    fn give(&mut self, handler: usize, input: Input) {
        let running = &mut self.handlers[handler];
        running.step = running.handling.next(input, tick(&rules()));
        if running.step == Step::Call {
            running.run_id = self.item.as_ref().map(|item| item.run_id);
        }
    }

    fn release(&mut self, id: &MessageId) {
        if let Some(message) = self.queue.iter_mut().find(|message| message.id == *id) {
            message.in_flight -= 1;
        }
    }

    fn send(&mut self, poll: Poll) {
        let id = (0..IDS).map(|n| MessageId::new(format!("p{n}"))).find(|id| !self.uses_message(id)).unwrap();
        self.queue.push(Queued { id, task: Task::Poll(poll), in_flight: 0 });
    }

    fn publish(&mut self, event: &Event) {
        let run_id = self.run_of(event);
        let mut hasher = DefaultHasher::new();
        event.detail_json().hash(&mut hasher);
        let hash = hasher.finish();
        let triggers: Vec<_> = event.detail.triggers.iter().map(|trigger| trigger.message_id.clone()).collect();
        if triggers.iter().collect::<BTreeSet<_>>().len() < triggers.len() {
            self.broken = Some("an ending tells a trigger twice (S5)");
        }
        match self.published.iter().find(|(known, _, _)| *known == run_id) {
            Some((_, before, _)) if *before != hash => self.broken = Some("one ending is published in two forms (S2)"),
            Some(_) => {}
            None => {
                let again = triggers.iter().any(|id| self.published.iter().any(|(_, _, told)| told.contains(id)));
                if again {
                    self.broken = Some("a trigger is in two endings (S5)");
                }
                self.published.push((run_id, hash, triggers));
            }
        }
    }

    fn run_of(&self, event: &Event) -> RunId {
        (0..IDS).map(RunId::from_random).find(|run| Some(run.as_uuid()) == event.detail.run_id).unwrap()
    }

    /// What a call of this run finds when it lands: what it is told, the world after it, and that in words.
    fn land(&self, run_id: RunId) -> Vec<(Answer, Self, &'static str)> {
        let to = |sync: Sync| Self { sync, ..self.clone() };
        let finish = (Answer::Over(Finish::Done), to(Sync::Told(run_id)), "calls, and the sync is over");
        match self.sync {
            Sync::Idle => {
                vec![(Answer::InProgress(Progress::Started), to(Sync::Running(0)), "calls, and the sync starts")]
            }
            Sync::Running(0) => vec![
                finish,
                (Answer::InProgress(Progress::Running), to(Sync::Running(1)), "calls, and the sync is running"),
            ],
            Sync::Running(_) => vec![finish],
            Sync::Told(_) => {
                let what = "calls, and the sync starts again";
                vec![(Answer::InProgress(Progress::Started), to(Sync::Running(0)), what)]
            }
        }
    }

    fn uses_message(&self, id: &MessageId) -> bool {
        self.queue.iter().any(|message| message.id == *id)
            || self.handlers.iter().any(|running| running.id == *id)
            || self.item.as_ref().is_some_and(|item| item.holder == *id)
    }

    /// A fence that nobody has, so that states that differ only in the names of their fences are one.
    fn unused_claim(&self) -> ClaimId {
        let mut used: Vec<ClaimId> = Vec::new();
        used.extend(self.item.as_ref().map(|item| item.claim_id));
        let mut of_task = |task: &Task| {
            if let Task::Poll(poll) = task {
                used.push(poll.claim_id);
            }
        };
        self.queue.iter().for_each(|message| of_task(&message.task));
        self.handlers.iter().for_each(|running| of_task(&running.task));
        used.extend(self.handlers.iter().map(|running| running.claim_id));
        for write in &self.late_writes {
            used.extend(write.claims());
            match write {
                Write::Claim { claimable: Claimable::ByPoll { claim_id, .. }, .. }
                | Write::Claim { claimable: Claimable::ByTrigger { claim_id }, .. }
                | Write::End { claim_id, .. } => used.push(*claim_id),
                _ => {}
            }
        }
        (0..IDS).map(ClaimId::from_random).find(|claim| !used.contains(claim)).unwrap()
    }

    fn unused_run(&self) -> RunId {
        let mut used: Vec<RunId> = self.item.iter().map(|item| item.run_id).collect();
        used.extend(self.published.iter().map(|(run_id, _, _)| *run_id));
        used.extend(&self.late_calls);
        used.extend(self.handlers.iter().map(|running| running.fresh_run));
        used.extend(self.late_writes.iter().filter_map(|write| match write {
            Write::Start { item, .. } => Some(item.run_id),
            _ => None,
        }));
        used.extend(self.queue.iter().filter_map(|message| match &message.task {
            Task::Poll(poll) => Some(poll.run_id),
            _ => None,
        }));
        (0..IDS).map(RunId::from_random).find(|run| !used.contains(run)).unwrap()
    }
}
