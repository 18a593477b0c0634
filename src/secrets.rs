//! Secrets Manager: a secret as a plain string, or as a field of a JSON object.

use std::fmt;

use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;

use crate::aws::service_error;
use crate::postpress::client::ApiKey;
use crate::postpress::rotating::KeySecret;
use crate::service::ServiceError;
use crate::settings::SecretRef;

/// A secret in Secrets Manager.
#[derive(Debug, Clone)]
pub struct StoredSecret {
    client: Client,
    place: SecretRef,
}

impl StoredSecret {
    /// The secret that is kept there.
    pub fn new(client: Client, place: SecretRef) -> Self {
        Self { client, place }
    }

    /// Reads the secret as it is now, and what it holds with `parse`.
    ///
    /// # Errors
    /// If it cannot be read, or is not what `parse` wants. Nothing shows what it holds.
    pub async fn read_as<T, E: fmt::Display>(
        &self,
        parse: impl FnOnce(&SecretString) -> Result<T, E>,
    ) -> Result<T, ServiceError> {
        let SecretRef { variable, id, field } = &self.place;
        let request = self.client.get_secret_value().secret_id(id);
        // Says where to look, which Secrets Manager does not: "can't find the specified secret".
        let what = format!("GetSecretValue of the secret in {variable}");
        let output = request.send().await.map_err(|error| service_error(&what, &error))?;
        let unusable = |why: String| ServiceError::Refused(format!("the secret in {variable} cannot be used: {why}"));
        let text = output.secret_string.ok_or_else(|| unusable("it is binary, not text".to_owned()))?;
        let secret = match field {
            Some(field) => field_of(&text, field).map_err(unusable)?,
            None => SecretString::from(text),
        };
        parse(&secret).map_err(|error| unusable(error.to_string()))
    }
}

impl KeySecret for StoredSecret {
    async fn read(&self) -> Result<ApiKey, ServiceError> {
        self.read_as(ApiKey::parse).await
    }
}

/// The text of a field of a JSON object. No error shows any of the secret.
fn field_of(text: &str, field: &str) -> Result<SecretString, String> {
    let object: serde_json::Value = serde_json::from_str(text).map_err(|_| "it is not JSON".to_owned())?;
    match object.get(field).and_then(serde_json::Value::as_str) {
        Some(text) => Ok(SecretString::from(text)),
        None => Err(format!("it is no JSON object with a text in its field `{field}`")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_field_of_a_json_secret_is_read() {
        let text = r#"{"key": "pp_live_1", "port": 5}"#;
        assert_eq!(field_of(text, "key").unwrap().expose_secret(), "pp_live_1");
    }

    #[test]
    fn no_error_shows_the_secret() {
        for (text, field) in [("pp_live_hush", "key"), (r#"{"key": "pp_live_hush"}"#, "other"), ("\"hush\"", "key")] {
            let error = field_of(text, field).unwrap_err();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
