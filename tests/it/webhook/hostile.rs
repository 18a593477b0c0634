//! Invalid requests: they are refused with the reason, and nothing is sent to the queue.

use http::{HeaderMap, Request};
use hyper::body::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{OLD_SECRET, SECRET, TOKEN, front, get, now, open_front, outcome, post, request, signed};
use crate::harness::emulator::Emulated;
use crate::harness::lambda::{Front, Kind, Outcome, RawQuery};

const BODY: &str = r#"{"chat_id": "c"}"#;

/// The request with another value of a header.
fn with(mut request: Request<Bytes>, name: &'static str, value: &str) -> Request<Bytes> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// The request with one more value of a header.
fn and(mut request: Request<Bytes>, name: &'static str, value: &str) -> Request<Bytes> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

fn without(mut request: Request<Bytes>, name: &str) -> Request<Bytes> {
    request.headers_mut().remove(name);
    request
}

fn body_of(request: Request<Bytes>, body: impl Into<Bytes>) -> Request<Bytes> {
    request.map(|_| body.into())
}

/// Sends each request, and checks that it had no effect: no message, no second process, and nothing of the requests in the log.
async fn assert_refused(aws: &Emulated, front: &Front, cases: Vec<(&str, Request<Bytes>, &str)>) {
    for (name, request, expected) in cases {
        let response = front.answer(&request).await;
        assert_eq!(outcome(&response), expected, "{name}: {response:?}\n{}", front.log());
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
    }
    assert!(aws.queue_is_empty().await, "{}", front.log());
    assert_eq!(front.processes_started(), 1, "{}", front.log());
    let log = front.log();
    for hidden in [TOKEN, &SECRET[6..], &OLD_SECRET[6..], "hidden"] {
        assert!(!log.contains(hidden), "{log}");
    }
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
}

#[tokio::test]
async fn unauthenticated_requests_are_refused() {
    const UNAUTHORIZED: &str = "401 bridge/unauthorized";
    let aws = Emulated::new().await;
    let front = open_front(&aws);
    let good = || signed(SECRET, now(), BODY);
    let bearer = |token: &str| with(post(BODY), "authorization", &format!("Bearer {token}"));
    let signature = good().headers()["webhook-signature"].to_str().unwrap().to_owned();
    let mut read_signed = get("/v1/chats/c/sync");
    *read_signed.headers_mut() = signed(SECRET, now(), "").headers().clone();
    let mut nothing = get("/v1/chats/c/sync");
    *nothing.headers_mut() = HeaderMap::new();
    let cases = vec![
        ("another secret", signed(OLD_SECRET, now(), BODY), UNAUTHORIZED),
        ("stale", signed(SECRET, now() - 310, BODY), UNAUTHORIZED),
        ("of the future", signed(SECRET, now() + 310, BODY), UNAUTHORIZED),
        ("replayed for another chat", body_of(good(), r#"{"chat_id": "d"}"#), UNAUTHORIZED),
        ("another id", with(good(), "webhook-id", "msg_2"), UNAUTHORIZED),
        ("two ids", and(good(), "webhook-id", "msg_1"), UNAUTHORIZED),
        ("two timestamps", and(good(), "webhook-timestamp", &now().to_string()), UNAUTHORIZED),
        ("two signatures", and(good(), "webhook-signature", &signature), UNAUTHORIZED),
        ("an endless timestamp", with(good(), "webhook-timestamp", "-9223372036854775808"), UNAUTHORIZED),
        ("no timestamp", without(good(), "webhook-timestamp"), UNAUTHORIZED),
        ("no token", without(post(BODY), "authorization"), UNAUTHORIZED),
        ("another token", bearer("hidden"), UNAUTHORIZED),
        ("an empty token", bearer(""), UNAUTHORIZED),
        ("two tokens", and(post(BODY), "authorization", &format!("Bearer {TOKEN}")), UNAUTHORIZED),
        ("the secret as a token", bearer(SECRET), UNAUTHORIZED),
        ("the same, without its prefix", bearer(&SECRET[6..]), UNAUTHORIZED),
        (
            "a wrong signature and the token",
            with(signed(OLD_SECRET, now(), BODY), "authorization", &format!("Bearer {TOKEN}")),
            UNAUTHORIZED,
        ),
        ("a status, signed", read_signed, UNAUTHORIZED),
        ("a status, without credentials", nothing, UNAUTHORIZED),
        ("an unsigned body in Base64", body_of(good(), vec![0xff, 0xfe]), UNAUTHORIZED),
    ];
    assert_refused(&aws, &front, cases).await;
}

#[tokio::test]
async fn invalid_triggers_are_refused() {
    const INVALID: &str = "400 bridge/invalid_trigger";
    let aws = Emulated::new().await;
    let front = open_front(&aws);
    let of = |value: serde_json::Value| post(value.to_string());
    let cases = vec![
        ("empty", post(""), INVALID),
        ("no JSON", post("hidden"), INVALID),
        ("an array", post(format!("[{BODY}]")), INVALID),
        ("two", post(format!("{BODY}{BODY}")), INVALID),
        ("not UTF-8", post(b"{\"chat_id\": \"\xff\"}".to_vec()), INVALID),
        ("a NUL", post("{\"chat_id\": \"a\\u0000\"}"), INVALID),
        ("513 bytes", of(json!({"chat_id": "x".repeat(513)})), INVALID),
        (
            "one of our events",
            of(json!({"chat_id": "c", "event_id": Uuid::nil(), "schema_version": "1", "triggers": []})),
            INVALID,
        ),
        ("a sweep", post(postpress_bridge::message::SWEEP_BODY), INVALID),
        ("a poll", of(json!({"postpress_bridge": "poll", "v": 1, "chat_id": "c", "claim_id": "hidden"})), INVALID),
        ("wrapped by a rule", of(json!({"detail-type": "t", "source": "s", "detail": {"chat_id": "c"}})), INVALID),
        ("wrapped by a topic", of(json!({"Type": "Notification", "MessageId": "m", "Message": BODY})), INVALID),
        ("another type", with(post(BODY), "content-type", "text/plain"), "415 bridge/unsupported_media_type"),
        ("two types", and(post(BODY), "content-type", "application/json"), "415 bridge/unsupported_media_type"),
        ("no type", without(post(BODY), "content-type"), "415 bridge/unsupported_media_type"),
        (
            "another charset",
            with(post(BODY), "content-type", "application/json; charset=utf-16"),
            "415 bridge/unsupported_media_type",
        ),
        ("huge", post("x".repeat(6 * 1024 * 1024)), "413 bridge/body_too_large"),
        ("a long key", with(post(BODY), "idempotency-key", &"x".repeat(257)), "400 bridge/invalid_idempotency_key"),
        ("another method", request("DELETE", "/v1/syncs", &[], ""), "405 bridge/method_not_allowed"),
        ("another path", request("POST", "/v1/syncs/", &[], BODY), "404 bridge/no_such_path"),
        ("another version", request("POST", "/v2/syncs", &[], BODY), "404 bridge/no_such_path"),
    ];
    assert_refused(&aws, &front, cases).await;
}

#[tokio::test]
async fn unreadable_bodies_are_refused_with_the_reason() {
    let aws = Emulated::new().await;
    let front = open_front(&aws);
    let utf_16: Vec<u8> = "\u{feff}{\"chat_id\": \"c\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (body, why) in [
        (b"\xef\xbb\xbf{\"chat_id\": \"c\"}".to_vec(), "begins with a byte-order mark"),
        (utf_16[2..].to_vec(), "looks like UTF-16"),
        (utf_16, "is UTF-16"),
        (b"{\"chat_id\": \"\xe9\"}".to_vec(), "byte 13 is 0xe9"),
        (br#"{"chat_id": "\ud800"}"#.to_vec(), "`chat_id` cannot be read: it has a lone surrogate"),
        (br#"{"chat_id": "c", "correlation_id": "\udc00"}"#.to_vec(), "`correlation_id` cannot be read: it has a lone"),
    ] {
        let response = front.answer(&post(body)).await;
        assert_eq!(outcome(&response), "400 bridge/invalid_trigger", "{why}: {response:?}");
        let problem: Value = serde_json::from_slice(response.body()).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(why), "{why}: {problem}");
        assert!(front.log().contains(why), "{why}: {}", front.log());
    }
    assert!(aws.queue_is_empty().await && front.processes_started() == 1, "{}", front.log());
    let sound = with(post(BODY), "content-type", "application/json; charset=utf8");
    assert_eq!(outcome(&front.answer(&sound).await), "202");
}

#[tokio::test]
async fn events_of_other_front_ends_are_described() {
    let aws = Emulated::new().await;
    let front = open_front(&aws);
    let balancer = json!({
        "requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": "GET", "path": "/healthz", "headers": {}, "body": "",
        "isBase64Encoded": false,
    });
    let socket = json!({
        "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "c"}, "headers": {}, "isBase64Encoded": false,
    });
    let lattice =
        json!({"version": "2.0", "path": "/healthz", "method": "GET", "requestContext": {"serviceNetworkArn": "arn"}});
    let no_method = json!({"version": "2.0", "rawPath": "/healthz", "requestContext": {"http": {}}});
    for (event, why) in [
        (balancer, "through an Application Load Balancer"),
        (socket, "through a WebSocket API"),
        (lattice, "through a VPC Lattice service"),
        (no_method, "names no HTTP method"),
    ] {
        let Outcome::Answered(answer) = front.invoke(&event).await else { panic!("{event}: {}", front.log()) };
        assert_eq!(answer["statusCode"], 400, "{answer}");
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["type"], "bridge/unreadable_request");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        assert!(front.log().contains(why), "{}", front.log());
    }
    assert_eq!(front.processes_started(), 1);
    let sqs = json!({"Records": [{"messageId": "m", "body": "hidden", "eventSource": "aws:sqs"}]});
    for (event, why) in [
        (sqs, "the event's first record has `eventSource` \\\"aws:sqs\\\""),
        (json!({"chat_id": "hidden"}), "this is a bare trigger"),
        (json!({"key1": "hidden"}), "an object with \\\"key1\\\""),
        (json!({}), "an object without members"),
        (json!([]), "the event is an array"),
        (Value::Null, "the event is null"),
    ] {
        let said = front.log().lines().count();
        let Outcome::Failed(error) = front.invoke(&event).await else { panic!("{event}: {}", front.log()) };
        assert!(error.contains(why) && error.contains("this function answers HTTP"), "{event}: {error}");
        let log = front.log();
        let errors: Vec<_> = log.lines().skip(said).filter(|line| line.contains(r#""level":"ERROR""#)).collect();
        assert!(errors.len() == 1 && errors[0].contains(why), "{event}: {log}");
    }
    assert!(!front.log().contains("hidden"), "{}", front.log());
    assert!(aws.queue_is_empty().await);
}

#[tokio::test]
async fn odd_chat_ids_are_decoded_exactly_or_refused() {
    let aws = Emulated::new().await;
    let long = "x".repeat(513);
    let longest = "x".repeat(512);
    for (kind, outcomes) in [
        (Kind::FunctionUrl, ["400 bridge/invalid_chat_id", "404 bridge/no_such_path", "404 bridge/no_run"]),
        // Behind an API, a slash in a chat id looks like any other: `..%2F..` is the name of a chat.
        (Kind::HttpApi { stage: "$default" }, ["400 bridge/invalid_chat_id", "404 bridge/no_run", "404 bridge/no_run"]),
    ] {
        let front = front(&aws, kind, &[("BRIDGE_WEBHOOK_TOKEN", TOKEN)]);
        let [invalid, no_segment, no_run] = outcomes;
        let chat = |segment: &str| get(&format!("/v1/chats/{segment}/sync"));
        let cases = vec![
            ("a slash", chat("a%2Fb"), no_run),
            ("up and up again", chat("..%2F.."), no_run),
            ("two segments", chat("a/b"), no_segment),
            ("a navigation", chat(".."), invalid),
            ("an encoded navigation", chat("%2e%2E"), invalid),
            ("here", chat("."), invalid),
            ("nothing", chat(""), invalid),
            ("a NUL", chat("%00"), invalid),
            ("a line break", chat("a%0D%0Ahidden:%201"), invalid),
            ("unicode", chat("%F0%9F%92%AC"), no_run),
            ("513 bytes", chat(&long), invalid),
            ("512 bytes", chat(&longest), no_run),
        ];
        assert_refused(&aws, &front, cases).await;
    }
    let front = open_front(&aws);
    let cases = vec![
        ("a bare percent", get("/v1/chats/50%/sync"), "400 bridge/invalid_chat_id"),
        ("not UTF-8", get("/v1/chats/%FF/sync"), "400 bridge/invalid_chat_id"),
    ];
    assert_refused(&aws, &front, cases).await;
}

#[tokio::test]
async fn unread_headers_may_be_non_ascii() {
    let aws = Emulated::new().await;
    let front = open_front(&aws);
    for (name, value, expected) in
        [("x-odd", "é", "200"), ("authorization", "Bearer é", "401 bridge/unauthorized"), ("if-none-match", "é", "200")]
    {
        let path = if expected == "200" { "/healthz?a=%22&b=é" } else { "/v1/chats/c/sync" };
        assert_eq!(outcome(&front.answer(&request("GET", path, &[(name, value)], "")).await), expected, "{name}");
    }
    assert_eq!(front.processes_started(), 1);
}

#[tokio::test]
async fn query_strings_are_ignored() {
    let aws = Emulated::new().await;
    let front = open_front(&aws);
    for query in ["a=1", "a=\"b\"", "{}|^`<> é", "%"] {
        let mut request = request("GET", "/healthz", &[], "");
        request.extensions_mut().insert(RawQuery(query));
        assert_eq!(outcome(&front.answer(&request).await), "200", "{query}: {}", front.log());
    }
}
