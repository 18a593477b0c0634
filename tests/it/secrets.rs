//! The API keys with a provider that echoes them: wherever an answer contains one, no event, item, message or log line does.
//!
//! `harness/canary.rs` checks what the programs in the other tests print, store and send.

use std::iter::repeat_n;
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::MemoryBus;
use postpress_bridge::credentials::SecretStore;
use postpress_bridge::event::Event;
use postpress_bridge::event_source_mapping::EventSourceMapping;
use postpress_bridge::ids::MessageId;
use postpress_bridge::postpress::Provider;
use postpress_bridge::postpress::client::{ApiKey, http_client, mozilla_roots};
use postpress_bridge::postpress::workspaces::{WorkspaceClients, Workspaces};
use postpress_bridge::queue::{MemoryQueue, Outgoing, Queue, VisibilityChange};
use postpress_bridge::run::{Rules, Schedule};
use postpress_bridge::service::ServiceError;
use postpress_bridge::settings::{Config, DEFAULT_EVENT_SOURCE, Limits};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::time::Clock;
use postpress_bridge::worker::Worker;
use serde_json::json;

use crate::harness::canary::{CANARY, WORKSPACES, assert_no_secret, workspaces_secret};
use crate::harness::log::Log;
use crate::harness::provider_client::{CHAT, base_url, client_of, key};
use crate::harness::raw_server::Move::{Read, Reset};
use crate::harness::raw_server::{Move, RawServer, cut, reply, text};

const SECOND: Duration = Duration::from_secs(1);

/// A queue that checks what is sent to it.
struct CheckedQueue(Rc<MemoryQueue>);

impl Queue for CheckedQueue {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        messages.iter().for_each(|message| assert_no_secret("a poll", &message.body));
        self.0.send(messages).await
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        self.0.change_visibility(messages).await
    }
}

/// The secret with the workspaces, which never changes.
#[derive(Debug)]
struct Unchanged;

impl SecretStore<ApiKey> for Unchanged {
    async fn read(&self) -> Result<ApiKey, ServiceError> {
        Ok(key())
    }
}

impl SecretStore<Rc<Workspaces>> for Unchanged {
    async fn read(&self) -> Result<Rc<Workspaces>, ServiceError> {
        Workspaces::parse(&workspaces_secret().to_string()).map(Rc::new).map_err(ServiceError::Permanent)
    }
}

/// Clients for every workspace of the suite.
async fn clients_of(server: &RawServer) -> WorkspaceClients<Unchanged> {
    let http = http_client(mozilla_roots()).unwrap();
    let workspaces = SecretStore::<Rc<Workspaces>>::read(&Unchanged).await.unwrap();
    let base_url = base_url(&format!("http://{}/v1", server.address()));
    let clients = WorkspaceClients::new(http, base_url, (key(), Some(Unchanged)), Some((workspaces, Unchanged)));
    assert_no_secret("the clients", &format!("{clients:?}"));
    clients
}

/// Processes one trigger of this workspace to its end with this provider and returns the event.
async fn work(provider: impl Provider, workspace: &str) -> Event {
    let log = Log::start();
    let clock = Clock::System;
    let queue = Rc::new(MemoryQueue::new("m", clock, 60 * SECOND, 2));
    let (store, bus) = (Rc::new(MemoryStore::default()), Rc::new(MemoryBus::default()));
    let limits = Limits { provider_timeout: 10 * SECOND, ..Limits::default() };
    // A hundred times as fast, with retries for a fifth of a second.
    let schedule =
        Schedule { poll_initial: SECOND, poll_factor: 1.0, retry: 20 * SECOND, speedup: 100, ..Schedule::default() };
    let config = Config { rules: Rules { schedule, ..Rules::default() }, limits, ..Config::default() };
    let worker =
        Worker::new(provider, Rc::clone(&store), CheckedQueue(Rc::clone(&queue)), Rc::clone(&bus), clock, config);

    queue.put(&json!({"chat_id": CHAT, "workspace": workspace}).to_string(), Duration::ZERO);
    let mapping = EventSourceMapping { batch_size: 1, concurrency: 1, invocation: 30 * SECOND };
    mapping.run(&*queue, &worker, queue.drained()).await;

    assert!(log.text().contains("event published"), "it is the log of this run");
    assert_no_secret("the run table", &format!("{:?}", store.items()));
    let [event] = &bus.events()[..] else { panic!("{:?}", bus.events()) };
    assert_no_secret("the event", &event.to_line(DEFAULT_EVENT_SOURCE));
    event.clone()
}

/// A provider that does this at every call, each on a new connection.
async fn always(moves: Vec<Move>) -> RawServer {
    RawServer::start(repeat_n(moves, 200)).await
}

fn envelope(key: &str) -> String {
    format!(
        r#"{{"title": "Bad key {key}", "detail": "X-API-KEY: {key}", "instance": "{key}", "type": "errors/{key}", "status": 500}}"#
    )
}

/// The key with JSON escapes.
fn escaped(key: &str) -> String {
    key.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect()
}

#[tokio::test]
async fn an_envelope_is_published_without_an_echoed_key() {
    for (workspace, key) in [("default", CANARY)].into_iter().chain(WORKSPACES) {
        echo_in_envelopes(workspace, key).await;
    }
}

async fn echo_in_envelopes(workspace: &str, key: &str) {
    let kept = format!(r#"{{"title": "Bad key", "detail": "not {key}", "type": "errors/missing_credentials"}}"#);
    for (head, body) in [
        ("401 Unauthorized", kept),
        ("401 Unauthorized", envelope(key)),
        ("403 Forbidden", envelope(key)),
        ("404 Not Found", envelope(&escaped(key))),
        ("422 Unprocessable Content", envelope(key)),
        ("500 Internal Server Error", envelope(key)),
        ("501 Not Implemented", envelope(key)),
        ("503 Service Unavailable", envelope(&escaped(key))),
        ("200 OK", envelope(key)),
        ("200 OK", json!({"object": "ChatHistorySync", "chat_id": CHAT, "status": key}).to_string()),
        ("200 OK", json!({"object": "ChatHistorySync", "chat_id": key, "status": "SYNC_DONE"}).to_string()),
        ("200 OK", json!({"object": key, "chat_id": CHAT, "status": "SYNC_RUNNING"}).to_string()),
    ] {
        let server = always(vec![Read, reply(head, &body)]).await;
        let event = work(clients_of(&server).await, workspace).await;
        // The event has the echoed text without the key, which was really sent.
        assert!(event.detail_json().contains("[secret]"), "{head} {body}: {event:?}");
        assert!(server.seen().requests.iter().all(|request| request.contains(key)));
    }
}

#[tokio::test]
async fn an_echoed_key_in_an_unread_part_is_shown_nowhere() {
    let elsewhere = RawServer::start([]).await;
    let location = format!("302 Found\r\nlocation: http://{}/{CANARY}?key={CANARY}", elsewhere.address_by_name());
    let headers =
        format!("429 Too Many Requests\r\nretry-after: {CANARY}\r\nx-api-key: {CANARY}\r\nset-cookie: {CANARY}");
    for moves in [
        vec![Read, reply(&location, envelope(CANARY))],
        vec![Read, reply(&headers, CANARY)],
        vec![Read, reply(&format!("404 {CANARY}"), CANARY)],
        vec![Read, reply(&format!("200 OK\r\ncontent-encoding: {CANARY}"), CANARY)],
        vec![Read, reply("200 OK\r\ncontent-encoding: gzip", CANARY)],
        vec![Read, reply("200 OK", format!("<html>{CANARY}</html>"))],
        vec![Read, reply("200 OK", json!({CANARY: CANARY}).to_string())],
        vec![Read, cut("200 OK", &format!(r#"{{"status": "{CANARY}"#))],
        vec![Read, cut("503 Service Unavailable", &envelope(CANARY)), Reset],
        // not HTTP
        vec![Read, text(CANARY)],
        vec![Read, text(&format!("{CANARY} 200 OK\r\n\r\n"))],
        vec![Read, text(&format!("HTTP/1.1 {CANARY}\r\n\r\n"))],
        vec![Read, text(&format!("HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n"))],
        vec![Read, text(&format!("HTTP/1.1 200 OK\r\ncontent-length: {CANARY}\r\n\r\n"))],
        vec![Read, text(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{CANARY}\r\n"))],
    ] {
        let server = always(moves).await;
        work(client_of(&server), "default").await;
        assert!(server.seen().requests.iter().all(|request| request.contains(CANARY)));
    }
    assert_eq!(elsewhere.seen().connections, 0, "a redirect was followed");
}
