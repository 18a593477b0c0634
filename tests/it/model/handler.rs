//! The possible results of a handler's step: done, failed, executed but reported as failed, lost on the way, or a crash.

use std::time::Duration;

use postpress_bridge::ids::{ClaimId, MessageId, RunId};
use postpress_bridge::postpress::Answer;
use postpress_bridge::run::{
    ClaimCondition, Claimant, Delay, Disposition, MessageHandler, Poll, RetryReason, Step, StepContext, StepResult,
    Task, TriggerMessage, Write, WriteResult,
};

use super::canonical::Part;
use super::provider::{Answered, no_answer};
use super::state::{Action, Bridge, HELD, Late, Message, Next, State, rules, tick};

/// How long a message has to wait for its turn. Its length decides only a delay.
const PACED: Duration = Duration::from_secs(60);

/// One delivery in progress.
#[derive(Clone, Hash)]
pub(super) struct Handler {
    pub(super) id: MessageId,
    pub(super) claim_id: ClaimId,
    /// Whether its message is a cancel.
    pub(super) cancels: bool,
    /// Its turn to call comes too late for it.
    pub(super) is_paced: bool,
    /// A copy of its trigger was dead-lettered since.
    pub(super) copy_is_dead: bool,
    /// A write of it was carried out or refused.
    pub(super) has_written: bool,
    /// The run to call for, once claimed.
    pub(super) run_id: Option<RunId>,
    pub(super) handling: MessageHandler,
    pub(super) step: Step,
    /// The provider's answer, once the call has landed.
    pub(super) reply: Option<Answer>,
    /// A lease has expired since its claim was prepared, which is judged by the time of the claim.
    pub(super) is_outdated: bool,
    /// Its lease is considered expired although it lives.
    pub(super) is_skewed: bool,
    /// It tried to record the ending and got an error.
    pub(super) tried_to_record: bool,
    /// It forwarded the answer in a poll and got an error.
    pub(super) is_told_unsent: bool,
    /// Another delivery of its message has claimed and failed in the meantime.
    pub(super) outlived_a_claim: bool,
}

impl Handler {
    /// Whether it has the provider's terminal answer.
    pub(super) fn has_answer(&self) -> bool {
        match &self.step {
            Step::Call(_) => matches!(self.reply, Some(Answer::Over(_))),
            Step::Write(write) => matches!(write, Write::End { .. }),
            Step::Send { poll, .. } => poll.answer.is_some(),
            _ => false,
        }
    }

    /// Whether it has claimed, but not yet recorded an ending or sent a poll.
    pub(super) fn is_at_work(&self) -> bool {
        match &self.step {
            Step::Call(_) | Step::Send { .. } => true,
            Step::Write(write) => write.claims().is_some() || matches!(write, Write::End { .. }),
            Step::Read(_) | Step::Admit(_) | Step::Wait { .. } | Step::Publish(_) | Step::Done(_) => false,
        }
    }
}

impl Bridge {
    /// Begins to handle a message, in a state where the names that it may give are unused.
    pub(super) fn begin(&self, message: &Message, state: &State) -> Handler {
        let Message { id, mut task } = message.clone();
        let (claim_id, run_id) = (state.unused_claim(), state.unused_run());
        let mut claimant = Claimant { message_id: id.clone(), claim_id, run_id, lease_until_ms: HELD };
        if let Some(mutant) = self.mutant {
            let as_protocol_says = (task.clone(), claimant.clone());
            mutant.delivered(&mut task, &mut claimant, state.item.as_deref());
            self.note((&task, &claimant) != (&as_protocol_says.0, &as_protocol_says.1));
        }
        let claim_id = claimant.claim_id;
        let cancels = matches!(task, Task::Cancel(_));
        let rules = rules();
        let tick = tick(&rules, state.now(&self.scope));
        let (mut handling, step) = MessageHandler::begin(task, claimant, tick);
        let step = self.admitted(&mut handling, step, tick);
        Handler {
            id,
            cancels,
            is_paced: false,
            copy_is_dead: false,
            has_written: false,
            claim_id,
            run_id: None,
            handling,
            step,
            reply: None,
            is_outdated: false,
            is_skewed: false,
            tried_to_record: false,
            is_told_unsent: false,
            outlived_a_claim: false,
        }
    }

    pub(super) fn steps(&self, state: &State, n: usize, next: &mut Next) {
        match &state.handlers[n].step {
            Step::Read(_) => {
                let mut read = state.clone();
                let item = state.item.as_deref().cloned().map(Box::new);
                self.give(&mut read, n, StepResult::Read(item));
                next.push((Action::Did(n, "reads the item"), read));
            }
            Step::Admit(_) => {
                let (mut admitted, mut paced) = (state.clone(), state.clone());
                self.give(&mut admitted, n, StepResult::Admitted);
                next.push((Action::Did(n, "may call"), admitted));
                paced.change(n, |handler| handler.is_paced = true);
                self.give(&mut paced, n, StepResult::Paced(PACED));
                next.push((Action::Did(n, "has to wait for its turn to call"), paced));
            }
            Step::Write(write) => self.writes(state, n, write, next),
            Step::Call(_) => self.calls(state, n, next),
            Step::Wait { trigger, .. } => self.waits(state, n, trigger, next),
            Step::Send { delay, .. } => self.sends(state, n, *delay == Delay::NONE, next),
            Step::Publish(publication) => {
                let mut published = state.clone();
                published.publish(&publication.clone().into());
                self.fails(state, n, "cannot publish", next);
                self.fails(&published, n, "publishes but gets an error", next);
                self.give(&mut published, n, StepResult::Done);
                next.push((Action::Did(n, "publishes the ending"), published));
            }
            Step::Done(verdict) => self.ends(state, n, *verdict, next),
        }
    }

    /// The handler gets a result and goes on to its next step.
    fn give(&self, state: &mut State, n: usize, input: StepResult) {
        let run_id = state.item.as_ref().map(|item| item.run_id);
        let mut published = None;
        let item = state.item.clone();
        let now = state.now(&self.scope);
        state.change(n, |handler| {
            let has_failed = input == StepResult::Failed;
            handler.has_written |= handler.cancels && matches!(input, StepResult::Written(_));
            handler.tried_to_record |= has_failed && matches!(handler.step, Step::Write(Write::End { .. }));
            let rules = rules();
            let next = |handler: &mut Handler, input| {
                let step = handler.handling.next(input, tick(&rules, now));
                self.admitted(&mut handler.handling, step, tick(&rules, now))
            };
            let step = match self.mutant {
                None => {
                    let step = next(handler, input);
                    let is_bug = matches!(step, Step::Done(Disposition::Retry(RetryReason::Bug(_))));
                    assert!(!is_bug, "a state that cannot occur: {step:?}");
                    step
                }
                Some(mutant) => {
                    let as_protocol_says = next(&mut handler.clone(), input.clone());
                    let input = mutant.result(handler, input);
                    let step = next(handler, input);
                    let step = mutant.then(handler, step, now);
                    published = item.and_then(|item| mutant.publishes_before(&item, &step));
                    self.note(step != as_protocol_says || published.is_some());
                    step
                }
            };
            handler.is_outdated = false;
            handler.step = step;
            if matches!(handler.step, Step::Call(_)) {
                handler.run_id = run_id;
            }
        });
        if let Some(event) = published {
            state.publish(&event);
        }
    }

    /// In a world without a pace every message may call.
    fn admitted(&self, handling: &mut MessageHandler, step: Step, tick: StepContext<'_>) -> Step {
        match step {
            Step::Admit(_) if !self.scope.is_paced => handling.next(StepResult::Admitted, tick),
            step => step,
        }
    }

    /// Reports the step as failed.
    fn fails(&self, state: &State, n: usize, what: &'static str, next: &mut Next) {
        if state.left.failed > 0 {
            let mut failed = state.clone();
            failed.left.failed -= 1;
            self.give(&mut failed, n, StepResult::Failed);
            next.push((Action::Fault(n, what), failed));
        }
    }

    fn writes(&self, state: &State, n: usize, write: &Write, next: &mut Next) {
        let mut done = state.clone();
        let handler = &state.handlers[n];
        let written = self.write(&mut done, write, handler.is_outdated);
        if matches!(written, WriteResult::Applied(_)) {
            state.check_end_of_cancelled(handler, write, &mut done);
        }
        self.fails(state, n, "its write fails", next);
        if matches!(written, WriteResult::Applied(_)) {
            self.fails(&done, n, "its write is executed but reported as failed", next);
            if state.left.lost > 0 {
                let mut lost = done.clone();
                lost.left.lost -= 1;
                next.push((Action::Fault(n, "the reply to its write is lost; it will retry"), lost));
            }
        }
        if state.left.late > 0 {
            let mut late = state.clone();
            late.left.late -= 1;
            late.late.push(Part::new(Late::Write(Box::new(write.clone()), handler.is_outdated)));
            self.fails(&late, n, "its write fails, and will land later", next);
        }
        let written = if handler.is_outdated { as_of_the_claim(written, handler) } else { written };
        self.give(&mut done, n, StepResult::Written(written));
        next.push((Action::Did(n, name_of(write)), done));
    }

    fn sends(&self, state: &State, n: usize, is_answer: bool, next: &mut Next) {
        let sender = &state.handlers[n];
        let Step::Send { poll, .. } = &sender.step else { return };
        // The accumulated state would only increase the number of states here.
        let task = Task::Poll(Poll { learned: None, ..poll.clone() });
        let mut begun = state.clone();
        begun.check_send(sender);
        let mut sent = begun.clone();
        sent.send(task.clone());
        let mut unsent = begun;
        unsent.answer_is_dropped_by(sender);
        if state.answered() == Some(Answered::InHand(sender.claim_id)) && poll.answer.is_some() {
            sent.answer_moves(Answered::Forwarded { claim_id: sender.claim_id, may_be_overtaken: false });
        }
        self.fails(&unsent, n, "cannot send its poll", next);
        let mut reported_unsent = sent.clone();
        reported_unsent.change(n, |handler| handler.is_told_unsent = poll.answer.is_some());
        self.fails(&reported_unsent, n, "sends its poll but gets an error", next);
        if state.left.lost > 0 {
            let mut twice = sent.clone();
            twice.left.lost -= 1;
            twice.send(task);
            self.give(&mut twice, n, StepResult::Done);
            next.push((Action::Fault(n, "sends its poll twice, since the first reply was lost"), twice));
        }
        self.give(&mut sent, n, StepResult::Done);
        let what = if is_answer { "forwards the answer in a poll" } else { "sends a poll" };
        next.push((Action::Did(n, what), sent));
    }

    fn waits(&self, state: &State, n: usize, trigger: &TriggerMessage, next: &mut Next) {
        // How often it has waited decides only its delay.
        let task = Task::Trigger(TriggerMessage { waits: 0, ..trigger.clone() });
        let mut sent = state.clone();
        sent.send(task.clone());
        self.fails(state, n, "cannot send the trigger again", next);
        self.fails(&sent, n, "sends the trigger again but gets an error", next);
        if state.left.lost > 0 {
            let mut twice = sent.clone();
            twice.left.lost -= 1;
            twice.send(task);
            self.give(&mut twice, n, StepResult::Done);
            next.push((Action::Fault(n, "sends the trigger again twice, since the first reply was lost"), twice));
        }
        self.give(&mut sent, n, StepResult::Done);
        next.push((Action::Did(n, "sends the trigger again, to wait"), sent));
    }

    /// A call lands, and its reply arrives, each as its own step.
    fn calls(&self, state: &State, n: usize, next: &mut Next) {
        let caller = &state.handlers[n];
        match (&caller.reply, caller.run_id) {
            (Some(reply), _) => self.receives_answer(state, n, reply, next),
            (None, Some(run_id)) => {
                if state.left.failed > 0 {
                    let mut late = state.clone();
                    late.left.failed -= 1;
                    self.give(&mut late, n, StepResult::NoTime);
                    next.push((Action::Fault(n, "has no time left for its call"), late));
                }
                let mut begun = state.clone();
                begun.check_call(caller, run_id);
                let replied = |mut state: State, reply: Answer| {
                    state.change(n, |handler| handler.reply = Some(reply));
                    state
                };
                // An answer to an overtaken handler can no longer be recorded.
                let claim_id = (!state.is_overtaken(caller)).then_some(caller.claim_id);
                for (answer, landed, what) in begun.land(run_id, claim_id) {
                    next.push((Action::Did(n, what), replied(landed, answer)));
                }
                if state.left.lost > 0 {
                    let mut lost = replied(begun.clone(), no_answer());
                    lost.left.lost -= 1;
                    next.push((Action::Fault(n, "its call is lost on the way"), lost));
                }
                if state.left.late > 0 {
                    let mut late = replied(begun, no_answer());
                    late.left.late -= 1;
                    late.late.push(Part::new(Late::Call(run_id)));
                    next.push((Action::Fault(n, "abandons its call, which will land later"), late));
                }
            }
            (None, None) => unreachable!("a call is begun under a claim"),
        }
    }

    fn receives_answer(&self, state: &State, n: usize, reply: &Answer, next: &mut Next) {
        let mut received = state.clone();
        received.change(n, |handler| handler.reply = None);
        if state.left.lost > 0 && !matches!(reply, Answer::Failed(_)) {
            let mut lost = received.clone();
            lost.left.lost -= 1;
            lost.answer_is_dropped_by(&state.handlers[n]);
            self.give(&mut lost, n, StepResult::Answered(no_answer()));
            next.push((Action::Fault(n, "the provider's reply is lost"), lost));
        }
        let what = match reply {
            Answer::Over(_) => "hears that the sync is over",
            Answer::InProgress(_) => "hears that the sync is in progress",
            _ => "hears nothing from the provider",
        };
        self.give(&mut received, n, StepResult::Answered(reply.clone()));
        next.push((Action::Did(n, what), received));
    }

    fn ends(&self, state: &State, n: usize, verdict: Disposition, next: &mut Next) {
        let mut done = state.clone();
        let handler = done.handlers.remove(n);
        let message = done.queue.iter().find(|queued| queued.message.id == handler.id);
        let message = message.map(|queued| queued.message.clone());
        let is_acknowledged = matches!(verdict, Disposition::Ack(_));
        self.check_end(&mut done, &handler, message.as_deref(), is_acknowledged);
        done.release(&handler.id);
        if !is_acknowledged {
            done.check_message_of_holder(&handler);
            next.push((Action::Did(n, "returns its message"), done));
            return;
        }
        if state.left.duplicates > 0 {
            let mut stays = done.clone();
            stays.left.duplicates -= 1;
            stays.answer_may_be_overtaken(&handler);
            next.push((Action::Fault(n, "acknowledges, and its message is delivered once more"), stays));
        }
        done.queue.retain(|queued| queued.message.id != handler.id);
        done.check_other_claim_of(&handler);
        next.push((Action::Did(n, "acknowledges"), done));
    }

    pub(super) fn crashes(&self, state: &State, n: usize, next: &mut Next) {
        if state.left.crashes == 0 {
            return;
        }
        let mut dead = state.clone();
        dead.left.crashes -= 1;
        let handler = dead.handlers.remove(n);
        dead.release(&handler.id);
        dead.check_message_of_holder(&handler);
        dead.answer_is_dropped_by(&handler);
        dead.answer_may_be_overtaken(&handler);
        let under_way = match (&handler.step, &handler.reply, handler.run_id) {
            (Step::Write(write), _, _) => Some(Late::Write(Box::new(write.clone()), handler.is_outdated)),
            (Step::Call(_), None, Some(run_id)) => Some(Late::Call(run_id)),
            _ => None,
        };
        if let Some(under_way) = under_way.filter(|_| state.left.late > 0) {
            let mut late = dead.clone();
            late.left.late -= 1;
            late.late.push(Part::new(under_way));
            next.push((Action::Crash(n, ", and what it had in progress will land later"), late));
        }
        next.push((Action::Crash(n, ""), dead));
    }
}

/// A poll whose claim is refused judges by the time in the claim, when the lease was held. A trigger checks the clock again.
fn as_of_the_claim(written: WriteResult, handler: &Handler) -> WriteResult {
    match (written, &handler.step) {
        (
            WriteResult::ConditionFailed(Some(mut item)),
            Step::Write(Write::Claim { condition: ClaimCondition::ByPoll { .. }, .. }),
        ) => {
            item.lease_until_ms = HELD;
            WriteResult::ConditionFailed(Some(item))
        }
        (written, _) => written,
    }
}

fn name_of(write: &Write) -> &'static str {
    match write {
        Write::Start { .. } => "starts a run",
        Write::Claim { .. } => "claims the run",
        Write::Join { .. } => "joins the run",
        Write::Cancel { .. } => "cancels the run",
        Write::End { .. } => "records the ending",
        Write::MarkPublished { .. } => "marks the ending as published",
        Write::MoveSweep { .. } => "moves the run in the index",
    }
}
