//! SQS fails on the wire: what the 503 says about the trigger.

use futures_util::future::join_all;
use http::Response;
use hyper::body::Bytes;
use rustls::version::TLS13;

use super::world::{TOKEN, body, front, outcome, post};
use crate::harness::emulator::{Emulated, endpoint};
use crate::harness::lambda::{Front, Kind};
use crate::harness::proxy::{Fault, Of, Proxy};
use crate::harness::raw_server::{Move, RawServer, reply};
use crate::harness::tls_server::TlsServer;

const NOT_ON_IT: &str = "it is not on the queue; send it again";
const PERHAPS: &str = "may or may not be on the queue";

const KEYLESS: &str = r#"{"chat_id": "c"}"#;
const WITH_KEY: &str = r#"{"chat_id": "c", "idempotency_key": "k"}"#;
const SEND: Of = Of("SendMessageBatch", "");

fn at(aws: &Emulated, endpoint: &str) -> Front {
    front(aws, Kind::FunctionUrl, &[("BRIDGE_WEBHOOK_TOKEN", TOKEN), ("AWS_ENDPOINT_URL", endpoint)])
}

fn assert_says(response: &Response<Bytes>, says: &str, what: &str) {
    assert_eq!(outcome(response), "503 bridge/unavailable", "{what}");
    let body = body(response);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains(says), "{what}: {detail}");
    assert_eq!(response.headers()["retry-after"], "5", "{what}");
}

#[tokio::test]
async fn refused_and_lost_sends_are_distinguished() {
    let aws = Emulated::new().await;
    // More than the attempts of ten seconds.
    const ALWAYS: usize = 40;
    let cases = [
        (Fault::Answers(400, "ThrottlingException"), NOT_ON_IT, true),
        (Fault::Answers(403, "RequestThrottled"), NOT_ON_IT, true),
        (Fault::Answers(403, "AccessDeniedException"), NOT_ON_IT, false),
        (Fault::Answers(400, "AWS.SimpleQueueService.NonExistentQueue"), NOT_ON_IT, false),
        (Fault::Answers(400, "InvalidMessageContents"), NOT_ON_IT, false),
        (Fault::EntriesFail("c", "InvalidMessageContents"), NOT_ON_IT, false),
        (Fault::EntriesFail("c", "RequestThrottled"), NOT_ON_IT, true),
        (Fault::EntriesFail("c", "InternalError"), PERHAPS, false),
        (Fault::Answers(500, "InternalFailure"), PERHAPS, false),
        (Fault::Answers(503, "ServiceUnavailable"), PERHAPS, false),
        (Fault::RequestLost, PERHAPS, false),
        (Fault::Hangs, PERHAPS, false),
    ];
    let tried = cases.map(async |(fault, says, is_sent_again)| {
        let proxy = Proxy::start(endpoint()).await;
        let front = at(&aws, proxy.endpoint());
        for _ in 0..ALWAYS {
            proxy.once(SEND, fault);
        }
        assert_says(&front.answer(&post(KEYLESS)).await, says, &format!("{fault:?}"));
        let sends = proxy.seen(SEND).len();
        assert_eq!(sends > 1, is_sent_again, "{fault:?}: {sends}");
    });
    join_all(tried).await;
    assert!(aws.queue_is_empty().await);

    // One failure is retried if nothing can have been enqueued.
    let proxy = Proxy::start(endpoint()).await;
    proxy.once(SEND, Fault::Answers(400, "ThrottlingException"));
    let response = at(&aws, proxy.endpoint()).answer(&post(KEYLESS)).await;
    assert_eq!((outcome(&response), proxy.seen(SEND).len()), ("202".to_owned(), 2));
}

#[tokio::test]
async fn a_trigger_with_a_lost_reply_is_not_reported_as_lost() {
    let aws = Emulated::new().await;
    let proxy = Proxy::start(endpoint()).await;
    proxy.once(SEND, Fault::ReplyLost);
    let front = at(&aws, proxy.endpoint());
    assert_says(&front.answer(&post(KEYLESS)).await, PERHAPS, "without a key");
    assert_eq!(aws.take_visible().await.len(), 1);
    // The first send counts although the second was refused.
    proxy.once(SEND, Fault::ReplyLost);
    proxy.once(SEND, Fault::Answers(403, "AccessDeniedException"));
    assert_says(&front.answer(&post(WITH_KEY)).await, PERHAPS, "with a key");
    assert_eq!(aws.take_visible().await.len(), 1);
}

#[tokio::test]
async fn without_a_connection_nothing_is_on_the_queue() {
    let aws = Emulated::new().await;
    let stranger = TlsServer::start("127.0.0.1", &TLS13, String::new());
    for (what, endpoint) in [
        ("no listener", "http://127.0.0.1:1".to_owned()),
        ("a certificate that is not trusted", format!("https://{}", stranger.address)),
        ("no such name", "http://sqs.invalid".to_owned()),
    ] {
        let (keyless, with_key) = (at(&aws, &endpoint), at(&aws, &endpoint));
        let (first, second) = (post(KEYLESS), post(WITH_KEY));
        let (keyless, with_key) = tokio::join!(keyless.answer(&first), with_key.answer(&second));
        assert_says(&keyless, NOT_ON_IT, what);
        assert_says(&with_key, NOT_ON_IT, what);
    }
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"Successful\":";
    for (what, moves) in [
        ("reset after the request", vec![Move::Read, Move::Reset]),
        ("closed after the request", vec![Move::Read]),
        ("cut in the answer", vec![Move::Read, Move::Send(cut.into())]),
        ("no answer of SQS's", vec![Move::Read, reply("200 OK", "<html>")]),
    ] {
        let server = RawServer::start(std::iter::repeat_n(moves, 100)).await;
        let front = at(&aws, &format!("http://{}", server.address()));
        assert_says(&front.answer(&post(KEYLESS)).await, PERHAPS, what);
        assert_eq!(server.seen().requests.len(), 1, "{what}: the client decides whether to send again");
    }
}
