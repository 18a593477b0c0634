//! The sweep over the real index: lost runs continue.

use std::time::Duration;

use postpress_bridge::message::SWEEP_BODY;
use postpress_bridge::run::{AckReason, Disposition, Item, RetryReason};
use postpress_bridge::time::Clock;
use serde_json::Value;
use tokio::time::sleep;

use super::bridge::{Bridge, SECOND};
use crate::harness::proxy::{Fault, Of};

const CHAT: &str = "done-in-10ms";

/// A bridge where a run counts as lost a second after its lease, which lasts two.
async fn bridge() -> Bridge {
    let bridge = Bridge::with(2 * SECOND, SECOND, SECOND).await;
    bridge.trigger(CHAT).await;
    bridge
}

/// Receives the next message and loses it permanently.
async fn lose_next(bridge: &Bridge) -> String {
    let lost = bridge.aws.receive(1).await.remove(0).body;
    while bridge.aws.take_dead_letters().await != [lost.as_str()] {
        sleep(Duration::from_millis(200)).await;
        assert_eq!(bridge.aws.take_visible().await, [""; 0], "it has already been received too often");
    }
    lost
}

/// Sweeps once the chat's run counts as lost, and returns the disposition of the one poll that the sweep sends.
async fn sweep(bridge: &Bridge) -> Disposition {
    let Item { lease_until_ms, state, .. } = bridge.item(CHAT).await.unwrap();
    let due = (lease_until_ms + SECOND).max(state.open().unwrap().sweep_at_ms) + Duration::from_millis(1);
    sleep(due.since(Clock::System.now())).await;
    bridge.aws.put(SWEEP_BODY).await;
    assert_eq!(bridge.invoke(&bridge.aws.receive(1).await).await, [Disposition::Ack(AckReason::Swept)]);
    bridge.invoke(&bridge.aws.receive(1).await).await.remove(0)
}

#[tokio::test]
async fn a_run_whose_poll_was_dead_lettered_is_recovered_and_ends() {
    let bridge = bridge().await;
    let dispositions = bridge.invoke(&bridge.aws.receive(1).await).await;
    assert_eq!(dispositions, [Disposition::Ack(AckReason::PolledOn)]);
    let lost = lose_next(&bridge).await;
    assert!(lost.contains(r#""postpress_bridge":"poll""#), "{lost}");

    assert_eq!(sweep(&bridge).await, Disposition::Ack(AckReason::Ended));
    let events = bridge.aws.take_events().await;
    assert_eq!((events.len(), &events[0]["detail-type"]), (1, &"SYNC_DONE".into()));
    let item = bridge.item(CHAT).await.unwrap();
    assert!(item.state.is_published(), "{item:?}");
}

#[tokio::test]
async fn an_ending_is_published_with_the_same_bytes_after_its_publisher_died() {
    let bridge = bridge().await;
    bridge.invoke(&bridge.aws.receive(1).await).await;
    bridge.proxy.once(Of("PutEvents", ""), Fault::Answers(400, "AccessDeniedException"));
    let dispositions = bridge.invoke(&bridge.aws.receive(1).await).await;
    assert_eq!(dispositions, [Disposition::Retry(RetryReason::Failed)]);
    // It was received once, which is this queue's limit.
    sleep(2 * SECOND).await;
    assert_eq!(bridge.aws.take_visible().await, [""; 0]);
    assert_eq!(bridge.aws.take_events().await, [Value::Null; 0]);

    assert_eq!(sweep(&bridge).await, Disposition::Ack(AckReason::Published));
    let puts = bridge.proxy.seen(Of("PutEvents", ""));
    assert_eq!(puts.len(), 2);
    assert_eq!(puts[0].entries(), puts[1].entries());
    assert_eq!(bridge.aws.take_events().await.len(), 1);
    assert_eq!(bridge.simulator.stats().total.restarts, 0);
}
