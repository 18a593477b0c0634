//! Builds the worker and the webhook over AWS from the settings.

use std::future::ready;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use aws_config::SdkConfig;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::aws;
use crate::bus::EventBridgeBus;
use crate::credentials::webhook::{Credentials, InvalidSecret, SigningSecrets, Tokens};
use crate::credentials::{Rotating, SecretStore};
use crate::postpress::client::{ApiKey, http_client, mozilla_roots};
use crate::postpress::workspaces::{WorkspaceClients, Workspaces};
use crate::queue::SqsQueue;
use crate::secrets::StoredSecret;
use crate::service::{Misconfiguration, ServiceError, retry_until};
use crate::settings::{Access, Backend, ProviderSettings, SecretRef, SecretSource, WebhookSettings, WorkerSettings};
use crate::store::DynamoStore;
use crate::time::Clock;
use crate::webhook::{Auth, Webhook};
use crate::worker::Worker;

/// Time limit of reading secrets at start; Lambda's init phase has ten seconds.
const SECRET_MAX: Duration = Duration::from_secs(8);

/// The worker over AWS.
pub type AwsWorker = Worker<AwsProvider, DynamoStore, SqsQueue, EventBridgeBus>;

/// The provider, with a client for each workspace.
pub type AwsProvider = WorkspaceClients<StoredSecret>;

/// The webhook over AWS.
pub type AwsWebhook = Webhook<DynamoStore, SqsQueue, StoredCredentials>;

/// A worker with its queue and table.
pub struct WorkerParts {
    /// The worker.
    pub worker: AwsWorker,
    /// The queue that its messages come from.
    pub queue: SqsQueue,
    /// The run table.
    pub store: DynamoStore,
}

/// Creates the clients and the worker, once per process, and reads the key. `connect` is [`aws::connect`], or
/// [`aws::connect_function`] on Lambda.
///
/// # Errors
/// If the backend is not AWS, a client cannot be created, or the key cannot be read.
pub async fn worker(
    settings: &WorkerSettings,
    connect: impl AsyncFnOnce(reqwest::Client) -> Result<SdkConfig, Misconfiguration>,
) -> anyhow::Result<WorkerParts> {
    let Backend::Aws { queue_url, table } = &settings.backend else {
        anyhow::bail!("BRIDGE_BACKEND is `memory`, but this needs the deployed queue and table; unset it");
    };
    let http = http_client(mozilla_roots())?;
    let aws = connect(http.clone()).await?;
    let provider = provider_over(http, &settings.provider, ready(Ok(aws.clone()))).await?;
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&aws), queue_url.clone());
    let store = DynamoStore::new(aws_sdk_dynamodb::Client::new(&aws), table.clone());
    let bus = EventBridgeBus::new(aws, settings.event_bus.clone(), settings.config.event_source.clone());
    let worker = Worker::new(provider, store.clone(), queue.clone(), bus, Clock::System, settings.config.clone());
    Ok(WorkerParts { worker, queue, store })
}

/// Creates the provider's client, for a program that needs AWS only if a key is stored there.
///
/// # Errors
/// If the client cannot be created, or a key cannot be read.
pub async fn provider(settings: &ProviderSettings) -> anyhow::Result<AwsProvider> {
    let http = http_client(mozilla_roots())?;
    provider_over(http.clone(), settings, aws::connect(http)).await
}

/// Awaits `aws` only if a key is stored there.
async fn provider_over(
    http: reqwest::Client,
    settings: &ProviderSettings,
    aws: impl Future<Output = Result<SdkConfig, Misconfiguration>>,
) -> anyhow::Result<AwsProvider> {
    let ProviderSettings { base_url, key, workspaces, pace } = settings;
    let (key, workspaces) = match (key, workspaces) {
        (SecretSource::Plain(key), None) => ((key.clone(), None), None),
        (key, workspaces) => {
            let client = aws_sdk_secretsmanager::Client::new(&aws.await?);
            // Boxed, because the compiler limits how deeply futures may be nested.
            tokio::try_join!(Box::pin(api_key(&client, key)), Box::pin(workspaces_in(&client, workspaces.as_ref())))?
        }
    };
    Ok(WorkspaceClients::new(http, base_url.clone(), key, workspaces).with_pace(*pace))
}

/// The key, and the secret that it is read from.
async fn api_key(
    client: &aws_sdk_secretsmanager::Client,
    key: &SecretSource<ApiKey>,
) -> anyhow::Result<(ApiKey, Option<StoredSecret>)> {
    match key {
        SecretSource::Plain(key) => Ok((key.clone(), None)),
        SecretSource::Stored(place) => {
            let (key, secret) =
                read_at_start(client, place).await.context("cannot read the API key from Secrets Manager")?;
            Ok((key, Some(secret)))
        }
    }
}

/// The workspaces, and the secret that they are read from.
async fn workspaces_in(
    client: &aws_sdk_secretsmanager::Client,
    place: Option<&SecretRef>,
) -> anyhow::Result<Option<(Rc<Workspaces>, StoredSecret)>> {
    let Some(place) = place else { return Ok(None) };
    read_at_start(client, place).await.context("cannot read the workspaces from Secrets Manager").map(Some)
}

async fn read_at_start<T>(
    client: &aws_sdk_secretsmanager::Client,
    place: &SecretRef,
) -> Result<(T, StoredSecret), ServiceError>
where
    StoredSecret: SecretStore<T>,
{
    let secret = StoredSecret::new(client.clone(), place.clone());
    let value = retry_until(Instant::now() + SECRET_MAX, async || secret.read().await).await?;
    Ok((value, secret))
}

/// Creates the webhook and its clients, once per process, and reads its secrets.
///
/// # Errors
/// If a client cannot be created, or a secret cannot be read.
pub async fn webhook(settings: &WebhookSettings) -> anyhow::Result<AwsWebhook> {
    let aws = aws::connect_function(aws::http_client()?).await?;
    let auth = match &settings.access {
        Access::Iam => Auth::Iam,
        Access::Credentials { signing, tokens } => {
            let client = aws_sdk_secretsmanager::Client::new(&aws);
            let store = StoredCredentials::new(client, signing.clone(), tokens.clone());
            let read = retry_until(Instant::now() + SECRET_MAX, async || store.read().await).await;
            let credentials = read.context("the webhook's secret or token cannot be used")?;
            Auth::Credentials(Rotating::new("webhook credentials", credentials, store.is_stored().then_some(store)))
        }
    };
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&aws), settings.queue_url.clone());
    let store = DynamoStore::new(aws_sdk_dynamodb::Client::new(&aws), settings.table.clone());
    Ok(Webhook::new(store, queue, auth, Clock::System, settings.event_source.clone()))
}

/// The webhook's signing secret and token, each from the environment or from Secrets Manager.
#[derive(Debug)]
pub struct StoredCredentials {
    client: aws_sdk_secretsmanager::Client,
    signing: Option<SecretSource<SigningSecrets>>,
    tokens: Option<SecretSource<Tokens>>,
}

impl StoredCredentials {
    /// Credentials from these sources.
    pub fn new(
        client: aws_sdk_secretsmanager::Client,
        signing: Option<SecretSource<SigningSecrets>>,
        tokens: Option<SecretSource<Tokens>>,
    ) -> Self {
        Self { client, signing, tokens }
    }

    /// Whether they are in Secrets Manager, so that they can change while the process runs.
    pub fn is_stored(&self) -> bool {
        matches!(self.signing, Some(SecretSource::Stored(_))) || matches!(self.tokens, Some(SecretSource::Stored(_)))
    }

    async fn read_from<T: Clone>(
        &self,
        source: Option<&SecretSource<T>>,
        parse: fn(&SecretString) -> Result<T, InvalidSecret>,
    ) -> Result<Option<T>, ServiceError> {
        match source {
            Some(SecretSource::Stored(place)) => {
                StoredSecret::new(self.client.clone(), place.clone()).read_as(parse).await.map(Some)
            }
            Some(SecretSource::Plain(secret)) => Ok(Some(secret.clone())),
            None => Ok(None),
        }
    }
}

impl SecretStore<Credentials> for StoredCredentials {
    async fn read(&self) -> Result<Credentials, ServiceError> {
        let signing = self.read_from(self.signing.as_ref(), SigningSecrets::parse).await?;
        let tokens = self.read_from(self.tokens.as_ref(), Tokens::parse).await?;
        let same = |error| ServiceError::Permanent(format!("the webhook's signing secret and its token {error}"));
        Credentials::new(signing, tokens).map_err(same)
    }
}
