//! The steps of one message, carried out: each effect with its time limit, and what the invocation's messages share.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::bus::EventBus;
use crate::event::Event;
use crate::ids::{ClaimId, RunId};
use crate::message::Record;
use crate::postpress::Provider;
use crate::queue::Queue;
use crate::run::{Acknowledged, Call, MessageHandler, Returned, Step, StepResult, Task, Write};
use crate::service::{ServiceError, retry_until};
use crate::store::RunStore;
use crate::trace::TraceHeader;

use super::calls::ExpectedCall;
use super::{Dealt, Halfway, Invocation, Waiting, Watch, Worker};

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Answers a message that is no trigger.
    pub(super) async fn refuse(&self, event: Event, trace: &TraceHeader, watch: &mut Watch<'_>) -> Dealt {
        match self.publish(event, trace, watch).await {
            StepResult::Done => Dealt::Acknowledged(Acknowledged::Refused),
            _ => Dealt::Returned(Returned::Failed),
        }
    }

    /// Carries out one step after the other, up to the end or to the poll that shares a send.
    pub(super) async fn drive<'a>(
        &self,
        task: Task,
        record: &Record,
        trace: TraceHeader,
        mut watch: Watch<'a>,
        expected: ExpectedCall<'_>,
    ) -> Halfway<'a> {
        let invocation = watch.invocation();
        let chat_id = task.chat_id().clone();
        let (calls, is_poll) = match &task {
            Task::Trigger(_) => (true, false),
            Task::Poll(poll) => (poll.answer.is_none(), true),
        };
        let mut expected = Some(expected).filter(|_| calls);
        // Before the claim, so that no lease runs while its call waits for a place.
        let mut permit = match self.permit(invocation).await {
            Ok(permit) => Some(permit),
            Err(why) => return self.settle(Dealt::Returned(why), None, &watch).into(),
        };
        let call = Call {
            message_id: record.message_id.clone(),
            claim_id: ClaimId::from_random(self.random()),
            run_id: RunId::from_random(self.random()),
            lease_until_ms: invocation.lease_until(),
        };
        let (mut handling, mut step) = MessageHandler::begin(task, call, self.tick());
        loop {
            watch.next(&step);
            let input = match step {
                Step::Done(verdict) => return self.settle(verdict.into(), handling.held_until(), &watch).into(),
                Step::Send { poll, delay } if poll.answer.is_none() => {
                    let since = Instant::now();
                    return Halfway::Waits(Box::new(Waiting { handling, poll, delay, since, trace, watch }));
                }
                // An ending on its way is never held back by neighbours.
                Step::Send { poll, delay } => {
                    let outgoing = self.outgoing(&poll, delay.after(Duration::ZERO), Some(trace.clone()));
                    watch.sent(self.send(vec![outgoing], invocation).await.pop())
                }
                Step::Read => {
                    match retry_until(invocation.claim_by(), async || self.store.read(&chat_id).await).await {
                        Ok(item) => {
                            watch.read(item.as_ref());
                            StepResult::Read(item.map(Box::new))
                        }
                        Err(error) => watch.failed("read the run", &error),
                    }
                }
                Step::Call => match invocation.call_deadline() {
                    Some(deadline) => {
                        let began = Instant::now();
                        let answer = self.provider.sync(&chat_id, deadline).await;
                        watch.answered(&answer, began.elapsed());
                        drop((permit.take(), expected.take()));
                        StepResult::Answered(answer)
                    }
                    None => StepResult::NoTime,
                },
                Step::Write(write) => self.write(&write, &mut watch).await,
                Step::Publish(event) => {
                    if is_poll {
                        expected = None; // of a poll, nothing but its end follows; a trigger may still start a run
                    }
                    self.publish(*event, &trace, &mut watch).await
                }
            };
            step = handling.next(input, self.tick());
        }
    }

    async fn write(&self, write: &Write, watch: &mut Watch<'_>) -> StepResult {
        let invocation = watch.invocation();
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
            // Messages that meet the same ending mark it once between them.
            Write::MarkPublished { run_id, .. } => invocation.marked.get(run_id.as_uuid(), work).await,
            _ => work.await,
        };
        match written {
            Ok(written) => {
                watch.written(write, &written);
                StepResult::Written(written)
            }
            Err(error) => watch.failed("write the run", &error),
        }
    }

    /// Publishes an event. Messages that meet the same ending publish it once between them, and share the result: none is
    /// acknowledged unless that worked.
    async fn publish(&self, event: Event, trace: &TraceHeader, watch: &mut Watch<'_>) -> StepResult {
        watch.publishes(&event);
        let invocation = watch.invocation();
        let mut is_first = false;
        let work = async {
            is_first = true;
            retry_until(invocation.finish_by(), async || {
                let mut results = self.bus.publish(std::slice::from_ref(&event), Some(trace)).await;
                let no_result = || Err(ServiceError::Permanent("the bus gave no result, which is a bug".to_owned()));
                results.pop().unwrap_or_else(no_result)
            })
            .await
        };
        match invocation.published.get(event.detail.event_id, work).await {
            Ok(()) => {
                watch.published(&event, is_first);
                StepResult::Done
            }
            Err(error) => watch.failed("publish an event", &error),
        }
    }

    /// A place among the calls at once, unless none comes free in time for a claim.
    async fn permit(&self, invocation: &Invocation) -> Result<SemaphorePermit<'_>, Returned> {
        match timeout_at(invocation.claim_by(), self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_closed| Returned::Bug("the semaphore of the calls is closed")),
            Err(_elapsed) => Err(Returned::NoTime),
        }
    }
}
