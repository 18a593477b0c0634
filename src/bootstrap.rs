//! The programs of a deployed bridge: the ports over AWS, put together from the settings.

use std::future::ready;
use std::time::Duration;

use anyhow::Context;
use aws_config::SdkConfig;
use tokio::time::Instant;

use crate::aws;
use crate::bus::EventBridgeBus;
use crate::credentials::webhook::{Credentials, SigningSecrets, Tokens};
use crate::credentials::{Rotating, SecretStore};
use crate::postpress::client::{ApiKey, Client, http_client, mozilla_roots};
use crate::postpress::rotating::RotatingClient;
use crate::queue::SqsQueue;
use crate::secrets::StoredSecret;
use crate::service::{Misconfiguration, ServiceError, retry_until};
use crate::settings::{Access, Backend, ProviderSettings, SecretSource, WebhookSettings, WorkerSettings};
use crate::store::DynamoStore;
use crate::time::Clock;
use crate::webhook::{Auth, Webhook};
use crate::worker::Worker;

/// How long the start may wait for a secret: Lambda gives an initialisation ten seconds.
const SECRET_MAX: Duration = Duration::from_secs(8);

/// The worker as it is deployed.
pub type AwsWorker = Worker<RotatingClient<StoredSecret>, DynamoStore, SqsQueue, EventBridgeBus>;

/// The webhook as it is deployed.
pub type AwsWebhook = Webhook<DynamoStore, SqsQueue, StoredCredentials>;

/// A worker, and the queue that its messages come from.
pub struct WorkerParts {
    /// The worker.
    pub worker: AwsWorker,
    /// The queue.
    pub queue: SqsQueue,
    /// The run table.
    pub store: DynamoStore,
}

/// Makes the clients, once for the process, and reads the key.
///
/// # Errors
/// If the backend is not AWS, a client cannot be made, or the key cannot be read.
pub async fn worker(settings: &WorkerSettings) -> anyhow::Result<WorkerParts> {
    let Backend::Aws { queue_url, table } = &settings.backend else {
        anyhow::bail!("BRIDGE_BACKEND is `memory`, but this needs the deployed queue and table; unset it");
    };
    let http = http_client(mozilla_roots())?;
    let aws = aws::connect(http.clone()).await?;

    let provider = provider_over(http, &settings.provider, ready(Ok(aws.clone()))).await?;
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&aws), queue_url.clone());
    let bus = EventBridgeBus::new(
        aws_sdk_eventbridge::Client::new(&aws),
        settings.event_bus.clone(),
        settings.config.event_source.clone(),
    );
    let store = DynamoStore::new(aws_sdk_dynamodb::Client::new(&aws), table.clone());
    let worker = Worker::new(provider, store.clone(), queue.clone(), bus, Clock::System, settings.config.clone());
    Ok(WorkerParts { worker, queue, store })
}

/// The provider, for a program that needs nothing of AWS but perhaps its key.
///
/// # Errors
/// If the client cannot be made, or the key cannot be read.
pub async fn provider(settings: &ProviderSettings) -> anyhow::Result<RotatingClient<StoredSecret>> {
    let http = http_client(mozilla_roots())?;
    provider_over(http.clone(), settings, aws::connect(http)).await
}

/// `aws` is waited for only where the key is kept there.
async fn provider_over(
    http: reqwest::Client,
    settings: &ProviderSettings,
    aws: impl Future<Output = Result<SdkConfig, Misconfiguration>>,
) -> anyhow::Result<RotatingClient<StoredSecret>> {
    let (api_key, secret) = match &settings.key {
        SecretSource::Plain(key) => (key.clone(), None),
        SecretSource::Stored(place) => {
            let secret = StoredSecret::new(aws_sdk_secretsmanager::Client::new(&aws.await?), place.clone());
            (read_key(&secret).await?, Some(secret))
        }
    };
    Ok(RotatingClient::new(Client::over(http, settings.base_url.clone(), api_key), secret))
}

async fn read_key(secret: &StoredSecret) -> anyhow::Result<ApiKey> {
    let until = Instant::now() + SECRET_MAX;
    retry_until(until, async || secret.read().await).await.context("the API key cannot be read from Secrets Manager")
}

/// Makes the webhook and its clients, once for the process, and reads its secrets.
///
/// # Errors
/// If a client cannot be made, or a secret cannot be read.
pub async fn webhook(settings: &WebhookSettings) -> anyhow::Result<AwsWebhook> {
    let aws = aws::connect(aws::http_client()?).await?;
    let auth = match &settings.access {
        Access::Iam => Auth::Iam,
        Access::Credentials { signing, tokens } => {
            let client = aws_sdk_secretsmanager::Client::new(&aws);
            let store = StoredCredentials::new(&client, signing.clone(), tokens.clone());
            let until = Instant::now() + SECRET_MAX;
            let read = retry_until(until, async || store.read().await).await;
            let credentials = read.context("the webhook's secret or token cannot be used")?;
            Auth::Credentials(Rotating::new("webhook credentials", credentials, store.is_stored().then_some(store)))
        }
    };
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&aws), settings.queue_url.clone());
    let store = DynamoStore::new(aws_sdk_dynamodb::Client::new(&aws), settings.table.clone());
    Ok(Webhook::new(store, queue, auth, Clock::System, settings.event_source.clone()))
}

/// The webhook's secret and its token, each in the environment or in Secrets Manager.
#[derive(Debug)]
pub struct StoredCredentials {
    signing: Option<Kept<SigningSecrets>>,
    tokens: Option<Kept<Tokens>>,
}

/// A secret that is known, or where it is kept.
#[derive(Debug)]
enum Kept<T> {
    Here(T),
    Stored(StoredSecret),
}

impl<T> Kept<T> {
    fn new(client: &aws_sdk_secretsmanager::Client, source: SecretSource<T>) -> Self {
        match source {
            SecretSource::Plain(secret) => Self::Here(secret),
            SecretSource::Stored(place) => Self::Stored(StoredSecret::new(client.clone(), place)),
        }
    }
}

impl StoredCredentials {
    /// Credentials that come from there.
    pub fn new(
        client: &aws_sdk_secretsmanager::Client,
        signing: Option<SecretSource<SigningSecrets>>,
        tokens: Option<SecretSource<Tokens>>,
    ) -> Self {
        let signing = signing.map(|source| Kept::new(client, source));
        Self { signing, tokens: tokens.map(|source| Kept::new(client, source)) }
    }

    /// Whether they can change while the process runs.
    pub fn is_stored(&self) -> bool {
        matches!(self.signing, Some(Kept::Stored(_))) || matches!(self.tokens, Some(Kept::Stored(_)))
    }
}

impl SecretStore<Credentials> for StoredCredentials {
    async fn read(&self) -> Result<Credentials, ServiceError> {
        let signing = match &self.signing {
            Some(Kept::Stored(secret)) => Some(secret.read_as(SigningSecrets::parse).await?),
            Some(Kept::Here(signing)) => Some(signing.clone()),
            None => None,
        };
        let tokens = match &self.tokens {
            Some(Kept::Stored(secret)) => Some(secret.read_as(Tokens::parse).await?),
            Some(Kept::Here(tokens)) => Some(tokens.clone()),
            None => None,
        };
        let same = |error| ServiceError::Permanent(format!("the webhook's signing secret and its token {error}"));
        Credentials::new(signing, tokens).map_err(same)
    }
}
