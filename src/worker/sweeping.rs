//! The sweep, carried out: lost runs are found in the index and polled.

use std::time::Duration;

use crate::bus::EventBus;
use crate::ids::ChatId;
use crate::postpress::Provider;
use crate::queue::{Outgoing, Queue};
use crate::run::{Item, OPEN_SHARDS, Phase, Returned, SWEEP_ACTIVE_MAX, Swept, Write, sweep};
use crate::service::{ServiceError, attempt};
use crate::store::{DueRun, RunStore};

use super::{Dealt, Invocation, Worker};

/// What is left of a sweep's allowance.
struct Allowance {
    active: usize,
}

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Looks at every open run that is due. What it does not get to is due at the next sweep too.
    pub(super) async fn sweep(&self, invocation: &Invocation) -> Dealt {
        let mut allowance = Allowance { active: SWEEP_ACTIVE_MAX };
        for shard in 0..OPEN_SHARDS {
            if let Err(error) = self.sweep_shard(shard, &mut allowance, invocation).await {
                tracing::error!(%error, shard, "the sweep stopped; it comes back");
                return Dealt::Returned(Returned::Failed);
            }
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
            let page = attempt(until, async || self.store.due(shard, now, last.as_ref()).await).await?;
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
                Ok(None) => continue,
                // One item that cannot be read must not hide those behind it.
                Err(ServiceError::Refused(error)) => {
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
            found.extend(sweep(&item, self.now(), &self.config.rules));
        }
        self.revive(found, invocation).await.and(trouble)
    }

    /// Sends the polls, then moves the runs on in the index; a run whose poll was not sent stays where it is.
    async fn revive(&self, found: Vec<Swept>, invocation: &Invocation) -> Result<(), ServiceError> {
        let (lost, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(|swept| swept.poll.is_some());
        let polls = lost.iter().filter_map(|swept| swept.poll.as_ref());
        let outgoing: Vec<_> = polls.map(|poll| Outgoing { body: poll.to_body(), delay: Duration::ZERO }).collect();
        if !outgoing.is_empty() {
            tracing::warn!(runs = outgoing.len(), "lost runs, or endings nobody published: polled again");
        }
        let sent = self.send(outgoing, invocation).await;
        let revived = lost.into_iter().zip(&sent).filter_map(|(swept, sent)| sent.then_some(swept));
        for swept in revived.chain(alive) {
            self.move_on(&swept.move_to, invocation).await?;
        }
        if sent.contains(&false) {
            return Err(ServiceError::Passing("a poll could not be sent".to_owned()));
        }
        Ok(())
    }

    async fn read(&self, chat_id: &ChatId, invocation: &Invocation) -> Result<Option<Item>, ServiceError> {
        attempt(invocation.finish_by(), async || self.store.read(chat_id).await).await
    }

    /// A refusal is no failure: another sweep has moved it, or the run is over.
    async fn move_on(&self, write: &Write, invocation: &Invocation) -> Result<(), ServiceError> {
        attempt(invocation.finish_by(), async || self.store.write(write).await).await.map(|_| ())
    }
}
