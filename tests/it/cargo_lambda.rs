//! `cargo lambda watch` and `cargo lambda invoke` on a fresh clone: the real function and the simulator, with either the memory
//! backend or an emulated AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use postpress_bridge::ids::TriggerKey;
use postpress_bridge::message::Message;
use postpress_bridge::settings::DEFAULT_EVENT_SOURCE;
use postpress_bridge::simulator::{Faults, Server, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::harness::canary::{CANARY, CheckedOutput, assert_no_secret};
use crate::harness::emulator::{self, CREDENTIAL, Emulated, REGION};
use crate::harness::tools;
use crate::sample_inputs;
use crate::terminal::program;

/// Time limit of the first invocation, which compiles the function and maybe its dependencies.
const TO_COMPILE: Duration = Duration::from_mins(15);
/// Time limit of starting a program.
const TO_START: Duration = Duration::from_mins(1);
const LOOPBACK: &str = "127.0.0.1";

/// The events for each file in `events/`, sorted.
const EXPECTED: [(&str, &[&str]); 7] = [
    (
        "mixed-batch.json",
        &["CHAT_DELETED deleted~9", "ERROR_ENVELOPE bridge/invalid_trigger", "SYNC_DONE done-in-1s~6"],
    ),
    // The empty table has no such run, so there is nothing to do.
    ("poll.json", &[]),
    ("sweep.json", &[]),
    ("trigger-batch.json", &["CHAT_DELETED deleted~3", "SYNC_DONE done-in-1s~1", "SYNC_ERROR error-in-1s~2"]),
    ("trigger-eventbridge.json", &["SYNC_DONE done-in-1s~4"]),
    ("trigger-options.json", &["SYNC_DONE done-in-1s~13", "SYNC_DONE done-in-2-chunks-of-1s~12"]),
    ("trigger-sns.json", &["SYNC_DONE done-in-1s~5"]),
];

#[tokio::test]
async fn cargo_lambda_runs_every_sample_input_to_its_end() {
    let (simulator, base_url) = simulate().await;
    let watch = Watch::start(&[("BRIDGE_BACKEND", "memory"), ("POSTPRESS_BASE_URL", &base_url)]).await;

    let inputs = sample_inputs::inputs();
    for name in inputs.keys() {
        let response = watch.invoke("sync-worker", &Path::new("events").join(name)).await;
        assert_eq!(response, json!({ "batchItemFailures": [] }), "events/{name}");
    }

    let mut events = events_by_message(&watch.stdout());
    let received: BTreeMap<&str, Vec<String>> = inputs
        .iter()
        .map(|(name, text)| {
            let mut events: Vec<_> = message_ids(text).iter().flat_map(|id| events.remove(id)).flatten().collect();
            events.sort();
            (name.as_str(), events)
        })
        .collect();
    let expected = EXPECTED.map(|(name, events)| (name, events.iter().map(ToString::to_string).collect()));
    assert_eq!(received, BTreeMap::from(expected));
    assert!(events.is_empty(), "unexpected events: {events:?}");
    assert_eq!(simulator.stats().total.restarts, 0);
}

#[tokio::test]
async fn cargo_lambda_runs_every_sample_input_against_an_emulated_aws() {
    let (simulator, base_url) = simulate().await;
    let aws = Emulated::new().await;
    let watch = watch_on(&aws, &[("BRIDGE_EVENT_BUS", &aws.bus), ("POSTPRESS_BASE_URL", &base_url)]).await;
    for name in sample_inputs::inputs().keys() {
        let response = watch.invoke("sync-worker", &Path::new("events").join(name)).await;
        assert_eq!(response, json!({ "batchItemFailures": [] }), "events/{name}\n{}", watch.printed("stderr"));
    }

    // One invocation publishes immediate endings, and leaves a poll for each running sync.
    let mut events: Vec<_> = aws.take_events().await.iter().map(short).collect();
    events.sort();
    let is_immediate = |event: &&str| !event.starts_with("SYNC_");
    let expected: BTreeSet<_> = EXPECTED.iter().flat_map(|(_, events)| *events).copied().filter(is_immediate).collect();
    assert_eq!(events, Vec::from_iter(expected));
    let syncs = EXPECTED.iter().flat_map(|(_, events)| *events).filter(|event| event.starts_with("SYNC_")).count();
    assert_eq!(simulator.stats().total.syncs_started, u64::try_from(syncs).unwrap());
    assert_eq!(aws.receive(syncs).await.len(), syncs);

    // Redelivered while its claims are held, the batch is returned. The queue does not know the samples' receipt handles, so
    // changing their visibility fails, which is only a warning.
    let response = watch.invoke("sync-worker", Path::new("events/trigger-batch.json")).await;
    assert_eq!(response["batchItemFailures"].as_array().map(Vec::len), Some(2), "{response}");
    let stderr = watch.printed("stderr");
    let warnings: Vec<_> =
        stderr.lines().filter(|line| line.contains("delivered again only after their visibility")).collect();
    assert!(matches!(warnings[..], [warning] if warning.contains(r#""messages":2"#)), "{stderr}");
    assert!(stderr.contains("ReceiptHandleIsInvalid"), "{stderr}");
}

#[tokio::test]
async fn cargo_lambda_accepts_a_trigger_over_http_and_answers_its_status() {
    let aws = Emulated::new().await;
    let watch = watch_on(&aws, &[("BRIDGE_WEBHOOK_TOKEN", "a-token-for-trying")]).await;
    let accepted = watch.invoke("webhook", Path::new("events/http/sync-request.json")).await;
    assert_eq!(accepted["statusCode"], 202, "{accepted}\n{}", watch.printed("stderr"));
    let record = aws.receive(1).await.remove(0);
    let Message::Trigger(trigger) = Message::parse(&record, DEFAULT_EVENT_SOURCE) else { panic!("{record:?}") };
    assert_eq!((trigger.subject.id(), trigger.key), ("done-in-1s~11", TriggerKey::of("crm-8852")));
    let status = watch.invoke("webhook", Path::new("events/http/sync-status.json")).await;
    assert_eq!(status["statusCode"], 404, "no worker has handled it: {status}");

    // As docs/local.md says: over HTTP, as through a function URL.
    let url = format!("http://{LOOPBACK}:{}/lambda-url/webhook", watch.port);
    let mut send = program();
    send.args(["send", "over-http"]).env("BRIDGE_WEBHOOK_URL", url).env("BRIDGE_WEBHOOK_TOKEN", "a-token-for-trying");
    send.checked_output().await;
    assert_eq!(aws.receive(1).await.remove(0).body, r#"{"chat_id":"over-http"}"#);
}

/// `cargo lambda watch` against an emulated AWS, with these additional settings.
async fn watch_on(aws: &Emulated, settings: &[(&str, &str)]) -> Watch {
    let endpoint = emulator::endpoint();
    let common = [
        ("BRIDGE_BACKEND", "aws"),
        ("BRIDGE_QUEUE_URL", &aws.queue_url),
        ("BRIDGE_TABLE", &aws.table),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", CREDENTIAL),
        ("AWS_SECRET_ACCESS_KEY", CREDENTIAL),
    ];
    Watch::start(&[&common, settings].concat()).await
}

/// The simulated provider, and its base URL.
async fn simulate() -> (Simulator, String) {
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
    let base_url = server.base_url();
    tokio::spawn(server.run(std::future::pending()));
    (simulator, base_url)
}

/// The message ids of an SQS event.
fn message_ids(event: &str) -> Vec<String> {
    let event: Value = serde_json::from_str(event).unwrap();
    let records = event["Records"].as_array().unwrap();
    records.iter().map(|record| record["messageId"].as_str().unwrap().to_owned()).collect()
}

/// The events that the function printed, in short form, by message id.
fn events_by_message(stdout: &str) -> BTreeMap<String, Vec<String>> {
    let mut events: BTreeMap<_, Vec<_>> = BTreeMap::new();
    // The other lines are those of `cargo lambda` itself.
    for line in stdout.lines().filter(|line| line.starts_with('{')) {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let message = event["detail"]["triggers"][0]["message_id"].as_str().unwrap();
        events.entry(message.to_owned()).or_default().push(short(&event));
    }
    events
}

/// An event in short form: its type and its subject.
fn short(event: &Value) -> String {
    let detail = &event["detail"];
    let about =
        ["/chat_id", "/account_id", "/error/type"].iter().find_map(|field| detail.pointer(field)?.as_str()).unwrap();
    format!("{} {about}", event["detail-type"].as_str().unwrap())
}

/// `cargo lambda watch`, killed on drop. The function then exits, because its Runtime API is gone.
struct Watch {
    program: PathBuf,
    port: String,
    output: TempDir,
    process: Child,
}

impl Watch {
    /// Starts it with these settings for the function.
    async fn start(settings: &[(&str, &str)]) -> Self {
        let program = tools::cargo_lambda();
        let port = free_port().to_string();
        let output = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(output.path().join(name)).unwrap();
        let mut command = cargo_lambda(&program, "watch", &port);
        command
            // The features come from Cargo.toml; the first invocation compiles its function.
            .args(["--wait", "--ignore-changes", "--locked"])
            // Share the dependencies with this test's build, but not the program, which other tests run.
            .env("CARGO_BUILD_BUILD_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cargo-lambda"))
            // Building this test has fetched all dependencies.
            .env("CARGO_NET_OFFLINE", "true")
            .env("POSTPRESS_API_KEY", CANARY)
            .env("BRIDGE_LOG", "trace") // so that a secret would show
            .envs(settings.iter().copied())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        let process = command.spawn().unwrap();
        let mut watch = Self { program, port, output, process };
        watch.until_it_listens().await;
        watch
    }

    async fn until_it_listens(&mut self) {
        let listening = async {
            while TcpStream::connect(format!("{LOOPBACK}:{}", self.port)).await.is_err() {
                if let Some(status) = self.process.try_wait().unwrap() {
                    self.fail(&format!("it exited with {status}"));
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(TO_START, listening).await.is_err() {
            self.fail("it does not listen");
        }
    }

    /// Invokes a function with the event in this file.
    async fn invoke(&self, function: &str, file: &Path) -> Value {
        let mut command = cargo_lambda(&self.program, "invoke", &self.port);
        command.arg(function).arg("--data-file").arg(file);
        let Ok(output) = timeout(TO_COMPILE, command.checked_output()).await else {
            self.fail(&format!("{} was not answered in {TO_COMPILE:?}", file.display()));
        };
        ["stdout", "stderr"].iter().for_each(|name| assert_no_secret(name, &self.printed(name)));
        match serde_json::from_slice(&output.stdout) {
            Ok(answer) if output.status.success() => answer,
            _ => self.fail(&format!("{}: {output:?}", file.display())),
        }
    }

    /// The output so far; the function prints its events before it answers.
    fn stdout(&self) -> String {
        self.printed("stdout")
    }

    fn printed(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path().join(name)).unwrap()).into_owned()
    }

    fn fail(&self, why: &str) -> ! {
        panic!("cargo lambda watch: {why}\n{}\n{}", self.printed("stdout"), self.printed("stderr"));
    }
}

/// `cargo lambda watch` or `cargo lambda invoke`, killed on drop.
fn cargo_lambda(program: &Path, subcommand: &str, port: &str) -> Command {
    let mut command = Command::new(program);
    tools::without_private_settings(command.as_std_mut());
    command
        .args(["lambda", subcommand, "--invoke-address", LOOPBACK, "--invoke-port", port])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_PROXY", LOOPBACK)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
