//! The faults of a world.

use std::fmt;

/// How often each fault may happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// A handler dies.
    pub(super) crashes: u8,
    /// A message is delivered while it is in flight, or once more after it was deleted.
    pub(super) duplicates: u8,
    /// A request or its reply is lost; AWS operations are then retried, so that a poll may be sent twice.
    pub(super) lost: u8,
    /// An AWS operation fails permanently, executed or not, or time runs out before a call.
    pub(super) failed: u8,
    /// An abandoned request lands later.
    pub(super) late: u8,
    /// A message is dead-lettered.
    pub(super) dead_letters: u8,
    /// A sweep runs although no message was lost.
    pub(super) early_sweeps: u8,
    /// A lease is considered expired while its holder lives: clocks differ by more than the margin.
    pub(super) skews: u8,
    /// Another run, long and healthy, was due earlier, and each sweep has time for one run only.
    pub(super) ahead: u8,
}

impl Faults {
    /// None.
    pub(super) const NONE: Self = Self {
        crashes: 0,
        duplicates: 0,
        lost: 0,
        failed: 0,
        late: 0,
        dead_letters: 0,
        early_sweeps: 0,
        skews: 0,
        ahead: 0,
    };

    /// How often each may happen, in the order of the fields.
    pub(super) fn each(self) -> [u8; 9] {
        let Self { crashes, duplicates, lost, failed, late, dead_letters, early_sweeps, skews, ahead } = self;
        [crashes, duplicates, lost, failed, late, dead_letters, early_sweeps, skews, ahead]
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            ["crash", "duplicate", "lost", "failed", "late", "dead letter", "early sweep", "skew", "due run ahead"];
        let named = self.each().into_iter().zip(names);
        let there = named.filter(|(times, _)| *times > 0);
        let all = there.map(|(times, name)| format!("{times} {name}")).collect::<Vec<_>>().join(", ");
        f.write_str(if all.is_empty() { "no fault" } else { &all })
    }
}
