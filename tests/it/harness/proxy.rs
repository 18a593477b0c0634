//! A proxy between the AWS clients and AWS in a test: it records every request and makes some fail.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use postpress_bridge::postpress::client::{http_client, mozilla_roots};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const TARGET: &str = "x-amz-target";

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not delivered, and the connection breaks.
    RequestLost,
    /// It is executed, and the connection breaks before the answer.
    ReplyLost,
    /// It is not delivered, and there is no reply.
    Hangs,
    /// AWS answers with this status and error code instead of executing it.
    Answers(u16, &'static str),
    /// It is answered with a 200; its entries that contain this text fail with this code instead of being executed.
    EntriesFail(&'static str, &'static str),
    /// It is answered with a 200 and this body instead of being executed.
    Says(&'static str),
}

/// A request as sent over the wire.
#[derive(Debug, Clone)]
pub(crate) struct SeenRequest {
    /// `UpdateItem`.
    pub(crate) operation: String,
    pub(crate) body: Value,
}

impl SeenRequest {
    /// The entries of a batch.
    pub(crate) fn entries(&self) -> &[Value] {
        self.body["Entries"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// Which requests: those of an operation whose body contains a text. An empty text matches all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Of(pub(crate) &'static str, pub(crate) &'static str);

impl Of {
    fn is(&self, seen: &SeenRequest) -> bool {
        seen.operation == self.0 && seen.body.to_string().contains(self.1)
    }
}

#[derive(Default)]
struct State {
    plans: Vec<(Of, Fault)>,
    seen: Vec<SeenRequest>,
}

/// A proxy on loopback. It ends with the test's runtime.
pub(crate) struct Proxy {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts a proxy for the AWS at this endpoint.
    pub(crate) async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let way = Way { upstream, http: http_client(mozilla_roots()).unwrap(), state: Arc::clone(&state) };
        tokio::spawn(serve(listener, way));
        Self { endpoint, state }
    }

    /// The URL for the clients.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes the next of these requests fail.
    pub(crate) fn once(&self, of: Of, fault: Fault) {
        self.state().plans.push((of, fault));
    }

    /// These requests so far.
    pub(crate) fn seen(&self, of: Of) -> Vec<SeenRequest> {
        self.state().seen.iter().filter(|seen| of.is(seen)).cloned().collect()
    }

    /// All requests so far.
    pub(crate) fn all_seen(&self) -> Vec<SeenRequest> {
        self.state().seen.clone()
    }

    /// The number of requests of each operation since the last call.
    pub(crate) fn take_tally(&self) -> BTreeMap<String, usize> {
        let mut tally = BTreeMap::new();
        for seen in self.state().seen.drain(..) {
            *tally.entry(seen.operation).or_default() += 1;
        }
        tally
    }

    /// Whether every planned fault has occurred.
    pub(crate) fn all_faults_occurred(&self) -> bool {
        self.state().plans.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[derive(Clone)]
struct Way {
    upstream: String,
    http: reqwest::Client,
    state: Arc<Mutex<State>>,
}

async fn serve(listener: TcpListener, way: Way) {
    while let Ok((stream, _)) = listener.accept().await {
        let way = way.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| way.handle(request));
            // An error here is a connection that broke as planned, or a client that gave up.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Breaks the connection: hyper does so when a service fails.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks, as the test wants it")]
struct Broken;

type Answer = Response<Full<Bytes>>;

impl Way {
    async fn handle(&self, request: Request<Incoming>) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let target = parts.headers.get(TARGET).map_or("", |target| target.to_str().unwrap());
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let seen = SeenRequest { operation, body: serde_json::from_slice(&body)? };
        let fault = self.note(&seen);
        match fault {
            None => self.carry_out(&parts.headers, body).await,
            Some(Fault::RequestLost) => Err(Broken.into()),
            Some(Fault::ReplyLost) => {
                self.carry_out(&parts.headers, body).await?;
                Err(Broken.into())
            }
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Answers(status, code)) => Ok(error_answer(status, code)),
            Some(Fault::Says(body)) => Ok(Response::new(Full::from(body))),
            Some(Fault::EntriesFail(text, code)) => self.carry_out_without(&parts.headers, seen, text, code).await,
        }
    }

    fn note(&self, seen: &SeenRequest) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        state.seen.push(seen.clone());
        let plan = state.plans.iter().position(|(of, _)| of.is(seen))?;
        Some(state.plans.remove(plan).1)
    }

    async fn carry_out(&self, headers: &HeaderMap, body: Bytes) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let mut request = self.http.post(&self.upstream).body(body);
        // AWS needs these to recognize the request.
        for name in [CONTENT_TYPE.as_str(), AUTHORIZATION.as_str(), TARGET] {
            request = request.header(name, headers.get(name).ok_or(name)?);
        }
        let response = request.send().await?;
        let mut answer = Response::builder().status(response.status());
        *answer.headers_mut().unwrap() = response.headers().clone();
        answer.headers_mut().unwrap().remove(http::header::CONNECTION);
        Ok(answer.body(Full::from(response.bytes().await?))?)
    }

    /// Executes a batch without the entries that contain this text; in the answer they have failed.
    async fn carry_out_without(
        &self,
        headers: &HeaderMap,
        batch: SeenRequest,
        text: &str,
        code: &str,
    ) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let fails = |entry: &Value| entry.to_string().contains(text);
        let entries = batch.entries().to_vec();
        let taken: Vec<_> = entries.iter().filter(|entry| !fails(entry)).cloned().collect();
        let mut answer = Value::Object(serde_json::Map::new());
        if !taken.is_empty() {
            let mut body = batch.body;
            body["Entries"] = taken.into();
            let response = self.carry_out(headers, body.to_string().into()).await?;
            assert_eq!(response.status(), StatusCode::OK);
            answer = serde_json::from_slice(&response.into_body().collect().await.unwrap_or_else(never).to_bytes())?;
        }
        if batch.operation == "PutEvents" {
            // By position.
            let mut taken = answer["Entries"].as_array().cloned().unwrap_or_default().into_iter();
            let failed = json!({"ErrorCode": code, "ErrorMessage": "as the test wants it"});
            let result = |entry| if fails(entry) { failed.clone() } else { taken.next().unwrap() };
            answer["Entries"] = entries.iter().map(result).collect();
            answer["FailedEntryCount"] = entries.iter().filter(|entry| fails(entry)).count().into();
        } else {
            // By id.
            let ours = !code.starts_with("Internal");
            let failed = entries.iter().filter(|entry| fails(entry));
            answer["Failed"] =
                failed.map(|entry| json!({"Id": entry["Id"], "Code": code, "SenderFault": ours})).collect();
        }
        Ok(Response::new(Full::from(answer.to_string())))
    }
}

fn never<T>(never: Infallible) -> T {
    match never {}
}

fn error_answer(status: u16, code: &str) -> Answer {
    let body = json!({"__type": code, "message": "as the test wants it"}).to_string();
    // SQS repeats the code in a header, which its clients read first; other clients ignore it.
    let repeated = format!("{code};Sender");
    let answer = Response::builder().status(status).header("x-amzn-query-error", repeated);
    answer.body(Full::from(body)).unwrap()
}
