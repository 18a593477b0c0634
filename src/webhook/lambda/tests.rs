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
fn workspace_is_read_from_the_query_of_every_format() {
    let path = "/v1/chats/c/sync";
    for (query, workspaces) in [
        ("", &[][..]),
        ("a=\"b\" {c}^|`<>é", &[]),
        ("x=1&workspace=team%2D7&y", &["team-7"]),
        ("workspace", &[""]),
        ("workspace=a&workspace=b", &["a", "b"]),
    ] {
        let mut event = version_2(API, "$default", path);
        event["rawQueryString"] = query.into();
        assert_eq!(sound(&event).workspaces, workspaces, "{query}");
    }
    for (single, multiple, workspaces) in [
        (json!(null), json!(null), &[][..]),
        (json!({"x": "1", "workspace": "a b"}), json!(null), &["a b"]),
        (json!({"workspace": "b"}), json!({"workspace": ["a", "b"], "x": [1]}), &["a", "b"]),
        (json!({"workspace": ""}), json!({"workspace": [""]}), &[""]),
    ] {
        for mut event in [rest("prod", path), http_api_1("$default", path)] {
            event["queryStringParameters"] = single.clone();
            event["multiValueQueryStringParameters"] = multiple.clone();
            assert_eq!(sound(&event).workspaces, workspaces, "{event}");
        }
    }
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
    (event["routeKey"], event["pathParameters"]) = ("GET /v1/chats/{chat_id}/sync".into(), json!({"chat_id": "a%2Fb"}));
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
    for event in [r#"{"httpMethod": "GET"}"#, r#"{"requestContext": {"http": {"method": "GET"}}}"#] {
        let event = RawValue::from_string(event.to_owned()).unwrap();
        insta::assert_snapshot!(serde_json::to_string(&Answer::to(&event, problem())).unwrap());
    }
    insta::assert_snapshot!(serde_json::to_string(&Answer::for_load_balancer(problem())).unwrap());
}
