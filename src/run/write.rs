//! The conditional writes on an item: under which condition each is taken, and what it changes.
//!
//! [`Write::apply`] is their meaning. The memory and embedded tables carry it out as it stands here; DynamoDB gets the
//! same as expressions, and one suite of tests holds all of them to this.

use crate::ids::{ChatId, ClaimId, MessageId, RunId, TriggerKey};
use crate::time::Millis;

use super::{Item, Outcome, Phase, PollState, TRIGGERS_MAX, Trigger};

/// One conditional write on the item of one chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Write {
    /// Put a whole new item: a run begins, already claimed.
    Start {
        /// The new item.
        item: Box<Item>,
        /// The run that it takes the place of, as read: that run must be over. Without one there must be no item.
        over: Option<RunId>,
    },
    /// Claim an active run.
    Claim {
        /// The chat.
        chat_id: ChatId,
        /// Under which condition.
        claimable: ClaimCondition,
        /// What is set.
        claim: Claim,
        /// The time that leases are held against.
        now: Millis,
    },
    /// Add a trigger to an active run, whoever holds it.
    Join {
        /// The chat.
        chat_id: ChatId,
        /// The run as read.
        run_id: RunId,
        /// The trigger's key, which must not be there yet.
        key: TriggerKey,
        /// The trigger.
        trigger: Trigger,
    },
    /// Record the ending, under the claim that found it.
    End {
        /// The chat.
        chat_id: ChatId,
        /// Our claim, which must still be the item's.
        claim_id: ClaimId,
        /// The ending.
        outcome: Outcome,
        /// What was learned up to it.
        learned: PollState,
    },
    /// Note that the ending's event is out.
    MarkPublished {
        /// The chat.
        chat_id: ChatId,
        /// The run, which must have ended.
        run_id: RunId,
        /// When the table may forget it, in epoch seconds.
        expires_at: u64,
    },
    /// Move the run's place in the index of open runs.
    MoveSweep {
        /// The chat.
        chat_id: ChatId,
        /// The place as read, which must still be the item's.
        from: Millis,
        /// The new place.
        to: Millis,
    },
}

/// When an active run can be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClaimCondition {
    /// For a poll of this run: nobody has claimed since it was sent, or this very message did and its lease is over.
    ByPoll {
        /// The poll's run.
        run_id: RunId,
        /// The claim that the poll names.
        claim_id: ClaimId,
    },
    /// For a trigger that claimed before: the claim is as read, and its lease is over.
    ByTrigger {
        /// The claim as read.
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
    /// When the claim is over at the latest.
    pub lease_until_ms: Millis,
    /// What the message learned; without it the item keeps its own.
    pub learned: Option<PollState>,
    /// A call follows, so that it counts as a poll.
    pub calls: bool,
}

/// What a conditional write came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WriteResult {
    /// It was taken; this is the item after it.
    Applied(Box<Item>),
    /// Its condition did not hold; this is the item that refused it, if there is one.
    ConditionFailed(Option<Box<Item>>),
}

impl Write {
    /// The chat whose item it is about.
    pub fn chat_id(&self) -> &ChatId {
        match self {
            Self::Start { item, .. } => &item.chat_id,
            Self::Claim { chat_id, .. }
            | Self::Join { chat_id, .. }
            | Self::End { chat_id, .. }
            | Self::MarkPublished { chat_id, .. }
            | Self::MoveSweep { chat_id, .. } => chat_id,
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

    /// Whether an item, or the lack of one, meets the write's condition.
    pub fn holds(&self, item: Option<&Item>) -> bool {
        match (self, item) {
            (Self::Start { over: None, .. }, item) => item.is_none(),
            (Self::Start { over: Some(run_id), .. }, Some(item)) => item.run_id == *run_id && item.is_over(),
            (Self::Claim { claimable, claim, now, .. }, Some(item)) => {
                item.phase == Phase::Active && claimable.holds(item, &claim.holder, *now)
            }
            (Self::Join { run_id, key, .. }, Some(item)) => {
                item.run_id == *run_id
                    && item.phase == Phase::Active
                    && item.triggers.len() < TRIGGERS_MAX
                    && !item.keys.contains(key)
            }
            (Self::End { claim_id, .. }, Some(item)) => item.claim_id == *claim_id && item.phase == Phase::Active,
            (Self::MarkPublished { run_id, .. }, Some(item)) => item.run_id == *run_id && item.phase == Phase::Ended,
            (Self::MoveSweep { from, .. }, Some(item)) => item.open.is_some_and(|open| open.sweep_at_ms == *from),
            (_, None) => false,
        }
    }

    /// Carries the write out on an item, or on the lack of one.
    pub fn apply(&self, item: Option<&Item>) -> WriteResult {
        if !self.holds(item) {
            return WriteResult::ConditionFailed(item.cloned().map(Box::new));
        }
        match (self, item) {
            (Self::Start { item, .. }, _) => WriteResult::Applied(item.clone()),
            (_, Some(item)) => {
                let mut item = Box::new(item.clone());
                self.change(&mut item);
                WriteResult::Applied(item)
            }
            (_, None) => WriteResult::ConditionFailed(None),
        }
    }

    fn change(&self, item: &mut Item) {
        match self {
            Self::Start { item: new, .. } => *item = (**new).clone(),
            Self::Claim { claim, .. } => {
                item.claim_id = claim.claim_id;
                item.holder = claim.holder.clone();
                item.lease_until_ms = claim.lease_until_ms;
                if let Some(learned) = &claim.learned {
                    item.learned = learned.clone();
                }
                item.polls += u32::from(claim.calls);
            }
            Self::Join { key, trigger, .. } => {
                item.keys.insert(*key);
                item.triggers.push(trigger.clone());
            }
            Self::End { outcome, learned, .. } => {
                item.phase = Phase::Ended;
                item.outcome = Some(outcome.clone());
                item.learned = learned.clone();
            }
            Self::MarkPublished { expires_at, .. } => {
                item.published = true;
                item.expires_at = Some(*expires_at);
                item.open = None;
            }
            Self::MoveSweep { to, .. } => {
                if let Some(open) = &mut item.open {
                    open.sweep_at_ms = *to;
                }
            }
        }
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
