use super::super::body::BODY_MAX_BYTES;
use super::*;

const CHAT: &str = "chat_01HXYZ";

fn answer(status: u16, body: &str) -> Answer {
    answer_to(status, &Body::whole(body))
}

fn answer_to(status: u16, body: &Body) -> Answer {
    Answer::from_response(&Subject::chat(CHAT).unwrap(), status, None, body, Mask::NONE)
}

/// A body of which only this much arrived.
fn cut(body: &str, fault: BodyFault) -> Body {
    Body::arrived(body.into(), Some(fault))
}

fn failure(status: u16, body: &str) -> Failure {
    match answer(status, body) {
        Answer::Failed(failure) => failure,
        other => panic!("{status} {body} is {other:?}"),
    }
}

fn history(status: &str) -> String {
    format!(r#"{{"object": "ChatHistorySync", "chat_id": "{CHAT}", "status": "{status}"}}"#)
}

#[test]
fn an_account_has_statuses_of_its_own_and_no_id() {
    let of = |subject: Subject, object: &str, status: &str| {
        let id = if object == "ChatHistorySync" { r#""chat_id": "a", "# } else { "" };
        let body = format!(r#"{{"object": "{object}", {id}"status": "{status}"}}"#);
        Answer::from_response(&subject, 200, None, &Body::whole(body), Mask::NONE)
    };
    let account = |status| of(Subject::account("a").unwrap(), "AccountResync", status);
    for (status, expected) in [
        ("SYNC_STARTED", Answer::InProgress(Progress::Started)),
        ("SYNC_RUNNING", Answer::InProgress(Progress::Running)),
        ("CHUNK_DONE", Answer::InProgress(Progress::ChunkDone)),
        ("SYNC_DONE", Answer::Over(Finish::Done)),
        ("SYNC_ERROR", Answer::Over(Finish::Error)),
    ] {
        assert_eq!(account(status), expected, "{status}");
    }
    for (answer, expected) in [
        (account("CHAT_DELETED"), "CHAT_DELETED, a status that no sync of this kind has (account)"),
        (of(Subject::chat("a").unwrap(), "ChatHistorySync", "CHUNK_DONE"), "CHUNK_DONE, a status that no sync of this"),
    ] {
        let Answer::Failed(Failure { retry_class, envelope, detail, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!((retry_class, envelope), (RetryClass::Terminal, None));
        assert!(detail.contains(expected), "{detail}");
    }
    let of_a_chat = of(Subject::account("a").unwrap(), "ChatHistorySync", "CHUNK_DONE");
    assert!(matches!(of_a_chat, Answer::Unusable(_)), "{of_a_chat:?}");
}

#[test]
fn documented_answers_are_read_under_any_2xx() {
    for (status, expected) in [
        ("SYNC_STARTED", Answer::InProgress(Progress::Started)),
        ("SYNC_RUNNING", Answer::InProgress(Progress::Running)),
        ("SYNC_DONE", Answer::Over(Finish::Done)),
        ("SYNC_ERROR", Answer::Over(Finish::Error)),
        ("CHAT_DELETED", Answer::Over(Finish::Deleted)),
    ] {
        for http_status in [200, 201, 202, 206, 299] {
            assert_eq!(answer(http_status, &history(status)), expected);
        }
    }
}

#[test]
fn unknown_members_and_escapes_are_accepted() {
    let body = r#" {"progress": {"n": 1e999}, "status": "SYNC\u005fDONE", "chat_id": "chat_01HXYZ",
        "object": "ChatHistorySync", "cursor": null} "#;
    assert_eq!(answer(200, body), Answer::Over(Finish::Done));
}

#[test]
fn possible_ends_are_never_polled_again() {
    for body in [
        r#"{"object": "ChatHistorySync", "chat_id": "chat_other", "status": "SYNC_DONE"}"#,
        r#"{"object": "ChatHistorySync", "status": "SYNC_ERROR"}"#,
        r#"{"object": "Chat", "chat_id": "chat_01HXYZ", "status": "SYNC_DONE"}"#,
        r#"{"chat_id": "chat_01HXYZ", "status": "CHAT_DELETED"}"#,
        r#"{"object": 7, "chat_id": "chat_01HXYZ", "status": "SYNC_DONE"}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_PAUSED"}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "sync_running"}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": ""}"#,
        r#"{"title": "Busy", "type": "errors/unexpected_error", "status": "500"}"#,
        // of the wrong chat, and it mentions an end
        r#"{"object": "ChatHistorySync", "chat_id": "chat_other", "status": "SYNC_RUNNING", "last": "SYNC_DONE"}"#,
        // no readable status
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": ["SYNC_DONE"]}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_RUNNING", "status": "SYNC_DONE"}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_DONE", "status": "SYNC_RUNNING"}"#,
        // in progress, but within something that has ended
        r#"{status: "SYNC_DONE", "previous": {"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_RUNNING"}}"#,
        r#"us": {"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_RUNNING"}, "status": "SYNC_DONE"}"#,
        // wrapped, several, cut short, or not JSON
        r#"{"data": {"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_DONE"}}"#,
        r#"{"data": "{\"object\": \"ChatHistorySync\", \"status\": \"SYNC_DONE\"}"}"#,
        r#"[{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_DONE"}]"#,
        r#"{"status": "SYNC_RUNNING"} {"status": "SYNC_DONE"}"#,
        r#"{"status": "SYNC_DONE"} trailing"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_ERROR""#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC\u005fERROR""#,
        r#"{'object': 'ChatHistorySync', 'chat_id': 'chat_01HXYZ', 'status': 'CHAT_DELETED'}"#,
        "<pre>{&quot;status&quot;: &quot;SYNC_DONE&quot;}</pre>",
        r#"["SYNC_DONE"]"#,
        r#""SYNC_DONE""#,
    ] {
        let failure = failure(200, body);
        assert_eq!((failure.retry_class, failure.status), (RetryClass::Terminal, 502), "{body}");
        assert_eq!((failure.envelope, failure.may_land_late), (None, false), "{body}");
    }
}

#[test]
fn an_end_inside_a_whole_answer_does_not_count() {
    let body =
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_RUNNING", "previous": "SYNC_DONE"}"#;
    assert_eq!(answer(200, body), Answer::InProgress(Progress::Running));
}

#[test]
fn answers_without_an_end_are_unusable() {
    for body in [
        r#"{"object": "ChatHistorySync", "chat_id": "chat_other", "status": "SYNC_RUNNING"}"#,
        r#"{"object": "Chat", "chat_id": "chat_01HXYZ", "status": "SYNC_STARTED"}"#,
        r#"{"status": "SYNC_RUNNING"}"#,
        r#"{"title": "Busy", "type": "errors/unexpected_error", "status": 500}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": null}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": ["SYNC_RUNNING"]}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ"}"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_DO"#,
        r#"{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_RUNNING""#,
        r#"[{"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_RUNNING"}]"#,
        r#"{"data": {"object": "ChatHistorySync", "chat_id": "chat_01HXYZ", "status": "SYNC_RUNNING"}}"#,
        r#"{"error": {"code": "key_missing", "message": "Send a key"}}"#,
        "null",
        "{}",
        "",
        "<html><body>SYNC_DONE</body></html>",
    ] {
        assert!(matches!(answer(200, body), Answer::Unusable(_)), "{body}");
    }
    for body in [cut("", BodyFault::Cut), cut(r#"{"status": "SYNC_"#, BodyFault::TooLarge(BODY_MAX_BYTES))] {
        assert!(matches!(answer_to(200, &body), Answer::Unusable(_)), "{body:?}");
    }
}

#[test]
fn a_whole_object_counts_whatever_failed_after_it() {
    for fault in [BodyFault::Cut, BodyFault::TooLarge(BODY_MAX_BYTES), BodyFault::TimedOut] {
        assert_eq!(answer_to(200, &cut(&history("SYNC_DONE"), fault)), Answer::Over(Finish::Done));
        assert_eq!(answer_to(200, &cut(&history("SYNC_RUNNING"), fault)), Answer::InProgress(Progress::Running));
        let envelope = r#"{"title": "T", "type": "errors/resource_not_found"}"#;
        let Answer::Failed(failure) = answer_to(404, &cut(envelope, fault)) else { panic!() };
        assert_eq!(failure.envelope.map(|envelope| envelope.kind).as_deref(), Some("errors/resource_not_found"));
        let Answer::Failed(failure) = answer_to(200, &cut(r#"{"status": "SYNC_DONE""#, fault)) else { panic!() };
        assert_eq!(failure.retry_class, RetryClass::Terminal);
    }
}

#[test]
fn a_body_without_content_by_the_deadline_is_a_timeout() {
    for (status, arrived) in [(200, ""), (200, r#"{"object": "ChatHist"#), (404, ""), (404, r#"{"title": "#), (503, "")]
    {
        let Answer::Failed(failure) = answer_to(status, &cut(arrived, BodyFault::TimedOut)) else {
            panic!("{arrived}")
        };
        let expected = (RetryClass::Retryable, 504, true);
        assert_eq!((failure.retry_class, failure.status, failure.may_land_late), expected, "{status} {arrived}");
    }
}

#[test]
fn a_retryable_error_is_terminal_if_it_mentions_an_end() {
    let body = history("SYNC_DONE");
    for status in [429, 500, 503, 999] {
        let ended = failure(status, &body);
        assert_eq!((ended.retry_class, ended.status), (RetryClass::Terminal, status));
        assert!(ended.detail.contains(&body), "{}", ended.detail);
        for envelope in [
            r#"{"title": "T", "type": "errors/service_unavailable", "last_status": "SYNC_DONE"}"#,
            r#"{"error": {"code": "bad_gateway", "message": "upstream sent {\"status\": \"SYNC_DONE\"}"}}"#,
        ] {
            let ended = failure(status, envelope);
            assert_eq!((ended.retry_class, ended.envelope), (RetryClass::Terminal, None), "{status} {envelope}");
        }
    }
}

#[test]
fn a_possible_end_is_quoted_bounded_and_without_the_key() {
    let detail = |body: &str| {
        let chat = Subject::chat(CHAT).unwrap();
        match Answer::from_response(&chat, 200, None, &Body::whole(body), Mask::new(KEY)) {
            Answer::Failed(failure) => failure.detail,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        detail(r#"["SYNC_DONE"]"#),
        r#"postpress answered 200, but the body is not a JSON object; it mentions an end, so it ends the run: ["SYNC_DONE"]"#
    );
    assert!(detail(&format!(r#"["SYNC_DONE", "{}"]"#, "é".repeat(10_000))).len() < 2_200);
    for key in [KEY, KEY_ESCAPED] {
        let shown = detail(&format!(r#"["SYNC_DONE", "{key}"]"#));
        assert!(!shown.contains("hunter2") && shown.contains("[secret]"), "{shown}");
    }
}

#[test]
fn an_unknown_status_is_named_and_bounded() {
    assert_eq!(
        failure(200, &history("SYNC_PAUSED")).detail,
        r#"postpress answered the unknown status "SYNC_PAUSED"; it may be an end, so it ends the run"#
    );
    let long = failure(200, &history(&"é".repeat(10_000))).detail;
    assert_eq!(long.matches('é').count(), LABEL_MAX_BYTES / 2);
    let other_chat = r#"{"object": "ChatHistorySync", "chat_id": "X", "status": "SYNC_RUNNING"}"#;
    match answer(200, &other_chat.replace('X', &"x".repeat(10_000))) {
        Answer::Unusable(text) => assert!(text.len() < LABEL_MAX_BYTES + 100, "{}", text.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn envelopes_are_read_as_far_as_possible() {
    let read = |body: &str| failure(404, body).envelope.map(|envelope| serde_json::to_string(&envelope).unwrap());
    for (body, expected) in [
        (
            r#"{"title": "T", "detail": "D", "instance": "I", "type": "errors/x", "status": 500, "more": []}"#,
            Some(r#"{"title":"T","detail":"D","instance":"I","type":"errors/x","status":404}"#),
        ),
        (
            r#"{"title": "T", "detail": 7, "instance": {}, "type": "errors/x", "status": "404"}"#,
            Some(r#"{"title":"T","type":"errors/x","status":404}"#),
        ),
        (r#"{"title": "T", "type": "errors/x"}"#, Some(r#"{"title":"T","type":"errors/x","status":404}"#)),
        (r#"{"title": "T", "status": 404}"#, None),
        // the type decides, also where the title is missing or unreadable
        (
            r#"{"title": 7, "type": "errors/x", "status": 404}"#,
            Some(r#"{"title":"errors/x","type":"errors/x","status":404}"#),
        ),
        (
            r#"{"type": "errors/resource_not_found"}"#,
            Some(
                r#"{"title":"The requested resource was not found.","type":"errors/resource_not_found","status":404}"#,
            ),
        ),
        (r#"{"title": "T", "type": ""}"#, None),
        (r#"{"title": "T", "type": 7}"#, None),
        // the gateway's format
        (
            r#"{"error": {"code": "key_missing", "message": "Send a key", "request_id": "req_1"}}"#,
            Some(r#"{"title":"Send a key","instance":"req_1","type":"errors/key_missing","status":404}"#),
        ),
        (
            r#"{"error": {"code": "errors/resource_not_found", "message": "No such chat", "detail": "D"}, "status": 200}"#,
            Some(r#"{"title":"No such chat","detail":"D","type":"errors/resource_not_found","status":404}"#),
        ),
        (
            r#"{"error": {"code": "invalid_parameters", "message": null, "request_id": 7}}"#,
            Some(r#"{"title":"errors/invalid_parameters","type":"errors/invalid_parameters","status":404}"#),
        ),
        (
            r#"{"title": "T", "type": "errors/x", "error": {"code": "y", "message": "M"}}"#,
            Some(r#"{"title":"T","type":"errors/x","status":404}"#),
        ),
        (
            r#"{"error": {"code": 404, "message": "No such chat"}}"#,
            Some(r#"{"title":"No such chat","type":"errors/404","status":404}"#),
        ),
        (r#"{"error": {"message": "no code"}}"#, None),
        (r#"{"error": [{"code": "x"}]}"#, None),
        // spoiled on the way
        ("\u{feff}{\"title\": \"T\", \"type\": \"errors/x\"}", Some(r#"{"title":"T","type":"errors/x","status":404}"#)),
        (
            "<b>Notice</b>: x {y}\n{\"title\": \"T\", \"type\": \"errors/x\"}<!-- z -->",
            Some(r#"{"title":"T","type":"errors/x","status":404}"#),
        ),
        (r#"{"statusCode": 404, "message": "Cannot GET /", "error": "Not Found"}"#, None),
        (r#"["T", "errors/x"]"#, None),
        ("Not Found", None),
        ("", None),
    ] {
        assert_eq!(read(body).as_deref(), expected, "{body}");
    }
    let long = format!(r#"{{"title": "T", "detail": "{}", "type": "errors/x"}}"#, "d".repeat(5000));
    assert_eq!(failure(404, &long).envelope.and_then(|envelope| envelope.detail).unwrap().len(), 4096);
}

#[test]
fn envelopes_in_latin_1_are_read() {
    let body = Body::whole(*b"{\"title\": \"Ung\xfcltig\", \"type\": \"errors/expired_credentials\"}");
    let Answer::Failed(failure) = answer_to(401, &body) else { panic!() };
    assert_eq!(failure.retry_class, RetryClass::Credentials);
    assert_eq!(failure.envelope.unwrap().title, "Ungültig");
}

#[test]
fn a_gateway_401_is_about_the_key_whatever_its_code() {
    for (code, expected) in [
        ("key_missing", RetryClass::Credentials),
        ("errors/key_missing", RetryClass::Credentials),
        ("invalid_credentials", RetryClass::Credentials),
        ("insufficient_privileges", RetryClass::Credentials),
        ("disconnected_account", RetryClass::Connecting),
    ] {
        let failure = failure(401, &format!(r#"{{"error": {{"code": "{code}", "message": "M"}}}}"#));
        assert_eq!(failure.retry_class, expected, "{code}");
    }
    for (status, code, expected) in [
        (404, "route_not_found", RetryClass::Terminal),
        (400, "invalid_parameters", RetryClass::Terminal),
        (422, "limit_exceeded", RetryClass::Retryable),
        (429, "rate_limited", RetryClass::Retryable),
        (503, "no_client_session", RetryClass::Retryable),
    ] {
        let failure = failure(status, &format!(r#"{{"error": {{"code": "{code}", "message": "M"}}}}"#));
        assert_eq!(failure.retry_class, expected, "{status} {code}");
        assert!(!failure.detail.contains("POSTPRESS_BASE_URL"), "{}", failure.detail);
    }
}

#[test]
fn errors_follow_the_http_status_and_the_documented_type() {
    use RetryClass::{Connecting, Credentials, Retryable, Terminal};
    for (http_status, kind, claimed, expected, status) in [
        (404, "errors/resource_not_found", 404, Terminal, 404),
        (503, "errors/resource_not_found", 404, Retryable, 503),
        (404, "errors/service_unavailable", 503, Terminal, 404),
        (422, "errors/limit_exceeded", 422, Retryable, 422),
        (422, "errors/provider_unreachable", 422, Retryable, 422),
        (422, "errors/invalid_account", 422, Terminal, 422),
        (401, "errors/expired_credentials", 401, Credentials, 401),
        (401, "errors/wrong_account", 401, Terminal, 401),
        (401, "errors/disconnected_account", 401, Connecting, 401),
        (429, "errors/of_tomorrow", 429, Retryable, 429),
        (501, "errors/feature_not_implemented", 501, Terminal, 501),
        (500, "errors/of_tomorrow", 500, Retryable, 500),
    ] {
        let failure = failure(http_status, &format!(r#"{{"title": "T", "type": "{kind}", "status": {claimed}}}"#));
        assert_eq!((failure.retry_class, failure.status), (expected, status), "{http_status} {kind}");
        assert_eq!(failure.envelope.map(|envelope| envelope.status), Some(http_status));
    }
}

#[test]
fn http_status_decides_without_an_envelope() {
    use RetryClass::{Retryable, Terminal};
    for (http_status, expected, status) in [
        (101, Terminal, 502),
        (301, Terminal, 502),
        (304, Terminal, 502),
        (400, Terminal, 400),
        (401, Terminal, 401),
        (404, Terminal, 404),
        (408, Retryable, 408),
        (429, Retryable, 429),
        (500, Retryable, 500),
        (501, Terminal, 501),
        (502, Retryable, 502),
        (599, Retryable, 599),
        (600, Retryable, 600),
        (999, Retryable, 999),
    ] {
        for body in [Body::whole("<html>"), cut("", BodyFault::Cut), cut("", BodyFault::TooLarge(BODY_MAX_BYTES))] {
            let Answer::Failed(failure) = answer_to(http_status, &body) else { panic!("{http_status}") };
            assert_eq!((failure.retry_class, failure.status), (expected, status), "{http_status}");
            assert_eq!(failure.envelope, None);
        }
    }
}

#[test]
fn redirects_have_no_envelope() {
    let redirect = failure(302, r#"{"title": "T", "type": "errors/x", "status": 302}"#);
    assert_eq!((redirect.envelope, redirect.status), (None, 502));
}

#[test]
fn details_name_cause_and_remedy() {
    let envelope = r#"{"title": "Not found", "type": "errors/resource_not_found", "status": 404}"#;
    let mut details = vec![failure(404, envelope).detail, failure(404, "").detail, failure(302, "").detail];
    details.push(failure(502, "<html>").detail);
    if let Answer::Failed(cut) = answer_to(404, &cut("", BodyFault::Cut)) {
        details.push(cut.detail);
    }
    insta::assert_snapshot!(details.join("\n"), @r"
    postpress answered 404: Not found (errors/resource_not_found)
    postpress answered 404 without an error envelope, so the base URL is wrong; set POSTPRESS_BASE_URL to https://api.postpress.ai/v1 or to https://api.postpress.ai/api/v1
    postpress answered 302, a redirect, which is not followed because it would receive the API key; check POSTPRESS_BASE_URL
    postpress answered 502 without an error envelope
    postpress answered 404 without an error envelope: the body is incomplete
    ");
}

#[test]
fn unusable_answers_say_why() {
    let bodies = [
        r#"{"object": "ChatHistorySync", "chat_id": "chat_other", "status": "SYNC_RUNNING"}"#,
        r#"{"object": "ChatHistorySync", "status": "SYNC_RUNNING"}"#,
        r#"{"object": "Chat", "chat_id": "chat_01HXYZ", "status": "SYNC_STARTED"}"#,
        r#"{"title": "Busy", "type": "errors/unexpected_error", "status": 500}"#,
        r#"{"status": 7}"#,
        r#"{"status": "SYNC_DO"#,
        "<html>",
        "",
    ];
    let texts: Vec<_> = bodies
        .iter()
        .map(|body| match answer(200, body) {
            Answer::Unusable(text) => text,
            other => panic!("{body} is {other:?}"),
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    postpress answered SYNC_RUNNING with chat_id "chat_other" instead of "chat_01HXYZ", so it is not trusted
    postpress answered SYNC_RUNNING with no readable chat_id instead of "chat_01HXYZ", so it is not trusted
    postpress answered SYNC_STARTED with object "Chat" instead of "ChatHistorySync", so it is not trusted
    postpress answered 200 with an error envelope: Busy (errors/unexpected_error)
    postpress answered 200 with no readable `status`
    postpress answered 200, but the body's JSON is cut short
    postpress answered 200, but the body is not a JSON object
    postpress answered 200, but the body is empty
    "#);
}

#[test]
fn every_failure_keeps_its_retry_after() {
    let chat = Subject::chat(CHAT).unwrap();
    let wait = Some(Duration::from_secs(9));
    for (status, body) in [(404, ""), (503, "{}"), (302, ""), (200, r#"{"status": "SYNC_PAUSED"}"#)] {
        match Answer::from_response(&chat, status, wait, &Body::whole(body), Mask::NONE) {
            Answer::Failed(failure) => assert_eq!(failure.retry_after, wait, "{status}"),
            other => panic!("{other:?}"),
        }
    }
}

/// The API key of the calls below, and the same as JSON may write it.
const KEY: &str = "pp_live/hunter2";
const KEY_ESCAPED: &str = r"pp\u005flive\/hunter2";

#[test]
fn an_echoed_key_is_hidden_in_every_kept_text() {
    for key in [KEY, KEY_ESCAPED] {
        let envelope =
            format!(r#"{{"title": "T {key}", "detail": "D {key}", "instance": "I {key}", "type": "errors/{key}"}}"#);
        let of_chat = |chat: &str, object: &str, status: &str| {
            format!(r#"{{"object": "{object}", "chat_id": "{chat}", "status": "{status}"}}"#)
        };
        for (status, body) in [
            (401, envelope.clone()),
            (404, envelope.clone()),
            (503, envelope.clone()),
            (200, envelope),
            (200, of_chat(CHAT, "ChatHistorySync", key)),
            (200, of_chat(key, "ChatHistorySync", "SYNC_RUNNING")),
            (200, of_chat(CHAT, key, "SYNC_DONE")),
        ] {
            let chat = Subject::chat(CHAT).unwrap();
            let answer = Answer::from_response(&chat, status, None, &Body::whole(&*body), Mask::new(KEY));
            let shown = format!("{answer:?}");
            assert!(!shown.contains("hunter2") && shown.contains("[secret]"), "{status} {body}: {shown}");
        }
    }
}

#[test]
fn no_part_of_an_echoed_key_remains_where_a_text_is_cut() {
    for before in LABEL_MAX_BYTES - KEY.len()..=LABEL_MAX_BYTES {
        let title = format!("{}{KEY}", "x".repeat(before));
        let body = format!(r#"{{"title": "{title}", "type": "errors/x"}}"#);
        let chat = Subject::chat(CHAT).unwrap();
        let answer = Answer::from_response(&chat, 404, None, &Body::whole(&*body), Mask::new(KEY));
        assert!(!format!("{answer:?}").contains("pp_"), "{before}");
    }
}
