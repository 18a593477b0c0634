//! Other runs of the table, long and healthy, which are due at every sweep: more than a sweep has time for.

use std::time::Duration;

use postpress_bridge::ids::{ClaimId, MessageId, RunId, Subject};
use postpress_bridge::postpress::Resync;
use postpress_bridge::run::{DueRun, Item, Open, PollState, RecentKeys, RunState, Write};
use postpress_bridge::time::Millis;

/// How many they are, in a world that has them.
pub(super) const RUNS: u64 = 12;
/// How many runs a sweep has time for in such a world.
pub(super) const ALLOWANCE: u32 = 4;

/// Whether it is one of theirs.
pub(super) fn has(subject: &Subject) -> bool {
    subject.id().starts_with("crowd~")
}

/// What creates them.
pub(super) fn starts(now: Millis) -> impl Iterator<Item = Write> {
    (0..RUNS).map(move |number| {
        let subject = Subject::chat(&format!("crowd~{number}")).expect("a chat id");
        let item = Item {
            resync: Resync::default(),
            run_id: RunId::from_random(u128::from(number)),
            claim_id: ClaimId::from_random(u128::from(number)),
            holder: MessageId::new("of the crowd"),
            lease_until_ms: now + Duration::from_hours(24 * 365),
            state: RunState::Active { open: Open::of_active(&subject, now) },
            subject,
            triggers: Vec::new(),
            keys: Default::default(),
            seen: RecentKeys::default(),
            learned: PollState::default(),
            started_at_ms: now,
            cancelled_at: None,
            group: None,
            polls: 1,
        };
        Write::Start { item: Box::new(item), over: None }
    })
}

/// What makes those among the items due again.
pub(super) fn is_due(items: Vec<Item>, now: Millis) -> impl Iterator<Item = Write> {
    items.into_iter().filter(|item| has(&item.subject)).filter_map(move |item| {
        let from = item.state.open()?.sweep_at_ms;
        Some(Write::MoveSweep { subject: item.subject, from, to: now })
    })
}

/// The order in which it is first, as if sweeps always began with the same shards.
pub(super) fn first(mut due: Vec<DueRun>) -> Vec<DueRun> {
    due.iter_mut().filter(|due| has(&due.subject)).for_each(|due| due.sweep_at_ms = Millis(0));
    due.sort();
    due
}
