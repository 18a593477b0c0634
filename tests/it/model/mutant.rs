//! The protocol with one clause omitted. Clauses are removed between the production code and the world: in a handler's
//! results, in its next steps, and in the table's writes.

use postpress_bridge::event::Event;
use postpress_bridge::ids::{ClaimId, MessageId, TriggerKey};
use postpress_bridge::postpress::Finish;
use postpress_bridge::run::{
    AckReason, ClaimCondition, Claimant, Disposition, ENDED_SHARDS, EndedBy, EndedRun, Item, Open, Outcome, Phase,
    Publication, RetryReason, RunState, Step, StepResult, Task, Write, WriteResult,
};
use postpress_bridge::time::Millis;

use super::handler::Handler;
use super::state::{HELD, NOW, OVER, rules, tick};

/// Named by what it does wrong. `clauses` lists the clause of each, and how it is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    SupersededPollCalls,
    ClaimKeepsTheFence,
    ClaimKeepsTheHolder,
    ClaimKeepsTheLease,
    ClaimIgnoresThePhase,
    PollIgnoresTheRun,
    PollIgnoresTheFence,
    PollWaitsForTheLease,
    PollIgnoresTheHolder,
    PollIgnoresTheLease,
    PollNeverClaimsAgain,
    PollForgetsItsOwnWrite,
    PollLeavesAnEnding,
    PollLeavesAnEndingOfOthers,
    PollPublishesOnceMore,
    PollLeavesWhileHeld,
    PollJudgesByTheClock,
    SupersededPollComesBack,
    TriggerNeverClaimsAgain,
    TriggerLeavesWhileHeld,
    TriggerIgnoresTheLease,
    TriggerLeavesItsEnding,
    TriggerForgetsThatItHeld,
    KeyIsTheMessages,
    TriggerForgetsItsKey,
    TriggerForgetsEarlierRuns,
    TwinLeavesAnEnding,
    JoinIgnoresTheRun,
    JoinIgnoresThePhase,
    JoinIgnoresTheKey,
    JoinTakesTheFence,
    FailedJoinIsAcknowledged,
    PublishesAndIsDone,
    StartsOverAnUnpublishedEnding,
    StartIgnoresTheItem,
    StartIgnoresTheRun,
    StartKeepsTheRun,
    StartForgetsItsTrigger,
    StartForgetsItsKey,
    StartForgetsEarlierKeys,
    StartIsNotIndexed,
    ReclaimIgnoresTheFence,
    ReclaimIgnoresTheLease,
    ReclaimIgnoresBoth,
    TriggerForgetsItsOwnWrite,
    KeyAloneCalls,
    RefusedStartIsDropped,
    PollNamesAnotherClaim,
    FailedSendIsAcknowledged,
    EndIgnoresTheFence,
    EndIgnoresThePhase,
    EndForgetsWhoJoined,
    FailedEndComesBack,
    FailedEndPollsOn,
    AnswerIsForgotten,
    AnswerIsForgottenOnceClaimed,
    AnswerIsSentUntried,
    SecondFailedEndPollsOn,
    HandedOnComesBack,
    EndOfOthersIsLeft,
    RefusedEndIsDropped,
    PublishesBeforeItRecords,
    MarksWhenItRecords,
    MarkIgnoresTheRun,
    MarkIgnoresThePhase,
    MarkIsNotSet,
    RefusedMarkComesBack,
    FailedPublishIsAcknowledged,
    FailedMarkIsAcknowledged,
    EndLeavesTheIndex,
    SweepForgetsRuns,
    SweepForgetsEndings,
    SweepNamesAnotherClaim,
    SweepIgnoresTheLease,
    SweepReadsShardByShard,
    JoinsAnEarlierRun,
    JoinsOtherOptions,
    FailedWaitIsAcknowledged,
    WaitsUnderAnotherKey,
    PollIgnoresTheCancel,
    ReclaimIgnoresTheCancel,
    JoinIgnoresTheCancel,
    CancelIgnoresTheStart,
    CancelPollsAtOnce,
    CancelSendsNothing,
    CancelForgetsTheAnswer,
    CancelledPollIsDropped,
    CancelledPollCalls,
    AnyPollEndsACancelledRun,
    HolderEndsACancelledRunAtOnce,
    FailedCancelIsAcknowledged,
    StartKeepsTheCancel,
    PacedPollForgetsThatItHolds,
    PacedTriggerForgetsThatItHolds,
    FailedDeferralIsAcknowledged,
}

use Mutant as M;

fn another_claim() -> ClaimId {
    ClaimId::from_random(99)
}

fn another_message() -> MessageId {
    MessageId::new("p99")
}

const OPEN: Open = Open { shard: 0, sweep_at_ms: OVER };

fn active(state: &RunState) -> RunState {
    RunState::Active { open: state.open().unwrap_or(OPEN) }
}

fn ended(state: &RunState) -> RunState {
    RunState::Ended { outcome: outcome(state), open: state.open().unwrap_or(OPEN) }
}

fn published(state: &RunState) -> RunState {
    RunState::Published { outcome: outcome(state), expires_at: NOW.epoch_seconds() }
}

fn outcome(state: &RunState) -> Outcome {
    let made_up = || Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: NOW };
    state.outcome().cloned().unwrap_or_else(made_up)
}

/// As if another message had ended the run and published its event.
fn leave_nothing_to_do(item: &mut Item) {
    item.claim_id = another_claim();
    item.state = published(&item.state);
}

/// Moves a run to a shard of the index that no sweep reads.
fn leave_index(state: &mut RunState) {
    if let RunState::Active { open } | RunState::Ended { open, .. } = state {
        open.shard = ENDED_SHARDS.end;
    }
}

impl Mutant {
    /// Changes the delivery of a message.
    pub(super) fn delivered(self, task: &mut Task, claimant: &mut Claimant, item: Option<&Item>) {
        let has_claimed = item.is_some_and(|item| item.holder == claimant.message_id);
        match (self, task) {
            (M::ClaimKeepsTheFence, Task::Poll(poll)) => claimant.claim_id = poll.claim_id,
            (M::AnswerIsForgotten, Task::Poll(poll)) => poll.answer = None,
            (M::JoinsAnEarlierRun, Task::Trigger(message)) => message.after_request = false,
            (M::JoinsOtherOptions, Task::Trigger(message)) => {
                message.resync = item.map_or_else(|| message.resync.clone(), |item| item.resync.clone());
            }
            (M::WaitsUnderAnotherKey, Task::Trigger(message)) => {
                message.key = TriggerKey::of(claimant.message_id.as_str());
            }
            (M::CancelForgetsTheAnswer, Task::Poll(poll)) if item.is_some_and(|item| item.cancelled_at.is_some()) => {
                poll.answer = None;
            }
            (M::AnswerIsForgottenOnceClaimed, Task::Poll(poll)) if has_claimed => poll.answer = None,
            (M::KeyIsTheMessages, Task::Trigger(message)) => message.key = TriggerKey::of(claimant.message_id.as_str()),
            _ => {}
        }
    }

    /// Changes the result of a handler's step.
    pub(super) fn result(self, handler: &Handler, input: StepResult) -> StepResult {
        match (&handler.step, input) {
            (Step::Read(_), StepResult::Read(Some(mut item))) if handler.is_paced => {
                if self == M::PacedPollForgetsThatItHolds && item.holder == handler.id {
                    item.holder = another_message();
                }
                StepResult::Read(Some(item))
            }
            (Step::Read(_), StepResult::Read(Some(item))) => {
                StepResult::Read(Some(Box::new(self.seen_by_trigger(*item, handler))))
            }
            (
                Step::Write(Write::Claim { condition: ClaimCondition::ByPoll { .. }, .. }),
                StepResult::Written(written),
            ) => StepResult::Written(self.result_of_polls_claim(written, handler)),
            (Step::Write(write), StepResult::Written(written)) => {
                StepResult::Written(self.result_of_write(write, written, handler))
            }
            (Step::Write(Write::MarkPublished { .. }), StepResult::Failed) if self == M::FailedMarkIsAcknowledged => {
                StepResult::Written(WriteResult::ConditionFailed(None))
            }
            (Step::Write(Write::Cancel { .. }), StepResult::Failed) if self == M::FailedCancelIsAcknowledged => {
                StepResult::Written(WriteResult::ConditionFailed(None))
            }
            (Step::Wait { .. } | Step::Send { .. }, StepResult::Failed)
                if self == M::FailedDeferralIsAcknowledged && handler.is_paced =>
            {
                StepResult::Done
            }
            (Step::Wait { .. }, StepResult::Failed) if self == M::FailedWaitIsAcknowledged => StepResult::Done,
            (Step::Send { .. }, StepResult::Failed) if self == M::FailedSendIsAcknowledged => StepResult::Done,
            (Step::Publish(_), StepResult::Failed) if self == M::FailedPublishIsAcknowledged => StepResult::Done,
            (_, input) => input,
        }
    }

    fn result_of_polls_claim(self, written: WriteResult, handler: &Handler) -> WriteResult {
        let WriteResult::ConditionFailed(Some(mut item)) = written else { return written };
        let is_active = item.state.is_active();
        let is_cancelled = is_active && item.cancelled_at.is_some();
        match self {
            M::CancelledPollIsDropped if is_cancelled => return WriteResult::ConditionFailed(None),
            M::CancelledPollCalls if is_cancelled => return WriteResult::Applied(item),
            M::AnyPollEndsACancelledRun if is_cancelled => {
                item.holder = handler.id.clone();
                item.lease_until_ms = OVER;
            }
            M::HolderEndsACancelledRunAtOnce if is_cancelled && item.holder == handler.id => {
                item.lease_until_ms = OVER;
            }
            M::SupersededPollCalls if is_active => return WriteResult::Applied(item),
            M::PollForgetsItsOwnWrite if item.claim_id == handler.claim_id => item.claim_id = another_claim(),
            M::PollLeavesAnEnding => return WriteResult::ConditionFailed(Some(item).filter(|_| is_active)),
            M::PollLeavesAnEndingOfOthers if !is_active && item.holder != handler.id => {
                return WriteResult::ConditionFailed(None);
            }
            M::PollPublishesOnceMore if !is_active => item.state = ended(&item.state),
            M::PollLeavesWhileHeld => item.holder = another_message(),
            M::PollJudgesByTheClock if handler.is_outdated => item.lease_until_ms = OVER,
            _ => {}
        }
        WriteResult::ConditionFailed(Some(item))
    }

    fn result_of_write(self, write: &Write, written: WriteResult, handler: &Handler) -> WriteResult {
        match (write, written) {
            (Write::Cancel { .. }, WriteResult::Applied(mut item)) => {
                match self {
                    M::CancelPollsAtOnce => item.lease_until_ms = OVER,
                    M::CancelSendsNothing => item.lease_until_ms = HELD,
                    _ => {}
                }
                WriteResult::Applied(item)
            }
            (Write::MarkPublished { .. } | Write::Cancel { .. }, written) => written,
            (Write::End { .. }, WriteResult::Applied(mut item)) => {
                if self == M::EndForgetsWhoJoined {
                    item.triggers.truncate(1);
                }
                WriteResult::Applied(item)
            }
            (Write::End { .. }, WriteResult::ConditionFailed(Some(mut item))) => {
                let is_own = item.claim_id == handler.claim_id;
                match self {
                    // As if another message had published it, so that nothing is left to do.
                    M::EndOfOthersIsLeft if !is_own => leave_nothing_to_do(&mut item),
                    M::RefusedEndIsDropped => leave_nothing_to_do(&mut item),
                    _ => {}
                }
                WriteResult::ConditionFailed(Some(item))
            }
            (write, WriteResult::ConditionFailed(Some(item))) => {
                let mut item = self.seen_by_trigger(*item, handler);
                match (self, write) {
                    (M::TriggerForgetsItsOwnWrite, _) if item.claim_id == handler.claim_id => {
                        item.claim_id = another_claim();
                    }
                    (M::KeyAloneCalls, Write::Start { item: tried, .. }) if item.keys.is_superset(&tried.keys) => {
                        item.claim_id = handler.claim_id;
                    }
                    (M::RefusedStartIsDropped, Write::Start { item: tried, .. }) => item.keys.extend(&tried.keys),
                    _ => {}
                }
                WriteResult::ConditionFailed(Some(Box::new(item)))
            }
            (_, written) => written,
        }
    }

    /// The item as a trigger sees it.
    fn seen_by_trigger(self, mut item: Item, handler: &Handler) -> Item {
        let is_own = item.holder == handler.id;
        let is_active = item.state.is_active();
        let is_held = !item.lease_expired(NOW);
        match self {
            M::TriggerNeverClaimsAgain if is_own && is_active && !is_held => item.holder = another_message(),
            M::TriggerLeavesWhileHeld if is_own && is_active && is_held => item.holder = another_message(),
            M::TriggerIgnoresTheLease if is_own => item.lease_until_ms = OVER,
            M::TriggerLeavesItsEnding if is_own && !is_active => item.state = published(&item.state),
            M::TriggerForgetsThatItHeld if is_own && !is_active => item.holder = another_message(),
            M::TriggerForgetsItsKey => {
                item.keys.clear();
                item.seen = Default::default();
            }
            M::TriggerForgetsEarlierRuns => item.seen = Default::default(),
            M::TwinLeavesAnEnding
                if !is_own && !is_active && item.triggers.iter().any(|trigger| trigger.message_id == handler.id) =>
            {
                item.state = published(&item.state);
            }
            M::StartsOverAnUnpublishedEnding if !is_active => item.state = published(&item.state),
            M::JoinIgnoresThePhase if !item.state.is_published() => item.state = active(&item.state),
            _ => {}
        }
        item
    }

    /// Changes a handler's next step.
    pub(super) fn then(self, handler: &mut Handler, next: Step, now: Millis) -> Step {
        let acknowledged = |reason| Step::Done(Disposition::Ack(reason));
        // A handler that made no call got the answer from its poll.
        let is_second_try = handler.run_id.is_none();
        match (self, &handler.step, next) {
            (M::SupersededPollComesBack, _, Step::Done(Disposition::Ack(AckReason::Superseded))) => {
                Step::Done(Disposition::Retry(RetryReason::LeaseHeld))
            }
            (M::FailedJoinIsAcknowledged, Step::Write(Write::Join { .. }), Step::Done(Disposition::Retry(_))) => {
                acknowledged(AckReason::Joined)
            }
            (M::PublishesAndIsDone, Step::Write(Write::MarkPublished { .. }), Step::Read(_)) => {
                acknowledged(AckReason::Published)
            }
            (M::RefusedMarkComesBack, Step::Write(Write::MarkPublished { .. }), Step::Done(_))
            | (M::FailedEndComesBack, Step::Write(Write::End { .. }), Step::Send { .. })
            | (M::HandedOnComesBack, _, Step::Done(Disposition::Ack(AckReason::HandedOn))) => {
                Step::Done(Disposition::Retry(RetryReason::Failed))
            }
            // Its copy would be a duplicate.
            (M::PacedTriggerForgetsThatItHolds, Step::Admit(_), Step::Done(Disposition::Retry(RetryReason::Paced))) => {
                acknowledged(AckReason::Deferred)
            }
            (M::PollNamesAnotherClaim, _, Step::Send { mut poll, delay }) => {
                poll.claim_id = another_claim();
                Step::Send { poll, delay }
            }
            (M::AnswerIsSentUntried, _, Step::Write(Write::End { .. })) => {
                handler.handling.next(StepResult::Failed, tick(&rules(), now))
            }
            (M::FailedEndPollsOn, Step::Write(Write::End { .. }), Step::Send { mut poll, delay }) => {
                poll.answer = None;
                Step::Send { poll, delay }
            }
            (M::SecondFailedEndPollsOn, Step::Write(Write::End { .. }), Step::Send { mut poll, delay })
                if is_second_try =>
            {
                poll.answer = None;
                Step::Send { poll, delay }
            }
            (_, _, next) => next,
        }
    }

    /// What is published before its write.
    pub(super) fn publishes_before(self, item: &Item, step: &Step) -> Option<Event> {
        match step {
            Step::Write(Write::End { outcome, .. }) if self == M::PublishesBeforeItRecords => {
                Some(Publication::Ending(Box::new(EndedRun::new(item, outcome))).into())
            }
            _ => None,
        }
    }

    /// Changes a write and the item that it is applied to.
    pub(super) fn applied_to(self, write: &mut Write, item: &mut Item) {
        match write {
            Write::Claim { condition, claim, now, .. } => match (self, condition) {
                (M::ClaimIgnoresThePhase, _) => item.state = active(&item.state),
                (M::PollIgnoresTheRun, ClaimCondition::ByPoll { run_id, .. }) => *run_id = item.run_id,
                (M::PollIgnoresTheFence, ClaimCondition::ByPoll { claim_id, .. })
                | (M::ReclaimIgnoresTheFence, ClaimCondition::ByTrigger { claim_id }) => *claim_id = item.claim_id,
                (M::PollWaitsForTheLease, ClaimCondition::ByPoll { claim_id, .. }) if !item.lease_expired(*now) => {
                    *claim_id = another_claim();
                }
                (M::PollIgnoresTheCancel, ClaimCondition::ByPoll { .. })
                | (M::ReclaimIgnoresTheCancel, ClaimCondition::ByTrigger { .. }) => item.cancelled_at = None,
                (M::PollIgnoresTheHolder, ClaimCondition::ByPoll { .. }) => item.holder = claim.holder.clone(),
                (M::PollNeverClaimsAgain, ClaimCondition::ByPoll { .. }) => *now = OVER,
                (M::ReclaimIgnoresBoth, ClaimCondition::ByTrigger { claim_id }) => {
                    *claim_id = item.claim_id;
                    *now = Millis(u64::MAX);
                }
                (M::PollIgnoresTheLease, ClaimCondition::ByPoll { .. })
                | (M::TriggerIgnoresTheLease | M::ReclaimIgnoresTheLease, ClaimCondition::ByTrigger { .. }) => {
                    *now = Millis(u64::MAX);
                }
                _ => {}
            },
            Write::Join { run_id, key, .. } => match self {
                M::JoinIgnoresTheRun => *run_id = item.run_id,
                M::JoinIgnoresThePhase => item.state = active(&item.state),
                M::JoinIgnoresTheCancel => item.cancelled_at = None,
                M::JoinIgnoresTheKey => drop(item.keys.remove(key)),
                _ => {}
            },
            Write::Start { over, .. } => match self {
                M::StartIgnoresTheItem => {
                    *over = Some(item.run_id);
                    item.state = published(&item.state);
                }
                M::StartIgnoresTheRun => *over = Some(item.run_id),
                M::StartsOverAnUnpublishedEnding if !item.state.is_active() => item.state = published(&item.state),
                _ => {}
            },
            Write::End { claim_id, .. } => match self {
                M::EndIgnoresTheFence => *claim_id = item.claim_id,
                M::EndIgnoresThePhase => item.state = active(&item.state),
                _ => {}
            },
            Write::MarkPublished { run_id, .. } => match self {
                M::MarkIgnoresTheRun => *run_id = item.run_id,
                M::MarkIgnoresThePhase if item.state.is_active() => item.state = ended(&item.state),
                _ => {}
            },
            Write::Cancel { requested_at, .. } if self == M::CancelIgnoresTheStart => *requested_at = Millis(u64::MAX),
            Write::Cancel { .. } | Write::MoveSweep { .. } => {}
        }
    }

    /// Changes the item after a write.
    pub(super) fn taken(self, write: &Write, item: &mut Item, before: Option<&Item>) {
        match (self, write, before) {
            (M::ClaimKeepsTheHolder, Write::Claim { .. }, Some(before)) => item.holder = before.holder.clone(),
            (M::ClaimKeepsTheLease, Write::Claim { .. }, Some(before)) => item.lease_until_ms = before.lease_until_ms,
            (M::JoinTakesTheFence, Write::Join { .. }, _) => item.claim_id = another_claim(),
            (M::StartKeepsTheRun, Write::Start { .. }, Some(before)) => item.run_id = before.run_id,
            (M::StartForgetsItsTrigger, Write::Start { .. }, _) => item.triggers.clear(),
            (M::StartForgetsItsKey, Write::Start { .. }, _) => item.keys.clear(),
            (M::StartForgetsEarlierKeys, Write::Start { .. }, _) => item.seen = Default::default(),
            (M::StartIsNotIndexed, Write::Start { .. }, _) | (M::EndLeavesTheIndex, Write::End { .. }, _) => {
                leave_index(&mut item.state);
            }
            (M::StartKeepsTheCancel, Write::Start { .. }, Some(before)) => item.cancelled_at = before.cancelled_at,
            (M::MarksWhenItRecords, Write::End { .. }, _) => item.state = published(&item.state),
            (M::MarkIsNotSet, Write::MarkPublished { .. }, Some(before)) => *item = before.clone(),
            _ => {}
        }
    }

    /// The item as the sweep reads it.
    pub(super) fn swept(self, mut item: Item) -> Item {
        match (self, item.state.phase()) {
            (M::SweepForgetsRuns, Phase::Active) | (M::SweepForgetsEndings, Phase::Ended) => {
                item.state = published(&item.state);
            }
            (M::SweepNamesAnotherClaim, _) => item.claim_id = another_claim(),
            (M::SweepIgnoresTheLease, _) => item.lease_until_ms = OVER,
            _ => {}
        }
        item
    }
}
