//! `redrive`, run as an operator runs it: the real program, with AWS on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Output;
use std::time::Duration;

use postpress_bridge::ids::{ClaimId, MessageId, RunId, Subject};
use postpress_bridge::message::{Record, SWEEP_BODY};
use postpress_bridge::postpress::Finish;
use postpress_bridge::queue::{Outgoing, Queue, Source, VisibilityChange};
use postpress_bridge::run::{EndedBy, Ending, Outcome, Poll, Rules, Schedule};
use postpress_bridge::settings::Config;
use postpress_bridge::simulator::{Faults, Server, Simulator};
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::trace::TraceHeader;
use postpress_bridge::worker::Worker;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use crate::harness::emulator::{CREDENTIAL, Emulated, LONG_VISIBILITY, REGION, endpoint};
use crate::harness::proxy::{Fault, Of, Proxy};
#[cfg(unix)]
use crate::terminal::interrupt;
use crate::terminal::program;

/// A message is a dead letter after one receive.
pub(crate) async fn bridge() -> Emulated {
    Emulated::with(LONG_VISIBILITY, 1).await
}

/// The program with the settings of the deployed bridge.
pub(crate) fn command(aws: &Emulated, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = program();
    command
        .args(arguments)
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", CREDENTIAL)
        .env("AWS_SECRET_ACCESS_KEY", CREDENTIAL)
        .env("BRIDGE_QUEUE_URL", &aws.queue_url);
    command
}

/// Runs `redrive` and returns its report.
async fn redrive(aws: &Emulated, endpoint: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = command(aws, endpoint, &[&["redrive", "--json"], arguments].concat()).output().await.unwrap();
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", stderr(&output))))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The counts of a report, by name.
fn counts(report: &Value) -> BTreeMap<&str, u64> {
    report["done"].as_object().unwrap().iter().filter_map(|(name, count)| Some((&name[..], count.as_u64()?))).collect()
}

impl Emulated {
    /// Makes these received messages visible again, so that the next receive turns them into dead letters.
    async fn give_up(&self, records: &[Record]) {
        let change_visibility = |record: &Record| VisibilityChange {
            receipt_handle: record.receipt_handle.clone(),
            invisible: Duration::ZERO,
        };
        let messages: Vec<_> = records.iter().map(change_visibility).collect();
        let results = self.queue(&self.sdk).change_visibility(&messages).await;
        assert_eq!(results, vec![Ok(()); records.len()]);
    }

    /// Puts these messages on the queue and turns them into dead letters by an unacknowledged receive.
    pub(crate) async fn dead_letter(&self, bodies: &[&str]) {
        for body in bodies {
            self.put(body).await;
        }
        self.give_up(&self.receive(bodies.len()).await).await;
        assert_eq!(self.take_visible().await, [""; 0]);
    }
}

fn poll(answer: Option<Outcome>) -> String {
    let (run_id, claim_id) = (RunId::from_random(1), ClaimId::from_random(2));
    Poll { subject: Subject::chat("c").unwrap(), run_id, claim_id, learned: None, answer, group: None }.to_body()
}

#[tokio::test]
async fn each_kind_of_dead_letter_gets_its_action() {
    let aws = bridge().await;
    let answer = Outcome {
        ending: Ending::Sync { status: Finish::Done },
        ended_by: EndedBy::Answer,
        finished_at: Millis(1_795_514_400_000),
    };
    let (answered, newer) = (poll(Some(answer)), r#"{"postpress_bridge": "poll", "v": 2}"#);
    let keyed = r#"{"chat_id": "c", "idempotency_key": "k"}"#;
    aws.dead_letter(&["hello", keyed, &answered, &poll(None), SWEEP_BODY, newer]).await;

    let (code, report) = redrive(&aws, &endpoint(), &["--yes"]).await;
    assert_eq!(code, Some(0), "{report}");
    let kinds: Vec<_> = report["plan"].as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["trigger", "poll_with_answer", "invalid", "poll", "sweep", "newer"]);
    let done = [("dropped", 2), ("left", 1), ("not_deleted", 0), ("not_sent", 0), ("sent", 3)];
    assert_eq!(counts(&report), done.into());
    let sent: BTreeSet<_> = aws.take_visible().await.into_iter().collect();
    assert_eq!(sent, ["hello", keyed, &answered].map(str::to_owned).into());
    assert_eq!(aws.take_dead_letters().await, [newer], "the newer one stays, and is visible at once");
}

#[tokio::test]
async fn trigger_that_is_sent_again_stays_in_its_trace() {
    let aws = bridge().await;
    let trace = TraceHeader::parse("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1");
    let message =
        Outgoing { body: r#"{"chat_id": "c"}"#.to_owned(), delay: Duration::ZERO, trace: trace.clone(), group: None };
    aws.queue(&aws.sdk).send(&[message]).await.pop().unwrap().unwrap();
    aws.give_up(&aws.receive(1).await).await;
    assert_eq!(aws.take_visible().await, [""; 0]);
    let (code, report) = redrive(&aws, &endpoint(), &["--yes"]).await;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!((aws.receive(1).await[0].trace.as_ref(), trace.is_some()), (trace.as_ref(), true));
}

#[tokio::test]
async fn without_consent_nothing_is_done_and_nothing_stays_hidden() {
    let aws = bridge().await;
    aws.dead_letter(&["hello", SWEEP_BODY]).await;
    for (arguments, expected) in [(&[][..], 1), (&["--dry-run"], 0), (&["--limit", "1"], 1)] {
        let (code, report) = redrive(&aws, &endpoint(), arguments).await;
        assert_eq!(code, Some(expected), "{arguments:?}: {report}");
        assert_eq!((&report["done"], &report["waiting"]), (&Value::Null, &json!(2)), "{arguments:?}: {report}");
    }
    assert_eq!(aws.take_visible().await, [""; 0]);
    assert_eq!(aws.take_dead_letters().await.len(), 2);
    let (code, report) = redrive(&aws, &endpoint(), &[]).await;
    assert_eq!((code, &report["received"]), (Some(0), &json!(0)), "nothing to confirm");
}

#[tokio::test]
async fn people_see_the_plan_and_then_the_result() {
    let aws = bridge().await;
    aws.dead_letter(&["hello", SWEEP_BODY]).await;
    let output = command(&aws, &endpoint(), &["redrive", "--yes"]).output().await.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).unwrap().replace(&aws.dead_letter_url, "[dead-letter queue]");
    insta::assert_snapshot!(shown, @"
    [dead-letter queue]
    2 of about 2 dead letters received

          1  invalid messages        sent again, so that each gets its event
          1  sweeps                  dropped: the schedule sends new ones

    sent 1, dropped 1, left 0
    ");
}

/// Runs a program on a new terminal, types the answer to its question, and exits with its exit code.
#[cfg(unix)]
const ON_A_TERMINAL: &str = "\
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen, answered = b'', False
while True:
    try:
        some = os.read(terminal, 4096)
    except OSError:
        break
    if not some:
        break
    seen += some
    if not answered and b'[y/N]' in seen:
        os.write(terminal, sys.argv[1].encode())
        answered = True
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if answered else 9)
";

#[cfg(unix)]
#[tokio::test]
async fn on_a_terminal_only_yes_is_consent() {
    let aws = bridge().await;
    let body = r#"{"chat_id": "c", "idempotency_key": "k"}"#;
    aws.dead_letter(&[body]).await;
    for (answer, code, text) in [
        ("\n", 1, "nothing was done"),
        ("no\n", 1, "nothing was done"),
        ("\u{3}", 1, "nothing was done"), // Ctrl-C
        ("y\n", 0, "sent 1, dropped 0, left 0"),
    ] {
        let redrive = command(&aws, &endpoint(), &["redrive"]);
        let settings = redrive.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut terminal = Command::new("python3");
        terminal.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).envs(settings);
        terminal.args(["-c", ON_A_TERMINAL, answer]).arg(redrive.as_std().get_program()).arg("redrive");
        let output = terminal.output().await.unwrap();
        let seen = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{answer:?}: {seen}{}", stderr(&output));
        assert!(seen.contains("Send 1 and drop 0? [y/N]") && seen.contains(text), "{answer:?}: {seen}");
    }
    assert_eq!(aws.take_visible().await, [body]);
    assert_eq!(aws.take_dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn missing_and_wrong_queues_are_reported() {
    let aws = bridge().await;
    let sqs = aws_sdk_sqs::Client::new(&aws.sdk);
    let dead_end = sqs.create_queue().queue_name(format!("{}-dead-end", aws.table)).send().await.unwrap();
    for (variable, value, expected) in [
        ("BRIDGE_QUEUE_URL", String::new(), "`BRIDGE_QUEUE_URL` is missing"),
        ("BRIDGE_QUEUE_URL", format!("{}-of-another", aws.queue_url), "NonExistentQueue"),
        ("BRIDGE_QUEUE_URL", dead_end.queue_url.unwrap(), "no RedrivePolicy"),
    ] {
        let mut command = command(&aws, &endpoint(), &["redrive", "--yes"]);
        let output = command.env(variable, value).output().await.unwrap();
        let stderr = stderr(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[tokio::test]
async fn more_than_the_limit_takes_several_redrives() {
    let aws = bridge().await;
    let bodies: Vec<_> = (0..23).map(|n| format!(r#"{{"chat_id": "c-{n}", "idempotency_key": "k"}}"#)).collect();
    aws.dead_letter(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut pages = Vec::new();
    for _ in 0..3 {
        let (code, report) = redrive(&aws, &endpoint(), &["--yes", "--limit", "12"]).await;
        assert_eq!(code, Some(0), "{report}");
        pages.push(report["received"].as_u64().unwrap());
    }
    assert_eq!(pages, [12, 11, 0]);
    assert_eq!(aws.take_visible().await.into_iter().collect::<BTreeSet<_>>(), bodies.into_iter().collect());
}

#[tokio::test]
async fn message_that_could_not_be_sent_or_deleted_stays_a_dead_letter() {
    let aws = bridge().await;
    let proxy = Proxy::start(endpoint()).await;
    let bodies: Vec<_> = (0..4).map(|n| format!(r#"{{"chat_id": "c-{n}", "idempotency_key": "k"}}"#)).collect();
    aws.dead_letter(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    proxy.once(Of("SendMessageBatch", ""), Fault::EntriesFail("c-1", "InternalError"));
    proxy.once(Of("DeleteMessageBatch", ""), Fault::EntriesFail(r#""Id":"0""#, "InternalError"));
    let (code, report) = redrive(&aws, proxy.endpoint(), &["--yes"]).await;
    assert!(proxy.all_faults_occurred());
    assert_eq!(code, Some(1), "{report}");
    let done = [("dropped", 0), ("left", 0), ("not_deleted", 1), ("not_sent", 1), ("sent", 3)];
    assert_eq!(counts(&report), done.into());
    assert!(report["done"]["troubles"].to_string().contains("InternalError"), "{report}");

    let (code, report) = redrive(&aws, &endpoint(), &["--yes"]).await;
    assert_eq!((code, &report["done"]["sent"]), (Some(0), &json!(2)), "both are visible at once: {report}");
    let sent = aws.take_visible().await;
    assert_eq!(sent.len(), 5, "one of them twice, under one key");
    assert_eq!(sent.into_iter().collect::<BTreeSet<_>>(), bodies.into_iter().collect());
    assert_eq!(aws.take_dead_letters().await, [""; 0]);
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_while_receiving_releases_everything() {
    let aws = bridge().await;
    let proxy = Proxy::start(endpoint()).await;
    aws.dead_letter(&[r#"{"chat_id": "c", "idempotency_key": "k"}"#; 12]).await;
    let child = command(&aws, proxy.endpoint(), &["redrive", "--yes"]).spawn().unwrap();
    let receives = Of("ReceiveMessage", "");
    // The third receive finds nothing and waits two seconds.
    while proxy.seen(receives).len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    interrupt(&child).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), "nothing was done\n"));
    assert!(proxy.seen(Of("SendMessageBatch", "")).is_empty());
    assert_eq!(aws.take_dead_letters().await.len(), 12);
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_works_while_sqs_does_not_answer() {
    let aws = bridge().await;
    let proxy = Proxy::start(endpoint()).await;
    let receives = Of("ReceiveMessage", "");
    proxy.once(receives, Fault::Hangs);
    let child = command(&aws, proxy.endpoint(), &["redrive", "--yes"]).spawn().unwrap();
    while proxy.seen(receives).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    interrupt(&child).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), "nothing was done\n"));
}

#[tokio::test]
async fn failure_is_reported_on_stderr_if_stdout_is_closed() {
    let aws = bridge().await;
    let proxy = Proxy::start(endpoint()).await;
    aws.dead_letter(&["hello"]).await;
    proxy.once(Of("SendMessageBatch", ""), Fault::EntriesFail("hello", "InternalError"));
    let mut child = command(&aws, proxy.endpoint(), &["redrive", "--yes", "--json"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    let stderr = stderr(&output);
    assert_eq!((output.status.code(), stderr.contains("the plan was not completed")), (Some(1), true), "{stderr}");
}

#[tokio::test]
async fn plan_that_cannot_be_printed_is_not_carried_out() {
    let aws = bridge().await;
    aws.dead_letter(&["hello", SWEEP_BODY]).await;
    let cases = [(&["redrive", "--yes"][..], Some(1)), (&["redrive"], Some(1)), (&["redrive", "--dry-run"], Some(0))];
    for (arguments, code) in cases {
        let mut child = command(&aws, &endpoint(), arguments).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().await.unwrap();
        let stderr = stderr(&output);
        assert_eq!((output.status.code(), stderr.contains("nothing was done")), (code, code == Some(1)), "{stderr}");
    }
    assert_eq!(aws.take_visible().await, [""; 0]);
    assert_eq!(aws.take_dead_letters().await.len(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_stops_after_the_current_batch_and_releases_the_rest() {
    let aws = bridge().await;
    let proxy = Proxy::start(endpoint()).await;
    aws.dead_letter(&[r#"{"chat_id": "c", "idempotency_key": "k"}"#; 12]).await;
    let sends = Of("SendMessageBatch", "");
    proxy.once(sends, Fault::Hangs);
    let child = command(&aws, proxy.endpoint(), &["redrive", "--yes", "--json"]).spawn().unwrap();
    while proxy.seen(sends).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    interrupt(&child).await;
    let output = child.wait_with_output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["done"]["not_sent"]), (Some(1), &json!(12)), "{report}");
    assert!(report["done"]["troubles"].to_string().contains("interrupted"), "{report}");
    assert_eq!(proxy.seen(sends).len(), 1, "the second batch was not sent");
    assert_eq!(aws.take_dead_letters().await.len(), 12);
}

/// A simulated provider, and its base URL.
async fn provider() -> (Simulator, String) {
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
    let base_url = server.base_url();
    tokio::spawn(server.run(std::future::pending()));
    (simulator, base_url)
}

/// Drains the queue with `work`. Its last receive stays pending in the emulator and would take the next message, so this
/// comes last.
async fn drain(aws: &Emulated, base_url: &str) {
    let mut work = command(aws, &endpoint(), &["work", "--until-idle", "3s"]);
    work.env("BRIDGE_TABLE", &aws.table)
        .env("BRIDGE_EVENT_BUS", &aws.bus)
        .env("BRIDGE_POLL_INITIAL_SECONDS", "1")
        .env("BRIDGE_POLL_FACTOR", "1")
        .env("POSTPRESS_BASE_URL", base_url)
        .env("POSTPRESS_API_KEY", "key");
    let output = work.output().await.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(aws.queue_is_empty().await, "{}", stderr(&output));
}

/// One invocation with a message, which is not deleted.
async fn handle(aws: &Emulated, simulator: &Simulator, record: &Record) {
    let schedule = Schedule { poll_initial: Duration::from_secs(1), ..Schedule::default() };
    let config = Config { rules: Rules { schedule, ..Rules::default() }, ..Config::default() };
    let (queue, bus) = (aws.queue(&aws.sdk), aws.bus(&aws.sdk));
    let provider = simulator.clone();
    let worker = Worker::new(provider, aws.store(&aws.sdk), queue, bus, Clock::System, config);
    let report = worker.handle(std::slice::from_ref(record), Instant::now() + Duration::from_secs(60)).await;
    assert_eq!(report.batch_item_failures().count(), 0, "{record:?}");
}

/// Works until the queue is empty.
async fn process_all(aws: &Emulated, simulator: &Simulator) {
    while !aws.queue_is_empty().await {
        let records = aws.receive(1).await;
        handle(aws, simulator, &records[0]).await;
        aws.queue(&aws.sdk).delete(&records).await.unwrap();
    }
}

/// The endings of the triggers, by chat; those of invalid triggers by body.
fn endings(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut endings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        let detail = &event["detail"];
        let about = detail["chat_id"].as_str().or(detail["input"].as_str()).unwrap();
        let triggers = detail["triggers"].as_array().unwrap().len();
        let ending = event["detail-type"].as_str().unwrap();
        endings.entry(about.to_owned()).or_default().push(format!("{ending} of {triggers}"));
    }
    endings
}

#[tokio::test]
async fn redrive_restarts_nothing_and_every_trigger_gets_one_ending() {
    let (simulator, base_url) = provider().await;
    let aws = bridge().await;
    let (accepted, fresh, wrapped) = ("done-in-10ms~accepted", "done-in-10ms~fresh", "done-in-10ms~wrapped");
    let event = json!({"id": "eb-1", "source": "crm", "detail-type": "Opened", "detail": {"chat_id": wrapped}});
    let first_id: MessageId = aws.put(&json!({"chat_id": accepted}).to_string()).await;
    for body in [json!({"chat_id": fresh}), event].map(|body| body.to_string()) {
        aws.put(&body).await;
    }
    aws.put("hello").await;
    let records = aws.receive(4).await;
    let of_accepted = records.iter().find(|record| record.message_id == first_id).unwrap();
    // The trigger is accepted, but its handler is killed before the message is deleted.
    handle(&aws, &simulator, of_accepted).await;
    aws.give_up(&records).await;
    process_all(&aws, &simulator).await;
    let before = aws.take_events().await;
    assert_eq!(endings(&before), [(accepted.to_owned(), vec!["SYNC_DONE of 1".to_owned()])].into());
    assert_eq!(before[0]["detail"]["triggers"][0]["message_id"], first_id.as_str());

    let (code, report) = redrive(&aws, &endpoint(), &["--yes"]).await;
    assert_eq!((code, &report["done"]["sent"]), (Some(0), &json!(4)), "{report}");
    drain(&aws, &base_url).await;
    let after = endings(&aws.take_events().await);
    let once = |ending: &str| vec![ending.to_owned()];
    let expected = [("hello", "ERROR_ENVELOPE of 1"), (fresh, "SYNC_DONE of 1"), (wrapped, "SYNC_DONE of 1")];
    assert_eq!(after, expected.map(|(about, ending)| (about.to_owned(), once(ending))).into());
    let total = simulator.stats().total;
    assert_eq!((total.syncs_started, total.restarts), (3, 0));
    assert_eq!(aws.take_dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn killed_redrive_loses_nothing_and_the_next_one_restarts_nothing() {
    let (simulator, base_url) = provider().await;
    let aws = bridge().await;
    let proxy = Proxy::start(endpoint()).await;
    let chats: Vec<_> = (0..3).map(|n| format!("done-in-10ms~{n}")).collect();
    let bodies: Vec<_> = chats.iter().map(|chat| json!({"chat_id": chat}).to_string()).collect();
    aws.dead_letter(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;

    // Killed between the send and the delete.
    let deletes = Of("DeleteMessageBatch", "");
    proxy.once(deletes, Fault::Hangs);
    let mut killed = command(&aws, proxy.endpoint(), &["redrive", "--yes", "--hold", "20s"]).spawn().unwrap();
    while proxy.seen(deletes).is_empty() {
        assert!(killed.try_wait().unwrap().is_none(), "it exited before it deleted anything");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    killed.kill().await.unwrap();
    process_all(&aws, &simulator).await;
    assert_eq!(endings(&aws.take_events().await).len(), chats.len(), "the messages that it sent are handled");

    let again = loop {
        let (code, report) = redrive(&aws, &endpoint(), &["--yes"]).await;
        assert_eq!(code, Some(0), "{report}");
        if report["received"] != 0 {
            break report;
        }
        assert_eq!(report["held_by_others"], chats.len(), "it says why it received nothing: {report}");
    };
    assert_eq!(again["done"]["sent"], chats.len(), "{again}");
    drain(&aws, &base_url).await;
    assert_eq!(aws.take_events().await, [json!(null); 0], "the second copies get no second event");
    let total = simulator.stats().total;
    assert_eq!((total.syncs_started, total.restarts), (3, 0));
}
