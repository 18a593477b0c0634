//! The worker of a deployed bridge: the ports over AWS, put together from the settings.

use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::bus::EventBridgeBus;
use crate::postpress::client::{ApiKey, Client, http_client, mozilla_roots};
use crate::postpress::rotating::{KeySecret, Rotating};
use crate::queue::SqsQueue;
use crate::secrets::StoredKey;
use crate::service::attempt;
use crate::settings::{Backend, KeySource, WorkerSettings};
use crate::store::DynamoStore;
use crate::time::Clock;
use crate::worker::{Worker, WorkerConfig};

/// How long the start may wait for the key: Lambda gives an initialisation ten seconds.
const KEY_MAX: Duration = Duration::from_secs(8);

/// The worker as it is deployed.
pub type DeployedWorker = Worker<Rotating<StoredKey>, DynamoStore, SqsQueue, EventBridgeBus>;

/// A worker, and the queue that its messages come from.
pub struct Deployed {
    /// The worker.
    pub worker: DeployedWorker,
    /// The queue.
    pub queue: SqsQueue,
}

/// Makes the clients, once for the process, and reads the key.
///
/// # Errors
/// If the backend is not AWS, a client cannot be made, or the key cannot be read.
pub async fn connect(settings: &WorkerSettings) -> anyhow::Result<Deployed> {
    let Backend::Aws { queue_url, table } = &settings.backend else {
        anyhow::bail!("BRIDGE_BACKEND is `memory`, but this needs the deployed queue and table; unset it");
    };
    let http = http_client(mozilla_roots())?;
    let aws = crate::aws::config(http.clone()).await;
    anyhow::ensure!(aws.region().is_some(), "no AWS region; set AWS_REGION, or a region in your AWS profile");

    let secret = match &settings.provider.key {
        KeySource::Plain(_) => None,
        KeySource::Secret { id, field } => {
            Some(StoredKey::new(aws_sdk_secretsmanager::Client::new(&aws), id.clone(), field.clone()))
        }
    };
    let api_key = match (&settings.provider.key, &secret) {
        (KeySource::Plain(key), _) => key.clone(),
        (KeySource::Secret { .. }, Some(secret)) => read_key(secret).await?,
        (KeySource::Secret { .. }, None) => anyhow::bail!("the key has neither a value nor a secret"),
    };
    let client = Client::over(http, settings.provider.base_url.clone(), api_key);
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&aws), queue_url.clone());
    let bus = EventBridgeBus::new(
        aws_sdk_eventbridge::Client::new(&aws),
        settings.event_bus.clone(),
        settings.event_source.clone(),
    );
    let store = DynamoStore::new(aws_sdk_dynamodb::Client::new(&aws), table.clone());
    let config = WorkerConfig {
        rules: settings.limits.rules(&settings.schedule),
        limits: settings.limits.clone(),
        event_source: settings.event_source.clone(),
    };
    let worker = Worker::new(Rotating::new(client, secret), store, queue.clone(), bus, Clock::System, config);
    Ok(Deployed { worker, queue })
}

async fn read_key(secret: &StoredKey) -> anyhow::Result<ApiKey> {
    let until = Instant::now() + KEY_MAX;
    attempt(until, async || secret.read().await).await.context("the API key cannot be read from Secrets Manager")
}
