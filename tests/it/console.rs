//! `postpress-bridge console`: the page over a deployed bridge, with AWS on loopback, and over the file of `sync`.

use postpress_bridge::ids::Subject;
use postpress_bridge::run::Write;
use postpress_bridge::store::{RunStore, SqliteStore};
use postpress_bridge::time::Clock;
use reqwest::StatusCode;
use serde_json::json;

use crate::dev::Page;
use crate::harness::emulator::endpoint;
use crate::redrive::{bridge, command};
use crate::run_store::writes::new_run;
use crate::terminal::program;

#[tokio::test]
async fn a_deployed_bridge_is_shown_and_gets_triggers_cancels_and_redrives() {
    let aws = bridge().await;
    let chat = Subject::chat("shown").unwrap();
    let run = new_run(&chat, 1);
    aws.store(&aws.sdk).write(&Write::Start { item: Box::new(run), over: None }).await.unwrap();
    aws.dead_letter(&[r#"{"chat_id": "dead", "idempotency_key": "k"}"#, "hello"]).await;
    let mut console = command(&aws, &endpoint(), &["console", "--port", "0"]);
    console.env("BRIDGE_TABLE", &aws.table);
    let page = Page::of(console).await;

    let overview = page.get("/api/overview").await;
    assert_eq!((&overview["bridge"]["kind"], &overview["stateless"]), (&json!("deployed"), &json!(null)));
    assert_eq!(overview["runs"][0]["subject"], "default/chat/shown");
    assert_eq!(overview["queue"], json!({ "visible": 0, "delayed": 0, "in_flight": 0, "dead_letters": 2 }));
    assert_eq!(page.get("/api/run?subject=default/chat/shown").await["run"]["id"], "shown");

    let letters = page.get("/api/dead-letters").await;
    let plans: Vec<_> = letters["letters"].as_array().unwrap().iter().map(|letter| &letter["plan"]).collect();
    assert_eq!(plans, ["send", "send"], "{letters}");
    let shown: Vec<_> =
        letters["letters"].as_array().unwrap().iter().map(|letter| letter["message_id"].clone()).collect();
    aws.dead_letter(&[r#"{"chat_id": "came-meanwhile"}"#]).await;
    let (status, redriven) = page.post("/api/redrive", &json!({ "message_ids": shown })).await;
    assert_eq!((status, redriven), (StatusCode::OK, json!({ "sent": 2, "dropped": 0, "left": 0, "not_found": 0 })));
    let left = page.get("/api/dead-letters").await["letters"].clone();
    assert_eq!(
        left.as_array().unwrap().iter().map(|letter| &letter["subject"]).collect::<Vec<_>>(),
        ["default/chat/came-meanwhile"]
    );
    assert_eq!(aws.take_visible().await.len(), 2);

    let (status, _) = page.post("/api/triggers", &json!({ "chat_id": "new", "workspace": "acme" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (status, _) = page.post("/api/cancel", &json!({ "subject": "default/chat/shown" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let sent = aws.take_visible().await;
    assert!(
        sent.iter().any(|body| body.contains("acme")) && sent.iter().any(|body| body.contains("cancel")),
        "{sent:?}"
    );
}

#[tokio::test]
async fn the_file_of_sync_is_shown_and_gets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.sqlite3");
    let store = SqliteStore::open(&file).unwrap();
    let mut run = new_run(&Subject::chat("local").unwrap(), 1);
    run.started_at_ms = Clock::System.now();
    store.write(&Write::Start { item: Box::new(run), over: None }).await.unwrap();
    let mut console = program();
    console.args(["console", "--port", "0"]).env("BRIDGE_STATE_FILE", &file);
    let page = Page::of(console).await;
    let overview = page.get("/api/overview").await;
    assert_eq!((&overview["bridge"]["kind"], &overview["queue"]), (&json!("file"), &json!(null)));
    assert_eq!(overview["runs"][0]["id"], "local");
    let (status, problem) = page.post("/api/triggers", &json!({ "chat_id": "x" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().unwrap().contains("postpress-bridge sync"), "{problem}");
}
