//! The sweep: finds runs whose message was lost, and endings that were never published.

use std::collections::VecDeque;
use std::ops::Range;

use crate::ids::Subject;
use crate::time::Millis;

use super::{Item, Poll, Rules, RunState, Write};

/// A run in the index of open runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueRun {
    /// When a sweep next looks at it.
    pub sweep_at_ms: Millis,
    /// Its subject.
    pub subject: Subject,
}

impl DueRun {
    /// The write that moves it to where a healthy run goes that is claimed now.
    pub fn postponed(&self, now: Millis, rules: &Rules) -> Write {
        Write::MoveSweep { subject: self.subject.clone(), from: self.sweep_at_ms, to: now + rules.overdue }
    }
}

/// The order in which a sweep looks at the due runs of several shards: those first that have been due longest.
///
/// A run that was looked at goes behind all that are due. So each waits only for those that were due before it: if N runs are
/// due and a sweep looks at A, each is reached within N / A sweeps, rounded up, whatever shard it is in.
#[derive(Debug)]
pub struct DueOrder(Vec<Shard>);

/// A shard of the index, as far as it is read.
#[derive(Debug)]
struct Shard {
    number: u8,
    /// Read and not yet taken, in order.
    read: VecDeque<DueRun>,
    /// The last one that was read.
    last: Option<DueRun>,
    is_complete: bool,
}

impl DueOrder {
    /// The order of these shards' runs, of which nothing is read yet.
    pub fn new(shards: Range<u8>) -> Self {
        let unread = |number| Shard { number, read: VecDeque::new(), last: None, is_complete: false };
        Self(shards.map(unread).collect())
    }

    /// What to read before the next run is known: pages of these shards, each after this run.
    pub fn to_read(&self) -> impl Iterator<Item = (u8, Option<&DueRun>)> {
        let unknown = self.0.iter().filter(|shard| shard.read.is_empty() && !shard.is_complete);
        unknown.map(|shard| (shard.number, shard.last.as_ref()))
    }

    /// Adds the next page of a shard. An empty page is the last.
    pub fn add(&mut self, number: u8, page: &[DueRun]) {
        for shard in self.0.iter_mut().filter(|shard| shard.number == number) {
            shard.is_complete = page.is_empty();
            shard.last = page.last().cloned().or(shard.last.take());
            shard.read.extend(page.iter().cloned());
        }
    }

    /// Takes the next runs, at most `max`, as far as the order is known.
    pub fn take(&mut self, max: usize) -> Vec<DueRun> {
        let mut taken = Vec::new();
        while taken.len() < max && self.to_read().next().is_none() {
            let first =
                self.0.iter_mut().filter(|shard| !shard.read.is_empty()).min_by(|a, b| a.read[0].cmp(&b.read[0]));
            let Some(run) = first.and_then(|shard| shard.read.pop_front()) else { break };
            taken.push(run);
        }
        taken
    }

    /// Takes everything that is read, and returns how many runs it was.
    pub fn skip_read(&mut self) -> usize {
        self.0.iter_mut().map(|shard| std::mem::take(&mut shard.read).len()).sum()
    }
}

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
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::collection::vec;

    use super::*;
    use crate::ids::Subject;
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

    fn due_run(sweep_at_ms: u64, name: &str) -> DueRun {
        DueRun { sweep_at_ms: Millis(sweep_at_ms), subject: Subject::chat(name).unwrap() }
    }

    /// The shard's runs after `after`, at most `size`.
    fn page(shard: &BTreeSet<DueRun>, after: Option<&DueRun>, size: usize) -> Vec<DueRun> {
        shard.iter().filter(|due| after.is_none_or(|after| *due > after)).take(size).cloned().collect()
    }

    proptest::proptest! {
        #[test]
        fn each_of_n_due_runs_is_reached_within_n_by_the_allowance_sweeps(
            times in vec((0..4_usize, 0..20_u64), 1..60),
            allowance in 1..20_usize,
            page_size in 1..8_usize,
        ) {
            let mut shards = vec![BTreeSet::new(); 4];
            for (number, (shard, at)) in times.iter().enumerate() {
                shards[*shard].insert(due_run(*at, &format!("c{number}")));
            }
            for _sweep in 0..times.len().div_ceil(allowance) {
                let mut order = DueOrder::new(0..4);
                let mut reached = Vec::new();
                loop {
                    let pages: Vec<_> = order.to_read().map(|(shard, after)| (shard, page(&shards[usize::from(shard)], after, page_size))).collect();
                    pages.into_iter().for_each(|(shard, page)| order.add(shard, &page));
                    let taken = order.take(allowance - reached.len());
                    if taken.is_empty() {
                        break;
                    }
                    reached.extend(taken);
                }
                proptest::prop_assert!(reached.is_sorted());
                for shard in &mut shards {
                    shard.retain(|due| !reached.contains(due));
                }
            }
            proptest::prop_assert!(shards.iter().all(BTreeSet::is_empty), "{shards:?}");
        }
    }

    #[test]
    fn an_order_ends_where_a_page_is_not_read_yet() {
        let mut order = DueOrder::new(0..2);
        order.add(0, &[due_run(1, "a"), due_run(2, "b")]);
        assert_eq!(order.take(9), [], "shard 1 may have an earlier one");
        order.add(1, &[due_run(3, "c")]);
        assert_eq!(order.take(9), [due_run(1, "a"), due_run(2, "b")]);
        assert_eq!(order.to_read().collect::<Vec<_>>(), [(0, Some(&due_run(2, "b")))]);
        order.add(0, &[]);
        assert_eq!(order.take(9), [due_run(3, "c")]);
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
