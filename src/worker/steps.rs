//! Carries out the steps of one message: each effect with its time limit.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::bus::EventBus;
use crate::event::Event;
use crate::ids::{ClaimId, RunId, Subject};
use crate::message::OwnMessage;
use crate::metrics::Metric;
use crate::postpress::Provider;
use crate::postpress::{NotAdmitted, Token};
use crate::queue::Queue;
use crate::run::{AckReason, Claimant, Disposition, MessageHandler, RetryReason, Step, StepResult, Task, Write};
use crate::service::{ServiceError, retry_until};
use crate::store::RunStore;
use crate::trace::TraceHeader;

use super::{Delivery, Handled, Invocation, MessageTelemetry, Worker};

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Answers an invalid trigger.
    pub(super) async fn refuse(&self, event: Event, delivery: &mut Delivery<'_>) -> Disposition {
        match self.publish(event, &delivery.trace, &mut delivery.telemetry).await {
            StepResult::Done => Disposition::Ack(AckReason::Refused),
            _ => Disposition::Retry(RetryReason::Failed),
        }
    }

    /// Executes one step after another until the message is settled.
    pub(super) async fn run_steps(&self, task: Task, delivery: &mut Delivery<'_>) -> Handled {
        let Delivery { record, trace, outbox, call, telemetry } = delivery;
        let invocation = telemetry.invocation();
        let is_poll = matches!(task, Task::Poll(_));
        let mut call_permit = None;
        let mut is_deferred = false;
        if !task.may_call() {
            *call = None;
        } else if !invocation.has_time_to_call() {
            return (Disposition::Retry(RetryReason::NoTime), None);
        }
        let claimant = Claimant {
            message_id: record.message_id.clone(),
            claim_id: ClaimId::from_random(self.random()),
            run_id: RunId::from_random(self.random()),
            lease_until_ms: invocation.lease_until(),
        };
        let (mut handler, mut step) = MessageHandler::begin(task, claimant, self.step_context());
        loop {
            telemetry.next(&step);
            let result = match step {
                Step::Done(disposition) => return (disposition, handler.held_until()),
                Step::Read(subject) => {
                    match retry_until(invocation.claim_by(), async || self.store.read(&subject).await).await {
                        Ok(item) => {
                            telemetry.read(item.as_ref());
                            StepResult::Read(item.map(Box::new))
                        }
                        Err(error) => telemetry.failed("read the run", &error),
                    }
                }
                Step::Admit(subject) => match self.admit(&subject, invocation).await {
                    Ok(permit) => {
                        call_permit = Some(permit);
                        StepResult::Admitted
                    }
                    Err(result) => {
                        is_deferred = matches!(result, StepResult::Paced(_));
                        result
                    }
                },
                Step::Write(write) => self.write(&write, telemetry).await,
                Step::Call(call_for) => match invocation.call_deadline() {
                    Some(deadline) => {
                        let permit = call_permit.take().map(CallPermit::begin);
                        let began = Instant::now();
                        let answer = self.provider.sync(&call_for, deadline).await;
                        telemetry.answered(&answer, began.elapsed());
                        drop((permit, call.take()));
                        StepResult::Answered(answer)
                    }
                    None => StepResult::NoTime,
                },
                Step::Send { poll, delay } if poll.answer.is_none() => {
                    drop(call_permit.take()); // others of the batch may wait for it
                    let due_at = is_deferred.then(|| record.due_at());
                    let queued = outbox.send(call.take(), OwnMessage::Poll(poll), delay, due_at, trace.clone());
                    telemetry.sent(queued.await)
                }
                Step::Wait { trigger, delay } => {
                    drop(call_permit.take());
                    let due_at = is_deferred.then(|| record.due_at());
                    let queued = outbox.send(call.take(), OwnMessage::Waiting(*trigger), delay, due_at, trace.clone());
                    telemetry.sent(queued.await)
                }
                // An ending does not wait for other messages.
                Step::Send { poll, delay } => {
                    let outgoing =
                        self.outgoing(&OwnMessage::Poll(poll), delay.after(Duration::ZERO), None, Some(trace.clone()));
                    telemetry.sent(self.send_one(outgoing, invocation).await)
                }
                Step::Publish(publication) => {
                    if is_poll {
                        *call = None; // after this a poll only marks its ending; a trigger may still start a run
                    }
                    self.publish(publication.into(), trace, telemetry).await
                }
            };
            step = handler.next(result, self.step_context());
        }
    }

    async fn write(&self, write: &Write, telemetry: &mut MessageTelemetry<'_>) -> StepResult {
        let invocation = telemetry.invocation();
        let claims = write.claims().is_some();
        if claims && !invocation.has_time_to_call() {
            return StepResult::NoTime;
        }
        let until = match write {
            _ if claims => invocation.claim_by(),
            Write::End { .. } => invocation.record_by(),
            _ => invocation.finish_by(),
        };
        let work = retry_until(until, async || self.store.write(write).await);
        let written = match write {
            // Messages of a batch that find the same ending mark it once.
            Write::MarkPublished { run_id, .. } => invocation.marked.get(run_id.as_uuid(), work).await,
            _ => work.await,
        };
        match written {
            Ok(written) => {
                telemetry.written(write, &written);
                StepResult::Written(written)
            }
            Err(error) => telemetry.failed("write the run", &error),
        }
    }

    /// Publishes an event. Messages of a batch that find the same ending publish it once and share the result; none is
    /// acknowledged unless the event was published.
    async fn publish(&self, event: Event, trace: &TraceHeader, telemetry: &mut MessageTelemetry<'_>) -> StepResult {
        telemetry.publishes(&event);
        let invocation = telemetry.invocation();
        let mut is_first = false;
        let work = async {
            is_first = true;
            retry_until(invocation.finish_by(), async || {
                let mut results = self.bus.publish(std::slice::from_ref(&event), Some(trace)).await;
                let no_result = || ServiceError::Permanent("the bus gave no result, which is a bug".to_owned());
                results.pop().ok_or_else(no_result)?
            })
            .await
        };
        match invocation.published.get(event.detail.event_id, work).await {
            Ok(()) => {
                telemetry.published(&event, is_first);
                StepResult::Done
            }
            Err(error) => telemetry.failed("publish an event", &error),
        }
    }

    /// Waits until a call may begin, if that is in time for a claim. A message waits before its claim, so that no lease runs
    /// meanwhile.
    async fn admit(&self, subject: &Subject, invocation: &Invocation) -> Result<CallPermit<'_>, StepResult> {
        if !invocation.has_time_to_call() {
            return Err(StepResult::NoTime);
        }
        // The token first: a message that waits for one keeps no other from its permit.
        let admission = self.provider.admit(subject, invocation.wait_by()).await;
        let waited = match &admission {
            Ok(token) => token.waited,
            Err(NotAdmitted::Later(later)) => *later,
            Err(NotAdmitted::UnknownWorkspace) => Duration::ZERO,
        };
        if waited >= WAIT_MIN {
            invocation.metrics().time(Metric::PaceWait, waited);
        }
        if let Some(pace) = admission.as_ref().ok().and_then(Token::calls_per_second) {
            invocation.metrics().rate(Metric::Pace, pace);
        }
        let token = admission.map_err(|refusal| match refusal {
            NotAdmitted::Later(later) => StepResult::Paced(later),
            NotAdmitted::UnknownWorkspace => StepResult::UnknownWorkspace,
        })?;
        match timeout_at(invocation.claim_by(), self.permits.acquire()).await {
            Ok(permit) => Ok(CallPermit { permit: permit.map_err(|_closed| StepResult::Failed)?, token }),
            Err(_elapsed) => Err(StepResult::NoTime),
        }
    }
}

/// A shorter wait for the pace is none: taking a token that is there takes microseconds.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// The right to make one call: a permit of this process, and a token of the key's pace.
struct CallPermit<'a> {
    permit: SemaphorePermit<'a>,
    token: Token,
}

impl<'a> CallPermit<'a> {
    /// The call begins. The permit is held until it is answered.
    fn begin(self) -> SemaphorePermit<'a> {
        self.token.spend();
        self.permit
    }
}
