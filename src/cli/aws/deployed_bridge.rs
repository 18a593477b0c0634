//! A deployed bridge as the terminal reaches it: its queue and its run table.

use std::time::Duration;

use aws_config::SdkConfig;
use tokio::time::timeout;

use crate::ids::MessageId;
use crate::message::TriggerBody;
use crate::queue::{Outgoing, Queue, SqsQueue};
use crate::service::ServiceError;
use crate::store::{DynamoStore, RunTable};

/// How long sending may take.
const SEND_MAX: Duration = Duration::from_secs(20);

/// What the clients of a deployed bridge's parts are made of.
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

    /// Puts triggers on the queue. Each has a result of its own, in their order.
    ///
    /// # Errors
    /// If nothing was sent, for one fault that is not about any one trigger.
    pub(in crate::cli) async fn send(
        &self,
        queue_url: &str,
        triggers: &[TriggerBody],
    ) -> anyhow::Result<Vec<Result<MessageId, ServiceError>>> {
        let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&self.0), queue_url.to_owned());
        let messages: Vec<Outgoing> = triggers
            .iter()
            .map(|trigger| Outgoing { body: trigger.to_body(), delay: Duration::ZERO, trace: None })
            .collect();
        // Once only: a second try of a trigger that has no key, and did arrive, would be a second request.
        let sent = timeout(SEND_MAX, queue.send(&messages)).await.unwrap_or_else(|_| {
            let late = "SQS did not answer in time; the trigger may have arrived all the same";
            vec![Err(ServiceError::Transient(late.to_owned())); triggers.len()]
        });
        match fault_of_all(&sent) {
            Some(fault) => Err(anyhow::Error::new(fault).context("nothing was sent")),
            None => Ok(sent),
        }
    }
}

/// The one reason why none was sent, if it is the queue's or the network's.
fn fault_of_all<T>(sent: &[Result<T, ServiceError>]) -> Option<ServiceError> {
    let first = sent.first()?.as_ref().err()?;
    let is_of_all = sent.iter().all(|sent| sent.as_ref().err() == Some(first));
    (is_of_all && matches!(first, ServiceError::Misconfigured(_) | ServiceError::Unreachable(_))).then(|| first.clone())
}
