//! The writes with which a message claims a run, before its call.

use crate::ids::{ClaimId, MessageId, RunId};
use crate::time::Millis;

use super::{
    Claim, ClaimCondition, Item, Open, Poll, PollState, RecentKeys, RunState, StepContext, TriggerMessage, Write,
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
    /// Starts a run, in place of an earlier one whose keys are then among those `seen`.
    pub(super) fn start(
        &self,
        message: &TriggerMessage,
        earlier: Option<(RunId, RecentKeys)>,
        StepContext { now, rules, .. }: StepContext<'_>,
    ) -> Write {
        let (over, seen) = earlier.unzip();
        let subject = message.subject.clone();
        let open = Open::of_active(&subject, now + rules.overdue);
        let item = Item {
            subject,
            resync: message.resync.clone(),
            run_id: self.run_id,
            claim_id: self.claim_id,
            holder: self.message_id.clone(),
            lease_until_ms: self.lease_until_ms,
            state: RunState::Active { open },
            triggers: vec![message.trigger.clone()],
            keys: [message.key].into(),
            seen: seen.unwrap_or_default(),
            learned: PollState { next_poll_ms: Some(rules.schedule.next_poll(1, now)), ..PollState::default() },
            started_at_ms: now,
            cancelled_at: None,
            group: message.group.clone(),
            polls: 1,
        };
        Write::Start { item: Box::new(item), over }
    }

    /// The claim of a trigger whose earlier delivery claimed the run.
    pub(super) fn claim_again(&self, item: &Item, now: Millis) -> Write {
        let condition = ClaimCondition::ByTrigger { claim_id: item.claim_id };
        Write::Claim { subject: item.subject.clone(), condition, claim: self.claim(None), now }
    }

    /// The claim that a poll makes.
    pub(super) fn claim_for(&self, poll: &Poll, now: Millis) -> Write {
        let condition = ClaimCondition::ByPoll { run_id: poll.run_id, claim_id: poll.claim_id };
        Write::Claim { subject: poll.subject.clone(), condition, claim: self.claim(Some(poll)), now }
    }

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
