//! The run table's item: everything that is known about the latest run of a subject.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ending, Outcome, Poll, PollAnswer, PollState, RecentKeys, Trigger};
use crate::ids::{ClaimId, MessageGroup, MessageId, RunId, Subject, TriggerKey};
use crate::postpress::{Resync, Status, SyncCall};
use crate::time::Millis;

/// The most triggers that one run answers.
pub const TRIGGERS_MAX: usize = 50;
/// The hash keys of the active runs in the index of open runs: several, so that no single partition takes every new run.
pub const ACTIVE_SHARDS: Range<u8> = 0..8;
/// The hash keys of the ended, unpublished runs.
pub const ENDED_SHARDS: Range<u8> = 8..16;

/// The item of one subject. Its fields are the table's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// What is synced: the table's hash key.
    pub subject: Subject,
    /// The options of an account's sync.
    #[serde(default, skip_serializing_if = "Resync::is_empty")]
    pub resync: Resync,
    /// Random, new for each run; also the `event_id` of the run's ending.
    pub run_id: RunId,
    /// The fence, new for each claim.
    pub claim_id: ClaimId,
    /// The message that made the claim.
    pub holder: MessageId,
    /// End of the claim's lease: the end of the claiming invocation, plus the margin for clock skew.
    pub lease_until_ms: Millis,
    /// How far the run is.
    #[serde(flatten)]
    pub state: RunState,
    /// The run's accepted triggers, at most [`TRIGGERS_MAX`].
    pub triggers: Vec<Trigger>,
    /// The keys of `triggers`.
    pub keys: BTreeSet<TriggerKey>,
    /// Trigger keys of earlier runs.
    #[serde(default, skip_serializing_if = "RecentKeys::is_empty")]
    pub seen: RecentKeys,
    /// State accumulated from the provider's responses.
    #[serde(default)]
    pub learned: PollState,
    /// Time of the run's first claim; the run's deadline counts from it.
    pub started_at_ms: Millis,
    /// When the run was first asked to end without another call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Millis>,
    /// The message group of the run's first trigger, which all of its messages have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<MessageGroup>,
    /// Claims that led to a call: calls made, or possibly made before a crash.
    pub polls: u32,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "StateAttributes", into = "StateAttributes")]
pub enum RunState {
    /// The run has no ending yet.
    Active {
        /// Its place in the index of open runs.
        open: Open,
    },
    /// The ending is recorded, and its event is not confirmed published.
    Ended {
        /// How the run ended.
        outcome: Outcome,
        /// Its place in the index of open runs.
        open: Open,
    },
    /// The ending's event is confirmed published.
    Published {
        /// How the run ended.
        outcome: Outcome,
        /// When the table may delete the item, in epoch **seconds**.
        expires_at: u64,
    },
}

/// Whether a run has ended: the `phase` attribute, and what front ends show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has no ending yet.
    Active,
    /// Its outcome is recorded.
    Ended,
}

/// A run's place in the sparse index of open runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Open {
    /// The index's hash key (attribute `open`): one of [`ACTIVE_SHARDS`], and after the run's end one of [`ENDED_SHARDS`].
    pub shard: u8,
    /// The index's range key (attribute `sweep_at_ms`): when a sweep next looks at the run.
    pub sweep_at_ms: Millis,
}

impl Open {
    /// The place of an active run, which a sweep looks at then.
    pub fn of_active(subject: &Subject, sweep_at_ms: Millis) -> Self {
        let [first, ..] = TriggerKey::of(&subject.key()).to_bytes();
        Self { shard: first % ACTIVE_SHARDS.end, sweep_at_ms }
    }

    /// The shard of an unpublished ending. These have shards of their own, so that a sweep finds them without reading past
    /// active runs.
    pub fn shard_of_ended(subject: &Subject) -> u8 {
        ENDED_SHARDS.start + Self::of_active(subject, Millis(0)).shard
    }
}

impl Item {
    /// Whether the lease of the current claim has expired at `now`.
    pub fn lease_expired(&self, now: Millis) -> bool {
        self.lease_until_ms < now
    }

    /// Whether a trigger with this key belongs to this run, or to an earlier one that is still remembered.
    pub fn is_duplicate(&self, key: TriggerKey, now: Millis, run_ttl: Duration) -> bool {
        let is_remembered = !self.is_expired(now);
        is_remembered && self.keys.contains(&key) || self.seen.contains(key, now, run_ttl)
    }

    /// Whether the table may delete the item. DynamoDB does so within a few days after that.
    pub fn is_expired(&self, now: Millis) -> bool {
        matches!(self.state, RunState::Published { expires_at, .. } if expires_at < now.epoch_seconds())
    }

    /// The provider's last known status.
    pub fn status(&self) -> Option<Status> {
        match self.state.outcome().map(|outcome| &outcome.ending) {
            Some(Ending::Sync { status }) => Some(Status::Over(*status)),
            Some(Ending::Error { .. }) | None => self.learned.status.map(Status::InProgress),
        }
    }

    /// How many of the run's calls have no recorded answer and never will.
    pub fn unrecorded(&self) -> u32 {
        let entries = self.learned.history.entries().iter();
        let known = entries.filter(|entry| entry.answer == PollAnswer::Unrecorded).map(|entry| u32::from(entry.count));
        known.sum::<u32>() + self.unrecorded_at_end()
    }

    /// Those after the history's last entry. The last call of all is in progress, or its answer is the ending.
    pub fn unrecorded_at_end(&self) -> u32 {
        let outcome = self.state.outcome();
        let ended_by_error = outcome.is_some_and(|outcome| matches!(outcome.ending, Ending::Error { .. }));
        self.learned.history.missing(self.polls).saturating_sub(u32::from(!ended_by_error))
    }

    /// What the run calls the provider for.
    pub fn call(&self) -> SyncCall {
        SyncCall { subject: self.subject.clone(), resync: self.resync.clone() }
    }

    /// A poll of this run under its current claim.
    pub fn poll(&self, learned: Option<PollState>, answer: Option<Outcome>) -> Poll {
        let (subject, group) = (self.subject.clone(), self.group.clone());
        Poll { subject, run_id: self.run_id, claim_id: self.claim_id, learned, answer, group }
    }
}

impl RunState {
    /// Whether the run goes on.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Active { .. } => Phase::Active,
            Self::Ended { .. } | Self::Published { .. } => Phase::Ended,
        }
    }

    /// How the run ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Active { .. } => None,
            Self::Ended { outcome, .. } | Self::Published { outcome, .. } => Some(outcome),
        }
    }

    /// The run's place in the index of open runs, until its ending is published.
    pub fn open(&self) -> Option<Open> {
        match self {
            Self::Active { open } | Self::Ended { open, .. } => Some(*open),
            Self::Published { .. } => None,
        }
    }

    /// Whether the run goes on.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active { .. })
    }

    /// Whether the ending's event is confirmed published.
    pub fn is_published(&self) -> bool {
        matches!(self, Self::Published { .. })
    }
}

/// A run's state as the table stores it: the attributes that conditions, the index and TTL look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateAttributes {
    pub(crate) phase: Phase,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) published: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<Open>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
}

/// Why an item's attributes are not the state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`phase`, `published`, `outcome`, `open`, `sweep_at_ms` and `expires_at` do not describe a run")]
pub(crate) struct InvalidState;

impl From<RunState> for StateAttributes {
    fn from(state: RunState) -> Self {
        let (phase, published, open) = (state.phase(), state.is_published(), state.open());
        let (outcome, expires_at) = match state {
            RunState::Active { .. } => (None, None),
            RunState::Ended { outcome, .. } => (Some(outcome), None),
            RunState::Published { outcome, expires_at } => (Some(outcome), Some(expires_at)),
        };
        Self { phase, published, outcome, open, expires_at }
    }
}

impl TryFrom<StateAttributes> for RunState {
    type Error = InvalidState;

    fn try_from(attributes: StateAttributes) -> Result<Self, InvalidState> {
        let StateAttributes { phase, published, outcome, open, expires_at } = attributes;
        match (phase, published, outcome, open, expires_at) {
            (Phase::Active, false, None, Some(open), None) => Ok(Self::Active { open }),
            (Phase::Ended, false, Some(outcome), Some(open), None) => Ok(Self::Ended { outcome, open }),
            (Phase::Ended, true, Some(outcome), None, Some(expires_at)) => Ok(Self::Published { outcome, expires_at }),
            _ => Err(InvalidState),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::message_handler::tests::{item, published_at};

    #[test]
    fn the_keys_of_a_run_are_remembered_until_its_item_expires() {
        const DAY: Duration = Duration::from_secs(86_400);
        let key = TriggerKey::of("starter");
        let expires_at = Millis(5_000_000);
        let published = published_at(expires_at.epoch_seconds());
        for (item, now, is_duplicate) in [
            (&published, expires_at, true),
            (&published, expires_at + Duration::from_secs(1), false),
            (&item(), Millis(u64::MAX), true), // not published, so it never expires
        ] {
            assert_eq!(item.is_duplicate(key, now, DAY), is_duplicate, "at {now:?}");
        }
    }

    #[test]
    fn attributes_that_contradict_each_other_are_not_a_run() {
        let [active, ended, published] = [item(), crate::run::message_handler::tests::ended(), published_at(1)]
            .map(|item| StateAttributes::from(item.state));
        for attributes in [active.clone(), ended.clone(), published.clone()] {
            assert_eq!(StateAttributes::from(RunState::try_from(attributes.clone()).unwrap()), attributes);
        }
        for contradiction in [
            StateAttributes { published: true, ..active.clone() },
            StateAttributes { outcome: ended.outcome.clone(), ..active.clone() },
            StateAttributes { open: None, ..active.clone() },
            StateAttributes { expires_at: Some(1), ..active },
            StateAttributes { outcome: None, ..ended.clone() },
            StateAttributes { open: None, ..ended.clone() },
            StateAttributes { expires_at: Some(1), ..ended.clone() },
            StateAttributes { open: ended.open, ..published.clone() },
            StateAttributes { expires_at: None, ..published.clone() },
            StateAttributes { phase: Phase::Active, ..published },
        ] {
            assert_eq!(RunState::try_from(contradiction.clone()), Err(InvalidState), "{contradiction:?}");
        }
    }
}
