//! The payloads of the worker's invocations: those refused as a whole, and those that affect at most one record. The real program,
//! in a debug build, with an emulated AWS and with its memory backend.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use postpress_bridge::ids::Subject;
use postpress_bridge::simulator::{Faults, Server, Simulator};
use postpress_bridge::store::RunStore;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::harness::canary::CANARY;
use crate::harness::emulator::{self, Emulated};
use crate::harness::lambda::{Deadline, Environment, Function, Outcome};

const MINUTE: Duration = Duration::from_mins(1);

/// A process of the worker and its environment.
struct World {
    aws: Emulated,
    simulator: Simulator,
    function: Function,
    environment: Environment,
}

impl World {
    /// Both backends, each with an idle process.
    async fn both() -> [Self; 2] {
        [Self::start("aws").await, Self::start("memory").await]
    }

    async fn start(backend: &str) -> Self {
        let (aws, simulator) = (Emulated::new().await, Simulator::new(Faults::default()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(address, simulator.clone()).await.unwrap();
        let settings = [
            ("BRIDGE_BACKEND", backend),
            ("AWS_ENDPOINT_URL", &*emulator::endpoint()),
            ("BRIDGE_QUEUE_URL", &aws.queue_url),
            ("BRIDGE_TABLE", &aws.table),
            ("BRIDGE_EVENT_BUS", &aws.bus),
            ("POSTPRESS_BASE_URL", &server.base_url()),
            ("POSTPRESS_API_KEY", CANARY),
        ];
        let function = Function::of(env!("CARGO_BIN_EXE_sync-worker").into(), settings, MINUTE);
        tokio::spawn(server.run(std::future::pending()));
        let environment = Environment::start(&function).await.unwrap();
        Self { aws, simulator, function, environment }
    }

    async fn invoke(&mut self, event: &Value) -> Outcome {
        let (_faults, mut no_faults) = broadcast::channel(1);
        self.environment.invoke(event, Deadline::after(MINUTE), &mut no_faults).await
    }

    /// Handles a batch of which no message is returned.
    async fn handle(&mut self, records: &[Value]) {
        match self.invoke(&json!({ "Records": records })).await {
            Outcome::Answered(answer) => {
                assert_eq!(answer, json!({ "batchItemFailures": [] }), "{}", self.function.log());
            }
            other => panic!("{other:?}: {}", self.function.log()),
        }
    }
}

/// A record with a trigger for this chat, whose sync ends at once.
fn record(message_id: &str, chat: &str) -> Value {
    json!({
        "messageId": message_id,
        "receiptHandle": "of a message that the queue does not hold",
        "body": json!({ "chat_id": chat }).to_string(),
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1795514400137" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    })
}

/// The record with another value at this place.
fn with(mut record: Value, pointer: &str, value: Value) -> Value {
    *record.pointer_mut(pointer).unwrap() = value;
    record
}

#[tokio::test]
async fn other_events_fail_the_invocation_before_any_claim() {
    let sns: Value = serde_json::from_str(include_str!("../data/event-sns-direct.json")).unwrap();
    let foreign = |source: &str| json!({"eventSource": source, "eventName": "e"});
    let cases = [
        (sns, r#"`EventSource` \"aws:sns\""#, "subscribe the queue to the topic, and map the queue to this function"),
        (json!({"Records": [foreign("aws:s3")]}), r#"`eventSource` \"aws:s3\""#, "is not a trigger"),
        (
            json!({"Records": [foreign("aws:kinesis")]}),
            r#"`eventSource` \"aws:kinesis\""#,
            "send triggers to the queue",
        ),
        (
            json!({"Records": [foreign("aws:dynamodb")]}),
            r#"`eventSource` \"aws:dynamodb\""#,
            "send triggers to the queue",
        ),
        (
            json!({"Records": [record("m", "deleted~c"), foreign("aws:s3")]}),
            r#"record 2 of 2 has `eventSource` \"aws:s3\""#,
            "map the queue",
        ),
        (
            json!({"Records": [record("m", "deleted~c"), {"MessageId": "n", "Body": "{\"chat_id\": \"deleted~c\"}"}]}),
            "record 2 of 2 has no `messageId`",
            "map the queue",
        ),
        (
            json!({"Records": [with(record("m", "deleted~c"), "/messageId", "".into())]}),
            "has no `messageId`",
            "map the queue",
        ),
        (
            json!({"Records": [with(record("m", "deleted~c"), "/messageId", Value::Null)]}),
            "has no `messageId`",
            "map the queue",
        ),
        (json!({"Records": []}), "has no records", "map the queue"),
        (
            json!({"id": "1", "detail-type": "ChatOpened", "source": "crm", "detail": {"chat_id": "deleted~c"}}),
            r#"an EventBridge event, \"ChatOpened\" from \"crm\""#,
            "make the queue the rule's target",
        ),
        (json!({"chat_id": "deleted~c"}), "a bare trigger", "send it to the queue"),
        (json!({"key1": "value1"}), r#"an object with \"key1\""#, "map the queue"),
        (json!([record("m", "deleted~c")]), "an array", "map the queue"),
        (json!("deleted~c"), "a string", "map the queue"),
        (Value::Null, "null", "map the queue"),
    ];
    for mut world in World::both().await {
        for (event, what, remedy) in &cases {
            let said = world.function.log().lines().count();
            let Outcome::Failed(error) = world.invoke(event).await else { panic!("{event}: {}", world.function.log()) };
            assert!(error.contains("bridge/unknown_event"), "{event}: {error}");
            assert!(error.contains(what) && error.contains(remedy), "{event}: {error}");
            let log = world.function.log();
            let errors: Vec<Value> = log.lines().skip(said).map(|line| serde_json::from_str(line).unwrap()).collect();
            let errors: Vec<_> = errors.iter().filter(|line| line["level"] == "ERROR").collect();
            let [line] = &errors[..] else { panic!("{event}: {log}") };
            assert!(line.to_string().contains(what) && line.to_string().contains(remedy), "{event}: {line}");
        }
        assert_eq!(world.simulator.stats().total.calls, 0);
        for chat in ["deleted~c", "c1"] {
            let read = world.aws.store(&world.aws.sdk).read(&Subject::chat(chat).unwrap()).await.unwrap();
            assert_eq!(read, None, "{chat}");
        }
        // The same process continues.
        world.handle(&[record("m", "deleted~c")]).await;
        assert_eq!(world.simulator.stats().total.calls, 1);
    }
}

#[tokio::test]
async fn records_with_odd_members_are_handled() {
    let odd = [
        with(record("m1", "deleted~1"), "/messageAttributes", json!({"a": {"dataType": 7, "stringValue": ["x"]}})),
        with(record("m2", "deleted~2"), "/messageAttributes", json!("none")),
        with(record("m3", "deleted~3"), "/attributes", json!(["none"])),
        with(record("m4", "deleted~4"), "/attributes/SentTimestamp", json!("yesterday")),
        with(record("m5", "deleted~5"), "/attributes/ApproximateReceiveCount", json!(1)),
        with(record("m6", "deleted~6"), "/receiptHandle", json!(7)),
        // An invalid trigger is answered, whatever it is.
        with(record("m7", "deleted~7"), "/body", Value::Null),
        with(record("m8", "deleted~8"), "/body", json!(17)),
    ];
    for mut world in World::both().await {
        world.handle(&odd).await;
        assert_eq!(world.simulator.stats().total.calls, 6, "{}", world.function.log());
        let log = world.function.log();
        let untimed = log.lines().filter(|line| line.contains("without a readable `SentTimestamp`")).count();
        assert_eq!(untimed, 2, "{log}");
        assert!(!log.contains(r#""level":"ERROR""#), "{log}");
    }
}

#[tokio::test]
async fn two_deliveries_in_a_batch_are_one_trigger() {
    for mut world in World::both().await {
        let twice = [record("m", "deleted~c"), record("m", "deleted~c")];
        let Outcome::Answered(answer) = world.invoke(&json!({ "Records": twice })).await else {
            panic!("{}", world.function.log());
        };
        // The delivery that finds the other's claim is returned, under the id of both.
        let returned = answer["batchItemFailures"].as_array().unwrap();
        assert!(returned.len() <= 1, "{answer}");
        assert!(returned.iter().all(|failure| failure["itemIdentifier"] == "m"), "{answer}");
        assert_eq!(world.simulator.stats().total.calls, 1, "{}", world.function.log());
    }
}
