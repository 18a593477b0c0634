//! A deployed bridge as the terminal reaches it: its queue and its run table, through the clients of this build.

#[cfg(feature = "aws")]
pub(super) use with_aws::{DeployedBridge, provider};
#[cfg(not(feature = "aws"))]
pub(super) use without_aws::{DeployedBridge, provider};

use crate::settings::Runs;
use crate::store::RunTable;

/// The run table that `command` is to look at.
pub(super) async fn run_table(runs: &Runs, command: &str) -> anyhow::Result<RunTable> {
    match runs {
        Runs::File(path) => Ok(RunTable::File(path.clone())),
        Runs::Table(name) => Ok(DeployedBridge::connect(command).await?.table(name)),
    }
}

#[cfg(feature = "aws")]
mod with_aws {
    use std::time::Duration;

    use aws_config::SdkConfig;
    use tokio::time::timeout;

    use crate::ids::MessageId;
    use crate::message::TriggerBody;
    use crate::queue::{Outgoing, Queue, SqsQueue};
    use crate::service::ServiceError;
    use crate::store::{DynamoStore, RunTable};

    use super::fault_of_all;

    pub(in crate::cli) use crate::bootstrap::provider;

    /// How long sending may take.
    const SEND_MAX: Duration = Duration::from_secs(20);

    /// What the clients of a deployed bridge's parts are made of.
    pub(in crate::cli) struct DeployedBridge(SdkConfig);

    impl DeployedBridge {
        /// This build can reach one.
        #[expect(clippy::unnecessary_wraps, reason = "a build that has no AWS in it fails here")]
        pub(in crate::cli) fn is_within_reach(_command: &str) -> anyhow::Result<()> {
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
}

/// The one reason why none was sent, if it is the queue's or the network's.
#[cfg(feature = "aws")]
fn fault_of_all<T>(sent: &[Result<T, crate::service::ServiceError>]) -> Option<crate::service::ServiceError> {
    use crate::service::ServiceError::{Misconfigured, Unreachable};

    let first = sent.first()?.as_ref().err()?;
    let is_of_all = sent.iter().all(|sent| sent.as_ref().err() == Some(first));
    (is_of_all && matches!(first, Misconfigured(_) | Unreachable(_))).then(|| first.clone())
}

#[cfg(not(feature = "aws"))]
mod without_aws {
    use crate::ids::MessageId;
    use crate::message::TriggerBody;
    use crate::postpress::client::Client;
    use crate::service::ServiceError;
    use crate::settings::{ProviderSettings, SecretSource};
    use crate::store::RunTable;

    /// The provider, if its key is not kept in AWS.
    pub(in crate::cli) async fn provider(settings: &ProviderSettings) -> anyhow::Result<Client> {
        let SecretSource::Plain(key) = &settings.key else {
            anyhow::bail!(
                "POSTPRESS_API_KEY_SECRET_ID is set, but this build has no AWS in it to read it from; run it with \
                 `cargo run --features aws -- sync …`, or set POSTPRESS_API_KEY instead"
            )
        };
        Ok(Client::new(settings.base_url.clone(), key.clone())?)
    }

    /// There is none in this build.
    pub(in crate::cli) enum DeployedBridge {}

    impl DeployedBridge {
        /// Says how to get a build that can reach one.
        pub(in crate::cli) fn is_within_reach(command: &str) -> anyhow::Result<()> {
            Err(Self::out_of_reach(command))
        }

        #[expect(clippy::unused_async, reason = "a build that has AWS in it waits here")]
        pub(in crate::cli) async fn connect(command: &str) -> anyhow::Result<Self> {
            Err(Self::out_of_reach(command))
        }

        fn out_of_reach(command: &str) -> anyhow::Error {
            anyhow::anyhow!(
                "a deployed bridge (BRIDGE_TABLE, BRIDGE_QUEUE_URL) is on AWS, and this build has no AWS in it; \
                 run it with `cargo run --features aws -- {command} …`"
            )
        }

        pub(in crate::cli) fn table(&self, _name: &str) -> RunTable {
            match *self {}
        }

        #[expect(clippy::unused_async, reason = "a build that has AWS in it waits here")]
        pub(in crate::cli) async fn send(
            &self,
            _queue_url: &str,
            _triggers: &[TriggerBody],
        ) -> anyhow::Result<Vec<Result<MessageId, ServiceError>>> {
            match *self {}
        }
    }
}
