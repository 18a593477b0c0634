//! Requests that fail, or whose reply is lost after they succeed, never change the result of a run.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use postpress_bridge::run::{AckReason, Disposition, RetryReason};

use super::bridge::{Bridge, SECOND};
use crate::harness::proxy::{Fault, Of};

const FAILED: Disposition = Disposition::Retry(RetryReason::Failed);
const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);
const ENDED: Disposition = Disposition::Ack(AckReason::Ended);
const HANDED_ON: Disposition = Disposition::Ack(AckReason::HandedOn);

/// Every request to AWS that a run needs: how to recognize it on the wire, and how the service throttles it.
const OPERATIONS: [(&str, Of, Fault); 8] = [
    ("read", Of("GetItem", ""), Fault::Answers(400, "ThrottlingException")),
    ("start", Of("PutItem", ""), Fault::Answers(400, "ProvisionedThroughputExceededException")),
    ("join", Of("UpdateItem", "list_append"), Fault::Answers(400, "RequestLimitExceeded")),
    ("claim", Of("UpdateItem", "SET #claim_id"), Fault::Answers(400, "ThrottlingException")),
    ("end", Of("UpdateItem", "#outcome = :outcome"), Fault::Answers(400, "ProvisionedThroughputExceededException")),
    ("mark", Of("UpdateItem", "#published = :true"), Fault::Answers(400, "ThrottlingException")),
    ("send", Of("SendMessageBatch", ""), Fault::Answers(400, "KMS.ThrottlingException")),
    ("publish", Of("PutEvents", ""), Fault::Answers(400, "ThrottlingException")),
];

/// A sync that is done at the second call.
const CHAT: &str = "done-in-10ms";

/// A run of two calls, and a second trigger that joins it. Returns the disposition of every delivery.
async fn run_of_two_triggers(bridge: &Bridge) -> Vec<Disposition> {
    let (mut dispositions, mut polls) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let trigger = bridge.trigger(CHAT).await;
        // Only the trigger is handled until it is accepted, so that it does not find a run that has ended.
        while !bridge.item(CHAT).await.is_some_and(|item| item.triggers.iter().any(|of| of.message_id == trigger)) {
            let record = bridge.aws.receive(1).await.remove(0);
            if record.message_id == trigger {
                dispositions.extend(bridge.invoke(&[record]).await);
            } else {
                polls.push(record);
            }
        }
    }
    for poll in polls {
        dispositions.extend(bridge.invoke(&[poll]).await);
    }
    dispositions.extend(bridge.play_out().await);
    dispositions
}

/// The run ended after one sync, with one ending whose bytes are the same each time it was published.
async fn assert_ended_once(bridge: &Bridge, published: usize, what: &str) {
    assert!(bridge.proxy.all_faults_occurred(), "{what}");
    let item = bridge.item(CHAT).await.unwrap();
    assert!(item.state.is_published(), "{what}");
    let total = bridge.simulator.stats().total;
    assert_eq!((total.calls, total.syncs_started), (2, 1), "{what}");
    let events = bridge.aws.take_events().await;
    assert_eq!(events.len(), published, "{what}: {events:#?}");
    let offered: Vec<_> =
        bridge.proxy.seen(Of("PutEvents", "")).iter().flat_map(|put| put.entries().to_vec()).collect();
    assert!(offered.iter().all(|entry| *entry == offered[0]), "{what}: {offered:#?}");
    let detail = &events[0]["detail"];
    assert_eq!((&detail["status"], &detail["polls"]), (&"SYNC_DONE".into(), &2.into()), "{what}");
    assert_eq!(detail["event_id"], item.run_id.to_string(), "{what}");
    let joined: Vec<_> = detail["triggers"].as_array().unwrap().iter().map(|trigger| &trigger["joined"]).collect();
    assert_eq!(joined, [&false, &true], "{what}");
}

/// Eight at a time: a busier server would delay operations beyond their time limits.
async fn each_case<C>(cases: impl IntoIterator<Item = C>, case: impl AsyncFn(C)) {
    futures_util::stream::iter(cases).map(|one| case(one)).buffer_unordered(8).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn a_transient_fault_causes_one_more_request_and_changes_nothing() {
    let broken = [Fault::RequestLost, Fault::ReplyLost, Fault::Hangs, Fault::Answers(500, "InternalFailure")];
    let cases = OPERATIONS
        .into_iter()
        .flat_map(|(name, of, throttled)| broken.into_iter().chain([throttled]).map(move |fault| (fault, name, of)));
    each_case(cases, async |(fault, name, of)| {
        let what = format!("{name}: {fault:?}");
        let bridge = Bridge::new(20 * SECOND).await;
        bridge.proxy.once(of, fault);
        let dispositions = run_of_two_triggers(&bridge).await;
        let twice = |operation: &str| usize::from(name == operation && fault == Fault::ReplyLost);
        assert_ended_once(&bridge, 1 + twice("publish"), &what).await;
        assert!(!dispositions.iter().any(|disposition| disposition.is_retry()), "{what}: {dispositions:?}");
        // A poll that was sent twice is dropped at its second delivery: the first has claimed, or the run has ended.
        assert_eq!(dispositions.len(), 3 + twice("send"), "{what}: {dispositions:?}");
        // Every operation of this run is requested once, except that each trigger reads the run.
        let asked = if name == "read" { 3 } else { 2 };
        assert_eq!(bridge.proxy.seen(of).len(), asked, "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_permanent_error_is_not_retried_before_redelivery() {
    each_case(OPERATIONS, async |(name, of, _)| {
        // Short, since a message that holds the run is not delivered again before the end of its lease.
        let bridge = Bridge::new(4 * SECOND).await;
        bridge.proxy.once(of, Fault::Answers(400, "AccessDeniedException"));
        let dispositions = run_of_two_triggers(&bridge).await;
        assert_ended_once(&bridge, if name == "mark" { 2 } else { 1 }, name).await;
        // An ending that cannot be recorded is not retried, which would call again. It is forwarded.
        let (retried, forwarded) = if name == "end" { (0, 1) } else { (1, 0) };
        let count = |of: Disposition| dispositions.iter().filter(|disposition| **disposition == of).count();
        assert_eq!((count(FAILED), count(HANDED_ON)), (retried, forwarded), "{name}: {dispositions:?}");
        let changed = bridge.proxy.seen(Of("ChangeMessageVisibilityBatch", "")).len();
        assert_eq!(changed, retried, "{name}: {dispositions:?}");
    })
    .await;
}

/// Runs one invocation with triggers for four long syncs, two of them unlucky, and returns their dispositions.
async fn four_syncs(bridge: &Bridge) -> Vec<Disposition> {
    for chat in ["0", "1-unlucky", "2", "3-unlucky"] {
        bridge.trigger(&format!("done-in-1h~{chat}")).await;
    }
    let mut batch = bridge.aws.receive(4).await;
    batch.sort_by(|one, other| one.body.cmp(&other.body));
    bridge.invoke(&batch).await
}

/// The number of polls in each request that sends any.
fn sends(bridge: &Bridge) -> Vec<usize> {
    bridge.proxy.seen(Of("SendMessageBatch", "")).iter().map(|send| send.entries().len()).collect()
}

#[tokio::test]
async fn only_the_failed_polls_of_a_shared_send_are_sent_again() {
    let bridge = Bridge::new(20 * SECOND).await;
    for unlucky in ["-unlucky", "1-unlucky"] {
        bridge.proxy.once(Of("SendMessageBatch", unlucky), Fault::EntriesFail(unlucky, "InternalError"));
    }
    assert_eq!(four_syncs(&bridge).await, [POLLED_ON; 4]);
    assert_eq!(sends(&bridge), [4, 2, 1]);
    let polls = bridge.aws.receive(4).await;
    let chats: BTreeSet<_> = polls.iter().map(|poll| poll.body.split('~').nth(1).unwrap().chars().next()).collect();
    assert_eq!(chats, "0123".chars().map(Some).collect());
}

#[tokio::test]
async fn a_poll_that_sqs_rejects_retries_only_its_own_message() {
    let bridge = Bridge::new(4 * SECOND).await;
    let fault = Fault::EntriesFail("1-unlucky", "InvalidMessageContents");
    bridge.proxy.once(Of("SendMessageBatch", "1-unlucky"), fault);
    assert_eq!(four_syncs(&bridge).await, [POLLED_ON, FAILED, POLLED_ON, POLLED_ON]);
    assert_eq!(sends(&bridge), [4]);
    assert_eq!(bridge.proxy.seen(Of("ChangeMessageVisibilityBatch", "")).len(), 1);
}

#[tokio::test]
async fn a_failed_event_is_put_again_if_retryable_and_otherwise_its_message_is_retried() {
    for (code, puts, dispositions) in [
        ("ThrottlingException", 2, ENDED),
        ("InternalFailure", 2, ENDED),
        ("NotAuthorizedForSourceException", 1, FAILED),
    ] {
        let bridge = Bridge::new(20 * SECOND).await;
        bridge.trigger("deleted").await;
        bridge.proxy.once(Of("PutEvents", ""), Fault::EntriesFail("deleted", code));
        assert_eq!(bridge.invoke(&bridge.aws.receive(1).await).await, [dispositions], "{code}");
        assert_eq!(bridge.proxy.seen(Of("PutEvents", "")).len(), puts, "{code}");
        assert_eq!(bridge.aws.take_events().await.len(), puts - 1, "{code}");
    }
}

#[tokio::test]
async fn a_failed_visibility_change_affects_only_its_own_message() {
    let bridge = Bridge::new(20 * SECOND).await;
    for _ in 0..2 {
        bridge.aws.put(r#"{"postpress_bridge": "poll", "v": 99}"#).await;
    }
    let mut batch = bridge.aws.receive(2).await;
    let expected = batch[1].message_id.clone();
    batch[0].receipt_handle = "no receipt".to_owned();
    assert_eq!(bridge.invoke(&batch).await, [Disposition::Retry(RetryReason::NewerVersion); 2]);
    assert_eq!(bridge.proxy.take_tally(), [("ChangeMessageVisibilityBatch".to_owned(), 1)].into());
    assert_eq!(bridge.aws.receive(1).await[0].message_id, expected);
}
