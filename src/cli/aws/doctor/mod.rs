//! Inspects the deployment with describe calls only, concurrently, each with its own time limit.

use std::time::Duration;

use aws_config::SdkConfig;
use tokio::time::timeout;

use crate::bootstrap::StoredCredentials;
use crate::cli::finding::{Finding, Inspection};
use crate::credentials::SecretStore;
use crate::postpress::client::ApiKey;
use crate::postpress::workspaces::Workspaces;
use crate::secrets::StoredSecret;
use crate::service::ServiceError;
use crate::settings::{Access, Deployment, SecretSource, SettingsDiagnosis};

mod aws_query;
mod bus;
mod queue;
mod table;

const AWS: &str = "AWS";
const SECRET: &str = "secret";
const WORKSPACES: &str = "workspaces";
const WEBHOOK: &str = "webhook";

/// Time limit of reading a secret.
const SECRET_MAX: Duration = Duration::from_secs(5);

/// Inspects everything in AWS that the settings name.
pub(in crate::cli) async fn inspect(settings: &SettingsDiagnosis, http: &reqwest::Client) -> Inspection {
    let mut inspection = Inspection::default();
    let secret = match settings.key.clone() {
        Some(SecretSource::Stored(place)) => Some(place),
        Some(SecretSource::Plain(key)) => {
            inspection.key = Some(key);
            None
        }
        None => None,
    };
    let is_deployed = matches!(settings.deployment, Deployment::Aws { .. });
    let workspaces = settings.workspaces.clone();
    if secret.is_none() && workspaces.is_none() && !is_deployed {
        return inspection;
    }
    let aws = match crate::aws::connect(http.clone()).await {
        Ok(aws) => aws,
        Err(fault) => {
            inspection.account.push(aws_query::misconfigured(AWS, fault));
            if is_deployed {
                inspection.deployment.push(Finding::skipped(AWS, "nothing in AWS can be inspected"));
            }
            return inspection;
        }
    };
    let secrets = aws_sdk_secretsmanager::Client::new(&aws);
    let [secret, workspaces] = [secret, workspaces].map(|place| Some(StoredSecret::new(secrets.clone(), place?)));
    let (stored, workspaces, deployment, webhook) =
        tokio::join!(key_in(secret), workspaces_in(workspaces), deployed(settings, &aws), webhook(settings, &aws));
    inspection.account.push(of_account(&aws));
    if let Some((key, finding)) = stored {
        inspection.key = key;
        inspection.account.push(finding);
    }
    if let Some((workspaces, finding)) = workspaces {
        inspection.workspaces = workspaces;
        inspection.account.push(finding);
    }
    inspection.account.extend(webhook);
    inspection.deployment = deployment;
    inspection
}

/// Region and credentials, which every other check needs.
fn of_account(aws: &SdkConfig) -> Finding {
    let region = aws.region().map(ToString::to_string).unwrap_or_default();
    let endpoint = aws.endpoint_url().map(|url| format!(", at AWS_ENDPOINT_URL {url}")).unwrap_or_default();
    Finding::well(AWS, format!("credentials found; the region is {region}{endpoint}"))
}

/// Reads the key from its secret. The key itself is never shown.
async fn key_in(secret: Option<StoredSecret>) -> Option<(Option<ApiKey>, Finding)> {
    Some(match in_time(secret?.read_as(ApiKey::parse)).await {
        Ok(key) => (Some(key), Finding::well(SECRET, "it can be read, and holds a well-formed key")),
        Err(error) => (None, of_secret_error(SECRET, error)),
    })
}

/// Reads the workspaces from their secret, which has a finding of its own; so has each workspace later.
async fn workspaces_in(secret: Option<StoredSecret>) -> Option<(Option<Workspaces>, Finding)> {
    Some(match in_time(secret?.workspaces()).await {
        Ok(workspaces) => {
            let found = format!("their secret can be read; it has {}", workspaces.iter().count());
            (Some(workspaces), Finding::well(WORKSPACES, found))
        }
        Err(error) => (None, of_secret_error(WORKSPACES, error)),
    })
}

/// Checks the webhook's secrets, if they are in Secrets Manager.
async fn webhook(settings: &SettingsDiagnosis, aws: &SdkConfig) -> Option<Finding> {
    let Some(Access::Credentials { signing, tokens }) = &settings.webhook else { return None };
    let client = aws_sdk_secretsmanager::Client::new(aws);
    let store = StoredCredentials::new(client, signing.clone(), tokens.clone());
    if !store.is_stored() {
        return None;
    }
    Some(match in_time(store.read()).await {
        Ok(_) => Finding::well(WEBHOOK, "its secret and token can be read, and are well-formed"),
        Err(error) => of_secret_error(WEBHOOK, error),
    })
}

async fn in_time<T>(read: impl Future<Output = Result<T, ServiceError>>) -> Result<T, ServiceError> {
    let late = || ServiceError::Transient("Secrets Manager took too long".to_owned());
    timeout(SECRET_MAX, read).await.unwrap_or_else(|_| Err(late()))
}

fn of_secret_error(check: &'static str, error: ServiceError) -> Finding {
    match error {
        ServiceError::Misconfigured(fault) if fault.found.contains("AccessDenied") => {
            aws_query::denied(check, "secretsmanager:GetSecretValue (and kms:Decrypt, for a customer managed key)")
        }
        ServiceError::Misconfigured(fault) => aws_query::misconfigured(check, fault),
        error if error.is_retryable() => Finding::fault(check, error.to_string(), "run `doctor` again later"),
        error => {
            let remedy = "fix the secret, or the variable that names it: `ID`, or `ID#field` if it is a JSON object";
            Finding::fault(check, error.to_string(), remedy)
        }
    }
}

async fn deployed(settings: &SettingsDiagnosis, aws: &SdkConfig) -> Vec<Finding> {
    let Deployment::Aws { queue_url, table } = &settings.deployment else { return Vec::new() };
    let unset = |check| vec![Finding::skipped(check, "it is not set, or invalid; see the settings")];
    let queue = async {
        match queue_url {
            Some(url) => queue::inspect(&aws_sdk_sqs::Client::new(aws), url, &settings.config).await,
            None => unset(queue::QUEUE),
        }
    };
    let table = async {
        match table {
            Some(table) => table::inspect(&aws_sdk_dynamodb::Client::new(aws), table).await,
            None => unset(table::TABLE),
        }
    };
    let client = aws_sdk_eventbridge::Client::new(aws);
    let bus = bus::inspect(&client, &settings.event_bus, &settings.config.event_source);
    let (queue, table, bus) = tokio::join!(queue, table, bus);
    [queue, table, bus].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::finding::CheckResult;
    use crate::service::Misconfiguration;

    #[test]
    fn missing_permission_to_read_a_secret_is_no_fault() {
        let finding = |found: &str| of_secret_error(SECRET, Misconfiguration::new(found, "check it").into());
        let denied = finding("GetSecretValue of the secret in X: AccessDeniedException: not authorized");
        assert_eq!(denied.result, CheckResult::Unknown);
        let missing = finding("GetSecretValue of the secret in X: ResourceNotFoundException: there is no such secret");
        assert_eq!(missing.result, CheckResult::Fault);
    }
}
