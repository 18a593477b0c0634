//! `postpress-bridge work`: consumes the queue in this process, as Lambda's event source mapping does.
//!
//! For emulators, for containers, and to drain a queue whose function is disabled. Same worker, same table.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::bootstrap::{self, AwsWorker, WorkerParts};
use crate::event_source_mapping::{EventSourceMapping, Handler, InvocationResult};
use crate::ids::Subject;
use crate::message::Record;
use crate::queue::{Source, SqsQueue};
use crate::service::ServiceError;
use crate::settings::{FromEnv, WorkerSettings};
use crate::store::RunTable;
use crate::telemetry::{self, LogFormat};
use crate::worker::Worker;

use super::options::Work;
use crate::cli::shutdown::{self, second_signal};

/// How long to wait before announcing that it consumes: a missing queue is reported within this time.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);

/// A worker, and when it last handled a message.
struct IdleTracker {
    worker: AwsWorker,
    last: Cell<Instant>,
    in_flight: Cell<usize>,
}

impl Handler for IdleTracker {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        if batch.is_empty() {
            return InvocationResult::Completed(Vec::new());
        }
        self.in_flight.set(self.in_flight.get() + 1);
        let report = Worker::handle(&self.worker, batch, ends).await;
        for (message_id, disposition) in &report.messages {
            tracing::debug!(%message_id, ?disposition, "handled");
        }
        self.in_flight.set(self.in_flight.get() - 1);
        self.last.set(Instant::now());
        InvocationResult::Completed(report.batch_item_failures().cloned().collect())
    }
}

/// The queue, and the error of the last receive.
struct ObservedQueue {
    queue: SqsQueue,
    error: RefCell<Option<ServiceError>>,
    refused: Notify,
}

impl Source for ObservedQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Record>, ServiceError> {
        let received = self.queue.receive(max).await;
        self.error.replace(received.as_ref().err().cloned());
        if received.as_ref().is_err_and(|error| !error.is_retryable()) {
            // No retry will succeed: stop without further log lines.
            self.refused.notify_one();
            return std::future::pending().await;
        }
        received
    }

    async fn delete(&self, records: &[Record]) -> Result<(), ServiceError> {
        self.queue.delete(records).await
    }
}

impl IdleTracker {
    async fn idle_for(&self, time: Option<Duration>) {
        let Some(time) = time else { return std::future::pending().await };
        while self.in_flight.get() > 0 || self.last.get().elapsed() < time {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Work {
    /// Consumes until stopped.
    ///
    /// # Errors
    /// If the settings are invalid, the key cannot be read, or the last receive failed, since then the queue may not be empty.
    pub async fn run(self) -> anyhow::Result<()> {
        let settings = WorkerSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let least = settings.config.invocation_of_one();
        anyhow::ensure!(
            self.invocation >= least,
            "--invocation is too short for a single call; set at least {least:?}"
        );
        let WorkerParts { worker, queue, store } = bootstrap::worker(&settings, crate::aws::connect).await?;
        // Before it receives messages that it could not handle.
        let no_chat = Subject::chat("postpress-bridge~work")?;
        RunTable::deployed(store).read(&no_chat).await.context("cannot read the run table in BRIDGE_TABLE")?;
        let handler = IdleTracker { worker, last: Cell::new(Instant::now()), in_flight: Cell::new(0) };
        let mapping =
            EventSourceMapping { batch_size: 10, concurrency: self.concurrency.get(), invocation: self.invocation };
        let source = ObservedQueue { queue, error: RefCell::default(), refused: Notify::new() };
        let announce = async {
            sleep(ANNOUNCE_AFTER).await;
            tracing::info!("consuming the queue; Ctrl-C finishes the pending calls and stops");
            std::future::pending::<()>().await;
        };
        let stop = async {
            tokio::select! {
                () = handler.idle_for(self.until_idle) => {}
                () = shutdown::signal() => tracing::info!("stopping"),
                () = source.refused.notified() => {}
                () = announce => {}
            }
        };
        tokio::select! {
            () = mapping.run(&source, &handler, stop) => {}
            () = second_signal() => anyhow::bail!("stopped immediately; unfinished messages will be redelivered"),
        }
        match source.error.into_inner() {
            Some(error) => Err(anyhow::Error::new(error).context("cannot receive from the queue in BRIDGE_QUEUE_URL")),
            None => Ok(()),
        }
    }
}
