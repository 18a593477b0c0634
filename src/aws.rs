//! The AWS clients, over the HTTP stack of the provider's client.
//!
//! ```text
//! account.rs   region, credentials and endpoint, checked before anything is sent
//! function.rs  the same for a Lambda function, which has all of them in its environment
//! failure.rs   the meaning of an SDK error: retryable or not, what may have happened, how to fix it
//! resource.rs  table, queue, bus or secret: its name in permissions, and the remedy if it is missing
//! ```
//!
//! The SDK's own HTTP client would be a second TLS stack with its own root certificates, which costs a Lambda several
//! milliseconds at every cold start.

use std::time::Duration;

use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::{ReconnectMode, RetryConfig};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::sdk_config::Builder;
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::postpress::client::{BuildError, http_client_within, mozilla_roots};

mod account;
mod failure;
mod function;
mod resource;

pub use account::connect;
pub(crate) use failure::Fault;
pub use failure::{entry_error, service_error};
pub use function::connect as connect_function;
pub use resource::Resource;

/// Adds what all clients share to a configuration with a region, credentials and perhaps an endpoint.
///
/// Some features of the SDK are off:
/// - retries and timeouts, since [`crate::service::retry_until`] does both for all ports, within the invocation's time;
/// - stalled-stream protection, which does not see this HTTP client read a body, and so would abort SQS's long poll;
/// - reconnecting after failures, which this HTTP client does itself, and for which the SDK would log an error each time.
pub fn configure(config: Builder, http: reqwest::Client) -> SdkConfig {
    config
        .behavior_version(BehaviorVersion::latest())
        .http_client(SharedStack(http))
        .retry_config(RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections))
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

/// How long connecting to AWS may take, TLS included: long enough for a lost SYN, which is sent again after a second, and
/// shorter than an attempt, so that a failed connection is recognised as such.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// The HTTP stack of a program that calls AWS but not the provider.
///
/// # Errors
/// If TLS or the HTTP client cannot be set up.
pub fn http_client() -> Result<reqwest::Client, BuildError> {
    http_client_within(mozilla_roots(), CONNECT_MAX)
}

/// The HTTP client as the SDK's trait.
#[derive(Debug, Clone)]
struct SharedStack(reqwest::Client);

impl HttpClient for SharedStack {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // Without a read timeout an exchange has no limit. Connecting has the client's own.
        let limit = settings.read_timeout().map(|read| settings.connect_timeout().unwrap_or_default() + read);
        SharedHttpConnector::new(Connector { http: self.0.clone(), limit })
    }
}

/// The HTTP client with one set of settings.
#[derive(Debug)]
struct Connector {
    http: reqwest::Client,
    /// The time limit of an exchange. The ports' clients set none; credentials providers do.
    limit: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, limit) = (self.http.clone(), self.limit);
        HttpConnectorFuture::new(async move {
            let exchange = exchange(&http, request);
            match limit {
                None => exchange.await,
                Some(limit) => timeout(limit, exchange).await.unwrap_or_else(|late| {
                    Err(ConnectorError::timeout(format!("no answer within {limit:?} ({late})").into()))
                }),
            }
        })
    }
}

/// No connection was established, TLS included, so nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
struct NeverConnected(#[source] reqwest::Error);

async fn exchange(http: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let request = request.map(|body| body.bytes().map(<[u8]>::to_vec));
    let (parts, Some(body)) = request.into_parts() else {
        return Err(ConnectorError::user("streaming requests are not supported".into()));
    };
    let mut request = reqwest::Request::try_from(http::Request::from_parts(parts, body))
        .map_err(|error| ConnectorError::user(error.into()))?;
    // Responses are small; compressing them would cost more than it saves.
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let response = http.execute(request).await.map_err(connector_error)?;
    let (parts, body) = http::Response::from(response).into_parts();
    let body = body.collect().await.map_err(connector_error)?.to_bytes();
    let response = http::Response::from_parts(parts, SdkBody::from(body));
    // The SDK reports failures before a request as "other"; this one comes after it.
    HttpResponse::try_from(response).map_err(|error| ConnectorError::io(error.into()))
}

fn connector_error(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => ConnectorError::timeout(NeverConnected(error).into()).never_connected(),
        (true, false) => ConnectorError::io(NeverConnected(error).into()).never_connected(),
        (false, true) => ConnectorError::timeout(error.into()),
        (false, false) => ConnectorError::io(error.into()),
    }
}
