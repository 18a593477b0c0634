//! What must hold at every step. S1 to S5 are the protocol's promises; S3 is left to the search, which looks for states from
//! which no way leads to a published ending.

use std::collections::BTreeSet;

use postpress_bridge::event::Event;
use postpress_bridge::ids::{ClaimId, MessageId, RunId};
use postpress_bridge::run::{Claim, Item, Phase, Task, Write};

use super::canonical::Part;
use super::faults::Faults;
use super::handler::Handler;
use super::provider::{Answered, Sync};
use super::state::{Bridge, State};

impl Bridge {
    /// Before a write is taken.
    pub(super) fn look_at_write(&self, state: &mut State, write: &Write) {
        match write {
            Write::Start { item, .. } => {
                if state.item.as_ref().is_some_and(|before| !state.is_out(before)) {
                    state.break_promise("a run is started over one whose ending is not out (S2)");
                }
                item.triggers.iter().for_each(|trigger| state.accept(&trigger.message_id));
            }
            Write::Claim { claim, .. } => self.look_at_claim(state, claim),
            Write::Join { trigger, .. } => state.accept(&trigger.message_id),
            Write::End { .. } => state.answer_moves(Answered::Recorded),
            Write::MarkPublished { .. } => {
                if state.item.as_ref().is_some_and(|item| !state.is_out(item)) {
                    state.break_promise("an ending is marked as published that is not out (S2)");
                }
            }
            Write::MoveSweep { .. } => {}
        }
    }

    /// A claim takes the answer from whoever has it: that is a loss, and only what the protocol states may bring it about.
    fn look_at_claim(&self, state: &mut State, claim: &Claim) {
        match state.answered() {
            Some(Answered::InHand(holder)) => {
                if self.may_be_overtaken(state, holder) {
                    state.answer_moves(Answered::Lost);
                } else {
                    state.break_promise("a claim is made although the answer is in its caller's hands (S1)");
                }
            }
            Some(Answered::Travels(_)) if !claim.calls => {
                if state.handlers.iter().any(|handler| handler.claim_id == claim.claim_id) {
                    state.answer_moves(Answered::InHand(claim.claim_id));
                }
            }
            Some(Answered::Travels(_)) => {
                if self.faults.total() - state.left.total() < 2 {
                    state.break_promise("a write that failed, and nothing else, lets another claim come first (S1)");
                }
                state.answer_moves(Answered::Lost);
            }
            Some(Answered::Lost | Answered::Recorded) | None => {}
        }
    }

    /// Clocks too far apart, and a duplicate, a poll sent twice or a sweep too many.
    fn may_be_overtaken(&self, state: &State, holder: ClaimId) -> bool {
        let Faults { duplicates, lost, early_sweeps, .. } = state.left;
        let is_message_too_many =
            duplicates < self.faults.duplicates || lost < self.faults.lost || early_sweeps < self.faults.early_sweeps;
        is_message_too_many && state.handlers.iter().any(|other| other.claim_id == holder && other.is_skewed)
    }
}

impl State {
    /// Before a call of this run is begun.
    pub(super) fn look_at_call(&mut self, caller: &Handler, run_id: RunId) {
        let item = self.item.as_deref();
        if self.is_overtaken(caller) {
            return; // stated
        }
        let is_active = item.is_some_and(|item| item.run_id == run_id && item.phase == Phase::Active);
        if self.handlers.iter().any(|other| other.reply.is_some() && !other.is_skewed) {
            self.break_promise("two calls for one chat are awaited at once (S4)");
        }
        if !is_active {
            self.break_promise("a call is begun although the run has its ending (S1)");
        }
        match *self.sync {
            Sync::Told(told, answered) if told == run_id && answered != Answered::Lost => {
                self.break_promise("a finished sync is restarted although its answer is not lost (S1)");
            }
            _ => {}
        }
    }

    /// Clocks are too far apart, and somebody has claimed while this one lives.
    pub(super) fn is_overtaken(&self, handler: &Handler) -> bool {
        handler.is_skewed && self.item.as_ref().is_some_and(|item| item.claim_id != handler.claim_id)
    }

    /// Before a handler sends.
    pub(super) fn look_at_send(&mut self, sender: &Handler) {
        if sender.run_id.is_none() && !sender.has_answer() {
            self.break_promise("a poll is sent on by one that never claimed (S4)");
        }
    }

    /// Before a message is dealt with.
    pub(super) fn look_at_end(&mut self, handler: &Handler, task: Option<&Task>, is_acknowledged: bool) {
        if self.answered() == Some(Answered::InHand(handler.claim_id)) {
            self.answer_is_dropped_by(handler);
            if is_acknowledged || self.answered() == Some(Answered::Lost) {
                self.break_promise("an answer is let go of, neither recorded nor sent on (S1)");
            }
        }
        if let (Some(Task::Trigger(message)), true) = (task, is_acknowledged) {
            let id = &message.trigger.message_id;
            if !self.accepted.contains(id) && !self.is_told(id) {
                self.break_promise("a trigger is acknowledged that no run has taken (S5)");
            }
        }
    }

    /// An event goes out.
    pub(super) fn publish(&mut self, event: &Event) {
        let triggers: Vec<_> = event.detail.triggers.iter().map(|trigger| &trigger.message_id).collect();
        if triggers.iter().collect::<BTreeSet<_>>().len() < triggers.len() {
            self.break_promise("an ending tells a trigger twice (S5)");
        }
        let before = self.published.iter().find(|before| before.detail.run_id == event.detail.run_id);
        if let Some(before) = before {
            if before.detail_json() != event.detail_json() {
                self.break_promise("one ending is published in two forms (S2)");
            }
            return;
        }
        let is_recorded =
            |item: &Item| item.phase == Phase::Ended && Some(item.run_id.as_uuid()) == event.detail.run_id;
        if !self.item.as_deref().is_some_and(is_recorded) {
            self.break_promise("an ending is published that is not recorded (S2)");
        }
        if triggers.iter().any(|id| self.is_told(id)) {
            self.break_promise("a trigger is in two endings (S5)");
        }
        let left = self.accepted.iter().filter(|id| !triggers.contains(id)).cloned().collect();
        self.accepted = Part::new(left);
        self.published.push(Part::new(event.clone()));
    }

    fn accept(&mut self, id: &MessageId) {
        if !self.accepted.contains(id) {
            self.accepted = Part::new([&self.accepted[..], std::slice::from_ref(id)].concat());
        }
    }

    fn is_told(&self, id: &MessageId) -> bool {
        self.published.iter().any(|event| event.detail.triggers.iter().any(|trigger| trigger.message_id == *id))
    }

    /// The run of this item has ended, and an event has told of it.
    fn is_out(&self, item: &Item) -> bool {
        let run_id = Some(item.run_id.as_uuid());
        item.phase == Phase::Ended && self.published.iter().any(|event| event.detail.run_id == run_id)
    }
}
