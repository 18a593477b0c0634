//! The contract of every queue, and how few requests the SQS queue makes.

use std::collections::BTreeSet;
use std::time::Duration;

use postpress_bridge::ids::{MessageGroup, MessageId};
use postpress_bridge::message::Record;
use postpress_bridge::queue::{MemoryQueue, Outgoing, Queue, Source, SqsQueue, VisibilityChange};
use postpress_bridge::service::ServiceError;
use postpress_bridge::time::Clock;
use postpress_bridge::trace::TraceHeader;
use tokio::time::Instant;

use crate::harness::emulator::{self, Emulated, LONG_VISIBILITY};
use crate::harness::log::Log;
use crate::harness::proxy::{Fault, Of, Proxy};

const SECOND: Duration = Duration::from_secs(1);
const SENDS: Of = Of("SendMessageBatch", "");

/// A queue for one test.
trait TestQueue: Sized {
    /// A queue with this visibility timeout that dead-letters a message after `max_receive_count` receives.
    async fn open(visibility: Duration, max_receive_count: u32) -> Self;
    fn queue(&self) -> &(impl Queue + Source);
    async fn dead_letters(&self) -> Vec<String>;

    async fn send(&self, body: &str, delay: Duration) {
        let sent = self.queue().send(&[Outgoing { body: body.into(), delay, trace: None, group: None }]).await;
        assert!(matches!(sent[..], [Ok(_)]), "{sent:?}");
    }

    /// Waits for the next message.
    async fn next(&self) -> Record {
        let [record] = &self.queue().receive(1).await.unwrap()[..] else { panic!("no message") };
        record.clone()
    }
}

impl TestQueue for MemoryQueue {
    async fn open(visibility: Duration, max_receive_count: u32) -> Self {
        Self::new("m", Clock::System, visibility, max_receive_count)
    }

    fn queue(&self) -> &(impl Queue + Source) {
        self
    }

    async fn dead_letters(&self) -> Vec<String> {
        self.dead_letters().into_iter().map(|record| record.body).collect()
    }
}

struct OnSqs {
    aws: Emulated,
    queue: SqsQueue,
}

impl TestQueue for OnSqs {
    async fn open(visibility: Duration, max_receive_count: u32) -> Self {
        let aws = Emulated::with(visibility, max_receive_count).await;
        let queue = aws.queue(&aws.sdk);
        Self { aws, queue }
    }

    fn queue(&self) -> &(impl Queue + Source) {
        &self.queue
    }

    async fn dead_letters(&self) -> Vec<String> {
        self.aws.take_dead_letters().await
    }
}

/// Runs the whole suite for each queue.
macro_rules! contract {
    ($($queue:ident: $open:ty;)*) => {$(
        mod $queue {
            use super::*;

            contract!(@cases $open;
                messages_arrive_unchanged,
                messages_arrive_with_their_trace,
                messages_arrive_with_their_group,
                a_delay_postpones_a_message,
                messages_are_redelivered_until_deleted,
                a_visibility_change_decides_the_next_delivery,
                an_expired_receipt_affects_no_other_message,
                a_message_received_too_often_becomes_a_dead_letter,
            );
        }
    )*};
    (@cases $open:ty; $($case:ident,)*) => {$(
        #[tokio::test]
        async fn $case() {
            super::$case::<$open>().await;
        }
    )*};
}

contract! {
    memory: MemoryQueue;
    sqs: OnSqs;
}

fn outgoing(bodies: &[String]) -> Vec<Outgoing> {
    bodies.iter().map(|body| Outgoing { body: body.clone(), delay: Duration::ZERO, trace: None, group: None }).collect()
}

async fn messages_arrive_unchanged<Q: TestQueue>() {
    let queue = Q::open(LONG_VISIBILITY, 5).await;
    let before = Clock::System.now();
    let mut sent: BTreeSet<_> = (0..23).map(|n| format!("number {n}")).collect();
    sent.extend([r#"{"a": "\u0000", "b": 1e3}"#, "two\nlines\t\u{1f41f} „ü“", " "].map(str::to_owned));
    let bodies: Vec<_> = sent.iter().cloned().collect();
    let ids = queue.queue().send(&outgoing(&bodies)).await.into_iter().map(Result::unwrap);
    let sent: BTreeSet<_> = bodies.into_iter().zip(ids).collect();
    let mut received = BTreeSet::new();
    while received.len() < sent.len() {
        let records = queue.queue().receive(10).await.unwrap();
        assert!((1..=10).contains(&records.len()), "{} at a time after {}", records.len(), received.len());
        for Record { message_id, body, sent_at, receive_count, .. } in records {
            assert_eq!(receive_count, 1, "{body}");
            assert!((before..=Clock::System.now()).contains(&sent_at), "{body}: {sent_at}");
            received.insert((body, message_id));
        }
    }
    assert_eq!(received, sent, "each under the id that its send gave");
}

async fn messages_arrive_with_their_trace<Q: TestQueue>() {
    let queue = Q::open(LONG_VISIBILITY, 5).await;
    let headers = [
        (
            "whole",
            Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:5"),
        ),
        ("bare", Some("Root=1-5759e988-bd862e3fe1be46a994272794")),
        ("none", None),
    ];
    let messages = headers.map(|(body, header)| {
        let trace = header.map(|header| TraceHeader::parse(header).unwrap());
        Outgoing { body: body.to_owned(), delay: Duration::ZERO, trace, group: None }
    });
    let accepted = queue.queue().send(&messages).await;
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
    let mut received = BTreeSet::new();
    while received.len() < headers.len() {
        let records = queue.queue().receive(10).await.unwrap();
        received.extend(records.into_iter().map(|record| (record.body, record.trace.map(|trace| trace.to_string()))));
    }
    let sent = headers.map(|(body, header)| (body.to_owned(), header.map(str::to_owned)));
    assert_eq!(received, BTreeSet::from(sent));
}

async fn messages_arrive_with_their_group<Q: TestQueue>() {
    let queue = Q::open(LONG_VISIBILITY, 5).await;
    for group in [MessageGroup::parse("tenant-1"), None] {
        let message = Outgoing { body: "hello".to_owned(), delay: Duration::ZERO, trace: None, group: group.clone() };
        let sent = queue.queue().send(&[message]).await;
        assert!(matches!(sent[..], [Ok(_)]), "{sent:?}");
        let record = queue.next().await;
        assert_eq!(record.group, group);
        queue.queue().delete(&[record]).await.unwrap();
    }
}

async fn a_delay_postpones_a_message<Q: TestQueue>() {
    let queue = Q::open(LONG_VISIBILITY, 5).await;
    let began = Instant::now();
    let delays = [("last", 2 * SECOND), ("first", Duration::ZERO), ("second", SECOND / 2)];
    let messages = delays.map(|(body, delay)| Outgoing { body: body.to_owned(), delay, trace: None, group: None });
    let sent = queue.queue().send(&messages).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    for (body, delay) in [delays[1], delays[2], delays[0]] {
        assert_eq!(queue.next().await.body, body);
        assert!(began.elapsed() >= delay, "{body} arrived after {:?}", began.elapsed());
    }
}

async fn messages_are_redelivered_until_deleted<Q: TestQueue>() {
    let queue = Q::open(SECOND, 5).await;
    queue.send("hello", Duration::ZERO).await;
    let first = queue.next().await;
    let received = Instant::now();
    let second = queue.next().await;
    assert!(received.elapsed() >= SECOND / 2, "it was invisible for {:?}", received.elapsed());
    assert_ne!(second.receipt_handle, first.receipt_handle);
    let expected = Record { receipt_handle: second.receipt_handle.clone(), receive_count: 2, ..first };
    assert_eq!(second, expected);
    queue.queue().delete(&[second]).await.unwrap();
    queue.send("later than a redelivery", 2 * SECOND).await;
    assert_eq!(queue.next().await.body, "later than a redelivery");
}

async fn a_visibility_change_decides_the_next_delivery<Q: TestQueue>() {
    let queue = Q::open(LONG_VISIBILITY, 5).await;
    queue.send("hello", Duration::ZERO).await;
    let mut record = queue.next().await;
    for (receive_count, invisible) in [(2, Duration::ZERO), (3, SECOND)] {
        let changed = Instant::now();
        let results = queue
            .queue()
            .change_visibility(&[VisibilityChange { receipt_handle: record.receipt_handle, invisible }])
            .await;
        assert_eq!(results, [Ok(())]);
        record = queue.next().await;
        assert_eq!(record.receive_count, receive_count);
        assert!(changed.elapsed() >= invisible, "it arrived after {:?}", changed.elapsed());
    }
}

async fn an_expired_receipt_affects_no_other_message<Q: TestQueue>() {
    let queue = Q::open(LONG_VISIBILITY, 5).await;
    let bodies: BTreeSet<_> = (0..11).map(|n| n.to_string()).collect();
    for body in &bodies {
        queue.send(body, Duration::ZERO).await;
    }
    let mut changes = vec![VisibilityChange { receipt_handle: "no receipt".to_owned(), invisible: Duration::ZERO }];
    for _ in &bodies {
        let VisibilityChange { invisible, .. } = changes[0];
        changes.push(VisibilityChange { receipt_handle: queue.next().await.receipt_handle, invisible });
    }
    let results = queue.queue().change_visibility(&changes).await;
    assert_eq!(results[1..], vec![Ok(()); bodies.len()]);
    let mut received = BTreeSet::new();
    for _ in &bodies {
        received.insert(queue.next().await.body);
    }
    assert_eq!(received, bodies);
}

async fn a_message_received_too_often_becomes_a_dead_letter<Q: TestQueue>() {
    let queue = Q::open(SECOND, 2).await;
    queue.send("poison", Duration::ZERO).await;
    for receive_count in [1, 2] {
        let record = queue.next().await;
        assert_eq!((record.body.as_str(), record.receive_count), ("poison", receive_count));
        assert_eq!(queue.dead_letters().await, [""; 0]);
    }
    queue.send("later than a redelivery", 2 * SECOND).await;
    assert_eq!(queue.next().await.body, "later than a redelivery");
    assert_eq!(queue.dead_letters().await, ["poison"]);
}

/// A queue on SQS behind a proxy.
async fn proxied() -> (Emulated, Proxy, SqsQueue) {
    let (aws, proxy) = (Emulated::new().await, Proxy::start(emulator::endpoint()).await);
    let queue = aws.queue(&emulator::sdk(proxy.endpoint()));
    (aws, proxy, queue)
}

/// Each result in one letter: sent, retryable, or permanently failed.
fn summary<T>(results: &[Result<T, ServiceError>]) -> String {
    let letter = |result: &Result<T, ServiceError>| match result {
        Ok(_) => 's',
        Err(error) if error.is_retryable() => 'a',
        Err(_) => 'r',
    };
    results.iter().map(letter).collect()
}

#[tokio::test]
async fn the_sdk_logs_no_failures() {
    let (_aws, proxy, queue) = proxied().await;
    let log = Log::filtered("info");
    proxy.once(Of("SendMessageBatch", ""), Fault::Answers(500, "InternalFailure"));
    let message = Outgoing { body: "message".to_owned(), delay: Duration::ZERO, trace: None, group: None };
    let sent = queue.send(&[message]).await;
    assert!(matches!(sent[..], [Err(ServiceError::Transient(_))]), "{sent:?}");
    assert_eq!(log.take_lines(), [""; 0]);
}

#[tokio::test]
async fn sends_use_as_few_requests_as_possible() {
    let (_aws, proxy, queue) = proxied().await;
    let kib = |kib: usize| "x".repeat(kib * 1024);
    let cases = [
        (vec![kib(1); 10], vec![10]),
        (vec![kib(1); 25], vec![5, 10, 10]),
        (vec![kib(300); 4], vec![1, 3]),
        (vec![kib(1000), kib(1)], vec![1, 1]),
    ];
    for (bodies, expected) in cases {
        assert_eq!(summary(&queue.send(&outgoing(&bodies)).await), "s".repeat(bodies.len()));
        let mut requests: Vec<_> = proxy.seen(SENDS).iter().map(|seen| seen.entries().len()).collect();
        requests.sort_unstable();
        assert_eq!(requests, expected);
        assert_eq!(proxy.take_tally().keys().collect::<Vec<_>>(), ["SendMessageBatch"]);
    }
}

#[tokio::test]
async fn a_body_that_sqs_refuses_fails_alone() {
    let (aws, _proxy, queue) = proxied().await;
    let too_long = "x".repeat(1024 * 1024 + 1);
    let results = queue.send(&outgoing(&["a".to_owned(), too_long, "b".to_owned()])).await;
    assert_eq!(summary(&results), "srs");
    let mut sent = aws.take_visible().await;
    sent.sort();
    assert_eq!(sent, ["a", "b"]);
}

#[tokio::test]
async fn entries_fail_individually_in_order() {
    let (aws, proxy, queue) = proxied().await;
    let bodies: Vec<_> = (0..12).map(|n| format!("message-{n:02}")).collect();
    proxy.once(Of("SendMessageBatch", "message-00"), Fault::EntriesFail("message-04", "InvalidMessageContents"));
    proxy.once(Of("SendMessageBatch", "message-10"), Fault::EntriesFail("message-11", "InternalError"));
    assert_eq!(summary(&queue.send(&outgoing(&bodies)).await), "ssssrssssssa");
    let sent: BTreeSet<_> = aws.take_visible().await.into_iter().collect();
    assert_eq!(sent, bodies.into_iter().filter(|body| body != "message-04" && body != "message-11").collect());
    assert!(proxy.all_faults_occurred());
}

#[tokio::test]
async fn an_entry_without_a_result_has_failed() {
    let cases = [
        ("{}", "aa"),
        (r#"{"Successful": [], "Failed": []}"#, "aa"),
        (r#"{"Successful": [{"Id": "1", "MessageId": "m", "MD5OfMessageBody": "d"}], "Failed": []}"#, "as"),
        // Unknown ids.
        (r#"{"Successful": [{"Id": "7", "MessageId": "m", "MD5OfMessageBody": "d"}]}"#, "aa"),
        (r#"{"Failed": [{"Id": "7", "Code": "InvalidMessageContents", "SenderFault": true}]}"#, "aa"),
        // Contradictory results are failures.
        (
            r#"{"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "d"}],
                "Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": false}]}"#,
            "aa",
        ),
    ];
    let (_aws, proxy, queue) = proxied().await;
    let messages = outgoing(&["a", "b"].map(str::to_owned));
    let received = |n: u32| Record {
        message_id: MessageId::new(n.to_string()),
        receipt_handle: n.to_string(),
        body: String::new(),
        sent_at: Clock::System.now(),
        receive_count: 1,
        trace: None,
        group: None,
    };
    let received = [0, 1].map(received);
    let changes = received.clone().map(|record| {
        let receipt_handle = record.receipt_handle;
        VisibilityChange { receipt_handle, invisible: Duration::ZERO }
    });
    for (answer, expected) in cases {
        let says = |operation| proxy.once(Of(operation, ""), Fault::Says(answer));
        says("SendMessageBatch");
        assert_eq!(summary(&queue.send(&messages).await), expected, "sent: {answer}");
        says("ChangeMessageVisibilityBatch");
        assert_eq!(summary(&queue.change_visibility(&changes).await), expected, "visibility changed: {answer}");
        says("DeleteMessageBatch");
        assert_eq!(summary(&queue.delete_each(&received).await), expected, "deleted: {answer}");
    }
}

#[tokio::test]
async fn a_receive_waits_for_a_late_message() {
    // The SDK would treat the response as stalled and abort, and the received message would be lost.
    let queue = OnSqs::open(LONG_VISIBILITY, 5).await;
    queue.send("late", 10 * SECOND).await;
    assert_eq!(queue.next().await.body, "late");
}
