//! One message's way through the protocol, as a state machine.
//!
//! A [`MessageHandler`] has no effects: it returns the next [`Step`], and is given the [`StepResult`]. The worker carries the
//! steps out on AWS, the tests in memory, and a model check under every fault. The order of the effects, on which the
//! protocol's promises rest, is written down here and nowhere else.

use std::time::Duration;

use crate::ids::{ClaimId, RunId, Subject};
use crate::postpress::{Answer, SyncCall};
use crate::time::Millis;

use super::{
    AckReason, AfterCall, Cancel, Claimant, Delay, Disposition, EndedRun, FreshAnswer, Item, Jitter, Outcome, Poll,
    PollState, Publication, RecentKeys, RetryReason, Rules, RunState, TRIGGERS_MAX, Trigger, TriggerMessage, Write,
    WriteResult, after_call, ending,
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
    /// End a run without another call.
    Cancel(Cancel),
}

impl Task {
    /// Whether the message may call the provider, as far as it shows.
    pub fn may_call(&self) -> bool {
        match self {
            Self::Trigger(_) => true,
            Self::Poll(poll) => poll.answer.is_none(),
            Self::Cancel(_) => false,
        }
    }
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
    /// Wait for a turn to call the provider for this subject, as long as the invocation has time.
    Admit(Subject),
    /// Carry out this write. One that claims needs enough time left in the invocation for a call.
    Write(Write),
    /// Call the provider, once, within the time left in the invocation.
    Call(SyncCall),
    /// Send this poll.
    Send {
        /// The message.
        poll: Poll,
        /// Its delay.
        delay: Delay,
    },
    /// Send this trigger again, to be decided about later. It keeps its key, its message id and its time.
    Wait {
        /// The trigger.
        trigger: Box<TriggerMessage>,
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
    /// Of [`Step::Admit`]: a call may be made.
    Admitted,
    /// Of [`Step::Admit`]: the message's turn comes only after this time, for which the invocation is too short.
    Paced(Duration),
    /// Of [`Step::Admit`]: the subject's workspace is not configured.
    UnknownWorkspace,
    /// Of [`Step::Write`].
    Written(WriteResult),
    /// Of [`Step::Call`].
    Answered(Answer),
    /// [`Step::Send`], [`Step::Wait`] or [`Step::Publish`] succeeded.
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
    /// A trigger that is about to claim the run. `item` is what it decided by.
    AdmittingTrigger {
        message: Box<TriggerMessage>,
        item: Option<Box<Item>>,
    },
    AdmittingPoll(Box<Poll>),
    /// Reading the run of a poll whose turn comes after this time.
    CheckingRun {
        poll: Box<Poll>,
        wait: Duration,
    },
    /// Sending the message again, to wait for its turn.
    Deferring,
    ClaimingForTrigger(Box<TriggerMessage>),
    /// `now` is the time in the write.
    ClaimingForPoll {
        poll: Box<Poll>,
        now: Millis,
    },
    Joining(Box<TriggerMessage>),
    Waiting,
    Cancelling,
    /// Sending the poll that ends the cancelled run.
    WakingCancelled,
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
    AnsweringFresh,
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
    /// Whether the message's turn to call has come.
    admitted: bool,
    decisions: u8,
    held_until: Option<Millis>,
}

impl MessageHandler {
    /// Begins to handle a message, and returns the first step.
    pub fn begin(task: Task, claimant: Claimant, context: StepContext<'_>) -> (Self, Step) {
        let mut handler = Self { claimant, state: State::Settled, admitted: false, decisions: 0, held_until: None };
        let step = match task {
            Task::Trigger(message) => handler.read(Box::new(message)),
            Task::Poll(poll) if poll.answer.is_none() => handler.admit_poll(Box::new(poll)),
            Task::Poll(poll) => handler.claim_for_poll(Box::new(poll), context.now),
            Task::Cancel(Cancel { subject, requested_at }) => {
                handler.write(State::Cancelling, Write::Cancel { subject, requested_at, now: context.now })
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
            // What has been accepted ends by its own call, which fails without that workspace.
            (State::AdmittingTrigger { message, item }, StepResult::UnknownWorkspace)
                if !self.may_hold(item.as_deref()) =>
            {
                self.state = State::Refusing;
                Step::Publish(Publication::UnknownWorkspace(message))
            }
            (State::AdmittingTrigger { message, item }, StepResult::Admitted | StepResult::UnknownWorkspace) => {
                self.admitted = true;
                self.decisions -= 1; // the same decision, now carried out
                self.decide(message, item.as_deref(), context)
            }
            (State::AdmittingTrigger { message, item }, StepResult::Paced(wait)) => {
                let may_hold = self.may_hold(item.as_deref());
                // Its copy would be a duplicate.
                if may_hold { retry(RetryReason::Paced) } else { self.defer_trigger(*message, wait, context) }
            }
            (State::AdmittingPoll(poll), StepResult::Admitted | StepResult::UnknownWorkspace) => {
                self.claim_for_poll(poll, context.now)
            }
            // Only a message that could claim is sent again; the rest needs no call.
            (State::AdmittingPoll(poll), StepResult::Paced(wait)) => {
                let subject = poll.subject.clone();
                self.state = State::CheckingRun { poll, wait };
                Step::Read(subject)
            }
            (State::CheckingRun { poll, wait }, StepResult::Read(item)) => {
                self.defer_or_settle(poll, item.as_deref(), wait, context)
            }
            (State::Deferring, StepResult::Done) => ack(AckReason::Deferred),
            (State::ClaimingForTrigger(message), StepResult::Written(written)) => {
                self.claimed_for_trigger(message, written, context)
            }
            (State::ClaimingForPoll { poll, now }, StepResult::Written(written)) => {
                self.claimed_for_poll(*poll, written, now)
            }
            (State::Joining(message), StepResult::Written(written)) => self.joined(message, written, context),
            (State::Waiting, StepResult::Done) => ack(AckReason::Waits),
            (State::Cancelling, StepResult::Written(written)) => self.cancelled(written, context.now),
            (State::WakingCancelled, StepResult::Done) => ack(AckReason::Cancelled),
            (State::Calling(item), StepResult::Answered(answer)) => self.answered(&item, &answer, context),
            (State::PollingOn, StepResult::Done) => ack(AckReason::PolledOn),
            (State::Recording(poll), StepResult::Written(written)) => self.recorded(poll.claim_id, written),
            (State::Recording(poll), StepResult::Failed | StepResult::NoTime) => {
                self.send(State::HandingOn, *poll, Delay::NONE)
            }
            (State::HandingOn, StepResult::Done) => ack(AckReason::HandedOn),
            (State::Publishing { subject, run_id, then }, StepResult::Done) => {
                let expires_at = (context.now + context.rules.run_ttl).epoch_seconds();
                self.write(State::Marking(then), Write::MarkPublished { subject, run_id, expires_at })
            }
            // If the condition failed, the subject has another run by now, or its item has expired.
            (State::Marking(then), StepResult::Written(_)) => match then {
                Then::Ack(reason) => ack(reason),
                Then::DecideAgain(message) => self.read(message),
            },
            (State::AnsweringFresh, StepResult::Done) => ack(AckReason::AnsweredFresh),
            (State::Refusing, StepResult::Done) => ack(AckReason::Refused),
            (State::Settled, _) => bug("a message went on after it was settled"),
            (_, StepResult::NoTime) => retry(RetryReason::NoTime),
            (State::ClaimingForTrigger(_) | State::ClaimingForPoll { .. }, StepResult::Failed) => {
                self.held_until = Some(self.claimant.lease_until_ms); // the claim may have been written
                retry(RetryReason::Failed)
            }
            (State::Calling(_), StepResult::Failed) => bug("a call failed without an answer"),
            (_, StepResult::Failed) => retry(RetryReason::Failed),
            (
                _,
                StepResult::Read(_)
                | StepResult::Admitted
                | StepResult::Paced(_)
                | StepResult::UnknownWorkspace
                | StepResult::Written(_)
                | StepResult::Answered(_)
                | StepResult::Done,
            ) => bug("a step was given the result of another kind of step"),
        }
    }

    /// Decides for a trigger, from the item as read. The numbers are those of the protocol's rules.
    fn decide(&mut self, message: Box<TriggerMessage>, item: Option<&Item>, context: StepContext<'_>) -> Step {
        if self.decisions == DECISIONS_MAX {
            return retry(RetryReason::Contended);
        }
        self.decisions += 1;
        let StepContext { now, rules, .. } = context;
        let Some(item) = item else {
            return if self.admitted { self.start(message, None, context) } else { self.admit_trigger(message, None) };
        };
        let is_own = item.holder == self.claimant.message_id;
        let is_known = is_own || item.is_duplicate(message.key, now, rules.run_ttl);
        match &item.state {
            // 1: the lease of an earlier delivery of this message has expired, and the run is cancelled: end it.
            RunState::Active { .. } if is_own && item.lease_expired(now) && item.cancelled_at.is_some() => {
                self.record(item, ending::cancelled(now), item.learned.clone())
            }
            // 1: the lease of an earlier delivery of this message has expired.
            RunState::Active { .. } if is_own && item.lease_expired(now) => {
                if !self.admitted {
                    return self.admit_trigger(message, Some(item));
                }
                let write = self.claimant.claim_again(item, now);
                self.write(State::ClaimingForTrigger(message), write)
            }
            // 1: an earlier delivery of this message holds the run until then; come back after that.
            RunState::Active { .. } if is_own => self.wait_for_lease(item.lease_until_ms),
            // 1, 2: the trigger is a duplicate.
            RunState::Active { .. } | RunState::Published { .. } if is_known => ack(AckReason::Duplicate),
            // 3: the trigger asks for a run that begins later, or the run is cancelled: wait until it is over.
            RunState::Active { .. } if !message.may_join(item, rules.lease_margin) => self.wait(*message, context),
            // 3: the run has as many triggers as it can answer.
            RunState::Active { .. } if item.triggers.len() >= TRIGGERS_MAX => {
                self.state = State::Refusing;
                Step::Publish(Publication::TooManyTriggers(message))
            }
            // 3: join the run in flight.
            RunState::Active { .. } => {
                let trigger = Trigger { joined: true, ..message.trigger.clone() };
                let (subject, run_id, key) = (item.subject.clone(), item.run_id, message.key);
                self.write(State::Joining(message), Write::Join { subject, run_id, key, trigger })
            }
            // 1, 2: the trigger's run has ended, and its event is not confirmed published; publish it, then acknowledge.
            RunState::Ended { outcome, .. } if is_known => self.publish(item, outcome, Then::Ack(AckReason::Published)),
            // 4: an earlier run has ended, and its event is not confirmed published; publish it, then decide again.
            RunState::Ended { outcome, .. } => self.publish(item, outcome, Then::DecideAgain(message)),
            // The last sync is recent enough.
            RunState::Published { outcome, .. } if !item.is_expired(now) && message.is_answered_by(item, outcome) => {
                self.state = State::AnsweringFresh;
                let TriggerMessage { key, trigger, .. } = *message;
                let run = EndedRun::new(item, outcome);
                Step::Publish(Publication::Fresh(Box::new(FreshAnswer { run, key, trigger })))
            }
            // 5: an earlier run is over; start one.
            RunState::Published { .. } if !self.admitted => self.admit_trigger(message, Some(item)),
            RunState::Published { outcome, .. } => {
                let seen = item.seen.after(&item.keys, outcome.finished_at, now, rules.run_ttl);
                self.start(message, Some((item.run_id, seen)), context)
            }
        }
    }

    /// Sends the trigger again, unless it has waited long enough. It is neither accepted nor lost meanwhile.
    fn wait(&mut self, message: TriggerMessage, context: StepContext<'_>) -> Step {
        let delay = context.rules.schedule.wait(message.waits, context.jitter);
        let again = TriggerMessage { waits: message.waits.saturating_add(1), ..message };
        self.send_trigger(State::Waiting, again, delay, context)
    }

    /// Sends a trigger again, to start its run when its turn has come.
    fn defer_trigger(&mut self, message: TriggerMessage, wait: Duration, context: StepContext<'_>) -> Step {
        let delay = context.rules.schedule.deferral(wait, context.jitter);
        self.send_trigger(State::Deferring, message, delay, context)
    }

    fn send_trigger(&mut self, state: State, trigger: TriggerMessage, delay: Delay, context: StepContext<'_>) -> Step {
        if context.rules.schedule.deadline_exceeded(trigger.trigger.requested_at, context.now) {
            self.state = State::Refusing;
            return Step::Publish(Publication::WaitedTooLong(Box::new(trigger)));
        }
        self.state = state;
        Step::Wait { trigger: Box::new(trigger), delay }
    }

    /// Decides for a poll whose turn to call comes later. Publishing needs no turn, and neither does the end of a cancelled run.
    fn defer_or_settle(
        &mut self,
        poll: Box<Poll>,
        item: Option<&Item>,
        wait: Duration,
        context: StepContext<'_>,
    ) -> Step {
        let Some(item) = item.filter(|item| item.run_id == poll.run_id) else { return ack(AckReason::Over) };
        match &item.state {
            RunState::Published { .. } => ack(AckReason::Over),
            RunState::Ended { outcome, .. } => self.publish(item, outcome, Then::Ack(AckReason::Published)),
            // Its claim is refused, and it ends the run if it may.
            RunState::Active { .. } if item.cancelled_at.is_some() => self.claim_for_poll(poll, context.now),
            // An earlier delivery of this message claimed the run and died: only this message can go on.
            RunState::Active { .. } if item.holder == self.claimant.message_id => retry(RetryReason::Paced),
            RunState::Active { .. } if item.claim_id != poll.claim_id => ack(AckReason::Superseded),
            RunState::Active { .. } => self.defer_poll(*poll, wait, context),
        }
    }

    /// Sends a poll again, unchanged, to be handled when its turn has come. The copy names the same claim, so only one of the two
    /// can claim.
    fn defer_poll(&mut self, poll: Poll, wait: Duration, context: StepContext<'_>) -> Step {
        let delay = context.rules.schedule.deferral(wait, context.jitter);
        self.send(State::Deferring, poll, delay)
    }

    /// Whether an earlier delivery of this message claimed the run in flight.
    fn may_hold(&self, item: Option<&Item>) -> bool {
        item.is_some_and(|item| item.state.is_active() && item.holder == self.claimant.message_id)
    }

    fn admit_trigger(&mut self, message: Box<TriggerMessage>, item: Option<&Item>) -> Step {
        let subject = message.subject.clone();
        self.state = State::AdmittingTrigger { message, item: item.cloned().map(Box::new) };
        Step::Admit(subject)
    }

    fn admit_poll(&mut self, poll: Box<Poll>) -> Step {
        let subject = poll.subject.clone();
        self.state = State::AdmittingPoll(poll);
        Step::Admit(subject)
    }

    fn claim_for_poll(&mut self, poll: Box<Poll>, now: Millis) -> Step {
        let write = self.claimant.claim_for(&poll, now);
        self.write(State::ClaimingForPoll { poll, now }, write)
    }

    fn start(
        &mut self,
        message: Box<TriggerMessage>,
        earlier: Option<(RunId, RecentKeys)>,
        context: StepContext<'_>,
    ) -> Step {
        let write = self.claimant.start(&message, earlier, context);
        self.write(State::ClaimingForTrigger(message), write)
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

    /// `now` is the time in the claim's write. The numbers are those of the protocol's list for a poll whose claim failed.
    fn claimed_for_poll(&mut self, poll: Poll, written: WriteResult, now: Millis) -> Step {
        let item = match written {
            WriteResult::Applied(item) => return self.call_or_record(item, poll),
            WriteResult::ConditionFailed(Some(item)) => item,
            WriteResult::ConditionFailed(None) => return ack(AckReason::Over),
        };
        let held_it = item.holder == self.claimant.message_id;
        let could_claim = item.claim_id == poll.claim_id || held_it && item.lease_expired(now);
        match &item.state {
            // 1: the claim is ours: an earlier attempt of the same write was applied, and its reply lost. Go on under it.
            RunState::Active { .. } if item.claim_id == self.claimant.claim_id => self.call_or_record(item, poll),
            // 2: the subject has another run by now.
            _ if item.run_id != poll.run_id => ack(AckReason::Over),
            // 4: the run's event is published.
            RunState::Published { .. } => ack(AckReason::Over),
            // 3: the run has ended, and its event is not confirmed published; publish it, regardless of its holder.
            RunState::Ended { outcome, .. } => self.publish(&item, outcome, Then::Ack(AckReason::Published)),
            // Only the cancel kept this poll from its claim: end the run, without claim and call.
            RunState::Active { .. } if item.cancelled_at.is_some() && could_claim => {
                let outcome = poll.answer.unwrap_or_else(|| ending::cancelled(now));
                let learned = poll.learned.unwrap_or_else(|| item.learned.clone());
                self.record(&item, outcome, learned)
            }
            // 5: an earlier delivery of this message holds the run until then; come back after that.
            RunState::Active { .. } if held_it && !item.lease_expired(now) => self.wait_for_lease(item.lease_until_ms),
            // 6: another message has claimed the run since this poll was sent.
            RunState::Active { .. } => ack(AckReason::Superseded),
        }
    }

    fn joined(&mut self, message: Box<TriggerMessage>, written: WriteResult, context: StepContext<'_>) -> Step {
        match written {
            WriteResult::Applied(_) => ack(AckReason::Joined),
            WriteResult::ConditionFailed(Some(item)) if item.keys.contains(&message.key) => ack(AckReason::Joined),
            WriteResult::ConditionFailed(item) => self.decide(message, item.as_deref(), context),
        }
    }

    /// Once a run is cancelled, its next message ends it. If no message holds the run, a poll is sent to do so at once;
    /// otherwise that would put an end to a call that is awaited.
    fn cancelled(&mut self, written: WriteResult, now: Millis) -> Step {
        match written {
            WriteResult::Applied(item) if item.lease_expired(now) => {
                self.send(State::WakingCancelled, item.recovery_poll(), Delay::NONE)
            }
            WriteResult::Applied(_) => ack(AckReason::Cancelled),
            WriteResult::ConditionFailed(_) => ack(AckReason::NothingToCancel),
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
        let call = item.call();
        self.state = State::Calling(item);
        Step::Call(call)
    }

    /// The claim is ours: call, unless the poll carries the answer.
    fn call_or_record(&mut self, item: Box<Item>, poll: Poll) -> Step {
        let Some(outcome) = poll.answer else { return self.call(item) };
        self.held_until = Some(item.lease_until_ms);
        self.record(&item, outcome, item.learned.clone())
    }

    fn answered(&mut self, item: &Item, answer: &Answer, context: StepContext<'_>) -> Step {
        match after_call(item, answer, context.now, context.jitter, &context.rules.schedule) {
            AfterCall::PollAgain { learned, delay } => {
                self.send(State::PollingOn, item.poll(Some(learned), None), delay)
            }
            AfterCall::End { outcome, learned } => self.record(item, outcome, learned),
        }
    }

    /// Records the ending under the claim that the item shows: our own, or the last one of a cancelled run.
    fn record(&mut self, item: &Item, outcome: Outcome, learned: PollState) -> Step {
        let write = Write::End {
            subject: item.subject.clone(),
            claim_id: item.claim_id,
            outcome: outcome.clone(),
            learned: learned.clone(),
        };
        self.write(State::Recording(Box::new(item.poll(Some(learned), Some(outcome)))), write)
    }

    /// `claim_id` is the claim under which the ending was written.
    fn recorded(&mut self, claim_id: ClaimId, written: WriteResult) -> Step {
        let (WriteResult::Applied(item) | WriteResult::ConditionFailed(Some(item))) = written else {
            return bug("the item of a claimed run is gone");
        };
        let is_own_claim = item.claim_id == claim_id;
        match &item.state {
            RunState::Ended { outcome, .. } if is_own_claim => {
                self.publish(&item, outcome, Then::Ack(AckReason::Ended))
            }
            RunState::Ended { outcome, .. } => self.publish(&item, outcome, Then::Ack(AckReason::Published)),
            // An earlier attempt of this write was applied, or another message ended the cancelled run under the same claim.
            RunState::Published { .. } if is_own_claim => ack(AckReason::Ended),
            RunState::Active { .. } if is_own_claim => bug("a run that has ended is still active under the same claim"),
            RunState::Active { .. } | RunState::Published { .. } => ack(AckReason::Superseded),
        }
    }

    fn publish(&mut self, item: &Item, outcome: &Outcome, then: Then) -> Step {
        self.state = State::Publishing { subject: item.subject.clone(), run_id: item.run_id, then };
        Step::Publish(Publication::Ending(Box::new(EndedRun::new(item, outcome))))
    }

    fn read(&mut self, message: Box<TriggerMessage>) -> Step {
        let subject = message.subject.clone();
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
