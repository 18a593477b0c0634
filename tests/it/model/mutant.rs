//! The protocol with one clause left out: each must be caught, or the search proves nothing.

use postpress_bridge::ids::MessageId;
use postpress_bridge::run::{Claimable, Item, Phase, Write};
use postpress_bridge::time::Millis;

use super::world::Faults;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A poll claims whether or not somebody has claimed since it was sent.
    PollIgnoresTheFence,
    /// A poll's second delivery claims while the first holds the lease.
    PollIgnoresTheLease,
    /// A trigger's second delivery claims while the first holds the lease.
    TriggerIgnoresTheLease,
    /// A run that has ended can be claimed.
    ClaimsAnEndedRun,
    /// An ending is recorded under whatever claim.
    EndingIgnoresTheFence,
    /// A trigger does not look whether its key is known.
    TriggerForgetsItsKey,
    /// A trigger does not look whether its key was known in an earlier run.
    TriggerForgetsEarlierRuns,
    /// A run starts over one whose ending is not published.
    StartsOverAnUnpublishedEnding,
    /// A trigger joins a run that has ended.
    JoinsAnEndedRun,
    /// A mark is set on whatever run there is.
    MarkIgnoresTheRun,
    /// Lost runs are not looked for.
    NoSweep,
}

impl Mutant {
    /// What it takes a million states to catch.
    pub(super) const LARGE: [(Self, usize, Faults); 1] = [(
        Self::MarkIgnoresTheRun,
        1,
        Faults { crashes: 2, duplicates: 0, lost: 0, failed: 0, late: 1, dead_letters: 0, early_sweeps: 0 },
    )];

    /// Each with as many handlers at once, and the faults, as it takes to show.
    pub(super) const ALL: [(Self, usize, Faults); 10] = {
        const NONE: Faults =
            Faults { crashes: 0, duplicates: 0, lost: 0, failed: 0, late: 0, dead_letters: 0, early_sweeps: 0 };
        [
            (Self::PollIgnoresTheFence, 2, Faults { duplicates: 2, ..NONE }),
            (Self::PollIgnoresTheLease, 2, Faults { duplicates: 1, ..NONE }),
            (Self::TriggerIgnoresTheLease, 2, Faults { duplicates: 1, ..NONE }),
            (Self::ClaimsAnEndedRun, 2, Faults { duplicates: 1, ..NONE }),
            (Self::EndingIgnoresTheFence, 2, Faults { crashes: 1, late: 1, ..NONE }),
            (Self::TriggerForgetsItsKey, 1, Faults { duplicates: 1, ..NONE }),
            (Self::TriggerForgetsEarlierRuns, 1, Faults { duplicates: 1, ..NONE }),
            (Self::StartsOverAnUnpublishedEnding, 1, Faults { crashes: 1, ..NONE }),
            (Self::JoinsAnEndedRun, 2, NONE),
            (Self::NoSweep, 1, Faults { dead_letters: 1, ..NONE }),
        ]
    };

    /// What a handler gets to see instead of the item.
    pub(super) fn read(self, mut item: Item, reader: &MessageId) -> Item {
        match self {
            Self::TriggerIgnoresTheLease if item.holder == *reader => item.lease_until_ms = Millis(0),
            Self::TriggerForgetsItsKey => {
                item.keys.clear();
                item.seen = Default::default();
            }
            Self::TriggerForgetsEarlierRuns => item.seen = Default::default(),
            Self::StartsOverAnUnpublishedEnding if item.phase == Phase::Ended => item.published = true,
            Self::JoinsAnEndedRun if !item.published => item.phase = Phase::Active,
            _ => {}
        }
        item
    }

    /// The write and the item that it is held against, with the clause left out.
    pub(super) fn write(self, mut write: Write, mut item: Item) -> (Write, Item) {
        match (self, &mut write) {
            (Self::PollIgnoresTheFence, Write::Claim { claimable: Claimable::ByPoll { claim_id, .. }, .. }) => {
                *claim_id = item.claim_id;
            }
            (Self::PollIgnoresTheLease, Write::Claim { claimable: Claimable::ByPoll { .. }, now, .. })
            | (Self::TriggerIgnoresTheLease, Write::Claim { claimable: Claimable::ByTrigger { .. }, now, .. }) => {
                *now = Millis(u64::MAX);
            }
            (Self::ClaimsAnEndedRun, Write::Claim { .. }) | (Self::JoinsAnEndedRun, Write::Join { .. }) => {
                item.phase = Phase::Active;
            }
            (Self::EndingIgnoresTheFence, Write::End { claim_id, .. }) => *claim_id = item.claim_id,
            (Self::StartsOverAnUnpublishedEnding, Write::Start { .. }) => item.published = item.phase == Phase::Ended,
            (Self::MarkIgnoresTheRun, Write::MarkPublished { run_id, .. }) => *run_id = item.run_id,
            _ => {}
        }
        (write, item)
    }
}
