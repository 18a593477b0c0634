//! The event source mapping between a queue and the function: receives, invokes, deletes handled messages.
//!
//! As on AWS, it leaves failed messages alone, and a failed invocation deletes nothing:
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Lambda, Outcome};
use crate::harness::emulator::REGION;

/// The maximum of `ReceiveMessage` and `DeleteMessageBatch`.
const ENTRIES_MAX: usize = 10;
const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:123456789012:bridge";

/// How a message reaches the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Once, as nearly always.
    Once,
    /// It is visible again at once, so that it may be delivered again while it is being handled.
    VisibleAgain,
    /// Its deletion is lost, so that it is delivered again long after it was handled.
    DeletionLost,
}

/// An event source mapping.
pub(crate) struct Mapping {
    pub(crate) sqs: Client,
    pub(crate) queue_url: String,
    /// `BatchSize`.
    pub(crate) batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`: how long to wait for a batch to fill once it has a message.
    pub(crate) batch_window: Duration,
    /// `MaximumConcurrency`: how many batches are received and handled at once.
    pub(crate) concurrency: usize,
    /// Decides how each message is delivered.
    pub(crate) delivery: Box<dyn Fn(&Message) -> Delivery>,
    /// Every delivery so far, in the order in which they ended.
    pub(crate) handed: RefCell<Vec<Handed>>,
}

/// A mapping's counts.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) invocations: usize,
    /// Invocations that were killed.
    pub(crate) killed: usize,
    /// Errors of invocations that failed as a whole: faults of the function.
    pub(crate) failed: Vec<String>,
    /// Deliveries to the function.
    pub(crate) deliveries: usize,
    /// Those of them that were not the message's first.
    pub(crate) repeated: usize,
    /// Batch item failures.
    pub(crate) returned: usize,
    pub(crate) largest_batch: usize,
}

/// One message in one invocation.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) message_id: String,
    pub(crate) body: String,
    /// Its beginning and end, since 1970.
    pub(crate) time_ms: RangeInclusive<u64>,
    pub(crate) became: Became,
}

/// The result of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    /// The function handled it.
    DealtWith,
    /// A batch item failure.
    Returned,
    /// The invocation was killed, or failed as a whole.
    Cut,
}

impl Mapping {
    /// A mapping with common settings that delivers each message once.
    pub(crate) fn new(sqs: Client, queue_url: &str) -> Self {
        Self {
            sqs,
            queue_url: queue_url.to_owned(),
            batch_size: ENTRIES_MAX,
            batch_window: Duration::ZERO,
            concurrency: 3,
            delivery: Box::new(|_| Delivery::Once),
            handed: RefCell::default(),
        }
    }

    /// Feeds the function until `stop`, and then waits for the invocations in progress.
    pub(crate) async fn run(&self, lambda: &Lambda, stop: impl Future<Output = ()>) -> Figures {
        let (figures, stopped) = (RefCell::default(), Cell::new(false));
        let lanes = join_all((0..self.concurrency).map(|_| self.feed(lambda, &stopped, &figures)));
        join(lanes, stop.map(|()| stopped.set(true))).await;
        figures.into_inner()
    }

    /// Receives and invokes, one batch after another.
    async fn feed(&self, lambda: &Lambda, stopped: &Cell<bool>, figures: &RefCell<Figures>) {
        while !stopped.get() {
            let batch = self.next_batch().await;
            if !batch.is_empty() {
                self.invoke(lambda, batch, figures).await;
            }
        }
    }

    /// Messages for one invocation; none if none arrived within a second.
    async fn next_batch(&self) -> Vec<Message> {
        let mut batch = self.receive(self.batch_size).await;
        let window_ends = Instant::now() + self.batch_window;
        while !batch.is_empty() && batch.len() < self.batch_size && Instant::now() < window_ends {
            batch.extend(self.receive(self.batch_size - batch.len()).await);
        }
        batch
    }

    async fn receive(&self, max: usize) -> Vec<Message> {
        let request = self
            .sqs
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(i32::try_from(max.min(ENTRIES_MAX)).unwrap())
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .wait_time_seconds(1);
        match request.send().await {
            Ok(received) => received.messages.unwrap_or_default(),
            // Lambda's pollers survive a failure of SQS. The emulator's threads have been seen to answer 500 in a crowd.
            Err(error) if error.raw_response().is_some_and(|response| response.status().is_server_error()) => {
                eprintln!("ReceiveMessage failed: {error:?}");
                Vec::new()
            }
            Err(error) => panic!("ReceiveMessage: {error:?}"),
        }
    }

    async fn invoke(&self, lambda: &Lambda, batch: Vec<Message>, figures: &RefCell<Figures>) {
        let deliveries: Vec<Delivery> = batch.iter().map(&self.delivery).collect();
        for (message, _) in batch.iter().zip(&deliveries).filter(|(_, how)| **how == Delivery::VisibleAgain) {
            self.make_visible(message).await;
        }
        let began_ms = now_ms();
        let outcome = lambda.invoke(&event(&batch)).await;

        let back = match &outcome {
            Outcome::Answered(answer) => batch_item_failures(answer, &batch),
            Outcome::Failed(_) | Outcome::Killed => ids(&batch),
        };
        figures.borrow_mut().note(&batch, &outcome, back.len());
        let record = |message| Handed::note(message, &outcome, &back, began_ms..=now_ms());
        self.handed.borrow_mut().extend(batch.iter().map(record));
        let dealt_with = batch
            .iter()
            .zip(deliveries)
            .filter(|(message, how)| !back.contains(message.message_id().unwrap()) && *how != Delivery::DeletionLost);
        self.delete(dealt_with.map(|(message, _)| message)).await;
    }

    async fn make_visible(&self, message: &Message) {
        let request = self.sqs.change_message_visibility().queue_url(&self.queue_url);
        request.set_receipt_handle(message.receipt_handle.clone()).visibility_timeout(0).send().await.unwrap();
    }

    async fn delete(&self, messages: impl Iterator<Item = &Message>) {
        let entry = |(index, message): (usize, &Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.set_receipt_handle(message.receipt_handle.clone()).build().unwrap()
        };
        let entries: Vec<_> = messages.enumerate().map(entry).collect();
        for entries in entries.chunks(ENTRIES_MAX) {
            let request = self.sqs.delete_message_batch().queue_url(&self.queue_url);
            // An entry may fail because the message is gone: another delivery of it was handled before.
            request.set_entries(Some(entries.to_vec())).send().await.unwrap();
        }
    }
}

impl Figures {
    fn note(&mut self, batch: &[Message], outcome: &Outcome, back: usize) {
        self.invocations += 1;
        self.deliveries += batch.len();
        self.repeated += batch.iter().filter(|message| receive_count(message) > 1).count();
        self.largest_batch = self.largest_batch.max(batch.len());
        match outcome {
            Outcome::Answered(_) => self.returned += back,
            Outcome::Failed(error) => self.failed.push(error.clone()),
            Outcome::Killed => self.killed += 1,
        }
    }
}

impl Handed {
    fn note(message: &Message, outcome: &Outcome, back: &HashSet<String>, time_ms: RangeInclusive<u64>) -> Self {
        let (message_id, body) = (message.message_id().unwrap().to_owned(), message.body().unwrap().to_owned());
        let became = match outcome {
            Outcome::Answered(_) if back.contains(&message_id) => Became::Returned,
            Outcome::Answered(_) => Became::DealtWith,
            Outcome::Failed(_) | Outcome::Killed => Became::Cut,
        };
        Self { message_id, body, time_ms, became }
    }
}

/// Now, since 1970.
fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// How often SQS has delivered the message, including this time.
pub(crate) fn receive_count(message: &Message) -> u32 {
    let attributes = message.attributes().unwrap();
    attributes[&MessageSystemAttributeName::ApproximateReceiveCount].parse().unwrap()
}

/// The SQS event that Lambda creates from these messages.
fn event(batch: &[Message]) -> Value {
    json!({ "Records": batch.iter().map(record).collect::<Vec<_>>() })
}

fn record(message: &Message) -> Value {
    let attributes = message.attributes().unwrap().iter();
    let attributes: Map<_, _> =
        attributes.map(|(name, value)| (name.as_str().to_owned(), value.as_str().into())).collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs",
        "eventSourceARN": QUEUE_ARN,
        "awsRegion": REGION,
    })
}

fn ids(batch: &[Message]) -> HashSet<String> {
    batch.iter().map(|message| message.message_id().unwrap().to_owned()).collect()
}

/// `ReportBatchItemFailures`. Lambda treats an answer of another form, or one that names another message, as a failure of
/// the whole batch; here it is an error.
fn batch_item_failures(answer: &Value, batch: &[Message]) -> HashSet<String> {
    let known = ids(batch);
    let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("not a batch response: {answer}"));
    let identifier = |failure: &Value| failure["itemIdentifier"].as_str().map(str::to_owned);
    let failed: HashSet<String> = failures.iter().map(|failure| identifier(failure).unwrap()).collect();
    assert!(failed.is_subset(&known), "{answer} names messages that are not in the batch: {known:?}");
    failed
}
