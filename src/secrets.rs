//! Secrets in Secrets Manager: a plain string, or a field of a JSON object.

use std::fmt;

use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;

use crate::aws::{Resource, service_error};
use crate::credentials::{SecretStore, secret_text};
use crate::postpress::client::ApiKey;
use crate::service::{Misconfiguration, ServiceError};
use crate::settings::SecretRef;

/// A secret in Secrets Manager.
#[derive(Debug, Clone)]
pub struct StoredSecret {
    client: Client,
    place: SecretRef,
}

impl StoredSecret {
    /// The secret at this place.
    pub fn new(client: Client, place: SecretRef) -> Self {
        Self { client, place }
    }

    /// Reads the secret as it is now and parses it with `parse`.
    ///
    /// # Errors
    /// If it cannot be read or parsed. No error shows its value.
    pub async fn read_as<T, E: fmt::Display>(
        &self,
        parse: impl FnOnce(&SecretString) -> Result<T, E>,
    ) -> Result<T, ServiceError> {
        let SecretRef { variable, id, field } = &self.place;
        let request = self.client.get_secret_value().secret_id(id);
        // Names the variable, since Secrets Manager says only "can't find the specified secret".
        let what = format!("GetSecretValue of the secret in {variable}");
        let output = request.send().await.map_err(|error| service_error(&what, Resource::Secret(variable), &error))?;
        let unusable = |why: String| {
            let (why, remedy) = why.split_once("; ").unwrap_or((&why, "store its text, or check the variable"));
            let found = format!("the secret in {variable} cannot be used: {why}");
            ServiceError::from(Misconfiguration::new(found, remedy))
        };
        let text = output.secret_string.ok_or_else(|| unusable("it is binary, not text".to_owned()))?;
        let secret = match field {
            Some(field) => secret_text::field(&text, field).map_err(unusable)?,
            None => {
                secret_text::bare(&text).map_err(|error| unusable(error.stored()))?;
                text
            }
        };
        parse(&SecretString::from(secret)).map_err(|error| unusable(error.to_string()))
    }
}

impl SecretStore<ApiKey> for StoredSecret {
    async fn read(&self) -> Result<ApiKey, ServiceError> {
        self.read_as(ApiKey::parse).await
    }
}
