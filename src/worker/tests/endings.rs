//! Messages of one invocation that find the same unpublished ending publish it once.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::ports::{DONE, Fault, STARTED};
use super::{INVOCATION, SECOND, Scene};
use crate::ids::TriggerKey;
use crate::message::SWEEP_BODY;
use crate::run::{AckReason, Disposition, Item, RetryReason, RunState, TRIGGERS_MAX, Write};
use crate::store::RunStore;

const FAILED: Disposition = Disposition::Retry(RetryReason::Failed);
const JOINED: Disposition = Disposition::Ack(AckReason::Joined);
const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);
const PUBLISHED: Disposition = Disposition::Ack(AckReason::Published);
const KEYED: &str = r#"{"chat_id": "c", "idempotency_key": "k"}"#;

/// A chat whose run has an unpublished ending, because the process that recorded it died. The next call starts a sync.
async fn unpublished() -> Scene {
    let scene = Scene::new();
    scene.provider.script("c", [DONE, STARTED]);
    scene.bus.faults.once("publish", Fault::Refused);
    scene.put(KEYED);
    assert_eq!(scene.invoke().await, [FAILED]);
    scene.lose_messages().await;
    assert!(matches!(scene.item("c").state, RunState::Ended { .. }));
    scene.bus.faults.forget();
    scene.store.faults.forget();
    scene
}

/// The same, with ten new triggers on the queue.
async fn ten_triggers() -> Scene {
    let scene = unpublished().await;
    (0..10).for_each(|_| scene.trigger("c"));
    scene
}

fn publishes(scene: &Scene) -> usize {
    scene.bus.faults.asked("publish").len()
}

fn sorted(mut dispositions: Vec<Disposition>) -> Vec<Disposition> {
    dispositions.sort();
    dispositions
}

#[tokio::test(start_paused = true)]
async fn ten_triggers_publish_the_ending_once_and_one_starts_the_next_run() {
    let scene = ten_triggers().await;
    scene.bus.faults.always("publish", Fault::Slow(SECOND)); // so that all ten find the ending
    let dispositions = sorted(scene.invoke().await);
    assert_eq!(dispositions, [vec![POLLED_ON], vec![JOINED; 9]].concat());
    assert_eq!(publishes(&scene), 1);
    let writes = [("read", 20), ("mark", 1), ("start", 1), ("join", 9)];
    let writes: HashMap<_, _> = writes.map(|(operation, times)| (operation.to_owned(), times)).into();
    assert_eq!(scene.store.faults.tally(), writes);
    let endings: HashSet<_> = scene.bus.offered().into_iter().collect();
    assert_eq!(endings.len(), 1, "the same bytes as before the publisher died");
    assert_eq!(scene.item("c").triggers.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn polls_and_duplicate_triggers_share_the_publication() {
    let scene = unpublished().await;
    scene.bus.faults.always("publish", Fault::Slow(SECOND));
    let poll = scene.item("c").recovery_poll().to_body();
    [&poll, KEYED, &poll, KEYED, &poll].into_iter().for_each(|body| scene.put(body));
    assert_eq!(scene.invoke().await, [PUBLISHED; 5]);
    assert_eq!((publishes(&scene), scene.store.faults.asked("mark").len()), (1, 1));
    assert!(scene.item("c").state.is_published());
}

#[tokio::test(start_paused = true)]
async fn an_unpublished_ending_retries_all_messages_and_is_published_once_later() {
    for fault in [Fault::Refused, Fault::Throttled, Fault::Slow(3600 * SECOND)] {
        let scene = ten_triggers().await;
        scene.bus.faults.always("publish", fault);
        let began = Instant::now();
        assert_eq!(scene.invoke().await, [FAILED; 10], "{fault:?}");
        assert!(began.elapsed() < INVOCATION, "{fault:?}: no message outlasts the invocation");
        let tries = scene.bus.faults.asked("publish");
        let moments: HashSet<_> = tries.iter().collect();
        assert_eq!(tries.len(), moments.len(), "{fault:?}: one message publishes for all");
        assert_eq!(tries.len() == 1, fault == Fault::Refused, "{fault:?}: {tries:?}");
        assert!(scene.store.faults.asked("mark").is_empty(), "{fault:?}");

        scene.bus.faults.heal();
        scene.bus.faults.forget();
        tokio::time::sleep(INVOCATION).await; // so that all ten are visible again
        assert_eq!(sorted(scene.invoke().await), [vec![POLLED_ON], vec![JOINED; 9]].concat(), "{fault:?}");
        assert_eq!(publishes(&scene), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_mark_retries_all_messages() {
    let scene = ten_triggers().await;
    scene.bus.faults.always("publish", Fault::Slow(SECOND));
    scene.store.faults.once("mark", Fault::Refused);
    assert_eq!(scene.invoke().await, [FAILED; 10]);
    assert_eq!((publishes(&scene), scene.store.faults.asked("mark").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_publisher_leaves_the_ending_to_the_next() {
    let scene = ten_triggers().await;
    scene.bus.faults.once("publish", Fault::Panics);
    let dispositions = scene.invoke().await;
    assert_eq!(dispositions[0], Disposition::Retry(RetryReason::Bug("handling panicked")));
    assert_eq!(sorted(dispositions[1..].to_vec()), [vec![POLLED_ON], vec![JOINED; 8]].concat());
    assert_eq!(publishes(&scene), 2);
}

#[tokio::test(start_paused = true)]
async fn events_of_different_messages_are_published_separately() {
    let scene = unpublished().await;
    let item = scene.item("c");
    let triggers = vec![item.triggers[0].clone(); TRIGGERS_MAX];
    let full = Item { subject: crate::ids::Subject::chat("full").unwrap(), triggers, ..item };
    let open = full.state.open().unwrap();
    let full = Item { state: RunState::Active { open }, keys: [TriggerKey::of("k")].into(), ..full };
    scene.store.inner.write(&Write::Start { item: Box::new(full), over: None }).await.unwrap();
    scene.bus.faults.always("publish", Fault::Slow(SECOND));
    (0..3).for_each(|_| scene.trigger("full"));
    scene.put("not a trigger");
    scene.put(SWEEP_BODY);
    assert_eq!(scene.invoke().await[..4], [Disposition::Ack(AckReason::Refused); 4]);
    let ids: HashSet<_> = scene.events().into_iter().map(|event| event.detail.event_id).collect();
    assert_eq!((ids.len(), publishes(&scene)), (4, 4));
}
