//! Lambda's HTTP events, from a function URL or an HTTP API of API Gateway, in the webhook's terms.

use lambda_http::RequestExt;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::aws_lambda_events::encodings::Body;
use lambda_http::request::RequestContext;

use super::{Path, Request};

/// The stage that leaves no trace in a path.
const DEFAULT_STAGE: &str = "$default";
/// In the domain of every function URL, and of no API.
const FUNCTION_URL: &str = ".lambda-url.";

impl From<lambda_http::Request> for Request {
    fn from(event: lambda_http::Request) -> Self {
        let id = event.lambda_context_ref().map(|context| context.request_id.clone()).unwrap_or_default();
        // The URI has its dot segments resolved; what the client sent is beside it.
        let path = path(event.raw_http_path(), event.request_context_ref());
        let (head, body) = event.into_parts();
        let body = match body {
            Body::Text(text) => text.into_bytes(),
            Body::Binary(bytes) => bytes,
            _ => Vec::new(),
        };
        Self { id, method: head.method, path, headers: head.headers, body }
    }
}

fn path(raw: &str, context: Option<&RequestContext>) -> Path {
    let Some(RequestContext::ApiGatewayV2(context)) = context else { return Path::Encoded(raw.to_owned()) };
    let path = without_stage(raw, context.stage.as_deref().unwrap_or(DEFAULT_STAGE)).to_owned();
    if is_function_url(context) { Path::Encoded(path) } else { Path::Decoded(path) }
}

/// An API hands a path on with its stage in front.
fn without_stage<'a>(path: &'a str, stage: &str) -> &'a str {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage)).filter(|rest| rest.starts_with('/'));
    rest.filter(|_| stage != DEFAULT_STAGE).unwrap_or(path)
}

fn is_function_url(context: &ApiGatewayV2httpRequestContext) -> bool {
    context.domain_name.as_deref().is_some_and(|domain| domain.contains(FUNCTION_URL))
}
