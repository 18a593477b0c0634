//! `--each-chat`: the chats of an account, listed and then triggered or synced.

use std::process::Stdio;
use std::time::Duration;

use postpress_bridge::simulator::{ChatLists, Faults, PageForm};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::sleep;

use super::deployed::{Bridge, Worker};
use super::{Said, said};
use crate::harness::canary::CANARY;
use crate::harness::emulator::endpoint;
use crate::harness::proxy::{Fault, Of, Proxy};
use crate::harness::raw_server::{Move, RawServer, reply};
#[cfg(unix)]
use crate::terminal::interrupt;
use crate::terminal::{Provider, program};

/// The command that only lists the chats of the account `a`, with this base URL and without any other setting.
fn dry_run(base_url: &str, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).args(["--account", "a", "--each-chat", "--dry-run"]);
    command.env("POSTPRESS_BASE_URL", base_url).env("POSTPRESS_API_KEY", CANARY).env("BRIDGE_LOG", "trace");
    command
}

/// Lists with pages that these replies are.
async fn list(replies: impl IntoIterator<Item = Move>) -> (Said, Vec<String>) {
    let moves = replies.into_iter().flat_map(|reply| [Move::Read, reply]).collect();
    let server = RawServer::start([moves]).await;
    let said = said(&mut dry_run(&format!("http://{}/v1?port=7", server.address()), &["trigger"])).await;
    (said, server.seen().requests)
}

fn page(items: &Value, cursor: &Value) -> Move {
    reply("200 OK", json!({ "object": "ChatList", "items": items, "cursor": cursor }).to_string())
}

fn chats(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({ "id": id, "account_id": "a" })).collect()
}

#[tokio::test]
async fn dry_run_lists_pages_of_both_forms_and_starts_nothing() {
    for page_form in [PageForm::Items, PageForm::Data] {
        let world = Provider::start_with(Faults::default(), ChatLists { chats: 501, page_form }).await;
        let plain = said(&mut dry_run(&world.base_url, &["trigger"])).await;
        assert_eq!((plain.code, plain.stdout.lines().count()), (Some(0), 501), "{}", plain.stderr);
        assert!(plain.stdout.starts_with("a~1\na~2\n") && plain.stdout.ends_with("a~501\n"), "{}", plain.stdout);
        assert!(plain.stderr.contains("account a: 501 chats on 3 pages\n"), "{}", plain.stderr);
        for arguments in [&["trigger", "--json"][..], &["sync"]] {
            let filters = ["--unread", "--after", "2026-01-02T00:00:00Z", "--before", "2026-01-08T00:00:00Z"];
            let said = said(&mut dry_run(&world.base_url, &[arguments, &filters].concat())).await;
            assert_eq!((said.code, said.field("chat_id")), (Some(0), ["a~3", "a~5", "a~7"].map(String::from).to_vec()));
        }
        let stats = world.simulator.stats();
        assert_eq!((stats.total.calls, stats.pages_listed), (0, 5));
    }
}

#[tokio::test]
async fn base_url_keeps_its_query_and_the_cursor_is_sent_as_it_was() {
    let (said, requests) = list([page(&chats(&["x"]), &json!("c/1&=")), page(&chats(&["y"]), &Value::Null)]).await;
    assert_eq!((said.code, &*said.stdout), (Some(0), "x\ny\n"), "{}", said.stderr);
    let lines: Vec<&str> = requests.iter().filter_map(|request| request.lines().next()).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/chats?port=7&account_id=a&limit=250 HTTP/1.1",
            "GET /v1/chats?port=7&account_id=a&limit=250&cursor=c%2F1%26%3D HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn passing_failures_are_tried_again_and_retry_after_is_honoured() {
    let began = std::time::Instant::now();
    let (said, requests) = list([
        reply("429 Too Many Requests\r\nretry-after: 3", ""),
        reply("503 Service Unavailable", r#"{"error": {"code": "no_handler", "message": "soon"}}"#),
        reply("200 OK", "<html>maintenance</html>"),
        page(&chats(&["x"]), &Value::Null),
    ])
    .await;
    assert_eq!((said.code, &*said.stdout, requests.len()), (Some(0), "x\n", 4), "{}", said.stderr);
    assert!(began.elapsed() >= Duration::from_secs(3 + 2 + 4), "{:?}", began.elapsed());
    assert!(said.stderr.contains("trying again in 3 s") && said.stderr.contains("soon"), "{}", said.stderr);
}

#[tokio::test]
async fn page_that_is_refused_or_contradicts_the_list_ends_the_command_with_the_reason() {
    for (last, reason) in [
        (
            reply("401 Unauthorized", r#"{"error": {"code": "key_missing", "message": "No key."}}"#),
            "postpress answered 401: No key. (errors/key_missing)",
        ),
        (reply("404 Not Found", "no such page"), "set POSTPRESS_BASE_URL to"),
        (reply("302 Found\r\nlocation: https://evil.example", ""), "a redirect, which is not followed"),
        (page(&chats(&["y"]), &json!("first")), "repeats the cursor of an earlier page"),
        (page(&json!([{ "id": "y", "account_id": "b" }]), &Value::Null), "item 1 is of another account, \"b\""),
        (page(&chats(&[]), &json!({ "page": 2 })), "its `cursor` is not a text"),
        (reply("200 OK", r#"{"object": "ChatList"}"#), "it has no list of chats"),
    ] {
        let (said, _) = list([page(&chats(&["x"]), &json!("first")), last]).await;
        assert_eq!((said.code, &*said.stdout), (Some(2), "x\n"), "{reason}: {}", said.stderr);
        assert!(said.stderr.contains("cannot list") || said.stderr.contains("in a circle"), "{}", said.stderr);
        assert!(said.stderr.contains(reason), "{reason}: {}", said.stderr);
        assert!(!said.stderr.contains(CANARY), "{}", said.stderr);
    }
}

#[tokio::test]
async fn hostile_ids_are_left_out_loudly_and_the_rest_is_listed() {
    let hostile = json!([{ "id": "x" }, { "id": ".." }, { "id": "a\u{1b}[31mb" }, { "id": "y".repeat(600) }, { "name": "z" }, 7, { "id": "../sync" }]);
    let (said, _) = list([page(&hostile, &Value::Null)]).await;
    assert_eq!((said.code, &*said.stdout), (Some(1), "x\n../sync\n"), "{}", said.stderr);
    for reason in ["item 2 ", "item 3 ", "item 4 ", "item 5 has no readable `id`", "item 6 is a number"] {
        assert!(said.stderr.contains(&format!("page 1: {reason}")), "{reason}: {}", said.stderr);
    }
    assert!(said.stderr.contains("2 chats on 1 page, and 5 items without a usable id"), "{}", said.stderr);
}

#[tokio::test]
async fn each_chat_is_synced_here_and_an_interrupted_command_goes_on_with_the_same_chats() {
    let world = Provider::start_with(Faults::default(), ChatLists { chats: 30, ..ChatLists::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let sync = || {
        let mut sync = world.sync(&state, &["--account", "done-in-10ms", "--each-chat"]);
        sync.env("POSTPRESS_TIMEOUT_SECONDS", "5"); // a call that times out on a busy machine would delay the next one by a minute
        sync
    };
    let mut first = sync().stderr(Stdio::null()).spawn().unwrap();
    while world.simulator.stats().total.delivered < 10 {
        sleep(Duration::from_millis(10)).await;
    }
    first.start_kill().unwrap();
    let first: Said = first.wait_with_output().await.unwrap().into();

    let second = said(&mut sync()).await;
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert!(second.stderr.contains("resuming an earlier command"), "{}", second.stderr);
    assert!(second.stderr.ends_with("30 chats: 30 SYNC_DONE\n"), "{}", second.stderr);
    assert!(first.stdout.lines().all(|line| second.stdout.contains(line)), "one ending for each chat");
    let stats = world.simulator.stats();
    assert_eq!((stats.pages_listed, stats.subjects.len()), (1, 30), "it does not list again");

    let repeated = said(&mut sync()).await;
    assert_eq!((repeated.code, &*repeated.stdout), (Some(2), ""), "{}", repeated.stderr);
    assert!(
        repeated.stderr.contains("ended in SYNC_DONE") && repeated.stderr.contains("--again"),
        "{}",
        repeated.stderr
    );
    assert_eq!(world.simulator.stats().total.calls, stats.total.calls);
}

#[tokio::test]
async fn account_without_chats_needs_nothing() {
    let world = Provider::start_with(Faults::default(), ChatLists { chats: 0, ..ChatLists::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let none = said(&mut world.sync(&folder.path().join("runs"), &["--account", "a", "--each-chat"])).await;
    assert_eq!((none.code, &*none.stdout), (Some(0), ""), "{}", none.stderr);
    assert!(none.stderr.contains("account a: 0 chats on 1 page"), "{}", none.stderr);
}

/// The command on a deployed bridge, with the provider's settings.
fn deployed(bridge: &Bridge, arguments: &[&str]) -> Command {
    let mut command = bridge.command(arguments);
    command.args(["--each-chat"]).env("POSTPRESS_BASE_URL", &bridge.provider.base_url).env("POSTPRESS_API_KEY", CANARY);
    command
}

/// The chats and keys of the triggers on the queue, which are taken from it.
async fn take_triggers(bridge: &Bridge) -> Vec<(String, String)> {
    let body = |body: String| serde_json::from_str::<Value>(&body).unwrap();
    let triggers = bridge.aws.take_visible().await.into_iter().map(body);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut triggers: Vec<_> =
        triggers.map(|trigger| (text(&trigger["chat_id"]), text(&trigger["idempotency_key"]))).collect();
    triggers.sort();
    triggers
}

#[tokio::test]
async fn trigger_sends_one_for_each_chat_under_one_key_and_asks_before_it_sends_them_again() {
    let bridge = Bridge::with_chats(ChatLists { chats: 255, ..ChatLists::default() }).await;
    let arguments = ["trigger", "--account", "done~a", "--json", "--correlation-id", "order-17"];
    let sent = said(&mut deployed(&bridge, &arguments)).await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    assert!(sent.stderr.ends_with("account done~a: 255 chats on 2 pages\ntriggers sent: 255\n"), "{}", sent.stderr);
    assert_eq!(sent.field("chat_id").len(), 255);
    let triggers = take_triggers(&bridge).await;
    let (chats, keys): (Vec<_>, Vec<_>) = triggers.into_iter().unzip();
    let mut printed = sent.field("chat_id");
    printed.sort();
    assert_eq!(chats, printed);
    assert!(keys.iter().all(|key| *key == keys[0]), "one key for the command");

    let refused = said(&mut deployed(&bridge, &arguments)).await;
    assert_eq!((refused.code, &*refused.stdout), (Some(2), ""), "{}", refused.stderr);
    let found = "triggers for these chats of account done~a were sent at 20";
    assert!(refused.stderr.contains(found) && refused.stderr.contains("--again"), "{}", refused.stderr);
    assert!(bridge.aws.queue_is_empty().await);
    let unread = said(&mut deployed(&bridge, &["trigger", "--account", "done~a", "--unread"])).await;
    assert_eq!((unread.code, unread.stdout.lines().count()), (Some(0), 128), "another filter is another command");
    bridge.aws.take_visible().await;
    let again = said(&mut deployed(&bridge, &[&arguments[..], &["--again"]].concat())).await;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_ne!(take_triggers(&bridge).await[0].1, keys[0]);
}

#[tokio::test]
async fn command_that_was_not_completed_goes_on_under_its_key_and_triggers_nothing_twice() {
    let bridge = Bridge::with_chats(ChatLists { chats: 10, ..ChatLists::default() }).await;
    let proxy = Proxy::start(endpoint()).await;
    proxy.once(Of("SendMessageBatch", ""), Fault::EntriesFail("done-in-10ms~a~3", "InternalError"));
    let arguments = ["trigger", "--account", "done-in-10ms~a"];
    let partly = said(deployed(&bridge, &arguments).env("AWS_ENDPOINT_URL", proxy.endpoint())).await;
    assert_eq!((partly.code, partly.stdout.lines().count()), (Some(1), 9), "{}", partly.stderr);
    let summary = "triggers sent: 9, not sent: 1; run the same command to send the rest\n";
    assert!(partly.stderr.ends_with(summary), "{}", partly.stderr);

    let worker = Worker::start(&bridge);
    let rest = said(&mut deployed(&bridge, &arguments)).await;
    assert_eq!((rest.code, rest.stdout.lines().count()), (Some(0), 10), "{}", rest.stderr);
    assert!(rest.stderr.contains("resuming an earlier command"), "{}", rest.stderr);
    let chats: Vec<String> = (1..=10).map(|n| format!("done-in-10ms~a~{n}")).collect();
    for chat in &chats {
        assert_eq!(bridge.say(&["status", chat, "--watch"]).await.code, Some(0));
    }
    while !bridge.aws.queue_is_empty().await {
        sleep(Duration::from_millis(100)).await;
    }
    worker.stop().await;
    assert_eq!(bridge.syncs_started(), 10);
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_while_it_lists_keeps_the_command_and_its_key() {
    let bridge = Bridge::with_chats(ChatLists::default()).await;
    let (first, last) = (page(&chats(&["x"]), &json!("next")), page(&chats(&["y"]), &Value::Null));
    let interrupted = vec![Move::Read, first.clone(), Move::Read, Move::Hang];
    let server = RawServer::start([interrupted, vec![Move::Read, first, Move::Read, last]]).await;
    let command = || {
        let mut command = deployed(&bridge, &["trigger", "--account", "a"]);
        command.env("POSTPRESS_BASE_URL", format!("http://{}/v1", server.address()));
        command.env("POSTPRESS_TIMEOUT_SECONDS", "300");
        command
    };
    let child = command().spawn().unwrap();
    server.wait_for(|seen| seen.requests.len() == 2).await;
    interrupt(&child).await;
    let stopped: Said = child.wait_with_output().await.unwrap().into();
    assert_eq!((stopped.code, stopped.stdout.lines().count()), (Some(1), 1), "{}", stopped.stderr);
    assert!(
        stopped.stderr.ends_with("triggers sent: 1; run the same command to send the rest\n"),
        "{}",
        stopped.stderr
    );
    let [(_, key)] = take_triggers(&bridge).await.try_into().unwrap();

    let resumed = said(&mut command()).await;
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    let expected = ["x", "y"].map(|chat| (chat.to_owned(), key.clone()));
    assert_eq!(take_triggers(&bridge).await, expected);
}

#[tokio::test]
async fn failed_list_keeps_the_command_and_a_key_of_the_user_keeps_nothing() {
    let bridge = Bridge::with_chats(ChatLists { chats: 2, ..ChatLists::default() }).await;
    let refused = said(&mut deployed(&bridge, &["trigger", "--account", "resource_not_found"])).await;
    assert_eq!((refused.code, &*refused.stdout), (Some(2), ""));
    assert!(refused.stderr.contains("nothing was sent: cannot list the chats of account resource_not_found"));
    assert!(refused.stderr.contains("errors/resource_not_found"), "{}", refused.stderr);
    let state = |bridge: &Bridge| bridge.home.path().join(".local/state/postpress-bridge").exists();
    assert!(state(&bridge));

    let bridge = Bridge::with_chats(ChatLists { chats: 2, ..ChatLists::default() }).await;
    for _ in 0..2 {
        let arguments = ["trigger", "--account", "a", "--idempotency-key", "mine"];
        let sent = said(deployed(&bridge, &arguments).env_remove("BRIDGE_TABLE")).await;
        assert_eq!(sent.code, Some(0), "{}", sent.stderr);
        let expected = ["a~1", "a~2"].map(|chat| (chat.to_owned(), "mine".to_owned()));
        assert_eq!(take_triggers(&bridge).await, expected);
    }
    assert!(!state(&bridge));
}

#[tokio::test]
async fn settings_that_are_missing_are_listed_together() {
    for (arguments, table, names) in [
        (
            ["trigger", "--account", "a", "--each-chat"],
            "",
            &["BRIDGE_QUEUE_URL", "POSTPRESS_API_KEY", "BRIDGE_STATE_FILE"][..],
        ),
        (
            ["sync", "--account", "a", "--each-chat"],
            "runs",
            &["BRIDGE_QUEUE_URL", "POSTPRESS_API_KEY", "BRIDGE_STATE_FILE"],
        ),
    ] {
        let said = said(program().args(arguments).env("BRIDGE_TABLE", table)).await;
        assert_eq!(said.code, Some(2));
        assert!(names.iter().all(|name| said.stderr.contains(name)), "{}", said.stderr);
    }
}

#[tokio::test]
async fn each_chat_is_synced_by_a_deployed_bridge() {
    let bridge = Bridge::with_chats(ChatLists { chats: 4, page_form: PageForm::Data }).await;
    let worker = Worker::start(&bridge);
    let arguments = ["sync", "--account", "done-in-10ms"];
    let done = said(&mut deployed(&bridge, &arguments)).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stderr.ends_with("4 chats: 4 SYNC_DONE\n"), "{}", done.stderr);
    let repeated = said(&mut deployed(&bridge, &arguments)).await;
    assert_eq!((repeated.code, &*repeated.stdout), (Some(2), ""), "{}", repeated.stderr);
    assert!(repeated.stderr.contains("and 3 more of these chats have ended"), "{}", repeated.stderr);
    worker.stop().await;
    assert_eq!(bridge.syncs_started(), 4);
}
