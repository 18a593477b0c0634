//! The table with one condition omitted, which the checks must notice.

use postpress_bridge::run::{ClaimCondition, Item, RunState, Write};
use postpress_bridge::time::Millis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A poll claims even if there was another claim since it was sent.
    PollIgnoresTheFence,
    /// A poll's second delivery claims while the first holds the lease.
    PollIgnoresTheLease,
    /// An ending is recorded under any claim.
    EndingIgnoresTheFence,
    /// A trigger's key is forgotten once its run has ended.
    TriggerForgetsItsKey,
    /// A run starts over one whose ending is not confirmed published.
    StartsOverAnUnpublishedEnding,
    /// Lost runs are not found.
    NoSweep,
    /// Sweeps look at the same runs first, each time.
    SweepsBeginWithTheCrowd,
}

impl Mutant {
    pub(super) const ALL: [Self; 7] = [
        Self::PollIgnoresTheFence,
        Self::PollIgnoresTheLease,
        Self::EndingIgnoresTheFence,
        Self::TriggerForgetsItsKey,
        Self::StartsOverAnUnpublishedEnding,
        Self::NoSweep,
        Self::SweepsBeginWithTheCrowd,
    ];

    /// What a worker reads instead of the item.
    pub(super) fn read(self, mut item: Item) -> Item {
        match self {
            Self::TriggerForgetsItsKey if item.state.is_published() => {
                item.keys.clear();
                item.seen = Default::default();
            }
            Self::StartsOverAnUnpublishedEnding => {
                if let RunState::Ended { outcome, .. } = item.state {
                    item.state = RunState::Published { outcome, expires_at: u64::MAX };
                }
            }
            _ => {}
        }
        item
    }

    /// What is written before the write.
    pub(super) fn before(self, write: &Write) -> Option<Write> {
        match (self, write) {
            (Self::StartsOverAnUnpublishedEnding, Write::Start { item, over: Some(run_id) }) => {
                Some(Write::MarkPublished { subject: item.subject.clone(), run_id: *run_id, expires_at: u64::MAX })
            }
            _ => None,
        }
    }

    /// What is written to this item instead.
    pub(super) fn write(self, mut write: Write, item: Option<Item>) -> Write {
        let Some(item) = item else { return write };
        match (self, &mut write) {
            (Self::PollIgnoresTheFence, Write::Claim { condition: ClaimCondition::ByPoll { claim_id, .. }, .. })
            | (Self::EndingIgnoresTheFence, Write::End { claim_id, .. }) => *claim_id = item.claim_id,
            (Self::PollIgnoresTheLease, Write::Claim { condition: ClaimCondition::ByPoll { .. }, now, .. }) => {
                *now = Millis(u64::MAX);
            }
            _ => {}
        }
        write
    }
}
