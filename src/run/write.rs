//! The conditional writes on an item: the condition of each, and its effect.
//!
//! [`Write::apply`] defines them. The memory and embedded tables call it; DynamoDB gets the same as expressions, and one
//! contract suite tests all of them against it.

use crate::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
use crate::time::Millis;

use super::{Item, Open, Outcome, PollState, RunState, TRIGGERS_MAX, Trigger};

/// One conditional write on the item of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Write {
    /// Put a new item: a run begins, already claimed.
    Start {
        /// The new item.
        item: Box<Item>,
        /// The run that it replaces, as read: its ending must be published. Without one there must be no item.
        over: Option<RunId>,
    },
    /// Claim an active run that is not cancelled.
    Claim {
        /// The item's key.
        subject: Subject,
        /// The condition.
        condition: ClaimCondition,
        /// What the claim sets.
        claim: Claim,
        /// The time that the lease is compared with.
        now: Millis,
    },
    /// Add a trigger to an active run that is not cancelled, regardless of its holder.
    Join {
        /// The item's key.
        subject: Subject,
        /// The run, as read.
        run_id: RunId,
        /// The trigger's key, which the item must not have yet.
        key: TriggerKey,
        /// The trigger.
        trigger: Trigger,
    },
    /// Record that an active run is to end without another call.
    Cancel {
        /// The item's key.
        subject: Subject,
        /// When the cancel was sent: a run that began later is left alone.
        requested_at: Millis,
        /// The time to record, unless the run is cancelled already.
        now: Millis,
    },
    /// Record the ending, under the claim that produced it.
    End {
        /// The item's key.
        subject: Subject,
        /// The claim that must still be the item's: our own, or the last one of a cancelled run.
        claim_id: ClaimId,
        /// The ending.
        outcome: Outcome,
        /// State accumulated up to the ending.
        learned: PollState,
    },
    /// Record that the ending's event is published.
    MarkPublished {
        /// The item's key.
        subject: Subject,
        /// The run, which must have ended.
        run_id: RunId,
        /// When the table may delete the item, in epoch seconds.
        expires_at: u64,
    },
    /// Move the run's place in the index of open runs.
    MoveSweep {
        /// The item's key.
        subject: Subject,
        /// The place as read, which must still be the item's.
        from: Millis,
        /// The new place.
        to: Millis,
    },
}

/// The condition under which an active run that is not cancelled can be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClaimCondition {
    /// For a poll: no claim was made since it was sent, or the claim is this very message's and its lease has expired.
    ByPoll {
        /// The poll's run.
        run_id: RunId,
        /// The claim that the poll names.
        claim_id: ClaimId,
    },
    /// For a trigger that claimed before: the claim is as read, and its lease has expired.
    ByTrigger {
        /// The claim, as read.
        claim_id: ClaimId,
    },
}

/// What a claim sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The new fence.
    pub claim_id: ClaimId,
    /// The message that claims.
    pub holder: MessageId,
    /// The end of the lease.
    pub lease_until_ms: Millis,
    /// The state that the message carries; without it the item keeps its own.
    pub learned: Option<PollState>,
    /// Whether a call follows, so that the claim counts as a poll.
    pub calls: bool,
}

/// Result of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WriteResult {
    /// The write was applied; this is the item after it.
    Applied(Box<Item>),
    /// The condition failed; this is the item that it was checked against, if there is one.
    ConditionFailed(Option<Box<Item>>),
}

impl Write {
    /// The key of the item that it changes.
    pub fn subject(&self) -> &Subject {
        match self {
            Self::Start { item, .. } => &item.subject,
            Self::Claim { subject, .. }
            | Self::Join { subject, .. }
            | Self::Cancel { subject, .. }
            | Self::End { subject, .. }
            | Self::MarkPublished { subject, .. }
            | Self::MoveSweep { subject, .. } => subject,
        }
    }

    /// The fence that it sets, if it claims.
    pub fn claims(&self) -> Option<ClaimId> {
        match self {
            Self::Start { item, .. } => Some(item.claim_id),
            Self::Claim { claim, .. } => Some(claim.claim_id),
            _ => None,
        }
    }

    /// Applies the write to an item, or to the lack of one.
    pub fn apply(&self, item: Option<&Item>) -> WriteResult {
        match self.changed(item) {
            Some(changed) => WriteResult::Applied(Box::new(changed)),
            None => WriteResult::ConditionFailed(item.cloned().map(Box::new)),
        }
    }

    /// The item after the write; `None` if the write's condition does not hold.
    fn changed(&self, item: Option<&Item>) -> Option<Item> {
        if let Self::Start { item: new, over } = self {
            let replaces = match (over, item) {
                (None, None) => true,
                (Some(over), Some(item)) => item.run_id == *over && item.state.is_published(),
                _ => false,
            };
            return replaces.then(|| Item::clone(new));
        }
        let mut item = item?.clone();
        let holds = match self {
            Self::Start { .. } => false,
            Self::Claim { condition, claim, now, .. } => {
                let is_open = item.state.is_active() && item.cancelled_at.is_none();
                let holds = is_open && condition.holds(&item, &claim.holder, *now);
                claim.set(&mut item);
                holds
            }
            Self::Join { run_id, key, trigger, .. } => {
                let has_room = item.triggers.len() < TRIGGERS_MAX;
                let is_open = item.state.is_active() && item.cancelled_at.is_none();
                item.triggers.push(trigger.clone());
                item.run_id == *run_id && is_open && has_room && item.keys.insert(*key)
            }
            Self::Cancel { requested_at, now, .. } => {
                item.cancelled_at.get_or_insert(*now);
                item.state.is_active() && item.started_at_ms <= *requested_at
            }
            Self::End { claim_id, outcome, learned, .. } => {
                let RunState::Active { open } = item.state else { return None };
                let open = Open { shard: Open::shard_of_ended(&item.subject), ..open };
                item.state = RunState::Ended { outcome: outcome.clone(), open };
                item.learned = learned.clone();
                item.claim_id == *claim_id
            }
            Self::MarkPublished { run_id, expires_at, .. } => {
                let outcome = item.state.outcome()?.clone();
                item.state = RunState::Published { outcome, expires_at: *expires_at };
                item.run_id == *run_id
            }
            Self::MoveSweep { from, to, .. } => {
                let (RunState::Active { open } | RunState::Ended { open, .. }) = &mut item.state else { return None };
                std::mem::replace(&mut open.sweep_at_ms, *to) == *from
            }
        };
        holds.then_some(item)
    }
}

impl Claim {
    fn set(&self, item: &mut Item) {
        item.claim_id = self.claim_id;
        item.holder = self.holder.clone();
        item.lease_until_ms = self.lease_until_ms;
        if let Some(learned) = &self.learned {
            item.learned = learned.clone();
        }
        item.polls += u32::from(self.calls);
    }
}

impl ClaimCondition {
    fn holds(&self, item: &Item, holder: &MessageId, now: Millis) -> bool {
        match self {
            Self::ByPoll { run_id, claim_id } => {
                let died_half_way = item.holder == *holder && item.lease_expired(now);
                item.run_id == *run_id && (item.claim_id == *claim_id || died_half_way)
            }
            Self::ByTrigger { claim_id } => item.claim_id == *claim_id && item.lease_expired(now),
        }
    }
}
