//! `postpress-bridge work`: Lambda's event source mapping, played here.
//!
//! For emulators, for containers, and to drain a queue whose function is switched off. The same worker, the same table.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::consumer::{Consumer, Handled, Handler};
use crate::deployed::{Deployed, DeployedWorker, connect};
use crate::ids::ChatId;
use crate::message::Record;
use crate::queue::{Source, SqsQueue};
use crate::service::ServiceError;
use crate::settings::{FromEnv, WorkerSettings};
use crate::store::RunTable;
use crate::telemetry::{self, LogFormat};
use crate::worker::Worker;

use super::argument::time;
use super::stop::{self, second_stop};

/// Consume the deployed queue from here: receive batches, deal with them, delete what succeeded.
///
/// Settings come from the environment, as for the Lambda. Ctrl-C finishes the calls under way, so that no answer is lost. The
/// queue's visibility timeout should be longer than `--invocation`.
#[derive(Debug, Clone, Args)]
pub struct Work {
    /// How many batches to deal with at once
    #[arg(long, default_value = "4", value_name = "N")]
    concurrency: NonZeroUsize,

    /// How long a batch may take, as a function's timeout (`60s`)
    #[arg(long, default_value = "60s", value_parser = time, value_name = "TIME")]
    invocation: Duration,

    /// Stop once nothing has come for so long (`30s`); without it, only Ctrl-C stops
    #[arg(long, value_parser = time, value_name = "TIME")]
    until_idle: Option<Duration>,
}

/// How soon a queue that is not there says so: until then nothing is announced.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// A worker, and when it last had something to do.
struct Busy {
    worker: DeployedWorker,
    last: Cell<Instant>,
    at_work: Cell<usize>,
}

impl Handler for Busy {
    async fn handle(&self, batch: &[Record], ends: Instant) -> Handled {
        if batch.is_empty() {
            return Handled::Returned(Vec::new());
        }
        self.at_work.set(self.at_work.get() + 1);
        let report = Worker::handle(&self.worker, batch, ends).await;
        for (message_id, dealt) in &report.messages {
            tracing::debug!(%message_id, ?dealt, "dealt with");
        }
        self.at_work.set(self.at_work.get() - 1);
        self.last.set(Instant::now());
        Handled::Returned(report.returned().cloned().collect())
    }
}

/// The queue, and why it could last not be read, if that was so.
struct Watched {
    queue: SqsQueue,
    failed: RefCell<Option<ServiceError>>,
    refused: Notify,
}

impl Source for Watched {
    async fn receive(&self, max: usize) -> Result<Vec<Record>, ServiceError> {
        let received = self.queue.receive(max).await;
        self.failed.replace(received.as_ref().err().cloned());
        if received.as_ref().is_err_and(|error| !error.is_retryable()) {
            // No other attempt will succeed: it stops, which is then all that there is to say.
            self.refused.notify_one();
            return std::future::pending().await;
        }
        received
    }

    async fn delete(&self, records: &[Record]) -> Result<(), ServiceError> {
        self.queue.delete(records).await
    }
}

impl Busy {
    async fn idle_for(&self, time: Option<Duration>) {
        let Some(time) = time else { return std::future::pending().await };
        while self.at_work.get() > 0 || self.last.get().elapsed() < time {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Work {
    /// Consumes until it is told to stop.
    ///
    /// # Errors
    /// If the settings cannot be used, the key cannot be read, or the queue could not at the end: then nobody knows
    /// whether it is empty.
    pub async fn run(self) -> anyhow::Result<()> {
        let settings = WorkerSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let least = settings.limits.invocation_of_one();
        anyhow::ensure!(
            self.invocation >= least,
            "--invocation is too short for a single call; give it at least {least:?}"
        );
        let Deployed { worker, queue, store } = connect(&settings).await?;
        // Before messages are received that could not be dealt with.
        let no_chat = ChatId::parse("postpress-bridge~work")?;
        RunTable::deployed(store).read(&no_chat).await.context("the run table in BRIDGE_TABLE cannot be read")?;
        let busy = Busy { worker, last: Cell::new(Instant::now()), at_work: Cell::new(0) };
        let consumer = Consumer { batch_size: 10, concurrency: self.concurrency.get(), invocation: self.invocation };
        let source = Watched { queue, failed: RefCell::default(), refused: Notify::new() };
        let announce = async {
            sleep(REFUSED_WITHIN).await;
            tracing::info!("consuming the queue; Ctrl-C finishes what is under way and stops");
            std::future::pending::<()>().await;
        };
        let stop = async {
            tokio::select! {
                () = busy.idle_for(self.until_idle) => {}
                () = stop::asked_to() => tracing::info!("stopping"),
                () = source.refused.notified() => {}
                () = announce => {}
            }
        };
        tokio::select! {
            () = consumer.run(&source, &busy, stop) => {}
            () = second_stop() => anyhow::bail!("stopped at once; what was under way comes again"),
        }
        match source.failed.into_inner() {
            Some(error) => Err(anyhow::Error::new(error).context("the queue in BRIDGE_QUEUE_URL cannot be read")),
            None => Ok(()),
        }
    }
}
