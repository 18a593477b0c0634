//! The call over HTTP: one request, one answer, no retry.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Failure};
use super::body::{BODY_MAX_BYTES, Body, BodyFault};
use super::envelope::LABEL_MAX_BYTES;
use super::retry_after::retry_after;
use super::{Provider, SyncCall};
use crate::text::{bounded, root_cause};

mod api_key;
mod base_url;

pub use api_key::{ApiKey, InvalidApiKey, KeyKind};
pub(crate) use base_url::is_on_this_machine;
pub use base_url::{BaseUrl, DEFAULT_BASE_URL, InvalidBaseUrl};

/// How long connecting, TLS included, may take. It is below a call's default deadline (10 s), so that a failed connection is
/// recognised as such: nothing was sent. It allows for two lost SYNs, which are sent again after 1 and 3 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long an idle connection is kept. Load balancers commonly drop idle connections after 60 s (AWS's do), and a silently
/// dropped one costs a call its whole deadline.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Decompressed by [`Body`], because the HTTP client would discard what it had decompressed before an error.
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// The most header lines of a response. With hyper's own limit of 100, more of them would look like a broken connection.
const HEADERS_MAX: usize = 4096;
const USER_AGENT: &str = concat!("postpress-bridge/", env!("CARGO_PKG_VERSION"));

/// postpress over HTTP/1.1.
///
/// It never repeats a call, follows no redirect (which would receive the key), ignores the environment's proxies and keeps no
/// cookies. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: BaseUrl,
    api_key: ApiKey,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
}

impl Head {
    /// The longest wait that it asks for, from now on.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, SystemTime::now())
    }
}

/// Why a client could not be built: a fault of the build, not of the settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The TLS settings contradict each other.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client refused its settings.
    #[error("the HTTP client could not be set up: {0}")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// A client that trusts the compiled-in Mozilla root certificates.
    ///
    /// # Errors
    /// If TLS or the HTTP client cannot be set up.
    pub fn new(base_url: BaseUrl, api_key: ApiKey) -> Result<Self, BuildError> {
        Ok(Self::over(http_client(mozilla_roots())?, base_url, api_key))
    }

    /// A client over an HTTP stack from [`http_client`], which it may share.
    pub fn over(http: reqwest::Client, base_url: BaseUrl, api_key: ApiKey) -> Self {
        Self { http, base_url, api_key }
    }

    /// The same client with another key, on the same connections.
    #[must_use]
    pub fn with_api_key(&self, api_key: ApiKey) -> Self {
        Self { api_key, ..self.clone() }
    }

    /// Calls once, as [`Provider::sync`] does, and also returns the head of the response, if there was one.
    ///
    /// For callers that inspect the base URL; a run only needs the meaning of the answer.
    pub async fn sync_with_head(&self, call: &SyncCall, deadline: Duration) -> (Answer, Option<Head>) {
        match self.get(self.base_url.sync_of(call), BODY_MAX_BYTES, deadline).await {
            Ok((head, body)) => {
                let (status, wait) = (head.status, head.retry_after());
                let answer = Answer::from_response(&call.subject, status, wait, &body, self.api_key.mask());
                (answer, Some(head))
            }
            Err(failure) => (Answer::Failed(failure), None),
        }
    }

    /// Requests once: the head of the response, and its body, of which at most `body_max` bytes are read.
    pub(super) async fn get(&self, url: String, body_max: usize, deadline: Duration) -> Result<(Head, Body), Failure> {
        let until = Instant::now() + deadline;
        let request = self
            .http
            .get(url)
            .header(API_KEY_HEADER, self.api_key.header())
            .header(ACCEPT, JSON)
            .header(ACCEPT_ENCODING, GZIP);
        let mut response = match timeout_at(until, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.no_answer(error)),
            Err(_) => return Err(self.too_late(deadline)),
        };
        let body = read_body(&mut response, body_max, until).await;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        Ok((Head { status, headers }, body))
    }

    /// The base URL that this client calls at.
    pub(super) fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }

    /// The key that this client calls with.
    pub(super) fn api_key(&self) -> &ApiKey {
        &self.api_key
    }

    /// A call that failed before the head of a response arrived, and before its deadline.
    fn no_answer(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        // It may quote what the server sent.
        let cause = bounded(self.api_key.mask().hide_in(root_cause(&error)), LABEL_MAX_BYTES).0;
        let detail = if error.is_connect() {
            format!("no connection to {}: {cause}; check POSTPRESS_BASE_URL and the network", self.base_url)
        } else {
            format!("{} closed the connection before it answered: {cause}", self.base_url)
        };
        let status = if error.is_timeout() { 504 } else { 502 };
        // Without a connection, nothing can have reached the provider. With one, only the kernel's own timeout can fire
        // before the deadline, if that is longer than half a minute.
        Failure::lost(status, detail, error.is_timeout() && !error.is_connect())
    }

    /// A call that timed out. It may have reached the provider, and may still start a sync there.
    fn too_late(&self, deadline: Duration) -> Failure {
        let detail =
            format!("{} did not answer within {deadline:?}; the call may still have reached it", self.base_url);
        Failure::lost(504, detail, true)
    }
}

impl Provider for Client {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        self.sync_with_head(call, deadline).await.0
    }
}

/// Mozilla's root certificates. They are compiled in, because reading the system's takes milliseconds at every start.
pub fn mozilla_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// The one HTTP stack of a process. It follows no redirect, never retries and uses no proxy.
///
/// It tolerates malformed header lines, as browsers and curl do: an answer that is lost because of a cookie would be polled
/// again, which restarts a finished sync.
///
/// # Errors
/// If TLS or the HTTP client cannot be set up.
pub fn http_client(roots: RootCertStore) -> Result<reqwest::Client, BuildError> {
    http_client_within(roots, CONNECT_TIMEOUT)
}

/// The same with this connect timeout.
///
/// # Errors
/// If TLS or the HTTP client cannot be set up.
pub fn http_client_within(roots: RootCertStore, connect: Duration) -> Result<reqwest::Client, BuildError> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(roots)?)
        .http1_only()
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_max_headers(HEADERS_MAX)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        // By default it repeats a request that the server refused to process.
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE_TIMEOUT);
    Ok(builder.build()?)
}

/// TLS 1.2 and 1.3 with ring. reqwest's default would add a second crypto library and read the system's roots.
fn tls(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads a body to its end, to the deadline, or to `max` bytes, and keeps what arrived before an error.
async fn read_body(response: &mut reqwest::Response, max: usize, until: Instant) -> Body {
    let mut bytes = Vec::new();
    let fault = loop {
        match timeout_at(until, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = max - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break Some(BodyFault::TooLarge(max));
                }
            }
            Ok(Ok(None)) => break None,
            Ok(Err(_)) => break Some(BodyFault::Cut),
            Err(_) => break Some(BodyFault::TimedOut),
        }
    };
    Body::arrived_within(max, bytes, fault)
}
