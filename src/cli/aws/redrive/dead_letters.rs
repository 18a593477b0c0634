//! The dead-letter queue: found by the queue's redrive policy, and emptied without losing a message.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::time::{Instant, sleep, timeout};

use crate::aws::{Resource, service_error};
use crate::cli::aws::dead_letter_queue::{self, Attributes};
use crate::ids::MessageId;
use crate::message::Record;
use crate::queue::redrive_policy::RedrivePolicy;
use crate::queue::{Depth, Outgoing, Queue, Source, SqsQueue, VisibilityChange};
use crate::service::{ServiceError, attempt_to_reach};

/// How long to wait for another message before the queue counts as empty. A receive that waits asks all of SQS's servers;
/// one that does not wait may find nothing although messages are there.
const WAIT: Duration = Duration::from_secs(2);
/// Time limit of each request that finds the queue.
const FIND_MAX: Duration = Duration::from_secs(15);
/// Time limit of a send.
const SEND_MAX: Duration = Duration::from_secs(15);
/// How long a receive may still take after a signal to stop.
const LAST_RECEIVE_MAX: Duration = Duration::from_secs(5);

/// A queue's dead letters.
pub(super) struct DeadLetters {
    pub(super) url: String,
    /// `ApproximateNumberOfMessages`, before anything was received.
    pub(super) waiting: u64,
    /// `ApproximateNumberOfMessagesNotVisible`: messages that others have received and not yet deleted.
    pub(super) held_by_others: u64,
    pub(super) queue: SqsQueue,
}

impl DeadLetters {
    /// Finds the dead-letter queue of a queue. Messages received from it stay invisible to others for `hold`.
    pub(super) async fn of(client: &Client, queue_url: &str, hold: Duration) -> anyhow::Result<Self> {
        let queue = attributes(client, queue_url, Resource::Queue(queue_url))
            .await
            .context("cannot read the RedrivePolicy of the queue in BRIDGE_QUEUE_URL")?;
        let Some(policy) = queue.get(&QueueAttributeName::RedrivePolicy) else {
            bail!("the queue in BRIDGE_QUEUE_URL has no RedrivePolicy, so it has no dead letters");
        };
        let policy = RedrivePolicy::parse(policy).context("the queue's RedrivePolicy is malformed")?;
        ensure!(!policy.is_fifo(), "the dead-letter queue is a FIFO queue, which the bridge does not use");
        let dead = Resource::DeadLetterQueue(&policy.dead_letter_queue);
        let url = url(client, &policy, dead).await.context("cannot find the dead-letter queue of the RedrivePolicy")?;
        let attributes =
            attributes(client, &url, dead).await.context("cannot read the attributes of the dead-letter queue")?;
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(Self {
            waiting: number(QueueAttributeName::ApproximateNumberOfMessages),
            held_by_others: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            queue: SqsQueue::new(client.clone(), url.clone()).held_for(hold, WAIT),
            url,
        })
    }

    /// Receives up to `limit` messages, each once. If `stop` completes, returns all of them to the queue and gives `None`.
    pub(super) async fn take(
        &self,
        limit: usize,
        mut stop: Pin<&mut Fuse<impl Future<Output = ()>>>,
    ) -> anyhow::Result<Option<Vec<Record>>> {
        // SQS may deliver a message twice even while it is held; only the latest receipt is valid.
        let mut taken = BTreeMap::new();
        let mut is_all = false;
        loop {
            if stop.as_mut().now_or_never().is_some() || stop.is_terminated() {
                self.give_back(taken.values()).await;
                return Ok(None);
            }
            let had = taken.len();
            if is_all || had >= limit {
                break;
            }
            // Messages of an abandoned receive would stay hidden, so the last receive gets some time.
            let out_of_time = async {
                stop.as_mut().await;
                sleep(LAST_RECEIVE_MAX).await;
            };
            let received = tokio::select! {
                received = self.queue.receive(limit - had) => received,
                () = out_of_time => continue,
            };
            match received {
                Ok(records) => {
                    taken.extend(records.into_iter().map(|record| (record.message_id.clone(), record)));
                    // Nothing, or only repeats whose hold has expired.
                    is_all = taken.len() == had;
                }
                Err(_) if stop.is_terminated() => {}
                Err(error) => {
                    self.give_back(taken.values()).await;
                    return Err(anyhow::Error::new(error).context("cannot receive the dead letters"));
                }
            }
        }
        let mut taken: Vec<Record> = taken.into_values().collect();
        taken.sort_by_key(|record| record.sent_at);
        Ok(Some(taken))
    }

    /// Makes dead letters visible again at once. If that fails, they become visible when the hold expires.
    pub(super) async fn give_back(&self, records: impl IntoIterator<Item = &Record>) {
        let invisible = Duration::ZERO;
        let messages: Vec<_> = records
            .into_iter()
            .map(|record| VisibilityChange { receipt_handle: record.receipt_handle.clone(), invisible })
            .collect();
        match timeout(SEND_MAX, self.queue.change_visibility(&messages)).await {
            Ok(results) => results.into_iter().filter_map(Result::err).for_each(
                |error| tracing::warn!(%error, "could not make a dead letter visible again; it reappears when the hold expires"),
            ),
            Err(_) => tracing::warn!("could not make the dead letters visible again; they reappear when the hold expires"),
        }
    }
}

/// How many messages a queue and its dead-letter queue have; without a dead-letter queue, it has no dead letters.
pub(in crate::cli::aws) async fn depth(client: &Client, queue_url: &str) -> anyhow::Result<Depth> {
    let attributes = attributes(client, queue_url, Resource::Queue(queue_url))
        .await
        .context("cannot read the attributes of the queue in BRIDGE_QUEUE_URL")?;
    let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or_default();
    let dead_letters = match attributes.contains_key(&QueueAttributeName::RedrivePolicy) {
        true => DeadLetters::of(client, queue_url, FIND_MAX).await?.waiting,
        false => 0,
    };
    Ok(Depth {
        visible: number(QueueAttributeName::ApproximateNumberOfMessages),
        delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        dead_letters: usize::try_from(dead_letters).unwrap_or(usize::MAX),
    })
}

/// Sends messages to the queue that they came from, with one result for each.
///
/// Never retries: a message without a confirmed send may have arrived, and the next `redrive` sends it again.
pub(super) async fn send(queue: &SqsQueue, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
    timeout(SEND_MAX, queue.send(messages)).await.unwrap_or_else(|_| {
        vec![Err(ServiceError::Transient("SendMessageBatch: SQS took too long".to_owned())); messages.len()]
    })
}

async fn attributes(client: &Client, url: &str, queue: Resource<'_>) -> Result<Attributes, ServiceError> {
    let request = dead_letter_queue::attributes(client, url);
    let ask = async || request.clone().send().await.map_err(|error| service_error("GetQueueAttributes", queue, &error));
    Ok(attempt_to_reach(Instant::now() + FIND_MAX, ask).await?.attributes.unwrap_or_default())
}

async fn url(client: &Client, policy: &RedrivePolicy, queue: Resource<'_>) -> anyhow::Result<String> {
    let request = dead_letter_queue::url(client, policy);
    let ask = async || request.clone().send().await.map_err(|error| service_error("GetQueueUrl", queue, &error));
    attempt_to_reach(Instant::now() + FIND_MAX, ask).await?.queue_url.context("GetQueueUrl returned no URL")
}
