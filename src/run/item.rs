//! The run table's item: all that is known of a chat's latest run.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ChatId, ClaimId, MessageId, RunId, TriggerKey};
use crate::postpress::{Envelope, Finish, Progress};
use crate::time::{Millis, rfc3339};

use super::Trigger;

/// The most triggers that one run answers for.
pub const TRIGGERS_MAX: usize = 50;
/// The most keys of earlier runs' triggers that a chat remembers.
pub const SEEN_MAX: usize = 128;
/// Into how many hash keys the index of open runs is split, so that no one partition takes every start.
pub const OPEN_SHARDS: u8 = 8;

/// One chat's item. Its fields are the table's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// The table's hash key.
    pub chat_id: ChatId,
    /// Random, new at each start; the `event_id` of the run's ending.
    pub run_id: RunId,
    /// The fence, new at each claim.
    pub claim_id: ClaimId,
    /// The message that made the claim.
    pub holder: MessageId,
    /// End of the claim's lease: end of the claiming invocation and the margin for clock skew.
    pub lease_until_ms: Millis,
    /// Whether the run goes on.
    pub phase: Phase,
    /// The ending's event is out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
    /// The run's accepted triggers, at most [`TRIGGERS_MAX`].
    pub triggers: Vec<Trigger>,
    /// Their keys.
    pub keys: BTreeSet<TriggerKey>,
    /// Keys of earlier runs' triggers.
    #[serde(default, skip_serializing_if = "RecentKeys::is_empty")]
    pub seen: RecentKeys,
    /// What the answers taught.
    #[serde(default)]
    pub learned: PollState,
    /// Time of the run's first claim; the run's deadline counts from it.
    pub started_at_ms: Millis,
    /// Claims that led to a call: calls made, or after a crash possibly made.
    pub polls: u32,
    /// The ending, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The run's place in the index of open runs, until its ending is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// When the table may forget the item, in epoch **seconds**. An unpublished ending never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// Whether a run goes on.
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
    /// The index's hash key (attribute `open`): which of the [`OPEN_SHARDS`].
    pub shard: u8,
    /// The index's range key (attribute `sweep_at_ms`): when a sweep is to look at the run.
    pub sweep_at_ms: Millis,
}

impl Open {
    /// The place of a chat that a sweep is to look at then.
    pub fn new(chat_id: &ChatId, sweep_at_ms: Millis) -> Self {
        let [first, ..] = TriggerKey::of(chat_id.as_str()).to_bytes();
        Self { shard: first % OPEN_SHARDS, sweep_at_ms }
    }
}

impl Item {
    /// The run is active and nobody holds it at `now`.
    pub fn lease_expired(&self, now: Millis) -> bool {
        self.lease_until_ms < now
    }

    /// The run has ended, and its event is not confirmed published.
    pub fn is_unpublished(&self) -> bool {
        self.phase == Phase::Ended && !self.published
    }

    /// The run has ended, and its event is out.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Ended && self.published
    }

    /// A trigger with this key is part of this run, or of an earlier one, that is still remembered.
    pub fn is_duplicate(&self, key: TriggerKey, now: Millis, run_ttl: Duration) -> bool {
        let is_remembered = !self.is_expired(now);
        is_remembered && self.keys.contains(&key) || self.seen.contains(key, now, run_ttl)
    }

    /// The table may forget it, and has not got round to that: DynamoDB deletes expired items within a few days.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at < now.epoch_seconds())
    }
}

/// What a run's answers taught, carried by its polls and copied into the item by their claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct PollState {
    /// The provider's last word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Progress>,
    /// Passing failures in a row, up to the last answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// When the first of them came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<Millis>,
    /// The last error envelope among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
    /// Unusable 200s in the whole run.
    #[serde(rename = "breaches", skip_serializing_if = "is_zero")]
    pub invalid_responses: u32,
    /// The refused key that passes once has passed.
    #[serde(rename = "key_retried", skip_serializing_if = "std::ops::Not::not")]
    pub credentials_retried: bool,
    /// `SYNC_STARTED` seen after `SYNC_RUNNING`: syncs that began again under our eyes.
    #[serde(skip_serializing_if = "is_zero")]
    pub restarts: u32,
}

impl PollState {
    /// The same, with foreign text cut to what an item may hold.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { envelope: self.envelope.map(Envelope::bounded), ..self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// With what.
    #[serde(flatten)]
    pub ending: Ending,
    /// By an answer, or by which budget.
    pub ended_by: EndedBy,
    /// When that was decided; stored, so that every publication has the same bytes.
    #[serde(with = "rfc3339")]
    pub finished_at: Millis,
}

impl Outcome {
    /// The same, with foreign text cut to what an item may hold.
    #[must_use]
    pub fn bounded(self) -> Self {
        let ending = match self.ending {
            Ending::Error { error, origin } => Ending::Error { error: error.bounded(), origin },
            sync @ Ending::Sync { .. } => sync,
        };
        Self { ending, ..self }
    }
}

/// With what a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ending {
    /// The provider's terminal status.
    Sync {
        /// `SYNC_DONE`, `SYNC_ERROR` or `CHAT_DELETED`.
        status: Finish,
    },
    /// An error envelope.
    Error {
        /// The envelope.
        error: Envelope,
        /// Whose it is.
        origin: Origin,
    },
}

/// Whose error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// postpress answered with it.
    Postpress,
    /// The bridge made it.
    Bridge,
}

/// What ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// An answer that is final.
    Answer,
    /// Failures in a row for longer than `BRIDGE_RETRY_SECONDS`, or one unusable 200 too many.
    Retries,
    /// `BRIDGE_RUN_DEADLINE_SECONDS` since the run's first claim.
    Deadline,
    /// `BRIDGE_MAX_POLLS`.
    Polls,
}

/// Keys of earlier runs' triggers, oldest first, each with the minute in which its run was finished.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecentKeys(Vec<(TriggerKey, u32)>);

impl RecentKeys {
    /// Bytes of one entry as stored: 8 of the key, 4 of the minute.
    const ENTRY_BYTES: usize = 12;

    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key was a trigger's of a run that was finished within `ttl` before `now`.
    pub fn contains(&self, key: TriggerKey, now: Millis, ttl: Duration) -> bool {
        self.0.iter().any(|(seen, minute)| *seen == key && !is_older(*minute, now, ttl))
    }

    /// What is to be remembered once the run of these keys, finished then, gives way to a new one.
    #[must_use]
    pub fn after(&self, keys: &BTreeSet<TriggerKey>, finished_at: Millis, now: Millis, ttl: Duration) -> Self {
        let minute = finished_at.epoch_minutes();
        let earlier = self.0.iter().copied().filter(|(_, minute)| !is_older(*minute, now, ttl));
        let mut entries: Vec<_> = earlier.chain(keys.iter().map(|key| (*key, minute))).collect();
        entries.drain(..entries.len().saturating_sub(SEEN_MAX));
        Self(entries)
    }

    /// The compact form for the table.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(key, minute)| [&key.to_bytes()[..], &minute.to_be_bytes()].concat()).collect()
    }

    /// Reads what [`RecentKeys::to_bytes`] wrote; nothing if it is not of whole entries.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !bytes.len().is_multiple_of(Self::ENTRY_BYTES) {
            return None;
        }
        let entry = |bytes: &[u8]| {
            let (key, minute) = bytes.split_at(8);
            Some((TriggerKey::from_bytes(key.try_into().ok()?), u32::from_be_bytes(minute.try_into().ok()?)))
        };
        bytes.chunks_exact(Self::ENTRY_BYTES).map(entry).collect::<Option<_>>().map(Self)
    }
}

fn is_older(minute: u32, now: Millis, ttl: Duration) -> bool {
    now.since(Millis(u64::from(minute) * 60_000)) > ttl
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::message_handler::tests::item;

    const DAY: Duration = Duration::from_secs(86_400);

    fn keys(names: std::ops::Range<u32>) -> BTreeSet<TriggerKey> {
        names.map(|name| TriggerKey::of(&name.to_string())).collect()
    }

    #[test]
    fn a_key_is_seen_until_its_run_is_too_old() {
        let finished = Millis(10 * 60_000);
        let seen = RecentKeys::default().after(&keys(0..1), finished, finished, DAY);
        let key = TriggerKey::of("0");
        assert!(seen.contains(key, finished + DAY, DAY));
        assert!(!seen.contains(key, finished + DAY + Duration::from_millis(1), DAY));
        assert!(!seen.contains(TriggerKey::of("1"), finished, DAY));
    }

    #[test]
    fn the_keys_of_a_run_are_known_until_the_table_may_forget_it() {
        let key = TriggerKey::of("starter");
        let expires_at = Millis(5_000_000);
        let over = Item { published: true, expires_at: Some(expires_at.epoch_seconds()), ..item() };
        for (item, now, known) in [
            (&over, expires_at, true),
            (&over, expires_at + Duration::from_secs(1), false),
            (&item(), Millis(u64::MAX), true), // not published, so it is never forgotten
        ] {
            assert_eq!(item.is_duplicate(key, now, DAY), known, "at {now:?}");
        }
    }

    #[test]
    fn the_last_128_keys_are_seen() {
        let now = Millis(60_000);
        let mut seen = RecentKeys::default();
        for run in 0..5 {
            seen = seen.after(&keys(run * 50..(run + 1) * 50), now, now, DAY);
        }
        assert_eq!(seen.to_bytes().len(), SEEN_MAX * RecentKeys::ENTRY_BYTES);
        let known = (0..250).filter(|name| seen.contains(TriggerKey::of(&name.to_string()), now, DAY)).count();
        assert_eq!(known, SEEN_MAX);
        assert!((150..250).all(|name| seen.contains(TriggerKey::of(&name.to_string()), now, DAY)));
    }

    #[test]
    fn what_is_too_old_makes_room_when_a_run_starts() {
        let seen = RecentKeys::default().after(&keys(0..2), Millis(0), Millis(0), DAY);
        let later = Millis(0) + 2 * DAY;
        assert_eq!(seen.after(&keys(2..3), later, later, DAY).to_bytes().len(), RecentKeys::ENTRY_BYTES);
    }

    #[test]
    fn seen_survives_its_compact_form() {
        let seen = RecentKeys::default().after(&keys(0..3), Millis(7 * 60_000), Millis(0), DAY);
        assert_eq!(RecentKeys::from_bytes(&seen.to_bytes()), Some(seen));
        assert_eq!(RecentKeys::from_bytes(&[0; 13]), None);
    }

    #[test]
    fn an_outcome_reads_flat_and_survives_the_wire() {
        let outcome = Outcome {
            ending: Ending::Sync { status: Finish::Done },
            ended_by: EndedBy::Answer,
            finished_at: Millis(1_795_514_400_000),
        };
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(json, r#"{"status":"SYNC_DONE","ended_by":"answer","finished_at":"2026-11-24T10:00:00.000Z"}"#);
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
    }

    #[test]
    fn what_was_learned_is_absent_until_it_has_a_value() {
        assert_eq!(serde_json::to_string(&PollState::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<PollState>("{}").unwrap(), PollState::default());
    }
}
