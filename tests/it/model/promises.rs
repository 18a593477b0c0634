//! What must hold at every step. S1 to S5, W1, W2 and C1 to C5 are the protocol's promises; S3 is checked by the search, which looks for states
//! without a path to a published ending.
//!
//! A broken promise is excused only by the fault that explains it: an answer counts as lost by what happened to the call,
//! the process or the poll that had it, and the sweep counts as needed by what happened to the message that drives the run.
//! A fault elsewhere excuses nothing.

use std::collections::BTreeSet;

use postpress_bridge::event::Event;
use postpress_bridge::ids::{MessageId, RunId};
use postpress_bridge::run::{Claim, EndedBy, Item, Poll, Step, Task, TriggerMessage, Write};

use super::canonical::{Name, Part};
use super::handler::Handler;
use super::provider::{Answered, Sync};
use super::scope::Later;
use super::state::{Bridge, Message, State};

impl Bridge {
    /// Before a write is applied.
    pub(super) fn check_write(&self, state: &mut State, write: &Write) {
        match write {
            Write::Start { item, .. } => {
                if state.item.as_ref().is_some_and(|before| !state.is_published_ending(before)) {
                    state.break_promise("a run is started over one whose ending is unpublished (S2)");
                }
                for trigger in &item.triggers {
                    self.check_options(state, item, &trigger.message_id);
                    self.accept(state, &trigger.message_id);
                }
            }
            Write::Claim { claim, .. } => {
                if state.is_cancelled() {
                    state.break_promise("a cancelled run is claimed (C1)");
                }
                state.check_claim(claim);
            }
            Write::Join { trigger, .. } => {
                if state.is_cancelled() {
                    state.break_promise("a trigger is accepted into a cancelled run (C5)");
                }
                if let Some(item) = state.item.clone() {
                    self.check_options(state, &item, &trigger.message_id);
                }
                if self.is_to_begin_after(&trigger.message_id)
                    && state.item.as_ref().is_some_and(|item| item.started_at_ms < trigger.requested_at)
                {
                    state.break_promise("a trigger is accepted by a run that began before it (W1)");
                }
                self.accept(state, &trigger.message_id);
            }
            Write::End { outcome, .. } if outcome.ended_by == EndedBy::Cancelled => {
                state.answer_moves(Answered::Lost);
            }
            Write::End { .. } => state.answer_moves(Answered::Recorded),
            Write::MarkPublished { .. } => {
                if state.item.as_ref().is_some_and(|item| !state.is_published_ending(item)) {
                    state.break_promise("an unpublished ending is marked as published (S2)");
                }
            }
            Write::Cancel { .. } | Write::MoveSweep { .. } => {}
        }
    }

    /// Before a message is acknowledged or returned.
    pub(super) fn check_end(
        &self,
        state: &mut State,
        handler: &Handler,
        message: Option<&Message>,
        is_acknowledged: bool,
    ) {
        if state.answered() == Some(Answered::InHand(handler.claim_id)) {
            state.answer_is_dropped_by(handler);
            if is_acknowledged || state.answered() == Some(Answered::Lost) {
                state.break_promise("an answer is dropped, neither recorded nor forwarded (S1)");
            }
        }
        if !is_acknowledged {
            if state.answered_in_poll_of(handler) && !handler.is_told_unsent {
                state.break_promise("a message is returned although a poll carries its answer (S1)");
            }
            state.answer_may_be_overtaken(handler);
            return;
        }
        if state.is_delivered_twice(&handler.id) {
            state.answer_may_be_overtaken(handler);
        }
        match message.map(|message| &message.task) {
            Some(Task::Poll(_)) if message.is_some_and(|message| state.is_carrier(message)) => {
                state.break_promise("the poll that carries the answer is dropped (S1)");
            }
            Some(Task::Cancel(_)) if !handler.has_written => {
                state.break_promise("a cancel is acknowledged before its write (C1)");
            }
            Some(Task::Trigger(message))
                if !self.is_taken(state, &message.trigger.message_id)
                    && !handler.copy_is_dead
                    && !state.is_carried_by_another(handler, message) =>
            {
                state.break_promise("a trigger is acknowledged that no run has accepted, and none will (S5, W2)");
            }
            _ => {}
        }
    }

    /// A run accepts a trigger.
    fn accept(&self, state: &mut State, id: &MessageId) {
        if self.is_taken(state, id) {
            state.break_promise("a request is accepted twice (S5)");
        }
        state.accepted = Part::new([&state.accepted[..], std::slice::from_ref(id)].concat());
    }

    /// Whether a run has accepted this message's request, from any of its messages.
    fn is_taken(&self, state: &State, id: &MessageId) -> bool {
        let request = self.request_of(id);
        let reported = state.published.iter().flat_map(|event| &event.detail.triggers);
        let mut taken = state.accepted.iter().chain(reported.map(|trigger| &trigger.message_id));
        taken.any(|taken| self.request_of(taken) == request)
    }

    /// The request of a trigger's first message.
    fn request_of(&self, id: &MessageId) -> Request {
        let place = place_of(id);
        self.scope.requests.get(place).map_or(Request::Later(place), |request| Request::First(*request))
    }

    fn is_to_begin_after(&self, id: &MessageId) -> bool {
        self.later(id) == Some(Later::AfterRequest)
    }

    fn later(&self, id: &MessageId) -> Option<Later> {
        let place = place_of(id).checked_sub(self.scope.requests.len())?;
        Some(self.scope.later[place])
    }

    /// Before this run accepts a trigger.
    fn check_options(&self, state: &mut State, run: &Item, id: &MessageId) {
        if run.resync.is_empty() == (self.later(id) == Some(Later::OtherOptions)) {
            state.break_promise("a trigger is accepted by a run with other options (W1)");
        }
    }
}

/// Which request a message carries.
#[derive(PartialEq, Eq)]
enum Request {
    /// One of those at the beginning, by number.
    First(u8),
    /// One that is sent later, by its place.
    Later(usize),
}

/// A trigger's place among all messages that producers send.
fn place_of(id: &MessageId) -> usize {
    let number: usize = id.as_str()[1..].parse().expect("a trigger message's id is `t` and its number");
    number - 1
}

fn carries_key_of(message: &Message, trigger: &TriggerMessage) -> bool {
    matches!(&message.task, Task::Trigger(other) if other.key == trigger.key)
}

/// Whether this poll is sent again, apart from its accumulated state, which the model leaves out.
fn is_copy(task: &Task, step: &Step) -> bool {
    let (Task::Poll(poll), Step::Send { poll: sent, .. }) = (task, step) else { return false };
    Poll { learned: None, ..poll.clone() } == Poll { learned: None, ..sent.clone() }
}

impl State {
    /// Whether another message than this handler's carries the same trigger.
    fn is_carried_by_another(&self, handler: &Handler, message: &TriggerMessage) -> bool {
        let mut others = self.queue.iter().filter(|queued| queued.message.id != handler.id);
        others.any(|queued| carries_key_of(&queued.message, message))
    }

    /// The living handler that has claimed the run and still works on it.
    fn holder(&self) -> Option<&Handler> {
        let claim_id = self.item.as_ref()?.claim_id;
        self.handlers.iter().map(|handler| &**handler).find(|other| other.claim_id == claim_id && other.is_at_work())
    }

    /// Whether the run in flight is cancelled.
    fn is_cancelled(&self) -> bool {
        self.item.as_ref().is_some_and(|item| item.state.is_active() && item.cancelled_at.is_some())
    }

    /// After a write was applied, as asked for, and gave this item.
    pub(super) fn check_cancel(&mut self, asked: &Write, item: &Item) {
        match asked {
            Write::Cancel { requested_at, .. } if *requested_at < item.started_at_ms => {
                self.break_promise("a cancel touches a run that began after it was sent (C2)");
            }
            Write::Start { .. } if item.cancelled_at.is_some() => {
                self.break_promise("a run begins cancelled (C2)");
            }
            _ => {}
        }
    }

    /// After a handler recorded an ending in this state, which gave another: a cancelled run may only be ended without its
    /// holder by a message that could have claimed it.
    pub(super) fn check_end_of_cancelled(&self, ender: &Handler, write: &Write, after: &mut State) {
        let Write::End { outcome, .. } = write else { return };
        let holder = self.holder().filter(|holder| holder.claim_id != ender.claim_id);
        if holder.is_some_and(|holder| !holder.is_skewed) {
            after.break_promise("a run is ended while another holds it (S4)");
        }
        let message = self.queue.iter().find(|queued| queued.message.id == ender.id);
        let carries_answer = message.is_some_and(|queued| self.is_carrier(&queued.message));
        if outcome.ended_by == EndedBy::Cancelled && carries_answer {
            after.break_promise("an answer is thrown away by a cancel (S1)");
        }
    }

    /// A claim takes the run from its holder, and invalidates the answer of the handler or poll that has it. Only the
    /// causes that the protocol states may lead to that.
    fn check_claim(&mut self, claim: &Claim) {
        let Some(item) = self.item.clone() else { return };
        let is_sweeps = matches!(Name::of_message(claim.holder.as_str()), Some(Name::SweepMessage(_)));
        let is_holders = item.holder == claim.holder;
        if let Some(holder) = self.holder() {
            // If clocks differ too much, a second delivery of its message can do that, or a sweep's poll.
            let is_excused = holder.is_skewed && (is_sweeps || is_holders && self.is_delivered_twice(&claim.holder));
            if !is_excused {
                self.break_promise("a claim is made while another holds the run (S4)");
            }
        }
        match self.answered() {
            Some(Answered::InHand(_)) => {
                if self.holder().is_none() {
                    self.break_promise("a claim is made while its caller has the answer (S1)");
                }
                self.answer_moves(Answered::Lost);
            }
            Some(Answered::Forwarded { claim_id, .. }) if !claim.calls => {
                let is_alive = self.handlers.iter().any(|handler| handler.claim_id == claim.claim_id);
                self.answer_moves(if is_alive {
                    Answered::InHand(claim.claim_id)
                } else {
                    Answered::Forwarded { claim_id, may_be_overtaken: false }
                });
            }
            Some(Answered::Forwarded { may_be_overtaken, .. }) => {
                let comes_again = may_be_overtaken || self.is_delivered_twice(&claim.holder);
                if !(is_sweeps || is_holders && comes_again) {
                    self.break_promise("a claim comes before the poll with the answer, and nothing explains it (S1)");
                }
                self.answer_moves(Answered::Lost);
            }
            Some(Answered::Lost | Answered::Recorded) | None => {}
        }
    }

    /// Whether two deliveries of this message are in progress.
    fn is_delivered_twice(&self, id: &MessageId) -> bool {
        self.queue.iter().any(|queued| queued.message.id == *id && queued.in_flight > 1)
    }

    /// Whether this handler has forwarded the answer in a poll.
    fn answered_in_poll_of(&self, handler: &Handler) -> bool {
        matches!(self.answered(), Some(Answered::Forwarded { claim_id, .. }) if claim_id == handler.claim_id)
    }

    /// Whether this message carries the unrecorded answer, and can still claim the run.
    fn is_carrier(&self, message: &Message) -> bool {
        let Task::Poll(Poll { claim_id: named, answer: Some(_), .. }) = &message.task else { return false };
        let forwarded = |answered| matches!(answered, Answered::Forwarded { claim_id, .. } if claim_id == *named);
        self.answered().is_some_and(forwarded) && self.can_claim(message)
    }

    /// Whether this message drives the run: it holds the run, or names the claim that does.
    fn can_claim(&self, message: &Message) -> bool {
        let names = |item: &Item| matches!(&message.task, Task::Poll(poll) if poll.claim_id == item.claim_id);
        let open = self.item.as_ref().filter(|item| !item.state.is_published());
        open.is_some_and(|item| item.holder == message.id || names(item))
    }

    /// After a message was lost permanently.
    pub(super) fn check_dead_letter(&mut self, message: &Message) {
        self.is_orphaned |= self.can_claim(message);
        if let Task::Trigger(trigger) = &message.task {
            let carriers = self.queue.iter().filter(|queued| carries_key_of(&queued.message, trigger));
            let ids: Vec<_> = carriers.map(|queued| queued.message.id.clone()).collect();
            for n in (0..self.handlers.len()).filter(|n| ids.contains(&self.handlers[*n].id)).collect::<Vec<_>>() {
                self.change(n, |handler| handler.copy_is_dead = true);
            }
        }
        if self.is_carrier(message) && !self.queue.iter().any(|other| self.is_carrier(&other.message)) {
            self.answer_moves(Answered::Lost);
        }
    }

    /// After a handler died or returned its message: if it held the run, its message must continue the run.
    pub(super) fn check_message_of_holder(&mut self, handler: &Handler) {
        if self.item.as_ref().is_some_and(|item| item.claim_id == handler.claim_id) {
            self.check_message_of_claim(&handler.id);
        }
    }

    /// The same after an abandoned claim has landed.
    pub(super) fn check_message_of(&mut self, write: &Write) {
        let claimer = match write {
            Write::Start { item, .. } => &item.holder,
            Write::Claim { claim, .. } => &claim.holder,
            _ => return,
        };
        if self.item.as_ref().is_some_and(|item| write.claims() == Some(item.claim_id)) {
            self.check_message_of_claim(claimer);
        }
    }

    /// No handler works under the item's claim. If another delivery of its message was acknowledged in the meantime, no
    /// message drives the run; if another is still in progress, it may still acknowledge the message.
    fn check_message_of_claim(&mut self, id: &MessageId) {
        if self.item.as_ref().is_some_and(|item| item.state.is_published()) {
            return;
        }
        self.is_orphaned |= !self.queue.iter().any(|queued| queued.message.id == *id);
        for other in 0..self.handlers.len() {
            if self.handlers[other].id == *id {
                self.change(other, |handler| handler.outlived_a_claim = true);
            }
        }
    }

    /// After a message was acknowledged by a delivery that outlived one that claimed and failed.
    pub(super) fn check_other_claim_of(&mut self, handler: &Handler) {
        let is_holders = self.item.as_ref().is_some_and(|item| item.holder == handler.id && !item.state.is_published());
        let claim_id = self.item.as_ref().map(|item| item.claim_id);
        let is_at_work = self.handlers.iter().any(|other| Some(other.claim_id) == claim_id);
        let goes_on = self.queue.iter().any(|queued| self.can_claim(&queued.message));
        self.is_orphaned |= handler.outlived_a_claim && is_holders && !is_at_work && !goes_on;
    }

    /// Before a call of this run.
    pub(super) fn check_call(&mut self, caller: &Handler, run_id: RunId) {
        let item = self.item.as_deref();
        if self.is_overtaken(caller) {
            return; // as the protocol states
        }
        let is_active = item.is_some_and(|item| item.run_id == run_id && item.state.is_active());
        let is_cancelled = self.is_cancelled() && item.is_some_and(|item| item.claim_id != caller.claim_id);
        if self.handlers.iter().any(|other| other.reply.is_some() && !other.is_skewed) {
            self.break_promise("two calls for one chat are awaited at once (S4)");
        }
        if is_cancelled {
            self.break_promise("a cancelled run is called for without a claim (C1)");
        }
        if !is_active {
            self.break_promise("a call is begun although the run has its ending (S1)");
        }
        match *self.sync {
            Sync::Over(ended, answered) if ended == run_id && answered != Answered::Lost => {
                self.break_promise("a finished sync is restarted although its answer is not lost (S1)");
            }
            _ => {}
        }
    }

    /// Whether clocks differ too much, and another handler has claimed, or a cancel ended the run, while this one lives.
    pub(super) fn is_overtaken(&self, handler: &Handler) -> bool {
        let is_cancelled = |item: &Item| item.state.outcome().is_some_and(|end| end.ended_by == EndedBy::Cancelled);
        let is_taken = |item: &Part<Item>| item.claim_id != handler.claim_id || is_cancelled(item);
        handler.is_skewed && self.item.as_ref().is_some_and(is_taken)
    }

    /// Before a handler sends.
    pub(super) fn check_send(&mut self, sender: &Handler) {
        let carries_answer = matches!(&sender.step, Step::Send { poll, .. } if poll.answer.is_some());
        if sender.is_paced && !carries_answer {
            let message = self.queue.iter().find(|queued| queued.message.id == sender.id);
            let is_copy = message.is_none_or(|queued| is_copy(&queued.message.task, &sender.step));
            if !is_copy {
                self.break_promise("a message that waits for its turn is not sent again as it is");
            }
        } else if sender.run_id.is_none() && !sender.has_answer() && !sender.cancels {
            self.break_promise("a poll is sent by a handler that never claimed (S4)");
        }
        if carries_answer && !sender.tried_to_record {
            self.break_promise("an answer is forwarded without an attempt to record it (S1)");
        }
    }

    /// Publishes an event.
    pub(super) fn publish(&mut self, event: &Event) {
        let triggers: Vec<_> = event.detail.triggers.iter().map(|trigger| &trigger.message_id).collect();
        if triggers.iter().collect::<BTreeSet<_>>().len() < triggers.len() {
            self.break_promise("an ending lists a trigger twice (S5)");
        }
        let before = self.published.iter().find(|before| before.detail.run_id == event.detail.run_id);
        if let Some(before) = before {
            if before.detail_json() != event.detail_json() {
                self.break_promise("one ending is published in two forms (S2)");
            }
            return;
        }
        let is_recorded = |item: &Item| !item.state.is_active() && Some(item.run_id.as_uuid()) == event.detail.run_id;
        if !self.item.as_deref().is_some_and(is_recorded) {
            self.break_promise("an ending is published that is not recorded (S2)");
        }
        if triggers.iter().any(|id| self.is_reported(id)) {
            self.break_promise("a trigger is in two endings (S5)");
        }
        let left = self.accepted.iter().filter(|id| !triggers.contains(id)).cloned().collect();
        self.accepted = Part::new(left);
        self.published.push(Part::new(event.clone()));
    }

    fn is_reported(&self, id: &MessageId) -> bool {
        self.published.iter().any(|event| event.detail.triggers.iter().any(|trigger| trigger.message_id == *id))
    }

    /// Whether the run of this item has ended, and an event has reported it.
    fn is_published_ending(&self, item: &Item) -> bool {
        let run_id = Some(item.run_id.as_uuid());
        !item.state.is_active() && self.published.iter().any(|event| event.detail.run_id == run_id)
    }
}
