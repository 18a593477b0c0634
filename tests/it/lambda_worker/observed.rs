//! What Lambda's log receives for a run: two lines, and one record of metrics per invocation.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use boon::{Compiler, Schemas};
use postpress_bridge::metrics::Metric;
use postpress_bridge::simulator::Faults;
use serde_json::{Value, json};

use super::world::World;

const TRACE_ID: &str = "1-5759e988-bd862e3fe1be46a994272793";

#[tokio::test]
async fn a_run_logs_two_lines_of_one_trace_and_one_metrics_record_per_invocation() {
    let world = World::start(Faults::default(), Duration::from_secs(60)).await;
    let settings = [
        ("BRIDGE_LOG", "info"),
        ("BRIDGE_METRICS_NAMESPACE", "PostpressBridge/test"),
        ("BRIDGE_POLL_INITIAL_SECONDS", "1"),
        ("BRIDGE_POLL_FACTOR", "1"),
    ];
    let worker = world.worker(Duration::from_secs(30), &settings);
    let figures = world.work(&worker, &world.mapping(), send_traced(&world, "done-in-10s")).await;

    let log: Vec<Value> = worker.function.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [start, end] = &log[..] else { panic!("{log:#?}") };
    assert_eq!((&start["message"], &end["message"]), (&json!("run started"), &json!("event published")));
    for line in [start, end] {
        assert_eq!((&line["trace_id"], &line["chat_id"]), (&json!(TRACE_ID), &json!("done-in-10s")));
        assert_eq!(line["run_id"], start["run_id"]);
        assert!(line["request_id"].is_string() && line["message_id"].is_string(), "{line}");
    }
    assert_ne!(start["request_id"], end["request_id"]);

    let records = worker.function.records();
    assert_eq!(records.len(), figures.invocations, "{records:#?}");
    records.iter().for_each(assert_is_embedded_metrics);
    let values = |metric| worker.function.values(metric);
    let polls = world.simulator.stats().total.calls;
    assert!(polls >= 4, "{polls}");
    assert_eq!(values(Metric::Messages).len(), records.len());
    assert_eq!(values(Metric::Triggers), [1]);
    assert_eq!(values(Metric::PollsSoFar), (1..=polls).collect::<Vec<_>>());
    assert_eq!(values(Metric::ProviderLatency).len(), records.len());
    assert_eq!(values(Metric::EndingsSyncDone), [1]);
    assert_eq!(values(Metric::EndingsErrorEnvelope), [0]);
    assert_eq!(values(Metric::PollsOfRun), [polls]);
    assert_eq!(values(Metric::TimeToEnding).len(), 1);
    let lags = values(Metric::Lag);
    assert!(lags.len() == records.len() && lags.iter().all(|lag| *lag < 30_000), "not counted from 1970: {lags:?}");
}

/// Puts a trigger on the queue, in a trace of its producer.
async fn send_traced(world: &World, chat: &str) {
    let header = format!("Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1");
    let header = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().unwrap();
    let request = world.sqs.send_message().queue_url(&world.aws.queue_url);
    let request = request.message_body(json!({ "chat_id": chat }).to_string());
    request.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header).send().await.unwrap();
}

/// Checks a record against AWS's JSON Schema of the format and its description.
fn assert_is_embedded_metrics(record: &Value) {
    let mut compiler = Compiler::new();
    compiler.add_resource("emf", schema()).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile("emf", &mut schemas).unwrap();
    if let Err(error) = schemas.validate(record, index) {
        panic!("{error:#}\nin {record:#}");
    }
    let [directive] = &record["_aws"]["CloudWatchMetrics"].as_array().unwrap()[..] else { panic!("{record:#}") };
    assert_eq!((&directive["Namespace"], &directive["Dimensions"]), (&json!("PostpressBridge/test"), &json!([[]])));
    for metric in directive["Metrics"].as_array().unwrap() {
        let name = metric["Name"].as_str().unwrap();
        assert!(Metric::ALL.iter().any(|metric| metric.name() == name), "{name}");
        assert!(record[name].as_array().unwrap().iter().all(Value::is_number), "{name} in {record:#}");
    }
}

/// The essential parts of the schema in AWS's "Specification: Embedded metric format".
fn schema() -> Value {
    let units = ["Seconds", "Microseconds", "Milliseconds", "Bytes", "Percent", "Count", "None"];
    let metric = json!({
        "type": "object",
        "required": ["Name"],
        "properties": {
            "Name": { "type": "string", "minLength": 1, "maxLength": 1024 },
            "Unit": { "enum": units },
            "StorageResolution": { "enum": [1, 60] },
        },
    });
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 250 });
    let directive = json!({
        "type": "object",
        "required": ["Namespace", "Dimensions", "Metrics"],
        "properties": {
            "Namespace": { "type": "string", "minLength": 1, "maxLength": 1024 },
            "Dimensions": { "type": "array", "minItems": 1, "items": { "type": "array", "maxItems": 30, "items": name } },
            "Metrics": { "type": "array", "minItems": 1, "maxItems": 100, "items": metric },
        },
    });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["_aws"],
        "properties": {
            "_aws": {
                "type": "object",
                "required": ["Timestamp", "CloudWatchMetrics"],
                "properties": {
                    "Timestamp": { "type": "integer" },
                    "CloudWatchMetrics": { "type": "array", "minItems": 1, "items": directive },
                },
            },
        },
    })
}
