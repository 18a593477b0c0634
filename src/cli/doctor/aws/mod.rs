//! What is deployed: asked with describes only, all at once, each with a time limit of its own.

use std::time::Duration;

use aws_config::SdkConfig;
use tokio::time::timeout;

use super::finding::Finding;
use super::{Looked, not_in_aws};
use crate::credentials::SecretStore;
use crate::deployed::StoredCredentials;
use crate::postpress::client::ApiKey;
use crate::secrets::StoredSecret;
use crate::service::ServiceError;
use crate::settings::{Access, Examined, Place, SecretSource};

mod asked;
mod bus;
mod queue;
mod table;

const AWS: &str = "AWS";
const SECRET: &str = "secret";
const WEBHOOK: &str = "webhook";

/// How long the secret may take.
const SECRET_MAX: Duration = Duration::from_secs(5);

/// Looks at all of AWS that the settings name.
pub(super) async fn look(settings: &Examined, http: &reqwest::Client) -> Looked {
    let plain = match &settings.key {
        Some(SecretSource::Plain(key)) => Some(key.clone()),
        _ => None,
    };
    let secret = match &settings.key {
        Some(SecretSource::Stored(place)) => Some(place.clone()),
        _ => None,
    };
    if secret.is_none() && !matches!(settings.place, Place::Aws { .. }) {
        return Looked { key: plain, account: Vec::new(), deployed: not_in_aws(&settings.place) };
    }
    let aws = match crate::aws::connect(http.clone()).await {
        Ok(aws) => aws,
        Err(fault) => {
            let skipped = Finding::skipped(AWS, "so nothing in AWS is looked at");
            return Looked { key: plain, account: vec![asked::misconfigured(AWS, fault)], deployed: vec![skipped] };
        }
    };
    let mut account = vec![of_account(&aws)];
    let stored = secret.map(|place| StoredSecret::new(aws_sdk_secretsmanager::Client::new(&aws), place));
    let (stored, deployed, webhook) = tokio::join!(key_in(stored), deployed(settings, &aws), webhook(settings, &aws));
    let key = match stored {
        Some((key, finding)) => {
            account.push(finding);
            key
        }
        None => plain,
    };
    account.extend(webhook);
    Looked { key, account, deployed }
}

/// Region and credentials, without which nothing can be asked.
fn of_account(aws: &SdkConfig) -> Finding {
    let region = aws.region().map(ToString::to_string).unwrap_or_default();
    let endpoint = aws.endpoint_url().map(|url| format!(", at AWS_ENDPOINT_URL {url}")).unwrap_or_default();
    Finding::well(AWS, format!("there are credentials; the region is {region}{endpoint}"))
}

/// The key in its secret, and what there is to say of it; the key itself is never shown.
async fn key_in(secret: Option<StoredSecret>) -> Option<(Option<ApiKey>, Finding)> {
    let read = timeout(SECRET_MAX, secret?.read()).await;
    let read = read.unwrap_or_else(|_| Err(ServiceError::Transient("Secrets Manager took too long".to_owned())));
    Some(match read {
        Ok(key) => (Some(key), Finding::well(SECRET, "it can be read, and holds a key of the right form")),
        Err(error) => (None, of_secret_error(SECRET, error)),
    })
}

/// The webhook's secrets, where they are stored.
async fn webhook(settings: &Examined, aws: &SdkConfig) -> Option<Finding> {
    let Some(Access::Credentials { signing, tokens }) = &settings.webhook else { return None };
    let client = aws_sdk_secretsmanager::Client::new(aws);
    let store = StoredCredentials::new(&client, signing.clone(), tokens.clone());
    if !store.is_stored() {
        return None;
    }
    let read = timeout(SECRET_MAX, store.read()).await;
    Some(match read.unwrap_or_else(|_| Err(ServiceError::Transient("Secrets Manager took too long".to_owned()))) {
        Ok(_) => Finding::well(WEBHOOK, "its secret and token can be read, and have the right form"),
        Err(error) => of_secret_error(WEBHOOK, error),
    })
}

fn of_secret_error(check: &'static str, error: ServiceError) -> Finding {
    match error {
        ServiceError::Misconfigured(fault) if fault.found.contains("AccessDenied") => {
            asked::denied(check, "secretsmanager:GetSecretValue (and kms:Decrypt, for a key of your own)")
        }
        ServiceError::Misconfigured(fault) => asked::misconfigured(check, fault),
        error if error.is_retryable() => {
            Finding::fault(check, error.to_string(), "run `doctor` again, once that is over")
        }
        error => {
            let remedy = "fix the secret, or the variable that names it: `ID`, or `ID#field` if it is a JSON object";
            Finding::fault(check, error.to_string(), remedy)
        }
    }
}

async fn deployed(settings: &Examined, aws: &SdkConfig) -> Vec<Finding> {
    let Place::Aws { queue_url, table } = &settings.place else { return not_in_aws(&settings.place) };
    let unset = |check| vec![Finding::skipped(check, "it is not set, or cannot be used; see the settings")];
    let queue = async {
        match queue_url {
            Some(url) => queue::look(&aws_sdk_sqs::Client::new(aws), url, &settings.limits).await,
            None => unset(queue::QUEUE),
        }
    };
    let table = async {
        match table {
            Some(table) => table::look(&aws_sdk_dynamodb::Client::new(aws), table).await,
            None => unset(table::TABLE),
        }
    };
    let client = aws_sdk_eventbridge::Client::new(aws);
    let bus = bus::look(&client, &settings.event_bus, &settings.event_source);
    let (queue, table, bus) = tokio::join!(queue, table, bus);
    [queue, table, bus].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::service::Misconfiguration;

    #[test]
    fn a_secret_that_may_not_be_read_is_no_fault_of_the_secret() {
        let finding = |found: &str| of_secret_error(SECRET, Misconfiguration::new(found, "check it").into());
        let denied = finding("GetSecretValue of the secret in X: AccessDeniedException: not authorized");
        assert_eq!(denied.result, Verdict::Unknown);
        let missing = finding("GetSecretValue of the secret in X: ResourceNotFoundException: there is no such secret");
        assert_eq!(missing.result, Verdict::Fault);
    }
}
