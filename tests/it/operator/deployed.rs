//! `trigger`, `status`, `runs` and `sync` on a deployed bridge, with `work` as its Lambda.

use std::fs;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use postpress_bridge::bus::EventBus;
use postpress_bridge::event::Event;
use postpress_bridge::ids::RunId;
use postpress_bridge::message::SWEEP_BODY;
use postpress_bridge::postpress::Finish;
use postpress_bridge::queue::Source;
use postpress_bridge::run::{EndedBy, Item, Outcome, RunState, Write};
use postpress_bridge::simulator::{ChatLists, Faults};
use postpress_bridge::store::RunStore;
use postpress_bridge::time::{Clock, Millis};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Said, open_run, said};
use crate::harness::canary::CheckedLog;
use crate::harness::emulator::{Emulated, endpoint};
use crate::harness::proxy::{Fault, Of, Proxy};
#[cfg(unix)]
use crate::terminal::interrupt;
use crate::terminal::{Provider, program};
use crate::work::{on_aws, work};

/// A deployed bridge, its provider, and an operator's home directory.
pub(super) struct Bridge {
    pub(super) aws: Emulated,
    pub(super) provider: Provider,
    pub(super) home: TempDir,
}

impl Bridge {
    async fn new() -> Self {
        Self::with_chats(ChatLists::default()).await
    }

    pub(super) async fn with_chats(lists: ChatLists) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { aws: Emulated::new().await, provider: Provider::start_with(Faults::default(), lists).await, home }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        on_aws(&mut command, &self.aws).env("HOME", self.home.path()).args(arguments);
        command
    }

    pub(super) async fn say(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments)).await
    }

    pub(super) fn syncs_started(&self) -> u64 {
        self.provider.simulator.stats().total.syncs_started
    }

    /// Waits until the queue has this many messages, and replaces them.
    async fn wait_for_triggers(&self, count: usize) -> Vec<String> {
        let records = self.aws.receive(count).await;
        self.aws.queue(&self.aws.sdk).delete(&records).await.unwrap();
        for record in &records {
            self.aws.put(&record.body).await;
        }
        records.into_iter().map(|record| record.body).collect()
    }
}

#[tokio::test]
async fn trigger_sends_a_message_for_each_chat_and_prints_its_id() {
    let bridge = Bridge::new().await;
    let chats: Vec<String> = (0..12).map(|n| format!("chat-{n}")).collect();
    let mut arguments = vec!["trigger", "--json", "--correlation-id", "order-17", "--metadata", r#"{"n": 1.0}"#];
    arguments.extend(chats.iter().map(String::as_str));
    let sent = bridge.say(&arguments).await;
    assert_eq!((sent.code, &*sent.stderr), (Some(0), ""));
    assert_eq!(sent.field("chat_id"), chats);

    let records = bridge.aws.receive(chats.len()).await;
    let mut ids: Vec<&str> = records.iter().map(|record| record.message_id.as_str()).collect();
    let mut printed = sent.field("message_id");
    ids.sort_unstable();
    printed.sort_unstable();
    assert_eq!(ids, printed);
    assert!(
        records.iter().all(|record| record.body.ends_with(r#""correlation_id":"order-17","metadata":{"n": 1.0}}"#))
    );

    let table = bridge.say(&["trigger", "a", "b"]).await;
    assert_eq!((table.code, table.stdout.lines().count()), (Some(0), 3), "{}", table.stdout);
}

#[tokio::test]
async fn cancel_sends_a_message_for_each_run_and_waits_for_its_event() {
    let bridge = Bridge::new().await;
    let chat = "done-in-900s";
    assert_eq!(bridge.say(&["trigger", chat]).await.code, Some(0));
    let worker = Worker::start(&bridge);
    while bridge.syncs_started() == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let cancelled = bridge.say(&["cancel", chat, "--wait"]).await;
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
    assert!(cancelled.stderr.contains("cancel sent, "), "{}", cancelled.stderr);
    assert_eq!(cancelled.json()[0]["detail"]["ended_by"], "cancelled");
    worker.stop().await;
    assert_eq!(bridge.syncs_started(), 1);
}

#[tokio::test]
async fn invalid_arguments_or_settings_send_nothing() {
    let bridge = Bridge::new().await;
    for (arguments, words) in [
        (&["trigger", "a", ".."][..], "path navigation"),
        (&["trigger", "a", "--metadata", "[]"], "`metadata` is not a JSON object"),
        (&["trigger", "a", "--idempotency-key", ""], "`idempotency_key` is empty"),
    ] {
        let said = bridge.say(arguments).await;
        assert_eq!((said.code, &*said.stdout), (Some(2), ""), "{arguments:?}");
        assert!(said.stderr.contains(words), "{arguments:?}: {}", said.stderr);
    }
    assert!(bridge.aws.queue_is_empty().await);

    let unset =
        said(bridge.command(&["trigger", "a", "--wait"]).env_remove("BRIDGE_QUEUE_URL").env("BRIDGE_TABLE", "")).await;
    assert_eq!(unset.code, Some(2));
    assert!(unset.stderr.contains("BRIDGE_QUEUE_URL") && unset.stderr.contains("BRIDGE_TABLE"), "{}", unset.stderr);

    let elsewhere = format!("{}-of-another", bridge.aws.queue_url);
    let failed = said(bridge.command(&["trigger", "a", "b"]).env("BRIDGE_QUEUE_URL", elsewhere)).await;
    assert_eq!((failed.code, &*failed.stdout), (Some(2), ""));
    assert!(failed.stderr.contains("nothing was sent") && failed.stderr.lines().count() == 1, "{}", failed.stderr);
}

#[tokio::test]
async fn trigger_reports_a_message_that_was_not_sent() {
    let bridge = Bridge::new().await;
    let proxy = Proxy::start(endpoint()).await;
    let rejected = Fault::EntriesFail("chat-1", "InvalidMessageContents");
    for (json, place) in [(false, 1), (true, 0)] {
        proxy.once(Of("SendMessageBatch", ""), rejected);
        let mut command = bridge.command(&["trigger", "chat-0", "chat-1", "chat-2"]);
        let command = command.env("AWS_ENDPOINT_URL", proxy.endpoint()).args(json.then_some("--json"));
        let partly = said(command).await;
        assert_eq!(partly.code, Some(1));
        assert!(partly.stderr.starts_with("chat-1  not sent: InvalidMessageContents"), "{}", partly.stderr);
        let sent: Vec<&str> = partly.stdout.lines().skip(place).filter(|line| !line.contains("error")).collect();
        assert!(sent.len() == 2 && sent[0].contains("chat-0") && sent[1].contains("chat-2"), "{sent:?}");
    }
    assert_eq!(bridge.aws.take_visible().await.len(), 4);
}

#[tokio::test]
async fn trigger_waits_for_the_endings_and_prints_their_events() {
    let bridge = Bridge::new().await;
    let worker = Worker::start(&bridge);
    let chats = ["done-in-1s~1", "resource_not_found~2"];
    let good = bridge.say(&["trigger", chats[0], "--wait", "--correlation-id", "for one"]).await;
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    assert_eq!(good.field("detail-type"), ["SYNC_DONE"]);
    assert_eq!(good.json()[0]["detail"]["triggers"][0]["correlation_id"], "for one");

    let key = ["--idempotency-key", "the same"];
    let bad = bridge.say(&[&["trigger", chats[1], "--wait"][..], &key].concat()).await;
    assert_eq!(bad.code, Some(1), "{}", bad.stderr);
    assert_eq!(bad.field("detail-type"), ["ERROR_ENVELOPE"]);
    let again = bridge.say(&[&["trigger", chats[1], "--wait"][..], &key].concat()).await;
    assert_eq!(again.json(), bad.json(), "one key, one request, one ending");
    worker.stop().await;

    let published: Vec<Value> =
        bridge.aws.take_events().await.into_iter().map(|event| event["detail"].clone()).collect();
    let printed: Vec<Value> = [good, bad].iter().flat_map(Said::json).map(|line| line["detail"].clone()).collect();
    assert_eq!(published, printed, "the printed events are the published ones");
}

#[tokio::test]
async fn interrupted_deployed_sync_follows_the_same_request() {
    let bridge = Bridge::new().await;
    let chats = ["done-in-1s~1", "done-in-10ms~2"];
    let arguments = ["sync", chats[0], chats[1]];
    let first = bridge.command(&arguments).spawn().unwrap();
    let bodies = bridge.wait_for_triggers(2).await;
    interrupt(&first).await;
    let first: Said = first.wait_with_output().await.unwrap().into();
    assert_eq!((first.code, &*first.stdout), (Some(1), ""), "{}", first.stderr);
    assert!(first.stderr.contains("run the same command to follow it again"), "{}", first.stderr);
    let key = |body: &str| serde_json::from_str::<Value>(body).unwrap()["idempotency_key"].as_str().unwrap().to_owned();
    assert_eq!(key(&bodies[0]), key(&bodies[1]), "one key for the command");

    let worker = Worker::start(&bridge);
    for chat in chats {
        assert_eq!(bridge.say(&["status", chat, "--watch"]).await.code, Some(0));
    }
    let proxy = Proxy::start(endpoint()).await;
    let mut second = bridge.command(&["sync", chats[1], chats[0]]);
    let second = said(second.env("AWS_ENDPOINT_URL", proxy.endpoint())).await;
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert!(second.stderr.contains("resuming an earlier command"), "{}", second.stderr);
    assert!(second.stderr.ends_with("2 chats: 2 SYNC_DONE\n"), "{}", second.stderr);
    let mut ended: Vec<Value> = second.json().iter().map(|line| line["detail"]["chat_id"].clone()).collect();
    ended.sort_by_key(ToString::to_string);
    assert_eq!(ended, [chats[1], chats[0]].map(Value::from));
    assert_eq!(bridge.syncs_started(), 2);
    assert_eq!(proxy.take_tally().into_keys().collect::<Vec<_>>(), ["GetItem"], "it sends nothing again");

    let refused = bridge.say(&arguments).await;
    assert_eq!((refused.code, &*refused.stdout), (Some(2), ""), "{}", refused.stderr);
    let found =
        "the last sync of done-in-10ms~2 ended in SYNC_DONE, and 1 more of these chats have ended; nothing was started";
    assert!(refused.stderr.contains(found) && refused.stderr.contains("--again"), "{}", refused.stderr);
    assert_eq!(bridge.syncs_started(), 2);
    let again = bridge.say(&[&arguments[..], &["--again"]].concat()).await;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    worker.stop().await;
    assert_eq!(bridge.syncs_started(), 4, "a finished command is not resumed");
}

#[tokio::test]
async fn ending_that_a_newer_run_has_replaced_is_reported() {
    let bridge = Bridge::new().await;
    let sync = bridge.command(&["sync", "done-in-10ms~1"]).spawn().unwrap();
    bridge.wait_for_triggers(1).await;
    interrupt(&sync).await;
    sync.wait_with_output().await.unwrap();
    let worker = Worker::start(&bridge);
    assert_eq!(bridge.say(&["status", "done-in-10ms~1", "--watch"]).await.code, Some(0));
    assert_eq!(bridge.say(&["trigger", "done-in-10ms~1", "--wait"]).await.code, Some(0));
    assert_eq!(bridge.syncs_started(), 2);

    let late = bridge.say(&["sync", "done-in-10ms~1"]).await;
    assert_eq!((late.code, &*late.stdout), (Some(1), ""));
    assert!(late.stderr.contains("ended, and another command has synced it again since"), "{}", late.stderr);
    worker.stop().await;
    assert_eq!(bridge.syncs_started(), 2);
}

#[tokio::test]
async fn trigger_that_never_reaches_the_table_times_out() {
    let bridge = Bridge::new().await;
    for arguments in [&["sync", "c", "--timeout", "1s"][..], &["trigger", "c", "--wait", "--timeout", "1s"]] {
        let given_up = bridge.say(arguments).await;
        assert_eq!((given_up.code, &*given_up.stdout), (Some(1), ""), "{arguments:?}");
        assert!(given_up.stderr.contains("gave up: its trigger has not reached the run table for 1 s"));
    }
}

#[tokio::test]
async fn deployed_sync_lists_missing_settings_and_needs_no_key() {
    let mut command = program();
    command.args(["sync", "c"]).env("BRIDGE_TABLE", "runs").env("BRIDGE_EVENT_SOURCE", "aws.mine");
    let said = said(&mut command).await;
    assert_eq!(said.code, Some(2));
    for name in ["BRIDGE_QUEUE_URL", "BRIDGE_STATE_FILE", "BRIDGE_EVENT_SOURCE"] {
        assert!(said.stderr.contains(name), "{name} is not in {}", said.stderr);
    }
    assert!(!said.stderr.contains("POSTPRESS_API_KEY"), "{}", said.stderr);
}

#[tokio::test]
async fn status_and_runs_read_the_deployed_table() {
    let bridge = Bridge::new().await;
    let store = bridge.aws.store(&bridge.aws.sdk);
    let (now, hour) = (Clock::System.now(), Duration::from_hours(1));
    let lost = open_run("done-in-10ms~lost", now - 3 * hour, now - 2 * hour);
    store.write(&Write::Start { item: Box::new(lost), over: None }).await.unwrap();

    assert_eq!(bridge.say(&["status", "unknown"]).await.code, Some(1));
    let status = bridge.say(&["status", "done-in-10ms~lost"]).await;
    assert_eq!(status.code, Some(1));
    assert!(status.stdout.contains("the next sweep recovers it"), "{}", status.stdout);
    let runs = bridge.say(&["runs", "--json"]).await;
    assert_eq!((runs.code, runs.field("next")), (Some(1), vec!["revival".to_owned()]));

    bridge.aws.put(SWEEP_BODY).await;
    let worker = Worker::start(&bridge);
    let status = bridge.say(&["status", "done-in-10ms~lost", "--watch", "--json"]).await;
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    assert_eq!(status.json().last().unwrap()["status"], "SYNC_DONE");
    worker.stop().await;
    let runs = bridge.say(&["runs"]).await;
    assert_eq!((runs.code, &*runs.stdout, &*runs.stderr), (Some(0), "", "no open runs\n"));
    let ended = bridge.say(&["runs", "--ended", "--json"]).await;
    assert_eq!(ended.field("chat_id"), ["done-in-10ms~lost"]);
    assert_eq!(ended.stderr, "1 found; items scanned: 1, each of which costs read units; this is the whole table\n");

    let wrong = said(bridge.command(&["runs"]).env("BRIDGE_TABLE", "no-such-table")).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("ResourceNotFoundException"), "{}", wrong.stderr);
}

/// A running worker.
pub(super) struct Worker {
    process: Child,
    /// Its stdout and stderr.
    log: CheckedLog,
}

impl Worker {
    pub(super) fn start(bridge: &Bridge) -> Self {
        let log = CheckedLog::new();
        let mut command = work(&bridge.aws, &bridge.provider.base_url, "5m");
        let process = command.stdout(log.open()).stderr(log.open()).spawn().unwrap();
        Self { process, log }
    }

    /// Stops it gracefully.
    pub(super) async fn stop(mut self) {
        interrupt(&self.process).await;
        let stopped = tokio::time::timeout(Duration::from_mins(1), self.process.wait()).await;
        assert!(
            stopped.expect("it stops in time").unwrap().success(),
            "{}",
            fs::read_to_string(self.log.path()).unwrap()
        );
    }
}

#[tokio::test]
async fn listen_prints_each_ending_and_deletes_its_message_but_no_other() {
    let bridge = Bridge::new().await;
    let aws = &bridge.aws;
    let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: Millis(2000) };
    let events = ["first", "second"].map(|name| {
        let state = RunState::Published { outcome: outcome.clone(), expires_at: 0 };
        let run_id = RunId::from_random(name.len() as u128);
        Event::of_run(&Item { run_id, state, ..open_run(name, Millis(1000), Millis(1000)) }).unwrap()
    });
    let sqs = aws_sdk_sqs::Client::new(&aws.sdk);
    sqs.send_message().queue_url(&aws.subscriber_url).message_body("not an event").send().await.unwrap();
    assert!(aws.bus(&aws.sdk).publish(&events, None).await.iter().all(Result::is_ok));

    let mut listen = bridge.command(&["listen", "--count", "2"]);
    let said = said(listen.env("BRIDGE_EVENTS_QUEUE_URL", &aws.subscriber_url)).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let mut shown: Vec<_> = said.json().into_iter().map(|event| event["detail"]["chat_id"].clone()).collect();
    shown.sort_by_key(Value::to_string);
    assert_eq!(shown, ["first", "second"]);
    assert!(said.stderr.contains("stays on the queue, because it is not an event"), "{}", said.stderr);
    let names =
        [QueueAttributeName::ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesNotVisible];
    let counts = sqs.get_queue_attributes().queue_url(&aws.subscriber_url).set_attribute_names(Some(names.into()));
    let counts = counts.send().await.unwrap().attributes.unwrap();
    let left: u32 = counts.values().map(|count| count.parse::<u32>().unwrap()).sum();
    assert_eq!(left, 1, "the two that were printed are deleted, the other is not: {counts:?}");
}
