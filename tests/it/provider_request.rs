//! The request to the provider.

use postpress_bridge::ids::Subject;
use postpress_bridge::postpress::Provider;
use postpress_bridge::postpress::answer::{Answer, Progress};
use postpress_bridge::postpress::client::ApiKey;
use secrecy::SecretString;

use crate::harness::provider_client::{LONG, ask, client_of, history, running};
use crate::harness::raw_server::Move::Read;
use crate::harness::raw_server::{RawServer, reply};

#[tokio::test]
async fn the_request_is_as_documented_with_the_key_once() {
    let server = RawServer::start([vec![Read, reply("200 OK", running())]]).await;
    ask(&client_of(&server), LONG).await;
    let request = server.seen().requests.remove(0);
    let mut lines: Vec<_> = request.trim_end().lines().map(|line| line.replace(&server.address(), "HOST")).collect();
    lines[1..].sort_unstable();
    let agent = format!("user-agent: postpress-bridge/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines,
        [
            "GET /v1/chats/chat_01HXYZ/sync HTTP/1.1",
            "accept-encoding: gzip",
            "accept: application/json",
            "host: HOST",
            &agent,
            "x-api-key: pp_live_hunter2",
        ]
    );
}

#[tokio::test]
async fn a_rotated_key_is_sent_with_the_next_call() {
    let server = RawServer::start([vec![Read, reply("200 OK", running()), Read, reply("200 OK", running())]]).await;
    let client = client_of(&server);
    ask(&client, LONG).await;
    let rotated = client.with_api_key(ApiKey::parse(&SecretString::from("pp_live_new")).unwrap());
    ask(&rotated, LONG).await;
    let seen = server.seen();
    assert!(seen.requests[1].contains("x-api-key: pp_live_new\r\n"), "{seen:?}");
    assert_eq!(seen.connections, 1);
}

#[tokio::test]
async fn a_chat_id_arrives_as_one_segment() {
    for (chat, segment) in [
        ("a/b", "a%2Fb"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("...", "..."),
        ("%2e%2e", "%252e%252e"),
        ("a?b=c#d", "a%3Fb%3Dc%23d"),
        ("50%", "50%25"),
        ("a b\\c", "a%20b%5Cc"),
        ("Grüße 🎉", "Gr%C3%BC%C3%9Fe%20%F0%9F%8E%89"),
    ] {
        let server = RawServer::start([vec![Read, reply("200 OK", history(chat, "SYNC_RUNNING"))]]).await;
        let answer = client_of(&server).sync(&Subject::chat(chat).unwrap().into(), LONG).await;
        assert_eq!(answer, Answer::InProgress(Progress::Running), "{chat}");
        let seen = server.seen();
        assert_eq!(seen.requests[0].lines().next(), Some(&*format!("GET /v1/chats/{segment}/sync HTTP/1.1")));
    }
}
