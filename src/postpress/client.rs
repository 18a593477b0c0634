//! The call over HTTP: one request, one answer, no second try.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::{ClientConfig, RootCertStore};

use super::Provider;
use super::answer::{Answer, BODY_MAX_BYTES, BodyFault, Failure, retry_after};
use super::envelope::LABEL_MAX_BYTES;
use crate::ids::ChatId;
use crate::text::bounded;

mod api_key;
mod base_url;

pub use api_key::{ApiKey, InvalidApiKey, KeyKind};
pub use base_url::{BaseUrl, DEFAULT_BASE_URL, InvalidBaseUrl};

/// How long a connection, TLS included, may take. Below the default deadline of a call (10 s), so that the usual reason
/// of a failed connection is known: then nothing was sent. Long enough for two lost SYNs, which are sent again after 1 and 3 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a connection is kept for the next call. Load balancers commonly drop idle ones after 60 s (AWS's do), and one
/// that is dropped without a word costs a call its whole deadline.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const USER_AGENT: &str = concat!("postpress-bridge/", env!("CARGO_PKG_VERSION"));

/// postpress over HTTP/1.1.
///
/// It never calls twice, follows no redirect (the key would go along), uses no proxy of the environment and keeps no
/// cookies. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: BaseUrl,
    api_key: ApiKey,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
}

/// Why no client could be made: a fault of the build, not of the settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The TLS settings contradict each other.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be made of its settings.
    #[error("the HTTP client could not be set up: {0}")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// A client that trusts Mozilla's root certificates, which are compiled in.
    ///
    /// # Errors
    /// If TLS or the HTTP client cannot be set up.
    pub fn new(base_url: BaseUrl, api_key: ApiKey) -> Result<Self, BuildError> {
        Self::with_roots(base_url, api_key, mozilla_roots())
    }

    /// A client that trusts these root certificates and no others.
    ///
    /// # Errors
    /// If TLS or the HTTP client cannot be set up.
    pub fn with_roots(base_url: BaseUrl, api_key: ApiKey, roots: RootCertStore) -> Result<Self, BuildError> {
        Ok(Self::over(http_client(roots)?, base_url, api_key))
    }

    /// A client over an HTTP stack of [`http_client`], which others may use too.
    pub fn over(http: reqwest::Client, base_url: BaseUrl, api_key: ApiKey) -> Self {
        Self { http, base_url, api_key }
    }

    /// The same client with another key, on the same connections: for a key that was rotated.
    #[must_use]
    pub fn with_api_key(&self, api_key: ApiKey) -> Self {
        Self { api_key, ..self.clone() }
    }

    /// Calls once, as [`Provider::sync`] does, and tells the answer's head too, if there was one.
    ///
    /// For whoever wants to know what stands at the base URL, where a run only wants to know what the answer means.
    pub async fn sync_with_head(&self, chat: &ChatId, deadline: Duration) -> (Answer, Option<Head>) {
        match tokio::time::timeout(deadline, self.call(chat)).await {
            Ok((answer, head)) => (answer, head),
            Err(_) => (Answer::Failed(self.too_late(deadline)), None),
        }
    }

    async fn call(&self, chat: &ChatId) -> (Answer, Option<Head>) {
        let request = self
            .http
            .get(self.base_url.sync_of(chat))
            .header(API_KEY_HEADER, self.api_key.header())
            .header(ACCEPT, JSON);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return (Answer::Failed(self.no_answer(error)), None),
        };
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| retry_after(value, SystemTime::now()));
        let status = response.status().as_u16();
        let body = read_body(&mut response).await;
        let answer =
            Answer::from_response(chat, status, wait, body.as_deref().map_err(|fault| *fault), self.api_key.mask());
        (answer, Some(Head { status, headers: std::mem::take(response.headers_mut()) }))
    }

    /// A call that ended without the head of an answer, before its deadline.
    fn no_answer(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        // It may quote what the other side sent.
        let cause = bounded(self.api_key.mask().hide_in(root_cause(&error)), LABEL_MAX_BYTES).0;
        let detail = if error.is_connect() {
            format!("no connection to {}: {cause}; check POSTPRESS_BASE_URL and the network", self.base_url)
        } else {
            format!("{} broke the call off before it answered: {cause}", self.base_url)
        };
        let status = if error.is_timeout() { 504 } else { 502 };
        // Before the connection is made nothing can have reached the provider. Later only the kernel's own patience
        // can end before the deadline, if that is set to more than half a minute.
        Failure::lost(status, detail, error.is_timeout() && !error.is_connect())
    }

    /// A call that came to its deadline. It may have reached the provider, so it may still start a sync there.
    fn too_late(&self, deadline: Duration) -> Failure {
        let detail =
            format!("{} did not answer within {deadline:?}; the call may still have reached it", self.base_url);
        Failure::lost(504, detail, true)
    }
}

impl Provider for Client {
    async fn sync(&self, chat: &ChatId, deadline: Duration) -> Answer {
        self.sync_with_head(chat, deadline).await.0
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Mozilla's root certificates, which are compiled in: reading the system's takes milliseconds at every start.
pub fn mozilla_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// The one HTTP stack of a process. It follows no redirect, tries nothing twice and asks no proxy.
///
/// # Errors
/// If TLS or the HTTP client cannot be set up.
pub fn http_client(roots: RootCertStore) -> Result<reqwest::Client, BuildError> {
    http_client_within(roots, CONNECT_TIMEOUT)
}

/// The same, where a connection may take this long.
///
/// # Errors
/// If TLS or the HTTP client cannot be set up.
pub fn http_client_within(roots: RootCertStore, connect: Duration) -> Result<reqwest::Client, BuildError> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(roots)?)
        .http1_only()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        // Its default sends a request again that the server refused to process.
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE_TIMEOUT);
    Ok(builder.build()?)
}

/// TLS 1.2 and 1.3 with ring; reqwest's own choice would bring a second crypto library and read the system's roots.
fn tls(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads a body to its end, but never more than [`BODY_MAX_BYTES`] after decompression.
async fn read_body(response: &mut reqwest::Response) -> Result<Vec<u8>, BodyFault> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_MAX_BYTES => return Err(BodyFault::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(_) => return Err(BodyFault::Cut),
        }
    }
}

/// The innermost cause, which is the one that a person can do something about: `Connection refused`.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
