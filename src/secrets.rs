//! Secrets Manager: the provider's key, as a plain string or as a field of a JSON object.

use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;

use crate::aws::service_error;
use crate::postpress::client::ApiKey;
use crate::postpress::rotating::KeySecret;
use crate::service::ServiceError;

/// Says where to look, which Secrets Manager does not: "can't find the specified secret".
const GET_SECRET_VALUE: &str = "GetSecretValue of the secret in POSTPRESS_API_KEY_SECRET_ID";

/// An API key in Secrets Manager.
#[derive(Debug, Clone)]
pub struct StoredKey {
    client: Client,
    id: String,
    field: Option<String>,
}

impl StoredKey {
    /// The key in the secret of this name or ARN, or in this field of it.
    pub fn new(client: Client, id: String, field: Option<String>) -> Self {
        Self { client, id, field }
    }
}

impl KeySecret for StoredKey {
    async fn read(&self) -> Result<ApiKey, ServiceError> {
        let request = self.client.get_secret_value().secret_id(&self.id);
        let output = request.send().await.map_err(|error| service_error(GET_SECRET_VALUE, &error))?;
        let text = output.secret_string.ok_or_else(|| unusable("it is binary, not text"))?;
        let key = match &self.field {
            Some(field) => field_of(&text, field)?,
            None => SecretString::from(text),
        };
        ApiKey::parse(&key).map_err(|error| unusable(&error.to_string()))
    }
}

/// The text of a field of a JSON object. No error shows any of the secret.
fn field_of(text: &str, field: &str) -> Result<SecretString, ServiceError> {
    let object: serde_json::Value = serde_json::from_str(text).map_err(|_| unusable("it is not JSON"))?;
    match object.get(field).and_then(serde_json::Value::as_str) {
        Some(text) => Ok(SecretString::from(text)),
        None => Err(unusable(&format!("it is no JSON object with a text in its field `{field}`"))),
    }
}

fn unusable(why: &str) -> ServiceError {
    ServiceError::Refused(format!("the secret in POSTPRESS_API_KEY_SECRET_ID cannot be used: {why}"))
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
            let error = field_of(text, field).unwrap_err().to_string();
            assert!(error.contains("POSTPRESS_API_KEY_SECRET_ID") && !error.contains("hush"), "{error}");
        }
    }
}
