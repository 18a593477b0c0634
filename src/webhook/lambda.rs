//! Lambda's HTTP events, from a function URL or an HTTP API of API Gateway, in the webhook's terms.

use lambda_http::RequestExt;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::aws_lambda_events::encodings::Body;
use lambda_http::request::RequestContext;

use super::routes::Route;
use super::{Path, Request};

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
    match context {
        Some(RequestContext::ApiGatewayV2(context)) if !is_function_url(context) => {
            let path = Path::Decoded(raw.to_owned());
            let stage = context.stage.as_deref().unwrap_or_default();
            // Behind a domain of its own an API has no stage in its paths, and a stage may be called `v1`.
            if Route::of(&path).is_some() { path } else { Path::Decoded(without_stage(raw, stage).to_owned()) }
        }
        _ => Path::Encoded(raw.to_owned()),
    }
}

/// The path without the stage that an API puts in front of it. The stage `$default` leaves no trace.
fn without_stage<'a>(path: &'a str, stage: &str) -> &'a str {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage));
    rest.filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

fn is_function_url(context: &ApiGatewayV2httpRequestContext) -> bool {
    context.domain_name.as_deref().is_some_and(|domain| domain.contains(FUNCTION_URL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_in_front_of_a_path_is_no_part_of_it() {
        let api = "abcdefg.execute-api.eu-west-1.amazonaws.com";
        let decoded = |path: &str| Path::Decoded(path.to_owned());
        for (domain, stage, raw, found) in [
            (api, "$default", "/v1/syncs", decoded("/v1/syncs")),
            (api, "prod", "/prod/v1/syncs", decoded("/v1/syncs")),
            (api, "prod", "/v1/syncs", decoded("/v1/syncs")),
            (api, "prod", "/production/v1/syncs", decoded("/production/v1/syncs")),
            (api, "prod", "/prod/prod/v1/syncs", decoded("/prod/v1/syncs")),
            (api, "v1", "/v1/v1/chats/a/b/sync", decoded("/v1/chats/a/b/sync")),
            ("api.example.com", "v1", "/v1/syncs", decoded("/v1/syncs")),
            (api, "prod", "/prod", decoded("/prod")),
            (api, "prod", "", decoded("")),
            (
                "abc.lambda-url.eu-west-1.on.aws",
                "$default",
                "/v1/chats/%2F/sync",
                Path::Encoded("/v1/chats/%2F/sync".into()),
            ),
        ] {
            let mut context = ApiGatewayV2httpRequestContext::default();
            (context.domain_name, context.stage) = (Some(domain.to_owned()), Some(stage.to_owned()));
            assert_eq!(path(raw, Some(&RequestContext::ApiGatewayV2(context))), found, "{domain} {stage} {raw}");
        }
    }
}
