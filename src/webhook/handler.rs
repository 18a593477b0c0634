//! One request, one answer.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::auth::{Auth, Refusal, has_token, may_post};
use super::problem::{Kind, Problem};
use super::request::{self, CancelRequest, SyncRequest};
use super::routes::Route;
use super::status::{SyncStatus, entity_tag, is_known};
use super::{JSON, NO_STORE, Request, Response, json_response};
use crate::credentials::SecretStore;
use crate::credentials::webhook::Credentials;
use crate::ids::{MessageGroup, MessageId, Subject, SubjectKind, Workspace};
use crate::message::TriggerBody;
use crate::queue::{Outgoing, Queue};
use crate::service::{ServiceError, retry_until, retry_while};
use crate::store::RunStore;
use crate::time::Clock;

/// How long a request may wait for the queue or the table. Clients commonly time out after 30 seconds or less.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The part of the invocation's time that is reserved for answering.
const TO_ANSWER: Duration = Duration::from_millis(500);

/// The challenge in `WWW-Authenticate`. Of the two schemes only this one is registered.
const CHALLENGE: &str = "Bearer realm=\"postpress-bridge\"";
/// A status is for one caller, and outdated after the next poll.
const REVALIDATE: &str = "private, no-cache";

/// The HTTP API over a run table and a queue.
#[derive(Debug)]
pub struct Webhook<S, Q, C> {
    store: S,
    queue: Q,
    auth: Auth<C>,
    clock: Clock,
    /// The `source` of our own events, which are never triggers.
    event_source: String,
}

impl<S: RunStore, Q: Queue, C: SecretStore<Credentials>> Webhook<S, Q, C> {
    /// Answers from this table, and sends to this queue.
    pub fn new(store: S, queue: Q, auth: Auth<C>, clock: Clock, event_source: String) -> Self {
        Self { store, queue, auth, clock, event_source }
    }

    /// Answers a request before the invocation `ends`, even if handling it panics.
    pub async fn answer(&self, request: &Request, ends: Instant) -> Response {
        let until = (Instant::now() + ANSWER_WITHIN).min(ends.checked_sub(TO_ANSWER).unwrap_or(ends));
        let answered = AssertUnwindSafe(self.respond(request, until)).catch_unwind().await;
        let answered = answered.unwrap_or_else(|_| {
            tracing::error!(request_id = request.id, "request handler panicked");
            Err(Problem::unavailable("an internal error occurred; try again"))
        });
        let response = answered.unwrap_or_else(|problem| refuse(&request.id, problem));
        finish(&request.method, response)
    }

    async fn respond(&self, request: &Request, until: Instant) -> Result<Response, Problem> {
        let Some(route) = Route::of(&request.path) else {
            return Err(Problem::new(Kind::NoSuchPath, "see the OpenAPI description for the paths"));
        };
        match (&request.method, route) {
            (&Method::POST, Route::Syncs) => self.accept(request, until).await,
            (&Method::GET | &Method::HEAD, Route::Sync(kind, subject)) => {
                let subject = self.subject(request, kind, subject, until).await?;
                self.status(request, &subject, until).await
            }
            (&Method::DELETE, Route::Sync(kind, subject)) => {
                let subject = self.subject(request, kind, subject, until).await?;
                self.send(&request.id, &TriggerBody::cancel(subject), None, until).await
            }
            // Depends on no other service.
            (&Method::GET | &Method::HEAD, Route::Health) => {
                Ok(json_response(StatusCode::OK, &serde_json::json!({ "status": "ok" }), JSON, NO_STORE))
            }
            (&Method::OPTIONS, route) => Ok(options(&route)),
            (_, route) => Err(Problem::method_not_allowed(route.allow())),
        }
    }

    async fn accept(&self, request: &Request, until: Instant) -> Result<Response, Problem> {
        request::check_size(&request.body)?;
        self.auth.check(request, until, may_post).await.map_err(unauthorized)?;
        let trigger = request::read(request, &self.event_source)?;
        check_query(request, trigger.subject.workspace())?;
        let group = request::group(&request.headers)?;
        self.send(&request.id, &trigger, group.as_ref(), until).await
    }

    /// What a call with the token is about.
    async fn subject(
        &self,
        request: &Request,
        kind: SubjectKind,
        subject: Result<Subject, String>,
        until: Instant,
    ) -> Result<Subject, Problem> {
        self.auth.check(request, until, has_token).await.map_err(unauthorized)?;
        let subject = subject.map_err(|why| Problem::new(Kind::InvalidId(kind), why))?;
        Ok(subject.in_workspace(workspace(request)?))
    }

    /// Puts the trigger on the queue, and answers that it is there.
    async fn send(
        &self,
        request_id: &str,
        trigger: &TriggerBody,
        group: Option<&MessageGroup>,
        until: Instant,
    ) -> Result<Response, Problem> {
        let message_id = self.enqueue(request_id, trigger, group, until).await?;
        let [chat_id, account_id] = SubjectKind::ALL.map(|kind| trigger.subject.id_of(kind));
        let workspace = trigger.subject.workspace().unless_default().map(Workspace::as_str);
        if trigger.is_cancel() {
            tracing::info!(chat_id, account_id, workspace, %message_id, request_id, "cancel accepted");
            let answer = CancelRequest::accepted(trigger.subject.clone(), message_id);
            return Ok(json_response(StatusCode::ACCEPTED, &answer, JSON, NO_STORE));
        }
        tracing::info!(chat_id, account_id, workspace, %message_id, request_id, "trigger accepted");
        Ok(json_response(StatusCode::ACCEPTED, &SyncRequest::accepted(trigger, message_id), JSON, NO_STORE))
    }

    /// Sends the trigger until SQS has it. With a key, a second message is the same request. Without one it would be another, and
    /// a second cancel could end a run that began after the first, so after a send that may have succeeded, the client decides
    /// whether to send again.
    async fn enqueue(
        &self,
        request_id: &str,
        trigger: &TriggerBody,
        group: Option<&MessageGroup>,
        until: Instant,
    ) -> Result<MessageId, Problem> {
        let message = [Outgoing::of_trigger(trigger, group)];
        // After a timeout, a broken connection, or a failure inside SQS. A send that times out leaves it set.
        let may_be_on_queue = Cell::new(false);
        let send = async || {
            let before = may_be_on_queue.replace(true);
            let sent = self.queue.send(&message).await.pop();
            let sent = sent.unwrap_or_else(|| Err(ServiceError::Transient("the queue returned no result".to_owned())));
            if sent.as_ref().is_err_and(|error| !error.may_have_succeeded()) {
                may_be_on_queue.set(before);
            }
            sent
        };
        let is_cancel = trigger.is_cancel();
        let has_key = trigger.idempotency_key.is_some() && !is_cancel;
        let another = |error: &ServiceError| error.is_retryable() && (has_key || !error.may_have_succeeded());
        retry_while(until, another, send).await.map_err(|error| {
            let may_be_on_queue = may_be_on_queue.get();
            tracing::error!(request_id, %error, may_be_on_queue, is_cancel, "trigger not sent to the queue");
            Problem::unavailable(match (may_be_on_queue, has_key) {
                (false, _) if is_cancel => "the cancel was not accepted: it is not on the queue; send it again",
                (true, _) if is_cancel => {
                    "the cancel may or may not be on the queue; send it again, unless a later run must not be cancelled"
                }
                (false, _) => "the trigger was not accepted: it is not on the queue; send it again",
                (true, true) => {
                    "the trigger may or may not be on the queue; send it again with the same idempotency key"
                }
                (true, false) => {
                    "the trigger may or may not be on the queue, and has no idempotency key: sent again, it is another \
                     request, which may sync twice"
                }
            })
        })
    }

    async fn status(&self, request: &Request, subject: &Subject, until: Instant) -> Result<Response, Problem> {
        let read = retry_until(until, async || self.store.read(subject).await).await.map_err(|error| {
            let [chat_id, account_id] = SubjectKind::ALL.map(|kind| subject.id_of(kind));
            let workspace = subject.workspace().unless_default().map(Workspace::as_str);
            tracing::error!(request_id = request.id, chat_id, account_id, workspace, %error, "run table not read");
            Problem::unavailable("the run table cannot be read; try again")
        })?;
        let now = self.clock.now();
        let Some(item) = read.filter(|item| !item.is_expired(now)) else {
            let kind = subject.kind();
            let detail =
                format!("no sync of this {kind} was requested here, or its run has expired (BRIDGE_RUN_TTL_SECONDS)");
            return Err(Problem::new(Kind::NoRun, detail));
        };
        let mut response = json_response(StatusCode::OK, &SyncStatus::of(&item), JSON, REVALIDATE);
        let tag = entity_tag(response.body());
        if is_known(&request.headers, &tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(CONTENT_TYPE);
            response.body_mut().clear();
        }
        set(&mut response, ETAG, &tag);
        Ok(response)
    }
}

/// The workspace in the query.
fn workspace(request: &Request) -> Result<Workspace, Problem> {
    let invalid = |why: String| Problem::new(Kind::InvalidWorkspace, why);
    match &request.workspaces[..] {
        [] => Ok(Workspace::DEFAULT),
        [name] => Workspace::parse(name).map_err(|error| invalid(error.to_string())),
        _ => Err(invalid("`workspace` is in the query more than once; keep one of them".to_owned())),
    }
}

/// Refuses a query that names another workspace than the trigger, whose own one counts.
fn check_query(request: &Request, of_trigger: &Workspace) -> Result<(), Problem> {
    if request.workspaces.is_empty() || workspace(request)? == *of_trigger {
        return Ok(());
    }
    let why = "the query names another workspace than the body, whose `workspace` counts (`default` without it); leave it out of the query";
    Err(Problem::new(Kind::InvalidWorkspace, why))
}

fn unauthorized(refusal: Refusal) -> Problem {
    Problem::unauthorized(refusal.to_string(), CHALLENGE)
}

fn options(route: &Route) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(&mut response, ALLOW, route.allow());
    set(&mut response, CACHE_CONTROL, NO_STORE);
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Answers a refused request, with one log line that quotes nothing from it.
pub(super) fn refuse(request_id: &str, problem: Problem) -> Response {
    let status = problem.kind.status().as_u16();
    tracing::warn!(request_id, status, problem = problem.kind.name(), reason = problem.detail, "request refused");
    problem.into_response(request_id)
}

/// Adds what every answer has. `HEAD` is answered like `GET`, with the body's length but without the body.
pub(super) fn finish(method: &Method, mut response: Response) -> Response {
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    if *method == Method::HEAD {
        let length = response.body().len().to_string();
        if response.status() != StatusCode::NOT_MODIFIED {
            set(&mut response, CONTENT_LENGTH, &length);
        }
        response.body_mut().clear();
    }
    response
}
