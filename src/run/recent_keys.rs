//! Trigger keys of a chat's earlier runs, so that a late duplicate does not start a run.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::TriggerKey;
use crate::time::Millis;

/// The number of trigger keys of earlier runs that a chat remembers.
pub const SEEN_MAX: usize = 128;

/// Trigger keys of earlier runs, oldest first, each with the minute in which its run finished.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecentKeys(Vec<(TriggerKey, u32)>);

impl RecentKeys {
    /// Bytes of one entry as stored: 8 of the key, 4 of the minute.
    const ENTRY_BYTES: usize = 12;

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a run that finished within `ttl` before `now` had a trigger with this key.
    pub fn contains(&self, key: TriggerKey, now: Millis, ttl: Duration) -> bool {
        self.0.iter().any(|(seen, minute)| *seen == key && !is_older(*minute, now, ttl))
    }

    /// The keys to remember once a new run replaces the one with `keys`, which finished at `finished_at`.
    #[must_use]
    pub fn after(&self, keys: &BTreeSet<TriggerKey>, finished_at: Millis, now: Millis, ttl: Duration) -> Self {
        let minute = finished_at.epoch_minutes();
        let earlier = self.0.iter().copied().filter(|(_, minute)| !is_older(*minute, now, ttl));
        let mut entries: Vec<_> = earlier.chain(keys.iter().map(|key| (*key, minute))).collect();
        entries.drain(..entries.len().saturating_sub(SEEN_MAX));
        Self(entries)
    }

    /// The compact form that the table stores.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(key, minute)| [&key.to_bytes()[..], &minute.to_be_bytes()].concat()).collect()
    }

    /// Reads what [`RecentKeys::to_bytes`] wrote; `None` if the bytes are not whole entries.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks() else { return None };
        let entry = |&[key @ .., a, b, c, d]: &[u8; Self::ENTRY_BYTES]| {
            (TriggerKey::from_bytes(key), u32::from_be_bytes([a, b, c, d]))
        };
        Some(Self(entries.iter().map(entry).collect()))
    }
}

fn is_older(minute: u32, now: Millis, ttl: Duration) -> bool {
    now.since(Millis(u64::from(minute) * 60_000)) > ttl
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn keys(names: std::ops::Range<u32>) -> BTreeSet<TriggerKey> {
        names.map(|name| TriggerKey::of(&name.to_string())).collect()
    }

    #[test]
    fn a_key_is_remembered_until_its_run_is_too_old() {
        let finished = Millis(10 * 60_000);
        let seen = RecentKeys::default().after(&keys(0..1), finished, finished, DAY);
        let key = TriggerKey::of("0");
        assert!(seen.contains(key, finished + DAY, DAY));
        assert!(!seen.contains(key, finished + DAY + Duration::from_millis(1), DAY));
        assert!(!seen.contains(TriggerKey::of("1"), finished, DAY));
    }

    #[test]
    fn the_last_128_keys_are_remembered() {
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
    fn expired_keys_are_dropped_when_a_run_starts() {
        let seen = RecentKeys::default().after(&keys(0..2), Millis(0), Millis(0), DAY);
        let later = Millis(0) + 2 * DAY;
        assert_eq!(seen.after(&keys(2..3), later, later, DAY).to_bytes().len(), RecentKeys::ENTRY_BYTES);
    }

    #[test]
    fn the_compact_form_can_be_read_back() {
        let seen = RecentKeys::default().after(&keys(0..3), Millis(7 * 60_000), Millis(0), DAY);
        assert_eq!(RecentKeys::from_bytes(&seen.to_bytes()), Some(seen));
        assert_eq!(RecentKeys::from_bytes(&[0; 13]), None);
    }
}
