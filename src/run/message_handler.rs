//! One message's way through the protocol, as a state machine.
//!
//! A [`MessageHandler`] has no effects: it returns the next [`Step`], and is given the [`StepResult`]. The worker carries the
//! steps out on AWS, the tests in memory, and a model check under every fault. The order of the effects, on which the
//! protocol's promises rest, is written down here and nowhere else.

use crate::ids::{ChatId, RunId, Subject};
use crate::postpress::Answer;
use crate::time::Millis;

use super::claim::{Claimant, FailedClaim, TriggerDecision, for_failed_claim, for_poll, for_trigger};
use super::{
    AckReason, AfterCall, Delay, Disposition, EndedRun, Item, Jitter, Outcome, Poll, PollState, Publication,
    RetryReason, Rules, RunState, TriggerMessage, Write, WriteResult, after_call,
};

/// How often one delivery of a trigger decides again when others change the item meanwhile.
const DECISIONS_MAX: u8 = 5;

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Task {
    /// Start a run, or join one.
    Trigger(TriggerMessage),
    /// Continue a run.
    Poll(Poll),
}

/// Clock and randomness for one step.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// The time of day.
    pub now: Millis,
    /// The jitter of the next delay.
    pub jitter: Jitter,
    /// The deployment's rules.
    pub rules: &'a Rules,
}

/// The next step to carry out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read the item of this subject, consistently.
    Read(Subject),
    /// Carry out this write. One that claims needs enough time left in the invocation for a call.
    Write(Write),
    /// Call the provider for this chat, once, within the time left in the invocation.
    Call(ChatId),
    /// Send this poll.
    Send {
        /// The message.
        poll: Poll,
        /// Its delay.
        delay: Delay,
    },
    /// Publish the event built from this.
    Publish(Publication),
    /// No further step: the message is settled.
    Done(Disposition),
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StepResult {
    /// Of [`Step::Read`].
    Read(Option<Box<Item>>),
    /// Of [`Step::Write`].
    Written(WriteResult),
    /// Of [`Step::Call`].
    Answered(Answer),
    /// [`Step::Send`] or [`Step::Publish`] succeeded.
    Done,
    /// The step failed for as long as it may be retried. It may have taken effect all the same.
    Failed,
    /// The step was not begun: too little time is left in the invocation.
    NoTime,
}

/// The step whose result is awaited, with what is needed to continue.
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
    /// The poll that carries the ending if it cannot be recorded.
    Recording(Box<Poll>),
    HandingOn,
    Publishing {
        subject: Subject,
        run_id: RunId,
        then: Then,
    },
    Marking(Then),
    Refusing,
    Settled,
}

/// What follows once an ending is published.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Then {
    Ack(AckReason),
    DecideAgain(Box<TriggerMessage>),
}

/// One delivery of one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageHandler {
    claimant: Claimant,
    state: State,
    decisions: u8,
    held_until: Option<Millis>,
}

impl MessageHandler {
    /// Begins to handle a message, and returns the first step.
    pub fn begin(task: Task, claimant: Claimant, context: StepContext<'_>) -> (Self, Step) {
        let mut handler = Self { claimant, state: State::Settled, decisions: 0, held_until: None };
        let step = match task {
            Task::Trigger(message) => handler.read(Box::new(message)),
            Task::Poll(poll) => {
                let write = for_poll(&poll, &handler.claimant, context.now);
                handler.write(State::ClaimingForPoll { poll: Box::new(poll), now: context.now }, write)
            }
        };
        (handler, step)
    }

    /// Until when no delivery of this message can claim, because this delivery or an earlier one holds the run, or may hold it.
    pub fn held_until(&self) -> Option<Millis> {
        self.held_until
    }

    /// Continues with the result of the last step.
    pub fn next(&mut self, result: StepResult, context: StepContext<'_>) -> Step {
        match (std::mem::replace(&mut self.state, State::Settled), result) {
            (State::Reading(message), StepResult::Read(item)) => self.decide(message, item.as_deref(), context),
            (State::ClaimingForTrigger(message), StepResult::Written(written)) => {
                self.claimed_for_trigger(message, written, context)
            }
            (State::ClaimingForPoll { poll, now }, StepResult::Written(written)) => {
                self.claimed_for_poll(&poll, written, now)
            }
            (State::Joining(message), StepResult::Written(written)) => self.joined(message, written, context),
            (State::Calling(item), StepResult::Answered(answer)) => self.answered(&item, &answer, context),
            (State::PollingOn, StepResult::Done) => ack(AckReason::PolledOn),
            (State::Recording(_), StepResult::Written(written)) => self.recorded(written),
            (State::Recording(poll), StepResult::Failed | StepResult::NoTime) => {
                self.send(State::HandingOn, *poll, Delay::NONE)
            }
            (State::HandingOn, StepResult::Done) => ack(AckReason::HandedOn),
            (State::Publishing { subject, run_id, then }, StepResult::Done) => {
                let expires_at = (context.now + context.rules.run_ttl).epoch_seconds();
                self.write(State::Marking(then), Write::MarkPublished { subject, run_id, expires_at })
            }
            // If the condition failed, the chat has another run by now, or its item has expired.
            (State::Marking(then), StepResult::Written(_)) => match then {
                Then::Ack(reason) => ack(reason),
                Then::DecideAgain(message) => self.read(message),
            },
            (State::Refusing, StepResult::Done) => ack(AckReason::Refused),
            (State::Settled, _) => bug("a message went on after it was settled"),
            (_, StepResult::NoTime) => retry(RetryReason::NoTime),
            (State::ClaimingForTrigger(_) | State::ClaimingForPoll { .. }, StepResult::Failed) => {
                self.held_until = Some(self.claimant.lease_until_ms); // the claim may have been written
                retry(RetryReason::Failed)
            }
            (State::Calling(_), StepResult::Failed) => bug("a call failed without an answer"),
            (_, StepResult::Failed) => retry(RetryReason::Failed),
            (_, StepResult::Read(_) | StepResult::Written(_) | StepResult::Answered(_) | StepResult::Done) => {
                bug("a step was given the result of another kind of step")
            }
        }
    }

    /// Decides for a trigger, from the item as read.
    fn decide(&mut self, message: Box<TriggerMessage>, item: Option<&Item>, context: StepContext<'_>) -> Step {
        if self.decisions == DECISIONS_MAX {
            return retry(RetryReason::Contended);
        }
        self.decisions += 1;
        match for_trigger(item, &message, &self.claimant, context.now, context.rules) {
            TriggerDecision::Claim(write) => self.write(State::ClaimingForTrigger(message), write),
            TriggerDecision::Join(write) => self.write(State::Joining(message), write),
            TriggerDecision::Publish(ended) => self.publish(ended, Then::Ack(AckReason::Published)),
            TriggerDecision::PublishThenDecide(ended) => self.publish(ended, Then::DecideAgain(message)),
            TriggerDecision::TooMany => {
                self.state = State::Refusing;
                Step::Publish(Publication::TooManyTriggers(message))
            }
            TriggerDecision::ComeBack { held_until } => self.wait_for_lease(held_until),
            TriggerDecision::Duplicate => ack(AckReason::Duplicate),
        }
    }

    fn claimed_for_trigger(
        &mut self,
        message: Box<TriggerMessage>,
        written: WriteResult,
        context: StepContext<'_>,
    ) -> Step {
        match written {
            WriteResult::Applied(item) => self.call(item),
            // The trigger's key in the item would not be enough: another delivery may have claimed.
            WriteResult::ConditionFailed(Some(item)) if item.claim_id == self.claimant.claim_id => self.call(item),
            WriteResult::ConditionFailed(item) => self.decide(message, item.as_deref(), context),
        }
    }

    /// `now` is the time in the claim's write.
    fn claimed_for_poll(&mut self, poll: &Poll, written: WriteResult, now: Millis) -> Step {
        let item = match written {
            WriteResult::Applied(item) => return self.call_or_record(item, poll),
            WriteResult::ConditionFailed(item) => item,
        };
        match for_failed_claim(item, poll, &self.claimant, now) {
            FailedClaim::OwnWrite(item) => self.call_or_record(item, poll),
            FailedClaim::Publish(ended) => self.publish(ended, Then::Ack(AckReason::Published)),
            FailedClaim::ComeBack { held_until } => self.wait_for_lease(held_until),
            FailedClaim::Over => ack(AckReason::Over),
            FailedClaim::Superseded => ack(AckReason::Superseded),
        }
    }

    fn joined(&mut self, message: Box<TriggerMessage>, written: WriteResult, context: StepContext<'_>) -> Step {
        match written {
            WriteResult::Applied(_) => ack(AckReason::Joined),
            WriteResult::ConditionFailed(Some(item)) if item.keys.contains(&message.key) => ack(AckReason::Joined),
            WriteResult::ConditionFailed(item) => self.decide(message, item.as_deref(), context),
        }
    }

    /// An earlier delivery of this message holds the run, or died while it held it.
    fn wait_for_lease(&mut self, held_until: Millis) -> Step {
        self.held_until = Some(held_until);
        retry(RetryReason::LeaseHeld)
    }

    /// The claim is ours, and a call follows.
    fn call(&mut self, item: Box<Item>) -> Step {
        self.held_until = Some(item.lease_until_ms);
        let chat_id = item.chat_id().clone();
        self.state = State::Calling(item);
        Step::Call(chat_id)
    }

    /// The claim is ours: call, unless the poll carries the answer.
    fn call_or_record(&mut self, item: Box<Item>, poll: &Poll) -> Step {
        let Some(outcome) = poll.answer.clone() else { return self.call(item) };
        self.held_until = Some(item.lease_until_ms);
        self.record(&item, outcome, item.learned.clone())
    }

    fn answered(&mut self, item: &Item, answer: &Answer, context: StepContext<'_>) -> Step {
        match after_call(item, answer, context.now, context.jitter, &context.rules.schedule) {
            AfterCall::PollAgain { learned, delay } => {
                let poll = self.poll(item, learned, None);
                self.send(State::PollingOn, poll, delay)
            }
            AfterCall::End { outcome, learned } => self.record(item, outcome, learned),
        }
    }

    fn record(&mut self, item: &Item, outcome: Outcome, learned: PollState) -> Step {
        let write = Write::End {
            subject: item.subject.clone(),
            claim_id: self.claimant.claim_id,
            outcome: outcome.clone(),
            learned: learned.clone(),
        };
        self.write(State::Recording(Box::new(self.poll(item, learned, Some(outcome)))), write)
    }

    fn recorded(&mut self, written: WriteResult) -> Step {
        let (WriteResult::Applied(item) | WriteResult::ConditionFailed(Some(item))) = written else {
            return bug("the item of a claimed run is gone");
        };
        let is_own_claim = item.claim_id == self.claimant.claim_id;
        match &item.state {
            RunState::Ended { outcome, .. } | RunState::Published { outcome, .. } if is_own_claim => {
                self.publish(Box::new(EndedRun::new(&item, outcome)), Then::Ack(AckReason::Ended))
            }
            RunState::Active { .. } if is_own_claim => bug("a run that has ended is still active under the same claim"),
            RunState::Ended { outcome, .. } => {
                self.publish(Box::new(EndedRun::new(&item, outcome)), Then::Ack(AckReason::Published))
            }
            RunState::Active { .. } | RunState::Published { .. } => ack(AckReason::Superseded),
        }
    }

    fn publish(&mut self, ended: Box<EndedRun>, then: Then) -> Step {
        self.state = State::Publishing { subject: Subject::from(&ended.chat_id), run_id: ended.run_id, then };
        Step::Publish(Publication::Ending(ended))
    }

    fn poll(&self, item: &Item, learned: PollState, answer: Option<Outcome>) -> Poll {
        Poll { claim_id: self.claimant.claim_id, ..item.poll(Some(learned), answer) }
    }

    fn read(&mut self, message: Box<TriggerMessage>) -> Step {
        let subject = Subject::from(&message.chat_id);
        self.state = State::Reading(message);
        Step::Read(subject)
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

fn ack(reason: AckReason) -> Step {
    Step::Done(Disposition::Ack(reason))
}

fn retry(reason: RetryReason) -> Step {
    Step::Done(Disposition::Retry(reason))
}

fn bug(found: &'static str) -> Step {
    retry(RetryReason::Bug(found))
}

#[cfg(test)]
#[path = "message_handler_tests.rs"]
pub(super) mod tests;
