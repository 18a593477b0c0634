//! Requests that fail, or that were carried out and whose reply was lost, never change what a run comes to.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use postpress_bridge::run::{AckReason, Disposition, RetryReason};

use super::bridge::{Bridge, SECOND};
use crate::harness::proxy::{Fault, Of};

const FAILED: Disposition = Disposition::Retry(RetryReason::Failed);
const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);
const ENDED: Disposition = Disposition::Ack(AckReason::Ended);
const HANDED_ON: Disposition = Disposition::Ack(AckReason::HandedOn);

/// Everything that a worker asks of AWS for a run: how it is recognised on the wire, and how the service throttles.
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

/// A sync that is over at the second call.
const CHAT: &str = "done-in-10ms";

/// A run of two calls, and a second trigger that joins it. Tells what became of every message at every delivery.
async fn run_of_two_triggers(bridge: &Bridge) -> Vec<Disposition> {
    let (mut dealt, mut polls) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let trigger = bridge.trigger(CHAT).await;
        // Only the trigger is dealt with until it is accepted, so that it finds no run that is over.
        while !bridge.item(CHAT).await.is_some_and(|item| item.triggers.iter().any(|of| of.message_id == trigger)) {
            let record = bridge.aws.receive(1).await.remove(0);
            if record.message_id == trigger {
                dealt.extend(bridge.invoke(&[record]).await);
            } else {
                polls.push(record);
            }
        }
    }
    for poll in polls {
        dealt.extend(bridge.invoke(&[poll]).await);
    }
    dealt.extend(bridge.play_out().await);
    dealt
}

/// The run is over after one sync, with one ending that has the same bytes each of the times that it was published.
async fn assert_ended_once(bridge: &Bridge, published: usize, what: &str) {
    assert!(bridge.proxy.has_done_its_worst(), "{what}");
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

/// Eight at a time: a server that is kept too busy would let operations take longer than they may.
async fn each_case<C>(cases: impl IntoIterator<Item = C>, case: impl AsyncFn(C)) {
    futures_util::stream::iter(cases).map(|one| case(one)).buffer_unordered(8).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn what_passes_within_an_invocation_is_asked_once_more_and_changes_nothing() {
    let broken = [Fault::RequestLost, Fault::ReplyLost, Fault::Hangs, Fault::Answers(500, "InternalFailure")];
    let cases = OPERATIONS
        .into_iter()
        .flat_map(|(name, of, throttled)| broken.into_iter().chain([throttled]).map(move |fault| (fault, name, of)));
    each_case(cases, async |(fault, name, of)| {
        let what = format!("{name}: {fault:?}");
        let bridge = Bridge::new(20 * SECOND).await;
        bridge.proxy.once(of, fault);
        let dealt = run_of_two_triggers(&bridge).await;
        let twice = |operation: &str| usize::from(name == operation && fault == Fault::ReplyLost);
        assert_ended_once(&bridge, 1 + twice("publish"), &what).await;
        assert!(!dealt.iter().any(|dealt| dealt.is_retry()), "{what}: {dealt:?}");
        // A poll that was sent twice dies at its second delivery, for the first has claimed, or the run is over.
        assert_eq!(dealt.len(), 3 + twice("send"), "{what}: {dealt:?}");
        // Every operation of this run is asked for once, but that each trigger reads the run.
        let asked = if name == "read" { 3 } else { 2 };
        assert_eq!(bridge.proxy.seen(of).len(), asked, "{what}");
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_not_asked_again_before_the_message_is_retry() {
    each_case(OPERATIONS, async |(name, of, _)| {
        // Short, since a message that holds the run does not come back before the end of its lease.
        let bridge = Bridge::new(4 * SECOND).await;
        bridge.proxy.once(of, Fault::Answers(400, "AccessDeniedException"));
        let dealt = run_of_two_triggers(&bridge).await;
        assert_ended_once(&bridge, if name == "mark" { 2 } else { 1 }, name).await;
        // An ending that cannot be recorded does not come back: that would call again. It travels on.
        let (came_back, handed_on) = if name == "end" { (0, 1) } else { (1, 0) };
        let count = |of: Disposition| dealt.iter().filter(|dealt| **dealt == of).count();
        assert_eq!((count(FAILED), count(HANDED_ON)), (came_back, handed_on), "{name}: {dealt:?}");
        let handed_back = bridge.proxy.seen(Of("ChangeMessageVisibilityBatch", "")).len();
        assert_eq!(handed_back, came_back, "{name}: {dealt:?}");
    })
    .await;
}

/// One invocation with triggers for four syncs that go on, two of them unlucky: what became of each.
async fn four_syncs(bridge: &Bridge) -> Vec<Disposition> {
    for chat in ["0", "1-unlucky", "2", "3-unlucky"] {
        bridge.trigger(&format!("done-in-1h~{chat}")).await;
    }
    let mut batch = bridge.aws.receive(4).await;
    batch.sort_by(|one, other| one.body.cmp(&other.body));
    bridge.invoke(&batch).await
}

/// How many polls there were in each request that sends some.
fn sends(bridge: &Bridge) -> Vec<usize> {
    bridge.proxy.seen(Of("SendMessageBatch", "")).iter().map(|send| send.entries().len()).collect()
}

#[tokio::test]
async fn of_the_polls_that_share_a_send_only_those_that_failed_are_sent_again() {
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
async fn a_poll_that_sqs_refuses_comes_back_alone() {
    let bridge = Bridge::new(4 * SECOND).await;
    let fault = Fault::EntriesFail("1-unlucky", "InvalidMessageContents");
    bridge.proxy.once(Of("SendMessageBatch", "1-unlucky"), fault);
    assert_eq!(four_syncs(&bridge).await, [POLLED_ON, FAILED, POLLED_ON, POLLED_ON]);
    assert_eq!(sends(&bridge), [4]);
    assert_eq!(bridge.proxy.seen(Of("ChangeMessageVisibilityBatch", "")).len(), 1);
}

#[tokio::test]
async fn an_event_that_eventbridge_fails_is_put_again_if_that_may_pass_and_otherwise_returned() {
    for (code, puts, dealt) in [
        ("ThrottlingException", 2, ENDED),
        ("InternalFailure", 2, ENDED),
        ("NotAuthorizedForSourceException", 1, FAILED),
    ] {
        let bridge = Bridge::new(20 * SECOND).await;
        bridge.trigger("deleted").await;
        bridge.proxy.once(Of("PutEvents", ""), Fault::EntriesFail("deleted", code));
        assert_eq!(bridge.invoke(&bridge.aws.receive(1).await).await, [dealt], "{code}");
        assert_eq!(bridge.proxy.seen(Of("PutEvents", "")).len(), puts, "{code}");
        assert_eq!(bridge.aws.take_events().await.len(), puts - 1, "{code}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_handed_back_is_returned_all_the_same_and_its_neighbour_is_retry() {
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
