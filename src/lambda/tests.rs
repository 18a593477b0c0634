use serde_json::{Value, json};

use super::*;

const NOW: Millis = Millis(1_795_514_500_000);

fn raw(event: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(event).unwrap()
}

fn read(event: &Value) -> Result<Vec<Record>, UnknownEvent> {
    records(&raw(event), None, NOW)
}

fn refusal(event: &Value) -> String {
    read(event).expect_err("it is read").to_string()
}

/// A record as Lambda writes it.
fn sound(message_id: &str) -> Value {
    json!({
        "messageId": message_id,
        "receiptHandle": "AQEB",
        "body": "{\"chat_id\": \"c\"}",
        "attributes": {
            "ApproximateReceiveCount": "2",
            "SentTimestamp": "1795514400137",
            "SenderId": "AIDA",
            "ApproximateFirstReceiveTimestamp": "1795514400250",
        },
        "messageAttributes": {},
        "md5OfBody": "0c1ff0cb4d2a2a3b55e3a1d4ee3ed2f6",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:queue",
        "awsRegion": "eu-west-1",
    })
}

/// A record with these values, and without those that are null.
fn changed(changes: &[(&str, Value)]) -> Value {
    let mut record = sound("m");
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = record.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(name)),
            value => drop(parent.insert(name.to_owned(), value.clone())),
        }
    }
    record
}

fn read_one(record: &Value) -> Record {
    let mut records = read(&json!({ "Records": [record] })).unwrap_or_else(|error| panic!("{record}: {error}"));
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[test]
fn deadlines_are_times_or_durations() {
    let now = UNIX_EPOCH + Duration::from_millis(1_795_514_400_000);
    assert_eq!(time_left(1_795_514_460_000, now), Duration::from_secs(60));
    assert_eq!(time_left(600_000, now), Duration::from_secs(600));
    assert_eq!(time_left(1_795_514_399_999, now), Duration::ZERO);
}

#[test]
fn records_are_read() {
    let records = read(&serde_json::from_str(include_str!("../../events/trigger-batch.json")).unwrap()).unwrap();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.body.contains("chat_id") && record.sent_at < NOW));

    let whole = Record {
        message_id: MessageId::new("m"),
        receipt_handle: "AQEB".to_owned(),
        body: "{\"chat_id\": \"c\"}".to_owned(),
        sent_at: Millis(1_795_514_400_137),
        receive_count: 2,
        trace: None,
        group: None,
    };
    assert_eq!(read_one(&sound("m")), whole);
}

#[test]
fn odd_members_affect_nothing_else() {
    let first_receive = Millis(1_795_514_400_250);
    let untimed = ("/attributes/ApproximateFirstReceiveTimestamp", json!("soon"));
    let sent = |value: Value| ("/attributes/SentTimestamp", value);
    for (changes, sent_at, receive_count) in [
        (vec![("/messageAttributes", json!({"a": {"dataType": 7, "stringListValues": "x"}}))], None, 2),
        (vec![("/messageAttributes", json!([1]))], None, 2),
        (vec![("/messageAttributes", Value::Null)], None, 2),
        (vec![("/sinceSomeDay", json!({"deep": [1e300]}))], None, 2),
        (vec![("/receiptHandle", json!(7)), ("/awsRegion", json!([]))], None, 2),
        (vec![("/eventSource", Value::Null)], None, 2),
        (vec![("/attributes/AWSTraceHeader", json!({"Root": 1}))], None, 2),
        (vec![("/attributes/ApproximateReceiveCount", json!(3))], None, 3),
        (vec![("/attributes/ApproximateReceiveCount", json!("often"))], None, 1),
        (vec![("/attributes/ApproximateReceiveCount", json!("99999999999"))], None, 1),
        (vec![("/attributes/ApproximateReceiveCount", json!(-1))], None, 1),
        (vec![sent(json!(1_795_514_400_137_u64))], None, 2),
        (vec![sent(json!("yesterday"))], Some(first_receive), 2),
        (vec![sent(json!("1795514400"))], Some(first_receive), 2),
        (vec![sent(json!("-5"))], Some(first_receive), 2),
        (vec![sent(json!("99999999999999999999"))], Some(first_receive), 2),
        (vec![sent(Value::Null)], Some(first_receive), 2),
        (vec![sent(Value::Null), untimed], Some(NOW), 2),
        (vec![("/attributes", Value::Null)], Some(NOW), 1),
        (vec![("/attributes", json!("none"))], Some(NOW), 1),
        (vec![("/attributes", json!([{"SentTimestamp": "1795514400137"}]))], Some(NOW), 1),
    ] {
        let record = changed(&changes);
        let batch = json!({ "Records": [sound("before"), record, sound("after")], "since": 1 });
        let read = read(&batch).unwrap_or_else(|error| panic!("{record}: {error}"));
        assert_eq!((&read[0], &read[2]), (&read_one(&sound("before")), &read_one(&sound("after"))), "{record}");
        let expected = sent_at.unwrap_or(Millis(1_795_514_400_137));
        assert_eq!((read[1].sent_at, read[1].receive_count), (expected, receive_count), "{record}");
        assert_eq!((read[1].message_id.as_str(), &*read[1].body), ("m", "{\"chat_id\": \"c\"}"), "{record}");
    }
}

#[test]
fn unread_members_may_be_invalid() {
    let text = json!({ "Records": [changed(&[("/messageAttributes", json!("odd"))])] }).to_string();
    for odd in [r#""\ud800""#, "1e400", r#"{"a": 1, "a": 2}"#, &format!("{}{}", "[".repeat(5000), "]".repeat(5000))] {
        let event = RawValue::from_string(text.replace("\"odd\"", odd)).unwrap();
        assert_eq!(records(&event, None, NOW).unwrap(), [read_one(&sound("m"))], "{odd}");
    }
}

#[test]
fn a_body_that_is_not_a_string_is_an_invalid_trigger() {
    for (body, read) in [(Value::Null, ""), (json!(""), ""), (json!(7), "7"), (json!(["c"]), r#"["c"]"#)] {
        let record = read_one(&changed(&[("/body", body)]));
        assert_eq!((record.message_id.as_str(), &*record.body), ("m", read));
        let message = crate::message::Message::parse(&record, "postpress.bridge");
        assert!(matches!(message, crate::message::Message::Invalid(_)), "{message:?}");
    }
}

#[test]
fn other_events_are_described() {
    let sns = serde_json::from_str(include_str!("../../tests/data/event-sns-direct.json")).unwrap();
    let event_bridge = json!({
        "version": "0", "id": "1", "detail-type": "ChatOpened", "source": "crm", "detail": {"chat_id": "c"},
    });
    let cases = [
        sns,
        json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "s3": {"bucket": {}}}]}),
        json!({"Records": [{"kinesis": {"data": ""}, "eventSource": "aws:kinesis", "eventID": "shardId-0:1"}]}),
        json!({"Records": [{"eventID": "1", "eventSource": "aws:dynamodb", "dynamodb": {"Keys": {}}}]}),
        json!({"Records": [{"MessageId": "m", "Body": "{\"chat_id\": \"c\"}", "EventSource": "aws:sqs"}]}),
        json!({"Records": [{"MessageId": "m", "ReceiptHandle": "r", "Body": "{\"chat_id\": \"c\"}"}]}),
        json!({"Records": [{"cf": {"request": {}}}]}),
        json!({"Records": [sound("a"), changed(&[("/messageId", Value::Null)])]}),
        json!({"Records": [changed(&[("/messageId", json!(""))])]}),
        json!({"Records": [changed(&[("/messageId", json!(7))])]}),
        json!({"Records": [sound("a"), changed(&[("/eventSource", json!("aws:sns\n\u{1b}[2J"))])]}),
        json!({"Records": [changed(&[("/eventSource", json!(["aws:sqs"]))])]}),
        json!({"Records": [sound("a"), "b"]}),
        json!({"Records": [null]}),
        json!({"Records": []}),
        json!({"Records": {}}),
        json!({"Records": null}),
        json!({"records": [sound("a")]}),
        json!({"eventSource": "aws:kafka", "records": {"topic-0": []}}),
        event_bridge,
        json!({"chat_id": "c"}),
        json!({"postpress_bridge": "sweep", "v": 1}),
        json!({"version": "2.0", "rawPath": "/v1/syncs", "requestContext": {"http": {"method": "POST"}}}),
        json!({"key1": "value1", "key2": "value2", "key3": "value3"}),
        json!({}),
        json!([sound("a")]),
        json!("hello"),
        json!(7),
        json!(true),
        json!(null),
    ];
    let refusals: Vec<_> = cases.iter().map(refusal).collect();
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn errors_are_bounded_and_show_no_values() {
    let long = "x".repeat(100_000);
    let members: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("{n}{long}"), json!("hidden"))).collect();
    for event in [
        json!({"Records": [{"eventSource": long, "messageId": "hidden"}]}),
        json!({"Records": [members]}),
        json!({"detail-type": long, "source": long, "detail": "hidden"}),
        Value::Object(members.clone()),
    ] {
        let refusal = refusal(&event);
        assert!(refusal.len() < 2000 && !refusal.contains("hidden"), "{refusal}");
    }
}

#[test]
fn log_and_caller_get_the_same_error() {
    let error = read(&json!([])).unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    let diagnostic = lambda_runtime::Diagnostic::from(error.clone());
    assert_eq!((&*diagnostic.error_type, diagnostic.error_message), ("bridge/unknown_event", error.to_string()));
}

#[test]
fn messages_keep_their_trace_with_the_invocations_lineage() {
    let message = |header: Option<&str>| {
        let mut message = json!({"messageId": "m", "attributes": {"SentTimestamp": "1795514400137"}});
        if let Some(header) = header {
            message["attributes"]["AWSTraceHeader"] = header.into();
        }
        message
    };
    let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let event = raw(&json!({"Records": [message(Some(root)), message(None), message(Some("none"))]}));
    let headers = |invocation| {
        let records = records(&event, invocation, NOW).unwrap();
        records.iter().map(|record| record.trace().to_string()).collect::<Vec<_>>()
    };
    let new = TraceHeader::of_message(&MessageId::new("m"), Millis(1_795_514_400_137)).to_string();
    assert_eq!(headers(None), [root, &new, &new]);
    let invocation = "Root=1-11111111-222222222222222222222222;Parent=1111111111111111;Sampled=1;Lineage=1:a:5";
    let counted = |header: &str| format!("{header};Sampled=1;Lineage=1:a:5");
    assert_eq!(headers(Some(invocation)), [counted(root), counted(&new), counted(&new)]);
}

#[test]
fn the_response_lists_returned_messages_once() {
    let returned = ["a", "b", "a"].map(MessageId::new);
    let json = serde_json::to_string(&BatchResponse::returning(returned.iter())).unwrap();
    assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#);
    let read: aws_lambda_events::sqs::SqsBatchResponse = serde_json::from_str(&json).unwrap();
    assert_eq!(read.batch_item_failures.len(), 2);
    assert_eq!(serde_json::to_string(&BatchResponse::returning([].iter())).unwrap(), r#"{"batchItemFailures":[]}"#);
}
