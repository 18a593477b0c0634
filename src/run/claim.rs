//! Before the call: which message may make it, and what the others do instead.

use crate::ids::{ClaimId, MessageId, RunId, Subject};
use crate::time::Millis;

use super::{
    Claim, ClaimCondition, EndedRun, Item, Open, Poll, PollState, RecentKeys, Rules, RunState, TRIGGERS_MAX,
    TriggerMessage, Write,
};

/// What one delivery claims with: fresh ids, and the lease that its invocation can keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claimant {
    /// The message's id, the same for every delivery.
    pub message_id: MessageId,
    /// A fresh random fence.
    pub claim_id: ClaimId,
    /// A fresh random run, in case the delivery starts one.
    pub run_id: RunId,
    /// The end of the invocation, plus the margin for clock skew.
    pub lease_until_ms: Millis,
}

impl Claimant {
    fn claim(&self, poll: Option<&Poll>) -> Claim {
        Claim {
            claim_id: self.claim_id,
            holder: self.message_id.clone(),
            lease_until_ms: self.lease_until_ms,
            learned: poll.and_then(|poll| poll.learned.clone()),
            calls: poll.is_none_or(|poll| poll.answer.is_none()),
        }
    }
}

/// What a trigger does, decided from the item as read. The numbers are those of the protocol's rules.
#[derive(Debug)]
pub(super) enum TriggerDecision {
    /// 1, 5: claim the run again, or start one.
    Claim(Write),
    /// 3: join the run in flight.
    Join(Write),
    /// 3: the run has as many triggers as it can answer.
    TooMany,
    /// 1, 2: the trigger's run has ended, and its event is not confirmed published; publish it, then acknowledge.
    Publish(Box<EndedRun>),
    /// 4: an earlier run has ended, and its event is not confirmed published; publish it, then decide again.
    PublishThenDecide(Box<EndedRun>),
    /// 1: an earlier delivery of this message holds the run until then; come back after that.
    ComeBack {
        /// The end of the lease.
        held_until: Millis,
    },
    /// 1, 2: the trigger is a duplicate.
    Duplicate,
}

/// Decides for a trigger. Uses only `rules.run_ttl` and `rules.overdue`.
pub(super) fn for_trigger(
    item: Option<&Item>,
    message: &TriggerMessage,
    claimant: &Claimant,
    now: Millis,
    rules: &Rules,
) -> TriggerDecision {
    let Some(item) = item else {
        return TriggerDecision::Claim(start(None, message, claimant, now, rules));
    };
    let is_own = item.holder == claimant.message_id;
    let is_known = is_own || item.is_duplicate(message.key, now, rules.run_ttl);
    match &item.state {
        RunState::Active { .. } if is_own && item.lease_expired(now) => TriggerDecision::Claim(Write::Claim {
            subject: item.subject.clone(),
            condition: ClaimCondition::ByTrigger { claim_id: item.claim_id },
            claim: claimant.claim(None),
            now,
        }),
        RunState::Active { .. } if is_own => TriggerDecision::ComeBack { held_until: item.lease_until_ms },
        RunState::Active { .. } | RunState::Published { .. } if is_known => TriggerDecision::Duplicate,
        RunState::Active { .. } if item.triggers.len() >= TRIGGERS_MAX => TriggerDecision::TooMany,
        RunState::Active { .. } => TriggerDecision::Join(join(item, message)),
        RunState::Ended { outcome, .. } if is_known => TriggerDecision::Publish(Box::new(EndedRun::new(item, outcome))),
        RunState::Ended { outcome, .. } => TriggerDecision::PublishThenDecide(Box::new(EndedRun::new(item, outcome))),
        RunState::Published { outcome, .. } => {
            let seen = item.seen.after(&item.keys, outcome.finished_at, now, rules.run_ttl);
            TriggerDecision::Claim(start(Some((item.run_id, seen)), message, claimant, now, rules))
        }
    }
}

fn join(item: &Item, message: &TriggerMessage) -> Write {
    let mut trigger = message.trigger.clone();
    trigger.joined = true;
    Write::Join { subject: item.subject.clone(), run_id: item.run_id, key: message.key, trigger }
}

/// Starts a run, in place of an earlier one whose keys are then among those `seen`.
fn start(
    earlier: Option<(RunId, RecentKeys)>,
    message: &TriggerMessage,
    claimant: &Claimant,
    now: Millis,
    rules: &Rules,
) -> Write {
    let (over, seen) = earlier.unzip();
    let subject = Subject::from(&message.chat_id);
    let open = Open::of_active(&subject, now + rules.overdue);
    let item = Item {
        subject,
        run_id: claimant.run_id,
        claim_id: claimant.claim_id,
        holder: claimant.message_id.clone(),
        lease_until_ms: claimant.lease_until_ms,
        state: RunState::Active { open },
        triggers: vec![message.trigger.clone()],
        keys: [message.key].into(),
        seen: seen.unwrap_or_default(),
        learned: PollState::default(),
        started_at_ms: now,
        polls: 1,
    };
    Write::Start { item: Box::new(item), over }
}

/// The claim that a poll makes.
pub(super) fn for_poll(poll: &Poll, claimant: &Claimant, now: Millis) -> Write {
    Write::Claim {
        subject: Subject::from(&poll.chat_id),
        condition: ClaimCondition::ByPoll { run_id: poll.run_id, claim_id: poll.claim_id },
        claim: claimant.claim(Some(poll)),
        now,
    }
}

/// What a poll does whose claim failed. The numbers are those of the protocol's list.
#[derive(Debug)]
pub(super) enum FailedClaim {
    /// 1: the claim is ours: an earlier attempt of the same write was applied, and its reply lost. Go on under it.
    OwnWrite(Box<Item>),
    /// 3: the run has ended, and its event is not confirmed published; publish it, regardless of its holder.
    Publish(Box<EndedRun>),
    /// 5: an earlier delivery of this message holds the run until then; come back after that.
    ComeBack {
        /// The end of the lease.
        held_until: Millis,
    },
    /// 2, 4: the run's event is published, or the chat has another run by now.
    Over,
    /// 6: another message has claimed the run since this poll was sent.
    Superseded,
}

/// Decides for a poll whose claim failed against `item` at `now`, the time in the failed write.
pub(super) fn for_failed_claim(item: Option<Box<Item>>, poll: &Poll, claimant: &Claimant, now: Millis) -> FailedClaim {
    let Some(item) = item else { return FailedClaim::Over };
    match &item.state {
        RunState::Active { .. } if item.claim_id == claimant.claim_id => FailedClaim::OwnWrite(item),
        _ if item.run_id != poll.run_id => FailedClaim::Over,
        RunState::Published { .. } => FailedClaim::Over,
        RunState::Ended { outcome, .. } => FailedClaim::Publish(Box::new(EndedRun::new(&item, outcome))),
        RunState::Active { .. } if item.holder == claimant.message_id && !item.lease_expired(now) => {
            FailedClaim::ComeBack { held_until: item.lease_until_ms }
        }
        RunState::Active { .. } => FailedClaim::Superseded,
    }
}
