//! `work` drains a queue: the real program, with AWS and the provider on loopback.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Output;

use postpress_bridge::ids::Subject;
use postpress_bridge::message::SWEEP_BODY;
use postpress_bridge::simulator::{Faults, Server, Simulator};
use postpress_bridge::store::RunStore;
use serde_json::Value;
use tokio::process::Command;

use crate::harness::canary::{CANARY, CheckedOutput};
use crate::harness::emulator::{CREDENTIAL, Emulated, REGION, endpoint};
use crate::terminal::program;

/// The command with the settings of the deployed bridge.
pub(crate) fn on_aws<'a>(command: &'a mut Command, aws: &Emulated) -> &'a mut Command {
    command
        .env("AWS_ENDPOINT_URL", endpoint())
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", CREDENTIAL)
        .env("AWS_SECRET_ACCESS_KEY", CREDENTIAL)
        .env("BRIDGE_QUEUE_URL", &aws.queue_url)
        .env("BRIDGE_TABLE", &aws.table)
}

/// The command with all its settings, and a poll every second.
pub(crate) fn work(aws: &Emulated, base_url: &str, until_idle: &str) -> Command {
    let mut command = program();
    on_aws(&mut command, aws)
        .args(["work", "--until-idle", until_idle])
        .env("BRIDGE_EVENT_BUS", &aws.bus)
        .env("BRIDGE_POLL_INITIAL_SECONDS", "1")
        .env("BRIDGE_POLL_FACTOR", "1")
        .env("POSTPRESS_BASE_URL", base_url)
        .env("POSTPRESS_API_KEY", CANARY)
        .env("BRIDGE_LOG", "trace"); // so that a secret would show
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn work_drains_the_queue_and_every_trigger_gets_its_event() {
    const EXPECTED: [(&str, &str); 5] = [
        ("done-in-1s", "SYNC_DONE"),
        ("error-in-10ms", "SYNC_ERROR"),
        ("deleted", "CHAT_DELETED"),
        ("resource_not_found", "errors/resource_not_found"),
        ("503-for-1-call-then-done-in-10ms", "SYNC_DONE"),
    ];
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
    let base_url = server.base_url();
    tokio::spawn(server.run(std::future::pending()));
    let aws = Emulated::new().await;
    for (chat, _) in EXPECTED {
        aws.put(&serde_json::json!({"chat_id": chat, "correlation_id": format!("for {chat}")}).to_string()).await;
    }
    aws.put("not a trigger").await;
    aws.put(SWEEP_BODY).await;

    let output = work(&aws, &base_url, "3s").checked_output().await;
    let stderr = stderr(&output);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(output.stdout, b"", "events go to the bus");
    assert!(aws.queue_is_empty().await, "{stderr}");
    assert_eq!(aws.take_dead_letters().await, [""; 0]);

    let events = aws.take_events().await;
    let received: BTreeMap<String, String> = events.iter().map(|event| ending(&event["detail"])).collect();
    let expected = EXPECTED.into_iter().map(|(chat, ending)| (format!("for {chat}"), ending.to_owned()));
    let invalid = ("not a trigger".to_owned(), "bridge/invalid_trigger".to_owned());
    assert_eq!(received, expected.chain([invalid]).collect());
    assert_eq!(events.len(), received.len(), "{events:#?}");
    assert_eq!(simulator.stats().total.restarts, 0);
    for (chat, _) in EXPECTED {
        let item = aws.store(&aws.sdk).read(&Subject::chat(chat).unwrap()).await.unwrap().unwrap();
        assert!(item.state.is_published(), "{chat}: {item:?}");
    }
    aws.assert_keeps_no_secret().await;
}

/// What an event is about, and its ending.
fn ending(detail: &Value) -> (String, String) {
    let about = detail["triggers"][0]["correlation_id"].as_str().or(detail["input"].as_str());
    let ending = detail["status"].as_str().or(detail["error"]["type"].as_str());
    (about.unwrap().to_owned(), ending.unwrap().to_owned())
}

#[tokio::test]
async fn work_reports_a_wrong_setting_before_it_touches_the_queue() {
    let aws = Emulated::new().await;
    aws.put(r#"{"chat_id": "c"}"#).await;
    let mut command = work(&aws, "http://127.0.0.1:9/v1", "3s");
    command.env_remove("POSTPRESS_API_KEY").env("POSTPRESS_API_KEY_SECRET_ID", "no-such-secret#key");
    let output = command.checked_output().await;
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("POSTPRESS_API_KEY_SECRET_ID") && stderr.contains("there is no secret"), "{stderr}");
    assert_eq!(aws.take_visible().await.len(), 1);
}

#[tokio::test]
async fn work_does_not_mistake_an_unreadable_queue_for_an_idle_one() {
    let aws = Emulated::new().await;
    let mut command = work(&aws, "http://127.0.0.1:9/v1", "3s");
    let output = command.env("BRIDGE_QUEUE_URL", format!("{}-of-another", aws.queue_url)).checked_output().await;
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.contains("BRIDGE_QUEUE_URL") && last.contains("NonExistentQueue"), "{stderr}");
}
