//! The sweep: how a run is found whose message was lost, or whose publisher died.

use crate::time::Millis;

use super::{Item, Phase, Poll, Rules, Write};

/// How many active runs one sweep looks at; the rest waits for the next.
pub const SWEEP_ACTIVE_MAX: usize = 1000;

/// What a sweep does about one open run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// The poll to send, if the run is lost or its ending not known to be out.
    pub poll: Option<Poll>,
    /// When to look again. Written once the poll is sent.
    pub move_to: Write,
}

/// Decides about one run of the index, read at `now`; nothing if it is no longer open, or not yet due.
pub fn sweep(item: &Item, now: Millis, rules: &Rules) -> Option<Swept> {
    let open = item.open.filter(|open| open.sweep_at_ms < now)?;
    let overdue = item.lease_until_ms + rules.overdue;
    let revive = match item.phase {
        // Never while the lease is held: the holder may be about to publish, or to answer.
        Phase::Ended => item.is_unpublished() && item.lease_expired(now),
        Phase::Active => overdue < now,
    };
    let poll = revive.then(|| item.revival());
    // Twice as long after each try, with nothing stored for it: the lease stays where it is until somebody claims.
    let to = if revive { now + rules.overdue.max(now.since(item.lease_until_ms)) } else { overdue };
    let move_to = Write::MoveSweep { chat_id: item.chat_id.clone(), from: open.sweep_at_ms, to };
    Some(Swept { poll, move_to })
}

impl Item {
    /// The poll that makes the run go on if its message was lost: under its current claim, and with nothing learned. If
    /// the message was not lost, one of the two dies.
    pub fn revival(&self) -> Poll {
        let (chat_id, run_id, claim_id) = (self.chat_id.clone(), self.run_id, self.claim_id);
        Poll { chat_id, run_id, claim_id, learned: None, answer: None }
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

    /// A run whose lease was over at 1,000 s, and which a sweep is to look at.
    fn due(phase: Phase) -> Item {
        let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: Millis(1) };
        Item {
            phase,
            outcome: (phase == Phase::Ended).then_some(outcome),
            lease_until_ms: Millis(1_000_000),
            open: Some(Open { shard: 0, sweep_at_ms: Millis(1) }),
            ..item()
        }
    }

    fn moved_to(swept: &Swept) -> Millis {
        match swept.move_to {
            Write::MoveSweep { from: Millis(1), to, .. } => to,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_overdue_run_is_polled_under_its_own_claim() {
        let item = due(Phase::Active);
        let now = item.lease_until_ms + OVERDUE + Duration::from_millis(1);
        let swept = sweep(&item, now, &rules()).unwrap();
        let poll = swept.poll.clone().unwrap();
        assert_eq!((poll.run_id, poll.claim_id), (item.run_id, item.claim_id));
        assert_eq!((poll.learned, poll.answer), (None, None));
        assert_eq!(moved_to(&swept), now + OVERDUE + Duration::from_millis(1));
    }

    #[test]
    fn the_step_doubles_until_somebody_claims() {
        let item = due(Phase::Active);
        let now = item.lease_until_ms + 4 * OVERDUE;
        assert_eq!(moved_to(&sweep(&item, now, &rules()).unwrap()), now + 4 * OVERDUE);
    }

    #[test]
    fn a_run_that_is_not_overdue_is_looked_at_again_when_it_would_be() {
        let item = due(Phase::Active);
        for now in [Millis(2), item.lease_until_ms + OVERDUE] {
            let swept = sweep(&item, now, &rules()).unwrap();
            assert_eq!(swept.poll, None);
            assert_eq!(moved_to(&swept), item.lease_until_ms + OVERDUE);
        }
    }

    #[test]
    fn an_unpublished_ending_is_polled_as_soon_as_its_lease_is_over() {
        let item = due(Phase::Ended);
        let held = sweep(&item, item.lease_until_ms, &rules()).unwrap();
        assert_eq!(held.poll, None, "never while the lease is held");
        let over = sweep(&item, item.lease_until_ms + Duration::from_millis(1), &rules()).unwrap();
        assert!(over.poll.is_some());
    }

    #[test]
    fn what_is_not_open_or_not_due_is_left_alone() {
        let item = due(Phase::Active);
        assert_eq!(sweep(&item, Millis(1), &rules()), None);
        assert_eq!(sweep(&Item { open: None, ..item }, Millis(9), &rules()), None);
    }
}
