//! Operations that fail, or whose reply is lost after they succeed, never change the result of a run.

use std::collections::HashSet;
use std::time::Duration;

use super::ports::{DONE, Fault, RUNNING, STARTED};
use super::{INVOCATION, SECOND, Scene};
use crate::run::{AckReason, Disposition, Poll, RetryReason, RunState, Schedule};

const FAILED: Disposition = Disposition::Retry(RetryReason::Failed);
const SUPERSEDED: Disposition = Disposition::Ack(AckReason::Superseded);
const HANDED_ON: Disposition = Disposition::Ack(AckReason::HandedOn);

/// A run of three calls, about 100 s apart, and a second trigger that joins it; one more call would panic.
///
/// Returns the disposition of every delivery, until nothing is left to do.
async fn run_of_two_triggers(scene: &Scene) -> Vec<Disposition> {
    scene.provider.script("c", [STARTED, RUNNING, DONE]);
    scene.trigger("c");
    let mut dispositions = scene.invoke().await;
    scene.trigger("c");
    dispositions.extend(scene.play_out().await);
    dispositions
}

fn polls_after_100_s() -> Scene {
    let schedule = Schedule { poll_initial: 100 * SECOND, poll_factor: 1.0, ..Schedule::default() };
    Scene::polling(schedule)
}

/// The run ended after three calls, with one ending whose bytes are the same each time it was published.
fn assert_ended_once(scene: &Scene, published: usize, what: &str) {
    let item = scene.item("c");
    assert!(item.state.is_published(), "{what}");
    assert_eq!(scene.provider.calls().len(), 3, "{what}");
    assert_eq!(scene.events().len(), published, "{what}");
    let endings: HashSet<_> = scene.bus.offered().into_iter().collect();
    assert_eq!(endings.len(), 1, "{what}: {endings:?}");
    let detail = &scene.events()[0].detail;
    assert_eq!((detail.event_id, detail.polls, detail.restarts), (item.run_id.as_uuid(), Some(3), Some(0)), "{what}");
    let joined: Vec<_> = detail.triggers.iter().map(|trigger| trigger.joined).collect();
    assert_eq!(joined, [false, true], "{what}");
}

#[tokio::test(start_paused = true)]
async fn transient_faults_change_nothing_whether_or_not_the_operation_was_executed() {
    for fault in [Fault::Throttled, Fault::ReplyLost, Fault::Silent, Fault::Slow(3600 * SECOND)] {
        for operation in ["read", "start", "join", "claim", "end", "mark", "publish", "send", "entry"] {
            if operation == "entry" && fault != Fault::Throttled {
                continue; // an entry has no reply of its own to lose
            }
            let what = format!("{operation}: {fault:?}");
            let scene = polls_after_100_s();
            scene.faults_of(operation).once(operation, fault);
            let dispositions = run_of_two_triggers(&scene).await;
            let twice = |of: &str| usize::from(operation == of && fault.hides_success());
            assert_ended_once(&scene, 1 + twice("publish"), &what);
            assert!(!dispositions.iter().any(|disposition| disposition.is_retry()), "{what}: {dispositions:?}");
            // A poll that was sent twice is dropped at its second delivery, since the first has claimed.
            let superseded = dispositions.iter().filter(|disposition| **disposition == SUPERSEDED).count();
            assert_eq!(superseded, twice("send"), "{what}: {dispositions:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_not_retried_before_redelivery() {
    for operation in ["read", "start", "join", "claim", "end", "mark", "publish", "send", "entry"] {
        let scene = polls_after_100_s();
        scene.faults_of(operation).once(operation, Fault::Refused);
        let dispositions = run_of_two_triggers(&scene).await;
        assert_ended_once(&scene, if operation == "mark" { 2 } else { 1 }, operation);
        // An ending that cannot be recorded is not retried, which would call again. It is forwarded.
        let (retried, forwarded) = if operation == "end" { (0, 1) } else { (1, 0) };
        let count = |of: Disposition| dispositions.iter().filter(|disposition| **disposition == of).count();
        assert_eq!((count(FAILED), count(HANDED_ON)), (retried, forwarded), "{operation}: {dispositions:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unpublished_ending_is_published_later_with_the_same_bytes() {
    let scene = Scene::new();
    scene.bus.faults.always("publish", Fault::Throttled);
    scene.provider.script("c", [DONE]);
    scene.trigger("c");
    assert_eq!(scene.invoke().await, [FAILED]);
    assert!(scene.bus.faults.asked("publish").len() > 5, "retried for as long as the invocation lasts");
    assert!(matches!(scene.item("c").state, RunState::Ended { .. }));

    scene.bus.faults.heal();
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Published)]);
    assert_eq!(HashSet::<String>::from_iter(scene.bus.offered()).len(), 1);
    assert!(scene.item("c").state.is_published());
    assert_eq!(scene.provider.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unrecorded_ending_is_forwarded_until_recorded_without_another_call() {
    for fault in [Fault::Throttled, Fault::Slow(3600 * SECOND), Fault::Refused] {
        let scene = Scene::new();
        scene.queue.faults.always("send", Fault::Slow(SECOND)); // which must fit into the invocation
        scene.store.faults.always("end", fault);
        scene.provider.script("c", [DONE]);
        scene.trigger("c");
        let answered_at = scene.clock.now();
        let mut claims = HashSet::new();
        // Recording is retried until some time in the invocation's last seconds, which depends on its length.
        for half_seconds in 0..6 {
            let invocation = INVOCATION + half_seconds * SECOND / 2;
            assert_eq!(scene.invoke_for(invocation).await, [HANDED_ON], "{fault:?}, {invocation:?}");
            let poll = sent_poll(&scene);
            assert_eq!(poll.answer.unwrap().finished_at, answered_at, "{fault:?}");
            assert!(claims.insert(poll.claim_id), "each is forwarded under its own worker's claim");
        }
        assert!(scene.item("c").state.is_active(), "{fault:?}");

        scene.store.faults.heal();
        assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Ended)], "{fault:?}");
        assert_eq!(scene.provider.calls().len(), 1, "{fault:?}");
        let detail = &scene.events()[0].detail;
        assert_eq!((detail.polls, detail.finished_at), (Some(1), Some(answered_at)), "{fault:?}");
    }
}

/// The last poll sent, the only one, which has no delay.
fn sent_poll(scene: &Scene) -> Poll {
    let [sent] = &scene.queue.take_sent()[..] else { panic!("not one message was sent") };
    assert_eq!(sent.delay, Duration::ZERO);
    serde_json::from_str(&sent.body).unwrap()
}
