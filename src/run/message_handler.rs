//! One message's way through the protocol.
//!
//! A [`MessageHandler`] does nothing by itself: it says which [`Step`] comes next and is told what came of it. The worker carries
//! the steps out against AWS, the tests against memory, and a model check against every fault there is; the order of the
//! effects, on which the promises rest, is written down here once.

use crate::event::Event;
use crate::ids::{ChatId, ClaimId, MessageId, RunId};
use crate::postpress::Answer;
use crate::time::Millis;

use super::claim::{Claimant, ForTrigger, RefusedPoll, for_poll, for_refused_poll, for_trigger};
use super::{
    AfterCall, Delay, Item, Jitter, Outcome, Phase, Poll, PollState, Rules, TriggerMessage, Write, WriteResult,
    after_call,
};

/// How often one delivery of a trigger decides again when others change the item under it.
const DECISIONS_MAX: u8 = 5;

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Task {
    /// Start a run, or join one.
    Trigger(TriggerMessage),
    /// Look at a run again.
    Poll(Poll),
}

impl Task {
    /// The chat that it is about.
    pub fn chat_id(&self) -> &ChatId {
        match self {
            Self::Trigger(message) => &message.chat_id,
            Self::Poll(poll) => &poll.chat_id,
        }
    }
}

/// What a delivery may claim with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// The message's id, the same at every delivery.
    pub message_id: MessageId,
    /// A fresh random fence.
    pub claim_id: ClaimId,
    /// A fresh random run, should this delivery start one.
    pub run_id: RunId,
    /// The end of the invocation and the margin for clock skew.
    pub lease_until_ms: Millis,
}

/// Time and chance at a step.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// The time of day.
    pub now: Millis,
    /// Chance's share of the next delay.
    pub jitter: Jitter,
    /// The deployment's rules.
    pub rules: &'a Rules,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read the chat's item, consistently.
    Read,
    /// Carry this write out. If it claims, only with enough of the invocation left for a call.
    Write(Write),
    /// Call the provider, once, within what is left of the invocation.
    Call,
    /// Send this poll, with this delay.
    Send {
        /// The message.
        poll: Poll,
        /// Its delay.
        delay: Delay,
    },
    /// Publish this event.
    Publish(Box<Event>),
    /// Nothing: the message is dealt with.
    Done(Verdict),
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StepResult {
    /// Of [`Step::Read`].
    Read(Option<Box<Item>>),
    /// Of [`Step::Write`].
    Written(WriteResult),
    /// Of [`Step::Call`].
    Answered(Answer),
    /// [`Step::Send`] or [`Step::Publish`] was done.
    Done,
    /// The step failed for as long as it may be tried; it may have been carried out all the same.
    Failed,
    /// The step was not begun, since too little of the invocation is left for it.
    NoTime,
}

/// What becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is dealt with; SQS may delete it.
    Acknowledge(Acknowledged),
    /// It is to come back: a batch item failure.
    Return(Returned),
}

/// Why a message is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Acknowledged {
    /// The run goes on in the poll that was sent.
    PolledOn,
    /// The run has ended, and its event is out.
    Ended,
    /// The ending of another message, which did not get to publish it, is published.
    Published,
    /// The trigger is part of the run in flight.
    Joined,
    /// The trigger has been dealt with before.
    Duplicate,
    /// Another message has claimed the run since this poll was sent.
    Superseded,
    /// The run of this poll is over.
    Over,
    /// The ending could not be recorded and travels on in a poll.
    HandedOn,
    /// It was answered with an error envelope.
    Refused,
}

/// Why a message is to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Returned {
    /// An earlier delivery of it still holds the run.
    LeaseHeld,
    /// Too little of the invocation was left.
    NoTime,
    /// The table, the queue or the bus failed.
    Failed,
    /// Others changed the item faster than it could decide.
    Contended,
    /// A bug: this was found, which the protocol rules out.
    Bug(&'static str),
}

/// The step whose result is awaited, with what is needed to go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Reading(Box<TriggerMessage>),
    ClaimingForTrigger(Box<TriggerMessage>),
    /// `now` is the time in the write.
    ClaimingForPoll {
        poll: Box<Poll>,
        now: Millis,
    },
    Joining(Box<TriggerMessage>),
    Calling(Box<Item>),
    PollingOn,
    /// The poll that carries the ending on if it cannot be recorded.
    Recording(Box<Poll>),
    HandingOn,
    Publishing {
        chat_id: ChatId,
        run_id: RunId,
        then: Then,
    },
    Marking(Then),
    Refusing,
    Over,
}

/// What follows once an ending is published.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Then {
    Acknowledge(Acknowledged),
    DecideAgain(Box<TriggerMessage>),
}

/// One delivery of one message, on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageHandler {
    claimant: Claimant,
    state: State,
    decisions: u8,
    held_until: Option<Millis>,
}

impl MessageHandler {
    /// Begins with a message; the step is the first to carry out.
    pub fn begin(task: Task, call: Call, tick: StepContext<'_>) -> (Self, Step) {
        let Call { message_id, claim_id, run_id, lease_until_ms } = call;
        let claimant = Claimant { message_id, claim_id, run_id, lease_until_ms };
        let mut handling = Self { claimant, state: State::Over, decisions: 0, held_until: None };
        let step = match task {
            Task::Trigger(message) => handling.read(Box::new(message)),
            Task::Poll(poll) => {
                let write = for_poll(&poll, &handling.claimant, tick.now);
                handling.write(State::ClaimingForPoll { poll: Box::new(poll), now: tick.now }, write)
            }
        };
        (handling, step)
    }

    /// Until then no delivery of this message can claim, since this or an earlier one holds the run, or may hold it.
    pub fn held_until(&self) -> Option<Millis> {
        self.held_until
    }

    /// Goes on with the result of the last step.
    pub fn next(&mut self, input: StepResult, tick: StepContext<'_>) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), input) {
            (State::Reading(message), StepResult::Read(item)) => self.decide(message, item.as_deref(), tick),
            (State::ClaimingForTrigger(message), StepResult::Written(written)) => {
                self.claimed_for_trigger(message, written, tick)
            }
            (State::ClaimingForPoll { poll, now }, StepResult::Written(written)) => {
                self.claimed_for_poll(&poll, written, now)
            }
            (State::Joining(message), StepResult::Written(written)) => self.joined(message, written, tick),
            (State::Calling(item), StepResult::Answered(answer)) => self.answered(&item, &answer, tick),
            (State::PollingOn, StepResult::Done) => acknowledge(Acknowledged::PolledOn),
            (State::Recording(_), StepResult::Written(written)) => self.recorded(written),
            (State::Recording(poll), StepResult::Failed | StepResult::NoTime) => {
                self.send(State::HandingOn, *poll, Delay::NONE)
            }
            (State::HandingOn, StepResult::Done) => acknowledge(Acknowledged::HandedOn),
            (State::Publishing { chat_id, run_id, then }, StepResult::Done) => {
                let expires_at = (tick.now + tick.rules.run_ttl).epoch_seconds();
                self.write(State::Marking(then), Write::MarkPublished { chat_id, run_id, expires_at })
            }
            // A refused mark is no failure: the chat has another run by now, or the item is gone.
            (State::Marking(then), StepResult::Written(_)) => match then {
                Then::Acknowledge(why) => acknowledge(why),
                Then::DecideAgain(message) => self.read(message),
            },
            (State::Refusing, StepResult::Done) => acknowledge(Acknowledged::Refused),
            (State::Over, _) => come_back(Returned::Bug("a message went on after its end")),
            (_, StepResult::NoTime) => come_back(Returned::NoTime),
            (State::ClaimingForTrigger(_) | State::ClaimingForPoll { .. }, StepResult::Failed) => {
                self.held_until = Some(self.claimant.lease_until_ms); // it may have been written
                come_back(Returned::Failed)
            }
            (State::Calling(_), StepResult::Failed) => come_back(Returned::Bug("a call failed without an answer")),
            (_, StepResult::Failed) => come_back(Returned::Failed),
            (_, StepResult::Read(_) | StepResult::Written(_) | StepResult::Answered(_) | StepResult::Done) => {
                come_back(Returned::Bug("a step was given the result of another kind of step"))
            }
        }
    }

    /// A trigger decides from the item as read.
    fn decide(&mut self, message: Box<TriggerMessage>, item: Option<&Item>, tick: StepContext<'_>) -> Step {
        if self.decisions == DECISIONS_MAX {
            return come_back(Returned::Contended);
        }
        self.decisions += 1;
        match for_trigger(item, &message, &self.claimant, tick.now, tick.rules) {
            ForTrigger::Claim(write) => self.write(State::ClaimingForTrigger(message), write),
            ForTrigger::Join(write) => self.write(State::Joining(message), write),
            ForTrigger::Publish(item) => self.publish(item, Then::Acknowledge(Acknowledged::Published)),
            ForTrigger::PublishThenDecide(item) => self.publish(item, Then::DecideAgain(message)),
            ForTrigger::TooMany => {
                self.state = State::Refusing;
                Step::Publish(Box::new(Event::of_too_many_triggers(&message)))
            }
            ForTrigger::ComeBack { held_until } => self.wait_for_lease(held_until),
            ForTrigger::Duplicate => acknowledge(Acknowledged::Duplicate),
        }
    }

    /// A trigger's claim was written, or refused.
    fn claimed_for_trigger(
        &mut self,
        message: Box<TriggerMessage>,
        written: WriteResult,
        tick: StepContext<'_>,
    ) -> Step {
        match written {
            WriteResult::Applied(item) => self.call(item),
            // The item's key alone would prove nothing: it may be a twin's claim.
            WriteResult::ConditionFailed(Some(item)) if item.claim_id == self.claimant.claim_id => self.call(item),
            WriteResult::ConditionFailed(item) => self.decide(message, item.as_deref(), tick),
        }
    }

    /// A poll's claim, made at `now`, was written, or refused.
    fn claimed_for_poll(&mut self, poll: &Poll, written: WriteResult, now: Millis) -> Step {
        let item = match written {
            WriteResult::Applied(item) => return self.call_or_record(item, poll),
            WriteResult::ConditionFailed(item) => item,
        };
        match for_refused_poll(item, poll, &self.claimant, now) {
            RefusedPoll::OwnWrite(item) => self.call_or_record(item, poll),
            RefusedPoll::Publish(item) => self.publish(&item, Then::Acknowledge(Acknowledged::Published)),
            RefusedPoll::ComeBack { held_until } => self.wait_for_lease(held_until),
            RefusedPoll::Over => acknowledge(Acknowledged::Over),
            RefusedPoll::Superseded => acknowledge(Acknowledged::Superseded),
        }
    }

    /// A trigger was added to the run in flight, or refused.
    fn joined(&mut self, message: Box<TriggerMessage>, written: WriteResult, tick: StepContext<'_>) -> Step {
        match written {
            WriteResult::Applied(_) => acknowledge(Acknowledged::Joined),
            WriteResult::ConditionFailed(Some(item)) if item.keys.contains(&message.key) => {
                acknowledge(Acknowledged::Joined)
            }
            WriteResult::ConditionFailed(item) => self.decide(message, item.as_deref(), tick),
        }
    }

    /// An earlier delivery of this message holds the run, or died holding it.
    fn wait_for_lease(&mut self, held_until: Millis) -> Step {
        self.held_until = Some(held_until);
        come_back(Returned::LeaseHeld)
    }

    /// The claim is ours, and a call follows.
    fn call(&mut self, item: Box<Item>) -> Step {
        self.held_until = Some(item.lease_until_ms);
        self.state = State::Calling(item);
        Step::Call
    }

    /// The claim is ours: call, unless the poll carries the answer.
    fn call_or_record(&mut self, item: Box<Item>, poll: &Poll) -> Step {
        let Some(outcome) = poll.answer.clone() else { return self.call(item) };
        self.held_until = Some(item.lease_until_ms);
        self.record(&item, outcome, item.learned.clone())
    }

    fn answered(&mut self, item: &Item, answer: &Answer, tick: StepContext<'_>) -> Step {
        match after_call(item, answer, tick.now, tick.jitter, &tick.rules.schedule) {
            AfterCall::PollAgain { learned, delay } => {
                let poll = self.poll(item, Some(learned), None);
                self.send(State::PollingOn, poll, delay)
            }
            AfterCall::End { outcome, learned } => self.record(item, outcome, learned),
        }
    }

    fn record(&mut self, item: &Item, outcome: Outcome, learned: PollState) -> Step {
        let write = Write::End {
            chat_id: item.chat_id.clone(),
            claim_id: self.claimant.claim_id,
            outcome: outcome.clone(),
            learned: learned.clone(),
        };
        self.state = State::Recording(Box::new(self.poll(item, Some(learned), Some(outcome))));
        Step::Write(write)
    }

    fn recorded(&mut self, written: WriteResult) -> Step {
        match written {
            WriteResult::Applied(item) => self.publish(&item, Then::Acknowledge(Acknowledged::Ended)),
            WriteResult::ConditionFailed(Some(item))
                if item.phase == Phase::Ended && item.claim_id == self.claimant.claim_id =>
            {
                self.publish(&item, Then::Acknowledge(Acknowledged::Ended))
            }
            WriteResult::ConditionFailed(Some(item)) if item.is_unpublished() => {
                self.publish(&item, Then::Acknowledge(Acknowledged::Published))
            }
            WriteResult::ConditionFailed(Some(_)) => acknowledge(Acknowledged::Superseded),
            WriteResult::ConditionFailed(None) => come_back(Returned::Bug("the item of a claimed run is gone")),
        }
    }

    fn publish(&mut self, item: &Item, then: Then) -> Step {
        let Some(event) = Event::of_run(item) else {
            return come_back(Returned::Bug("an ended run has no outcome"));
        };
        self.state = State::Publishing { chat_id: item.chat_id.clone(), run_id: item.run_id, then };
        Step::Publish(Box::new(event))
    }

    fn poll(&self, item: &Item, learned: Option<PollState>, answer: Option<Outcome>) -> Poll {
        let (chat_id, run_id) = (item.chat_id.clone(), item.run_id);
        Poll { chat_id, run_id, claim_id: self.claimant.claim_id, learned, answer }
    }

    fn read(&mut self, message: Box<TriggerMessage>) -> Step {
        self.state = State::Reading(message);
        Step::Read
    }

    fn write(&mut self, state: State, write: Write) -> Step {
        self.state = state;
        Step::Write(write)
    }

    fn send(&mut self, state: State, poll: Poll, delay: Delay) -> Step {
        self.state = state;
        Step::Send { poll, delay }
    }
}

fn acknowledge(why: Acknowledged) -> Step {
    Step::Done(Verdict::Acknowledge(why))
}

fn come_back(why: Returned) -> Step {
    Step::Done(Verdict::Return(why))
}

#[cfg(test)]
#[path = "message_handler_tests.rs"]
pub(super) mod tests;
