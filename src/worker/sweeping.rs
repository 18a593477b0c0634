//! The sweep, carried out: lost runs are found in the index and polled.

use std::time::Duration;

use crate::bus::EventBus;
use crate::ids::ChatId;
use crate::metrics::Metric;
use crate::postpress::Provider;
use crate::queue::Queue;
use crate::run::{Item, OPEN_SHARDS, Phase, Returned, SWEEP_ACTIVE_MAX, Swept, Write, sweep};
use crate::service::{ServiceError, retry_until};
use crate::store::{DueRun, RunStore};
use crate::trace::TraceHeader;

use super::{Dealt, Invocation, Watch, Worker};

/// What is left of a sweep's allowance.
struct Allowance {
    active: usize,
}

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Looks at every open run that is due. What it does not get to is due at the next sweep too.
    pub(super) async fn sweep(&self, watch: &mut Watch<'_>) -> Dealt {
        let mut allowance = Allowance { active: SWEEP_ACTIVE_MAX };
        for shard in 0..OPEN_SHARDS {
            if let Err(error) = self.sweep_shard(shard, &mut allowance, watch.invocation()).await {
                watch.failed(&format!("finish the sweep, which stopped in shard {shard}"), &error);
                return Dealt::Returned(Returned::Failed);
            }
        }
        if allowance.active == 0 || !watch.invocation().has_time_to_call() {
            tracing::warn!(
                "the sweep had no allowance or no time left; runs that it did not reach are due at the next"
            );
        }
        Dealt::Swept
    }

    async fn sweep_shard(
        &self,
        shard: u8,
        allowance: &mut Allowance,
        invocation: &Invocation,
    ) -> Result<(), ServiceError> {
        let (now, until) = (self.now(), invocation.finish_by());
        let mut last: Option<DueRun> = None;
        while allowance.active > 0 && invocation.has_time_to_call() {
            let page = retry_until(until, async || self.store.due(shard, now, last.as_ref()).await).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.sweep_page(&page, allowance, invocation).await?;
            last = page.into_iter().last();
        }
        Ok(())
    }

    async fn sweep_page(
        &self,
        page: &[DueRun],
        allowance: &mut Allowance,
        invocation: &Invocation,
    ) -> Result<(), ServiceError> {
        let mut found = Vec::new();
        let mut trouble = Ok(());
        for due in page {
            let item = match self.read(&due.chat_id, invocation).await {
                Ok(Some(item)) => item,
                Ok(None) => {
                    tracing::debug!(chat_id = %due.chat_id, "the index still has a run whose item is gone");
                    continue;
                }
                // One item that cannot be read must not hide those behind it.
                Err(ServiceError::Permanent(error)) => {
                    tracing::error!(error, chat_id = %due.chat_id, "the sweep passes over a run that cannot be read");
                    continue;
                }
                Err(passing) => {
                    trouble = Err(passing);
                    break;
                }
            };
            if item.phase == Phase::Active {
                if allowance.active == 0 {
                    break;
                }
                allowance.active -= 1;
            }
            let swept = sweep(&item, self.now(), &self.config.rules);
            let is_lost = swept.as_ref().is_some_and(|swept| swept.poll.is_some());
            tracing::debug!(chat_id = %item.chat_id, run_id = %item.run_id, is_lost, "open run looked at");
            found.extend(swept.map(|swept| (swept, trace(&item))));
        }
        self.revive(found, invocation).await.and(trouble)
    }

    /// Sends the polls, then moves the runs on in the index; a run whose poll was not sent stays where it is.
    async fn revive(
        &self,
        found: Vec<(Swept, Option<TraceHeader>)>,
        invocation: &Invocation,
    ) -> Result<(), ServiceError> {
        let (lost, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(|(swept, _)| swept.poll.is_some());
        let polls = lost.iter().filter_map(|(swept, trace)| Some((swept.poll.as_ref()?, trace.clone())));
        let outgoing: Vec<_> = polls.map(|(poll, trace)| self.outgoing(poll, Duration::ZERO, trace)).collect();
        if !outgoing.is_empty() {
            tracing::warn!(runs = outgoing.len(), "lost runs, or endings nobody published: polled again");
        }
        let sent = self.send(outgoing, invocation).await;
        let revived: Vec<_> =
            lost.into_iter().zip(&sent).filter(|(_, sent)| sent.is_ok()).map(|(lost, _)| lost).collect();
        invocation.metrics().count(Metric::Revived, u64::try_from(revived.len()).unwrap_or(u64::MAX));
        for (swept, _) in revived.into_iter().chain(alive) {
            self.move_on(&swept.move_to, invocation).await?;
        }
        match sent.into_iter().find_map(Result::err) {
            Some(error) => Err(ServiceError::Transient(format!("a poll could not be sent: {error}"))),
            None => Ok(()),
        }
    }

    async fn read(&self, chat_id: &ChatId, invocation: &Invocation) -> Result<Option<Item>, ServiceError> {
        retry_until(invocation.finish_by(), async || self.store.read(chat_id).await).await
    }

    /// A refusal is no failure: another sweep has moved it, or the run is over.
    async fn move_on(&self, write: &Write, invocation: &Invocation) -> Result<(), ServiceError> {
        retry_until(invocation.finish_by(), async || self.store.write(write).await).await.map(|_| ())
    }
}

/// The trace of a run, as far as the table knows it: the one that its first trigger got if it came with none. A run that
/// began in somebody else's trace goes on in this one.
fn trace(item: &Item) -> Option<TraceHeader> {
    item.triggers.first().map(|trigger| TraceHeader::of_message(&trigger.message_id, trigger.requested_at))
}
