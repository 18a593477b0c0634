//! What is deployed: asked with describes only, all at once, each with a time limit of its own.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::config::ProvideCredentials;
use tokio::time::timeout;

use super::finding::Finding;
use super::{Looked, not_in_aws};
use crate::postpress::client::ApiKey;
use crate::postpress::rotating::KeySecret;
use crate::secrets::StoredSecret;
use crate::service::ServiceError;
use crate::settings::{Examined, Place, SecretSource};

mod asked;
mod bus;
mod queue;
mod table;

const AWS: &str = "AWS";
const SECRET: &str = "secret";

/// How long finding credentials may take: a process of the user's may ask a server for them.
const CREDENTIALS_MAX: Duration = Duration::from_secs(10);
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
    let aws = crate::aws::config(http.clone()).await;
    let mut account = vec![match account_of(&aws).await {
        Ok(finding) => finding,
        Err(finding) => {
            let skipped = Finding::skipped(AWS, "so nothing in AWS is looked at");
            return Looked { key: plain, account: vec![finding], deployed: vec![skipped] };
        }
    }];
    let stored = secret.map(|place| StoredSecret::new(aws_sdk_secretsmanager::Client::new(&aws), place));
    let (stored, deployed) = tokio::join!(key_in(stored), deployed(settings, &aws));
    let key = match stored {
        Some((key, finding)) => {
            account.push(finding);
            key
        }
        None => plain,
    };
    Looked { key, account, deployed }
}

/// Region and credentials, without which nothing can be asked.
async fn account_of(aws: &SdkConfig) -> Result<Finding, Finding> {
    // The SDK takes an empty variable for a region.
    let Some(region) = aws.region().filter(|region| !region.as_ref().is_empty()) else {
        return Err(Finding::fault(AWS, "there is no region", "set AWS_REGION, or a region in your AWS profile"));
    };
    let remedy = "log in to AWS, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; single sign-on and \
                  `aws login` are in a build with `--features login`";
    let none = |why: String| Finding::fault(AWS, format!("there are no credentials: {why}"), remedy);
    let Some(provider) = aws.credentials_provider() else { return Err(none("none are configured".to_owned())) };
    match timeout(CREDENTIALS_MAX, provider.provide_credentials()).await {
        Ok(Ok(_)) => {}
        // The chain's own words say no more than that nobody had any.
        Ok(Err(error)) => return Err(none(error.to_string())),
        Err(_) => return Err(none("looking for them took too long".to_owned())),
    }
    let endpoint = aws.endpoint_url().map(|url| format!(", at AWS_ENDPOINT_URL {url}")).unwrap_or_default();
    Ok(Finding::well(AWS, format!("there are credentials; the region is {region}{endpoint}")))
}

/// The key in its secret, and what there is to say of it; the key itself is never shown.
async fn key_in(secret: Option<StoredSecret>) -> Option<(Option<ApiKey>, Finding)> {
    let read = timeout(SECRET_MAX, secret?.read()).await;
    let read = read.unwrap_or_else(|_| Err(ServiceError::Passing("Secrets Manager took too long".to_owned())));
    Some(match read {
        Ok(key) => (Some(key), Finding::well(SECRET, "it can be read, and holds a key of the right form")),
        Err(error) => (None, of_secret_error(&error.to_string())),
    })
}

fn of_secret_error(error: &str) -> Finding {
    if error.contains("AccessDenied") {
        return asked::denied(SECRET, "secretsmanager:GetSecretValue (and kms:Decrypt, for a key of your own)");
    }
    let remedy =
        "mend the secret, or POSTPRESS_API_KEY_SECRET_ID: its name or ARN, and `#field` if it is a JSON object";
    Finding::fault(SECRET, error, remedy)
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

    #[test]
    fn a_secret_that_may_not_be_read_is_no_fault_of_the_secret() {
        let finding = of_secret_error("GetSecretValue of the secret in X: AccessDeniedException: not authorized");
        assert_eq!(finding.result, Verdict::Unknown);
        let finding = of_secret_error("GetSecretValue of the secret in X: ResourceNotFoundException: can't find it");
        assert_eq!(finding.result, Verdict::Fault);
    }
}
