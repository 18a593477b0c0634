//! Which triggers are one request, and what happens to those beyond a run's limit.

use std::collections::HashSet;
use std::time::Duration;

use postpress_bridge::run::DEFAULT_RUN_TTL;
use serde_json::json;

use super::bridge::{Bridge, summary};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn triggers_with_one_key_are_one_request_while_their_run_is_remembered() {
    let bridge = Bridge::new();
    for (after, key, runs) in [
        (Duration::ZERO, "k1", 1),
        (Duration::ZERO, "k1", 1),               // its run has ended
        (MINUTE, "k2", 2),                       // another request
        (MINUTE, "k1", 2),                       // its run has ended, and so has another since
        (DEFAULT_RUN_TTL - 4 * MINUTE, "k1", 2), // almost forgotten
        (4 * MINUTE, "k1", 3),                   // forgotten, although a later run of its chat is not
        (DEFAULT_RUN_TTL + 2 * MINUTE, "k1", 4), // forgotten, although no other run followed
    ] {
        tokio::time::sleep(after).await;
        bridge.put(&json!({"chat_id": "done", "idempotency_key": key}));
        bridge.work().await;
        assert_eq!(bridge.events().len(), runs, "{key} after {after:?}");
        assert_eq!(bridge.simulator.stats().total.syncs_started, u64::try_from(runs).unwrap());
    }
    let endings: HashSet<_> = bridge.events().iter().map(|event| event.detail.event_id).collect();
    assert_eq!(endings.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn triggers_with_one_key_in_one_run_are_reported_once() {
    let bridge = Bridge::new();
    for (key, correlation) in [("k1", "a"), ("k1", "b"), ("k2", "c")] {
        bridge.put(&json!({"chat_id": "done", "idempotency_key": key, "correlation_id": correlation}));
    }
    bridge.work().await;
    let [event] = &bridge.events()[..] else { panic!("{:?}", bridge.events()) };
    let reported =
        event.detail.triggers.iter().map(|trigger| (trigger.correlation_id.as_deref().unwrap(), trigger.joined));
    assert_eq!(reported.collect::<Vec<_>>(), [("a", false), ("c", true)]);
}

#[tokio::test(start_paused = true)]
async fn a_run_answers_fifty_triggers_and_each_further_one_gets_its_own_refusal() {
    let bridge = Bridge::new();
    for number in 0..60 {
        bridge.put(&json!({"chat_id": "done-in-5m", "correlation_id": number.to_string()}));
    }
    bridge.work().await;
    let (endings, refusals): (Vec<_>, Vec<_>) =
        bridge.events().into_iter().partition(|event| event.detail.run_id.is_some());
    let [ending] = &endings[..] else { panic!("{endings:?}") };
    assert_eq!((&*summary(ending), ending.detail.triggers.len()), ("sync_done by answer", 50));
    assert_eq!(refusals.len(), 10);
    for refusal in &refusals {
        assert_eq!(summary(refusal), "429 bridge/too_many_triggers (bridge)");
        assert_eq!((refusal.detail.triggers.len(), refusal.detail.polls), (1, None));
    }
    let reported = endings.iter().chain(&refusals).flat_map(|event| &event.detail.triggers);
    let reported: HashSet<_> = reported.map(|trigger| trigger.correlation_id.clone()).collect();
    assert_eq!(reported.len(), 60);
    let event_ids: HashSet<_> = refusals.iter().map(|event| event.detail.event_id).collect();
    assert_eq!(event_ids.len(), 10);
    assert_eq!(bridge.simulator.stats().total.syncs_started, 1);
}
