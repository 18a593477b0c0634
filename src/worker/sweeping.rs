//! Carries out the sweep: finds lost runs in the index and sends a poll for each.

use std::ops::Range;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::bus::EventBus;
use crate::message::OwnMessage;
use crate::metrics::Metric;
use crate::postpress::Provider;
use crate::queue::Queue;
use crate::run::{
    ACTIVE_SHARDS, AckReason, Disposition, DueOrder, DueRun, ENDED_SHARDS, Item, Recovery, RetryReason, Write, sweep,
};
use crate::service::{ServiceError, retry_until};
use crate::store::RunStore;
use crate::time::Millis;
use crate::trace::TraceHeader;

use super::{Invocation, MessageTelemetry, Worker};

/// How many runs are looked at together; their polls share their sends.
const RUNS_TOGETHER: usize = 100;
/// The most concurrent requests to the table.
const CONCURRENT: usize = 32;
/// The time limit of a request to the table, with its retries. What fails for longer is left to the next sweep, so that it
/// does not use up this one's time.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// A sweep in progress.
struct Sweep<'a> {
    invocation: &'a Invocation,
    /// Runs that were due then are looked at.
    began: Millis,
    /// How many more runs it may look at.
    allowance: usize,
    /// Due runs that it did not reach.
    left_behind: usize,
    error: Option<ServiceError>,
}

impl Sweep<'_> {
    fn failed(&mut self, error: ServiceError) {
        self.error.get_or_insert(error);
    }

    fn request_by(&self) -> Instant {
        self.invocation.finish_by().min(Instant::now() + REQUEST_MAX)
    }
}

/// The result of looking at one run: where it goes in the index, once its poll is sent if it needs one.
type Found = (Recovery, Option<TraceHeader>);

impl<P: Provider, S: RunStore, Q: Queue, B: EventBus> Worker<P, S, Q, B> {
    /// Looks at the open runs that are due: first at the unpublished endings, then at active runs, as many as the invocation
    /// has time for. The others stay due, and the next sweep begins with them.
    pub(super) async fn sweep(&self, telemetry: &mut MessageTelemetry<'_>) -> Disposition {
        let invocation = telemetry.invocation();
        if !invocation.has_time_to_call() {
            return Disposition::Retry(RetryReason::NoTime);
        }
        let allowance = self.config.sweep_allowance(invocation.left());
        let mut sweep = Sweep { invocation, began: self.now(), allowance, left_behind: 0, error: None };
        for shards in [ENDED_SHARDS, ACTIVE_SHARDS] {
            self.sweep_shards(shards, &mut sweep).await;
        }
        if sweep.left_behind > 0 {
            tracing::warn!(
                runs = sweep.left_behind,
                "the sweep had no time for every run that is due; the next one begins with those that have waited longest"
            );
            invocation.metrics().count(Metric::LeftBehind, as_u64(sweep.left_behind));
        }
        match sweep.error {
            Some(error) => {
                telemetry.failed("finish the sweep", &error);
                Disposition::Retry(RetryReason::Failed)
            }
            None => Disposition::Ack(AckReason::Swept),
        }
    }

    async fn sweep_shards(&self, shards: Range<u8>, sweep: &mut Sweep<'_>) {
        let mut order = DueOrder::new(shards);
        self.read_pages(&mut order, sweep).await;
        while sweep.invocation.has_time_to_call() {
            let due = order.take(sweep.allowance.min(RUNS_TOGETHER));
            if due.is_empty() {
                break;
            }
            sweep.allowance -= due.len();
            self.look_at_all(&due, sweep).await;
            self.read_pages(&mut order, sweep).await;
        }
        // The rest is only counted, as far as the time allows.
        loop {
            let left = order.skip_read();
            sweep.left_behind += left;
            if left == 0 || !sweep.invocation.has_time_to_call() {
                break;
            }
            self.read_pages(&mut order, sweep).await;
        }
    }

    /// Reads what the order needs next. A shard that cannot be read is left to the next sweep.
    async fn read_pages(&self, order: &mut DueOrder, sweep: &mut Sweep<'_>) {
        let (until, before) = (sweep.request_by(), sweep.began);
        let pages = order.to_read().map(async |(shard, after)| {
            (shard, retry_until(until, async || self.store.due(shard, before, after).await).await)
        });
        for (shard, page) in join_all(pages).await {
            order.add(shard, &page.map_err(|error| sweep.failed(error)).unwrap_or_default());
        }
    }

    /// Looks at these runs, sends the polls, then moves the runs in the index. A run whose poll was not sent stays where it is.
    async fn look_at_all(&self, due: &[DueRun], sweep: &mut Sweep<'_>) {
        let looks: Vec<_> =
            stream::iter(due).map(|due| self.look_at(due, sweep.request_by())).buffered(CONCURRENT).collect().await;
        let mut found: Vec<Found> = Vec::new();
        for look in looks {
            look.map(|look| found.extend(look)).unwrap_or_else(|error| sweep.failed(error));
        }
        let (lost, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(|(recovery, _)| recovery.poll.is_some());
        let polls = lost.iter().filter_map(|(recovery, trace)| Some((recovery.poll.clone()?, trace.clone())));
        let outgoing = |(poll, trace)| self.outgoing(&OwnMessage::Poll(poll), Duration::ZERO, None, trace);
        let outgoing: Vec<_> = polls.map(outgoing).collect();
        if !outgoing.is_empty() {
            tracing::warn!(runs = outgoing.len(), "lost runs or unpublished endings: polled again");
        }
        let sent = self.send(outgoing, sweep.invocation).await;
        let mut moves: Vec<Write> = alive.into_iter().map(|(recovery, _)| recovery.move_to).collect();
        let mut revived = 0;
        for ((recovery, _), sent) in lost.into_iter().zip(sent) {
            match sent {
                Ok(()) => {
                    revived += 1;
                    moves.push(recovery.move_to);
                }
                Err(error) => sweep.failed(ServiceError::Transient(format!("a poll could not be sent: {error}"))),
            }
        }
        sweep.invocation.metrics().count(Metric::Revived, revived);
        let until = sweep.request_by();
        let moved: Vec<_> =
            stream::iter(&moves).map(|write| self.move_on(write, until)).buffer_unordered(CONCURRENT).collect().await;
        moved.into_iter().filter_map(Result::err).for_each(|error| sweep.failed(error));
    }

    /// What to do about one run of the index; `None` if nothing.
    async fn look_at(&self, due: &DueRun, until: Instant) -> Result<Option<Found>, ServiceError> {
        match retry_until(until, async || self.store.read(&due.subject).await).await {
            Ok(Some(item)) => {
                let recovery = sweep(&item, self.now(), &self.config.rules);
                let is_lost = recovery.as_ref().is_some_and(|recovery| recovery.poll.is_some());
                tracing::debug!(subject = item.subject.key(), run_id = %item.run_id, is_lost, "open run looked at");
                Ok(recovery.map(|recovery| (recovery, trace(&item))))
            }
            Ok(None) => {
                tracing::debug!(subject = due.subject.key(), "the index still has a run whose item is gone");
                Ok(None)
            }
            Err(ServiceError::Permanent(error)) => {
                tracing::error!(error, subject = due.subject.key(), "the sweep passes over a run that cannot be read");
                // Behind the others, so that no number of such runs keeps a sweep from them. The write returns the item, so
                // this, too, fails where the item is unreadable.
                let _ = self.move_on(&due.postponed(self.now(), &self.config.rules), until).await;
                Ok(None)
            }
            Err(transient) => Err(transient),
        }
    }

    /// Moves a run in the index. If the condition fails, another sweep has moved it, or its ending is published.
    async fn move_on(&self, write: &Write, until: Instant) -> Result<(), ServiceError> {
        retry_until(until, async || self.store.write(write).await).await.map(|_| ())
    }
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The trace of a run, as far as the table knows it: the one that its first trigger was given if it carried none. A run whose
/// producer brought a trace continues under this one.
fn trace(item: &Item) -> Option<TraceHeader> {
    item.triggers.first().map(|trigger| TraceHeader::of_message(&trigger.message_id, trigger.requested_at))
}
