//! A run that an input can be held against.

use std::time::Duration;

use postpress_bridge::ids::{ClaimId, MessageId, RunId, Subject};
use postpress_bridge::postpress::Resync;
use postpress_bridge::run::{Item, Open, PollState, RecentKeys, RunState};
use postpress_bridge::time::Millis;

/// When it is.
pub const NOW: Millis = Millis(1_795_514_400_000);
/// How long a claim made now is held.
pub const LEASE: Duration = Duration::from_secs(65);
/// The run's chat.
pub const CHAT: &str = "c";

/// Run 1 of [`CHAT`], active, which the message `starter` has just claimed with claim 1.
pub fn active() -> Item {
    Item {
        subject: Subject::chat(CHAT).expect("it is one"),
        resync: Resync::default(),
        run_id: RunId::from_random(1),
        claim_id: ClaimId::from_random(1),
        holder: MessageId::new("starter"),
        lease_until_ms: NOW + LEASE,
        state: RunState::Active { open: Open { shard: 0, sweep_at_ms: NOW + LEASE } },
        triggers: Vec::new(),
        keys: [].into(),
        seen: RecentKeys::default(),
        learned: PollState::default(),
        started_at_ms: NOW,
        cancelled_at: None,
        group: None,
        polls: 1,
    }
}
