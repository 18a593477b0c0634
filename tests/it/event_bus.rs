//! The contract of every event bus, and the bytes that EventBridge receives.

use std::collections::BTreeSet;

use postpress_bridge::bus::{EventBridgeBus, EventBus, MemoryBus};
use postpress_bridge::event::Event;
use postpress_bridge::ids::MessageId;
use postpress_bridge::message::{Message, Record};
use postpress_bridge::run::Publication;
use postpress_bridge::service::ServiceError;
use postpress_bridge::settings::DEFAULT_EVENT_SOURCE;
use postpress_bridge::time::Millis;
use serde_json::Value;

use crate::harness::emulator::{self, Emulated};
use crate::harness::proxy::{Fault, Of, Proxy};

const PUTS: Of = Of("PutEvents", "");
/// The chat whose event fails on an unlucky bus.
const UNLUCKY: &str = "unlucky";

/// A bus for one test, and its subscriber.
trait TestBus: Sized {
    async fn open() -> Self;
    /// A bus that throttles events of the chat [`UNLUCKY`].
    async fn open_unlucky() -> Self;
    fn bus(&self) -> &impl EventBus;
    /// The events that the subscriber received.
    async fn received(&self) -> Vec<Value>;
}

impl TestBus for MemoryBus {
    async fn open() -> Self {
        Self::default()
    }

    async fn open_unlucky() -> Self {
        let throttled = ServiceError::Throttled("ThrottlingException".to_owned());
        let fault = move |event: &Event| (event.resources() == [UNLUCKY]).then(|| throttled.clone());
        Self::default().with_faults(Box::new(fault))
    }

    fn bus(&self) -> &impl EventBus {
        self
    }

    async fn received(&self) -> Vec<Value> {
        let lines = self.events().into_iter().map(|event| event.to_line(DEFAULT_EVENT_SOURCE));
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    }
}

struct OnEventBridge {
    aws: Emulated,
    proxy: Proxy,
    bus: EventBridgeBus,
}

impl TestBus for OnEventBridge {
    async fn open() -> Self {
        let (aws, proxy) = (Emulated::new().await, Proxy::start(emulator::endpoint()).await);
        let bus = aws.bus(&emulator::sdk(proxy.endpoint()));
        Self { aws, proxy, bus }
    }

    async fn open_unlucky() -> Self {
        let this = Self::open().await;
        this.proxy.once(Of("PutEvents", UNLUCKY), Fault::EntriesFail(UNLUCKY, "ThrottlingException"));
        this
    }

    fn bus(&self) -> &impl EventBus {
        &self.bus
    }

    async fn received(&self) -> Vec<Value> {
        self.aws.take_events().await
    }
}

/// Runs the whole suite for each bus.
macro_rules! contract {
    ($($bus:ident: $open:ty;)*) => {$(
        mod $bus {
            use super::*;

            #[tokio::test]
            async fn subscribers_get_events_unchanged() {
                super::subscribers_get_events_unchanged::<$open>().await;
            }

            #[tokio::test]
            async fn a_failing_event_fails_alone() {
                super::a_failing_event_fails_alone::<$open>().await;
            }
        }
    )*};
}

contract! {
    memory: MemoryBus;
    eventbridge: OnEventBridge;
}

/// An event about a trigger for this chat with this metadata.
fn event(chat: &str, metadata: &str) -> Event {
    let record = Record {
        message_id: MessageId::new(format!("message of {chat}")),
        receipt_handle: String::new(),
        body: format!(r#"{{"chat_id": "{chat}", "correlation_id": "„ö“ \"\\", "metadata": {metadata}}}"#),
        sent_at: Millis(1_795_514_400_000),
        receive_count: 1,
        trace: None,
        group: None,
    };
    match Message::parse(&record, DEFAULT_EVENT_SOURCE) {
        Message::Trigger(trigger) => Publication::TooManyTriggers(Box::new(trigger)).into(),
        other => panic!("{other:?}"),
    }
}

async fn subscribers_get_events_unchanged<B: TestBus>() {
    let bus = B::open().await;
    let events: Vec<_> = (0..12).map(|n| event(&format!("chat {n}\u{1f41f}"), &format!(r#"{{"n": {n}}}"#))).collect();
    assert_eq!(bus.bus().publish(&events, None).await, vec![Ok(()); events.len()]);
    let parts = |event: &Value| {
        let fields = ["source", "detail-type", "resources", "detail"];
        fields.map(|field| event[field].to_string()).join(" ")
    };
    let published =
        events.iter().map(|event| parts(&serde_json::from_str(&event.to_line("postpress.bridge")).unwrap()));
    let received = bus.received().await;
    assert_eq!(received.len(), events.len());
    assert_eq!(received.iter().map(parts).collect::<BTreeSet<_>>(), published.collect());
}

async fn a_failing_event_fails_alone<B: TestBus>() {
    let bus = B::open_unlucky().await;
    let events = [event("a", "{}"), event(UNLUCKY, "{}"), event("b", "{}")];
    let results = bus.bus().publish(&events, None).await;
    assert!(matches!(&results[..], [Ok(()), Err(error), Ok(())] if error.is_retryable()), "{results:?}");
    let chats: BTreeSet<_> = bus.received().await.iter().map(|event| event["resources"][0].to_string()).collect();
    assert_eq!(chats, [r#""a""#, r#""b""#].map(str::to_owned).into());
}

#[tokio::test]
async fn an_event_without_a_result_is_not_published() {
    let cases = [
        (r#"{"FailedEntryCount": 0, "Entries": []}"#, "??"),
        (r#"{"FailedEntryCount": 0}"#, "??"),
        ("{}", "??"),
        (r#"{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}"#, "p?"),
        (r#"{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}, {}]}"#, "p?"),
        (r#"{"FailedEntryCount": 0, "Entries": [{}, {"EventId": "2"}]}"#, "?p"),
        (r#"{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}, {"EventId": "2"}, {"EventId": "3"}]}"#, "pp"),
    ];
    for (answer, expected) in cases {
        let on = OnEventBridge::open().await;
        on.proxy.once(PUTS, Fault::Says(answer));
        let results = on.bus.publish(&[event("a", "{}"), event("b", "{}")], None).await;
        let letters = results.iter().map(|result| match result {
            Ok(()) => 'p',
            Err(error) if error.is_retryable() => '?',
            Err(_) => 'r',
        });
        assert_eq!(letters.collect::<String>(), expected, "{answer}: {results:?}");
    }
}

#[tokio::test]
async fn details_are_sent_byte_for_byte() {
    let metadata = [
        r#"{"b":0.1000, "a" : 12345678901234567890123,"a":-0.0}"#,
        r#"{ "é":"\u00e9\/", "deep": [1e5, 1E+5, {}], "fish": "🐟", "nul": "\u0000" }"#,
    ];
    let on = OnEventBridge::open().await;
    let events = metadata.map(|metadata| event("c", metadata));
    assert_eq!(on.bus.publish(&events, None).await, [Ok(()), Ok(())]);
    let [put] = &on.proxy.seen(PUTS)[..] else { panic!("not one request") };
    for ((entry, event), metadata) in put.entries().iter().zip(&events).zip(metadata) {
        let detail = entry["Detail"].as_str().unwrap();
        assert_eq!(detail, event.detail_json());
        assert!(detail.contains(metadata), "{detail}");
        assert_eq!(entry["EventBusName"], on.aws.bus);
    }
}

#[tokio::test]
async fn events_use_as_few_requests_as_possible() {
    let on = OnEventBridge::open().await;
    let events = vec![event("c", "{}"); 25];
    assert_eq!(on.bus.publish(&events, None).await, vec![Ok(()); 25]);
    let mut requests: Vec<_> = on.proxy.seen(PUTS).iter().map(|put| put.entries().len()).collect();
    requests.sort_unstable();
    assert_eq!(requests, [5, 10, 10]);
}
