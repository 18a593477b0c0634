//! The queue and the run table of a deployed bridge.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::SdkConfig;
use tokio::time::timeout;

use super::redrive::{self, dead_letters};
use crate::console::Redriven;
use crate::ids::{MessageGroup, MessageId};
use crate::message::TriggerBody;
use crate::message::dead_letter::DeadLetter;
use crate::queue::{Depth, Outgoing, Queue, SqsQueue};
use crate::service::ServiceError;
use crate::store::{DynamoStore, RunTable};

/// Time limit of a send.
const SEND_MAX: Duration = Duration::from_secs(20);

/// Connects to a deployed bridge.
pub(in crate::cli) struct DeployedBridge(SdkConfig);

impl DeployedBridge {
    /// Always succeeds in this build.
    #[expect(clippy::unnecessary_wraps, reason = "fails in a build without AWS")]
    pub(in crate::cli) fn ensure_supported(_command: &str) -> anyhow::Result<()> {
        Ok(())
    }

    /// Looks up region and credentials, as the AWS SDK reads them.
    pub(in crate::cli) async fn connect(_command: &str) -> anyhow::Result<Self> {
        Ok(Self(crate::aws::connect(crate::aws::http_client()?).await?))
    }

    pub(in crate::cli) fn table(&self, name: &str) -> RunTable {
        RunTable::deployed(DynamoStore::new(aws_sdk_dynamodb::Client::new(&self.0), name.to_owned()))
    }

    /// Sends triggers to the queue, with one result for each, in order.
    ///
    /// # Errors
    /// If none of them was sent because of one fault that affects all.
    pub(in crate::cli) async fn send(
        &self,
        queue_url: &str,
        triggers: &[TriggerBody],
        group: Option<&MessageGroup>,
    ) -> anyhow::Result<Vec<Result<MessageId, ServiceError>>> {
        let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&self.0), queue_url.to_owned());
        let messages: Vec<_> = triggers.iter().map(|trigger| Outgoing::of_trigger(trigger, group)).collect();
        // No retry: if a trigger without a key did arrive, a second send would be a second request.
        let sent = timeout(SEND_MAX, queue.send(&messages)).await.unwrap_or_else(|_| {
            let late = "SQS did not answer in time; the trigger may have arrived nevertheless";
            vec![Err(ServiceError::Transient(late.to_owned())); triggers.len()]
        });
        match fault_of_all(&sent) {
            Some(fault) => Err(fault.into()),
            None => Ok(sent),
        }
    }

    /// How many messages the queue and its dead-letter queue have, as SQS counts them.
    pub(in crate::cli) async fn depth(&self, queue_url: &str) -> anyhow::Result<Depth> {
        dead_letters::depth(&aws_sdk_sqs::Client::new(&self.0), queue_url).await
    }

    /// The queue's dead letters. They are hidden from others while they are received.
    pub(in crate::cli) async fn dead_letters(
        &self,
        queue_url: &str,
        event_source: &str,
    ) -> anyhow::Result<Vec<DeadLetter>> {
        redrive::look(&aws_sdk_sqs::Client::new(&self.0), queue_url, event_source).await
    }

    /// Sends these of the queue's dead letters again, or drops them, as their kinds say.
    pub(in crate::cli) async fn redrive(
        &self,
        queue_url: &str,
        event_source: &str,
        shown: &BTreeSet<MessageId>,
    ) -> anyhow::Result<Redriven> {
        redrive::execute(aws_sdk_sqs::Client::new(&self.0), queue_url, event_source, shown).await
    }
}

/// The error that all sends share, if it is the queue's or the network's.
fn fault_of_all<T>(sent: &[Result<T, ServiceError>]) -> Option<ServiceError> {
    let first = sent.first()?.as_ref().err()?;
    let is_of_all = sent.iter().all(|sent| sent.as_ref().err() == Some(first));
    (is_of_all && matches!(first, ServiceError::Misconfigured(_) | ServiceError::Unreachable(_))).then(|| first.clone())
}
