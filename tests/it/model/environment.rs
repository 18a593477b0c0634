//! What happens without a handler: messages are delivered or lost, leases expire, sweeps run, and abandoned requests land
//! late.

use postpress_bridge::run::{ACTIVE_SHARDS, DueOrder, DueRun, ENDED_SHARDS, Item, Task, sweep};
use postpress_bridge::time::Millis;

use super::canonical::Part;
use super::mutant::Mutant;
use super::state::{Action, Bridge, Late, Message, NOW, Next, OVER, State, rules};

/// Since when our run is due, and other runs of the index that are.
const OURS: Millis = Millis(1);
const AHEAD: Millis = Millis(0);
const BEHIND: Millis = Millis(2);

/// Whether a message can do nothing but wait for this run to end.
fn waits_for(message: &Message, item: &Item) -> bool {
    let Task::Trigger(trigger) = &message.task else { return false };
    let is_other = item.holder != message.id && !item.keys.contains(&trigger.key);
    is_other && item.state.is_active() && !trigger.may_join(item, rules().lease_margin)
}

impl Bridge {
    pub(super) fn deliveries(&self, state: &State, next: &mut Next) {
        if state.handlers.len() == self.scope.handlers {
            return;
        }
        for (place, queued) in state.queue.iter().enumerate() {
            let is_in_flight = queued.in_flight > 0;
            if is_in_flight && state.left.duplicates == 0 {
                continue;
            }
            let mut delivered = state.clone();
            delivered.left.duplicates -= u8::from(is_in_flight);
            delivered.queue[place].in_flight += 1;
            delivered.handlers.push(Part::new(self.begin(&queued.message, state)));
            next.push((Action::Deliver(place, is_in_flight), delivered));
        }
    }

    pub(super) fn landings(&self, state: &State, next: &mut Next) {
        for place in 0..state.late.len() {
            let mut landed = state.clone();
            match &*landed.late.remove(place) {
                Late::Write(write, is_outdated) => {
                    self.write(&mut landed, write, *is_outdated);
                    landed.check_message_of(write);
                    next.push((Action::World("an abandoned write lands"), landed));
                }
                Late::Call(run_id) => {
                    for (_, landed, _) in landed.land(*run_id, None) {
                        next.push((Action::World("an abandoned call lands"), landed));
                    }
                }
            }
        }
    }

    /// A lease expires once its holder is gone, or earlier if clocks differ too much.
    pub(super) fn lease(&self, state: &State, next: &mut Next) {
        let Some(item) = state.item.as_ref().filter(|item| !item.lease_expired(NOW)) else { return };
        let holder = state.handlers.iter().position(|handler| handler.claim_id == item.claim_id);
        let mut over = state.clone();
        over.item = Some(Part::new(Item { lease_until_ms: OVER, ..Item::clone(item) }));
        over.outdate_claims();
        match holder {
            None => next.push((Action::World("the lease of the dead or finished holder expires"), over)),
            Some(holder) if state.left.skews > 0 => {
                over.left.skews -= 1;
                over.change(holder, |handler| handler.is_skewed = true);
                next.push((Action::World("by the others' clocks the lease of a living holder expires"), over));
            }
            Some(_) => {}
        }
    }

    /// Once the run's message was lost and nothing else is in progress, except that triggers wait, the sweep must help; at any other time a sweep must
    /// do no harm.
    pub(super) fn sweeps(&self, state: &State, next: &mut Next) {
        let Some(item) = state.item.as_deref().cloned() else { return };
        let is_quiet = state.handlers.is_empty() && state.queue.iter().all(|queued| waits_for(&queued.message, &item));
        let is_needed = state.is_orphaned && is_quiet;
        if !is_needed && state.left.early_sweeps == 0 {
            return;
        }
        let mut swept = state.clone();
        swept.left.early_sweeps -= u8::from(!is_needed);
        match self.first_due(&item, state.left.ahead) {
            Some(AHEAD) => {
                // It goes behind the runs that are due.
                swept.left.ahead -= 1;
                next.push((Action::World("the sweep looks at another run"), swept));
            }
            Some(OURS) => {
                let poll_for = |item: &Item| sweep(item, NOW, &rules())?.poll;
                let mut poll = poll_for(&item);
                if let Some(mutant) = self.mutant {
                    let as_protocol_says = std::mem::replace(&mut poll, poll_for(&mutant.swept(item)));
                    self.note(poll != as_protocol_says);
                }
                if let Some(poll) = poll {
                    swept.send_by_sweep(Task::Poll(poll));
                    next.push((Action::World("the sweep sends a poll"), swept));
                }
            }
            _ => {}
        }
    }

    /// When the run was due that a sweep looks at first, having time for only one. The scope's other runs are in the first
    /// shard, `ahead` of them due before ours, and the rest after it.
    fn first_due(&self, item: &Item, ahead: u8) -> Option<Millis> {
        let open = item.state.open()?;
        let due = |sweep_at_ms| DueRun { sweep_at_ms, subject: item.subject.clone() };
        let others = (0..self.scope.faults.ahead).map(|number| due(if number < ahead { AHEAD } else { BEHIND }));
        let others: Vec<DueRun> = others.collect();
        let ranges = match self.mutant {
            Some(Mutant::SweepReadsShardByShard) => (0..ENDED_SHARDS.end).map(|shard| shard..shard + 1).collect(),
            _ => vec![ENDED_SHARDS, ACTIVE_SHARDS],
        };
        let first = ranges.into_iter().find_map(|shards| {
            let mut order = DueOrder::new(shards.clone());
            for shard in shards {
                let others = others.iter().filter(|_| shard == ACTIVE_SHARDS.start).cloned();
                let mut page: Vec<_> = others.chain((shard == open.shard).then(|| due(OURS))).collect();
                page.sort();
                order.add(shard, &page);
            }
            order.take(1).pop()
        });
        first.map(|due| due.sweep_at_ms)
    }

    pub(super) fn dead_letters(&self, state: &State, next: &mut Next) {
        if state.left.dead_letters == 0 {
            return;
        }
        for (place, queued) in state.queue.iter().enumerate().filter(|(_, queued)| queued.in_flight == 0) {
            let mut lost = state.clone();
            lost.left.dead_letters -= 1;
            lost.queue.remove(place);
            lost.check_dead_letter(&queued.message);
            next.push((Action::World("a message is dead-lettered"), lost));
        }
    }
}
