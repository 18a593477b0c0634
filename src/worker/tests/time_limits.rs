//! Nothing is started without enough time for it, and concurrent calls are limited.

use std::time::Duration;

use super::ports::{Fault, Move};
use super::{INVOCATION, SECOND, Scene};
use crate::postpress::{Answer, Progress};
use crate::run::{AckReason, Disposition, RetryReason};
use crate::settings::{Config, Limits};

const NO_TIME: Disposition = Disposition::Retry(RetryReason::NoTime);
const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);

/// Only one call at a time, and the first takes 8 s.
fn one_at_a_time() -> Scene {
    let scene = Scene::with(Config { limits: Limits { max_in_flight: 1, ..Limits::default() }, ..Config::default() });
    scene.provider.script("slow", [Move::SayAfter(8 * SECOND, Answer::InProgress(Progress::Started))]);
    scene.trigger("slow");
    scene.trigger("waits");
    scene
}

#[tokio::test(start_paused = true)]
async fn a_call_permit_is_taken_before_the_claim() {
    let scene = one_at_a_time();
    assert_eq!(scene.invoke().await, [POLLED_ON; 2]);
    assert_eq!(scene.store.faults.asked("start slow"), [Duration::ZERO]);
    assert_eq!(scene.store.faults.asked("start waits"), [8 * SECOND], "no lease runs while a message waits");
    assert_eq!(scene.provider.max_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn triggers_that_wait_hold_no_permit() {
    let scene = Scene::with(Config { limits: Limits { max_in_flight: 1, ..Limits::default() }, ..Config::default() });
    scene.trigger("in flight");
    scene.invoke().await;
    let later = serde_json::json!({"chat_id": "in flight", "after_request": true}).to_string();
    [&later, &later, &later].into_iter().for_each(|body| scene.put(body));
    let began = tokio::time::Instant::now();
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Waits); 3]);
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_permit_in_time_is_retried_unclaimed() {
    let scene = one_at_a_time();
    // A claim would have to be made in the first 7 s, and the permit is free after 8.
    assert_eq!(scene.invoke_for(22 * SECOND).await, [POLLED_ON, NO_TIME]);
    assert!(scene.store.faults.asked("start waits").is_empty());
    assert_eq!(scene.store.inner.items().len(), 1);
    assert_eq!(scene.provider.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_without_time_for_a_whole_call() {
    let enough = 15 * SECOND; // POSTPRESS_TIMEOUT_SECONDS and BRIDGE_LEASE_MARGIN_SECONDS
    for (time, disposition, calls) in [(enough - Duration::from_millis(1), NO_TIME, 1), (enough, POLLED_ON, 3)] {
        let scene = Scene::new();
        scene.trigger("polled");
        scene.invoke().await;
        tokio::time::sleep(10 * SECOND).await;
        scene.trigger("triggered");
        scene.store.faults.forget();

        assert_eq!(scene.invoke_for(time).await, [disposition; 2]);
        let writes = scene.store.faults.asked("claim").len() + scene.store.faults.asked("start").len();
        assert_eq!((writes, scene.provider.calls().len()), (calls - 1, calls), "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_limited_to_the_invocation_and_skipped_after_a_slow_claim() {
    let whole = Limits::default().provider_timeout;
    for (blocked, deadline) in [(0, Some(whole)), (3, Some(7 * SECOND)), (5, Some(5 * SECOND)), (6, None)] {
        let scene = Scene::new();
        scene.store.faults.once("start", Fault::Blocks(blocked * SECOND));
        scene.trigger("c");
        let dispositions = scene.invoke_for(15 * SECOND).await;
        let deadlines: Vec<_> = scene.provider.calls().iter().map(|call| call.deadline).collect();
        assert_eq!(deadlines, Vec::from_iter(deadline), "blocked for {blocked} s");
        assert_eq!(dispositions, [if deadline.is_some() { POLLED_ON } else { NO_TIME }]);
        assert_eq!(scene.item("c").polls, 1, "it is claimed nevertheless");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_table_retries_the_message_before_the_invocation_ends() {
    let scene = Scene::new();
    scene.store.faults.always("read", Fault::Slow(3600 * SECOND));
    scene.trigger("c");
    let began = tokio::time::Instant::now();
    assert_eq!(scene.invoke().await, [Disposition::Retry(RetryReason::Failed)]);
    assert!(began.elapsed() <= INVOCATION - 15 * SECOND, "it was retried for {:?}", began.elapsed());
    assert!(scene.store.faults.asked("read").len() > 5);
    assert_eq!(scene.provider.calls(), []);
}
