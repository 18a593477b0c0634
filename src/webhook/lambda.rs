//! Lambda's HTTP events as requests, and their answers.
//!
//! | front end | payload format | path |
//! | --- | --- | --- |
//! | function URL | 2.0 | as the client sent it |
//! | HTTP API | 1.0 or 2.0 | decoded, cut at a `?`, with the stage in front unless it is `$default` |
//! | REST API | 1.0, without `version` | as the client sent it |
//!
//! A custom domain's base path may precede the path. Events are read as AWS documents them
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>), one member at a time, so that an invalid host or
//! parameter, which is not used, does no harm. `lambda_http` provides the formats of answers. It does not read the requests, because it
//! panics on such a query and cannot describe other events.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lambda_http::aws_lambda_events::alb::AlbTargetGroupResponse;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayV2httpResponse};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::handler::{Webhook, finish, refuse};
use super::problem::{Kind, Problem};
use super::routes::Route;
use super::{Path, Request, Response};
use crate::credentials::SecretStore;
use crate::credentials::webhook::Credentials;
use crate::json::{self, RawObject};
use crate::lambda::{UnknownEvent, description};
use crate::queue::Queue;
use crate::store::RunStore;

/// The member of `requestContext` that only payload format 2.0 has.
const VERSION_2: &str = "http";
/// Part of the domain of every function URL, and of no API.
const FUNCTION_URL: &str = ".lambda-url.";
/// Replaces an invalid header value. It is neither ASCII nor UTF-8, so every reader refuses it.
const UNREADABLE: &[u8] = b"\xff";

impl<S: RunStore, Q: Queue, C: SecretStore<Credentials>> Webhook<S, Q, C> {
    /// Answers an event of any front end before the invocation `ends`; `id` is the request id.
    ///
    /// # Errors
    /// If the sender of the event does not expect an HTTP answer.
    pub async fn invoke(&self, event: &RawValue, id: &str, ends: Instant) -> Result<Answer, UnknownEvent> {
        let refused = |problem| finish(&Method::GET, refuse(id, problem));
        match read(event, id) {
            Ok(request) => Ok(Answer::to(event, self.answer(&request, ends).await)),
            Err(Unreadable::Http(problem)) => Ok(Answer::to(event, refused(problem))),
            Err(Unreadable::LoadBalancer) => {
                Ok(Answer::for_load_balancer(refused(unsupported("an Application Load Balancer"))))
            }
            Err(Unreadable::Other(error)) => Err(error),
        }
    }
}

/// Why an event is not a request.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    /// It came over HTTP, so the client gets an answer.
    Http(Problem),
    /// It came from a load balancer, which expects answers in its own format.
    LoadBalancer,
    /// It did not come over HTTP.
    Other(UnknownEvent),
}

fn unsupported(front_end: &str) -> Problem {
    unreadable(format!(
        "this function cannot be called through {front_end}; call it through a function URL, an HTTP API or a REST API"
    ))
}

fn unreadable(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::UnreadableRequest, detail)
}

fn read(event: &RawValue, id: &str) -> Result<Request, Unreadable> {
    const REMEDY: &str = "this function answers HTTP requests from a function URL, an HTTP API or a REST API; send other \
                          triggers to the queue";
    let other = || Unreadable::Other(UnknownEvent::new(description(event), REMEDY));
    let object = RawObject::of(event).ok_or_else(other)?;
    let context = object.object("requestContext").unwrap_or_default();
    if context.has("elb") {
        return Err(Unreadable::LoadBalancer);
    }
    if context.has("connectionId") {
        return Err(Unreadable::Http(unsupported("a WebSocket API")));
    }
    if context.has("serviceNetworkArn") || object.has("raw_path") {
        return Err(Unreadable::Http(unsupported("a VPC Lattice service")));
    }
    let source = if let Some(http) = context.object(VERSION_2) {
        Source::version_2(&object, &context, &http)
    } else if object.has("httpMethod") {
        Source::version_1(&object)
    } else {
        return Err(other());
    };
    source.request(&object, &context, id).map_err(|detail| Unreadable::Http(unreadable(detail)))
}

/// The parts that the formats have in different places.
struct Source {
    method: Option<String>,
    path: Option<String>,
    /// The path is as the client sent it.
    is_encoded: bool,
    /// The API's resource or route that matched.
    resource: Option<String>,
}

impl Source {
    /// A function URL, or an HTTP API with payload format 2.0.
    fn version_2(event: &RawObject<'_>, context: &RawObject<'_>, http: &RawObject<'_>) -> Self {
        let route = event.text("routeKey");
        Self {
            method: http.text("method"),
            path: event.text("rawPath"),
            is_encoded: context.text("domainName").is_some_and(|domain| domain.contains(FUNCTION_URL)),
            resource: route.and_then(|route| route.split_once(' ').map(|(_, resource)| resource.to_owned())),
        }
    }

    /// A REST API, or an HTTP API with payload format 1.0; only the latter names a version.
    fn version_1(event: &RawObject<'_>) -> Self {
        Self {
            method: event.text("httpMethod"),
            path: event.text("path"),
            is_encoded: !event.has("version"),
            resource: event.text("resource"),
        }
    }

    fn request(self, event: &RawObject<'_>, context: &RawObject<'_>, id: &str) -> Result<Request, String> {
        let method = self.method.ok_or("the event names no HTTP method")?;
        let path = self.path.ok_or("the event names no path")?;
        let as_sent = |text: &str| match self.is_encoded {
            true => Path::Encoded(text.to_owned()),
            false => Path::Decoded(text.to_owned()),
        };
        // A stage may be named like a path's first segment, so the unchanged path is tried first.
        let parameters = event.object("pathParameters").unwrap_or_default();
        let matched = self.resource.and_then(|resource| matched(&path, resource, &parameters));
        let stage = context.text("stage").unwrap_or_default();
        let candidates = [Some(&*path), matched, Some(without_stage(&path, &stage))];
        let routed = candidates.into_iter().flatten().map(as_sent).find(|path| Route::of(path).is_some());
        Ok(Request {
            id: id.to_owned(),
            method: Method::from_bytes(method.as_bytes()).map_err(|_| "the event's HTTP method is invalid")?,
            path: routed.unwrap_or_else(|| as_sent(&path)),
            workspaces: workspaces(event),
            headers: headers(event),
            body: body(event)?,
        })
    }
}

/// The end of the path that the API's resource matched, without a custom domain's base path and the stage.
fn matched<'a>(path: &'a str, mut resource: String, parameters: &RawObject<'_>) -> Option<&'a str> {
    for (name, value) in parameters.members() {
        let value = json::text(value)?;
        resource = resource.replace(&format!("{{{name}+}}"), &value).replace(&format!("{{{name}}}"), &value);
    }
    let decoded = percent_decode_str(&resource).decode_utf8().ok()?;
    let base = path.strip_suffix(&*resource).or_else(|| path.strip_suffix(&*decoded))?;
    path.get(base.len()..).filter(|matched| matched.starts_with('/'))
}

/// The path without the stage that an API prepends. The stage `$default` is not prepended.
fn without_stage<'a>(path: &'a str, stage: &str) -> &'a str {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage));
    rest.filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// All values of `workspace` in the query: encoded in payload format 2.0, decoded in 1.0.
fn workspaces(event: &RawObject<'_>) -> Vec<String> {
    const NAME: &str = "workspace";
    let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
    if let Some(query) = event.text("rawQueryString") {
        let parameters = url::form_urlencoded::parse(query.as_bytes());
        return parameters.filter(|(name, _)| name == NAME).map(|(_, value)| value.into_owned()).collect();
    }
    let listed = event.object("multiValueQueryStringParameters").and_then(|parameters| parameters.get(NAME));
    if let Some(values) = listed.and_then(|values| serde_json::from_str::<Vec<&RawValue>>(values.get()).ok()) {
        return values.into_iter().filter_map(text).collect();
    }
    let parameters = event.object("queryStringParameters").unwrap_or_default();
    parameters.get(NAME).and_then(text).into_iter().collect()
}

/// All headers with all values. `multiValueHeaders` lists values; `headers` joins them, or has only the last one.
fn headers(event: &RawObject<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in event.object("multiValueHeaders").iter().flat_map(RawObject::members) {
        let values = serde_json::from_str::<Vec<&RawValue>>(values.get()).unwrap_or_else(|_| vec![values]);
        for (name, value) in values.into_iter().filter_map(|value| header(name, value)) {
            headers.append(name, value);
        }
    }
    let listed: HashSet<_> = headers.keys().cloned().collect();
    for (name, value) in event.object("headers").iter().flat_map(RawObject::members) {
        if let Some((name, value)) = header(name, value).filter(|(name, _)| !listed.contains(name)) {
            headers.append(name, value);
        }
    }
    headers
}

/// A header, unless its value is null or its name is invalid. An invalid value must not look as if it had not been sent, so it
/// becomes an unreadable one.
fn header(name: &str, value: &RawValue) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    if value.get() == "null" {
        return None;
    }
    let text = serde_json::from_str::<String>(value.get()).ok();
    let value = text.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
    Some((name, value.or_else(|| HeaderValue::from_bytes(UNREADABLE).ok())?))
}

/// The bytes of the body, which may be missing.
fn body(event: &RawObject<'_>) -> Result<Vec<u8>, String> {
    let Some(body) = event.get("body") else { return Ok(Vec::new()) };
    if !body.get().starts_with('"') {
        return Err("the event's `body` is not a string; send the body's JSON as text".to_owned());
    }
    let text: String = serde_json::from_str(body.get())
        .map_err(|error| format!("the event's `body` cannot be read: {}", json::reason(&error)))?;
    if event.get("isBase64Encoded").is_some_and(|is_base64| is_base64.get() == "true") {
        return BASE64.decode(text).map_err(|_| "the event's `body` is marked as Base64 but is not".to_owned());
    }
    Ok(text.into_bytes())
}

/// An answer in the format that its front end expects.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Payload format 1.0. A REST API refuses other members.
    Version1(ApiGatewayProxyResponse),
    /// Payload format 2.0. AWS can do without `cookies`, but `cargo lambda watch` cannot.
    Version2(ApiGatewayV2httpResponse),
    /// A load balancer's (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html>), which
    /// reads one of the two header fields, depending on its target group.
    LoadBalancer(AlbTargetGroupResponse),
}

impl Answer {
    /// The answer to an event of a function URL or an API. No answer repeats a header, so one of the two header fields suffices; a
    /// REST API would merge both.
    fn to(event: &RawValue, response: Response) -> Self {
        let (head, body) = response.into_parts();
        let (status, body) = (head.status.as_u16().into(), Some(body.into()));
        let context = RawObject::of(event).and_then(|event| event.object("requestContext"));
        if context.is_some_and(|context| context.has(VERSION_2)) {
            let mut answer = ApiGatewayV2httpResponse::default();
            (answer.status_code, answer.headers, answer.body) = (status, head.headers, body);
            Self::Version2(answer)
        } else {
            let mut answer = ApiGatewayProxyResponse::default();
            (answer.status_code, answer.headers, answer.body) = (status, head.headers, body);
            Self::Version1(answer)
        }
    }

    fn for_load_balancer(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let mut answer = AlbTargetGroupResponse::default();
        answer.status_code = head.status.as_u16().into();
        answer.status_description = Some(head.status.to_string());
        (answer.headers, answer.multi_value_headers) = (head.headers.clone(), head.headers);
        answer.body = Some(body.into());
        Self::LoadBalancer(answer)
    }
}

#[cfg(test)]
mod tests;
