//! What to expect of a run next, derived from its item alone.

use std::time::Duration;

use super::{Item, RunState};
use crate::time::Millis;

/// What to expect of a run next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A poll, which is being handled or waits in the queue.
    Poll {
        /// When it is expected, as of the last claim: about that time, if the sync goes on.
        expected_at: Option<Millis>,
        /// When the run counts as lost, if none comes.
        overdue_at: Millis,
    },
    /// The ending's event, from the message that holds the run.
    Publication,
    /// Nothing until a sweep recovers the run: its message, or its publisher, is lost.
    Recovery {
        /// Since when the run counts as lost.
        lost_since: Millis,
        /// From when on a sweep looks at it.
        sweep_at: Millis,
    },
    /// Nothing; the ending is published.
    Over,
}

impl Next {
    /// Decides about a run at `now`, as the sweep does.
    pub fn of(item: &Item, now: Millis, overdue: Duration) -> Self {
        let overdue_at = item.lease_until_ms + overdue;
        match item.state {
            RunState::Active { open } if overdue_at < now => {
                Self::Recovery { lost_since: overdue_at, sweep_at: open.sweep_at_ms }
            }
            RunState::Active { .. } => Self::Poll { expected_at: item.learned.next_poll_ms, overdue_at },
            RunState::Ended { open, .. } if item.lease_expired(now) => {
                Self::Recovery { lost_since: item.lease_until_ms, sweep_at: open.sweep_at_ms }
            }
            RunState::Ended { .. } => Self::Publication,
            RunState::Published { .. } => Self::Over,
        }
    }

    /// Whether the run is lost, and needs a sweep.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Recovery { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postpress::Finish;
    use crate::run::message_handler::tests::item;
    use crate::run::{EndedBy, Open, Outcome, PollState};

    const OVERDUE: Duration = Duration::from_secs(1800);

    #[test]
    fn the_next_step_is_what_the_sweep_would_find() {
        let lease_until = Millis(1_000_000);
        let sweep_at = Millis(5_000_000);
        let open = Open { shard: 0, sweep_at_ms: sweep_at };
        let outcome = || Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: Millis(1) };
        let expected_at = Some(Millis(7));
        let learned = PollState { next_poll_ms: expected_at, ..PollState::default() };
        let run = |state| Item { lease_until_ms: lease_until, state, learned: learned.clone(), ..item() };
        let active = run(RunState::Active { open });
        let unpublished = run(RunState::Ended { outcome: outcome(), open });
        let over = run(RunState::Published { outcome: outcome(), expires_at: 1 });
        let lost = |lost_since| Next::Recovery { lost_since, sweep_at };
        let a_moment = Duration::from_millis(1);
        for (item, now, next) in [
            (&active, lease_until + OVERDUE, Next::Poll { expected_at, overdue_at: lease_until + OVERDUE }),
            (&active, lease_until + OVERDUE + a_moment, lost(lease_until + OVERDUE)),
            (&unpublished, lease_until, Next::Publication),
            (&unpublished, lease_until + a_moment, lost(lease_until)),
            (&over, Millis(u64::MAX), Next::Over),
        ] {
            assert_eq!(Next::of(item, now, OVERDUE), next, "at {now:?}");
        }
    }
}
