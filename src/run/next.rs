//! What is to be expected of a run, told from its item alone.

use std::time::Duration;

use super::{Item, Phase};
use crate::time::Millis;

/// What is to be expected of a run next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A message of its own: it is handled now, or waits in the queue.
    Poll {
        /// When the run will count as lost, if none comes.
        overdue_at: Millis,
    },
    /// Its ending's event, from whoever holds it.
    Publication,
    /// Nothing, unless it is revived: its message, or its publisher, is lost.
    Revival {
        /// Since when it counts as lost.
        lost_since: Millis,
        /// From when on a sweep looks at it.
        sweep_at: Option<Millis>,
    },
    /// Nothing; it is over.
    Over,
}

impl Next {
    /// Decides about a run at `now`, as the sweep does.
    pub fn of(item: &Item, now: Millis, overdue: Duration) -> Self {
        let sweep_at = item.open.map(|open| open.sweep_at_ms);
        let overdue_at = item.lease_until_ms + overdue;
        match item.phase {
            Phase::Active if overdue_at < now => Self::Revival { lost_since: overdue_at, sweep_at },
            Phase::Active => Self::Poll { overdue_at },
            Phase::Ended if item.is_over() => Self::Over,
            Phase::Ended if item.lease_expired(now) => Self::Revival { lost_since: item.lease_until_ms, sweep_at },
            Phase::Ended => Self::Publication,
        }
    }

    /// Somebody ought to look, if no sweep comes by.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Revival { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postpress::Finish;
    use crate::run::message_handler::tests::item;
    use crate::run::{EndedBy, Open, Outcome};

    const OVERDUE: Duration = Duration::from_secs(1800);

    #[test]
    fn what_comes_next_is_what_the_sweep_would_find() {
        let lease_until = Millis(1_000_000);
        let sweep_at = Millis(5_000_000);
        let open = Some(Open { shard: 0, sweep_at_ms: sweep_at });
        let active = Item { lease_until_ms: lease_until, open, ..item() };
        let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: Millis(1) };
        let unpublished = Item { phase: Phase::Ended, outcome: Some(outcome), ..active.clone() };
        let over = Item { published: true, open: None, ..unpublished.clone() };
        let lost = |lost_since| Next::Revival { lost_since, sweep_at: Some(sweep_at) };
        let a_moment = Duration::from_millis(1);
        for (item, now, next) in [
            (&active, lease_until + OVERDUE, Next::Poll { overdue_at: lease_until + OVERDUE }),
            (&active, lease_until + OVERDUE + a_moment, lost(lease_until + OVERDUE)),
            (&unpublished, lease_until, Next::Publication),
            (&unpublished, lease_until + a_moment, lost(lease_until)),
            (&over, Millis(u64::MAX), Next::Over),
        ] {
            assert_eq!(Next::of(item, now, OVERDUE), next, "at {now:?}");
        }
    }
}
