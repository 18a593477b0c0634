//! The calls of the page.
//!
//! ```text
//! GET  /api/overview?filter=…   the bridge and its runs          POST /api/triggers   a trigger, as on the queue
//! GET  /api/run?subject=…       one run with its history         POST /api/cancel     {"subject": "…"}
//! GET  /api/dead-letters        what a redrive would do          POST /api/redrive    {"message_ids": […]}
//! ```

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::Bridge;
use super::view::{Overview, RunDetails, ShownLetter};
use crate::ids::{MessageId, Subject};
use crate::message::TriggerBody;
use crate::service::ServiceError;
use crate::time::Clock;
use crate::webhook::problem::{Kind, Problem};
use crate::webhook::{JSON, NO_STORE, Request, Response, json_response, request};

/// The path prefix of each call.
pub(super) const PREFIX: &str = "/api/";

/// The answer to a trigger or a cancel that is on the queue.
#[derive(Debug, Serialize)]
struct Accepted {
    message_id: MessageId,
    subject: Subject,
}

/// The body of a cancel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    subject: Subject,
}

/// The body of a redrive: the dead letters whose plan was shown, and not those that have come since.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Redrive {
    message_ids: BTreeSet<MessageId>,
}

/// The dead letters.
#[derive(Debug, Serialize)]
struct Letters {
    letters: Vec<ShownLetter>,
}

/// Answers a call. `query` is the URL's, as the client sent it.
pub(super) async fn answer(bridge: &impl Bridge, path: &str, query: &str, request: &Request) -> Response {
    let answered = match (&request.method, path.strip_prefix(PREFIX).unwrap_or_default()) {
        (&Method::GET, "overview") => overview(bridge, query).await,
        (&Method::GET, "run") => run(bridge, query).await,
        (&Method::GET, "dead-letters") => dead_letters(bridge).await,
        (&Method::POST, "triggers") => trigger(bridge, request).await,
        (&Method::POST, "cancel") => cancel(bridge, request).await,
        (&Method::POST, "redrive") => redrive(bridge, request).await,
        (_, "overview" | "run" | "dead-letters") => Err(Problem::method_not_allowed("GET")),
        (_, "triggers" | "cancel" | "redrive") => Err(Problem::method_not_allowed("POST")),
        _ => Err(Problem::new(Kind::NoSuchPath, "the page asks for nothing there; reload it")),
    };
    answered.unwrap_or_else(|problem| problem.into_response(&request.id))
}

async fn overview(bridge: &impl Bridge, query: &str) -> Result<Response, Problem> {
    let open = bridge.open_runs().await.map_err(|error| unavailable(&error))?;
    let ended = bridge.ended_runs().await.map_err(|error| unavailable(&error))?;
    // The runs can be shown without it.
    let queue = bridge.depth().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the queue cannot be read");
        None
    });
    let (comparison, filter) = (bridge.comparison(), parameter(query, "filter").unwrap_or_default());
    let now = Clock::System.now();
    ok(&Overview::new(bridge.about(), now, (open, ended), queue, comparison.as_ref(), &filter))
}

async fn run(bridge: &impl Bridge, query: &str) -> Result<Response, Problem> {
    let no_run = || Problem::new(Kind::NoRun, "no sync of it was requested here, or its run has expired");
    let subject = parameter(query, "subject").and_then(|key| Subject::from_key(&key)).ok_or_else(no_run)?;
    let item = bridge.read(&subject).await.map_err(|error| unavailable(&error))?.ok_or_else(no_run)?;
    let comparison = bridge.comparison();
    ok(&RunDetails::new(&item, Clock::System.now(), &bridge.about(), comparison.as_ref()))
}

async fn trigger(bridge: &impl Bridge, request: &Request) -> Result<Response, Problem> {
    request::check_size(&request.body)?;
    let trigger = request::read(request, &bridge.about().event_source)?;
    send(bridge, &trigger).await
}

async fn cancel(bridge: &impl Bridge, request: &Request) -> Result<Response, Problem> {
    request::check_size(&request.body)?;
    let invalid = |error| Problem::new(Kind::InvalidTrigger, format!("send {{\"subject\": \"…\"}}: {error}"));
    let Cancel { subject } = serde_json::from_slice(&request.body).map_err(invalid)?;
    send(bridge, &TriggerBody::cancel(subject)).await
}

async fn send(bridge: &impl Bridge, trigger: &TriggerBody) -> Result<Response, Problem> {
    let sent = bridge.send(trigger).await.ok_or_else(|| {
        Problem::new(Kind::InvalidTrigger, "this bridge has no queue; use `postpress-bridge sync` in a terminal")
    })?;
    let message_id = sent.map_err(|error| unavailable(&error))?;
    Ok(json_response(StatusCode::ACCEPTED, &Accepted { message_id, subject: trigger.subject.clone() }, JSON, NO_STORE))
}

async fn dead_letters(bridge: &impl Bridge) -> Result<Response, Problem> {
    let letters = bridge.dead_letters().await.map_err(|error| unavailable(&error))?;
    let source = bridge.about().event_source;
    ok(&Letters { letters: letters.iter().map(|letter| ShownLetter::new(letter, &source)).collect() })
}

async fn redrive(bridge: &impl Bridge, request: &Request) -> Result<Response, Problem> {
    let invalid = |error| Problem::new(Kind::UnreadableRequest, format!("send {{\"message_ids\": [\"…\"]}}: {error}"));
    let Redrive { message_ids } = serde_json::from_slice(&request.body).map_err(invalid)?;
    ok(&bridge.redrive(&message_ids).await.map_err(|error| unavailable(&error))?)
}

fn ok(body: &impl Serialize) -> Result<Response, Problem> {
    Ok(json_response(StatusCode::OK, body, JSON, NO_STORE))
}

fn unavailable(error: &ServiceError) -> Problem {
    tracing::warn!(%error, "the page cannot be answered");
    Problem::new(Kind::Unavailable, error.to_string())
}

fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}
