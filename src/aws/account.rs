//! The AWS account that the environment selects: endpoint, region and credentials.
//!
//! All three are checked before a program sends anything, so that a missing profile, for example, is reported at once and as
//! such, not as the failure of a later request. Nothing here is retried.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::{self, region::ImdsRegionProvider};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::meta::{ProviderAttempt, ProviderChainError};
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::time::timeout;

use super::{SharedStack, configure};
use crate::service::Misconfiguration;
use crate::text::{causes, root_cause};

/// How long the instance metadata service may take to connect, and to answer. On EC2 it answers within a few milliseconds.
/// Elsewhere its address often drops every packet, while a person waits.
const METADATA_CONNECT_MAX: Duration = Duration::from_millis(150);
const METADATA_ANSWER_MAX: Duration = Duration::from_millis(150);
/// How long finding credentials may take. A credential process may call a server.
const CREDENTIALS_MAX: Duration = Duration::from_secs(10);

/// The endpoint variables, for AWS as a whole and for each service that the bridge uses.
const ENDPOINTS: [&str; 5] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
];

const LOG_IN: &str = "log in to AWS, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
const SET_REGION: &str = "set AWS_REGION, or a region in your AWS profile";

/// The configuration of all AWS clients: region, credentials and endpoints, as the AWS SDK reads them, and this HTTP client.
///
/// # Errors
/// If an endpoint is malformed, or region or credentials are missing: the fault that explains the others.
pub async fn connect(http: reqwest::Client) -> Result<SdkConfig, Misconfiguration> {
    let is_elsewhere = check_endpoints(&variable)?;
    let provider_config = ProviderConfig::without_region().with_http_client(SharedStack(http.clone()));
    let metadata = imds::Client::builder()
        .configure(&provider_config)
        .max_attempts(1)
        .connect_timeout(METADATA_CONNECT_MAX)
        .read_timeout(METADATA_ANSWER_MAX)
        .build();
    let set = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::builder().configure(&provider_config).build())
        .region()
        .await;
    let (region, metadata) = match set {
        Some(region) => (Some(region), Some(metadata)),
        // If it returns no region, it does not exist, and is not queried for credentials.
        None => {
            let provider = ImdsRegionProvider::builder().configure(&provider_config);
            let region = provider.imds_client(metadata.clone()).build().region().await;
            (region.clone(), region.map(|_| metadata))
        }
    };

    // Given retries and timeouts, it does not read any, nor panic over values that only other tools know.
    let base = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .region(region.clone())
        .no_credentials()
        .load()
        .await;
    let provider_config = provider_config
        .with_region(region.clone())
        .with_use_fips(base.use_fips())
        .with_use_dual_stack(base.use_dual_stack());
    let credentials = Found::by(chain(&provider_config, metadata)).await;
    // An unusable profile explains a missing region.
    if let Err(Absent { misconfiguration, is_profile: true }) = credentials {
        return Err(misconfiguration);
    }
    let region = region.map(|region| region.to_string()).unwrap_or_default();
    check_region(&region, is_elsewhere || base.endpoint_url().is_some(), SET_REGION)?;
    let credentials = credentials.map_err(|absent| absent.misconfiguration)?;
    Ok(configure(base.into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)), http))
}

/// Whether an endpoint is set. For a malformed one, the SDK would log a warning and call AWS itself.
pub(super) fn check_endpoints(environment: &impl Fn(&str) -> Option<String>) -> Result<bool, Misconfiguration> {
    if environment("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|ignored| ignored.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    let set: Vec<_> = ENDPOINTS.iter().filter_map(|variable| Some((variable, environment(variable)?))).collect();
    let Some((variable, _)) = set.iter().find(|(_, url)| !is_endpoint(url)) else { return Ok(!set.is_empty()) };
    let found = format!("{variable} is not a URL that begins with http:// or https://");
    let remedy = format!("set {variable} to something like http://localhost:4566, or unset it");
    Err(Misconfiguration::new(found, remedy))
}

fn is_endpoint(text: &str) -> bool {
    let is_http = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    !text.contains(char::is_whitespace) && url::Url::parse(text).is_ok_and(|url| is_http(&url))
}

/// Checks that the region can be part of a host name, and for AWS itself, that it looks like a region. `remedy` says where to
/// set it.
pub(super) fn check_region(region: &str, is_elsewhere: bool, remedy: &str) -> Result<(), Misconfiguration> {
    if region.is_empty() {
        return Err(Misconfiguration::new("there is no AWS region", remedy));
    }
    let is_label = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_label && (is_elsewhere || is_region_of_aws(region)) {
        return Ok(());
    }
    let remedy = format!("{remedy}: a name like `eu-west-1`, without a zone letter");
    Err(Misconfiguration::new(format!("the AWS region {region:?} is invalid"), remedy))
}

/// At least two words, then a number: `us-gov-west-1`.
fn is_region_of_aws(name: &str) -> bool {
    let mut parts: Vec<&str> = name.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let is_word = |part: &&str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() > 1 && parts.iter().all(is_word) && is_number
}

/// The places where the AWS SDK looks for credentials, in its order.
fn chain(config: &ProviderConfig, metadata: Option<imds::Client>) -> CredentialsProviderChain {
    let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else(PROFILE, ProfileFileCredentialsProvider::builder().configure(config).build())
        .or_else("WebIdentityToken", WebIdentityTokenCredentialsProvider::builder().configure(config).build())
        .or_else("EcsContainer", EcsCredentialsProvider::builder().configure(config).build());
    match metadata {
        Some(metadata) => {
            let instance = ImdsCredentialsProvider::builder().configure(config);
            chain.or_else("Ec2InstanceMetadata", Instance(instance.imds_client(metadata).build()))
        }
        None => chain,
    }
}

const PROFILE: &str = "Profile";

/// An instance's credentials. A metadata service that refuses counts as absent: some networks have one.
#[derive(Debug)]
struct Instance(ImdsCredentialsProvider);

impl ProvideCredentials for Instance {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.0.provide_credentials().await.map_err(|error| match error {
                CredentialsError::CredentialsNotLoaded(_) => error,
                other => CredentialsError::not_loaded(other),
            })
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.fallback_on_interrupt()
    }
}

/// The credentials that were found, and where to find new ones once they expire. The first request gets those that were found,
/// so that no credential process runs twice.
#[derive(Debug)]
struct Found {
    first: Mutex<Option<Credentials>>,
    chain: CredentialsProviderChain,
}

/// Why there are no credentials.
struct Absent {
    misconfiguration: Misconfiguration,
    /// Whether the AWS profile is the reason.
    is_profile: bool,
}

impl Found {
    async fn by(chain: CredentialsProviderChain) -> Result<Self, Absent> {
        match timeout(CREDENTIALS_MAX, chain.provide_credentials()).await {
            Ok(Ok(credentials)) => Ok(Self { first: Mutex::new(Some(credentials)), chain }),
            Ok(Err(error)) => {
                let is_profile = is_of_profile(&error, variable("AWS_PROFILE").as_deref());
                Err(Absent { misconfiguration: no_credentials(&error), is_profile })
            }
            Err(_) => {
                let found = "there are no credentials: the search for them timed out";
                Err(Absent { misconfiguration: Misconfiguration::new(found, LOG_IN), is_profile: false })
            }
        }
    }

    async fn next(&self) -> provider::Result {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some(credentials) => Ok(credentials),
            // They existed at first, so their absence is retryable.
            None => self.chain.provide_credentials().await.map_err(CredentialsError::provider_error),
        }
    }
}

impl ProvideCredentials for Found {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.next())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.chain.fallback_on_interrupt()
    }
}

/// Why there are no credentials, and what to do.
pub(super) fn no_credentials(error: &CredentialsError) -> Misconfiguration {
    explain(error, variable("AWS_PROFILE").as_deref())
}

/// The same, where `AWS_PROFILE` is `selected`.
fn explain(error: &CredentialsError, selected: Option<&str>) -> Misconfiguration {
    let cause = root_cause(error);
    // A message for programmers.
    if cause.contains("cargo feature") {
        return Misconfiguration::new(
            "there are no credentials: the AWS profile logs in by single sign-on, `aws login` or a process, which this build \
             does not support",
            "use a build with `--features login`, or export credentials: eval \"$(aws configure export-credentials --format env)\"",
        );
    }
    let is_undefined = |fault: &str, profile: &str| fault.contains(&format!("profile `{profile}` was not defined"));
    let (found, remedy) = match (of_chain(error), selected) {
        (None, _) => (format!("there are no credentials: {cause}"), LOG_IN),
        // The missing profile may be another one, from which the selected one takes its credentials.
        (Some(profile), Some(selected)) if profile.as_deref().is_none_or(|fault| is_undefined(fault, selected)) => (
            format!("AWS_PROFILE is `{selected}`, which does not exist or has no credentials"),
            "set AWS_PROFILE to one of `aws configure list-profiles`, or unset it",
        ),
        (Some(Some(profile)), _) => (format!("there are no credentials: {profile}"), LOG_IN),
        (Some(None), _) => {
            let found = "there are no credentials in the environment, a profile, a container or an instance";
            (found.to_owned(), LOG_IN)
        }
    };
    Misconfiguration::new(found, remedy)
}

/// If all places were searched for credentials: what is wrong with the AWS profile, if known.
fn of_chain(error: &CredentialsError) -> Option<Option<String>> {
    let chain: &ProviderChainError<CredentialsError> = causes(error).find_map(|cause| cause.downcast_ref())?;
    let profile = chain.attempts().iter().find(|attempt| attempt.name() == PROFILE).map(ProviderAttempt::error);
    Some(profile.filter(|error| error.source().is_some()).map(|error| root_cause(error)))
}

/// Whether the AWS profile is the reason that credentials, and perhaps the region, are missing.
fn is_of_profile(error: &CredentialsError, selected: Option<&str>) -> bool {
    matches!(error, CredentialsError::InvalidConfiguration(_)) || selected.is_some() && of_chain(error).is_some()
}

pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn endpoints_are_http_urls() {
        for variables in [
            &[("AWS_ENDPOINT_URL", "http://localhost:4566")][..],
            &[("AWS_ENDPOINT_URL_SQS", "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com")],
        ] {
            assert_eq!(check_endpoints(&environment(variables)), Ok(true), "{variables:?}");
        }
        assert_eq!(check_endpoints(&environment(&[])), Ok(false));
        let ignored = [("AWS_ENDPOINT_URL", "x"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "TRUE")];
        assert_eq!(
            check_endpoints(&|name: &str| {
                ignored.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            }),
            Ok(false)
        );
        for (variable, value) in [
            ("AWS_ENDPOINT_URL", "localhost:4566"),
            ("AWS_ENDPOINT_URL", "http//localhost"),
            ("AWS_ENDPOINT_URL", "http://localhost:4566 "),
            ("AWS_ENDPOINT_URL", "http://"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "ftp://localhost"),
        ] {
            let fault = check_endpoints(&|name: &str| (name == variable).then(|| value.to_owned())).unwrap_err();
            assert!(fault.found.starts_with(variable) && fault.remedy.contains(variable), "{value}: {fault}");
        }
    }

    #[test]
    fn regions_are_of_aws_or_an_emulator() {
        for region in
            ["eu-west-1", "us-gov-west-1", "us-isob-east-1", "eusc-de-east-1", "ap-southeast-7", "mx-central-1"]
        {
            assert_eq!(check_region(region, false, SET_REGION), Ok(()), "{region}");
        }
        for region in ["local", "elasticmq", "us-east-1"] {
            assert_eq!(check_region(region, true, SET_REGION), Ok(()), "{region}");
        }
        for (region, is_elsewhere) in [
            ("", true),
            ("eu-west-1a", false),
            ("EU-WEST-1", true),
            ("eu west 1", true),
            ("eu_west_1", true),
            ("nowhere-1", false),
            ("eu-west", false),
            ("eu-west-123", false),
            ("-west-1", false),
        ] {
            let fault = check_region(region, is_elsewhere, SET_REGION).unwrap_err();
            assert!(fault.remedy.starts_with("set AWS_REGION"), "{region}: {fault}");
        }
    }

    #[test]
    fn an_unusable_profile_explains_missing_credentials() {
        let sso =
            "ProfileFile provider could not be built: This behavior requires following cargo feature(s) enabled: sso";
        let sso = CredentialsError::invalid_configuration(sso);
        assert!(is_of_profile(&sso, None));
        assert!(explain(&sso, Some("work")).remedy.contains("--features login"));
        let expired = CredentialsError::provider_error("the SSO session has expired\nlog in again");
        assert!(!is_of_profile(&expired, Some("work")));
        let fault = explain(&expired, Some("work"));
        assert_eq!(fault.found, "there are no credentials: the SSO session has expired log in again");
        assert!(fault.remedy.starts_with("log in to AWS"));
    }

    #[tokio::test]
    async fn credentials_are_requested_once() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};

        #[derive(Debug, Clone, Default)]
        struct Counts(Arc<AtomicUsize>);
        impl ProvideCredentials for Counts {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                self.0.fetch_add(1, Ordering::SeqCst);
                future::ProvideCredentials::ready(Ok(Credentials::new("id", "secret", None, None, "test")))
            }
        }
        let counts = Counts::default();
        let found = Found::by(CredentialsProviderChain::first_try("test", counts.clone())).await;
        let Ok(found) = found else { panic!("no credentials") };
        for asked in [1, 2, 3] {
            assert!(found.provide_credentials().await.is_ok());
            assert_eq!(counts.0.load(Ordering::SeqCst), asked);
        }
    }
}
