//! The pace of calls: what a message costs that waits for its turn, and what is measured.

use std::num::NonZeroU32;
use std::time::Duration;

use super::ports::{DONE, Move, RUNNING, STARTED};
use super::{SECOND, Scene};
use crate::ids::Subject;
use crate::metrics::Metric;
use crate::postpress::pace::Rate;
use crate::postpress::{Answer, Body, Mask};
use crate::run::{AckReason, Disposition};

/// Three calls fit in an invocation.
const RATE: Rate = Rate { interval: Duration::from_secs(20), burst: NonZeroU32::MIN };

#[tokio::test(start_paused = true)]
async fn a_poll_takes_one_write_however_often_it_waits_for_its_turn() {
    let scene = Scene::paced(Rate { interval: 40 * SECOND, ..RATE });
    for chat in ["a", "b", "c", "d"] {
        scene.provider.script(chat, [STARTED, RUNNING, DONE]);
        scene.trigger(chat);
    }
    let dispositions = scene.play_out().await;
    let count = |reason| dispositions.iter().filter(|settled| **settled == Disposition::Ack(reason)).count();
    assert_eq!([AckReason::PolledOn, AckReason::Ended].map(count), [8, 4], "a message is for a call: {dispositions:?}");
    assert!(count(AckReason::Deferred) >= 4, "{dispositions:?}");
    let mut writes = scene.store.faults.tally();
    writes.remove("read");
    let expected = [("start", 4), ("claim", 8), ("end", 4), ("mark", 4)];
    assert_eq!(writes, expected.map(|(write, count)| (write.to_owned(), count)).into());
}

#[tokio::test(start_paused = true)]
async fn waits_and_the_pace_are_measured() {
    let scene = Scene::paced(RATE);
    for chat in ["a", "b", "c", "d"] {
        scene.trigger(chat);
    }
    let metrics = scene.measure().await;
    assert_eq!(metrics.of(Metric::PaceWait), [60_000, 20_000, 40_000], "the first is that of the message sent again");
    assert_eq!(metrics.of(Metric::Deferred), [1]);
    assert_eq!(metrics.of(Metric::Pace), [50_000; 3], "millionths of a call a second, for each call");

    let unpaced = Scene::new();
    unpaced.trigger("a");
    assert!(unpaced.measure().await.of(Metric::Pace).is_empty());
}

#[tokio::test(start_paused = true)]
async fn pace_is_lower_after_a_429() {
    let scene = Scene::paced(RATE);
    let chat = Subject::chat("c").unwrap();
    let over_limit = Answer::from_response(&chat, 429, Some(SECOND), &Body::whole(""), Mask::NONE);
    scene.provider.script("c", [Move::Say(over_limit), RUNNING]);
    scene.trigger("c");
    assert_eq!(scene.measure().await.of(Metric::Pace), [50_000]);
    let later = scene.measure().await;
    let [slowed] = later.of(Metric::Pace) else { panic!("{later:?}") };
    assert!((25_000..50_000).contains(slowed), "halved, and recovering: {slowed}");
}
