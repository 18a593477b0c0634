//! Operations that fail, or that were carried out and whose reply was lost, never change what a run comes to.

use std::collections::HashSet;
use std::time::Duration;

use super::ports::{DONE, Fault, RUNNING, STARTED};
use super::{INVOCATION, SECOND, Scene};
use crate::run::{AckReason, Disposition, Poll, RetryReason, Schedule};

const FAILED: Disposition = Disposition::Retry(RetryReason::Failed);
const SUPERSEDED: Disposition = Disposition::Ack(AckReason::Superseded);
const HANDED_ON: Disposition = Disposition::Ack(AckReason::HandedOn);

/// A run of three calls, about 100 s apart, and a second trigger that joins it; one more call would panic.
///
/// Tells what became of every message at every delivery, once there is nothing more to do.
async fn run_of_two_triggers(scene: &Scene) -> Vec<Disposition> {
    scene.provider.script("c", [STARTED, RUNNING, DONE]);
    scene.trigger("c");
    let mut dealt = scene.invoke().await;
    scene.trigger("c");
    dealt.extend(scene.play_out().await);
    dealt
}

fn polls_after_100_s() -> Scene {
    let schedule = Schedule { poll_initial: 100 * SECOND, poll_factor: 1.0, ..Schedule::default() };
    Scene::polling(schedule)
}

/// The run is over after three calls, with one ending that has the same bytes each of the times that it was published.
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
async fn what_passes_within_an_invocation_changes_nothing_whether_or_not_it_was_carried_out() {
    for fault in [Fault::Throttled, Fault::ReplyLost, Fault::Silent, Fault::Slow(3600 * SECOND)] {
        for operation in ["read", "start", "join", "claim", "end", "mark", "publish", "send", "entry"] {
            if operation == "entry" && fault != Fault::Throttled {
                continue; // one entry of a request has no reply of its own that could be lost
            }
            let what = format!("{operation}: {fault:?}");
            let scene = polls_after_100_s();
            scene.faults_of(operation).once(operation, fault);
            let dealt = run_of_two_triggers(&scene).await;
            let twice = |of: &str| usize::from(operation == of && fault.hides_what_was_done());
            assert_ended_once(&scene, 1 + twice("publish"), &what);
            assert!(!dealt.iter().any(|dealt| dealt.is_retry()), "{what}: {dealt:?}");
            // A poll that was sent twice dies at its second delivery, for the first has claimed.
            let superseded = dealt.iter().filter(|dealt| **dealt == SUPERSEDED).count();
            assert_eq!(superseded, twice("send"), "{what}: {dealt:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_tried_again_before_the_message_comes_back() {
    for operation in ["read", "start", "join", "claim", "end", "mark", "publish", "send", "entry"] {
        let scene = polls_after_100_s();
        scene.faults_of(operation).once(operation, Fault::Refused);
        let dealt = run_of_two_triggers(&scene).await;
        assert_ended_once(&scene, if operation == "mark" { 2 } else { 1 }, operation);
        // An ending that cannot be recorded does not come back: that would call again. It travels on.
        let (came_back, handed_on) = if operation == "end" { (0, 1) } else { (1, 0) };
        let count = |of: Disposition| dealt.iter().filter(|dealt| **dealt == of).count();
        assert_eq!((count(FAILED), count(HANDED_ON)), (came_back, handed_on), "{operation}: {dealt:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ending_that_is_not_published_comes_back_and_is_published_with_the_same_bytes() {
    let scene = Scene::new();
    scene.bus.faults.always("publish", Fault::Throttled);
    scene.provider.script("c", [DONE]);
    scene.trigger("c");
    assert_eq!(scene.invoke().await, [FAILED]);
    assert!(scene.bus.faults.asked("publish").len() > 5, "tried for as long as the invocation lasts");
    assert!(scene.item("c").state.is_unpublished());

    scene.bus.faults.heal();
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Published)]);
    assert_eq!(HashSet::<String>::from_iter(scene.bus.offered()).len(), 1);
    assert!(scene.item("c").state.is_published());
    assert_eq!(scene.provider.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ending_that_cannot_be_recorded_travels_on_until_it_is_without_another_call() {
    for fault in [Fault::Throttled, Fault::Slow(3600 * SECOND), Fault::Refused] {
        let scene = Scene::new();
        scene.queue.faults.always("send", Fault::Slow(SECOND)); // for which there must be time
        scene.store.faults.always("end", fault);
        scene.provider.script("c", [DONE]);
        scene.trigger("c");
        let answered_at = scene.clock.now();
        let mut claims = HashSet::new();
        // The tries to record end at some time of the invocation's last seconds, which depends on its length.
        for half_seconds in 0..6 {
            let invocation = INVOCATION + half_seconds * SECOND / 2;
            assert_eq!(scene.invoke_for(invocation).await, [HANDED_ON], "{fault:?}, {invocation:?}");
            let poll = sent_poll(&scene);
            assert_eq!(poll.answer.unwrap().finished_at, answered_at, "{fault:?}");
            assert!(claims.insert(poll.claim_id), "each travels under the claim of its own worker");
        }
        assert!(scene.item("c").state.is_active(), "{fault:?}");

        scene.store.faults.heal();
        assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Ended)], "{fault:?}");
        assert_eq!(scene.provider.calls().len(), 1, "{fault:?}");
        let detail = &scene.events()[0].detail;
        assert_eq!((detail.polls, detail.finished_at), (Some(1), Some(answered_at)), "{fault:?}");
    }
}

/// The one poll that was sent last, which has no delay.
fn sent_poll(scene: &Scene) -> Poll {
    let [sent] = &scene.queue.take_sent()[..] else { panic!("not one message was sent") };
    assert_eq!(sent.delay, Duration::ZERO);
    serde_json::from_str(&sent.body).unwrap()
}
