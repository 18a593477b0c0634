//! The dead-letter queue: found by the queue's own policy, and gone through without losing anything.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::time::{Instant, sleep, timeout};

use crate::aws::{Resource, service_error};
use crate::ids::MessageId;
use crate::message::Record;
use crate::queue::redrive_policy::RedrivePolicy;
use crate::queue::{Outgoing, Queue, Source, SqsQueue, VisibilityChange};
use crate::service::{ServiceError, attempt_to_reach};

/// How long to wait for another message before the queue counts as gone through. A receive that waits asks all of SQS's
/// servers, where one that does not may find nothing although there is something.
const WAIT: Duration = Duration::from_secs(2);
/// How long finding the queue may take, each request, and how long a send.
const LOOK_MAX: Duration = Duration::from_secs(15);
const SEND_MAX: Duration = Duration::from_secs(15);
/// How long a receive may still take once there is a wish to stop.
const LAST_RECEIVE_MAX: Duration = Duration::from_secs(5);

/// A queue's dead letters.
pub(super) struct DeadLetters {
    pub(super) url: String,
    /// `ApproximateNumberOfMessages`, before anything was received.
    pub(super) waiting: u64,
    /// `ApproximateNumberOfMessagesNotVisible`: what somebody else has received and not yet dealt with.
    pub(super) held_by_others: u64,
    queue: SqsQueue,
}

impl DeadLetters {
    /// Finds the dead-letter queue of a queue. What is received from it stays invisible to others for `hold`.
    pub(super) async fn of(client: &Client, queue_url: &str, hold: Duration) -> anyhow::Result<Self> {
        let queue = Resource::Queue(queue_url);
        let attributes = attributes(client, queue_url, queue, QueueAttributeName::RedrivePolicy)
            .await
            .context("the queue in BRIDGE_QUEUE_URL cannot be asked for its RedrivePolicy")?;
        let Some(policy) = attributes.get(&QueueAttributeName::RedrivePolicy) else {
            bail!("the queue in BRIDGE_QUEUE_URL has no RedrivePolicy, so it has no dead letters");
        };
        let policy = RedrivePolicy::parse(policy).context("the queue's RedrivePolicy cannot be read")?;
        ensure!(!policy.is_fifo(), "the dead-letter queue is a FIFO queue, which the bridge does not use");
        let url = url(client, &policy).await.context("the dead-letter queue of the RedrivePolicy cannot be found")?;
        let dead = Resource::DeadLetterQueue(&policy.dead_letter_queue);
        let all = QueueAttributeName::All;
        let attributes =
            self::attributes(client, &url, dead, all).await.context("the dead-letter queue cannot be asked")?;
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(Self {
            waiting: number(QueueAttributeName::ApproximateNumberOfMessages),
            held_by_others: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            queue: SqsQueue::new(client.clone(), url.clone()).held_for(hold, WAIT),
            url,
        })
    }

    /// Receives at most so many, each once, or all that there are. Once it is asked to `stop` it gives all back and returns `None`.
    pub(super) async fn take(
        &self,
        limit: usize,
        mut stop: Pin<&mut Fuse<impl Future<Output = ()>>>,
    ) -> anyhow::Result<Option<Vec<Record>>> {
        // SQS may deliver a message twice, also while it is held; the latest receipt is the one that counts.
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
            // What one brings that nobody waits for any more would stay hidden, so it has some time to come.
            let in_vain = async {
                stop.as_mut().await;
                sleep(LAST_RECEIVE_MAX).await;
            };
            let received = tokio::select! {
                received = self.queue.receive(limit - had) => received,
                () = in_vain => continue,
            };
            match received {
                Ok(records) => {
                    taken.extend(records.into_iter().map(|record| (record.message_id.clone(), record)));
                    // Nothing, or only what came again because its hold was over.
                    is_all = taken.len() == had;
                }
                Err(_) if stop.is_terminated() => {}
                Err(error) => {
                    self.give_back(taken.values()).await;
                    return Err(anyhow::Error::new(error).context("the dead letters cannot be received"));
                }
            }
        }
        let mut taken: Vec<Record> = taken.into_values().collect();
        taken.sort_by_key(|record| record.sent_at);
        Ok(Some(taken))
    }

    /// Deletes dead letters. Each has a result of its own.
    pub(super) async fn delete(&self, records: &[Record]) -> Vec<Result<(), ServiceError>> {
        self.queue.delete_each(records).await
    }

    /// Makes dead letters visible again at once. Where that fails they become so by themselves, once the hold is over.
    pub(super) async fn give_back(&self, records: impl IntoIterator<Item = &Record>) {
        let invisible = Duration::ZERO;
        let messages: Vec<_> = records
            .into_iter()
            .map(|record| VisibilityChange { receipt_handle: record.receipt_handle.clone(), invisible })
            .collect();
        match timeout(SEND_MAX, self.queue.change_visibility(&messages)).await {
            Ok(results) => results.into_iter().filter_map(Result::err).for_each(
                |error| tracing::warn!(%error, "a dead letter could not be made visible again; it becomes so later"),
            ),
            Err(_) => tracing::warn!("the dead letters could not be made visible again; they become so later"),
        }
    }
}

/// Sends messages to the queue that they came from. Each has a result of its own.
///
/// Once only: what was sent and not answered for may be there already, and the next `redrive` sends it again.
pub(super) async fn send(queue: &SqsQueue, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
    timeout(SEND_MAX, queue.send(messages)).await.unwrap_or_else(|_| {
        vec![Err(ServiceError::Transient("SendMessageBatch: SQS took too long".to_owned())); messages.len()]
    })
}

type Attributes = HashMap<QueueAttributeName, String>;

async fn attributes(
    client: &Client,
    url: &str,
    queue: Resource<'_>,
    name: QueueAttributeName,
) -> Result<Attributes, ServiceError> {
    let request = client.get_queue_attributes().queue_url(url).attribute_names(name);
    let ask = async || request.clone().send().await.map_err(|error| service_error("GetQueueAttributes", queue, &error));
    Ok(attempt_to_reach(Instant::now() + LOOK_MAX, ask).await?.attributes.unwrap_or_default())
}

async fn url(client: &Client, policy: &RedrivePolicy) -> anyhow::Result<String> {
    let request =
        client.get_queue_url().queue_name(&policy.dead_letter_queue).queue_owner_aws_account_id(&policy.account);
    let queue = Resource::DeadLetterQueue(&policy.dead_letter_queue);
    let ask = async || request.clone().send().await.map_err(|error| service_error("GetQueueUrl", queue, &error));
    attempt_to_reach(Instant::now() + LOOK_MAX, ask).await?.queue_url.context("GetQueueUrl gave no URL")
}
