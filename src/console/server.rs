//! The page over HTTP/1.1, on loopback only.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use url::form_urlencoded;

use super::guard::{Guard, protect};
use super::{Bridge, api};
use crate::credentials::webhook::Tokens;
use crate::webhook::problem::{Kind, Problem};
use crate::webhook::request::BODY_MAX_BYTES;
use crate::webhook::{Path, Request};

/// The page's files: path, type and text.
const FILES: [(&str, &str, &str); 6] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/console.css", "text/css; charset=utf-8", include_str!("page/console.css")),
    ("/console.js", SCRIPT, include_str!("page/console.js")),
    ("/chart.js", SCRIPT, include_str!("page/chart.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// How long to wait after a failed accept: a missing resource, such as a file descriptor, is freed when other connections
/// end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a change may take once the page is no longer served.
const COMPLETE_MAX: Duration = Duration::from_secs(30);
/// How long open connections, most of which are idle, are kept after the last change.
const LAST_ANSWER: Duration = Duration::from_millis(100);

/// A call that changes something. A connection that is lost drops its future, so these are not part of one.
type Change<'a> = LocalBoxFuture<'a, ()>;

/// Has a change made by [`Console::serve`], and waits for its answer.
async fn complete<'a>(
    begin: &UnboundedSender<Change<'a>>,
    change: impl Future<Output = Response<String>> + 'a,
) -> Response<String> {
    let (answer, answered) = oneshot::channel();
    let change = async move {
        // An error is a client that has disconnected.
        let _ = answer.send(change.await);
    };
    let stopped = || Problem::new(Kind::Unavailable, "the program stops").into_response("console");
    if begin.send(change.boxed_local()).is_err() {
        return stopped();
    }
    answered.await.unwrap_or_else(|_| stopped())
}

/// The page of a bridge, on a port of this machine.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    address: SocketAddr,
    guard: Guard,
    requests: Cell<u64>,
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`; choose another port with --port, or 0 for any free one")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl Console {
    /// Listens on 127.0.0.1; port 0 is any free port. Requests need one of the tokens.
    ///
    /// # Errors
    /// If the port is not available.
    pub async fn bind(port: u16, tokens: Tokens) -> Result<Self, BindError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, guard: Guard::new(address, tokens), requests: Cell::default() })
    }

    /// Its URL, without the token.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers until `stop` completes, and then completes what changes something. A change is also completed if its client disconnects.
    pub async fn serve(&self, bridge: &impl Bridge, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let (begin, mut begun) = mpsc::unbounded_channel();
        let (mut connections, mut changes) = (FuturesUnordered::new(), FuturesUnordered::new());
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => connections.push(self.connection(bridge, stream, &begin)),
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                Some(change) = begun.recv() => changes.push(change),
                Some(()) = changes.next() => {}
                Some(()) = connections.next() => {}
            }
        }
        while let Ok(change) = begun.try_recv() {
            changes.push(change);
        }
        let complete = async {
            while !changes.is_empty() {
                tokio::select! {
                    Some(()) = changes.next() => {}
                    Some(()) = connections.next() => {}
                }
            }
            // For the last answers to be sent.
            let _ = timeout(LAST_ANSWER, async { while connections.next().await.is_some() {} }).await;
        };
        if timeout(COMPLETE_MAX, complete).await.is_err() {
            tracing::warn!("a change that the page asked for is not known to be complete");
        }
    }

    async fn connection<'a, B: Bridge>(&self, bridge: &'a B, stream: TcpStream, begin: &UnboundedSender<Change<'a>>) {
        let service = service_fn(async |request| Ok::<_, io::Error>(self.answer(bridge, request, begin).await));
        // An error is a client that disconnected.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer<'a, B: Bridge>(
        &self,
        bridge: &'a B,
        request: http::Request<Incoming>,
        begin: &UnboundedSender<Change<'a>>,
    ) -> Response<Full<Bytes>> {
        let response = match self.guard.check_place(request.headers()) {
            Ok(()) => self.route(bridge, request, begin).await,
            Err(refusal) => refusal.response(),
        };
        protect(response).map(Full::from)
    }

    async fn route<'a, B: Bridge>(
        &self,
        bridge: &'a B,
        request: http::Request<Incoming>,
        begin: &UnboundedSender<Change<'a>>,
    ) -> Response<String> {
        let (path, method) = (request.uri().path().to_owned(), request.method());
        if [Method::GET, Method::HEAD].contains(method)
            && let Some((_, kind, text)) = FILES.iter().find(|(file, ..)| *file == path)
        {
            let mut response = Response::new((*text).to_owned());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            return response;
        }
        let is_api = path.starts_with(api::PREFIX);
        if is_api && let Err(refusal) = self.guard.check_token(request.headers()) {
            return refusal.response();
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let request = match self.read(request, &query).await {
            Ok(request) => request,
            Err(problem) => return problem.into_response("console"),
        };
        if is_api && request.method == Method::POST {
            return complete(begin, async move { api::answer(bridge, &path, &query, &request).await }).await;
        }
        if is_api {
            return api::answer(bridge, &path, &query, &request).await;
        }
        match bridge.front_door(&request).await {
            Some(response) => response,
            None => {
                let mut response = Response::new("there is nothing here\n".to_owned());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }

    /// The request with its body, as the webhook reads it.
    async fn read(&self, request: http::Request<Incoming>, query: &str) -> Result<Request, Problem> {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let (parts, body) = request.into_parts();
        // One byte more than is allowed, which is then refused with the right answer.
        let too_large = |_| Problem::new(Kind::BodyTooLarge, "the body cannot be read, or is larger than any trigger");
        let body = Limited::new(body, BODY_MAX_BYTES + 1).collect().await.map_err(too_large)?.to_bytes();
        let workspaces = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "workspace");
        Ok(Request {
            id: format!("request-{number}"),
            method: parts.method,
            path: Path::Encoded(parts.uri.path().to_owned()),
            workspaces: workspaces.map(|(_, value)| value.into_owned()).collect(),
            headers: parts.headers,
            body: body.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::super::{About, BridgeKind, Comparison, Redriven};
    use super::*;
    use crate::ids::{MessageId, Subject};
    use crate::message::TriggerBody;
    use crate::message::dead_letter::DeadLetter;
    use crate::queue::Depth;
    use crate::run::Item;
    use crate::service::ServiceError;
    use crate::store::{EndedRuns, OpenRuns};
    use crate::webhook;

    const TOKEN: &str = "a-token-for-this-test";

    /// A bridge whose redrive takes until it is told to go on.
    #[derive(Default)]
    struct SlowBridge {
        has_begun: Notify,
        may_end: Notify,
        redriven: RefCell<BTreeSet<MessageId>>,
    }

    impl Bridge for SlowBridge {
        fn about(&self) -> About {
            About {
                kind: BridgeKind::Dev,
                title: String::new(),
                front_door: None,
                can_trigger: true,
                refresh: Duration::ZERO,
                overdue: Duration::ZERO,
                event_source: String::new(),
            }
        }

        async fn open_runs(&self) -> Result<OpenRuns, ServiceError> {
            Ok(OpenRuns { runs: Vec::new(), is_cut: false })
        }

        async fn ended_runs(&self) -> Result<EndedRuns, ServiceError> {
            Ok(EndedRuns { runs: Vec::new(), looked_at: 0, is_complete: true })
        }

        async fn read(&self, _: &Subject) -> Result<Option<Item>, ServiceError> {
            Ok(None)
        }

        async fn depth(&self) -> Result<Option<Depth>, ServiceError> {
            Ok(None)
        }

        async fn send(&self, _: &TriggerBody) -> Option<Result<MessageId, ServiceError>> {
            None
        }

        async fn dead_letters(&self) -> Result<Vec<DeadLetter>, ServiceError> {
            Ok(Vec::new())
        }

        async fn redrive(&self, shown: &BTreeSet<MessageId>) -> Result<Redriven, ServiceError> {
            self.has_begun.notify_one();
            self.may_end.notified().await;
            self.redriven.replace(shown.clone());
            Ok(Redriven { sent: shown.len(), ..Redriven::default() })
        }

        fn comparison(&self) -> Option<Comparison> {
            None
        }

        async fn front_door(&self, _: &webhook::Request) -> Option<webhook::Response> {
            None
        }
    }

    async fn begin_redrive(console: &Console) -> TcpStream {
        let mut client = TcpStream::connect(console.address).await.unwrap();
        let body = r#"{"message_ids": ["shown"]}"#;
        let request = format!(
            "POST /api/redrive HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            console.address,
            body.len()
        );
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    async fn console() -> Console {
        Console::bind(0, Tokens::parse(&TOKEN.into()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_change_is_completed_though_its_client_disconnects() {
        let (console, bridge, stop) = (console().await, SlowBridge::default(), Notify::new());
        let client = async {
            let client = begin_redrive(&console).await;
            bridge.has_begun.notified().await;
            drop(client);
            // The page is still served meanwhile, so that its server notices that the client is gone.
            let mut other = TcpStream::connect(console.address).await.unwrap();
            other.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
            other.read_to_end(&mut Vec::new()).await.unwrap();
            bridge.may_end.notify_one();
            let completed = async {
                while bridge.redriven.borrow().is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(10), completed).await.expect("it is completed");
            stop.notify_one();
        };
        tokio::join!(console.serve(&bridge, stop.notified()), client);
        assert_eq!(bridge.redriven.take(), [MessageId::new("shown")].into());
    }

    #[tokio::test]
    async fn a_change_is_completed_and_answered_though_the_program_stops() {
        let (console, bridge, stop) = (console().await, SlowBridge::default(), Notify::new());
        let client = async {
            let mut client = begin_redrive(&console).await;
            bridge.has_begun.notified().await;
            stop.notify_one();
            tokio::task::yield_now().await;
            bridge.may_end.notify_one();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(console.serve(&bridge, stop.notified()), client);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""sent":1"#), "{answer}");
    }
}
