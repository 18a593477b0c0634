//! A client whose key may be rotated: when the provider refuses the key, the client reads it again from its store.

use std::time::Duration;

use tokio::time::Instant;

use super::client::{ApiKey, Client};
use super::{Answer, Failure, Provider, RetryClass, SyncCall};
use crate::credentials::{Rotating, SecretStore};

/// A [`Client`] and the store that its key came from, if it came from one.
#[derive(Debug)]
pub struct RotatingClient<S> {
    client: Client,
    key: Rotating<ApiKey, S>,
}

impl<S: SecretStore<ApiKey>> RotatingClient<S> {
    /// A client whose key was just read from the store.
    pub fn new(client: Client, store: Option<S>) -> Self {
        let key = Rotating::new("API key", client.api_key().clone(), store);
        Self { client, key }
    }

    /// A client with the current key, for calls that start nothing.
    pub fn client(&self) -> Client {
        self.client.with_api_key(self.key.current())
    }
}

impl<S: SecretStore<ApiKey>> Provider for RotatingClient<S> {
    /// A refusal of a key that is older than the stored one is retryable, because it says nothing about the stored one. The
    /// call is not repeated here; its run polls again.
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        let until = Instant::now() + deadline;
        let key = self.key.current();
        let mut answer = self.client.with_api_key(key.clone()).sync(call, deadline).await;
        if let Answer::Failed(failure @ Failure { retry_class: RetryClass::Credentials, .. }) = &mut answer
            && self.key.newer_than(&key, until).await.is_some()
        {
            failure.retry_class = RetryClass::Retryable;
        }
        answer
    }
}
