//! Answers, and what is sent to the queue.

use super::*;

/// A sent message as the worker reads it.
fn read(body: &str) -> Message {
    let record = Record {
        message_id: MessageId::new("m-1"),
        receipt_handle: String::new(),
        body: body.to_owned(),
        sent_at: Millis(0),
        receive_count: 1,
        trace: None,
        group: None,
    };
    Message::parse(&record, DEFAULT_EVENT_SOURCE)
}

fn fixture() -> Fixture {
    Fixture::with(Some(SECRET), Some(TOKEN))
}

#[tokio::test]
async fn an_accepted_trigger_is_one_message_that_the_worker_reads_unchanged() {
    let fixture = fixture();
    let body = r#" {"chat_id": "a/b é", "correlation_id": "o-1", "metadata": {"n": 1.50, "m": 12345678901234567890123}, "new": 1}"#;
    let response = fixture.answer(&post(&[("idempotency-key", "crm-1")], body)).await;
    assert_eq!(response.status(), 202);
    insta::assert_snapshot!(
        response.body(),
        @r#"{"object":"SyncRequest","chat_id":"a/b é","message_id":"m-1","idempotency_key":"crm-1"}"#
    );
    let [sent] = &fixture.sent()[..] else { panic!("{:?}", fixture.sent()) };
    let Message::Trigger(message) = read(sent) else { panic!("{sent}") };
    assert_eq!(message.subject.id(), "a/b é");
    assert_eq!(message.trigger.correlation_id.as_deref(), Some("o-1"));
    assert_eq!(message.trigger.idempotency_key.as_deref(), Some("crm-1"));
    let metadata = serde_json::to_string(&message.trigger.metadata).unwrap();
    assert_eq!(metadata, r#"{"n": 1.50, "m": 12345678901234567890123}"#);
}

#[tokio::test]
async fn idempotency_key_comes_from_body_then_webhook_id_then_header() {
    let (with, without) = (r#"{"chat_id": "c", "idempotency_key": "body"}"#, r#"{"chat_id": "c"}"#);
    let header = [("idempotency-key", "header")];
    for (name, request, key) in [
        ("the body's", signed(SECRET, now(), &header, with), Some("body")),
        ("the signed id", signed(SECRET, now(), &header, without), Some("msg_1")),
        ("the header", post(&header, without), Some("header")),
        ("an unsigned id", post(&[("webhook-id", "msg_2"), header[0]], without), Some("msg_2")),
        ("none", post(&[], without), None),
    ] {
        let fixture = fixture();
        let response = fixture.answer(&request).await;
        let body: Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), body["idempotency_key"].as_str()), (202, key), "{name}");
        let Message::Trigger(message) = read(&fixture.sent()[0]) else { panic!("{:?}", fixture.sent()) };
        assert_eq!(message.trigger.idempotency_key.as_deref(), key, "{name}");
    }
}

#[tokio::test]
async fn invalid_triggers_are_refused_and_not_sent() {
    let fixture = fixture();
    let json = |body: Value| post(&[], &body.to_string());
    let own_event = json!({"schema_version": "1", "event_id": uuid::Uuid::nil(), "chat_id": "c", "triggers": []});
    let from_bus =
        json!({"source": DEFAULT_EVENT_SOURCE, "detail-type": "SYNC_DONE", "detail": {"chat_id": "c"}, "chat_id": "c"});
    let long = "x".repeat(257);
    const INVALID: &str = "400 bridge/invalid_trigger";
    for (name, request, expected) in [
        ("empty", post(&[], ""), INVALID),
        ("blank", post(&[], " \n"), INVALID),
        ("not JSON", post(&[], "chat_id=c"), INVALID),
        ("an array", json(json!([{"chat_id": "c"}])), INVALID),
        ("two objects", post(&[], r#"{"chat_id": "c"} {"chat_id": "d"}"#), INVALID),
        ("cut", post(&[], r#"{"chat_id": "c""#), INVALID),
        ("a byte order mark", post(&[], "\u{feff}{\"chat_id\": \"c\"}"), INVALID),
        ("not UTF-8", Request { body: b"{\"chat_id\": \"\xff\"}".to_vec(), ..post(&[], "") }, INVALID),
        ("no chat", json(json!({})), INVALID),
        ("a number", json(json!({"chat_id": 7})), INVALID),
        ("a navigation", json(json!({"chat_id": ".."})), INVALID),
        ("a control character", json(json!({"chat_id": "a\u{0}"})), INVALID),
        ("a long chat id", json(json!({"chat_id": "x".repeat(513)})), INVALID),
        ("large metadata", json(json!({"chat_id": "c", "metadata": {"a": "x".repeat(1024)}})), INVALID),
        ("one of our events", json(own_event), INVALID),
        ("one of our events, from the bus", json(from_bus), INVALID),
        ("a sweep", post(&[], crate::message::SWEEP_BODY), INVALID),
        ("a poll", json(json!({"postpress_bridge": "poll", "v": 1, "chat_id": "c"})), INVALID),
        ("a wrapped trigger", json(json!({"detail-type": "t", "source": "s", "detail": {"chat_id": "c"}})), INVALID),
        ("a notification", json(json!({"Type": "Notification", "Message": "{\"chat_id\":\"c\"}"})), INVALID),
        (
            "a long key",
            post(&[("idempotency-key", &long)], r#"{"chat_id": "c"}"#),
            "400 bridge/invalid_idempotency_key",
        ),
        (
            "a long key beside another",
            post(&[("idempotency-key", &long)], r#"{"chat_id": "c", "idempotency_key": "k"}"#),
            "400 bridge/invalid_idempotency_key",
        ),
        ("two types", post(&[("content-type", "application/json")], "{}"), "415 bridge/unsupported_media_type"),
        ("16 KiB and one", post(&[], &" ".repeat(16 * 1024 + 1)), "413 bridge/body_too_large"),
        ("16 KiB", post(&[], &" ".repeat(16 * 1024)), INVALID),
    ] {
        assert_eq!(fixture.outcome(&request).await, expected, "{name}");
    }
    assert_eq!(fixture.ports.requests.get(), 0);
}

#[tokio::test]
async fn paths_answer_only_their_methods() {
    let fixture = fixture();
    let chat = "/v1/chats/c/sync";
    for (method, path, expected, allow) in [
        ("GET", "/healthz", "200", None),
        ("HEAD", "/healthz", "200", None),
        ("OPTIONS", "/healthz", "204", Some("GET, HEAD, OPTIONS")),
        ("POST", "/healthz", "405 bridge/method_not_allowed", Some("GET, HEAD, OPTIONS")),
        ("OPTIONS", chat, "204", Some("DELETE, GET, HEAD, OPTIONS")),
        ("PUT", chat, "405 bridge/method_not_allowed", Some("DELETE, GET, HEAD, OPTIONS")),
        ("OPTIONS", "/v1/syncs", "204", Some("OPTIONS, POST")),
        ("GET", "/v1/syncs", "405 bridge/method_not_allowed", Some("OPTIONS, POST")),
        ("TRACE", "/v1/syncs", "405 bridge/method_not_allowed", Some("OPTIONS, POST")),
        ("post", "/v1/syncs", "405 bridge/method_not_allowed", Some("OPTIONS, POST")),
        ("OPTIONS", "/v1/syncs/", "404 bridge/no_such_path", None),
        ("GET", "/", "404 bridge/no_such_path", None),
    ] {
        let request = request(method, path, &[], "");
        let response = fixture.answer(&request).await;
        assert_eq!(fixture.outcome(&request).await, expected, "{method} {path}");
        let found = response.headers().get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(found, allow, "{method} {path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    assert_eq!(fixture.ports.requests.get(), 0, "none of these calls a port");
}

/// A run after two answers, with everything that a status must not show.
fn item(more: &Value) -> Item {
    let mut item = json!({
        "subject": "default/chat/c",
        "run_id": "0f8f5c1e-6b1d-4c57-9a53-2f1f0f0f7e11",
        "claim_id": "00000000000000000000000000000007",
        "holder": "hidden-holder",
        "lease_until_ms": 1_795_514_460_000_u64,
        "phase": "active",
        "open": {"shard": 0, "sweep_at_ms": 1_795_516_201_000_u64},
        "triggers": [
            {"message_id": "m", "correlation_id": "hidden", "metadata": {"hidden": 1}, "requested_at": "2026-11-24T10:00:00.000Z", "joined": false},
            {"message_id": "n", "requested_at": "2026-11-24T10:00:09.000Z", "joined": true},
        ],
        "keys": [],
        "learned": {"status": "SYNC_RUNNING", "restarts": 1},
        "started_at_ms": 1_795_514_401_000_u64,
        "polls": 2,
    });
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(item).unwrap()
}

#[tokio::test]
async fn a_status_shows_the_run_and_nothing_private() {
    let finished = json!({"status": "SYNC_DONE", "ended_by": "answer", "finished_at": "2026-11-24T10:04:10.000Z"});
    let error = json!({"title": "No handler", "type": "errors/no_handler", "status": 503});
    let failed = json!({"error": error, "origin": "postpress", "ended_by": "retries", "finished_at": "2026-11-24T10:04:10.000Z"});
    let mut bodies = Vec::new();
    for item in [
        item(&json!({"learned": {}})),
        item(&json!({})),
        item(&json!({"phase": "ended", "outcome": finished})),
        item(&json!({"phase": "ended", "outcome": failed})),
    ] {
        let fixture = fixture();
        fixture.ports.item.replace(Some(item));
        let response = fixture.answer(&get("/v1/chats/c/sync", &[])).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        assert_eq!(response.headers()["cache-control"], "private, no-cache");
        bodies.push(response.into_body());
    }
    let bodies = bodies.join("\n");
    assert!(!bodies.contains("hidden") && !bodies.contains("0007\""), "{bodies}");
    insta::assert_snapshot!(bodies, @r#"
    {"object":"ChatHistorySync","chat_id":"c","phase":"active","run_id":"0f8f5c1e-6b1d-4c57-9a53-2f1f0f0f7e11","polls":2,"restarts":0,"requested_at":"2026-11-24T10:00:00.000Z"}
    {"object":"ChatHistorySync","chat_id":"c","phase":"active","status":"SYNC_RUNNING","run_id":"0f8f5c1e-6b1d-4c57-9a53-2f1f0f0f7e11","polls":2,"restarts":1,"requested_at":"2026-11-24T10:00:00.000Z"}
    {"object":"ChatHistorySync","chat_id":"c","phase":"ended","status":"SYNC_DONE","run_id":"0f8f5c1e-6b1d-4c57-9a53-2f1f0f0f7e11","polls":2,"restarts":1,"requested_at":"2026-11-24T10:00:00.000Z","finished_at":"2026-11-24T10:04:10.000Z"}
    {"object":"ChatHistorySync","chat_id":"c","phase":"ended","status":"SYNC_RUNNING","run_id":"0f8f5c1e-6b1d-4c57-9a53-2f1f0f0f7e11","polls":2,"restarts":1,"requested_at":"2026-11-24T10:00:00.000Z","finished_at":"2026-11-24T10:04:10.000Z","error":{"title":"No handler","type":"errors/no_handler","status":503}}
    "#);
}

#[tokio::test]
async fn an_account_is_triggered_and_queried_by_its_own_id() {
    let fixture = fixture();
    let response = fixture.answer(&post(&[], r#"{"account_id": "a/1", "resync": {"partial": true}}"#)).await;
    assert_eq!(response.status(), 202);
    assert_eq!(response.body(), r#"{"object":"SyncRequest","account_id":"a/1","message_id":"m-1"}"#);
    assert_eq!(fixture.sent(), [r#"{"account_id":"a/1","resync":{"partial":true}}"#]);
    for body in [r#"{"account_id": "a", "resync": {"chunk_size": 0}}"#, r#"{"chat_id": "c", "resync": {}}"#] {
        assert_eq!(fixture.outcome(&post(&[], body)).await, "400 bridge/invalid_trigger", "{body}");
    }

    let run = json!({"subject": "default/account/a/1", "learned": {"status": "CHUNK_DONE", "chunks": 3}});
    fixture.ports.item.replace(Some(item(&run)));
    let response = fixture.answer(&get("/v1/accounts/a%2F1/sync", &[])).await;
    insta::assert_snapshot!(response.body(), @r#"{"object":"AccountResync","account_id":"a/1","phase":"active","status":"CHUNK_DONE","run_id":"0f8f5c1e-6b1d-4c57-9a53-2f1f0f0f7e11","polls":2,"restarts":0,"chunks":3,"requested_at":"2026-11-24T10:00:00.000Z"}"#);
    assert_eq!(fixture.outcome(&get("/v1/accounts/%2e%2e/sync", &[])).await, "400 bridge/invalid_account_id");
}

#[tokio::test]
async fn a_cancel_is_one_message_that_says_when_it_takes_effect() {
    let fixture = fixture();
    let bearer = format!("Bearer {TOKEN}");
    let delete = |path: &str| request("DELETE", path, &[("authorization", &bearer)], "");
    for (number, (path, id)) in
        [("/v1/chats/a%2F1/sync", r#""chat_id":"a/1""#), ("/v1/accounts/a/sync", r#""account_id":"a""#)]
            .iter()
            .enumerate()
    {
        let response = fixture.answer(&delete(path)).await;
        assert_eq!(response.status(), 202);
        let accepted = format!(r#"{{"object":"CancelRequest",{id},"message_id":"m-{}","detail":"#, number + 1);
        assert!(
            response.body().starts_with(&accepted) && response.body().contains("15 minutes"),
            "{}",
            response.body()
        );
        assert_eq!(fixture.sent()[number], format!(r#"{{"action":"cancel",{id}}}"#));
    }
    let posted = fixture.answer(&post(&[("idempotency-key", "k")], r#"{"chat_id": "c", "action": "cancel"}"#)).await;
    assert!(posted.body().starts_with(r#"{"object":"CancelRequest","chat_id":"c""#), "{}", posted.body());

    assert_eq!(fixture.outcome(&delete("/v1/chats/%2e%2e/sync")).await, "400 bridge/invalid_chat_id");
    let unsigned = request("DELETE", "/v1/chats/c/sync", &[], "");
    assert_eq!(fixture.outcome(&unsigned).await, "401 bridge/unauthorized");
    let signed = Request {
        method: Method::DELETE,
        path: Path::Encoded("/v1/chats/c/sync".to_owned()),
        ..signed(SECRET, now(), &[], "")
    };
    assert_eq!(fixture.outcome(&signed).await, "401 bridge/unauthorized", "a signature does not cover the path");
    assert_eq!(fixture.sent().len(), 3);
}

#[tokio::test]
async fn query_and_body_choose_the_workspace() {
    let fixture = fixture();
    let bearer = format!("Bearer {TOKEN}");
    let delete = |path: &str| request("DELETE", path, &[("authorization", &bearer)], "");
    fixture.ports.item.replace(Some(item(&json!({"subject": "team-7/chat/c"}))));
    let found = fixture.answer(&get("/v1/chats/c/sync?workspace=team-7", &[])).await;
    let start = r#"{"object":"ChatHistorySync","chat_id":"c","workspace":"team-7","phase":"active""#;
    assert!(found.body().starts_with(start), "{}", found.body());
    for path in ["/v1/chats/c/sync", "/v1/chats/c/sync?workspace=default", "/v1/chats/c/sync?workspace=other"] {
        assert_eq!(fixture.outcome(&get(path, &[])).await, "404 bridge/no_run", "{path}");
    }

    let cancelled = fixture.answer(&delete("/v1/chats/c/sync?workspace=team-7")).await;
    let start = r#"{"object":"CancelRequest","chat_id":"c","workspace":"team-7","message_id":"m-1""#;
    assert!(cancelled.body().starts_with(start), "{}", cancelled.body());
    let posted = fixture.answer(&post(&[], r#"{"chat_id": "c", "workspace": "team-7"}"#)).await;
    let start = r#"{"object":"SyncRequest","chat_id":"c","workspace":"team-7","message_id":"m-2""#;
    assert!(posted.body().starts_with(start), "{}", posted.body());
    let trigger = r#"{"chat_id":"c","workspace":"team-7"}"#;
    assert_eq!(fixture.sent(), [&*trigger.replace('{', r#"{"action":"cancel","#), trigger]);

    for query in ["workspace=", "workspace=a%20b", "workspace=%FF", "workspace=a&workspace=a"] {
        let path = format!("/v1/accounts/a/sync?{query}");
        for request in [get(&path, &[]), delete(&path)] {
            assert_eq!(fixture.outcome(&request).await, "400 bridge/invalid_workspace", "{query}");
        }
    }
    assert_eq!(fixture.outcome(&post(&[], r#"{"chat_id": "c", "workspace": ""}"#)).await, "400 bridge/invalid_trigger");
    assert_eq!(fixture.sent().len(), 2);

    let beside = |query: &str, body| {
        let workspaces = url::form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned()).collect();
        Request { workspaces, ..post(&[], body) }
    };
    let elsewhere = r#"{"chat_id": "c", "workspace": "team-7"}"#;
    for (query, body, outcome) in [
        ("workspace=team-7", elsewhere, "202"),
        ("workspace=default", r#"{"chat_id": "c"}"#, "202"),
        ("workspace=team-7", r#"{"chat_id": "c"}"#, "400 bridge/invalid_workspace"),
        ("workspace=default", elsewhere, "400 bridge/invalid_workspace"),
        ("workspace=a%20b", elsewhere, "400 bridge/invalid_workspace"),
        ("workspace=team-7&workspace=team-7", elsewhere, "400 bridge/invalid_workspace"),
    ] {
        let outcome_here = fixture.outcome(&beside(query, body)).await;
        assert_eq!(outcome_here, outcome, "{query} {body}");
    }
    let refused = fixture.answer(&beside("workspace=team-8", elsewhere)).await;
    assert!(refused.body().contains("the body, whose `workspace` counts"), "{}", refused.body());
    assert_eq!(fixture.sent().len(), 4);
}

#[tokio::test]
async fn a_cancel_that_may_be_on_the_queue_is_not_sent_again() {
    let bearer = format!("Bearer {TOKEN}");
    let delete = request("DELETE", "/v1/chats/c/sync", &[("authorization", &bearer)], "");
    let fixture = fixture();
    fixture.ports.mood.set(Mood::Breaks);
    let response = fixture.answer(&delete).await;
    assert!(
        response.status() == 503 && response.body().contains("the cancel may or may not be on the queue"),
        "{}",
        response.body()
    );
    assert_eq!(fixture.ports.requests.get(), 1);
}

#[tokio::test]
async fn an_expired_run_is_not_found() {
    let fixture = fixture();
    assert_eq!(fixture.outcome(&get("/v1/chats/c/sync", &[])).await, "404 bridge/no_run");
    let seconds = u64::try_from(now()).unwrap();
    let outcome = json!({"status": "SYNC_DONE", "ended_by": "answer", "finished_at": "2026-11-24T10:04:10.000Z"});
    let published = json!({"phase": "ended", "published": true, "outcome": outcome, "open": null});
    for (expires_at, expected) in [(seconds - 5, "404 bridge/no_run"), (seconds + 600, "200")] {
        let mut published = published.clone();
        published["expires_at"] = expires_at.into();
        fixture.ports.item.replace(Some(item(&published)));
        assert_eq!(fixture.outcome(&get("/v1/chats/c/sync", &[])).await, expected);
    }
    assert_eq!(fixture.outcome(&get("/v1/chats/%2e%2e/sync", &[])).await, "400 bridge/invalid_chat_id");
    let stranger = request("GET", "/v1/chats/%2e%2e/sync", &[], "");
    assert_eq!(
        fixture.outcome(&stranger).await,
        "401 bridge/unauthorized",
        "without authentication, nothing else is reported"
    );
}

#[tokio::test]
async fn an_unchanged_status_is_not_sent_again() {
    let fixture = fixture();
    fixture.ports.item.replace(Some(item(&json!({}))));
    let path = "/v1/chats/c/sync";
    let first = fixture.answer(&get(path, &[])).await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for (condition, status) in [
        (tag.clone(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
        (tag.replace('"', ""), 200),
    ] {
        let response = fixture.answer(&get(path, &[("if-none-match", &condition)])).await;
        assert_eq!(response.status(), status, "{condition}");
        assert_eq!(response.headers()["etag"].to_str().unwrap(), tag);
        assert_eq!(response.headers()["cache-control"], "private, no-cache");
        assert_eq!(response.body().is_empty(), status == 304, "{condition}");
    }
    fixture.ports.item.replace(Some(item(&json!({"polls": 3}))));
    let later = fixture.answer(&get(path, &[("if-none-match", &tag)])).await;
    assert_eq!(later.status(), 200, "another body has another tag");

    let head = Request { method: Method::HEAD, ..get(path, &[]) };
    let (head, whole) = (fixture.answer(&head).await, fixture.answer(&get(path, &[])).await);
    assert_eq!(head.body(), "");
    assert_eq!(head.headers()["content-length"].to_str().unwrap(), whole.body().len().to_string());
    assert_eq!(head.headers()["etag"], whole.headers()["etag"]);
}

#[tokio::test(start_paused = true)]
async fn a_503_says_whether_the_trigger_may_be_on_the_queue() {
    const NOT_ON_IT: &str = "it is not on the queue; send it again";
    const PERHAPS: &str = "may or may not be on the queue";
    let with_key = post(&[("idempotency-key", "k")], r#"{"chat_id": "c"}"#);
    let without = post(&[], r#"{"chat_id": "c"}"#);
    for (moods, request, says) in [
        ((Mood::Throttles, None), &with_key, NOT_ON_IT),
        ((Mood::Throttles, None), &without, NOT_ON_IT),
        ((Mood::NoConnection, None), &with_key, NOT_ON_IT),
        ((Mood::NoConnection, None), &without, NOT_ON_IT),
        ((Mood::Refuses, None), &with_key, NOT_ON_IT),
        ((Mood::Refuses, None), &without, NOT_ON_IT),
        ((Mood::Throttles, Some(Mood::Refuses)), &without, NOT_ON_IT),
        ((Mood::Breaks, None), &with_key, PERHAPS),
        ((Mood::Breaks, None), &without, PERHAPS),
        ((Mood::Hangs, None), &with_key, PERHAPS),
        ((Mood::Hangs, None), &without, PERHAPS),
        // What may have happened first is not undone by a later failure.
        ((Mood::Breaks, Some(Mood::Throttles)), &with_key, PERHAPS),
        ((Mood::Hangs, Some(Mood::Refuses)), &with_key, PERHAPS),
        ((Mood::Throttles, Some(Mood::Breaks)), &without, PERHAPS),
    ] {
        let fixture = fixture();
        fixture.ports.mood.set(moods.0);
        fixture.ports.then.set(moods.1);
        let response = fixture.answer(request).await;
        assert_eq!(response.status(), 503, "{moods:?}");
        let has_key = request.headers.contains_key("idempotency-key");
        let keyless = "has no idempotency key";
        assert!(response.body().contains(says), "{moods:?}: {}", response.body());
        assert_eq!(response.body().contains(keyless), says == PERHAPS && !has_key, "{moods:?}: {}", response.body());
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_without_a_key_is_retried_while_it_cannot_be_on_the_queue() {
    let without = post(&[], r#"{"chat_id": "c"}"#);
    for mood in [Mood::Throttles, Mood::NoConnection] {
        let fixture = fixture();
        fixture.ports.mood.set(mood);
        fixture.ports.then.set(Some(Mood::Works));
        assert_eq!(fixture.outcome(&without).await, "202", "{mood:?}");
        assert_eq!((fixture.ports.requests.get(), fixture.sent().len()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn failing_ports_are_a_503_in_time() {
    let with_key = post(&[("idempotency-key", "k")], r#"{"chat_id": "c"}"#);
    let without = post(&[], r#"{"chat_id": "c"}"#);
    let read = get("/v1/chats/c/sync", &[]);
    for (mood, request, asked_again) in [
        (Mood::Throttles, &with_key, true),
        (Mood::Throttles, &without, true),
        (Mood::Breaks, &with_key, true),
        (Mood::Breaks, &without, false),
        (Mood::Throttles, &read, true),
        (Mood::Hangs, &with_key, true),
        (Mood::Hangs, &without, false),
        (Mood::Hangs, &read, true),
        (Mood::Refuses, &with_key, false),
        (Mood::Refuses, &read, false),
        (Mood::Panics, &with_key, false),
        (Mood::Panics, &read, false),
    ] {
        for left in [MINUTE, Duration::from_secs(2), Duration::ZERO] {
            let fixture = fixture();
            fixture.ports.mood.set(mood);
            let began = Instant::now();
            let response = fixture.webhook.answer(request, began + left).await;
            assert_eq!(response.status(), 503, "{mood:?}");
            assert_eq!(response.headers()["retry-after"], "5");
            assert!(response.body().contains("bridge/unavailable"), "{}", response.body());
            assert!(began.elapsed() <= left.min(Duration::from_secs(10)), "{mood:?}: {:?}", began.elapsed());
            if left == MINUTE {
                assert_eq!(fixture.ports.requests.get() > 1, asked_again, "{mood:?}: {}", fixture.ports.requests.get());
            }
            fixture.ports.mood.set(Mood::Works);
            assert_eq!(fixture.outcome(&with_key).await, "202", "it continues");
        }
    }
}

#[tokio::test]
async fn errors_are_envelopes_with_the_request_id() {
    let response = fixture().answer(&request("GET", "/v1/chats/c/sync", &[], "")).await;
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    insta::assert_snapshot!(
        response.body(),
        @r#"{"title":"Not authenticated","detail":"send `Authorization: Bearer` with the token; a signature is valid for triggers only","instance":"request-1","type":"bridge/unauthorized","status":401}"#
    );
}
