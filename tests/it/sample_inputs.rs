//! Checks the events in `events/` for `cargo lambda invoke`: as complete as those of Lambda, and what their names say.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::path::Path;

use md5::{Digest, Md5};
use postpress_bridge::ids::TriggerKey;
use postpress_bridge::lambda;
use postpress_bridge::message::Message;
use postpress_bridge::settings::DEFAULT_EVENT_SOURCE;
use postpress_bridge::time::Millis;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::harness::files::read_files;

/// Every JSON file directly in `events/`, by name.
pub(crate) fn inputs() -> BTreeMap<String, String> {
    let mut files = read_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("events"));
    files.retain(|name, _| name.ends_with(".json"));
    files
}

/// The expected kind of a record.
#[derive(Debug)]
enum Expected {
    /// A trigger of this chat with this key.
    Trigger {
        chat: &'static str,
        key: &'static str,
    },
    Poll {
        chat: &'static str,
    },
    Cancel {
        chat: &'static str,
    },
    Sweep,
    OwnEvent,
    Invalid,
}

impl Expected {
    fn fits(&self, message: &Message) -> bool {
        match (self, message) {
            (Self::Trigger { chat, key }, Message::Trigger(trigger)) => {
                trigger.subject.id() == *chat && trigger.key == TriggerKey::of(key)
            }
            (Self::Poll { chat }, Message::Poll(poll)) => poll.subject.id() == *chat,
            (Self::Cancel { chat }, Message::Cancel(cancel)) => cancel.subject.id() == *chat,
            (Self::Sweep, Message::Sweep)
            | (Self::OwnEvent, Message::OwnEvent)
            | (Self::Invalid, Message::Invalid(_)) => true,
            _ => false,
        }
    }
}

#[test]
fn each_record_is_what_the_name_of_its_file_says() {
    let mut inputs = inputs();
    for (name, expected) in [
        (
            "mixed-batch.json",
            &[
                // Without a key in the body, the message id is the key.
                Expected::Trigger { chat: "done-in-1s~6", key: "49990522-cd3f-55d1-8faa-1ca107c8d81a" },
                Expected::Invalid,
                Expected::OwnEvent,
                Expected::Trigger { chat: "deleted~9", key: "a50a23ad-5e52-50ba-aae3-64bf6319a835" },
            ][..],
        ),
        ("poll.json", &[Expected::Poll { chat: "done-in-1s~10" }]),
        ("sweep.json", &[Expected::Sweep]),
        (
            "trigger-batch.json",
            &[
                Expected::Trigger { chat: "done-in-1s~1", key: "crm-8841" },
                Expected::Trigger { chat: "error-in-1s~2", key: "8da22f80-c08b-58d2-b6c7-cef0ccdca90e" },
                Expected::Trigger { chat: "deleted~3", key: "92dd89c9-4f7b-5556-a370-5f3682e96da8" },
            ],
        ),
        // The id of the wrapping event takes precedence over the message id.
        (
            "trigger-eventbridge.json",
            &[Expected::Trigger { chat: "done-in-1s~4", key: "bd120be2-ec9e-5e16-8a3e-16eaa4b69d26" }],
        ),
        (
            "trigger-options.json",
            &[
                Expected::Trigger { chat: "done-in-2-chunks-of-1s~12", key: "dacd5eaf-0563-5a5c-a734-b1e264368361" },
                Expected::Trigger { chat: "done-in-1s~13", key: "caf9bc18-0551-5e7b-901d-86a8921abc8c" },
                Expected::Cancel { chat: "done-in-1s~14" },
            ],
        ),
        (
            "trigger-sns.json",
            &[Expected::Trigger { chat: "done-in-1s~5", key: "99a4998f-a5f3-5222-acc0-b7780f126d06" }],
        ),
    ] {
        let text = inputs.remove(name).unwrap_or_else(|| panic!("events/{name} is missing"));
        let event = RawValue::from_string(text).unwrap_or_else(|error| panic!("events/{name}: {error}"));
        let records = lambda::records(&event, None, Millis(u64::MAX)).unwrap();
        assert_eq!(records.len(), expected.len(), "events/{name}");
        for (record, expected) in iter::zip(&records, expected) {
            let message = Message::parse(record, DEFAULT_EVENT_SOURCE);
            assert!(expected.fits(&message), "events/{name}: {expected:?} is {message:?}");
        }
    }
    assert!(inputs.is_empty(), "add these to the test: {:?}", inputs.keys());
}

#[test]
fn each_record_has_all_that_sqs_sends() {
    let mut ids = BTreeSet::new();
    for (name, text) in inputs() {
        let event: Value = serde_json::from_str(&text).unwrap();
        for record in event["Records"].as_array().unwrap() {
            let text = |pointer: &str| match record.pointer(pointer) {
                Some(Value::String(text)) if !text.is_empty() => text,
                other => panic!("events/{name}: `{pointer}` is {other:?}"),
            };
            let number = |pointer: &str| text(pointer).parse::<u64>().unwrap();
            assert!(ids.insert(text("/messageId").clone()), "events/{name}: repeated message id");
            text("/receiptHandle");
            assert_eq!(*text("/md5OfBody"), md5_hex(text("/body")), "events/{name}: {}", text("/messageId"));
            assert_eq!(number("/attributes/ApproximateReceiveCount"), 1);
            let (sent, received) = ("/attributes/SentTimestamp", "/attributes/ApproximateFirstReceiveTimestamp");
            assert!(number(sent) <= number(received), "events/{name}");
            text("/attributes/SenderId");
            assert!(record["messageAttributes"].is_object(), "events/{name}");
            assert_eq!(text("/eventSource"), "aws:sqs");
            let arn = format!("arn:aws:sqs:{}:", text("/awsRegion"));
            assert!(text("/eventSourceARN").starts_with(&arn), "events/{name}");
        }
    }
    assert!(!ids.is_empty());
}

fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
