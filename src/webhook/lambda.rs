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
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>), one member at a time, so that an invalid query or host,
//! which is not used, does no harm. `lambda_http` provides the formats of answers. It does not read the requests, because it
//! panics on such a query and cannot describe other events.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lambda_http::aws_lambda_events::alb::AlbTargetGroupResponse;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyResponse;
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
            Ok(request) => Ok(self.answer(&request, ends).await.into()),
            Err(Unreadable::Http(problem)) => Ok(refused(problem).into()),
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
    let source = if let Some(http) = context.object("http") {
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
    /// A REST API's format, which HTTP APIs and function URLs accept too.
    Api(ApiGatewayProxyResponse),
    /// A load balancer's (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html>), which
    /// reads one of the two header fields, depending on its target group.
    LoadBalancer(AlbTargetGroupResponse),
}

impl Answer {
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

/// No answer repeats a header, so one of the two header fields suffices; a REST API would merge both.
impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let mut answer = ApiGatewayProxyResponse::default();
        answer.status_code = head.status.as_u16().into();
        answer.headers = head.headers;
        answer.body = Some(body.into());
        Self::Api(answer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read_event(event: &Value) -> Result<Request, Unreadable> {
        read(&serde_json::value::to_raw_value(event).unwrap(), "id")
    }

    fn sound(event: &Value) -> Request {
        read_event(event).unwrap_or_else(|why| panic!("{event}: {why:?}"))
    }

    /// Why the client is refused or the invocation fails.
    fn refusal(event: &Value) -> String {
        match read_event(event) {
            Err(Unreadable::Http(problem)) => format!("{}: {}", problem.kind.name(), problem.detail),
            Err(Unreadable::LoadBalancer) => "an answer for a load balancer".to_owned(),
            Err(Unreadable::Other(error)) => error.to_string(),
            Ok(request) => panic!("{event} is {request:?}"),
        }
    }

    const API: &str = "abcdefg.execute-api.eu-west-1.amazonaws.com";

    fn version_2(domain: &str, stage: &str, path: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
            "headers": {"host": domain},
            "requestContext": {"domainName": domain, "stage": stage, "http": {"method": "GET", "path": path}},
            "isBase64Encoded": false,
        })
    }

    fn http_api_1(stage: &str, path: &str) -> Value {
        let mut event = rest(stage, path);
        event["version"] = "1.0".into();
        event
    }

    fn rest(stage: &str, path: &str) -> Value {
        json!({
            "resource": "/{proxy+}", "path": path, "httpMethod": "GET", "headers": null, "multiValueHeaders": null,
            "queryStringParameters": null, "pathParameters": null, "stageVariables": null, "body": null,
            "requestContext": {"stage": stage, "path": format!("/{stage}{path}"), "domainName": API, "elb": null},
            "isBase64Encoded": false,
        })
    }

    #[test]
    fn invalid_uri_parts_are_ignored() {
        let mut event = version_2(API, "$default", "/v1/chats/a \"b\" {c}^|`<>[é]/sync");
        event["rawQueryString"] = "a=\"b\" {c}^|`<>é".into();
        event["headers"] = json!({"host": "no host:at all", "x-forwarded-proto": "1:", "idempotency-key": "k"});
        let request = sound(&event);
        assert_eq!(request.path, Path::Decoded("/v1/chats/a \"b\" {c}^|`<>[é]/sync".to_owned()));
        assert_eq!(request.headers["idempotency-key"], "k");
    }

    #[test]
    fn paths_lose_their_stage() {
        let (decoded, encoded) = (|path: &str| Path::Decoded(path.into()), |path: &str| Path::Encoded(path.into()));
        let url = "abc.lambda-url.eu-west-1.on.aws";
        for (event, path) in [
            (version_2(API, "$default", "/v1/syncs"), decoded("/v1/syncs")),
            (version_2(API, "prod", "/prod/v1/syncs"), decoded("/v1/syncs")),
            (version_2(API, "prod", "/v1/syncs"), decoded("/v1/syncs")),
            (version_2(API, "prod", "/production/v1/syncs"), decoded("/production/v1/syncs")),
            (version_2(API, "prod", "/prod/prod/v1/syncs"), decoded("/prod/prod/v1/syncs")),
            (version_2(API, "v1", "/v1/v1/chats/a/b/sync"), decoded("/v1/chats/a/b/sync")),
            (version_2("api.example.com", "v1", "/v1/syncs"), decoded("/v1/syncs")),
            (version_2(API, "prod", "/prod"), decoded("/prod")),
            (version_2(url, "$default", "/v1/chats/%2F/sync"), encoded("/v1/chats/%2F/sync")),
            (http_api_1("$default", "/v1/syncs"), decoded("/v1/syncs")),
            (http_api_1("prod", "/prod/v1/syncs"), decoded("/v1/syncs")),
            (http_api_1("prod", "/v1/chats/50%25/sync"), decoded("/v1/chats/50%25/sync")),
            (rest("prod", "/v1/chats/a%2Fb/sync"), encoded("/v1/chats/a%2Fb/sync")),
            (rest("prod", "/prod/v1/syncs"), encoded("/v1/syncs")),
            (rest("v1", "/v1/syncs"), encoded("/v1/syncs")),
            (rest("prod", "/other/v1/syncs"), encoded("/other/v1/syncs")),
        ] {
            assert_eq!(sound(&event).path, path, "{event}");
        }
    }

    #[test]
    fn base_paths_are_what_the_resource_did_not_match() {
        for (resource, parameters, path, routed) in [
            ("/{proxy+}", json!({"proxy": "v1/syncs"}), "/bridge/v1/syncs", "/v1/syncs"),
            ("/{proxy+}", json!({"proxy": "v1/syncs"}), "/bridge/prod/v1/syncs", "/v1/syncs"),
            ("/{proxy+}", json!({"proxy": "v1/chats/a%2Fb/sync"}), "/x/v1/chats/a%2Fb/sync", "/v1/chats/a%2Fb/sync"),
            ("/v1/chats/{chat_id}/sync", json!({"chat_id": "c"}), "/a/b/v1/chats/c/sync", "/v1/chats/c/sync"),
            ("/v1/syncs", Value::Null, "/bridge/v1/syncs", "/v1/syncs"),
            // The resource has a prefix, and the caller may be allowed to call nothing else.
            ("/public/{proxy+}", json!({"proxy": "v1/syncs"}), "/public/v1/syncs", "/public/v1/syncs"),
            ("/{proxy+}", json!({"proxy": "x/v1/syncs"}), "/x/v1/syncs", "/x/v1/syncs"),
            ("/{proxy+}", json!({"proxy": 7}), "/x/v1/syncs", "/x/v1/syncs"),
            ("/{proxy+}", Value::Null, "/x/v1/syncs", "/x/v1/syncs"),
            ("v1/syncs", Value::Null, "/xv1/syncs", "/xv1/syncs"),
        ] {
            let (mut rest, mut http) = (rest("prod", path), version_2("api.example.com", "prod", path));
            (rest["resource"], rest["pathParameters"]) = (resource.into(), parameters.clone());
            (http["routeKey"], http["pathParameters"]) = (format!("ANY {resource}").into(), parameters);
            assert_eq!(sound(&rest).path, Path::Encoded(routed.to_owned()), "{rest}");
            assert_eq!(sound(&http).path, Path::Decoded(routed.to_owned()), "{http}");
        }
        // An HTTP API decodes the path, and may not decode the parameter.
        let mut event = version_2("api.example.com", "prod", "/x/v1/chats/a/b/sync");
        (event["routeKey"], event["pathParameters"]) =
            ("GET /v1/chats/{chat_id}/sync".into(), json!({"chat_id": "a%2Fb"}));
        assert_eq!(sound(&event).path, Path::Decoded("/v1/chats/a/b/sync".to_owned()));
    }

    #[test]
    fn header_values_are_kept_and_invalid_ones_unreadable() {
        let mut event = rest("prod", "/v1/syncs");
        event["headers"] = json!({
            "Authorization": "Bearer b", "X-One": "1", "x-ONE": "2", "odd\n": "x", "x-null": null, "x-number": 7,
            "x-break": "a\nb", "x-é": "x", "x-text": "é",
        });
        event["multiValueHeaders"] = json!({
            "authorization": ["Bearer a", "Bearer b"], "X-Many": ["1"], "x-many": ["2", null], "x-empty": [], "x-bare": "z",
        });
        let headers = sound(&event).headers;
        let values = |name: &str| {
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>()
        };
        assert_eq!(values("authorization"), ["Bearer a", "Bearer b"]);
        assert_eq!(values("x-one"), ["1", "2"]);
        assert_eq!(values("x-many"), ["1", "2"]);
        assert_eq!((values("x-bare"), values("x-text")), (vec!["z".into()], vec!["é".into()]));
        assert_eq!((values("x-null"), values("x-empty")), (vec![], vec![]));
        for name in ["x-number", "x-break"] {
            assert_eq!(headers[name].as_bytes(), UNREADABLE, "{name}");
            assert!(headers[name].to_str().is_err() && str::from_utf8(headers[name].as_bytes()).is_err());
        }
        assert_eq!(headers.keys().count(), 7, "{headers:?}");
    }

    #[test]
    fn bodies_are_text_or_base64_or_missing() {
        let url = "abc.lambda-url.eu-west-1.on.aws";
        for event in [
            version_2(url, "$default", "/v1/syncs"),
            version_2(API, "$default", "/v1/syncs"),
            http_api_1("prod", "/v1/syncs"),
            rest("prod", "/v1/syncs"),
        ] {
            for (body, is_base64, read) in [
                (json!("é"), json!(false), "é".as_bytes()),
                (json!("w6n/"), json!(true), b"\xc3\xa9\xff"),
                (json!(""), json!(true), b""),
                (json!("w6n/"), Value::Null, b"w6n/"),
                (Value::Null, json!(true), b""),
            ] {
                let mut event = event.clone();
                (event["body"], event["isBase64Encoded"]) = (body, is_base64);
                assert_eq!(sound(&event).body, read, "{event}");
            }
        }
    }

    #[test]
    fn unreadable_events_are_described() {
        let with = |pointer: &str, value: Value| {
            let mut event = version_2(API, "prod", "/v1/syncs");
            *event.pointer_mut(pointer).unwrap() = value;
            event
        };
        let mut object_body = rest("prod", "/v1/syncs");
        object_body["body"] = json!({"chat_id": "c"});
        let mut no_base64 = rest("prod", "/v1/syncs");
        (no_base64["body"], no_base64["isBase64Encoded"]) = ("{\"chat_id\": \"c\"}".into(), true.into());
        let mut no_path = rest("prod", "/v1/syncs");
        no_path["path"] = Value::Null;
        let events = [
            json!({"requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": "GET", "path": "/healthz", "headers": {}}),
            json!({"requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "c"}, "headers": {}}),
            json!({"version": "2.0", "path": "/healthz", "method": "GET", "requestContext": {"serviceNetworkArn": "arn"}}),
            json!({"raw_path": "/healthz", "method": "GET", "headers": {}, "body": "", "is_base64_encoded": false}),
            with("/requestContext/http/method", Value::Null),
            with("/requestContext/http/method", json!("GET IT")),
            with("/rawPath", json!(7)),
            no_path,
            object_body,
            no_base64,
            json!({"Records": [{"messageId": "m", "body": "hidden", "eventSource": "aws:sqs"}]}),
            json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "hidden"}}]}),
            json!({"detail-type": "t", "source": "crm", "detail": {"hidden": 1}}),
            json!({"chat_id": "hidden"}),
            json!({"requestContext": {}}),
            json!({"key1": "hidden"}),
            json!({}),
            json!([]),
            json!(null),
            json!("hidden"),
        ];
        let refusals: Vec<_> = events.iter().map(refusal).collect();
        let refusals = refusals.join("\n");
        assert!(!refusals.contains("hidden"), "{refusals}");
        insta::assert_snapshot!(refusals);
    }

    #[test]
    fn lone_surrogates_in_a_body_are_named() {
        let event = version_2(API, "prod", "/v1/syncs").to_string().replacen('{', r#"{"body": "\ud800","#, 1);
        let event = RawValue::from_string(event).unwrap();
        let Err(Unreadable::Http(problem)) = read(&event, "id") else { panic!("{event}") };
        assert!(problem.detail.contains("lone surrogate"), "{}", problem.detail);
    }

    #[test]
    fn answers_have_their_front_ends_format() {
        let problem = || unreadable("why").into_response("id");
        insta::assert_snapshot!(serde_json::to_string(&Answer::from(problem())).unwrap());
        insta::assert_snapshot!(serde_json::to_string(&Answer::for_load_balancer(problem())).unwrap());
    }
}
