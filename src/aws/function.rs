//! The AWS account of a Lambda function: Lambda puts the region, and the credentials of the function's role, into its environment.
//!
//! A profile, a container or an instance would each need clients of its own, which make a function larger and slow its start.
//! Of the SDK's other variables, a function reads those of endpoints, FIPS and dual-stack.

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use super::account::{check_endpoints, check_region, variable};
use super::configure;
use crate::service::Misconfiguration;

/// The configuration of a function's AWS clients, with this HTTP client.
///
/// # Errors
/// If an endpoint is malformed, or region or credentials are not in the environment.
pub async fn connect(http: reqwest::Client) -> Result<SdkConfig, Misconfiguration> {
    let is_elsewhere = check_endpoints(&variable)?;
    let region = EnvironmentVariableRegionProvider::new().region().await;
    check_region(region.as_ref().map(Region::as_ref).unwrap_or_default(), is_elsewhere, "set AWS_REGION")?;
    let credentials = EnvironmentVariableCredentialsProvider::new();
    if credentials.provide_credentials().await.is_err() {
        let found = "there are no credentials in the environment, where Lambda puts those of the function's role";
        let remedy =
            "to run a function elsewhere, export some: eval \"$(aws configure export-credentials --format env)\"";
        return Err(Misconfiguration::new(found, remedy));
    }
    let mut config = SdkConfig::builder()
        .region(region)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"));
    if is_elsewhere {
        config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
        config = config.service_config(ServiceEndpoints);
    }
    Ok(configure(config, http))
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The endpoint of one service, such as `AWS_ENDPOINT_URL_SQS`.
#[derive(Debug)]
struct ServiceEndpoints;

impl LoadServiceConfig for ServiceEndpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        variable(&format!("{}_{}", key.env(), key.service_id().replace(' ', "_").to_uppercase()))
    }
}
