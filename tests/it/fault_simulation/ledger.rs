//! A history indexed by the subjects of the promises: what was accepted, recorded, published, called and killed, and where
//! in the history. Places are indices into [`History::entries`].

use std::collections::{BTreeMap, HashMap};

use postpress_bridge::event::{EndedBy, Event};
use postpress_bridge::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
use postpress_bridge::postpress::{Answer, Resync};
use postpress_bridge::run::{Disposition, Ending, Outcome, Phase, Poll, RunState, Write, WriteResult};
use uuid::Uuid;

use super::history::{Effect, Entry, Fault, History, Request, What};

pub(super) type Place = usize;

/// A trigger accepted by a start or a join.
pub(super) struct Accepted {
    pub(super) chat: Subject,
    pub(super) key: TriggerKey,
    pub(super) run: RunId,
    pub(super) at: Place,
    /// The run's options.
    pub(super) resync: Resync,
}

/// An attempt to write an ending, to publish one, or to mark it as published.
pub(super) struct Attempt {
    pub(super) asked: Place,
    pub(super) invocation: u32,
    pub(super) fault: Option<Fault>,
    /// When it was executed, if it was; a write's condition may have failed then.
    pub(super) done: Option<Place>,
    pub(super) taken: bool,
}

pub(super) struct EndAttempt {
    pub(super) chat: Subject,
    pub(super) claim: ClaimId,
    pub(super) outcome: Outcome,
    pub(super) attempt: Attempt,
}

/// An answer that could not be recorded and was forwarded in a poll.
pub(super) struct Forward {
    pub(super) run: RunId,
    pub(super) ending: Ending,
    pub(super) attempt: Attempt,
    /// The poll, if it was sent.
    pub(super) message: Option<MessageId>,
}

/// An event put on the bus.
pub(super) struct Publication {
    pub(super) attempt: Attempt,
    pub(super) event: Event,
}

impl Publication {
    /// The run whose ending it is; `None` if it answers a single trigger.
    pub(super) fn ended_run(&self) -> Option<Uuid> {
        self.event.detail.run_id.filter(|_| !self.is_fresh_answer())
    }

    /// Whether it answers a trigger with an earlier run.
    pub(super) fn is_fresh_answer(&self) -> bool {
        self.event.detail.ended_by == Some(EndedBy::Fresh)
    }
}

/// A call to the provider.
pub(super) struct Called {
    pub(super) begun: Place,
    pub(super) invocation: u32,
    pub(super) chat: Subject,
    pub(super) run: RunId,
    pub(super) claim: ClaimId,
    pub(super) phase: Phase,
    /// When it was answered, or its caller hung up.
    pub(super) over: Place,
    pub(super) answer: Option<Answer>,
}

/// A delivery of a message to an invocation.
pub(super) struct Delivery {
    pub(super) at: Place,
    pub(super) invocation: u32,
    pub(super) disposition: Option<Disposition>,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) accepted: Vec<(MessageId, Accepted)>,
    pub(super) started: HashMap<RunId, Place>,
    /// The claims' invocations and messages.
    pub(super) claimed: HashMap<ClaimId, (u32, MessageId)>,
    pub(super) end_attempts: Vec<EndAttempt>,
    pub(super) forwards: Vec<Forward>,
    pub(super) recorded: HashMap<RunId, (Place, ClaimId)>,
    /// When each run was first cancelled.
    pub(super) cancelled: HashMap<RunId, Place>,
    /// The claims of each run.
    pub(super) claims: Vec<(RunId, Place)>,
    /// Cancels of runs that had begun after they were sent.
    pub(super) cancelled_too_late: Vec<RunId>,
    pub(super) mark_attempts: Vec<(RunId, Attempt)>,
    pub(super) publications: BTreeMap<Uuid, Vec<Publication>>,
    pub(super) calls: BTreeMap<u64, Called>,
    pub(super) died: HashMap<u32, Place>,
    pub(super) returned: HashMap<u32, Place>,
    pub(super) deliveries: HashMap<MessageId, Vec<Delivery>>,
    /// When an invocation found an ending that was not confirmed published.
    pub(super) unpublished: Vec<(u32, RunId, Place)>,
    /// Receives whose response was lost, and deletes that were lost or undone.
    pub(super) receives_lost: HashMap<MessageId, u32>,
    pub(super) undeleted: HashMap<MessageId, u32>,
    pub(super) seen_again: HashMap<MessageId, u32>,
    /// Invocations in which a service failed.
    pub(super) failed_in: Vec<u32>,
}

impl Ledger {
    pub(super) fn of(history: &History) -> Self {
        let mut ledger = Self::default();
        for (place, entry) in history.entries.iter().enumerate() {
            ledger.enter(&history.entries, place, entry);
        }
        ledger
    }

    fn enter(&mut self, entries: &[Entry], place: Place, entry: &Entry) {
        let Entry { invocation, what, .. } = entry;
        match what {
            What::Invoked { messages } => {
                for (message, _) in messages {
                    let delivery = Delivery { at: place, invocation: *invocation, disposition: None };
                    self.deliveries.entry(message.clone()).or_default().push(delivery);
                }
            }
            What::Returned { dispositions } => {
                self.returned.insert(*invocation, place);
                for (message, disposition) in dispositions {
                    let deliveries = self.deliveries.entry(message.clone()).or_default().iter_mut();
                    let own = deliveries.filter(|delivery| delivery.invocation == *invocation);
                    own.for_each(|delivery| delivery.disposition = Some(*disposition));
                }
            }
            What::Died { .. } => drop(self.died.insert(*invocation, place)),
            What::Called { call, chat, run: Some((run, claim, phase)) } => {
                let (run, claim, phase) = (*run, *claim, *phase);
                let (begun, over) = (place, usize::MAX);
                let (invocation, chat) = (*invocation, chat.clone());
                self.calls.insert(*call, Called { begun, invocation, chat, run, claim, phase, over, answer: None });
            }
            What::Answered { call, answer } => self.call_over(*call, place, Some(answer.clone())),
            What::HungUp { call } => self.call_over(*call, place, None),
            What::Asked { request, fault, .. } => self.asked(place, *invocation, request, fault.as_ref()),
            What::Done { number, effect } => {
                if let What::Asked { request, .. } = &entries[*number].what {
                    self.done(place, *number, *invocation, request, effect);
                }
            }
            What::VisibleAgain { message, .. } => *self.seen_again.entry(message.clone()).or_default() += 1,
            What::DeletedAgain { message, .. } => *self.undeleted.entry(message.clone()).or_default() += 1,
            What::ReceiveLost { messages } => count(&mut self.receives_lost, messages),
            What::DeleteLost { messages } => count(&mut self.undeleted, messages),
            What::Put { .. }
            | What::Heard { .. }
            | What::ProviderOut
            | What::Called { run: None, .. }
            | What::Healed => {}
        }
    }

    fn call_over(&mut self, call: u64, place: Place, answer: Option<Answer>) {
        if let Some(called) = self.calls.get_mut(&call) {
            (called.over, called.answer) = (place, answer);
        }
    }

    fn asked(&mut self, asked: Place, invocation: u32, request: &Request, fault: Option<&Fault>) {
        if fault.is_some() {
            self.failed_in.push(invocation);
        }
        let attempt = || Attempt { asked, invocation, fault: fault.cloned(), done: None, taken: false };
        match request {
            Request::Write(Write::End { subject, claim_id, outcome, .. }) => {
                let (chat, claim, outcome) = (subject.clone(), *claim_id, outcome.clone());
                self.end_attempts.push(EndAttempt { chat, claim, outcome, attempt: attempt() });
            }
            Request::Write(Write::MarkPublished { run_id, .. }) => self.mark_attempts.push((*run_id, attempt())),
            Request::Send(messages) => {
                let polls = messages.iter().filter_map(|message| serde_json::from_str::<Poll>(&message.body).ok());
                for poll in polls {
                    if let Some(Outcome { ending, .. }) = poll.answer {
                        self.forwards.push(Forward { run: poll.run_id, ending, attempt: attempt(), message: None });
                    }
                }
            }
            Request::Publish(events) => {
                for event in events {
                    let publication = Publication { attempt: attempt(), event: event.clone() };
                    self.publications.entry(event.detail.event_id).or_default().push(publication);
                }
            }
            _ => {}
        }
    }

    fn done(&mut self, place: Place, asked: Place, invocation: u32, request: &Request, effect: &Effect) {
        if let Some(item) = effect.item().filter(|item| matches!(item.state, RunState::Ended { .. })) {
            self.unpublished.push((invocation, item.run_id, place));
        }
        match (request, effect) {
            (Request::Write(write), Effect::Written(written)) => self.written(place, asked, invocation, write, written),
            // It is sent alone, so that nothing delays it.
            (Request::Send(_), Effect::Sent(ids)) => {
                for forward in self.forwards.iter_mut().filter(|forward| forward.attempt.asked == asked) {
                    forward.attempt.done = Some(place);
                    forward.message = ids.first().cloned().flatten();
                }
            }
            (Request::Publish(events), Effect::Published(out)) => {
                for (event, is_out) in events.iter().zip(out) {
                    let publications = self.publications.entry(event.detail.event_id).or_default().iter_mut();
                    for publication in publications.filter(|publication| publication.attempt.asked == asked) {
                        publication.attempt.done = Some(place);
                        publication.attempt.taken = *is_out;
                    }
                }
            }
            _ => {}
        }
    }

    fn written(&mut self, place: Place, asked: Place, invocation: u32, write: &Write, written: &WriteResult) {
        let taken = matches!(written, WriteResult::Applied(_));
        let ends = self.end_attempts.iter_mut().map(|end| &mut end.attempt);
        let marks = self.mark_attempts.iter_mut().map(|(_, attempt)| attempt);
        for attempt in ends.chain(marks).filter(|attempt| attempt.asked == asked) {
            (attempt.done, attempt.taken) = (Some(place), taken);
        }
        let WriteResult::Applied(item) = written else { return };
        if let Some(claim) = write.claims() {
            self.claimed.insert(claim, (invocation, item.holder.clone()));
            self.claims.push((item.run_id, place));
        }
        let (chat, run) = (item.subject.clone(), item.run_id);
        match write {
            Write::Start { item, .. } => {
                self.started.insert(run, place);
                let key = *item.keys.first().expect("a run starts with a trigger");
                let accepted = Accepted { chat, key, run, at: place, resync: item.resync.clone() };
                self.accepted.push((item.triggers[0].message_id.clone(), accepted));
            }
            Write::Join { key, trigger, .. } => {
                let accepted = Accepted { chat, key: *key, run, at: place, resync: item.resync.clone() };
                self.accepted.push((trigger.message_id.clone(), accepted));
            }
            Write::Cancel { requested_at, .. } => {
                self.cancelled.entry(run).or_insert(place);
                if item.started_at_ms > *requested_at {
                    self.cancelled_too_late.push(run);
                }
            }
            Write::End { claim_id, .. } => drop(self.recorded.insert(run, (place, *claim_id))),
            _ => {}
        }
    }

    /// Whether the invocation died between these two places.
    pub(super) fn died_between(&self, invocation: u32, after: Place, before: Place) -> bool {
        self.died.get(&invocation).is_some_and(|died| (after..before).contains(died))
    }
}

fn count(times: &mut HashMap<MessageId, u32>, messages: &[MessageId]) {
    for message in messages {
        *times.entry(message.clone()).or_default() += 1;
    }
}
