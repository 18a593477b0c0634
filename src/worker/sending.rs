//! What leaves for the queue: the polls, in as few sends as they fit in, and the messages that are to come back.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::bus::EventBus;
use crate::message::{Poll, Record};
use crate::postpress::Provider;
use crate::queue::{HandBack, Outgoing, Queue};
use crate::run::{Returned, Step};
use crate::service::{ServiceError, attempt};
use crate::store::RunStore;
use crate::time::Millis;
use crate::trace::TraceHeader;

use super::{Dealt, Halfway, Invocation, Waiting, Worker};

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// The polls that wait, in as few sends as they fit in.
    pub(super) async fn send_polls(
        &self,
        halfway: Vec<Option<Halfway<'_>>>,
        invocation: &Invocation,
    ) -> Vec<Option<(Dealt, Option<Millis>)>> {
        let now = Instant::now();
        let waiting = halfway.iter().flatten().filter_map(|halfway| match halfway {
            Halfway::Waits(waiting) => {
                let Waiting { poll, delay, since, trace, .. } = &**waiting;
                Some(self.outgoing(poll, delay.after(now - *since), Some(trace.clone())))
            }
            Halfway::Dealt(..) => None,
        });
        let mut sent = self.send(waiting.collect(), invocation).await.into_iter();
        let mut finish = |halfway| match halfway {
            Halfway::Dealt(dealt, held_until) => (dealt, held_until),
            Halfway::Waits(waiting) => {
                let Waiting { mut handling, mut watch, .. } = *waiting;
                let dealt = match handling.next(watch.sent(sent.next()), self.tick()) {
                    Step::Done(verdict) => verdict.into(),
                    _ => Dealt::Returned(Returned::Failed),
                };
                watch.over(dealt);
                (dealt, handling.held_until())
            }
        };
        halfway.into_iter().map(|halfway| halfway.map(&mut finish)).collect()
    }

    pub(super) fn outgoing(&self, poll: &Poll, delay: Duration, trace: Option<TraceHeader>) -> Outgoing {
        Outgoing { body: poll.to_body_due_at(self.now() + delay), delay, trace }
    }

    /// Sends messages, and those again that failed and may pass. Tells for each whether it was sent.
    pub(super) async fn send(&self, messages: Vec<Outgoing>, invocation: &Invocation) -> Vec<Result<(), ServiceError>> {
        let unsent = || Err(ServiceError::Passing("it was not tried".to_owned()));
        let mut sent: Vec<_> = messages.iter().map(|_| unsent()).collect();
        if messages.is_empty() {
            return sent;
        }
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let result = attempt(invocation.finish_by(), async || {
            let batch: Vec<_> = left.iter().map(|index| messages[*index].clone()).collect();
            let mut trouble = None;
            for (index, result) in left.iter().zip(self.queue.send(&batch).await) {
                trouble = result.as_ref().err().cloned().or(trouble);
                sent[*index] = result.map(drop);
            }
            left.retain(|index| sent[*index].as_ref().is_err_and(ServiceError::may_pass));
            match trouble {
                Some(error) if left.is_empty() => Err(ServiceError::Refused(error.to_string())),
                Some(error) => Err(ServiceError::Passing(error.to_string())),
                None => Ok(()),
            }
        });
        if let Err(error) = result.await {
            // What took too long says nothing of its entries.
            sent.iter_mut()
                .filter(|sent| sent.as_ref().is_err_and(ServiceError::may_pass))
                .for_each(|sent| *sent = Err(error.clone()));
        }
        sent
    }

    /// Sets when each message that is to come back is visible again: it would wait out the whole visibility timeout else,
    /// which is six times the function's. What fails here only means that longer wait.
    pub(super) async fn hand_back(
        &self,
        records: &[Record],
        dealt: &[(Dealt, Option<Millis>)],
        invocation: &Invocation,
    ) {
        let back = records.iter().zip(dealt).filter(|(_, (dealt, _))| dealt.comes_back());
        let messages: Vec<HandBack> = back
            .map(|(record, (_, held_until))| HandBack {
                receipt_handle: record.receipt_handle.clone(),
                invisible: self.comes_back_after(record.receive_count, *held_until),
            })
            .collect();
        if messages.is_empty() {
            return;
        }
        let results = timeout_at(invocation.finish_by(), self.queue.hand_back(&messages)).await.unwrap_or_default();
        let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        if let Some(error) = failed.first() {
            let messages = failed.len();
            tracing::warn!(%error, messages, "messages come back only after their visibility timeout");
        }
    }

    fn comes_back_after(&self, receive_count: u32, held_until: Option<Millis>) -> Duration {
        let held = held_until.map_or(Duration::ZERO, |until| (until + Duration::from_millis(1)).since(self.now()));
        self.config.rules.schedule.comes_back_after(receive_count, self.draw()).max(held)
    }
}
