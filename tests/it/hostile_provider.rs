//! Whatever the provider does: a call is one request, ends in time and is classified safely, and the key is sent nowhere else.

use std::io::Write;
use std::time::{Duration, SystemTime};

use postpress_bridge::postpress::RetryClass;
use postpress_bridge::postpress::answer::{Answer, Finish, Progress};
use postpress_bridge::postpress::body::BODY_MAX_BYTES;

use crate::harness::provider_client::{CHAT, LONG, ask, client, client_of, failure, history, running};
use crate::harness::raw_server::Move::{Drip, Flood, Hang, Read, Reset};
use crate::harness::raw_server::{RawServer, cut, reply, text};

/// Short, for calls that must time out.
const SHORT: Duration = Duration::from_millis(300);

/// An envelope that claims another status.
const ENVELOPE: &str = r#"{"title": "Gone", "type": "errors/resource_not_found", "status": 200}"#;

/// Summarises an answer.
fn class(answer: &Answer) -> String {
    match answer {
        Answer::InProgress(progress) => format!("in progress: {progress:?}"),
        Answer::Over(finish) => format!("over: {finish:?}"),
        Answer::Unusable(_) => "unusable".to_owned(),
        Answer::Failed(failure) => {
            let late = if failure.may_land_late { ", may land late" } else { "" };
            format!("{:?} {}{late}", failure.retry_class, failure.status)
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_answer_is_classified_after_one_request() {
    let gzipped = "200 OK\r\ncontent-encoding: gzip";
    let done = history(CHAT, "SYNC_DONE");
    let half_gzip = &gzip(running().as_bytes())[..30];
    for (moves, expected) in [
        (vec![Read, reply("200 OK", history(CHAT, "SYNC_STARTED"))], "in progress: Started"),
        (vec![Read, reply("202 Accepted", running())], "in progress: Running"),
        (vec![Read, reply("200 OK", &done)], "over: Done"),
        (vec![Read, reply("200 OK", history(CHAT, "CHAT_DELETED"))], "over: Deleted"),
        (vec![Read, reply(gzipped, gzip(done.as_bytes()))], "over: Done"),
        (vec![Read, text("HTTP/1.1 100 Continue\r\n\r\n"), reply("200 OK", running())], "in progress: Running"),
        (vec![Read, text("HTTP/1.0 200 OK\r\n\r\n"), text(&running())], "in progress: Running"),
        // of another chat
        (vec![Read, reply("200 OK", history("chat_other", "SYNC_RUNNING"))], "unusable"),
        (vec![Read, reply("200 OK", history("chat_other", "SYNC_DONE"))], "Terminal 502"),
        (vec![Read, reply("200 OK", history(CHAT, "SYNC_PAUSED"))], "Terminal 502"),
        // no information
        (vec![Read, reply("200 OK", ENVELOPE)], "unusable"),
        (vec![Read, reply("200 OK", "<html>SYNC_DONE</html>")], "unusable"),
        (vec![Read, reply("204 No Content", "")], "unusable"),
        (vec![Read, cut("200 OK", "{\"object\": \"ChatHist")], "unusable"),
        (vec![Read, cut("200 OK", ""), Reset], "unusable"),
        (vec![Read, reply(gzipped, half_gzip)], "unusable"),
        // possible ends that are unreadable
        (vec![Read, reply("200 OK", b"{\"status\": \"SYNC_DONE\xff\"}")], "Terminal 502"),
        (vec![Read, reply("200 OK", format!("[{done}]"))], "Terminal 502"),
        (vec![Read, reply("200 OK", format!("{{\"data\": {done}}}"))], "Terminal 502"),
        (vec![Read, reply("200 OK", format!("{}{done}", running()))], "Terminal 502"),
        (vec![Read, cut("200 OK", &done[..done.len() - 1])], "Terminal 502"),
        (vec![Read, cut("200 OK", &done[..done.len() - 1]), Reset], "Terminal 502"),
        (vec![Read, reply("500 Internal Server Error", &done)], "Terminal 500"),
        // whole in a broken frame; `spoiled_answers` covers every fault
        (vec![Read, cut("200 OK", &done)], "over: Done"),
        (vec![Read, cut("200 OK", &running()), Reset], "in progress: Running"),
        (vec![Read, reply(gzipped, &done)], "over: Done"),
        (vec![Read, cut("503 Service Unavailable", ENVELOPE)], "Retryable 503"),
        (vec![Read, cut("404 Not Found", ENVELOPE), Reset], "Terminal 404"),
        // errors
        (vec![Read, reply("404 Not Found", ENVELOPE)], "Terminal 404"),
        (vec![Read, reply("502 Bad Gateway", "<html>nginx</html>")], "Retryable 502"),
        (vec![Read, reply("501 Not Implemented", "")], "Terminal 501"),
        (vec![Read, reply("429 Too Many Requests", "")], "Retryable 429"),
        (vec![Read, reply("999 Request denied", "")], "Retryable 999"),
        (vec![Read, reply("600 Who Knows", "")], "Retryable 600"),
        // no answer
        (vec![Reset], "Retryable 502"),
        (vec![Read, Reset], "Retryable 502"),
        (vec![Read], "Retryable 502"),
        (vec![Read, text("HTTP/1.1 200 O"), Reset], "Retryable 502"),
        (vec![Read, text("SSH-2.0-OpenSSH_9.6\r\n")], "Retryable 502"),
        (vec![Read, text("HTTP/1.1 200 OK\r\nx: "), Flood(50_000_000)], "Retryable 502"),
    ] {
        let reads = moves.iter().filter(|step| matches!(step, Read)).count();
        let server = RawServer::start([moves.clone()]).await;
        let answer = ask(&client_of(&server), LONG).await;
        assert_eq!(class(&answer), expected, "{moves:?}: {answer:?}");
        let seen = server.seen();
        assert_eq!((seen.connections, seen.requests.len()), (1, reads), "{moves:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_retryable_and_names_the_address() {
    // Port 1 (tcpmux) is privileged and unused.
    let failure = failure(&client("http://127.0.0.1:1/v1"), LONG).await;
    assert_eq!((failure.retry_class, failure.status, failure.may_land_late), (RetryClass::Retryable, 502, false));
    assert!(failure.detail.starts_with("no connection to http://127.0.0.1:1/v1: "), "{}", failure.detail);
}

#[tokio::test]
async fn a_call_that_times_out_may_land_late_and_is_closed() {
    let drip = || Drip(Duration::from_millis(20));
    for moves in [
        vec![Hang],
        vec![Read, Hang],
        vec![Read, text("HTTP/1.1 200 OK\r\nx:"), drip()],
        vec![Read, cut("200 OK", ""), drip()],
        vec![Read, cut("404 Not Found", ""), drip()],
        vec![Read, cut("404 Not Found", "{\"title\": \"Not fo"), Hang],
        vec![Read, text("HTTP/1.1 200 OK\r\n\r\n"), text("{\"object\": \"ChatHist"), Hang],
    ] {
        let server = RawServer::start([moves.clone()]).await;
        let failure = failure(&client_of(&server), SHORT).await;
        assert_eq!((failure.retry_class, failure.status), (RetryClass::Retryable, 504), "{moves:?}");
        assert!(failure.may_land_late, "{moves:?}");
        let seen = tokio::time::timeout(LONG, server.wait_for(|seen| seen.closed == 1)).await.unwrap();
        assert_eq!(seen.connections, 1, "{moves:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_at_the_deadline_counts() {
    let drip = || Drip(Duration::from_millis(20));
    for (moves, expected) in [
        (vec![Read, cut("404 Not Found", ENVELOPE), drip()], "Terminal 404"),
        (vec![Read, cut("200 OK", &history(CHAT, "SYNC_DONE")), drip()], "over: Done"),
        (vec![Read, text("HTTP/1.1 200 OK\r\n\r\n"), text(&running()), Hang], "in progress: Running"),
        (vec![Read, text("HTTP/1.1 200 OK\r\n\r\n"), text("[\"SYNC_DONE\""), Hang], "Terminal 502"),
    ] {
        let server = RawServer::start([moves.clone()]).await;
        let answer = ask(&client_of(&server), SHORT).await;
        assert_eq!(class(&answer), expected, "{moves:?}: {answer:?}");
        let seen = tokio::time::timeout(LONG, server.wait_for(|seen| seen.closed == 1)).await.unwrap();
        assert_eq!(seen.connections, 1, "{moves:?}");
    }
}

/// The clock is paused, so waiting for the handshake ends as soon as nothing else can run.
#[tokio::test(start_paused = true)]
async fn a_connect_timeout_cannot_land_late() {
    let server = RawServer::start([vec![Hang]]).await;
    let failure = failure(&client(&format!("https://{}", server.address())), LONG).await;
    assert_eq!((failure.retry_class, failure.status, failure.may_land_late), (RetryClass::Retryable, 504, false));
    assert_eq!(server.seen().requests.len(), 0);
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_bound() {
    let whole = 200_000_000;
    for head in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {whole}\r\n\r\n"),
        "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n".to_owned(),
    ] {
        let server = RawServer::start([vec![Read, text(&head), Flood(whole)]]).await;
        let answer = ask(&client_of(&server), LONG).await;
        assert_eq!(class(&answer), "unusable");
        let seen = tokio::time::timeout(LONG, server.wait_for(|seen| seen.closed == 1)).await.unwrap();
        // Unread data is in the kernel's buffers, a few megabytes at most.
        assert!(seen.sent < whole / 4, "{}", seen.sent);
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_cut_at_the_bound() {
    let bomb = gzip(&vec![b' '; 16 * BODY_MAX_BYTES]);
    assert!(bomb.len() < BODY_MAX_BYTES);
    for (head, expected) in [("200 OK", "unusable"), ("503 Service Unavailable", "Retryable 503")] {
        let server = RawServer::start([vec![Read, reply(&format!("{head}\r\ncontent-encoding: gzip"), &bomb)]]).await;
        let answer = ask(&client_of(&server), LONG).await;
        assert_eq!(class(&answer), expected);
        assert!(format!("{answer:?}").contains("longer than 1048576 bytes"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_gets_no_key() {
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let elsewhere = RawServer::start([]).await;
        let location = format!("{status}\r\nlocation: http://{}/v1", elsewhere.address_by_name());
        let server = RawServer::start([vec![Read, reply(&location, "")]]).await;
        let failure = failure(&client_of(&server), LONG).await;
        assert_eq!((failure.retry_class, failure.status), (RetryClass::Terminal, 502), "{status}");
        assert!(!failure.detail.contains("localhost"), "{}", failure.detail);
        assert_eq!((server.seen().requests.len(), elsewhere.seen().connections), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn a_404_without_an_envelope_blames_the_base_url() {
    let server = RawServer::start([vec![Read, reply("404 Not Found", "<html>nginx</html>")]]).await;
    let failure = failure(&client_of(&server), LONG).await;
    assert_eq!((failure.retry_class, failure.status, failure.envelope), (RetryClass::Terminal, 404, None));
    for part in ["POSTPRESS_BASE_URL", "https://api.postpress.ai/v1", "https://api.postpress.ai/api/v1"] {
        assert!(failure.detail.contains(part), "{}", failure.detail);
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_and_as_a_date() {
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    for (value, seconds) in [
        ("120", Some(120..=120)),
        ("299.997", Some(300..=300)),
        ("99999999999999999999", Some(u64::MAX..=u64::MAX)),
        ("7\r\nretry-after: 240\r\nretry-after: 30", Some(240..=240)),
        (&*in_an_hour, Some(3000..=3600)),
        ("soon", None),
    ] {
        let head = format!("429 Too Many Requests\r\nretry-after: {value}");
        let server = RawServer::start([vec![Read, reply(&head, "")]]).await;
        let heard = failure(&client_of(&server), LONG).await.retry_after;
        match seconds {
            Some(seconds) => assert!(heard.is_some_and(|wait| seconds.contains(&wait.as_secs())), "{value}: {heard:?}"),
            None => assert_eq!(heard, None),
        }
    }
}

#[tokio::test]
async fn a_reset_on_a_reused_connection_is_not_retried() {
    let server = RawServer::start([vec![Read, reply("200 OK", running()), Read, Reset]]).await;
    let client = client_of(&server);
    assert_eq!(ask(&client, LONG).await, Answer::InProgress(Progress::Running));
    assert_eq!(class(&ask(&client, LONG).await), "Retryable 502");
    let seen = server.seen();
    assert_eq!((seen.connections, seen.requests.len()), (1, 2));
}

#[tokio::test]
async fn a_connection_closed_while_idle_causes_no_second_request() {
    let script = vec![Read, reply("200 OK", running())];
    let server = RawServer::start([script.clone(), script]).await;
    let client = client_of(&server);
    assert_eq!(ask(&client, LONG).await, Answer::InProgress(Progress::Running));
    server.wait_for(|seen| seen.closed == 1).await;
    // The client may not know of the close yet. It may fail, but must not send twice.
    let answer = ask(&client, LONG).await;
    assert!(["in progress: Running", "Retryable 502"].contains(&&*class(&answer)), "{answer:?}");
    assert!(server.seen().requests.len() <= 2);
}

#[tokio::test]
async fn an_unsolicited_answer_is_not_used_for_the_next_call() {
    let unasked = reply("200 OK", history(CHAT, "SYNC_DONE"));
    let first = vec![Read, reply("200 OK", running()), unasked, Hang];
    let second = vec![Read, reply("200 OK", running())];
    let server = RawServer::start([first, second]).await;
    let client = client_of(&server);
    assert_eq!(ask(&client, LONG).await, Answer::InProgress(Progress::Running));
    server.wait_for(|seen| seen.closed == 1).await;
    assert_ne!(ask(&client, LONG).await, Answer::Over(Finish::Done));
}
