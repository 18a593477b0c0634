//! Keeps `events/samples/` equal to what the bridge publishes: one event of each kind, as a rule on the bus receives it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use postpress_bridge::event::{Detail, DetailType, Event};
use postpress_bridge::ids::{MessageId, RunId, TriggerKey, Workspace};
use postpress_bridge::message::{Message, Record};
use postpress_bridge::postpress::{Envelope, Finish};
use postpress_bridge::run::{
    EndedBy, EndedRun, Ending, FreshAnswer, Origin, Outcome, Publication, Trigger, TriggerMessage, bridge_error,
};
use postpress_bridge::settings::DEFAULT_EVENT_SOURCE;
use postpress_bridge::time::Millis;
use serde::Serialize;
use uuid::Uuid;

use crate::harness::files::assert_same_files;

const CHAT: &str = "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR";
const ACCOUNT: &str = "account_01HXYZ7C5M2ZP4T0Q9V6K8R1DB";
/// 2026-11-24T10:00:00Z.
const REQUESTED_AT: Millis = Millis(1_795_514_400_000);
const LASTED: Duration = Duration::from_secs(250);

/// The samples, by the name of their files.
pub(crate) fn samples() -> [(&'static str, Event); 11] {
    let sync = |status: Finish| Ending::Sync { status };
    [
        ("sync-done", ended(1, sync(Finish::Done))),
        ("sync-error", ended(2, sync(Finish::Error))),
        ("chat-deleted", ended(3, sync(Finish::Deleted))),
        ("error-envelope", ended(4, Ending::Error { error: not_found(), origin: Origin::Postpress })),
        ("account-sync-done", account()),
        ("sync-done-fresh", fresh()),
        ("run-cancelled", cancelled()),
        ("waited-too-long", Publication::WaitedTooLong(Box::new(trigger())).into()),
        ("unknown-workspace", unknown_workspace()),
        ("too-many-triggers", Publication::TooManyTriggers(Box::new(trigger())).into()),
        ("invalid-trigger", invalid_trigger()),
    ]
}

/// The event of a run that a cancel ended.
fn cancelled() -> Event {
    let mut run = ended_run(6, Ending::Error { error: bridge_error::cancelled(), origin: Origin::Bridge });
    run.outcome.ended_by = EndedBy::Cancelled;
    Publication::Ending(Box::new(run)).into()
}

/// The event that answers a trigger whose workspace is not configured.
fn unknown_workspace() -> Event {
    let workspace = Workspace::parse("team-7").unwrap();
    let trigger = trigger();
    let trigger = TriggerMessage { subject: trigger.subject.in_workspace(workspace), ..trigger };
    Publication::UnknownWorkspace(Box::new(trigger)).into()
}

/// The event of an account's run.
fn account() -> Event {
    let body = format!(r#"{{"account_id": "{ACCOUNT}", "resync": {{"partial": true, "chunk_size": 50}}}}"#);
    let Message::Trigger(TriggerMessage { subject, resync, trigger, .. }) = read(&body) else { panic!("{body}") };
    let run = EndedRun { subject, resync, triggers: vec![trigger], chunks: 3, ..ended_run(5, Finish::Done.into()) };
    Publication::Ending(Box::new(run)).into()
}

/// The event that answers a later trigger with the run of `sync-done`.
fn fresh() -> Event {
    let trigger = Trigger {
        message_id: MessageId::new("9b2c1f9e-6d1a-4a55-8e0f-1f4b0a7c3d21"),
        correlation_id: Some("order-18".to_owned()),
        idempotency_key: None,
        metadata: None,
        requested_at: REQUESTED_AT + Duration::from_secs(1000),
        joined: false,
    };
    let run = ended_run(1, Ending::Sync { status: Finish::Done });
    let key = TriggerKey::of(trigger.message_id.as_str());
    Publication::Fresh(Box::new(FreshAnswer { run, key, trigger })).into()
}

/// The event of a run with this ending.
fn ended(run: u128, ending: Ending) -> Event {
    Publication::Ending(Box::new(ended_run(run, ending))).into()
}

/// A run with this ending: requested by one message, joined by another.
fn ended_run(run: u128, ending: Ending) -> EndedRun {
    let first = trigger();
    let second = Trigger {
        message_id: MessageId::new("d3a0dc45-7f1e-4b0f-9e0a-6f1b4c5e8a90"),
        correlation_id: None,
        idempotency_key: None,
        metadata: None,
        requested_at: REQUESTED_AT + Duration::from_secs(42),
        joined: true,
    };
    EndedRun {
        subject: first.subject,
        resync: first.resync,
        run_id: RunId::from_random(0x2d7c_61a8_54b3_4e09_9f10_83c2_d6e5_0f00 + run),
        outcome: Outcome { ending, ended_by: EndedBy::Answer, finished_at: REQUESTED_AT + LASTED },
        triggers: vec![first.trigger, second],
        polls: 7,
        restarts: 0,
        chunks: 0,
    }
}

fn not_found() -> Envelope {
    Envelope {
        title: "Resource not found".to_owned(),
        detail: Some("The requested chat does not exist.".to_owned()),
        instance: Some("req_01HXYZ5V0N3C8KQ4W2D7B6M9TA".to_owned()),
        kind: "errors/resource_not_found".to_owned(),
        status: 404,
    }
}

fn read(body: &str) -> Message {
    let record = Record {
        message_id: MessageId::new("5fea7756-0ea4-451a-a703-a558b933e274"),
        receipt_handle: "r".to_owned(),
        body: body.to_owned(),
        sent_at: REQUESTED_AT,
        receive_count: 1,
        trace: None,
        group: None,
    };
    Message::parse(&record, DEFAULT_EVENT_SOURCE)
}

fn trigger() -> TriggerMessage {
    let body = format!(
        r#"{{"chat_id": "{CHAT}", "correlation_id": "order-17", "idempotency_key": "crm-8841", "metadata": {{"team": "sales"}}}}"#
    );
    match read(&body) {
        Message::Trigger(trigger) => trigger,
        other => panic!("{other:?}"),
    }
}

fn invalid_trigger() -> Event {
    match read(&format!(r#"{{"chat_id": "{CHAT}", "correlation_id": 17}}"#)) {
        Message::Invalid(invalid) => Event::of_invalid_trigger(invalid),
        other => panic!("{other:?}"),
    }
}

/// The event with what EventBridge adds.
/// <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct OnTheBus<'a> {
    version: &'static str,
    id: Uuid,
    detail_type: DetailType,
    source: &'static str,
    account: &'static str,
    time: String,
    region: &'static str,
    resources: Vec<String>,
    detail: &'a Detail,
}

fn on_the_bus(name: &str, event: &Event) -> String {
    let published_at = event.detail.finished_at.unwrap_or(event.detail.triggers[0].requested_at);
    let event = OnTheBus {
        version: "0",
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
        detail_type: event.detail_type,
        source: DEFAULT_EVENT_SOURCE,
        account: "123456789012",
        time: published_at.to_string().replace(".000Z", "Z"),
        region: "eu-west-1",
        resources: event.resources(),
        detail: &event.detail,
    };
    serde_json::to_string_pretty(&event).unwrap() + "\n"
}

#[test]
fn samples_equal_published_events() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/samples");
    let expected: BTreeMap<_, _> =
        samples().iter().map(|(name, event)| (format!("{name}.json"), on_the_bus(name, event))).collect();
    if env::var_os("UPDATE_SAMPLES").is_some() {
        expected.iter().for_each(|(name, text)| fs::write(directory.join(name), text).unwrap());
    }
    assert_same_files(&directory, &expected, "UPDATE_SAMPLES=1 cargo test --test it sample_events");
}

#[test]
fn every_detail_type_has_a_sample() {
    let samples = samples();
    for detail_type in DetailType::ALL {
        assert!(samples.iter().any(|(_, event)| event.detail_type == detail_type), "{detail_type:?}");
    }
}
