//! The metrics of an invocation, and the trace that it passes on.

use std::collections::{BTreeSet, HashSet};

use super::ports::{DONE, Fault, Move, RUNNING, STARTED};
use super::{SECOND, Scene};
use crate::ids::Subject;
use crate::message::SWEEP_BODY;
use crate::metrics::{Metric, Metrics, Unit};
use crate::plan::cost::{SWEEP_METRICS, SYNC_METRICS};
use crate::postpress::{Answer, Body, Mask};

/// A documented transient failure.
fn failing() -> Move {
    Move::Say(Answer::from_response(&Subject::chat("c").unwrap(), 503, None, &Body::whole(""), Mask::NONE))
}

/// Every metric except the times, as `Polls=1`, `PollsSoFar=1,2`.
fn counted(metrics: &Metrics) -> String {
    let counted = metrics.seen().filter(|(metric, _)| metric.unit() == Unit::Count);
    let text = counted.map(|(metric, values)| {
        let values: Vec<_> = values.iter().map(u64::to_string).collect();
        format!("{}={}", metric.name(), values.join(","))
    });
    text.collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn each_invocation_counts_only_its_own_part_of_a_run() {
    let scene = Scene::new();
    let unusable = Move::Say(Answer::Unusable("not JSON".to_owned()));
    scene.provider.script("c", [STARTED, RUNNING, STARTED, failing(), unusable, RUNNING, DONE]);
    scene.trigger("c");
    for expected in [
        "Messages=1 Triggers=1 Polls=1 PollsSoFar=1",
        "Messages=1 Polls=1 PollsSoFar=2",
        "Messages=1 Polls=1 Restarts=1 PollsSoFar=3",
        "Messages=1 Polls=1 Retries=1 PollsSoFar=4",
        "Messages=1 Polls=1 UnusableAnswers=1 PollsSoFar=5",
        "Messages=1 Polls=1 PollsSoFar=6",
        "Messages=1 Polls=1 EndingsSyncDone=1 EndingsErrorEnvelope=0 PollsSoFar=7 PollsOfRun=7",
    ] {
        assert_eq!(counted(&scene.measure().await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn healthy_syncs_report_the_metrics_that_the_plan_bills() {
    let scene = Scene::new();
    scene.provider.script("c", [STARTED, RUNNING, DONE]);
    scene.trigger("c");
    scene.put(SWEEP_BODY);
    let mut reported = BTreeSet::new();
    while !scene.queue.inner.is_empty() {
        reported.extend(scene.measure().await.seen().map(|(metric, _)| metric));
    }
    assert_eq!(reported, SYNC_METRICS.into_iter().chain(SWEEP_METRICS).collect());
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_call_are_counted_by_disposition() {
    let scene = Scene::new();
    scene.provider.script("c", [STARTED, DONE]);
    scene.trigger("c");
    let poll = scene.measure().await;
    assert_eq!(counted(&poll), "Messages=1 Triggers=1 Polls=1 PollsSoFar=1");
    scene.trigger("c");
    scene.put(r#"{"chat_id": 7}"#);
    scene.put(r#"{"postpress_bridge": "poll", "v": 1}"#);
    scene.put(r#"{"postpress_bridge": "poll", "v": 2}"#);
    scene.put(SWEEP_BODY);
    scene.put(r#"{"source": "postpress.bridge", "detail-type": "SYNC_DONE", "detail": {"chat_id": "c"}}"#);
    let expected = "Messages=6 Returned=1 Triggers=1 Joins=1 Refusals=1 OwnEvents=1 Malformed=1 Sweeps=1";
    assert_eq!(counted(&scene.measure().await), expected);
}

#[tokio::test(start_paused = true)]
async fn a_recovered_run_and_a_stale_poll_are_counted() {
    let scene = Scene::new();
    scene.provider.script("c", [STARTED, DONE]);
    scene.trigger("c");
    scene.invoke().await;
    let lost = scene.queue.take_sent().remove(0);
    scene.lose_messages().await;
    tokio::time::advance(2 * 3600 * SECOND).await;
    scene.put(SWEEP_BODY);
    assert_eq!(counted(&scene.measure().await), "Messages=1 Sweeps=1 Revived=1");
    assert_eq!(
        counted(&scene.measure().await),
        "Messages=1 Polls=1 EndingsSyncDone=1 EndingsErrorEnvelope=0 PollsSoFar=2 PollsOfRun=2"
    );
    scene.put(&lost.body);
    assert_eq!(counted(&scene.measure().await), "Messages=1 Duplicates=1");
}

#[tokio::test(start_paused = true)]
async fn times_are_measured_from_the_right_moment() {
    let scene = Scene::new();
    let Move::Say(started) = STARTED else { unreachable!() };
    scene.provider.script("c", [Move::SayAfter(3 * SECOND, started), DONE]);
    scene.trigger("c");
    tokio::time::advance(2 * SECOND).await;
    let first = scene.measure().await;
    assert_eq!(first.of(Metric::ProviderLatency), [3_000]);
    assert_eq!(first.of(Metric::Lag), [5_000], "due when it was sent");
    // The poll waits for its delay, about 5 s, and then for another ten.
    tokio::time::advance(10 * SECOND).await;
    let waiting = scene.queue.inner.waiting().len();
    let second = scene.measure().await;
    assert_eq!((waiting, second.of(Metric::ProviderLatency)), (1, &[0][..]));
    let [lag] = second.of(Metric::Lag) else { panic!("{second:?}") };
    assert!((4_000..6_500).contains(lag), "due at the end of its delay: {lag}");
    let [time] = second.of(Metric::TimeToEnding) else { panic!("{second:?}") };
    assert_eq!(*time, 15, "from the first trigger");
}

#[tokio::test(start_paused = true)]
async fn all_messages_of_a_run_carry_one_trace_even_after_recovery() {
    let scene = Scene::new();
    scene.provider.script("c", [STARTED, RUNNING, RUNNING, DONE]);
    scene.trigger("c");
    let [trigger] = &scene.receive().await[..] else { panic!("no trigger") };
    let of_run = trigger.trace();
    tokio::time::advance(100 * SECOND).await; // visible again
    scene.invoke().await;
    let traces = |scene: &Scene| -> HashSet<_> { scene.queue.take_sent().into_iter().map(|sent| sent.trace).collect() };
    assert_eq!(traces(&scene), HashSet::from([Some(of_run.clone())]));
    scene.invoke().await;
    scene.invoke().await;
    assert_eq!(traces(&scene), HashSet::from([Some(of_run.clone())]));
    scene.lose_messages().await;
    tokio::time::advance(2 * 3600 * SECOND).await;
    scene.put(SWEEP_BODY);
    scene.invoke().await;
    assert_eq!(traces(&scene), HashSet::from([Some(of_run)]));
}

#[tokio::test(start_paused = true)]
async fn a_retried_message_is_counted_at_each_delivery() {
    let scene = Scene::new();
    scene.provider.script("c", [STARTED]);
    scene.faults_of("read").always("read", Fault::Throttled);
    scene.trigger("c");
    for _ in 0..2 {
        assert_eq!(counted(&scene.measure().await), "Messages=1 Returned=1 Triggers=1");
    }
}
