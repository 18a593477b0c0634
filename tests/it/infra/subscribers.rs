//! The example subscribers: which events they get, in which format, and who may deliver them.

use std::collections::BTreeSet;
use std::path::Path;

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::{Value, json};

use super::account::Account;
use super::stack::{BRIDGE, default_of, template};
use crate::harness::files::read_files;

const SUBSCRIBERS: [&str; 3] =
    ["subscribers/endings-to-queue.yaml", "subscribers/errors-to-queue.yaml", "subscribers/http-webhook.yaml"];

/// The events in `events/samples/`.
fn samples() -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/samples");
    read_files(&directory).values().map(|text| serde_json::from_str(text).unwrap()).collect()
}

async fn publish(account: &Account, event: &Value) {
    let text = |name: &str| event[name].as_str().unwrap();
    let entry = PutEventsRequestEntry::builder()
        .event_bus_name(&account.aws.bus)
        .source(text("source"))
        .detail_type(text("detail-type"))
        .detail(event["detail"].to_string())
        .build();
    let put = aws_sdk_eventbridge::Client::new(&account.aws.sdk).put_events().entries(entry).send().await.unwrap();
    assert_eq!(put.failed_entry_count, 0, "{put:?}");
}

#[tokio::test]
async fn each_subscriber_gets_only_its_events() {
    let account = Account::deploy().await;
    let with_error = |event: &Value, kind: &str| {
        let mut event = event.clone();
        event["detail"]["error"]["type"] = kind.into();
        event
    };
    let samples = samples();
    let not_found = samples.iter().find(|event| event["detail"]["error"]["status"] == 404).unwrap();
    let types = default_of(&template("subscribers/errors-to-queue.yaml").await, "ErrorTypes");
    let types: Vec<_> = types.split(',').map(str::trim).collect();
    let wanted: Vec<_> = types.iter().map(|kind| with_error(not_found, kind)).collect();
    // An event of another source, or a replayed mistake.
    let foreign = samples.iter().map(|event| {
        let mut event = event.clone();
        event["source"] = "somebody.else".into();
        event
    });
    for event in samples.iter().cloned().chain(wanted).chain(foreign) {
        publish(&account, &event).await;
    }

    let of = |kind: &str| samples.iter().filter(|event| event["detail-type"] == kind).count();
    let done = account.aws.take_events().await;
    assert!(done.iter().all(|event| event["detail-type"] == "SYNC_DONE"));
    assert_eq!((done.len(), of("SYNC_DONE")), (3, 3));
    let mut errors: Vec<_> = account.take_errors().await;
    errors.sort_by_key(|event| event["detail"]["error"]["type"].to_string());
    let mut expected = types.clone();
    expected.sort_unstable();
    let kinds: Vec<_> = errors.iter().map(|event| event["detail"]["error"]["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, expected);
    assert!(!expected.contains(&"errors/resource_not_found"), "some sample has to be filtered out");

    let posted = account.take_posted().await;
    assert_eq!(posted.len(), samples.len() + types.len());
    for event in &samples {
        let fits = |body: &&Value| body["data"] == event["detail"];
        let body = posted.iter().find(fits).unwrap_or_else(|| panic!("{event} was not posted"));
        assert_eq!(body["type"], event["detail-type"]);
        assert!(body["timestamp"].is_string() && body.as_object().unwrap().len() == 3, "{body}");
    }
}

#[tokio::test]
async fn posts_carry_the_id_for_dropping_repeats() {
    let template = template("subscribers/http-webhook.yaml").await;
    let target = &template["Resources"]["Rule"]["Properties"]["Targets"][0];
    assert_eq!(target["HttpParameters"]["HeaderParameters"], json!({"webhook-id": "$.detail.event_id"}));
    for event in samples() {
        assert!(event.pointer("/detail/event_id").is_some_and(Value::is_string));
    }
}

#[tokio::test]
async fn only_its_rule_may_send_to_a_subscribers_queue() {
    for file in SUBSCRIBERS {
        let template = template(file).await;
        let resources = template["Resources"].as_object().unwrap();
        let queues = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::SQS::Queue");
        let queues: BTreeSet<_> = queues.map(|(name, _)| name.as_str()).collect();
        let policy = &resources["OnlyFromTheRule"]["Properties"];
        let covered = policy["Queues"].as_array().unwrap().iter().map(|queue| queue["Ref"].as_str().unwrap());
        let covered: BTreeSet<_> = covered.collect();
        assert_eq!(covered, queues, "{file}");
        let [statement] = &policy["PolicyDocument"]["Statement"].as_array().unwrap()[..] else { panic!("{file}") };
        assert_eq!(statement["Principal"], json!({"Service": "events.amazonaws.com"}), "{file}");
        assert_eq!(statement["Action"], "sqs:SendMessage", "{file}");
        let rule = json!({"aws:SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}});
        assert_eq!(statement["Condition"], json!({"ArnEquals": rule}), "{file}");
        for target in resources["Rule"]["Properties"]["Targets"].as_array().unwrap() {
            let kept = target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0].as_str().unwrap();
            assert!(queues.contains(&kept), "{file}");
        }
    }
}

#[tokio::test]
async fn every_queue_is_encrypted() {
    for file in SUBSCRIBERS.iter().chain(&[BRIDGE]) {
        let template = template(file).await;
        let resources = template["Resources"].as_object().unwrap();
        for (name, queue) in resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::SQS::Queue") {
            let properties = &queue["Properties"];
            let ours = properties["SqsManagedSseEnabled"] == true;
            let either = properties["SqsManagedSseEnabled"]
                == json!({"Fn::If": ["OwnKey", {"Ref": "AWS::NoValue"}, true]})
                && properties["KmsMasterKeyId"]
                    == json!({"Fn::If": ["OwnKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]});
            assert!(ours || either, "{file}: {name}");
        }
    }
}
