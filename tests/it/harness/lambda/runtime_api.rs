//! Lambda's Runtime API, as one process sees it: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

const RUNTIME: &str = "/2018-06-01/runtime/";

/// The ARN of the function.
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:sync-worker";

/// An event for the function.
pub(super) struct Invocation {
    pub(super) request_id: String,
    /// `Lambda-Runtime-Deadline-Ms`.
    pub(super) deadline_ms: u64,
    pub(super) event: String,
}

/// A post of the function.
pub(super) enum Posted {
    /// Its answer to an event.
    Response { request_id: String, body: String },
    /// An error of an invocation or of its start; the text is for people.
    Error(String),
}

/// The API of one process, which ends when this is dropped.
pub(super) struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::UnboundedSender<Invocation>,
    posted: mpsc::UnboundedReceiver<Posted>,
    asked: watch::Receiver<bool>,
    /// Ends when it is dropped.
    _server: JoinSet<()>,
}

/// The process's side.
struct Desk {
    invocations: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    posted: mpsc::UnboundedSender<Posted>,
    asked: watch::Sender<bool>,
}

impl RuntimeApi {
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (invocations, to_take) = mpsc::unbounded_channel();
        let (post, posted) = mpsc::unbounded_channel();
        let (ask, asked) = watch::channel(false);
        let desk = Desk { invocations: Mutex::new(to_take), posted: post, asked: ask };
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::new(desk)));
        Self { address, invocations, posted, asked, _server: server }
    }

    /// `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits until the process has asked for its first event.
    pub(super) async fn asked(&mut self) {
        self.asked.wait_for(|asked| *asked).await.unwrap();
    }

    /// Answers the process's next request with this event.
    pub(super) fn hand_out(&self, invocation: Invocation) {
        self.invocations.send(invocation).unwrap_or_else(|_| panic!("the Runtime API has ended"));
    }

    /// The process's next post.
    pub(super) async fn posted(&mut self) -> Posted {
        self.posted.recv().await.unwrap()
    }
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                let desk = Arc::clone(&desk);
                connections.spawn(async move {
                    let service = service_fn(|request| async { Ok::<_, Infallible>(desk.answer(request).await) });
                    // A killed process closes the connection.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let call: Vec<&str> = path.strip_prefix(RUNTIME).unwrap_or_default().split('/').collect();
        if let (&Method::GET, ["invocation", "next"]) = (&head.method, &call[..]) {
            return self.next().await;
        }
        let body = body.collect().await.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        // Interrupted midway: the process is dead, and the answer has no reader.
        let Ok(body) = body else { return status(StatusCode::BAD_REQUEST) };
        let posted = match (head.method, &call[..]) {
            (Method::POST, ["invocation", id, "response"]) => Posted::Response { request_id: (*id).to_owned(), body },
            (Method::POST, ["invocation", _, "error"] | ["init", "error"]) => Posted::Error(format!("{path}: {body}")),
            _ => return status(StatusCode::NOT_FOUND),
        };
        // The receiver is gone once the environment is.
        let _ = self.posted.send(posted);
        status(StatusCode::ACCEPTED)
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        self.asked.send_replace(true);
        let Some(invocation) = self.invocations.lock().await.recv().await else {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        };
        Response::builder()
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", &invocation.request_id)
            .header("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms)
            .header("Lambda-Runtime-Invoked-Function-Arn", FUNCTION_ARN)
            .header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            .body(Full::from(invocation.event))
            .unwrap()
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
