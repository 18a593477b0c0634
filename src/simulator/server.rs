//! The simulator behind HTTP/1.1, on loopback only.
//!
//! ```text
//! GET /v1/chats/{chat_id}/sync          as documented; also under /api/v1, the documentation's other base URL
//! GET /v1/accounts/{account_id}/sync    the same, with its query
//! GET /v1/chats?account_id=…            a page of the account's chats
//! GET /stats                            the counts, in total and per subject
//! GET /log                              the latest calls, in the order of sending
//! ```
//!
//! Every `X-API-KEY` is valid except an empty one (`errors/missing_credentials`) and `expired` (`errors/expired_credentials`). An
//! unknown path is a 404 without an envelope, as at a wrong base URL.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::chat_list::ListCall;
use super::exchange::Simulator;
use super::reply::{Reply, bare_reply, error_reply, json_reply};
use super::script::documented_error;
use crate::ids::{Subject, SubjectKind};
use crate::postpress::operation::OPERATIONS;
use crate::postpress::{Operation, Resync, SyncCall};

/// How long to wait after a failed accept: a missing resource, such as a file descriptor, is freed when other connections
/// end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The simulator on a port of this machine.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    simulator: Simulator,
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The simulator checks no real keys, so only this machine may reach it.
    #[error("the simulator listens on loopback only, and `{0}` is not; use 127.0.0.1 or ::1")]
    NotLoopback(SocketAddr),
    /// The address is not available.
    #[error("cannot listen on `{address}`; choose another port, or 0 for any free one")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

impl Server {
    /// Listens on a loopback address; port 0 is any free port.
    ///
    /// # Errors
    /// If the address is not loopback or not available.
    pub async fn bind(address: SocketAddr, simulator: Simulator) -> Result<Self, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback(address));
        }
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, simulator })
    }

    /// The value for `POSTPRESS_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The simulator, for its counts and log.
    pub fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// Answers calls until `shutdown` completes, then closes the open connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(serve(stream, self.simulator.clone()))),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn serve(stream: TcpStream, simulator: Simulator) {
    let service = service_fn(|request| answer(&simulator, request));
    // An error is a client that disconnected or a call to drop; both are in the log.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The response; an error makes hyper close the connection without one.
async fn answer(simulator: &Simulator, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let Some(route) = Route::of(request.uri().path()) else {
        return Ok(response(bare_reply(404)));
    };
    if request.method() != Method::GET {
        return Ok(method_not_allowed());
    }
    let reply = match route {
        Route::Stats => json_reply(&simulator.stats()),
        Route::Log => json_reply(&simulator.log()),
        Route::Sync(operation, segment) => match check_key(request.headers())
            .and_then(|()| read_call(operation, segment, request.uri().query().unwrap_or_default()))
        {
            Ok(call) => simulator.call(&call).await.ok_or_else(connection_loss)?,
            Err(name) => refusal(operation, name),
        },
        Route::Chats => match check_key(request.headers())
            .and_then(|()| ListCall::from_query(request.uri().query().unwrap_or_default()))
        {
            Ok(call) => simulator.list(&call).await.ok_or_else(connection_loss)?,
            Err(name) => refusal(Operation::of(SubjectKind::Account), name),
        },
    };
    Ok(response(reply))
}

fn connection_loss() -> io::Error {
    io::Error::other("simulated connection loss")
}

/// A documented error of a call that reaches no chat and no account, so that it has no number in the log.
fn refusal(operation: &Operation, name: &str) -> Reply {
    documented_error(operation, name).map_or_else(|| bare_reply(500), |error| error_reply(error, 0))
}

/// A resource.
enum Route<'a> {
    /// The sync of the subject in this path segment.
    Sync(&'static Operation, &'a str),
    /// A page of an account's chats.
    Chats,
    Stats,
    Log,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path {
            "/stats" => Some(Self::Stats),
            "/log" => Some(Self::Log),
            _ => {
                let below = path.strip_prefix("/api").unwrap_or(path).strip_prefix("/v1/")?;
                if below == "chats" {
                    return Some(Self::Chats);
                }
                let below = below.strip_suffix("/sync")?;
                let (collection, segment) = below.split_once('/')?;
                let operation = OPERATIONS.into_iter().find(|operation| operation.path == collection)?;
                (!segment.is_empty() && !segment.contains('/')).then_some(Self::Sync(operation, segment))
            }
        }
    }
}

/// Checks the key; an error is the name of the documented error.
fn check_key(headers: &HeaderMap) -> Result<(), &'static str> {
    match headers.get("x-api-key").map(HeaderValue::as_bytes) {
        None | Some(b"") => Err("missing_credentials"),
        Some(b"expired") => Err("expired_credentials"),
        Some(_) => Ok(()),
    }
}

/// Parses the id from its path segment, and the options from the query; an error is the name of the documented error.
fn read_call(operation: &Operation, segment: &str, query: &str) -> Result<SyncCall, &'static str> {
    let id = percent_decode_str(segment).decode_utf8().map_err(|_| "invalid_resource_identifier")?;
    let subject = Subject::new(operation.kind, &id).map_err(|_| "invalid_resource_identifier")?;
    let options = if operation.has_options { query } else { "" };
    let resync = Resync::from_query(options).ok_or("invalid_parameters")?;
    Ok(SyncCall { subject, resync })
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Some(pause) = reply.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs()));
    }
    response
}

fn method_not_allowed() -> Response<Full<Bytes>> {
    let mut response = response(bare_reply(405));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::faults::Faults;
    use super::super::span::Span;
    use super::*;

    /// Serves a simulator on a free port until the test ends.
    async fn serve_with(faults: Faults) -> (SocketAddr, Simulator) {
        let simulator = Simulator::new(faults);
        let server = Server::bind(([127, 0, 0, 1], 0).into(), simulator.clone()).await.unwrap();
        let address = server.address;
        tokio::spawn(server.run(std::future::pending()));
        (address, simulator)
    }

    /// The raw response to one request on a new connection; empty if there is none.
    async fn raw(address: SocketAddr, method: &str, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: simulator\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        raw(address, "GET", path, "X-API-KEY: anything\r\n").await
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn status_line(answer: &str) -> &str {
        answer.lines().next().unwrap_or_default()
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").unwrap().1
    }

    #[tokio::test]
    async fn both_documented_base_urls_work() {
        let (address, simulator) = serve_with(Faults::default()).await;
        for (path, id, status) in [
            ("/v1/chats/done-in-0s/sync", "done-in-0s", "SYNC_STARTED"),
            ("/api/v1/chats/done-in-0s/sync", "done-in-0s", "SYNC_DONE"),
            ("/v1/chats/done-in-0s/sync?x=1", "done-in-0s", "SYNC_STARTED"),
            ("/v1/chats/a%2Fb%20%C3%A9/sync", "a/b é", "SYNC_STARTED"),
        ] {
            let answer = get(address, path).await;
            assert_eq!(status_line(&answer), "HTTP/1.1 200 OK", "{path}");
            let body: Value = serde_json::from_str(body(&answer)).unwrap();
            assert_eq!(body, serde_json::json!({"object": "ChatHistorySync", "chat_id": id, "status": status}));
        }
        assert_eq!(simulator.stats().total.restarts, 1);
    }

    #[tokio::test]
    async fn invalid_requests_are_rejected() {
        let (address, simulator) = serve_with(Faults::default()).await;
        let key = "X-API-KEY: anything\r\n";
        for (method, path, headers, status, kind) in [
            ("GET", "/v1/chats/done/sync", "", "401", "errors/missing_credentials"),
            ("GET", "/v1/chats/done/sync", "X-API-KEY:\r\n", "401", "errors/missing_credentials"),
            ("GET", "/v1/chats/done/sync", "X-API-KEY: expired\r\n", "401", "errors/expired_credentials"),
            ("GET", "/v1/chats/%0A/sync", key, "404", "errors/invalid_resource_identifier"),
            ("GET", "/v1/chats/%FF/sync", key, "404", "errors/invalid_resource_identifier"),
            ("GET", "/v1/chats//sync", key, "404", ""),
            ("GET", "/v1/chats/a/b/sync", key, "404", ""),
            ("GET", "/chats/done/sync", key, "404", ""),
            ("GET", "/", key, "404", ""),
            ("POST", "/v1/chats/done/sync", key, "405", ""),
        ] {
            let answer = raw(address, method, path, headers).await;
            assert_eq!(status_line(&answer).split(' ').nth(1), Some(status), "{method} {path}");
            let envelope: Value = serde_json::from_str(body(&answer)).unwrap_or_default();
            assert_eq!(envelope["type"].as_str().unwrap_or_default(), kind, "{method} {path}");
        }
        assert_eq!(simulator.stats().total.calls, 0);
    }

    #[tokio::test]
    async fn account_is_answered_without_its_id_and_its_query_is_checked() {
        let (address, simulator) = serve_with(Faults::default()).await;
        let answer = get(address, "/v1/accounts/done-in-2-chunks-of-0s/sync?port=1&chunk_size=5").await;
        assert_eq!(body(&answer), r#"{"object":"AccountResync","status":"SYNC_STARTED"}"#);
        let answer = get(address, "/v1/accounts/done-in-2-chunks-of-0s/sync?port=1&chunk_size=5").await;
        assert_eq!(body(&answer), r#"{"object":"AccountResync","status":"CHUNK_DONE"}"#);
        let refused = get(address, "/v1/accounts/done/sync?chunk_size=0").await;
        assert!(refused.contains("errors/invalid_parameters"), "{refused}");
        let total = simulator.stats().total;
        assert_eq!((total.calls, total.other_queries), (2, 0));
    }

    #[tokio::test]
    async fn chats_of_an_account_are_listed_with_its_errors_and_the_faults() {
        let (address, simulator) = serve_with(Faults::default()).await;
        let page: Value =
            serde_json::from_str(body(&get(address, "/v1/chats?account_id=done~a&limit=2").await)).unwrap();
        assert_eq!((page["items"][1]["id"].as_str(), page["cursor"].as_str()), (Some("done~a~2"), Some("after=2")));
        for (path, status) in [
            ("/v1/chats?account_id=done&limit=251", "400"),
            ("/v1/chats?account_id=503-for-1-call-then-done", "503"),
            ("/v1/chats?account_id=503-for-1-call-then-done", "200"),
            ("/v1/chats?account_id=resource_not_found", "404"),
        ] {
            assert_eq!(status_line(&get(address, path).await).split(' ').nth(1), Some(status), "{path}");
        }
        let refused = raw(address, "GET", "/v1/chats?account_id=done", "").await;
        assert!(refused.contains("errors/missing_credentials"), "{refused}");
        let stats = simulator.stats();
        assert_eq!((stats.pages_listed, stats.total.calls), (4, 0));

        let (address, _) = serve_with(Faults { drop_reply_rate: 1.0, ..Faults::default() }).await;
        assert_eq!(get(address, "/v1/chats?account_id=done").await, "");
    }

    #[tokio::test]
    async fn retry_after_is_a_header() {
        let (address, _) = serve_with(Faults::default()).await;
        let answer = get(address, "/v1/chats/429-retry-after-7s/sync").await;
        assert_eq!(status_line(&answer), "HTTP/1.1 429 Too Many Requests");
        assert!(answer.contains("\r\nretry-after: 7\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn lost_reply_closes_the_connection_without_an_answer() {
        let (address, simulator) = serve_with(Faults { drop_reply_rate: 1.0, ..Faults::default() }).await;
        assert_eq!(get(address, "/v1/chats/done/sync").await, "");
        let total = simulator.stats().total;
        assert_eq!((total.syncs_started, total.delivered, total.in_flight), (1, 0, 0));
    }

    #[tokio::test]
    async fn call_of_a_disconnected_client_lands() {
        let latency = Span::fixed(Duration::from_secs(1));
        let (address, simulator) = serve_with(Faults { latency, ..Faults::default() }).await;
        let client = tokio::spawn(async move { get(address, "/v1/chats/done/sync").await });
        until(|| simulator.stats().total.calls == 1).await;
        client.abort();
        until(|| simulator.stats().total.in_flight == 0).await;
        until(|| simulator.stats().total.landed == 1).await;
        assert_eq!(simulator.stats().total.delivered, 0);
    }

    #[tokio::test]
    async fn counts_and_log_can_be_read_over_http() {
        let (address, _) = serve_with(Faults::default()).await;
        get(address, "/v1/chats/deleted/sync").await;
        let stats: Value = serde_json::from_str(body(&get(address, "/stats").await)).unwrap();
        assert_eq!(stats["total"]["calls"], 1);
        assert_eq!(stats["subjects"]["default/chat/deleted"]["terminal_answers"], 1);
        let log: Value = serde_json::from_str(body(&get(address, "/log").await)).unwrap();
        assert_eq!(log[0]["said"], "CHAT_DELETED");
        assert_eq!(log[0]["delivered"], true);
    }

    #[tokio::test]
    async fn other_addresses_than_loopback_are_rejected() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let bound = Server::bind(address.parse().unwrap(), Simulator::new(Faults::default())).await;
            assert!(matches!(bound, Err(BindError::NotLoopback(_))), "{address}");
        }
    }

    #[tokio::test]
    async fn shutdown_ends_the_server_and_its_connections() {
        let simulator = Simulator::new(Faults { late_rate: 1.0, ..Faults::default() });
        let server = Server::bind(([127, 0, 0, 1], 0).into(), simulator.clone()).await.unwrap();
        let address = server.address;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let call = tokio::spawn(async move { get(address, "/v1/chats/done/sync").await });
        until(|| simulator.stats().total.calls == 1).await;
        stop.send(()).unwrap();
        run.await.unwrap();
        assert_eq!(call.await.unwrap(), "");
        assert_eq!(simulator.stats().total.in_flight, 0);
    }
}
