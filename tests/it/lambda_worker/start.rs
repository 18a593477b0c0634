//! How a process starts, and how much time it assumes an invocation has.

use std::time::Duration;

use postpress_bridge::simulator::Faults;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::world::World;
use crate::harness::canary::{CANARY, CheckedLog};
use crate::harness::emulator::{self, CREDENTIAL};
use crate::harness::lambda::{Deadline, Environment, Function, Outcome};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn invalid_settings_end_the_process_with_one_message() {
    let settings = [
        ("POSTPRESS_API_KEY", "pp_live_hunter2\u{7f}"),
        ("POSTPRESS_BASE_URL", "https://someone:hunter2@api.postpress.example/v1"),
        ("BRIDGE_MAX_POLLS", "many"),
        ("BRIDGE_LOG", "postpress_bridge=loud"),
    ];
    let function = Function::sync_worker(settings, MINUTE);
    let Err(status) = Environment::start(&function).await else {
        panic!("it started");
    };
    assert_eq!(status.code(), Some(1));
    insta::assert_snapshot!(function.log(), @r#"
    sync-worker: fix these environment variables and start again:
    - `POSTPRESS_BASE_URL` cannot be used: the base URL has a user name or password before an `@`; remove it: the API key has its own setting
    - `POSTPRESS_API_KEY` cannot be used: the API key has characters that no key has; copy it again from the postpress dashboard
    - `BRIDGE_MAX_POLLS` is "many"; allowed: a whole number from 1 to 1000000
    - `BRIDGE_QUEUE_URL` is missing; set it to the URL of the SQS queue
    - `BRIDGE_TABLE` is missing; set it to the name of the DynamoDB table of runs
    - `BRIDGE_LOG` is "postpress_bridge=loud"; allowed: a filter like `info` or `warn,postpress_bridge=debug` (error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5)
    "#);
    assert!(!function.log().contains("hunter2"));
}

#[tokio::test]
async fn credentials_come_from_the_environment_alone() {
    let profile = CheckedLog::new();
    std::fs::write(profile.path(), format!("[default]\naws_access_key_id = {CREDENTIAL}\naws_secret_access_key = x\n"))
        .unwrap();
    let settings = [
        ("AWS_SHARED_CREDENTIALS_FILE", profile.path().to_str().unwrap()),
        ("AWS_ACCESS_KEY_ID", ""),
        ("POSTPRESS_API_KEY", CANARY),
        ("BRIDGE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge"),
        ("BRIDGE_TABLE", "runs"),
    ];
    let function = Function::sync_worker(settings, MINUTE);
    let Err(status) = Environment::start(&function).await else {
        panic!("it started");
    };
    assert_eq!(status.code(), Some(1));
    insta::assert_snapshot!(function.log(), @r#"sync-worker: there are no credentials in the environment, where Lambda puts those of the function's role; to run a function elsewhere, export some: eval "$(aws configure export-credentials --format env)""#);
}

#[tokio::test]
async fn each_service_may_have_an_endpoint_of_its_own() {
    let world = World::start(Faults::default(), MINUTE).await;
    let endpoint = emulator::endpoint();
    let endpoints = ["DYNAMODB", "EVENTBRIDGE", "SQS"].map(|service| format!("AWS_ENDPOINT_URL_{service}"));
    let settings: Vec<_> = endpoints.iter().map(|name| (name.as_str(), endpoint.as_str())).collect();
    let unreachable = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
    let worker = world.worker(MINUTE, &[&unreachable, &settings[..]].concat());
    world.work(&worker, &world.mapping(), world.send(&[json!({ "chat_id": "done-in-1s" })])).await;
    let events = world.published().await;
    assert_eq!(events.iter().map(|event| event.detail_type.as_str()).collect::<Vec<_>>(), ["SYNC_DONE"]);
}

#[tokio::test]
async fn an_invocation_lasts_until_the_deadline_that_lambda_or_cargo_lambda_sends() {
    let world = World::start(Faults::default(), MINUTE).await;
    let worker = world.worker(MINUTE, &[]);
    let mut environment = Environment::start(&worker.function).await.unwrap();
    let from_lambda = Deadline::after(MINUTE);
    let deadline = |header_ms| Deadline { at: Instant::now() + MINUTE, header_ms };
    // A message with too little time for a call is returned untouched.
    for (chat, deadline, returned, calls) in [
        ("deleted~1", from_lambda, &[][..], 1),
        ("deleted~2", deadline(from_lambda.header_ms - 55_000), &["m"], 1),
        ("deleted~3", deadline(600_000), &[], 2),
        ("deleted~4", deadline(5_000), &["m"], 2),
    ] {
        let (_faults, mut no_faults) = broadcast::channel(1);
        let outcome = environment.invoke(&event(chat), deadline, &mut no_faults).await;
        let Outcome::Answered(answer) = outcome else { panic!("{chat}: {outcome:?}") };
        let returned: Vec<Value> = returned.iter().map(|id| json!({ "itemIdentifier": id })).collect();
        assert_eq!(answer, json!({ "batchItemFailures": returned }), "{chat}");
        assert_eq!(world.simulator.stats().total.calls, calls, "{chat}");
    }
}

/// An SQS event with one trigger.
fn event(chat: &str) -> Value {
    json!({ "Records": [{
        "messageId": "m",
        "receiptHandle": "of a message that the queue does not hold",
        "body": json!({ "chat_id": chat }).to_string(),
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1795514400137" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }] })
}

/// The most memory that a record of a large batch takes.
#[cfg(target_os = "linux")]
const KIB_A_RECORD: u64 = 6;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ten_thousand_records_fit_into_the_smallest_lambda() {
    const RECORDS: usize = 10_000;
    let world = World::start(Faults::default(), MINUTE).await;
    // At `warn`, since a log of every step would measure the test's own log.
    let worker = world.worker(MINUTE, &[("BRIDGE_LOG", "warn")]);
    let mut environment = Environment::start(&worker.function).await.unwrap();
    let (_faults, mut no_faults) = broadcast::channel(1);
    // The first connections, which do not grow with the batch.
    environment.invoke(&event("deleted~first"), Deadline::after(MINUTE), &mut no_faults).await;
    let before = environment.peak_memory_kib();

    let mut batch = event("");
    let record = batch["Records"][0].clone();
    let records = (0..RECORDS).map(|number| {
        let mut record = record.clone();
        record["messageId"] = format!("message-{number:08}").into();
        record["receiptHandle"] = "r".repeat(180).into();
        record["body"] = json!({ "chat_id": format!("deleted~{number}") }).to_string().into();
        record
    });
    batch["Records"] = records.collect();
    // So short that most of the batch does not fit.
    let deadline = Deadline::after(Duration::from_secs(30));
    let outcome = environment.invoke(&batch, deadline, &mut no_faults).await;
    let Outcome::Answered(answer) = outcome else { panic!("{outcome:?}") };
    let returned = answer["batchItemFailures"].as_array().unwrap().len();
    let total = world.simulator.stats().total;
    assert!(returned > 0 && returned < RECORDS, "{returned}");
    assert!(total.calls > u64::try_from(RECORDS - returned).unwrap(), "a record that was not returned was handled");

    let peak = environment.peak_memory_kib();
    println!("peak memory: {before} KiB, then {peak} KiB with {RECORDS} records, {returned} of them returned");
    assert!(peak < 100 * 1024, "{peak} KiB leave too little of 128 MB");
    assert!((peak - before) / u64::try_from(RECORDS).unwrap() < KIB_A_RECORD, "{before} KiB, then {peak} KiB");
}
