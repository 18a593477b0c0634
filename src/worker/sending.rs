//! What leaves for the queue: the polls, in as few sends as they fit in, and the messages that are to come back.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::bus::EventBus;
use crate::message::{Poll, Record};
use crate::postpress::Provider;
use crate::queue::{Outgoing, Queue, VisibilityChange};
use crate::run::{Returned, Step};
use crate::service::{ServiceError, retry_until};
use crate::store::RunStore;
use crate::trace::TraceHeader;

use super::{Dealt, Halfway, Invocation, Settled, Waiting, Worker};

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Sends the polls that wait, in as few requests as they fit in. Each message keeps its place in the batch.
    pub(super) async fn send_polls(
        &self,
        halfway: Vec<(usize, Halfway<'_>)>,
        invocation: &Invocation,
    ) -> Vec<(usize, Settled)> {
        let now = Instant::now();
        let waiting = halfway.iter().filter_map(|(_, halfway)| match halfway {
            Halfway::Waits(waiting) => {
                let Waiting { poll, delay, since, trace, .. } = &**waiting;
                Some(self.outgoing(poll, delay.after(now - *since), Some(trace.clone())))
            }
            Halfway::Settled(_) => None,
        });
        let mut sent = self.send(waiting.collect(), invocation).await.into_iter();
        let mut finish = |halfway| match halfway {
            Halfway::Settled(settled) => settled,
            Halfway::Waits(waiting) => {
                let Waiting { mut handling, mut watch, .. } = *waiting;
                let dealt = match handling.next(watch.sent(sent.next()), self.tick()) {
                    Step::Done(verdict) => verdict.into(),
                    _ => Dealt::Returned(Returned::Bug("a message goes on after its poll was sent")),
                };
                self.settle(dealt, handling.held_until(), &watch)
            }
        };
        halfway.into_iter().map(|(place, halfway)| (place, finish(halfway))).collect()
    }

    pub(super) fn outgoing(&self, poll: &Poll, delay: Duration, trace: Option<TraceHeader>) -> Outgoing {
        Outgoing { body: poll.to_body_due_at(self.now() + delay), delay, trace }
    }

    /// Sends messages, and those again that failed and may pass. Tells for each whether it was sent.
    pub(super) async fn send(&self, messages: Vec<Outgoing>, invocation: &Invocation) -> Vec<Result<(), ServiceError>> {
        let unsent = || Err(ServiceError::Transient("the queue gave no result, which is a bug".to_owned()));
        let mut sent: Vec<_> = messages.iter().map(|_| unsent()).collect();
        if messages.is_empty() {
            return sent;
        }
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let result = retry_until(invocation.finish_by(), async || {
            let batch: Vec<_> = left.iter().map(|index| messages[*index].clone()).collect();
            let mut trouble = None;
            for (index, result) in left.iter().zip(self.queue.send(&batch).await) {
                trouble = result.as_ref().err().cloned().or(trouble);
                sent[*index] = result.map(drop);
            }
            left.retain(|index| sent[*index].as_ref().is_err_and(ServiceError::is_retryable));
            match trouble {
                Some(error) if left.is_empty() => Err(ServiceError::Permanent(error.to_string())),
                Some(error) => Err(ServiceError::Transient(error.to_string())),
                None => Ok(()),
            }
        });
        if let Err(error) = result.await {
            // What took too long says nothing of its entries.
            sent.iter_mut()
                .filter(|sent| sent.as_ref().is_err_and(ServiceError::is_retryable))
                .for_each(|sent| *sent = Err(error.clone()));
        }
        sent
    }

    /// Makes each message that comes back visible again when it should be; otherwise it would wait out the whole visibility
    /// timeout, which is six times the function's. A failure here only means that longer wait.
    pub(super) async fn change_visibility(&self, records: &[Record], settled: &[Settled], invocation: &Invocation) {
        let now = self.now();
        let back = records.iter().zip(settled).filter_map(|(record, settled)| Some((record, settled.away?)));
        let messages: Vec<VisibilityChange> = back
            .map(|(record, away)| VisibilityChange {
                receipt_handle: record.receipt_handle.clone(),
                invisible: away.remaining(now),
            })
            .collect();
        if messages.is_empty() {
            return;
        }
        let results =
            timeout_at(invocation.finish_by(), self.queue.change_visibility(&messages)).await.unwrap_or_default();
        let failed = messages.len().saturating_sub(results.iter().filter(|result| result.is_ok()).count());
        if failed > 0 {
            let error = results.iter().find_map(|result| result.as_ref().err().map(ToString::to_string));
            let error = error.unwrap_or_else(|| "no result in time".to_owned());
            tracing::warn!(error, messages = failed, "messages come back only after their visibility timeout");
        }
    }
}
