//! When polls are due, and when a retried message is delivered again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::ports::{DONE, Fault, Move};
use super::{SECOND, Scene};
use crate::run::{AckReason, Disposition, RetryReason, Schedule};

const ENDED: Disposition = Disposition::Ack(AckReason::Ended);
const FAILED: Disposition = Disposition::Retry(RetryReason::Failed);
const PANICKED: Disposition = Disposition::Retry(RetryReason::Bug("handling panicked"));
const LEASE_HELD: Disposition = Disposition::Retry(RetryReason::LeaseHeld);
/// The invocation's 60 s and the margin of 5 s.
const LEASE: Duration = Duration::from_secs(65);

/// The delays of ten runs' first polls, all due after 20 s before jitter, from a worker with this seed.
async fn delays(seed: u64) -> Vec<Duration> {
    let schedule = Schedule { poll_initial: 20 * SECOND, ..Schedule::default() };
    let scene = Scene::polling(schedule);
    let scene = Scene { worker: scene.worker.with_seed(seed), ..scene };
    (0..10).for_each(|chat| scene.trigger(&chat.to_string()));
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::PolledOn); 10]);
    scene.queue.take_sent().into_iter().map(|sent| sent.delay).collect()
}

#[tokio::test(start_paused = true)]
async fn runs_that_start_together_are_polled_at_different_times() {
    let (one, other) = (delays(1).await, delays(2).await);
    for delays in [&one, &other] {
        assert!(delays.iter().all(|delay| (18 * SECOND..=22 * SECOND).contains(delay)), "{delays:?}");
        assert!(delays.iter().collect::<BTreeSet<_>>().len() > 5, "{delays:?}");
        let (first, last) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(*last - *first > SECOND, "{delays:?}");
    }
    assert_ne!(one, other, "two workers choose different delays");
    assert_eq!(one, delays(1).await, "the seed determines them all");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_may_hold_the_run_is_redelivered_after_its_lease() {
    // Its backoff alone would redeliver it after 15 to 21 s, and again 30 to 42 s later: both times within the lease.
    type Case = (&'static str, fn(&Scene), &'static [Disposition]);
    let cases: [Case; 2] = [
        (
            "its claim may have been written",
            |scene| {
                scene.store.faults.once("start", Fault::Refused);
                scene.provider.script("c", [DONE]);
            },
            &[FAILED, ENDED],
        ),
        (
            "an earlier delivery died after its claim",
            |scene| scene.provider.script("c", [Move::Panic, DONE]),
            &[PANICKED, LEASE_HELD, ENDED],
        ),
    ];
    for (what, arrange, expected) in cases {
        let scene = Scene::new();
        arrange(&scene);
        scene.trigger("c");
        let began = Instant::now();
        let mut dispositions = Vec::new();
        while dispositions.last() != Some(&ENDED) {
            dispositions.extend(scene.invoke().await);
            assert!(dispositions.len() <= expected.len(), "{what}: {dispositions:?}");
        }
        assert_eq!(dispositions, expected, "{what}");
        let took = began.elapsed();
        assert!((LEASE..LEASE + 2 * SECOND).contains(&took), "{what}: {took:?}");
    }
}
