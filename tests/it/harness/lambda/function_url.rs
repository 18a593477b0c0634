//! What AWS puts in front of an HTTP function: a function URL, or an HTTP API or REST API of API Gateway. They turn
//! requests into events, and the function's answers into responses
//! (<https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>,
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::{Function, Lambda, Outcome};

/// A body of this type, or of a text type, is passed on as it is; any other in Base64.
const JSON: &str = "application/json";

impl Function {
    /// The webhook with these settings, as built with this test, since a release build would take minutes.
    pub(crate) fn webhook<N: Into<String>, V: Into<String>>(
        settings: impl IntoIterator<Item = (N, V)>,
        timeout: Duration,
    ) -> Self {
        Self::of(env!("CARGO_BIN_EXE_webhook").into(), settings, timeout)
    }
}

/// The front end of the function.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A function URL, which passes on the raw path.
    FunctionUrl,
    /// An HTTP API with this stage, which passes on the decoded path, prefixed with the stage unless it is the default one.
    HttpApi { stage: &'static str },
    /// The same with payload format 1.0.
    HttpApi1 { stage: &'static str },
    /// A REST API behind a custom domain that maps this base path to it, if any. It passes on the raw path, without the
    /// stage but with the base path.
    RestApi { base_path: &'static str },
}

impl Kind {
    fn domain(self) -> &'static str {
        match self {
            Self::FunctionUrl => "abcdefg.lambda-url.us-east-1.on.aws",
            _ => "abcdefg.execute-api.us-east-1.amazonaws.com",
        }
    }

    fn stage(self) -> &'static str {
        match self {
            Self::FunctionUrl => "$default",
            Self::HttpApi { stage } | Self::HttpApi1 { stage } => stage,
            Self::RestApi { .. } => "prod",
        }
    }

    /// The path that the function receives.
    fn raw_path(self, path: &str) -> String {
        match self {
            Self::FunctionUrl | Self::RestApi { .. } => path.to_owned(),
            Self::HttpApi { .. } | Self::HttpApi1 { .. } => {
                let decoded = percent_decode_str(path).decode_utf8_lossy();
                decoded.split('?').next().unwrap_or_default().to_owned()
            }
        }
    }

    /// The event for a request.
    fn event(self, request: &Request<Bytes>) -> Value {
        let path = self.raw_path(request.uri().path());
        let mut event = match self {
            Self::FunctionUrl | Self::HttpApi { .. } => self.version_2(request, &path),
            Self::HttpApi1 { .. } => {
                let mut event = self.version_1(request, &path, &path);
                event["version"] = "1.0".into();
                event
            }
            Self::RestApi { base_path } => {
                let matched = path.strip_prefix(base_path).unwrap_or(&path);
                self.version_1(request, &path, matched)
            }
        };
        event["isBase64Encoded"] = false.into();
        let body = request.body();
        if !body.is_empty() {
            let kind = request.headers().get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or_default());
            let text = std::str::from_utf8(body).ok().filter(|_| kind.starts_with(JSON) || kind.starts_with("text/"));
            event["isBase64Encoded"] = text.is_none().into();
            event["body"] = text.map_or_else(|| BASE64.encode(body), ToOwned::to_owned).into();
        }
        event
    }

    fn version_2(self, request: &Request<Bytes>, path: &str) -> Value {
        let query =
            request.extensions().get().map_or(request.uri().query().unwrap_or_default(), |RawQuery(query)| query);
        let mut headers = joined(request.headers());
        headers.insert(HOST.to_string(), self.domain().into());
        headers.insert("x-forwarded-proto".to_owned(), "https".into());
        headers.insert("x-forwarded-for".to_owned(), "203.0.113.7".into());
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers,
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "abcdefg",
                "domainName": self.domain(),
                "domainPrefix": "abcdefg",
                "http": {
                    "method": request.method().as_str(),
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7",
                    "userAgent": "tests",
                },
                "requestId": "id",
                "routeKey": "$default",
                "stage": self.stage(),
                "time": "24/Nov/2026:10:00:00 +0000",
                "timeEpoch": 1_795_514_400_000_u64,
            },
        })
    }

    /// The names of headers as HTTP/1.1 clients write them, and every value of a header.
    fn version_1(self, request: &Request<Bytes>, path: &str, matched: &str) -> Value {
        let (mut last, mut all) = (Map::new(), Map::new());
        for name in request.headers().keys() {
            let values = request.headers().get_all(name).iter();
            let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
            let name = capitalized(name.as_str());
            last.insert(name.clone(), values.last().cloned().into());
            all.insert(name, values.into());
        }
        json!({
            "resource": "/{proxy+}",
            "path": path,
            "httpMethod": request.method().as_str(),
            "headers": last,
            "multiValueHeaders": all,
            "queryStringParameters": null,
            "multiValueQueryStringParameters": null,
            "pathParameters": {"proxy": matched.trim_start_matches('/')},
            "stageVariables": null,
            "requestContext": {
                "apiId": "abcdefg",
                "domainName": self.domain(),
                "httpMethod": request.method().as_str(),
                "identity": {"sourceIp": "203.0.113.7"},
                "path": path,
                "requestId": "id",
                "resourcePath": "/{proxy+}",
                "stage": self.stage(),
            },
            "body": null,
        })
    }
}

/// `content-type` as `Content-Type`.
fn capitalized(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// Each header once, with several values joined by commas.
fn joined(headers: &HeaderMap) -> Map<String, Value> {
    let value = |name| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(",")
    };
    headers.keys().map(|name| (name.to_string(), value(name).into())).collect()
}

/// The query of a request whose URI has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawQuery(pub(crate) &'static str);

/// A function behind a URL.
pub(crate) struct Front {
    lambda: Lambda,
    kind: Kind,
}

impl Front {
    pub(crate) fn new(function: Function, kind: Kind) -> Self {
        Self { lambda: Lambda::new(function), kind }
    }

    /// What the function has logged so far.
    pub(crate) fn log(&self) -> String {
        self.lambda.function.log()
    }

    /// The number of processes started so far.
    pub(crate) fn processes_started(&self) -> usize {
        self.lambda.processes_started()
    }

    /// The result of an event that no front end here creates.
    pub(crate) async fn invoke(&self, event: &Value) -> Outcome {
        self.lambda.invoke(event).await
    }

    /// The response that a client receives: 502 if the function answers with an error.
    pub(crate) async fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match self.lambda.invoke(&self.kind.event(request)).await {
            Outcome::Answered(answer) => response(&answer),
            Outcome::Failed(error) => {
                let mut response = Response::new(error.into());
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response
            }
            Outcome::Killed => panic!("the invocation ran out of time: {}", self.log()),
        }
    }

    /// Serves HTTP on loopback while `client`, which receives the URL, runs.
    pub(crate) async fn serve<T>(&self, client: impl AsyncFnOnce(String) -> T) -> T {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = async {
            let mut open = FuturesUnordered::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        let service = service_fn(|request| async { Ok::<_, Infallible>(self.exchange(request).await) });
                        open.push(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                    }
                    // A client may hang up, or send something that is not HTTP.
                    Some(_) = open.next() => {}
                }
            }
        };
        tokio::select! {
            reported = client(url) => reported,
            () = connections => unreachable!("it serves forever"),
        }
    }

    async fn exchange(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return Response::default() };
        self.answer(&Request::from_parts(head, body.to_bytes())).await.map(Full::new)
    }
}

fn response(answer: &Value) -> Response<Bytes> {
    let body = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => BASE64.decode(body).unwrap().into(),
        _ => Bytes::from(body.to_owned()),
    };
    let status = u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap();
    let mut response = Response::builder().status(status);
    for (name, value) in answer["headers"].as_object().unwrap() {
        response = response.header(name, value.as_str().unwrap());
    }
    response.body(body).unwrap()
}
