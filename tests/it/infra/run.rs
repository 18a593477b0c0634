//! One run through the resources of the templates, from the webhook's URL to the subscribers.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Builder;
use http::{Request, StatusCode};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::account::Account;
use crate::harness::emulator;

/// Long enough for any machine: a run waits for a batch window and a poll, of seconds each.
const LONG: Duration = Duration::from_mins(3);

#[tokio::test]
async fn a_run_goes_from_the_webhook_to_the_subscribers() {
    let account = Account::deploy().await;
    let front = account.webhook(&emulator::endpoint());
    let bearer = format!("Bearer {}", account.token().await);
    let ask = |request: Builder| request.header(AUTHORIZATION, &bearer).header(CONTENT_TYPE, "application/json");
    account.aws.put(account.sweep()).await;
    for chat in ["account_restricted", "deleted"] {
        account.aws.put(&json!({"chat_id": chat}).to_string()).await;
    }
    let trigger = r#"{"chat_id": "done-in-2s", "correlation_id": "order-17"}"#;
    let accepted = front.answer(&ask(Request::post("/v1/syncs")).body(trigger.into()).unwrap()).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED, "{}", front.log());

    let worker = account.worker(&emulator::endpoint());
    let stop = async {
        while !account.aws.queue_is_empty().await {
            sleep(Duration::from_millis(250)).await;
        }
    };
    let Ok(figures) = timeout(LONG, account.mapping().run(&worker, stop)).await else {
        panic!("not over after {LONG:?}: {}", worker.function.log());
    };
    assert!(figures.failed.is_empty() && figures.returned == 0, "{figures:?}\n{}", worker.function.log());
    // The sweep, three triggers, and the poll of the longer sync.
    assert_eq!(figures.deliveries, 5, "{figures:?}");
    assert_eq!(account.aws.take_dead_letters().await, [""; 0]);

    let about = |event: &Value| [&event["detail-type"], &event["detail"]["chat_id"]].map(Clone::clone);
    let done = account.aws.take_events().await;
    assert_eq!(done.iter().map(about).collect::<Vec<_>>(), [[json!("SYNC_DONE"), json!("done-in-2s")]]);
    assert_eq!(done[0]["detail"]["triggers"][0]["correlation_id"], "order-17");
    let errors = account.take_errors().await;
    assert_eq!(errors.iter().map(about).collect::<Vec<_>>(), [[json!("ERROR_ENVELOPE"), json!("account_restricted")]]);
    assert_eq!(errors[0]["detail"]["error"]["type"], "errors/account_restricted");
    let mut posted: Vec<_> = account.take_posted().await.iter().map(|body| body["type"].to_string()).collect();
    posted.sort();
    assert_eq!(posted, ["\"CHAT_DELETED\"", "\"ERROR_ENVELOPE\"", "\"SYNC_DONE\""]);

    let status = front.answer(&ask(Request::get("/v1/chats/done-in-2s/sync")).body(Bytes::new()).unwrap()).await;
    let status: Value = serde_json::from_slice(status.body()).unwrap();
    assert_eq!([&status["phase"], &status["status"]], ["ended", "SYNC_DONE"], "{status}");

    let total = account.simulator.stats().total;
    assert_eq!((total.syncs_started, total.restarts), (1, 0));
    account.aws.assert_keeps_no_secret().await;
}
