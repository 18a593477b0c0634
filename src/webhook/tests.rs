//! The webhook over ports in memory: requests, answers, and what is sent to the queue.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::{Auth, Path, Request, Response, Webhook};
use crate::credentials::webhook::{Credentials, SigningSecrets, Tokens};
use crate::credentials::{Rotating, SecretStore};
use crate::ids::{MessageId, Subject};
use crate::message::{Message, Record};
use crate::queue::{Outgoing, Queue, VisibilityChange};
use crate::run::{DueRun, Item, Write, WriteResult};
use crate::service::{Misconfiguration, ServiceError};
use crate::settings::DEFAULT_EVENT_SOURCE;
use crate::store::RunStore;
use crate::time::{Clock, Millis};

mod access;
mod answers;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OLD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN: &str = "token-of-the-test";
const MINUTE: Duration = Duration::from_mins(1);

/// How a port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Works,
    Throttles,
    NoConnection,
    Breaks,
    Refuses,
    Hangs,
    Panics,
}

impl Mood {
    async fn show(self) -> Result<(), ServiceError> {
        match self {
            Self::Works => Ok(()),
            Self::Throttles => Err(ServiceError::Throttled("throttled".to_owned())),
            Self::NoConnection => Err(ServiceError::Unreachable("no connection".to_owned())),
            Self::Breaks => Err(ServiceError::Transient("the connection broke".to_owned())),
            Self::Refuses => Err(Misconfiguration::new("no such queue or table", "make it").into()),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("as intended"),
        }
    }
}

/// A queue that is only sent to, and a table of one item that is only read.
struct Ports {
    mood: Cell<Mood>,
    /// The mood after the next request.
    then: Cell<Option<Mood>>,
    requests: Cell<usize>,
    sent: RefCell<Vec<String>>,
    item: RefCell<Option<Item>>,
}

impl Queue for Rc<Ports> {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        self.requests.update(|requests| requests + 1);
        let mood = self.mood.get();
        self.mood.set(self.then.take().unwrap_or(mood));
        if let Err(error) = mood.show().await {
            return vec![Err(error); messages.len()];
        }
        let mut sent = self.sent.borrow_mut();
        sent.extend(messages.iter().map(|message| message.body.clone()));
        vec![Ok(MessageId::new(format!("m-{}", sent.len()))); messages.len()]
    }

    async fn change_visibility(&self, _: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        unreachable!("the webhook receives nothing")
    }
}

impl RunStore for Rc<Ports> {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        self.requests.update(|requests| requests + 1);
        self.mood.get().show().await?;
        Ok(self.item.borrow().clone().filter(|item| item.subject == *subject))
    }

    async fn write(&self, _: &Write) -> Result<WriteResult, ServiceError> {
        unreachable!("the webhook writes nothing")
    }

    async fn due(&self, _: u8, _: Millis, _: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        unreachable!("the webhook looks for nothing")
    }
}

/// A store whose credentials can be rotated.
struct Kept {
    credentials: RefCell<Result<Credentials, ServiceError>>,
    reads: Cell<usize>,
}

impl SecretStore<Credentials> for Rc<Kept> {
    async fn read(&self) -> Result<Credentials, ServiceError> {
        self.reads.update(|reads| reads + 1);
        self.credentials.borrow().clone()
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn credentials(signing: Option<&str>, tokens: Option<&str>) -> Credentials {
    let signing = signing.map(|text| SigningSecrets::parse(&secret(text)).unwrap());
    Credentials::new(signing, tokens.map(|text| Tokens::parse(&secret(text)).unwrap())).unwrap()
}

/// A webhook and its ports.
struct Fixture {
    webhook: Webhook<Rc<Ports>, Rc<Ports>, Rc<Kept>>,
    ports: Rc<Ports>,
}

impl Fixture {
    fn new(auth: Auth<Rc<Kept>>) -> Self {
        let ports = Rc::new(Ports {
            mood: Cell::new(Mood::Works),
            then: Cell::default(),
            requests: Cell::default(),
            sent: RefCell::default(),
            item: RefCell::default(),
        });
        let (store, queue) = (Rc::clone(&ports), Rc::clone(&ports));
        let webhook = Webhook::new(store, queue, auth, Clock::System, DEFAULT_EVENT_SOURCE.to_owned());
        Self { webhook, ports }
    }

    fn with(signing: Option<&str>, tokens: Option<&str>) -> Self {
        Self::new(Auth::Credentials(Rotating::new("credentials", credentials(signing, tokens), None)))
    }

    async fn answer(&self, request: &Request) -> Response {
        self.webhook.answer(request, Instant::now() + MINUTE).await
    }

    /// The status of the answer, and its `type` if it is an error.
    async fn outcome(&self, request: &Request) -> String {
        let response = self.answer(request).await;
        let body: Value = serde_json::from_str(response.body()).unwrap_or_default();
        match body["type"].as_str() {
            Some(kind) => format!("{} {kind}", response.status().as_u16()),
            None => response.status().as_u16().to_string(),
        }
    }

    fn sent(&self) -> Vec<String> {
        self.ports.sent.borrow().clone()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let workspaces = url::form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned()).collect();
    Request {
        id: "request-1".to_owned(),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: Path::Encoded(path.to_owned()),
        workspaces,
        headers: map,
        body: body.as_bytes().to_vec(),
    }
}

/// A trigger with the token.
fn post(headers: &[(&str, &str)], body: &str) -> Request {
    let bearer = format!("Bearer {TOKEN}");
    let common = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    request("POST", "/v1/syncs", &[&common, headers].concat(), body)
}

/// A query of a chat's status with the token.
fn get(path: &str, headers: &[(&str, &str)]) -> Request {
    let bearer = format!("Bearer {TOKEN}");
    request("GET", path, &[&[("authorization", bearer.as_str())], headers].concat(), "")
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn signature(secret: &str, id: &str, timestamp: i64, body: &str) -> String {
    standardwebhooks::Webhook::new(secret).unwrap().sign(id, timestamp, body.as_bytes()).unwrap()
}

/// A signed trigger, with these additional headers.
fn signed(secret: &str, timestamp: i64, headers: &[(&str, &str)], body: &str) -> Request {
    let (signature, timestamp) = (signature(secret, "msg_1", timestamp, body), timestamp.to_string());
    let common = [
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", timestamp.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    request("POST", "/v1/syncs", &[&common, headers].concat(), body)
}
