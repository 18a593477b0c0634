use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::cli::finding::Verdict;
use crate::postpress::{Body, Mask};

fn base() -> BaseUrl {
    BaseUrl::parse("https://api.postpress.ai/v1").unwrap()
}

fn heard(status: u16, headers: &[(HeaderName, &str)], body: &str) -> Heard {
    let chat = ChatId::parse(NO_CHAT).unwrap();
    let answer = Answer::from_response(&chat, status, None, &Body::whole(body), Mask::NONE);
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
    let now = UNIX_EPOCH + Duration::from_secs(1_795_514_400);
    Heard { answer, head: Some(Head { status, headers }), sent: now, received: now }
}

fn envelope(status: u16, kind: &str) -> Heard {
    heard(status, &[], &format!(r#"{{"title": "T", "type": "errors/{kind}", "status": {status}}}"#))
}

fn status_of(chat: &str, status: &str) -> String {
    format!(r#"{{"object": "ChatHistorySync", "chat_id": "{chat}", "status": "{status}"}}"#)
}

#[test]
fn an_envelope_tells_of_the_key_whatever_it_says() {
    for (status, kind, result) in [
        (404, "resource_not_found", Verdict::Well),
        (404, "invalid_resource_identifier", Verdict::Well),
        (422, "unprocessable_entity", Verdict::Well),
        (501, "feature_not_implemented", Verdict::Well),
        (401, "missing_credentials", Verdict::Fault),
        (401, "invalid_credentials", Verdict::Fault),
        (401, "expired_credentials", Verdict::Fault),
        (401, "insufficient_privileges", Verdict::Fault),
        (401, "key_missing", Verdict::Fault),
        (403, "account_restricted", Verdict::Fault),
        (422, "limit_exceeded", Verdict::Unknown),
        (503, "service_unavailable", Verdict::Unknown),
        (429, "of_tomorrow", Verdict::Unknown),
    ] {
        let heard = envelope(status, kind);
        let Standing::Postpress(said, retry_class) = standing(&base(), &heard) else { panic!("{status} {kind}") };
        let is_of_key = kind.ends_with("credentials") || kind == "key_missing";
        let finding = of_key(said, retry_class, Some(KeyKind::Live));
        assert_eq!(finding.result, result, "{finding:?}");
        assert!(finding.found.ends_with("it is a live key (`pp_live_`)"), "{finding:?}");
        assert_eq!(finding.found.contains("refuses the key"), is_of_key, "{finding:?}");
        assert_eq!(of_key(said, retry_class, None).result, Verdict::Skipped);
    }
}

#[test]
fn the_wrong_host_for_a_workspace_is_named_with_the_remedy() {
    let heard = envelope(503, "no_client_session");
    let Standing::Postpress(said, retry_class) = standing(&base(), &heard) else { panic!() };
    let finding = of_host(&base(), said);
    assert_eq!(finding.result, Verdict::Fault);
    assert!(finding.found.contains("wrong host for this workspace"), "{finding:?}");
    assert!(finding.remedy.unwrap().contains("your postpress dashboard shows"));
    assert_eq!(of_key(said, retry_class, Some(KeyKind::Sandbox)).result, Verdict::Unknown);
    let heard = envelope(404, "resource_not_found");
    let Standing::Postpress(said, _) = standing(&base(), &heard) else { panic!() };
    assert_eq!(of_host(&base(), said).result, Verdict::Well);
}

#[test]
fn what_is_not_postpress_is_told_apart() {
    const HTML: (HeaderName, &str) = (CONTENT_TYPE, "text/html; charset=utf-8");
    let moved = [(LOCATION, "https://www.postpress.ai/v1/chats/resource_not_found~doctor/sync?token=hush")];
    for (heard, expected) in [
        (heard(404, &[], ""), "wrong path: "),
        (heard(404, &[HTML], "<html>"), "wrong path: "),
        (heard(404, &[], r#"{"message": "no Route matched with those values"}"#), "wrong path: "),
        (heard(405, &[], ""), "wrong path: "),
        (heard(200, &[HTML], "<html>SYNC_DONE</html>"), "wrong path: "),
        (heard(403, &[HTML], "<html>"), "wrong path: "),
        (
            heard(301, &moved, ""),
            "Fault: https://api.postpress.ai/v1 answers 301, a redirect to `https://www.postpress.ai/v1`",
        ),
        (heard(403, &[], ""), "Fault: https://api.postpress.ai/v1 answers 403 without"),
        (heard(200, &[], "{}"), "Fault: https://api.postpress.ai/v1 answers 200 without"),
        (heard(503, &[], ""), "Warning: "),
        (heard(429, &[], ""), "Warning: "),
        (heard(200, &[], &status_of(NO_CHAT, "CHAT_DELETED")), "Warning: "),
    ] {
        let told = match standing(&base(), &heard) {
            Standing::Postpress(envelope, _) => format!("postpress: {envelope:?}"),
            Standing::WrongPath(found) => format!("wrong path: {found}"),
            Standing::Other(finding) => format!("{:?}: {}", finding.result, finding.found),
        };
        assert!(told.starts_with(expected) && !told.contains("hush"), "{told}");
    }
}

#[test]
fn a_sync_that_may_have_been_started_is_told_loudly() {
    for body in [
        status_of(NO_CHAT, "SYNC_STARTED"),
        status_of(NO_CHAT, "SYNC_RUNNING"),
        status_of(NO_CHAT, "SYNC_DONE"),
        status_of(NO_CHAT, "SYNC_PAUSED"),
        status_of("another", "SYNC_STARTED"),
        status_of("another", "SYNC_ERROR"),
    ] {
        let heard = heard(200, &[], &body);
        let Standing::Other(finding) = standing(&base(), &heard) else { panic!("{body}") };
        assert_eq!(finding.result, Verdict::Fault);
        assert!(finding.found.starts_with("A SYNC MAY HAVE BEEN STARTED"), "{finding:?}");
    }
}

#[test]
fn a_certificate_has_a_remedy_of_its_own() {
    let lost = |detail: &str| Answer::Failed(Failure::lost(502, detail.to_owned(), false));
    let finding = unreachable(&lost("no connection to x: invalid peer certificate: UnknownIssuer"));
    assert!(finding.remedy.unwrap().contains("Mozilla"));
    assert!(unreachable(&lost("no connection to x: Connection refused")).remedy.unwrap().contains("firewall"));
}

#[test]
fn clocks_that_are_further_apart_than_the_margin_are_a_warning() {
    let margin = Duration::from_secs(5);
    // Ours reads 10:00:00.
    for (date, found) in [
        ("Tue, 24 Nov 2026 10:00:00 GMT", "agrees"),
        ("Tue, 24 Nov 2026 09:59:54 GMT", "agrees"),
        ("Tue, 24 Nov 2026 10:00:05 GMT", "agrees"),
        ("Tue, 24 Nov 2026 09:59:53 GMT", "6 s ahead of"),
        ("Tue, 24 Nov 2026 10:00:06 GMT", "6 s behind"),
        ("Tue, 24 Nov 2026 11:00:00 GMT", "3600 s behind"),
    ] {
        let finding = of_clock(&heard(404, &[(DATE, date)], ""), margin).unwrap();
        assert!(finding.found.contains(found), "{date}: {finding:?}");
    }
    assert_eq!(of_clock(&heard(404, &[], ""), margin), None, "no date, no finding");
    assert_eq!(of_clock(&heard(404, &[(DATE, "yesterday")], ""), margin), None);
}
