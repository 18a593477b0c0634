//! Carries out the sweep: finds lost runs in the index and sends a poll for each.

use std::time::Duration;

use crate::bus::EventBus;
use crate::metrics::Metric;
use crate::postpress::Provider;
use crate::queue::Queue;
use crate::run::{AckReason, Disposition, Item, OPEN_SHARDS, Recovery, RetryReason, SWEEP_ACTIVE_MAX, sweep};
use crate::service::{ServiceError, retry_until};
use crate::store::{DueRun, RunStore};
use crate::trace::TraceHeader;

use super::{Invocation, MessageTelemetry, Worker};

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Looks at every open run that is due. Runs that it does not reach stay due for the next sweep.
    pub(super) async fn sweep(&self, telemetry: &mut MessageTelemetry<'_>) -> Disposition {
        let mut active_left = SWEEP_ACTIVE_MAX;
        for shard in 0..OPEN_SHARDS {
            if let Err(error) = self.sweep_shard(shard, &mut active_left, telemetry.invocation()).await {
                telemetry.failed(&format!("finish the sweep, which stopped in shard {shard}"), &error);
                return Disposition::Retry(RetryReason::Failed);
            }
        }
        if active_left == 0 || !telemetry.invocation().has_time_to_call() {
            tracing::warn!(
                "the sweep had no allowance or no time left; runs that it did not reach are due at the next"
            );
        }
        Disposition::Ack(AckReason::Swept)
    }

    /// Looks at a shard's runs; `active_left` is how many active ones the sweep may still look at.
    async fn sweep_shard(
        &self,
        shard: u8,
        active_left: &mut usize,
        invocation: &Invocation,
    ) -> Result<(), ServiceError> {
        let (now, until) = (self.now(), invocation.finish_by());
        let mut last: Option<DueRun> = None;
        while *active_left > 0 && invocation.has_time_to_call() {
            let page = retry_until(until, async || self.store.due(shard, now, last.as_ref()).await).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.sweep_page(&page, active_left, invocation).await?;
            last = page.into_iter().last();
        }
        Ok(())
    }

    async fn sweep_page(
        &self,
        page: &[DueRun],
        active_left: &mut usize,
        invocation: &Invocation,
    ) -> Result<(), ServiceError> {
        let mut found = Vec::new();
        let mut result = Ok(());
        for due in page {
            let read = retry_until(invocation.finish_by(), async || self.store.read(&due.subject).await);
            let item = match read.await {
                Ok(Some(item)) => item,
                Ok(None) => {
                    tracing::debug!(subject = %due.subject, "the index still has a run whose item is gone");
                    continue;
                }
                // One unreadable item must not hide those behind it.
                Err(ServiceError::Permanent(error)) => {
                    tracing::error!(error, subject = %due.subject, "the sweep passes over a run that cannot be read");
                    continue;
                }
                Err(transient) => {
                    result = Err(transient);
                    break;
                }
            };
            if item.state.is_active() {
                if *active_left == 0 {
                    break;
                }
                *active_left -= 1;
            }
            let recovery = sweep(&item, self.now(), &self.config.rules);
            let is_lost = recovery.as_ref().is_some_and(|recovery| recovery.poll.is_some());
            tracing::debug!(chat_id = %item.chat_id(), run_id = %item.run_id, is_lost, "open run looked at");
            found.extend(recovery.map(|recovery| (recovery, trace(&item))));
        }
        self.recover(found, invocation).await.and(result)
    }

    /// Sends the polls, then moves the runs in the index; a run whose poll was not sent stays where it is.
    async fn recover(
        &self,
        found: Vec<(Recovery, Option<TraceHeader>)>,
        invocation: &Invocation,
    ) -> Result<(), ServiceError> {
        let (lost, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(|(recovery, _)| recovery.poll.is_some());
        let polls = lost.iter().filter_map(|(recovery, trace)| Some((recovery.poll.as_ref()?, trace.clone())));
        let outgoing: Vec<_> = polls.map(|(poll, trace)| self.outgoing(poll, Duration::ZERO, trace)).collect();
        if !outgoing.is_empty() {
            tracing::warn!(runs = outgoing.len(), "lost runs or unpublished endings: polled again");
        }
        let sent = self.send(outgoing, invocation).await;
        let recovered: Vec<_> =
            lost.into_iter().zip(&sent).filter(|(_, sent)| sent.is_ok()).map(|(lost, _)| lost).collect();
        invocation.metrics().count(Metric::Revived, u64::try_from(recovered.len()).unwrap_or(u64::MAX));
        for (recovery, _) in recovered.into_iter().chain(alive) {
            // If the condition fails, another sweep has moved the run, or its ending is published.
            retry_until(invocation.finish_by(), async || self.store.write(&recovery.move_to).await).await?;
        }
        match sent.into_iter().find_map(Result::err) {
            Some(error) => Err(ServiceError::Transient(format!("a poll could not be sent: {error}"))),
            None => Ok(()),
        }
    }
}

/// The trace of a run, as far as the table knows it: the one that its first trigger was given if it carried none. A run whose
/// producer brought a trace continues under this one.
fn trace(item: &Item) -> Option<TraceHeader> {
    item.triggers.first().map(|trigger| TraceHeader::of_message(&trigger.message_id, trigger.requested_at))
}
