//! `status` and `runs` on the file of the local `sync`, and commands without a table.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use postpress_bridge::ids::Workspace;
use postpress_bridge::run::{Item, Outcome, Phase, Write};
use postpress_bridge::simulator::Faults;
use postpress_bridge::store::{RunStore, SqliteStore};
use postpress_bridge::time::{Clock, Millis};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::sleep;

use super::{Said, open_run, said};
use crate::run_store::writes::done;
use crate::terminal::{Provider, program};
#[cfg(unix)]
use crate::terminal::{interrupt, interruptible};

const MINUTE: Duration = Duration::from_mins(1);

fn on_file(state: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).env("BRIDGE_STATE_FILE", state);
    command
}

/// The files of a folder and their contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[tokio::test]
async fn missing_file_has_no_runs_and_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state/runs.sqlite3");
    for (arguments, code, words) in [
        (&["status", "c"][..], 1, "c: no run in"),
        (&["status", "c", "--json"], 1, "no run in"),
        (&["runs"], 0, "no open runs"),
        (&["runs", "--json"], 0, "no open runs"),
        (&["runs", "--ended"], 0, "0 found; items scanned: 0; this is the whole table"),
    ] {
        let said = said(&mut on_file(&state, arguments)).await;
        assert_eq!((said.code, &*said.stdout), (Some(code), ""), "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{arguments:?}: {}", said.stderr);
    }
    assert_eq!(contents(folder.path()), []);
}

#[tokio::test]
async fn unusable_file_or_settings_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes.txt");
    std::fs::write(&notes, "these are my notes, and not a database at all".repeat(50)).unwrap();
    for arguments in [&["status", "c"][..], &["runs"], &["runs", "--ended"]] {
        let said = said(&mut on_file(&notes, arguments)).await;
        assert_eq!((said.code, &*said.stdout), (Some(2), ""), "{arguments:?}");
        assert!(said.stderr.contains("BRIDGE_STATE_FILE"), "{}", said.stderr);
    }
    let said = said(on_file(&notes, &["runs"]).env("BRIDGE_OVERDUE_SECONDS", "soon").env("BRIDGE_LOG", "x=y=z")).await;
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("BRIDGE_OVERDUE_SECONDS") && said.stderr.contains("BRIDGE_LOG"), "{}", said.stderr);
}

/// Waits until `status` finds the chat.
async fn known(state: &Path, chat: &str) -> Said {
    loop {
        let said = said(&mut on_file(state, &["status", chat, "--json"])).await;
        if said.code == Some(0) {
            return said;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn status_watches_a_running_sync_and_changes_nothing() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let chats = ["done-in-6s~1", "error-in-10ms~2"];
    let sync = world.sync(&state, &chats).spawn().unwrap();

    let active = known(&state, chats[0]).await;
    assert_eq!(
        (active.field("phase"), active.field("object")),
        (vec!["active".into()], vec!["ChatHistorySync".into()])
    );
    let plain = said(&mut on_file(&state, &["status", chats[0]])).await;
    assert!(plain.stdout.contains("waiting or calling, as of call"), "{}", plain.stdout);
    let runs = said(&mut on_file(&state, &["runs", "--json"])).await;
    assert!(runs.field("chat_id").contains(&chats[0].to_owned()), "{}", runs.stdout);

    let watch = on_file(&state, &["status", chats[0], "--watch", "--json"]).output();
    let (plain, json) = tokio::join!(on_file(&state, &["status", chats[0], "--watch"]).output(), watch);
    let (plain, json): (Said, Said) = (plain.unwrap().into(), json.unwrap().into());
    assert_eq!((plain.code, json.code), (Some(0), Some(0)), "{}", plain.stderr);
    assert_eq!(json.field("phase").last().unwrap(), "ended");
    assert_eq!(json.json().last().unwrap()["published"], true);
    assert!(json.json().iter().all(|run| run["stopped"].is_null()), "a process drives it: {}", json.stdout);
    let first = json.json().last().unwrap()["history"][0].clone();
    assert_eq!((first["answer"].as_str(), first["count"].as_u64()), (Some("SYNC_STARTED"), Some(1)));
    assert!(plain.stdout.contains("\n SYNC_DONE  "), "the history is drawn: {}", plain.stdout);
    let mut news: Vec<&str> = plain.stderr.lines().map(|line| line.split("  ").last().unwrap()).collect();
    assert!(news.len() > 1 && news.last() == Some(&"SYNC_DONE"), "{news:?}");
    news.dedup();
    assert_eq!(news.len(), plain.stderr.lines().count(), "a line for each change: {news:?}");
    assert!(plain.stdout.contains("status     SYNC_DONE"), "{}", plain.stdout);

    let output: Said = sync.wait_with_output().await.unwrap().into();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.ends_with("2 chats: 1 SYNC_DONE, 1 SYNC_ERROR\n"), "{}", output.stderr);
    let before = contents(folder.path());
    assert_eq!(before.len(), 1, "sync leaves one file");
    for (arguments, code) in [
        (&["status", chats[0]][..], 0),
        (&["status", chats[0], "--watch"], 0),
        (&["status", chats[1]], 1),
        (&["runs"], 0),
        (&["runs", "--ended"], 0),
    ] {
        assert_eq!(said(&mut on_file(&state, arguments)).await.code, Some(code), "{arguments:?}");
    }
    assert!(contents(folder.path()) == before, "the folder has changed");
    assert_eq!(world.simulator.stats().total.syncs_started, 2, "status and runs start nothing");
}

#[tokio::test]
async fn cancel_ends_a_running_sync_with_its_next_poll() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let chat = "done-in-900s";
    let sync = world.sync(&state, &[chat]).spawn().unwrap();
    known(&state, chat).await;

    let none = said(&mut on_file(&state, &["cancel", "another", "--json"])).await;
    assert_eq!(
        (none.code, &*none.stdout),
        (Some(0), "{\"chat_id\":\"another\",\"cancelled\":false}\n"),
        "{}",
        none.stderr
    );
    let cancelled = said(&mut on_file(&state, &["cancel", chat, "--wait"])).await;
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
    assert!(cancelled.stderr.contains("cancelled; it ends with its next poll"), "{}", cancelled.stderr);
    assert_eq!(cancelled.json()[0]["detail"]["error"]["type"], "bridge/cancelled");

    let output: Said = sync.wait_with_output().await.unwrap().into();
    assert_eq!((output.code, &*output.stdout), (Some(1), &*cancelled.stdout), "{}", output.stderr);
    let calls = world.simulator.stats().total.calls;
    let status = said(&mut on_file(&state, &["status", chat])).await;
    assert!(status.stdout.contains("by a cancel"), "{}", status.stdout);
    let again = said(&mut on_file(&state, &["cancel", chat])).await;
    assert!(again.stderr.contains("no run in flight"), "{}", again.stderr);
    assert_eq!(world.simulator.stats().total.calls, calls);
}

#[cfg(unix)]
#[tokio::test]
async fn sync_of_a_cancelled_chat_ends_its_run_and_starts_none() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let chat = "done-in-900s";
    let mut sync = interruptible(&world.sync(&state, &[chat, "done-in-800s"])).spawn().unwrap();
    known(&state, chat).await;
    interrupt(&sync).await;
    sync.wait().await.unwrap();
    let cancelled = said(&mut on_file(&state, &["cancel", chat])).await;
    assert!(cancelled.stderr.contains("a `sync` of it ends the run, and starts none"), "{}", cancelled.stderr);

    // Another command than the one that began the run.
    let calls = world.simulator.stats().total.calls;
    let ended: Said = world.sync(&state, &[chat]).output().await.unwrap().into();
    assert_eq!((ended.code, ended.json().len()), (Some(1), 1), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.json()[0]["detail"]["error"]["type"], "bridge/cancelled");
    assert_eq!(world.simulator.stats().total.calls, calls);
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_a_watch_immediately() {
    use std::os::unix::process::ExitStatusExt;

    use tokio::io::{AsyncBufReadExt, BufReader};

    let folder = tempfile::tempdir().unwrap();
    let mut watch = interruptible(&on_file(&folder.path().join("none"), &["status", "c", "--watch"])).spawn().unwrap();
    let mut lines = BufReader::new(watch.stderr.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("no run"), "it waits for a run");
    interrupt(&watch).await;
    assert_eq!(watch.wait().await.unwrap().signal(), Some(2), "130 in a shell");
}

/// A file with three open runs: a healthy one, an overdue one (the oldest), and one with an unpublished ending.
async fn with_three_open(state: &Path) {
    let store = SqliteStore::open(state).unwrap();
    let now = Clock::System.now();
    let hour = 60 * MINUTE;
    for item in [
        open_run("well", now - Duration::from_secs(150), now + hour),
        open_run("overdue", now - 3 * hour, now - 2 * hour),
        open_run("not-out", now - 2 * hour, now - hour),
    ] {
        store.write(&Write::Start { item: Box::new(item), over: None }).await.unwrap();
    }
    let not_out = open_run("not-out", now, now);
    let (subject, claim_id, learned) = (not_out.subject, not_out.claim_id, not_out.learned);
    let outcome = Outcome { finished_at: now - hour, ..done() };
    store.write(&Write::End { subject, claim_id, outcome, learned }).await.unwrap();
}

#[tokio::test]
async fn workspace_chooses_the_run_that_status_and_cancel_are_about_and_filters_runs() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let now = Clock::System.now();
    let store = SqliteStore::open(&state).unwrap();
    for (number, workspace) in ["default", "team-7"].into_iter().enumerate() {
        let item = open_run("c", now, now + MINUTE);
        let subject = item.subject.clone().in_workspace(Workspace::parse(workspace).unwrap());
        let item = Item { polls: u32::try_from(number).unwrap() + 1, subject, ..item };
        store.write(&Write::Start { item: Box::new(item), over: None }).await.unwrap();
    }
    drop(store);
    for (arguments, workspaces) in [
        (&["runs", "--json"][..], &[Value::Null, "team-7".into()][..]),
        (&["runs", "--json", "--workspace", "team-7"], &["team-7".into()]),
        (&["runs", "--json", "--workspace", "team-7", "--limit", "1"], &["team-7".into()]),
        (&["runs", "--json", "--workspace", "default"], &[Value::Null]),
        (&["runs", "--json", "--workspace", "other"], &[]),
        (&["status", "c", "--json"], &[Value::Null]),
        (&["status", "c", "--json", "--workspace", "team-7"], &["team-7".into()]),
        (&["cancel", "c", "--json", "--workspace", "team-7"], &["team-7".into()]),
    ] {
        let said = said(&mut on_file(&state, arguments)).await;
        let found: Vec<_> = said.json().iter().map(|line| line["workspace"].clone()).collect();
        assert_eq!(found, workspaces, "{arguments:?}: {} {}", said.stdout, said.stderr);
    }
    let invalid = said(&mut on_file(&state, &["runs", "--workspace", "a b"])).await;
    assert!(invalid.code == Some(2) && invalid.stderr.contains("1 to 64 letters"), "{}", invalid.stderr);
}

#[tokio::test]
async fn runs_marks_lost_runs_and_mentions_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    with_three_open(&state).await;

    let runs = said(&mut on_file(&state, &["runs"])).await;
    assert_eq!((runs.code, &*runs.stderr), (Some(1), ""));
    insta::assert_snapshot!(runs.stdout);
    let json = said(&mut on_file(&state, &["runs", "--json"])).await;
    assert_eq!(json.field("chat_id"), ["overdue", "not-out", "well"], "the oldest first");
    assert_eq!(json.field("next"), ["revival", "revival", "poll"]);
    assert!(json.json().iter().all(|run| run["stopped"] == true), "no process drives them: {}", json.stdout);

    let cut = said(&mut on_file(&state, &["runs", "--json", "--limit", "2"])).await;
    assert_eq!(cut.field("chat_id"), ["overdue", "not-out"]);
    assert!(cut.stderr.contains("only the 2 runs") && cut.stderr.contains("--limit"), "{}", cut.stderr);
    let exact = said(&mut on_file(&state, &["runs", "--limit", "3"])).await;
    assert_eq!(exact.stderr, "");

    let ended = said(&mut on_file(&state, &["runs", "--ended"])).await;
    insta::assert_snapshot!(ended.stdout);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), "1 found; items scanned: 3; this is the whole table\n"));

    let status = said(&mut on_file(&state, &["status", "overdue"])).await;
    assert_eq!(status.code, Some(1));
    assert!(status.stdout.contains("stopped, as of call 1; the same `sync` resumes it"), "{}", status.stdout);
}

#[tokio::test]
async fn ended_runs_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let store = SqliteStore::open(&state).unwrap();
    for n in 0..5 {
        let run = open_run(&format!("c-{n}"), Millis(n), Millis(n));
        let (subject, claim_id, learned) = (run.subject.clone(), run.claim_id, run.learned.clone());
        let outcome = Outcome { finished_at: Millis(n), ..done() };
        store.write(&Write::Start { item: Box::new(run), over: None }).await.unwrap();
        store.write(&Write::End { subject: subject.clone(), claim_id, outcome, learned }).await.unwrap();
        assert_eq!(store.read(&subject).await.unwrap().unwrap().state.phase(), Phase::Ended);
    }
    let ended = said(&mut on_file(&state, &["runs", "--ended", "--json", "--limit", "3"])).await;
    assert_eq!(ended.field("chat_id"), ["c-2", "c-1", "c-0"], "the scanned ones, latest first");
    assert!(ended.stderr.contains("the rest was not scanned"), "{}", ended.stderr);
}

#[tokio::test]
async fn closed_pipe_is_no_failure() {
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"]] {
        let mut child = program().args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said: Said = child.wait_with_output().await.unwrap().into();
        assert_eq!((said.code, &*said.stderr), (Some(0), ""), "{arguments:?}");
    }
    let script = said(program().args(["completions", "fish"])).await;
    assert!(script.code == Some(0) && script.stdout.contains("-a \"status\""), "{}", script.stdout);
}
