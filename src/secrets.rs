//! Secrets in Secrets Manager: a plain string, or a field of a JSON object.

use std::fmt;
use std::rc::Rc;

use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;

use crate::aws::{Resource, service_error};
use crate::credentials::{SecretStore, secret_text};
use crate::postpress::client::ApiKey;
use crate::postpress::workspaces::Workspaces;
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
        let text = self.text().await?;
        let secret = match &self.place.field {
            Some(_) => text,
            None => secret_text::bare(&text).map(|()| text).map_err(|error| self.unusable(&error.stored()))?,
        };
        parse(&SecretString::from(secret)).map_err(|error| self.unusable(&error.to_string()))
    }

    /// The text of the secret, or of its field.
    async fn text(&self) -> Result<String, ServiceError> {
        let SecretRef { variable, id, field } = &self.place;
        let request = self.client.get_secret_value().secret_id(id);
        // Names the variable, since Secrets Manager says only "can't find the specified secret".
        let what = format!("GetSecretValue of the secret in {variable}");
        let output = request.send().await.map_err(|error| service_error(&what, Resource::Secret(variable), &error))?;
        let text = output.secret_string.ok_or_else(|| self.unusable("it is binary, not text"))?;
        match field {
            Some(field) => secret_text::field(&text, field).map_err(|why| self.unusable(&why)),
            None => Ok(text),
        }
    }

    fn unusable(&self, why: &str) -> ServiceError {
        let (why, remedy) = why.split_once("; ").unwrap_or((why, "store its text, or check the variable"));
        let found = format!("the secret in {} cannot be used: {why}", self.place.variable);
        Misconfiguration::new(found, remedy).into()
    }

    /// Reads the workspaces, of which some may be unusable.
    ///
    /// # Errors
    /// If the secret cannot be read, or is not a JSON object. No error shows its value.
    pub async fn workspaces(&self) -> Result<Workspaces, ServiceError> {
        Workspaces::parse(&self.text().await?).map_err(|why| self.unusable(&why))
    }
}

impl SecretStore<Rc<Workspaces>> for StoredSecret {
    /// Logs what is wrong with the workspaces that cannot be used.
    async fn read(&self) -> Result<Rc<Workspaces>, ServiceError> {
        let workspaces = self.workspaces().await?;
        for fault in workspaces.faults() {
            tracing::error!(%fault, secret = self.place.variable, "workspace cannot be used; fix its entry in the secret");
        }
        Ok(Rc::new(workspaces))
    }
}

impl SecretStore<ApiKey> for StoredSecret {
    async fn read(&self) -> Result<ApiKey, ServiceError> {
        self.read_as(ApiKey::parse).await
    }
}
