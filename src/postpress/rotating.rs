//! A client whose key may be rotated: when the provider refuses the key, it is read again from its secret.

use std::cell::RefCell;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::client::{ApiKey, Client};
use super::{Answer, Failure, Provider, RetryClass};
use crate::ids::ChatId;
use crate::service::ServiceError;

/// How often the secret is read again at most: a key that is simply wrong would else be read at every call.
const READ_EVERY: Duration = Duration::from_secs(60);
/// How long reading it may take.
const READ_MAX: Duration = Duration::from_secs(3);

/// Where the key is kept.
pub trait KeySecret {
    /// Reads the key as it is now.
    fn read(&self) -> impl Future<Output = Result<ApiKey, ServiceError>>;
}

/// A [`Client`] and the secret that its key came from, if it came from one.
#[derive(Debug)]
pub struct Rotating<S> {
    client: RefCell<Client>,
    secret: Option<S>,
    /// When the secret was last read again. Calls that are refused together wait for one read.
    read_again_at: Mutex<Option<Instant>>,
}

impl<S: KeySecret> Rotating<S> {
    /// A client whose key was read from the secret just now.
    pub fn new(client: Client, secret: Option<S>) -> Self {
        Self { client: client.into(), secret, read_again_at: Mutex::new(None) }
    }

    /// Whether the key in force is another than the one that `refused` called with, reading it again if it is time to.
    async fn has_newer_key(&self, refused: &Client, until: Instant) -> bool {
        let Some(secret) = &self.secret else { return false };
        let until = until.min(Instant::now() + READ_MAX);
        if let Ok(mut read_again_at) = timeout_at(until, self.read_again_at.lock()).await {
            let is_time = read_again_at.is_none_or(|at| at.elapsed() >= READ_EVERY);
            if is_time && self.is_in_force(refused) {
                *read_again_at = Some(Instant::now());
                self.read_again(secret, until).await;
            }
        }
        !self.is_in_force(refused)
    }

    fn is_in_force(&self, client: &Client) -> bool {
        client.has_key_of(&self.client.borrow())
    }

    /// For the calls to come: the refused one is not made again, its run polls on.
    async fn read_again(&self, secret: &S, until: Instant) {
        match timeout_at(until, secret.read()).await {
            Ok(Ok(key)) => {
                tracing::info!("the provider refused the API key; it was read again from its secret");
                let client = self.client.borrow().with_api_key(key);
                self.client.replace(client);
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the provider refused the API key, and its secret cannot be read");
            }
            Err(_) => tracing::error!("the provider refused the API key, and reading its secret took too long"),
        }
    }
}

impl<S: KeySecret> Provider for Rotating<S> {
    /// A call that was refused with a key that is older than the secret's passes: it says nothing about the key in force.
    async fn sync(&self, chat: &ChatId, deadline: Duration) -> Answer {
        let until = Instant::now() + deadline;
        let client = self.client.borrow().clone();
        let mut answer = client.sync(chat, deadline).await;
        if let Answer::Failed(failure @ Failure { retry_class: RetryClass::Credentials, .. }) = &mut answer
            && self.has_newer_key(&client, until).await
        {
            failure.retry_class = RetryClass::Retryable;
        }
        answer
    }
}
