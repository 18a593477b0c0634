//! The AWS clients: made once, over the one HTTP stack that the provider's client uses too.
//!
//! The SDK's own HTTP client would be a second TLS stack with a second set of root certificates, which costs a Lambda
//! several milliseconds at every cold start.

use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::{ReconnectMode, RetryConfig};
use aws_smithy_types::timeout::TimeoutConfig;
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;

use crate::service::ServiceError;

/// What the AWS clients share: region, credentials and endpoints as the AWS SDK reads them, and this HTTP client.
pub async fn config(http: reqwest::Client) -> SdkConfig {
    loader(http).load().await
}

/// [`config`] for those who cannot go on without a region.
///
/// # Errors
/// If there is none.
pub async fn config_with_region(http: reqwest::Client) -> anyhow::Result<SdkConfig> {
    let config = config(http).await;
    // The SDK takes an empty variable for a region.
    let has_region = config.region().is_some_and(|region| !region.as_ref().is_empty());
    anyhow::ensure!(has_region, "no AWS region; set AWS_REGION, or a region in your AWS profile");
    Ok(config)
}

/// [`config`] before it is loaded, for those who know region, credentials or endpoint themselves.
///
/// The SDK's retries and timeouts are off: [`crate::service::attempt`] does both, within the invocation's time, for all ports
/// alike. So is its watch over stalled transfers: it does not see how this HTTP client reads a body, and breaks off what
/// has no answer after some seconds, such as SQS's long poll. And so is its closing of connections after a failure, which this
/// HTTP client does by itself: it would write an error to the log each time that it has none to close.
pub fn loader(http: reqwest::Client) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(SharedStack(http))
        .retry_config(RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections))
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// The HTTP client, as the SDK wants it.
#[derive(Debug, Clone)]
struct SharedStack(reqwest::Client);

impl HttpClient for SharedStack {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SharedStack {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.0.clone();
        HttpConnectorFuture::new(async move { exchange(&http, request).await })
    }
}

async fn exchange(http: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let request = request.map(|body| body.bytes().map(<[u8]>::to_vec));
    let (parts, Some(body)) = request.into_parts() else {
        return Err(ConnectorError::user("a streaming request, which the bridge never makes".into()));
    };
    let mut request = reqwest::Request::try_from(http::Request::from_parts(parts, body))
        .map_err(|error| ConnectorError::user(error.into()))?;
    // Answers are small; decompressing them would cost more than it saves.
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let response = http.execute(request).await.map_err(connector_error)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.map_err(connector_error)?;
    let mut response = http::Response::new(SdkBody::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

fn connector_error(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}

/// Error codes that say "not now": throttles of one kind or another, and failures inside AWS. The first nine are those that
/// the SDK's own retries know; the rest is in the services' API references.
const PASSING_CODES: [&str; 19] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalFailure",
    "InternalException",
    "InternalServerError",
    "InternalServiceError",
    "ServiceUnavailable",
    "TransactionConflictException",
    "ReplicatedWriteConflictException",
    // SQS's own, for a queue with a key of the customer's.
    "KMS.ThrottlingException",
];

/// Whether an error of this code may pass.
pub fn may_pass(code: &str) -> bool {
    PASSING_CODES.contains(&code)
}

/// What an SDK error means for whoever asked: no answer, a 5xx or a throttle may pass, everything else is refused.
pub fn service_error<E>(what: &str, error: &SdkError<E, HttpResponse>) -> ServiceError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or_default();
    let status = error.raw_response().map(|response| response.status().as_u16());
    let text = match (error.message(), status) {
        (Some(message), _) => format!("{what}: {code}: {message}"),
        (None, Some(status)) => format!("{what}: {code} (HTTP {status})"),
        (None, None) => format!("{what}: {}", root_cause(error)),
    };
    match error {
        SdkError::ConstructionFailure(_) => ServiceError::Refused(text),
        SdkError::ServiceError(_) if !may_pass(code) && status.is_none_or(|status| status < 500) => {
            ServiceError::Refused(text)
        }
        _ => ServiceError::Passing(text),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
