//! One message's way through the protocol.
//!
//! A [`Handling`] does nothing by itself: it says which [`Step`] comes next and is told what came of it. The worker carries
//! the steps out against AWS, the tests against memory, and a model check against every fault there is; the order of the
//! effects, on which the promises rest, is written down here once.

use crate::event::Event;
use crate::ids::{ClaimId, MessageId, RunId};
use crate::message::{Poll, TriggerMessage};
use crate::postpress::Answer;
use crate::time::Millis;

use super::claim::{Claimant, ForTrigger, RefusedPoll, for_poll, for_refused_poll, for_trigger};
use super::{AfterCall, Delay, Item, Jitter, Learned, Outcome, Phase, Rules, Write, Written, after_call};

/// How often one delivery of a trigger decides anew when others change the item under it.
const DECISIONS_MAX: u8 = 5;

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Task {
    /// Start a run, or join one.
    Trigger(TriggerMessage),
    /// Look at a run again.
    Poll(Poll),
    /// Answer a message that is refused with this event.
    Refuse(Box<Event>),
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
pub struct Tick<'a> {
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
pub enum Input {
    /// Of [`Step::Read`].
    Read(Option<Box<Item>>),
    /// Of [`Step::Write`].
    Written(Written),
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
    /// The ending of somebody who did not get to publish it is out.
    Published,
    /// The trigger is part of the run in flight.
    Joined,
    /// The trigger has been dealt with before.
    Duplicate,
    /// Somebody has claimed the run since this poll was sent.
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
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Reading,
    Claiming(Write),
    Joining(Write),
    Calling(Box<Item>),
    PollingOn,
    Recording { item: Box<Item>, outcome: Outcome, learned: Learned },
    HandingOn,
    Publishing { item: Box<Item>, then: Then },
    Marking(Then),
    Refusing,
    Over,
}

/// What follows once an ending is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Then {
    Acknowledge(Acknowledged),
    DecideAgain,
}

/// One delivery of one message, on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handling {
    task: Task,
    claimant: Claimant,
    state: State,
    decisions: u8,
    held_until: Option<Millis>,
}

impl Handling {
    /// Begins with a message; the step is the first to carry out.
    pub fn begin(task: Task, call: Call, tick: Tick<'_>) -> (Self, Step) {
        let Call { message_id, claim_id, run_id, lease_until_ms } = call;
        let claimant = Claimant { message_id, claim_id, run_id, lease_until_ms };
        let mut handling = Self { task, claimant, state: State::Over, decisions: 0, held_until: None };
        let step = match &handling.task {
            Task::Trigger(_) => handling.read(),
            Task::Poll(poll) => {
                let write = for_poll(poll, &handling.claimant, tick.now);
                handling.write(State::Claiming, write)
            }
            Task::Refuse(event) => {
                let event = event.clone();
                handling.refuse(event)
            }
        };
        (handling, step)
    }

    /// Until then no delivery of this message can claim, since this or an earlier one holds the run, or may hold it.
    pub fn held_until(&self) -> Option<Millis> {
        self.held_until
    }

    /// Goes on with what came of the last step.
    pub fn next(&mut self, input: Input, tick: Tick<'_>) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), input) {
            (State::Reading, Input::Read(item)) => self.decide(item.as_deref(), tick),
            (State::Claiming(write), Input::Written(written)) => self.claimed(&write, written, tick),
            (State::Joining(write), Input::Written(written)) => self.joined(&write, written, tick),
            (State::Calling(item), Input::Answered(answer)) => self.answered(item, &answer, tick),
            (State::PollingOn, Input::Done) => acknowledge(Acknowledged::PolledOn),
            (State::Recording { .. }, Input::Written(written)) => self.recorded(written),
            (State::Recording { item, outcome, learned }, Input::Failed | Input::NoTime) => {
                let poll = self.poll(&item, Some(learned), Some(outcome));
                self.send(State::HandingOn, poll, Delay::NONE)
            }
            (State::HandingOn, Input::Done) => acknowledge(Acknowledged::HandedOn),
            (State::Publishing { item, then }, Input::Done) => self.mark_published(&item, then, tick),
            // A refused mark is no failure: the chat has another run by now, or the item is gone.
            (State::Marking(then), Input::Written(_)) => match then {
                Then::Acknowledge(why) => acknowledge(why),
                Then::DecideAgain => self.read(),
            },
            (State::Refusing, Input::Done) => acknowledge(Acknowledged::Refused),
            (_, Input::NoTime) => Step::Done(Verdict::Return(Returned::NoTime)),
            (State::Claiming(_), Input::Failed) => {
                self.held_until = Some(self.claimant.lease_until_ms); // it may have been written
                Step::Done(Verdict::Return(Returned::Failed))
            }
            _ => Step::Done(Verdict::Return(Returned::Failed)),
        }
    }

    /// A trigger decides from the item as read.
    fn decide(&mut self, item: Option<&Item>, tick: Tick<'_>) -> Step {
        let Task::Trigger(message) = &self.task else {
            return Step::Done(Verdict::Return(Returned::Failed));
        };
        if self.decisions == DECISIONS_MAX {
            return Step::Done(Verdict::Return(Returned::Contended));
        }
        self.decisions += 1;
        match (for_trigger(item, message, &self.claimant, tick.now, tick.rules), item) {
            (ForTrigger::Claim(write), _) => self.write(State::Claiming, write),
            (ForTrigger::Join(write), _) => self.write(State::Joining, write),
            (ForTrigger::Publish, Some(item)) => self.publish(item, Then::Acknowledge(Acknowledged::Published)),
            (ForTrigger::PublishThenDecide, Some(item)) => self.publish(item, Then::DecideAgain),
            (ForTrigger::TooMany, _) => {
                let event = Event::of_too_many_triggers(message);
                self.refuse(Box::new(event))
            }
            (ForTrigger::ComeBack, item) => self.come_back(item),
            (ForTrigger::Duplicate | ForTrigger::Publish | ForTrigger::PublishThenDecide, _) => {
                acknowledge(Acknowledged::Duplicate)
            }
        }
    }

    /// A claim was written, or refused.
    fn claimed(&mut self, write: &Write, written: Written, tick: Tick<'_>) -> Step {
        let item = match written {
            Written::Taken(item) => return self.call_or_record(item),
            Written::Refused(item) => item,
        };
        match &self.task {
            Task::Poll(poll) => {
                let Write::Claim { now, .. } = write else {
                    return acknowledge(Acknowledged::Superseded);
                };
                match (for_refused_poll(item.as_deref(), poll, &self.claimant, *now), item) {
                    (RefusedPoll::OwnWrite, Some(item)) => self.call_or_record(item),
                    (RefusedPoll::Publish, Some(item)) => {
                        self.publish(&item, Then::Acknowledge(Acknowledged::Published))
                    }
                    (RefusedPoll::ComeBack, item) => self.come_back(item.as_deref()),
                    (RefusedPoll::Superseded, _) => acknowledge(Acknowledged::Superseded),
                    (RefusedPoll::Over | RefusedPoll::OwnWrite | RefusedPoll::Publish, _) => {
                        acknowledge(Acknowledged::Over)
                    }
                }
            }
            // The item's key alone would prove nothing: it may be a twin's claim.
            Task::Trigger(_) | Task::Refuse(_) => match item {
                Some(item) if item.claim_id == self.claimant.claim_id => self.call_or_record(item),
                item => self.decide(item.as_deref(), tick),
            },
        }
    }

    /// A trigger was added to the run in flight, or refused.
    fn joined(&mut self, write: &Write, written: Written, tick: Tick<'_>) -> Step {
        let Write::Join { key, .. } = write else {
            return acknowledge(Acknowledged::Joined);
        };
        match written {
            Written::Taken(_) => acknowledge(Acknowledged::Joined),
            Written::Refused(Some(item)) if item.keys.contains(key) => acknowledge(Acknowledged::Joined),
            Written::Refused(item) => self.decide(item.as_deref(), tick),
        }
    }

    /// An earlier delivery of this message holds the run, or died holding it.
    fn come_back(&mut self, item: Option<&Item>) -> Step {
        self.held_until = item.map(|item| item.lease_until_ms);
        Step::Done(Verdict::Return(Returned::LeaseHeld))
    }

    /// The claim is ours: call, unless the message brings the answer along.
    fn call_or_record(&mut self, item: Box<Item>) -> Step {
        self.held_until = Some(item.lease_until_ms);
        match &self.task {
            Task::Poll(Poll { answer: Some(outcome), .. }) => {
                let (outcome, learned) = (outcome.clone(), item.learned.clone());
                self.record(item, outcome, learned)
            }
            _ => {
                self.state = State::Calling(item);
                Step::Call
            }
        }
    }

    fn answered(&mut self, item: Box<Item>, answer: &Answer, tick: Tick<'_>) -> Step {
        match after_call(&item, answer, tick.now, tick.jitter, &tick.rules.schedule) {
            AfterCall::PollAgain { learned, delay } => {
                let poll = self.poll(&item, Some(learned), None);
                self.send(State::PollingOn, poll, delay)
            }
            AfterCall::End { outcome, learned } => self.record(item, outcome, learned),
        }
    }

    fn record(&mut self, item: Box<Item>, outcome: Outcome, learned: Learned) -> Step {
        let write = Write::End {
            chat_id: item.chat_id.clone(),
            claim_id: self.claimant.claim_id,
            outcome: outcome.clone(),
            learned: learned.clone(),
        };
        self.state = State::Recording { item, outcome, learned };
        Step::Write(write)
    }

    fn recorded(&mut self, written: Written) -> Step {
        match written {
            Written::Taken(item) => self.publish(&item, Then::Acknowledge(Acknowledged::Ended)),
            Written::Refused(Some(item)) if item.phase == Phase::Ended && item.claim_id == self.claimant.claim_id => {
                self.publish(&item, Then::Acknowledge(Acknowledged::Ended))
            }
            Written::Refused(Some(item)) if item.unpublished().is_some() => {
                self.publish(&item, Then::Acknowledge(Acknowledged::Published))
            }
            Written::Refused(_) => acknowledge(Acknowledged::Superseded),
        }
    }

    fn publish(&mut self, item: &Item, then: Then) -> Step {
        let Some(event) = Event::of_run(item) else {
            return Step::Done(Verdict::Return(Returned::Failed));
        };
        self.state = State::Publishing { item: Box::new(item.clone()), then };
        Step::Publish(Box::new(event))
    }

    fn mark_published(&mut self, item: &Item, then: Then, tick: Tick<'_>) -> Step {
        self.state = State::Marking(then);
        Step::Write(Write::MarkPublished {
            chat_id: item.chat_id.clone(),
            run_id: item.run_id,
            expires_at: (tick.now + tick.rules.run_ttl).epoch_seconds(),
        })
    }

    fn poll(&self, item: &Item, learned: Option<Learned>, answer: Option<Outcome>) -> Poll {
        let (chat_id, run_id) = (item.chat_id.clone(), item.run_id);
        Poll { chat_id, run_id, claim_id: self.claimant.claim_id, learned, answer }
    }

    fn read(&mut self) -> Step {
        self.state = State::Reading;
        Step::Read
    }

    fn write(&mut self, state: fn(Write) -> State, write: Write) -> Step {
        self.state = state(write.clone());
        Step::Write(write)
    }

    fn send(&mut self, state: State, poll: Poll, delay: Delay) -> Step {
        self.state = state;
        Step::Send { poll, delay }
    }

    fn refuse(&mut self, event: Box<Event>) -> Step {
        self.state = State::Refusing;
        Step::Publish(event)
    }
}

fn acknowledge(why: Acknowledged) -> Step {
    Step::Done(Verdict::Acknowledge(why))
}

#[cfg(test)]
#[path = "handling_tests.rs"]
pub(super) mod tests;
