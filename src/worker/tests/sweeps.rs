//! The sweep recovers lost runs and leaves the others alone.

use std::time::Duration;

use tokio::time::sleep;

use super::ports::{DONE, Fault, Move, RUNNING};
use super::{EPOCH, INVOCATION, SECOND, Scene};
use crate::ids::Subject;
use crate::message::SWEEP_BODY;
use crate::metrics::{Metric, Metrics};
use crate::postpress::{Answer, Finish};
use crate::run::{
    ACTIVE_SHARDS, AckReason, DEFAULT_LEASE_MARGIN, DEFAULT_OVERDUE, Disposition, Item, Open, Phase, Poll, RetryReason,
    RunState, Write,
};
use crate::settings::Config;
use crate::store::RunStore;
use crate::time::Millis;

const ENDED: Disposition = Disposition::Ack(AckReason::Ended);
const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);
/// A run whose message is lost counts as lost this long after its claim, and not before.
const LOST_AFTER: Duration = INVOCATION.saturating_add(DEFAULT_LEASE_MARGIN).saturating_add(DEFAULT_OVERDUE);

/// Runs a sweep in its own invocation and returns the polls it sends.
async fn sweep(scene: &Scene) -> Vec<Poll> {
    measured_sweep(scene).await.0
}

/// The same, with the metrics of the invocation.
async fn measured_sweep(scene: &Scene) -> (Vec<Poll>, Metrics) {
    scene.put(SWEEP_BODY);
    let report = scene.report_for(INVOCATION).await;
    assert!(matches!(report.messages[..], [(_, Disposition::Ack(AckReason::Swept))]), "{report:?}");
    let sent = scene.queue.take_sent();
    (sent.iter().map(|sent| serde_json::from_str(&sent.body).unwrap()).collect(), report.metrics)
}

fn swept_next(scene: &Scene) -> Millis {
    scene.item("c").state.open().unwrap().sweep_at_ms
}

/// A run in progress whose poll is lost; the next call would find it done.
async fn lost_run() -> Scene {
    lost_run_then(DONE).await
}

async fn lost_run_then(next_answer: Move) -> Scene {
    let scene = Scene::new();
    scene.provider.script("c", [RUNNING, next_answer]);
    scene.trigger("c");
    assert_eq!(scene.invoke().await, [POLLED_ON]);
    scene.lose_messages().await;
    scene.queue.take_sent();
    scene
}

/// The moment `after` the scene's beginning.
async fn wait_until(scene: &Scene, after: Duration) {
    sleep((EPOCH + after).since(scene.clock.now())).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_with_a_lost_poll_is_recovered_under_its_own_claim_and_ends() {
    let scene = lost_run().await;
    let item = scene.item("c");
    wait_until(&scene, LOST_AFTER).await;
    assert_eq!(sweep(&scene).await, [], "not yet");
    assert_eq!(
        swept_next(&scene),
        item.lease_until_ms + DEFAULT_OVERDUE,
        "but checked again at the earliest possible time"
    );

    sleep(SECOND).await;
    let (subject, run_id, claim_id) = (item.subject.clone(), item.run_id, item.claim_id);
    assert_eq!(sweep(&scene).await, [Poll { subject, run_id, claim_id, learned: None, answer: None, group: None }]);
    assert_eq!(scene.play_out().await, [ENDED]);
    assert_eq!(scene.events()[0].detail.polls, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_recovered_less_and_less_often_while_its_polls_are_lost() {
    let scene = lost_run().await;
    let lease_until = scene.item("c").lease_until_ms;
    wait_until(&scene, LOST_AFTER + SECOND).await;
    for _ in 0..4 {
        let now = scene.clock.now();
        assert_eq!(sweep(&scene).await.len(), 1);
        assert_eq!(swept_next(&scene), now + now.since(lease_until));
        scene.lose_messages().await;
        assert_eq!(sweep(&scene).await, [], "its poll may still arrive");
        sleep(swept_next(&scene).since(scene.clock.now()) + SECOND).await;
    }
    assert_eq!(sweep(&scene).await.len(), 1);
    assert_eq!(scene.play_out().await, [ENDED]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_a_sweep_cannot_send_is_due_at_the_next_sweep() {
    let scene = lost_run().await;
    wait_until(&scene, LOST_AFTER + SECOND).await;
    let due = swept_next(&scene);
    scene.queue.faults.once("send", Fault::Refused);
    scene.put(SWEEP_BODY);
    assert_eq!(scene.invoke().await, [Disposition::Retry(RetryReason::Failed)]);
    assert_eq!(swept_next(&scene), due);
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Swept)]);
    assert_eq!(scene.play_out().await, [ENDED]);
}

#[tokio::test(start_paused = true)]
async fn an_ending_is_published_after_its_publisher_died() {
    let scene = Scene::new();
    scene.provider.script("c", [DONE]);
    scene.bus.faults.once("publish", Fault::Refused);
    scene.trigger("c");
    assert_eq!(scene.invoke().await, [Disposition::Retry(RetryReason::Failed)]);
    scene.lose_messages().await;
    wait_until(&scene, DEFAULT_OVERDUE + SECOND).await;
    assert_eq!(sweep(&scene).await.len(), 1);
    assert_eq!(scene.play_out().await, [Disposition::Ack(AckReason::Published)]);
    assert_eq!(scene.bus.offered()[0], scene.bus.offered()[1]);
    assert_eq!((scene.item("c").state.open(), scene.provider.calls().len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_sends_nothing_while_a_lease_is_held() {
    for (operation, last_answer, phase) in [("send", RUNNING, Phase::Active), ("publish", DONE, Phase::Ended)] {
        let scene = lost_run_then(last_answer).await;
        wait_until(&scene, LOST_AFTER + SECOND).await;
        assert_eq!(sweep(&scene).await.len(), 1);
        // The poll is late, and its receiver dies after the call, so that the run is due and held at the same time.
        wait_until(&scene, swept_next(&scene).since(EPOCH) + SECOND).await;
        scene.faults_of(operation).once(operation, Fault::Refused);
        assert_eq!(scene.invoke().await, [Disposition::Retry(RetryReason::Failed)]);
        assert_eq!(scene.item("c").state.phase(), phase);

        assert_eq!(sweep(&scene).await, [], "{phase:?}");
        assert_eq!(swept_next(&scene), scene.item("c").lease_until_ms + DEFAULT_OVERDUE, "{phase:?}");
    }
}

/// A scene whose sweeps have time for this many runs.
fn scene_with_time_for(runs: u32) -> Scene {
    let mut config = Config::default();
    config.limits.sweep_pace = (INVOCATION - config.limits.provider_timeout - config.rules.lease_margin) / runs;
    Scene::with(config)
}

/// Adds a run whose message is lost, like that of `lost`, which is due at `sweep_at_ms`.
async fn add_run(scene: &Scene, chat: &str, like: &Item, sweep_at_ms: Millis) {
    let subject = Subject::chat(chat).unwrap();
    let open = Open::of_active(&subject, sweep_at_ms);
    let item = Box::new(Item { subject, state: RunState::Active { open }, ..like.clone() });
    scene.store.inner.write(&Write::Start { item, over: None }).await.unwrap();
}

/// The item of a run in progress whose poll is lost, in a table of its own.
async fn lost_item() -> Item {
    lost_run().await.item("c")
}

fn chats(polls: &[Poll]) -> Vec<&str> {
    polls.iter().map(|poll| poll.subject.id()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_sweep_looks_at_those_runs_first_that_have_been_due_longest() {
    let (scene, lost) = (scene_with_time_for(100), lost_item().await);
    for number in (0..250_u32).rev() {
        add_run(&scene, &format!("c{number:03}"), &lost, EPOCH + SECOND * number).await;
    }
    wait_until(&scene, LOST_AFTER + SECOND).await;
    for (reached, left_behind) in [(0..100, Some(150)), (100..200, Some(50)), (200..250, None), (0..0, None)] {
        let expected: Vec<_> = reached.map(|number| format!("c{number:03}")).collect();
        let (polls, metrics) = measured_sweep(&scene).await;
        assert_eq!(chats(&polls), expected);
        assert_eq!(metrics.of(Metric::LeftBehind), left_behind.as_slice());
        while !scene.queue.inner.is_empty() {
            scene.lose_messages().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn healthy_runs_of_one_shard_keep_no_sweep_from_a_lost_run_in_another() {
    let (scene, lost) = (scene_with_time_for(10), lost_item().await);
    let healthy = Item { lease_until_ms: EPOCH + 2 * LOST_AFTER, ..lost.clone() };
    let in_shard = |shard: u8| {
        let chats = (0..).map(|number| format!("c{number}"));
        chats.filter(move |chat| Open::of_active(&Subject::chat(chat).unwrap(), EPOCH).shard == shard)
    };
    for chat in in_shard(ACTIVE_SHARDS.start).take(95) {
        add_run(&scene, &chat, &healthy, EPOCH).await;
    }
    let last = in_shard(ACTIVE_SHARDS.end - 1).next().unwrap();
    add_run(&scene, &last, &lost, EPOCH + SECOND).await;
    wait_until(&scene, LOST_AFTER + SECOND).await;
    let mut sweeps = 1;
    while chats(&sweep(&scene).await) != [last.as_str()] {
        sweeps += 1;
    }
    assert_eq!(sweeps, 10, "96 due runs, 10 a sweep");
}

#[tokio::test(start_paused = true)]
async fn an_unpublished_ending_does_not_wait_behind_active_runs() {
    let scene = scene_with_time_for(1);
    scene.provider.script("ended", [DONE]);
    scene.bus.faults.once("publish", Fault::Refused);
    scene.trigger("ended");
    assert_eq!(scene.invoke().await, [Disposition::Retry(RetryReason::Failed)]);
    scene.lose_messages().await;
    let lost = lost_item().await;
    for number in 0..20 {
        add_run(&scene, &format!("c{number}"), &lost, EPOCH).await;
    }
    wait_until(&scene, LOST_AFTER + SECOND).await;
    assert_eq!(chats(&sweep(&scene).await), ["ended"]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_read_keeps_no_sweep_from_the_others() {
    let (scene, lost) = (Scene::new(), lost_item().await);
    let chats_of_all_shards = 64;
    let mut of_shard_0 = 0;
    for number in 0..chats_of_all_shards {
        let chat = format!("c{number}");
        of_shard_0 += usize::from(Open::of_active(&Subject::chat(&chat).unwrap(), EPOCH).shard == 0);
        add_run(&scene, &chat, &lost, EPOCH).await;
    }
    wait_until(&scene, LOST_AFTER + SECOND).await;
    scene.store.faults.always("due 0", Fault::Throttled);
    scene.put(SWEEP_BODY);
    assert_eq!(scene.invoke().await, [Disposition::Retry(RetryReason::Failed)]);
    assert_eq!(scene.queue.take_sent().len(), chats_of_all_shards - of_shard_0);
    assert!(of_shard_0 > 0);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_without_time_comes_back() {
    let scene = lost_run().await;
    wait_until(&scene, LOST_AFTER + SECOND).await;
    scene.put(SWEEP_BODY);
    assert_eq!(scene.invoke_for(14 * SECOND).await, [Disposition::Retry(RetryReason::NoTime)]);
    assert!(scene.store.faults.asked("due").is_empty());
}

#[tokio::test(start_paused = true)]
async fn concurrent_sweeps_only_cause_a_duplicate_poll() {
    let scene = lost_run_then(Move::SayAfter(SECOND, Answer::Over(Finish::Done))).await;
    wait_until(&scene, LOST_AFTER + SECOND).await;
    scene.store.faults.always("move", Fault::Slow(SECOND / 100)); // so that both find it before either moves it on
    scene.put(SWEEP_BODY);
    scene.put(SWEEP_BODY);
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Swept); 2]);
    assert_eq!(scene.queue.take_sent().len(), 2);
    let mut dispositions = scene.play_out().await;
    dispositions.sort();
    assert_eq!(dispositions, [ENDED, Disposition::Ack(AckReason::Superseded)]);
    assert_eq!(scene.provider.calls().len(), 2);
    assert_eq!(scene.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_run_does_not_hide_others() {
    let scene = Scene::new();
    let chats: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    for chat in &chats {
        scene.provider.script(chat, [RUNNING, DONE]);
        scene.trigger(chat);
    }
    scene.invoke().await;
    while !scene.queue.inner.is_empty() {
        scene.lose_messages().await;
    }
    scene.queue.take_sent();
    scene.store.faults.always("read c7", Fault::Refused);
    wait_until(&scene, LOST_AFTER + SECOND).await;
    let revived = sweep(&scene).await;
    assert_eq!(revived.len(), 9, "all except one");
    assert!(revived.iter().all(|poll| poll.subject.id() != "c7"));
    let moved_to = scene.item("c7").state.open().unwrap().sweep_at_ms;
    assert!(moved_to > scene.clock.now(), "it is moved behind the others");
}
