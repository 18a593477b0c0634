//! The requests of a batch, counted on the wire.

use std::collections::BTreeMap;

use postpress_bridge::run::{AckReason, Disposition};

use super::bridge::{Bridge, SECOND};
use crate::harness::emulator::ONE_CROWD;

const TEN: usize = 10;

/// Ten runs just started, whose syncs take `lasts`; their polls are due in a second.
async fn ten_runs(lasts: &str) -> Bridge {
    let bridge = Bridge::new(20 * SECOND).await;
    for number in 0..TEN {
        bridge.trigger(&format!("done-in-{lasts}~{number}")).await;
    }
    let asked = batch_of_ten(&bridge, "ten triggers", AckReason::PolledOn).await;
    assert_eq!(asked, [("provider", 10), ("GetItem", 10), ("PutItem", 10), ("SendMessageBatch", 1)].into());
    bridge
}

/// The requests of one invocation with ten messages, each of which gets this disposition.
async fn batch_of_ten(bridge: &Bridge, what: &str, dispositions: AckReason) -> BTreeMap<&'static str, usize> {
    const OPERATIONS: [&str; 5] = ["GetItem", "PutEvents", "PutItem", "SendMessageBatch", "UpdateItem"];
    let batch = bridge.aws.receive(TEN).await;
    let calls_before = bridge.simulator.stats().total.calls;
    bridge.proxy.take_tally();
    assert_eq!(bridge.invoke(&batch).await, [Disposition::Ack(dispositions); TEN], "{what}");
    let mut tally = bridge.proxy.take_tally();
    let counted = OPERATIONS.into_iter().filter_map(|operation| Some((operation, tally.remove(operation)?)));
    let calls = usize::try_from(bridge.simulator.stats().total.calls - calls_before).unwrap();
    let asked = counted.chain([("provider", calls)]).collect();
    assert!(tally.is_empty(), "{what} make other requests too: {tally:?}");
    println!("{what}: {asked:?}");
    asked
}

#[tokio::test]
async fn a_poll_in_progress_takes_a_write_and_a_tenth_of_a_send() {
    let _alone = ONE_CROWD.lock().await;
    let bridge = ten_runs("1h").await;
    let asked = batch_of_ten(&bridge, "ten polls in progress", AckReason::PolledOn).await;
    assert_eq!(asked, [("provider", 10), ("UpdateItem", 10), ("SendMessageBatch", 1)].into());
}

#[tokio::test]
async fn a_paced_poll_takes_a_write_too_and_one_whose_turn_is_later_a_read() {
    let _alone = ONE_CROWD.lock().await;
    // Ten turns take ten seconds, so that one invocation has time for all, and the next one for about half of them.
    let mut bridge = Bridge::paced(20 * SECOND, SECOND).await;
    for number in 0..TEN {
        bridge.trigger(&format!("done-in-1h~{number}")).await;
    }
    batch_of_ten(&bridge, "ten triggers", AckReason::PolledOn).await;
    let batch = bridge.aws.receive(TEN).await;
    bridge.invocation = 7 * SECOND;
    bridge.proxy.take_tally();
    let dispositions = bridge.invoke(&batch).await;
    let count = |reason| dispositions.iter().filter(|disposition| **disposition == Disposition::Ack(reason)).count();
    let called = count(AckReason::PolledOn);
    assert_eq!(called + count(AckReason::Deferred), TEN, "{dispositions:?}");
    assert!((3..=7).contains(&called), "{dispositions:?}");
    let mut tally = bridge.proxy.take_tally();
    assert!(tally.remove("SendMessageBatch").unwrap() <= TEN);
    let rest = [("GetItem", TEN - called), ("UpdateItem", called)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(tally, rest.into());
}

#[tokio::test]
async fn a_fresh_answer_takes_a_read_and_an_event() {
    let _alone = ONE_CROWD.lock().await;
    let bridge = ten_runs("10ms").await;
    batch_of_ten(&bridge, "ten endings", AckReason::Ended).await;
    let endings = bridge.aws.take_events().await;
    for number in 0..TEN {
        bridge.aws.put(&format!(r#"{{"chat_id": "done-in-10ms~{number}", "fresh_for_seconds": 60}}"#)).await;
    }
    let asked = batch_of_ten(&bridge, "ten fresh answers", AckReason::AnsweredFresh).await;
    assert_eq!(asked, [("provider", 0), ("GetItem", 10), ("PutEvents", 10)].into());
    let answers = bridge.aws.take_events().await;
    assert_eq!(answers.len(), TEN);
    for answer in answers.iter().map(|answer| &answer["detail"]) {
        let is_of_run = |ending: &&serde_json::Value| ending["detail"]["run_id"] == answer["run_id"];
        let ending = &endings.iter().find(is_of_run).unwrap()["detail"];
        assert_eq!((&answer["status"], &answer["ended_by"]), (&"SYNC_DONE".into(), &"fresh".into()));
        for same in ["chat_id", "polls", "restarts", "requested_at", "finished_at"] {
            assert_eq!(answer[same], ending[same], "{same}");
        }
        assert_ne!(answer["event_id"], ending["event_id"]);
        assert_ne!(answer["triggers"][0]["message_id"], ending["triggers"][0]["message_id"]);
        assert_eq!(answer["triggers"][0]["joined"], true);
    }
}

#[tokio::test]
async fn an_ending_takes_three_writes_and_an_event() {
    let _alone = ONE_CROWD.lock().await;
    let bridge = ten_runs("10ms").await;
    let asked = batch_of_ten(&bridge, "ten endings", AckReason::Ended).await;
    assert_eq!(asked, [("provider", 10), ("UpdateItem", 30), ("PutEvents", 10)].into());
    assert_eq!(bridge.aws.take_events().await.len(), TEN);
}
