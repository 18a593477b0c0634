//! What happens without a handler: messages are delivered or lost, leases expire, sweeps run, and abandoned requests land
//! late.

use postpress_bridge::run::{Item, OPEN_SHARDS, Task, sweep};

use super::canonical::Part;
use super::state::{Action, Bridge, Late, NOW, Next, OVER, State, rules};

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

    /// Once the run's message was lost and nothing else is in progress, the sweep must help; at any other time a sweep must
    /// do no harm.
    pub(super) fn sweeps(&self, state: &State, next: &mut Next) {
        let is_needed = state.is_orphaned && state.queue.is_empty() && state.handlers.is_empty();
        if !is_needed && state.left.early_sweeps == 0 {
            return;
        }
        let Some(item) = state.item.as_deref().cloned() else { return };
        let is_indexed = |item: &Item| item.state.open().is_some_and(|open| open.shard < OPEN_SHARDS);
        let poll_for = |item: &Item| sweep(item, NOW, &rules()).filter(|_| is_indexed(item))?.poll;
        let mut poll = poll_for(&item);
        if let Some(mutant) = self.mutant {
            let as_protocol_says = std::mem::replace(&mut poll, poll_for(&mutant.swept(item)));
            self.note(poll != as_protocol_says);
        }
        if let Some(poll) = poll {
            let mut swept = state.clone();
            swept.left.early_sweeps -= u8::from(!is_needed);
            swept.send_by_sweep(Task::Poll(poll));
            next.push((Action::World("the sweep sends a poll"), swept));
        }
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
