//! The sweep recovers lost runs and leaves the others alone.

use std::time::Duration;

use tokio::time::sleep;

use super::ports::{DONE, Fault, Move, RUNNING};
use super::{EPOCH, INVOCATION, SECOND, Scene};
use crate::ids::{ChatId, Subject};
use crate::message::SWEEP_BODY;
use crate::postpress::{Answer, Finish};
use crate::run::{
    AckReason, DEFAULT_LEASE_MARGIN, DEFAULT_OVERDUE, Disposition, Item, Open, Phase, Poll, RetryReason, RunState,
    SWEEP_ACTIVE_MAX, Write,
};
use crate::store::RunStore;
use crate::time::Millis;

const ENDED: Disposition = Disposition::Ack(AckReason::Ended);
const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);
/// A run whose message is lost counts as lost this long after its claim, and not before.
const LOST_AFTER: Duration = INVOCATION.saturating_add(DEFAULT_LEASE_MARGIN).saturating_add(DEFAULT_OVERDUE);

/// Runs a sweep in its own invocation and returns the polls it sends.
async fn sweep(scene: &Scene) -> Vec<Poll> {
    scene.put(SWEEP_BODY);
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Swept)]);
    scene.queue.take_sent().iter().map(|sent| serde_json::from_str(&sent.body).unwrap()).collect()
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
    let (chat_id, run_id, claim_id) = (item.chat_id().clone(), item.run_id, item.claim_id);
    assert_eq!(sweep(&scene).await, [Poll { chat_id, run_id, claim_id, learned: None, answer: None }]);
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

#[tokio::test(start_paused = true)]
async fn a_sweep_recovers_at_most_a_thousand_runs() {
    let scene = lost_run().await;
    let lost = scene.item("c");
    for number in 1..SWEEP_ACTIVE_MAX + 100 {
        let subject = Subject::from(ChatId::parse(&format!("c{number}")).unwrap());
        let open = Open::new(&subject, lost.state.open().unwrap().sweep_at_ms);
        let item = Box::new(Item { subject, state: RunState::Active { open }, ..lost.clone() });
        scene.store.inner.write(&Write::Start { item, over: None }).await.unwrap();
    }
    wait_until(&scene, LOST_AFTER + SECOND).await;
    for expected in [SWEEP_ACTIVE_MAX, 100, 0] {
        assert_eq!(sweep(&scene).await.len(), expected);
        while !scene.queue.inner.is_empty() {
            scene.lose_messages().await;
        }
    }
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
    assert!(revived.iter().all(|poll| poll.chat_id.as_str() != "c7"));
}
