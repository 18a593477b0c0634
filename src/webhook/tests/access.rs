//! Who may make a call.

use super::*;

const BODY: &str = r#"{"chat_id": "c"}"#;
const UNAUTHORIZED: &str = "401 bridge/unauthorized";

/// The request without some headers, and with others.
fn changed(mut request: Request, without: &[&str], with: &[(&str, &str)]) -> Request {
    without.iter().for_each(|name| drop(request.headers.remove(*name)));
    for (name, value) in with {
        let name: HeaderName = name.parse().unwrap();
        request.headers.append(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn signatures_cover_id_time_and_body() {
    let fixture = Fixture::with(Some(SECRET), None);
    let good = || signed(SECRET, now(), &[], BODY);
    let at = |seconds: i64| signed(SECRET, now() + seconds, &[], BODY);
    let both = format!("v1,{} {}", "x".repeat(44), signature(SECRET, "msg_1", now(), BODY));
    let signs = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    for (name, request, expected) in [
        ("right", good(), "202"),
        ("four minutes old", at(-240), "202"),
        ("four minutes early", at(240), "202"),
        ("one of several", changed(good(), &["webhook-signature"], &[("webhook-signature", &both)]), "202"),
        ("five minutes old", at(-310), UNAUTHORIZED),
        ("five minutes early", at(310), UNAUTHORIZED),
        ("another secret", signed(OLD_SECRET, now(), &[], BODY), UNAUTHORIZED),
        ("another body", Request { body: br#"{"chat_id": "d"}"#.to_vec(), ..good() }, UNAUTHORIZED),
        ("the same body, written otherwise", Request { body: br#"{"chat_id":"c"}"#.to_vec(), ..good() }, UNAUTHORIZED),
        ("another id", changed(good(), &["webhook-id"], &[("webhook-id", "msg_2")]), UNAUTHORIZED),
        ("no id", changed(good(), &["webhook-id"], &[]), UNAUTHORIZED),
        ("no timestamp", changed(good(), &["webhook-timestamp"], &[]), UNAUTHORIZED),
        ("no signature", changed(good(), &["webhook-signature"], &[]), UNAUTHORIZED),
        ("nothing", changed(good(), &signs, &[]), UNAUTHORIZED),
        ("two ids", changed(good(), &[], &[("webhook-id", "msg_1")]), UNAUTHORIZED),
        ("two timestamps", changed(good(), &[], &[("webhook-timestamp", "1")]), UNAUTHORIZED),
        ("two signatures", changed(good(), &[], &[("webhook-signature", &both)]), UNAUTHORIZED),
        ("an empty signature", changed(good(), &["webhook-signature"], &[("webhook-signature", "v1,")]), UNAUTHORIZED),
        ("bytes that are not UTF-8", Request { body: b"\xff".to_vec(), ..good() }, UNAUTHORIZED),
    ] {
        assert_eq!(fixture.outcome(&request).await, expected, "{name}");
    }
    assert_eq!(fixture.sent().len(), 4);
}

#[tokio::test]
async fn svix_header_names_are_equivalent() {
    let fixture = Fixture::with(Some(SECRET), Some(TOKEN));
    let (at, bearer) = (now(), format!("Bearer {TOKEN}"));
    let (time, later) = (at.to_string(), (at + 1).to_string());
    let (right, wrong) = (signature(SECRET, "msg_1", at, BODY), signature(OLD_SECRET, "msg_1", at, BODY));
    let standard = [("webhook-id", "msg_1"), ("webhook-timestamp", &*time), ("webhook-signature", &*right)];
    let svix = [("svix-id", "msg_1"), ("svix-timestamp", &*time), ("svix-signature", &*right)];
    let forged = [("svix-id", "msg_1"), ("svix-timestamp", &*time), ("svix-signature", &*wrong)];
    let and = |headers: &[(&'static str, &'static str)]| headers.to_vec();
    for (name, headers, expected) in [
        ("by Svix's names", svix.to_vec(), "202"),
        ("by both", [svix, standard].concat(), "202"),
        ("by either", vec![standard[0], svix[1], svix[2]], "202"),
        ("with the token", [&svix[..], &[("authorization", &bearer)]].concat(), "202"),
        ("another secret", forged.to_vec(), UNAUTHORIZED),
        ("another secret, with the token", [&forged[..], &[("authorization", &bearer)]].concat(), UNAUTHORIZED),
        ("one right, one wrong", [standard, forged].concat(), UNAUTHORIZED),
        ("another id beside", [&svix[..], &and(&[("webhook-id", "msg_2")])].concat(), UNAUTHORIZED),
        ("another id of Svix's beside", [&standard[..], &and(&[("svix-id", "msg_2")])].concat(), UNAUTHORIZED),
        ("another time beside", [&svix[..], &[("webhook-timestamp", &later)]].concat(), UNAUTHORIZED),
        ("an empty id beside", [&svix[..], &and(&[("webhook-id", "")])].concat(), UNAUTHORIZED),
        ("two ids", [&svix[..], &and(&[("svix-id", "msg_1")])].concat(), UNAUTHORIZED),
        ("no time", vec![svix[0], svix[2]], UNAUTHORIZED),
        ("no signature", vec![svix[0], svix[1]], UNAUTHORIZED),
    ] {
        let request =
            request("POST", "/v1/syncs", &[&[("content-type", "application/json")], &headers[..]].concat(), BODY);
        let response = fixture.answer(&request).await;
        assert_eq!(fixture.outcome(&request).await, expected, "{name}");
        if expected == "202" {
            assert!(response.body().contains(r#""idempotency_key":"msg_1""#), "{name}: {}", response.body());
        }
    }
}

#[tokio::test]
async fn a_signed_body_that_is_not_utf_8_is_refused_with_the_reason() {
    let fixture = Fixture::with(Some(SECRET), None);
    for body in [&b"\xff\xfe{\0}\0"[..], b"{\"chat_id\": \"\xe9\"}"] {
        let response = fixture.answer(&Request { body: body.to_vec(), ..signed(SECRET, now(), &[], BODY) }).await;
        assert_eq!(response.status(), 401);
        assert!(response.body().contains("the body is not UTF-8"), "{}", response.body());
    }
}

#[tokio::test]
async fn absurd_timestamps_are_refused() {
    let fixture = Fixture::with(Some(SECRET), None);
    let unreadable = "send each of";
    for (timestamp, why) in [
        ("", unreadable),
        ("now", unreadable),
        ("-1", unreadable),
        ("+1", unreadable),
        ("1.5", unreadable),
        ("9223372036854775807", unreadable),
        ("-9223372036854775808", unreadable),
        ("1000000000000", unreadable),
        ("999999999999", "five minutes"),
        ("0", "five minutes"),
    ] {
        let sign = timestamp.parse().map_or("v1,x".to_owned(), |seconds| signature(SECRET, "msg_1", seconds, BODY));
        let with = [("webhook-timestamp", timestamp), ("webhook-signature", &*sign)];
        let request = changed(signed(SECRET, now(), &[], BODY), &["webhook-timestamp", "webhook-signature"], &with);
        let response = fixture.answer(&request).await;
        assert_eq!(response.status(), 401, "{timestamp:?}");
        assert!(response.body().contains(why), "{timestamp:?}: {}", response.body());
    }
}

#[tokio::test]
async fn old_and_new_values_are_valid_during_a_rotation() {
    let fixture =
        Fixture::with(Some(&format!("{OLD_SECRET} {SECRET}")), Some("old-token-of-the-test new-token-of-the-test"));
    for secret in [OLD_SECRET, SECRET] {
        assert_eq!(fixture.outcome(&signed(secret, now(), &[], BODY)).await, "202");
    }
    for (token, expected) in [
        ("old-token-of-the-test", "404 bridge/no_run"),
        ("new-token-of-the-test", "404 bridge/no_run"),
        ("old", UNAUTHORIZED),
    ] {
        let bearer = format!("Bearer {token}");
        let request = request("GET", "/v1/chats/c/sync", &[("authorization", &bearer)], "");
        assert_eq!(fixture.outcome(&request).await, expected, "{token}");
    }
}

#[tokio::test]
async fn tokens_are_compared_whole_and_sent_once() {
    let fixture = Fixture::with(None, Some(TOKEN));
    let bearer = format!("Bearer {TOKEN}");
    let long = format!("Bearer {TOKEN}x");
    let short = &bearer[..bearer.len() - 1];
    for (values, expected) in [
        (&[&*bearer][..], "404 bridge/no_run"),
        (&[&*bearer.replace("Bearer", "bearer")], "404 bridge/no_run"),
        (&[&*bearer.replace(' ', "  ")], "404 bridge/no_run"),
        (&[&*long], UNAUTHORIZED),
        (&[short], UNAUTHORIZED),
        (&["Bearer "], UNAUTHORIZED),
        (&["Bearer"], UNAUTHORIZED),
        (&[TOKEN], UNAUTHORIZED),
        (&[&*bearer.replace("Bearer", "Basic")], UNAUTHORIZED),
        (&[&*bearer, &*bearer], UNAUTHORIZED),
        (&[&*format!("{bearer}, {bearer}")], UNAUTHORIZED),
        (&[], UNAUTHORIZED),
    ] {
        let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        assert_eq!(fixture.outcome(&request("GET", "/v1/chats/c/sync", &headers, "")).await, expected, "{values:?}");
    }
}

#[tokio::test]
async fn every_credential_sent_must_be_valid() {
    let (secret_only, token_only) = (Fixture::with(Some(SECRET), None), Fixture::with(None, Some(TOKEN)));
    let both = Fixture::with(Some(SECRET), Some(TOKEN));
    let (right, wrong) = (format!("Bearer {TOKEN}"), "Bearer wrong".to_owned());
    let as_token = format!("Bearer {SECRET}");
    let with = |secret, bearer: &str| signed(secret, now(), &[("authorization", bearer)], BODY);
    for (name, fixture, request, expected) in [
        ("both right", &both, with(SECRET, &right), "202"),
        ("a wrong signature is not excused", &both, with(OLD_SECRET, &right), UNAUTHORIZED),
        ("a wrong token is not excused", &both, with(SECRET, &wrong), UNAUTHORIZED),
        ("a signature alone", &both, signed(SECRET, now(), &[], BODY), "202"),
        ("a token alone", &both, post(&[], BODY), "202"),
        ("a token, and an id that is no credential", &both, post(&[("webhook-id", "x")], BODY), "202"),
        ("a signature where there is no secret", &token_only, signed(SECRET, now(), &[], BODY), UNAUTHORIZED),
        ("the same, with the token", &token_only, with(SECRET, &right), UNAUTHORIZED),
        ("a token where there is none", &secret_only, post(&[], BODY), UNAUTHORIZED),
        ("the secret as a token", &both, post_with(&as_token), UNAUTHORIZED),
        ("the same, without its prefix", &both, post_with(&as_token.replace("whsec_", "")), UNAUTHORIZED),
        ("the same, where there is no token", &secret_only, post_with(&as_token), UNAUTHORIZED),
    ] {
        assert_eq!(fixture.outcome(&request).await, expected, "{name}");
    }
}

fn post_with(authorization: &str) -> Request {
    request("POST", "/v1/syncs", &[("content-type", "application/json"), ("authorization", authorization)], BODY)
}

#[tokio::test]
async fn a_query_requires_a_token() {
    let fixture = Fixture::with(Some(SECRET), None);
    for request in [get("/v1/chats/c/sync", &[]), request("GET", "/v1/chats/c/sync", &[], "")] {
        let response = fixture.answer(&request).await;
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"postpress-bridge\"");
        assert!(response.body().contains("has no bearer token"), "{}", response.body());
    }
    // A signature covers no path, so that it would be good for every chat.
    let both = Fixture::with(Some(SECRET), Some(TOKEN));
    let read = Request {
        method: Method::GET,
        path: Path::Encoded("/v1/chats/c/sync".to_owned()),
        ..signed(SECRET, now(), &[], "")
    };
    assert_eq!(both.outcome(&read).await, UNAUTHORIZED);
}

#[tokio::test]
async fn iam_requires_no_credentials() {
    let fixture = Fixture::new(Auth::Iam);
    let request = request("POST", "/v1/syncs", &[("content-type", "application/json")], BODY);
    assert_eq!(fixture.outcome(&request).await, "202");
    assert_eq!(fixture.outcome(&get("/v1/chats/c/sync", &[])).await, "404 bridge/no_run");
}

#[tokio::test(start_paused = true)]
async fn a_rotated_token_is_valid_at_once_and_read_once_a_minute() {
    const OLD: &str = "old-token-of-the-test";
    const NEW: &str = "new-token-of-the-test";
    let kept = Rc::new(Kept { credentials: RefCell::new(Ok(credentials(None, Some(NEW)))), reads: Cell::default() });
    let rotating = Rotating::new("credentials", credentials(None, Some(OLD)), Some(Rc::clone(&kept)));
    let fixture = Fixture::new(Auth::Credentials(rotating));
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        fixture.outcome(&request("GET", "/v1/chats/c/sync", &[("authorization", &bearer)], "")).await
    };
    assert_eq!((ask(OLD).await.as_str(), kept.reads.get()), ("404 bridge/no_run", 0));
    assert_eq!((ask(NEW).await.as_str(), kept.reads.get()), ("404 bridge/no_run", 1));
    for reads in 1..4 {
        for _ in 0..3 {
            assert_eq!((ask("guess").await.as_str(), kept.reads.get()), (UNAUTHORIZED, reads));
            advance(MINUTE / 4).await;
        }
        advance(MINUTE / 4).await;
    }
    // Without credentials, nothing can have been rotated.
    assert_eq!(fixture.outcome(&request("GET", "/v1/chats/c/sync", &[], "")).await, UNAUTHORIZED);
    assert_eq!(kept.reads.get(), 3);

    *kept.credentials.borrow_mut() = Err(ServiceError::Transient("throttled".to_owned()));
    assert_eq!((ask("guess").await.as_str(), kept.reads.get()), (UNAUTHORIZED, 4));
    assert_eq!(ask(NEW).await, "404 bridge/no_run", "the last value stays in use");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_stops_working_within_minutes() {
    const OLD: &str = "old-token-of-the-test";
    const NEW: &str = "new-token-of-the-test";
    let kept = Rc::new(Kept { credentials: RefCell::new(Ok(credentials(None, Some(OLD)))), reads: Cell::default() });
    let rotating = Rotating::new("credentials", credentials(None, Some(OLD)), Some(Rc::clone(&kept)));
    let fixture = Fixture::new(Auth::Credentials(rotating));
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        fixture.outcome(&request("GET", "/v1/chats/c/sync", &[("authorization", &bearer)], "")).await
    };
    for reads in 0..3 {
        assert_eq!((ask(OLD).await.as_str(), kept.reads.get()), ("404 bridge/no_run", reads), "every 5 minutes");
        advance(4 * MINUTE).await;
        assert_eq!((ask(OLD).await.as_str(), kept.reads.get()), ("404 bridge/no_run", reads));
        advance(MINUTE).await;
    }
    // If reading fails, the last value stays in use, and reading is tried once a minute, not with every request.
    for failure in [ServiceError::Permanent("it is JSON".to_owned()), ServiceError::Transient("throttled".to_owned())] {
        *kept.credentials.borrow_mut() = Err(failure);
        let before = kept.reads.get();
        for _ in 0..3 {
            assert_eq!(ask(OLD).await, "404 bridge/no_run");
            advance(MINUTE / 4).await;
        }
        assert_eq!(kept.reads.get(), before + 1);
        advance(MINUTE).await;
    }
    *kept.credentials.borrow_mut() = Ok(credentials(None, Some(NEW)));
    assert_eq!(ask(OLD).await, UNAUTHORIZED);
    assert_eq!(ask(NEW).await, "404 bridge/no_run");
    // A rotation just after that takes effect at once, too.
    *kept.credentials.borrow_mut() = Ok(credentials(None, Some("newer-token-of-the-test")));
    advance(MINUTE).await;
    assert_eq!(ask("newer-token-of-the-test").await, "404 bridge/no_run");
}
