use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::cli::finding::CheckResult;
use crate::postpress::{Body, Mask};

fn base() -> BaseUrl {
    BaseUrl::parse("https://api.postpress.ai/v1").unwrap()
}

fn response(status: u16, headers: &[(HeaderName, &str)], body: &str) -> Response {
    let chat = Subject::chat(NO_CHAT).unwrap();
    let answer = Answer::from_response(&chat, status, None, &Body::whole(body), Mask::NONE);
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
    let now = UNIX_EPOCH + Duration::from_secs(1_795_514_400);
    Response { answer, head: Some(Head { status, headers }), sent: now, received: now }
}

fn envelope(status: u16, kind: &str) -> Response {
    response(status, &[], &format!(r#"{{"title": "T", "type": "errors/{kind}", "status": {status}}}"#))
}

fn status_of(chat: &str, status: &str) -> String {
    format!(r#"{{"object": "ChatHistorySync", "chat_id": "{chat}", "status": "{status}"}}"#)
}

#[test]
fn every_envelope_says_whether_the_key_is_good() {
    for (status, kind, result) in [
        (404, "resource_not_found", CheckResult::Well),
        (404, "invalid_resource_identifier", CheckResult::Well),
        (422, "unprocessable_entity", CheckResult::Well),
        (501, "feature_not_implemented", CheckResult::Well),
        (401, "missing_credentials", CheckResult::Fault),
        (401, "invalid_credentials", CheckResult::Fault),
        (401, "expired_credentials", CheckResult::Fault),
        (401, "insufficient_privileges", CheckResult::Fault),
        (401, "key_missing", CheckResult::Fault),
        (403, "account_restricted", CheckResult::Fault),
        (422, "limit_exceeded", CheckResult::Unknown),
        (503, "service_unavailable", CheckResult::Unknown),
        (429, "of_tomorrow", CheckResult::Unknown),
    ] {
        let response = envelope(status, kind);
        let Server::Postpress(said, retry_class) = identify(&base(), &response) else { panic!("{status} {kind}") };
        let is_of_key = kind.ends_with("credentials") || kind == "key_missing";
        let finding = of_key(said, retry_class, Some(KeyKind::Live));
        assert_eq!(finding.result, result, "{finding:?}");
        assert!(finding.found.ends_with("it is a live key (`pp_live_`)"), "{finding:?}");
        assert_eq!(finding.found.contains("rejects the key"), is_of_key, "{finding:?}");
        assert_eq!(of_key(said, retry_class, None).result, CheckResult::Skipped);
    }
}

#[test]
fn wrong_host_for_a_workspace_is_reported_with_its_remedy() {
    let response = envelope(503, "no_client_session");
    let Server::Postpress(said, retry_class) = identify(&base(), &response) else { panic!() };
    let finding = of_host(&base(), said);
    assert_eq!(finding.result, CheckResult::Fault);
    assert!(finding.found.contains("wrong host for this workspace"), "{finding:?}");
    assert!(finding.remedy.unwrap().contains("your postpress dashboard shows"));
    assert_eq!(of_key(said, retry_class, Some(KeyKind::Sandbox)).result, CheckResult::Unknown);
    let response = envelope(404, "resource_not_found");
    let Server::Postpress(said, _) = identify(&base(), &response) else { panic!() };
    assert_eq!(of_host(&base(), said).result, CheckResult::Well);
}

#[test]
fn other_servers_are_told_apart() {
    const HTML: (HeaderName, &str) = (CONTENT_TYPE, "text/html; charset=utf-8");
    let moved = [(LOCATION, "https://www.postpress.ai/v1/chats/resource_not_found~doctor/sync?token=hush")];
    for (response, expected) in [
        (response(404, &[], ""), "wrong path: "),
        (response(404, &[HTML], "<html>"), "wrong path: "),
        (response(404, &[], r#"{"message": "no Route matched with those values"}"#), "wrong path: "),
        (response(405, &[], ""), "wrong path: "),
        (response(200, &[HTML], "<html>SYNC_DONE</html>"), "wrong path: "),
        (response(403, &[HTML], "<html>"), "wrong path: "),
        (
            response(301, &moved, ""),
            "Fault: https://api.postpress.ai/v1 answers 301, a redirect to `https://www.postpress.ai/v1`",
        ),
        (response(403, &[], ""), "Fault: https://api.postpress.ai/v1 answers 403 without"),
        (response(200, &[], "{}"), "Fault: https://api.postpress.ai/v1 answers 200 without"),
        (response(503, &[], ""), "Warning: "),
        (response(429, &[], ""), "Warning: "),
        (response(200, &[], &status_of(NO_CHAT, "CHAT_DELETED")), "Warning: "),
    ] {
        let text = match identify(&base(), &response) {
            Server::Postpress(envelope, _) => format!("postpress: {envelope:?}"),
            Server::WrongPath(found) => format!("wrong path: {found}"),
            Server::Other(finding) => format!("{:?}: {}", finding.result, finding.found),
        };
        assert!(text.starts_with(expected) && !text.contains("hush"), "{text}");
    }
}

#[test]
fn sync_that_may_have_started_is_reported_prominently() {
    for body in [
        status_of(NO_CHAT, "SYNC_STARTED"),
        status_of(NO_CHAT, "SYNC_RUNNING"),
        status_of(NO_CHAT, "SYNC_DONE"),
        status_of(NO_CHAT, "SYNC_PAUSED"),
        status_of("another", "SYNC_STARTED"),
        status_of("another", "SYNC_ERROR"),
    ] {
        let response = response(200, &[], &body);
        let Server::Other(finding) = identify(&base(), &response) else { panic!("{body}") };
        assert_eq!(finding.result, CheckResult::Fault);
        assert!(finding.found.starts_with("A SYNC MAY HAVE BEEN STARTED"), "{finding:?}");
    }
}

#[test]
fn untrusted_certificate_has_its_own_remedy() {
    let lost = |detail: &str| Answer::Failed(Failure::lost(502, detail.to_owned(), false));
    let finding = unreachable(&lost("no connection to x: invalid peer certificate: UnknownIssuer"));
    assert!(finding.remedy.unwrap().contains("Mozilla"));
    assert!(unreachable(&lost("no connection to x: Connection refused")).remedy.unwrap().contains("firewall"));
}

#[test]
fn clock_skew_beyond_the_margin_is_a_warning() {
    let margin = Duration::from_secs(5);
    // Our clock reads 10:00:00.
    for (date, found) in [
        ("Tue, 24 Nov 2026 10:00:00 GMT", "agrees"),
        ("Tue, 24 Nov 2026 09:59:54 GMT", "agrees"),
        ("Tue, 24 Nov 2026 10:00:05 GMT", "agrees"),
        ("Tue, 24 Nov 2026 09:59:53 GMT", "6 s ahead of"),
        ("Tue, 24 Nov 2026 10:00:06 GMT", "6 s behind"),
        ("Tue, 24 Nov 2026 11:00:00 GMT", "3600 s behind"),
    ] {
        let finding = of_clock(&response(404, &[(DATE, date)], ""), margin).unwrap();
        assert!(finding.found.contains(found), "{date}: {finding:?}");
    }
    assert_eq!(of_clock(&response(404, &[], ""), margin), None, "no date, no finding");
    assert_eq!(of_clock(&response(404, &[(DATE, "yesterday")], ""), margin), None);
}
