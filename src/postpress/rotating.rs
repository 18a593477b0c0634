//! A client whose key may be rotated: when the provider refuses the key, it is read again from its secret.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::client::{ApiKey, Client};
use super::{Answer, Disposition, Failure, Provider};
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
    read_again_at: Cell<Option<Instant>>,
}

impl<S: KeySecret> Rotating<S> {
    /// A client whose key was read from the secret just now.
    pub fn new(client: Client, secret: Option<S>) -> Self {
        Self { client: client.into(), secret, read_again_at: Cell::new(None) }
    }

    /// For the calls to come: the refused one is not made again, its run polls on.
    async fn read_again(&self, until: Instant) {
        let is_too_soon = self.read_again_at.get().is_some_and(|at| at.elapsed() < READ_EVERY);
        let Some(secret) = self.secret.as_ref().filter(|_| !is_too_soon) else { return };
        self.read_again_at.set(Some(Instant::now()));
        match timeout_at(until.min(Instant::now() + READ_MAX), secret.read()).await {
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
    async fn sync(&self, chat: &ChatId, deadline: Duration) -> Answer {
        let until = Instant::now() + deadline;
        let client = self.client.borrow().clone();
        let answer = client.sync(chat, deadline).await;
        if matches!(&answer, Answer::Failed(Failure { disposition: Disposition::Credentials, .. })) {
            self.read_again(until).await;
        }
        answer
    }
}
