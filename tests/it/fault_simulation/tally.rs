//! Counts over many seeds: which faults occurred, and their effects.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use postpress_bridge::postpress::{Answer, Failure, Progress};
use postpress_bridge::run::WriteResult;

use super::history::{Effect, Entry, Fault, History, Operation, Point, What};
use super::plan::{Kind, Service};
use super::promises::Judgement;
use super::repeats::Repeat;
use super::restarts::Restart;

type Counts<K> = BTreeMap<K, usize>;

/// What can happen to a message on the queue, and to a call of the provider.
const MESSAGES: [&str; 15] = [
    "triggers",
    "triggers with a key",
    "invalid triggers",
    "sweeps",
    "visible again in flight",
    "delivered after deletion",
    "receives lost",
    "deletes lost",
    "dead letters",
    "dead triggers never accepted",
    "triggers answered with an earlier run",
    "triggers for a later sync",
    "waits",
    "cancels",
    "runs cancelled",
];
const CALLS: [&str; 10] = [
    "chunk done",
    "calls",
    "503 in a brown-out",
    "5xx",
    "429",
    "401",
    "unusable 200",
    "no answer in time",
    "connection lost",
    "caller died",
];

#[derive(Default)]
pub(super) struct Tally {
    worlds: usize,
    gentle_worlds: usize,
    invocations: usize,
    operations: usize,
    accepted: usize,
    runs: usize,
    endings: usize,
    messages: Counts<&'static str>,
    calls: Counts<&'static str>,
    landings: Counts<&'static str>,
    crashes: Counts<Point>,
    faults: Counts<(Operation, &'static str)>,
    /// Requests executed after the end of their invocation, and those of them that changed the table.
    posthumous: Counts<Operation>,
    posthumous_writes_applied: Counts<Operation>,
    brown_outs: Counts<Service>,
    restarts: Counts<Restart>,
    repeats: Counts<Repeat>,
}

fn count<K: Ord>(counts: &mut Counts<K>, what: K) {
    *counts.entry(what).or_default() += 1;
}

impl Tally {
    pub(super) fn add(&mut self, history: &History, verdict: &Judgement) {
        self.worlds += 1;
        self.gentle_worlds += usize::from(history.plan.is_gentle());
        self.accepted += verdict.accepted;
        self.runs += verdict.runs;
        self.endings += verdict.endings;
        history.entries.iter().for_each(|entry| self.add_entry(entry));
        self.add_posthumous(&history.entries);
        history.plan.brown_outs.iter().for_each(|out| count(&mut self.brown_outs, out.service));
        verdict.restarts.iter().for_each(|restart| count(&mut self.restarts, *restart));
        verdict.repeats.iter().for_each(|repeat| count(&mut self.repeats, *repeat));
        history.dead_letters.iter().for_each(|_| count(&mut self.messages, "dead letters"));
        for _ in 0..verdict.dead_triggers {
            count(&mut self.messages, "dead triggers never accepted");
        }
        for _ in 0..verdict.waits {
            count(&mut self.messages, "waits");
        }
        for _ in 0..verdict.cancelled {
            count(&mut self.messages, "runs cancelled");
        }
        for _ in 0..verdict.waited_too_long {
            count(&mut self.messages, "triggers that waited too long");
        }
        for _ in 0..verdict.fresh_answers {
            count(&mut self.messages, "triggers answered with an earlier run");
        }
        for call in &history.calls {
            match (call.said, call.delivered) {
                (None, _) => count(&mut self.landings, "never landed"),
                (Some(_), false) => count(&mut self.landings, "landed, reply lost"),
                (Some(_), true) => count(&mut self.landings, "answered"),
            }
        }
    }

    /// Counts requests executed after their invocation had died or answered.
    fn add_posthumous(&mut self, entries: &[Entry]) {
        let mut over = HashSet::new();
        for Entry { invocation, what, .. } in entries {
            match what {
                What::Died { .. } | What::Returned { .. } => drop(over.insert(*invocation)),
                What::Done { number, effect } if over.contains(invocation) => {
                    let What::Asked { request, .. } = &entries[*number].what else { continue };
                    count(&mut self.posthumous, request.operation());
                    if matches!(effect, Effect::Written(WriteResult::Applied(_))) {
                        count(&mut self.posthumous_writes_applied, request.operation());
                    }
                }
                _ => {}
            }
        }
    }

    fn add_entry(&mut self, entry: &Entry) {
        match &entry.what {
            What::Put { kind: Kind::Cancel, .. } => count(&mut self.messages, "cancels"),
            What::Put { kind: Kind::Trigger { key, after_request, .. }, .. } => {
                if *after_request {
                    count(&mut self.messages, "triggers for a later sync");
                }
                count(&mut self.messages, if key.is_some() { "triggers with a key" } else { "triggers" });
            }
            What::Put { kind: Kind::Invalid, .. } => count(&mut self.messages, "invalid triggers"),
            What::Put { kind: Kind::Sweep, .. } => count(&mut self.messages, "sweeps"),
            What::VisibleAgain { .. } => count(&mut self.messages, "visible again in flight"),
            What::DeletedAgain { .. } => count(&mut self.messages, "delivered after deletion"),
            What::ReceiveLost { .. } => count(&mut self.messages, "receives lost"),
            What::DeleteLost { .. } => count(&mut self.messages, "deletes lost"),
            What::Invoked { .. } => self.invocations += 1,
            What::Died { at } => count(&mut self.crashes, *at),
            What::Asked { request, fault, .. } => {
                self.operations += 1;
                if let Some(fault) = fault {
                    count(&mut self.faults, (request.operation(), fault.name()));
                }
            }
            What::Called { .. } => count(&mut self.calls, "calls"),
            What::ProviderOut => count(&mut self.calls, "503 in a brown-out"),
            What::Answered { answer, .. } => self.add_answer(answer),
            What::HungUp { .. } => count(&mut self.calls, "caller died"),
            What::Returned { .. } | What::Done { .. } | What::Heard { .. } | What::Healed => {}
        }
    }

    fn add_answer(&mut self, answer: &Answer) {
        let what = match answer {
            Answer::Unusable(_) => "unusable 200",
            Answer::InProgress(Progress::ChunkDone) => "chunk done",
            Answer::Failed(Failure { may_land_late: true, .. }) => "no answer in time",
            Answer::Failed(Failure { status: 502, detail, .. }) if detail.contains("connection") => "connection lost",
            Answer::Failed(Failure { status: 401, .. }) => "401",
            Answer::Failed(Failure { status: 429, .. }) => "429",
            Answer::Failed(Failure { status: 500.., .. }) => "5xx",
            Answer::Failed(_) | Answer::InProgress(_) | Answer::Over(_) => return,
        };
        count(&mut self.calls, what);
    }

    /// The faults that never occurred.
    pub(super) fn missing(&self) -> Vec<String> {
        let points = Operation::ALL.into_iter().flat_map(|at| [Point::Before(at), Point::After(at)]);
        let points = points.chain([Point::Anytime]);
        // An invocation ends with its answer.
        let points =
            points.filter(|point| *point != Point::After(Operation::Answer) && !self.crashes.contains_key(point));
        let operations = Operation::ALL.into_iter().filter(|at| !matches!(at, Operation::Call | Operation::Answer));
        let faults = operations.flat_map(|at| Fault::NAMES.map(|fault| (at, fault)));
        // A service that is down seldom lets an invocation reach its last requests.
        let faults = faults.filter(|(_, fault)| *fault != "out");
        let faults = faults.filter(|(at, fault)| {
            let has_entries = matches!(at, Operation::Send | Operation::Publish);
            (*fault != "entries failed" || has_entries) && !self.faults.contains_key(&(*at, *fault))
        });
        let services = Service::ALL.into_iter().filter(|service| !self.brown_outs.contains_key(service));
        let restarts = Restart::ALL.into_iter().filter(|restart| !self.restarts.contains_key(restart));
        let repeats = Repeat::ALL.into_iter().filter(|repeat| !self.repeats.contains_key(repeat));
        let writes = [Operation::Start, Operation::Claim, Operation::Join, Operation::End, Operation::Mark];
        let writes = writes.into_iter().filter(|write| !self.posthumous_writes_applied.contains_key(write));
        let messages = MESSAGES.into_iter().filter(|what| !self.messages.contains_key(what));
        let calls = CALLS.into_iter().filter(|what| !self.calls.contains_key(what));
        (points.map(|point| format!("a crash {point:?}")))
            .chain(faults.map(|(at, fault)| format!("{at:?} {fault}")))
            .chain(writes.map(|write| format!("{write:?} by an invocation that was over")))
            .chain(services.map(|service| format!("a brown-out of {service:?}")))
            .chain(restarts.map(|restart| format!("a restart by {restart:?}")))
            .chain(repeats.map(|repeat| format!("a repeat by {repeat:?}")))
            .chain(messages.chain(calls).map(str::to_owned))
            .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worlds, gentle_worlds, invocations, operations, accepted, runs, endings, .. } = self;
        writeln!(f, "{worlds} worlds, {gentle_worlds} of them with nothing that loses an answer")?;
        writeln!(f, "{invocations} invocations, {operations} requests of table, queue and bus")?;
        writeln!(f, "{accepted} triggers accepted, {runs} runs, {endings} endings")?;
        writeln!(f, "messages: {:?}", self.messages)?;
        writeln!(f, "calls: {:?}; {:?}", self.calls, self.landings)?;
        writeln!(f, "restarts: {:?}", self.restarts)?;
        writeln!(f, "events repeated: {:?}", self.repeats)?;
        writeln!(f, "executed after the invocation's end: {:?}", self.posthumous)?;
        writeln!(f, "  of which changed the table: {:?}", self.posthumous_writes_applied)?;
        writeln!(f, "brown-outs: {:?}", self.brown_outs)?;
        writeln!(f, "crashes: {}: {:?}", self.crashes.values().sum::<usize>(), self.crashes)?;
        writeln!(f, "faults: {}", self.faults.values().sum::<usize>())?;
        for operation in Operation::ALL {
            let own = self.faults.iter().filter(|((at, _), _)| *at == operation);
            let own: Counts<_> = own.map(|((_, fault), times)| (*fault, *times)).collect();
            if !own.is_empty() {
                writeln!(f, "  {operation:?}: {own:?}")?;
            }
        }
        Ok(())
    }
}
