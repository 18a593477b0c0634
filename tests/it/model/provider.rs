//! The provider's side of the chat, and what happens to its terminal answer.
//!
//! A sync that has reported its end starts again at the next call. Whether that call is an error depends on what happened to
//! the answer, so each terminal answer is followed from the provider to the table.

use std::hash::Hash;

use postpress_bridge::ids::{ClaimId, RunId};
use postpress_bridge::postpress::{Answer, Failure, Finish, Progress, RetryClass};
use postpress_bridge::run::{Poll, Task};

use super::canonical::Part;
use super::handler::Handler;
use super::state::State;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sync {
    Idle,
    /// Running; called this often since its start.
    Running(u8),
    /// It reported its end to a call of this run; the next call starts it again.
    Over(RunId, Answered),
}

/// Where a terminal answer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answered {
    /// On its way to the living holder of this claim, or received by it.
    InHand(ClaimId),
    /// In a poll that names this claim, since it could not be recorded.
    Forwarded {
        /// The claim that the poll names.
        claim_id: ClaimId,
        /// Whether the message whose handler sent the poll may be delivered again, for a reason that S1 states: the handler
        /// died after the send or got an error for it, or the message is delivered twice.
        may_be_overtaken: bool,
    },
    /// Lost, for a reason that S1 states: its call was abandoned, the reply to that call was lost, the process that had it
    /// died, or another claim came before both its write and the poll that carries it.
    Lost,
    /// In the table.
    Recorded,
}

pub(super) fn no_answer() -> Answer {
    Answer::Failed(Failure {
        retry_class: RetryClass::Retryable,
        envelope: None,
        status: 504,
        detail: "lost".to_owned(),
        retry_after: None,
        may_land_late: true,
    })
}

impl State {
    /// The results of a call of this run when it lands: the answer, the world after it, and a description. A waiting caller
    /// receives the answer under its claim.
    pub(super) fn land(&self, run_id: RunId, caller: Option<ClaimId>) -> Vec<(Answer, Self, &'static str)> {
        let to = |sync: Sync| Self { sync: Part::new(sync), ..self.clone() };
        let answered = caller.map_or(Answered::Lost, Answered::InHand);
        let finish = (Answer::Over(Finish::Done), to(Sync::Over(run_id, answered)), "calls, and the sync is over");
        let started = Answer::InProgress(Progress::Started);
        match *self.sync {
            Sync::Idle => vec![(started, to(Sync::Running(0)), "calls, and the sync starts")],
            Sync::Over(..) => vec![(started, to(Sync::Running(0)), "calls, and the sync starts again")],
            Sync::Running(0) => {
                let running = Answer::InProgress(Progress::Running);
                vec![finish, (running, to(Sync::Running(1)), "calls, and the sync is running")]
            }
            Sync::Running(_) => vec![finish],
        }
    }

    /// Where the last terminal answer is, if the sync has not been restarted since.
    pub(super) fn answered(&self) -> Option<Answered> {
        match *self.sync {
            Sync::Over(_, answered) => Some(answered),
            _ => None,
        }
    }

    /// Moves the answer.
    pub(super) fn answer_moves(&mut self, to: Answered) {
        if let Sync::Over(run_id, _) = *self.sync {
            self.sync = Part::new(Sync::Over(run_id, to));
        }
    }

    /// The message that found the answer may be delivered again, although a poll carries the answer.
    pub(super) fn answer_may_be_overtaken(&mut self, finder: &Handler) {
        if let Some(Answered::Forwarded { claim_id, .. }) = self.answered()
            && claim_id == finder.claim_id
        {
            self.answer_moves(Answered::Forwarded { claim_id, may_be_overtaken: true });
        }
    }

    /// A handler's answer is lost, unless its message carries it.
    pub(super) fn answer_is_dropped_by(&mut self, handler: &Handler) {
        if self.answered() == Some(Answered::InHand(handler.claim_id)) {
            let message = self.queue.iter().find(|queued| queued.message.id == handler.id);
            let to = match message.map(|queued| &queued.message.task) {
                Some(Task::Poll(Poll { answer: Some(_), claim_id, .. })) => {
                    Answered::Forwarded { claim_id: *claim_id, may_be_overtaken: false }
                }
                _ => Answered::Lost,
            };
            self.answer_moves(to);
        }
    }
}
