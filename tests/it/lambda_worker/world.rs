//! The worker's surroundings, and what the tests observe of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, QueueAttributeName, SendMessageBatchRequestEntry};
use postpress_bridge::event::Detail;
use postpress_bridge::simulator::{Faults, Server, Simulator};
use postpress_bridge::time::Clock;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::harness::canary::CANARY;
use crate::harness::emulator::{self, Emulated};
use crate::harness::lambda::{Figures, Function, Lambda, Mapping, sync_worker};

/// The time limit of these tests.
const LONG: Duration = Duration::from_mins(8);
/// The maximum of SQS's batch operations.
const ENTRIES_MAX: usize = 10;
/// How many receives make a message a dead letter.
const MAX_RECEIVE_COUNT: u32 = 10;

/// An AWS account and a provider, without a worker yet.
pub(super) struct World {
    pub(super) aws: Emulated,
    pub(super) simulator: Simulator,
    /// When the simulator's clock began, since 1970.
    pub(super) began_ms: u64,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) base_url: String,
}

/// An event as delivered to a subscriber's queue.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Published {
    pub(super) detail_type: String,
    pub(super) resources: Vec<String>,
    pub(super) detail: Detail,
}

impl World {
    /// A world where a message that is not deleted is delivered again after `visibility`.
    pub(super) async fn start(faults: Faults, visibility: Duration) -> Self {
        Self::with_dead_letters_after(faults, visibility, MAX_RECEIVE_COUNT).await
    }

    /// The same, where a message becomes a dead letter after `max_receive_count` receives.
    pub(super) async fn with_dead_letters_after(faults: Faults, visibility: Duration, max_receive_count: u32) -> Self {
        // Before anything waits for an answer, since it may have to be built.
        sync_worker();
        let aws = Emulated::with(visibility, max_receive_count).await;
        let sqs = aws_sdk_sqs::Client::new(&aws.sdk);

        let (began_ms, simulator) = (Clock::System.now().0, Simulator::new(faults));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(address, simulator.clone()).await.unwrap();
        let base_url = server.base_url();
        tokio::spawn(server.run(std::future::pending()));
        Self { aws, simulator, began_ms, sqs, base_url }
    }

    /// The worker, configured for this world; `settings` override.
    pub(super) fn worker(&self, timeout: Duration, settings: &[(&str, &str)]) -> Lambda {
        self.function(sync_worker(), timeout, settings)
    }

    /// This program in the worker's place.
    pub(super) fn function(&self, program: PathBuf, timeout: Duration, settings: &[(&str, &str)]) -> Lambda {
        let aws = &self.aws;
        let common = [
            ("AWS_ENDPOINT_URL", &*emulator::endpoint()),
            ("BRIDGE_QUEUE_URL", &aws.queue_url),
            ("BRIDGE_TABLE", &aws.table),
            ("BRIDGE_EVENT_BUS", &aws.bus),
            ("POSTPRESS_BASE_URL", &self.base_url),
            ("POSTPRESS_API_KEY", CANARY),
        ];
        Lambda::new(Function::of(program, common.iter().chain(settings).copied(), timeout))
    }

    /// The event source mapping of the worker's queue.
    pub(super) fn mapping(&self) -> Mapping {
        Mapping::new(self.sqs.clone(), &self.aws.queue_url)
    }

    /// Puts triggers on the queue, in order.
    pub(super) async fn send(&self, triggers: &[Value]) {
        for triggers in triggers.chunks(ENTRIES_MAX) {
            let entries = triggers.iter().enumerate().map(|(index, trigger)| {
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
                entry.message_body(trigger.to_string()).build().unwrap()
            });
            let request = self.sqs.send_message_batch().queue_url(&self.aws.queue_url);
            let sent = request.set_entries(Some(entries.collect())).send().await.unwrap();
            assert!(sent.failed().is_empty(), "{:?}", sent.failed());
        }
    }

    /// Feeds the worker while `meanwhile` runs, and then until the queue is empty. Asserts that no invocation failed and no
    /// message became a dead letter.
    pub(super) async fn work(
        &self,
        worker: &Lambda,
        mapping: &Mapping,
        meanwhile: impl Future<Output = ()>,
    ) -> Figures {
        let stop = async {
            meanwhile.await;
            self.drained().await;
        };
        let Ok(figures) = timeout(LONG, mapping.run(worker, stop)).await else {
            panic!("not done after {LONG:?}: {:?}\n{}", self.simulator.stats().total, worker.function.log());
        };
        assert!(figures.failed.is_empty(), "{figures:?}\n{}", worker.function.log());
        assert_eq!(self.messages(&self.aws.dead_letter_url).await, 0, "{}", worker.function.log());
        self.aws.assert_keeps_no_secret().await;
        figures
    }

    /// Waits until the queue is empty.
    pub(super) async fn drained(&self) {
        while !self.aws.queue_is_empty().await {
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// Receives the dead letters.
    pub(super) async fn dead_letters(&self) -> Vec<Message> {
        let mut letters = Vec::new();
        loop {
            let request = self.sqs.receive_message().queue_url(&self.aws.dead_letter_url).max_number_of_messages(10);
            let received = request.send().await.unwrap().messages.unwrap_or_default();
            if received.is_empty() {
                return letters;
            }
            letters.extend(received);
        }
    }

    /// The number of messages in a queue, visible or not.
    async fn messages(&self, queue_url: &str) -> u32 {
        const COUNTS: [QueueAttributeName; 3] = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let request = self.sqs.get_queue_attributes().queue_url(queue_url).set_attribute_names(Some(COUNTS.into()));
        let attributes = request.send().await.unwrap().attributes.unwrap();
        COUNTS.iter().map(|count| attributes[count].parse::<u32>().unwrap()).sum()
    }

    /// The events that the subscriber received since the last call.
    pub(super) async fn published(&self) -> Vec<Published> {
        let read = |event: serde_json::Value| serde_json::from_value(event).unwrap();
        self.aws.take_events().await.into_iter().map(read).collect()
    }
}
