//! The sweep: finds runs whose message was lost, and endings that were never published.

use crate::time::Millis;

use super::{Item, Poll, Rules, RunState, Write};

/// How many active runs one sweep looks at; the rest waits for the next.
pub const SWEEP_ACTIVE_MAX: usize = 1000;

/// What a sweep does about one open run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The poll to send, if the run is lost or its ending not confirmed published.
    pub poll: Option<Poll>,
    /// The run's next place in the index, written once the poll is sent.
    pub move_to: Write,
}

/// Decides about one run of the index, read at `now`. `None` if it is not open any more, or not yet due.
pub fn sweep(item: &Item, now: Millis, rules: &Rules) -> Option<Recovery> {
    let open = item.state.open().filter(|open| open.sweep_at_ms < now)?;
    let overdue = item.lease_until_ms + rules.overdue;
    let is_lost = match item.state {
        RunState::Active { .. } => overdue < now,
        // Not while the lease is held: the holder may be about to publish.
        RunState::Ended { .. } => item.lease_expired(now),
        RunState::Published { .. } => false,
    };
    let poll = is_lost.then(|| item.recovery_poll());
    // The step doubles with each attempt, without a counter: the lease stays where it is until a message claims.
    let to = if is_lost { now + rules.overdue.max(now.since(item.lease_until_ms)) } else { overdue };
    let move_to = Write::MoveSweep { subject: item.subject.clone(), from: open.sweep_at_ms, to };
    Some(Recovery { poll, move_to })
}

impl Item {
    /// The poll that continues the run if its message was lost: under its current claim, and without state of its own. If
    /// the message was not lost, one of the two is superseded.
    pub fn recovery_poll(&self) -> Poll {
        self.poll(None, None)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::postpress::Finish;
    use crate::run::message_handler::tests::{item, rules};
    use crate::run::{EndedBy, Open, Outcome};

    const OVERDUE: Duration = Duration::from_secs(1800);

    const OPEN: Open = Open { shard: 0, sweep_at_ms: Millis(1) };

    /// A run whose lease expired at 1,000 s, and which a sweep is due to look at.
    fn due(state: RunState) -> Item {
        Item { state, lease_until_ms: Millis(1_000_000), ..item() }
    }

    fn active() -> Item {
        due(RunState::Active { open: OPEN })
    }

    fn outcome() -> Outcome {
        Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: Millis(1) }
    }

    fn moved_to(recovery: &Recovery) -> Millis {
        match recovery.move_to {
            Write::MoveSweep { from: Millis(1), to, .. } => to,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_overdue_run_is_polled_under_its_own_claim() {
        let item = active();
        let now = item.lease_until_ms + OVERDUE + Duration::from_millis(1);
        let recovery = sweep(&item, now, &rules()).unwrap();
        let poll = recovery.poll.clone().unwrap();
        assert_eq!((poll.run_id, poll.claim_id), (item.run_id, item.claim_id));
        assert_eq!((poll.learned, poll.answer), (None, None));
        assert_eq!(moved_to(&recovery), now + OVERDUE + Duration::from_millis(1));
    }

    #[test]
    fn the_step_doubles_until_a_message_claims() {
        let item = active();
        let now = item.lease_until_ms + 4 * OVERDUE;
        assert_eq!(moved_to(&sweep(&item, now, &rules()).unwrap()), now + 4 * OVERDUE);
    }

    #[test]
    fn a_run_is_looked_at_again_when_it_would_be_overdue() {
        let item = active();
        for now in [Millis(2), item.lease_until_ms + OVERDUE] {
            let recovery = sweep(&item, now, &rules()).unwrap();
            assert_eq!(recovery.poll, None);
            assert_eq!(moved_to(&recovery), item.lease_until_ms + OVERDUE);
        }
    }

    #[test]
    fn an_unpublished_ending_is_polled_once_its_lease_has_expired() {
        let item = due(RunState::Ended { outcome: outcome(), open: OPEN });
        let held = sweep(&item, item.lease_until_ms, &rules()).unwrap();
        assert_eq!(held.poll, None, "never while the lease is held");
        let over = sweep(&item, item.lease_until_ms + Duration::from_millis(1), &rules()).unwrap();
        assert!(over.poll.is_some());
    }

    #[test]
    fn runs_that_are_not_open_or_not_due_are_left_alone() {
        let item = active();
        assert_eq!(sweep(&item, Millis(1), &rules()), None);
        assert_eq!(
            sweep(&due(RunState::Published { outcome: outcome(), expires_at: 1 }), Millis(u64::MAX), &rules()),
            None
        );
    }
}
