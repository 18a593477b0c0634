//! Polls share a send, and endings do not wait for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ports::{DONE, Fault, Move};
use super::{SECOND, Scene};
use crate::message::SWEEP_BODY;
use crate::postpress::{Answer, Progress};
use crate::run::{AckReason, Disposition, Poll, RetryReason, Schedule};

const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);
const FAILED: Disposition = Disposition::Retry(RetryReason::Failed);

fn running_after(time: Duration) -> Move {
    Move::SayAfter(time, Answer::InProgress(Progress::Running))
}

/// The first delay is 20 s, from 18 to 22 s with its jitter.
fn polls_after_20_s() -> Scene {
    let schedule = Schedule { poll_initial: 20 * SECOND, ..Schedule::default() };
    Scene::polling(schedule)
}

#[tokio::test(start_paused = true)]
async fn polls_of_a_batch_share_one_send_and_the_wait_shortens_their_delays() {
    let scene = polls_after_20_s();
    scene.provider.script("slow", [running_after(9 * SECOND)]);
    scene.trigger("fast");
    scene.trigger("slow");
    assert_eq!(scene.invoke().await, [POLLED_ON; 2]);
    assert_eq!(scene.queue.inner.send_requests(), 1);
    let [fast, slow] = &scene.queue.take_sent()[..] else { panic!() };
    assert!((9 * SECOND..=13 * SECOND).contains(&fast.delay), "{:?}", fast.delay);
    assert!((18 * SECOND..=22 * SECOND).contains(&slow.delay), "{:?}", slow.delay);
}

#[tokio::test(start_paused = true)]
async fn an_ending_is_published_without_waiting_for_a_slow_neighbor() {
    let scene = Scene::new();
    scene.provider.script("slow", [running_after(9 * SECOND)]);
    scene.provider.script("done", [DONE]);
    scene.trigger("slow");
    scene.trigger("done");
    assert_eq!(scene.invoke().await, [POLLED_ON, Disposition::Ack(AckReason::Ended)]);
    for port in [&scene.store.faults.asked("mark done"), &scene.bus.faults.asked("publish")] {
        assert_eq!(port[..], [Duration::ZERO]);
    }
    assert_eq!(scene.queue.faults.asked("send"), [9 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_does_not_wait_for_a_neighbors_ending() {
    for port in ["mark ends", "end ends", "publish"] {
        let scene = Scene::new();
        scene.provider.script("ends", [DONE]);
        scene.provider.script("polls", [running_after(SECOND)]);
        scene.store.faults.always(port, Fault::Throttled);
        scene.bus.faults.always(port, Fault::Throttled);
        scene.trigger("ends");
        scene.trigger("polls");
        let dispositions = scene.invoke().await;
        assert_eq!(dispositions[1], POLLED_ON, "{port}");
        assert_ne!(dispositions[0], Disposition::Ack(AckReason::Ended), "{port}");
        assert_eq!(scene.queue.faults.asked("send")[0], SECOND, "{port}: sent as soon as the last call is answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_does_not_wait_for_a_sweep_or_an_invalid_trigger() {
    for neighbour in [SWEEP_BODY, "not a trigger"] {
        let scene = Scene::new();
        scene.provider.script("polls", [running_after(SECOND)]);
        scene.store.faults.always("due", Fault::Throttled);
        scene.bus.faults.always("publish", Fault::Throttled);
        scene.put(neighbour);
        scene.trigger("polls");
        assert_eq!(scene.invoke().await, [FAILED, POLLED_ON], "{neighbour}");
        assert_eq!(scene.queue.faults.asked("send")[0], SECOND, "{neighbour}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsent_poll_retries_only_its_own_message() {
    for (fault, requests, dispositions) in [
        (Fault::Throttled, 2, [POLLED_ON; 3]), // the one entry is sent again
        (Fault::Refused, 1, [FAILED, POLLED_ON, POLLED_ON]),
    ] {
        let scene = Scene::new();
        scene.queue.faults.once("entry", fault);
        ["a", "b", "c"].into_iter().for_each(|chat| scene.trigger(chat));
        assert_eq!(scene.invoke().await, dispositions, "{fault:?}");
        assert_eq!(scene.queue.faults.asked("send").len(), requests, "{fault:?}");
        let sent = scene.queue.take_sent().into_iter().map(|sent| serde_json::from_str::<Poll>(&sent.body).unwrap());
        let sent: BTreeSet<_> = sent.map(|poll| poll.subject.id().to_owned()).collect();
        let polled = ["a", "b", "c"].into_iter().zip(dispositions).filter(|(_, disposition)| *disposition == POLLED_ON);
        assert_eq!(sent, polled.map(|(chat, _)| chat.to_owned()).collect(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_with_an_unsent_poll_continues_at_redelivery() {
    let scene = Scene::new();
    scene.queue.faults.always("send", Fault::Throttled);
    scene.provider.script("c", [Move::Say(Answer::InProgress(Progress::Started)), DONE]);
    scene.trigger("c");
    assert_eq!(scene.invoke().await, [FAILED]);
    assert!(scene.queue.faults.asked("send").len() > 5, "retried for as long as the invocation lasts");
    scene.queue.faults.heal();
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Ended)]);
    assert_eq!(scene.events()[0].detail.polls, Some(2));
}
