//! The real client, for calls about one chat with one key.

use std::time::Duration;

use postpress_bridge::ids::Subject;
use postpress_bridge::postpress::answer::Answer;
use postpress_bridge::postpress::client::{ApiKey, BaseUrl, Client};
use postpress_bridge::postpress::{Failure, Provider};
use secrecy::SecretString;

use super::canary::{CANARY, assert_no_secret};
use super::raw_server::RawServer;

/// The chat that [`ask`] asks about.
pub(crate) const CHAT: &str = "chat_01HXYZ";

/// Longer than any machine needs for an answer on loopback.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn key() -> ApiKey {
    ApiKey::parse(&SecretString::from(CANARY)).unwrap()
}

pub(crate) fn base_url(text: &str) -> BaseUrl {
    BaseUrl::parse(text).unwrap()
}

pub(crate) fn client(base: &str) -> Client {
    let client = Client::new(base_url(base), key()).unwrap();
    assert_no_secret("the client", &format!("{client:?}"));
    client
}

pub(crate) fn client_of(server: &RawServer) -> Client {
    client(&format!("http://{}/v1", server.address()))
}

pub(crate) async fn ask(client: &Client, deadline: Duration) -> Answer {
    let answer = client.sync(&Subject::chat(CHAT).unwrap().into(), deadline).await;
    assert_no_secret("the answer", &format!("{answer:?}"));
    answer
}

/// Calls, and expects a failure.
pub(crate) async fn failure(client: &Client, deadline: Duration) -> Failure {
    match ask(client, deadline).await {
        Answer::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// The documented body of a 200.
pub(crate) fn history(chat: &str, status: &str) -> String {
    serde_json::json!({"object": "ChatHistorySync", "chat_id": chat, "status": status}).to_string()
}

/// The documented body of a sync in progress.
pub(crate) fn running() -> String {
    history(CHAT, "SYNC_RUNNING")
}
