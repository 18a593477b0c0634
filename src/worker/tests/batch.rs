//! A batch: each message is independent, and what each costs.

use std::collections::HashMap;

use tokio::time::Instant;

use super::ports::{DONE, Fault, Move};
use super::{INVOCATION, SECOND, Scene};
use crate::message::SWEEP_BODY;
use crate::postpress::{Answer, Progress};
use crate::run::{AckReason, Disposition, RetryReason};

const POLLED_ON: Disposition = Disposition::Ack(AckReason::PolledOn);

const MALFORMED: &str = r#"{"postpress_bridge": "poll", "v": 1}"#;
const NEWER: &str = r#"{"postpress_bridge": "poll", "v": 2}"#;
const OWN_EVENT: &str =
    r#"{"schema_version": "1", "event_id": "00000000-0000-4000-8000-000000000001", "chat_id": "own", "triggers": []}"#;
const INVALID: &str = r#"{"chat_id": "", "correlation_id": "order-17"}"#;

#[tokio::test(start_paused = true)]
async fn an_invalid_message_never_fails_its_neighbors() {
    let scene = Scene::new();
    scene.provider.script("panics", [Move::Panic]);
    scene.provider.script("done", [DONE]);
    scene.store.faults.always("start broken", Fault::Refused);
    let trigger = |chat: &str| serde_json::json!({"chat_id": chat}).to_string();
    let (bodies, expected): (Vec<String>, Vec<Disposition>) = [
        (MALFORMED.to_owned(), Disposition::Ack(AckReason::Malformed)),
        (NEWER.to_owned(), Disposition::Retry(RetryReason::NewerVersion)),
        (trigger("panics"), Disposition::Retry(RetryReason::Bug("handling panicked"))),
        (trigger("broken"), Disposition::Retry(RetryReason::Failed)),
        (OWN_EVENT.to_owned(), Disposition::Ack(AckReason::OwnEvent)),
        (INVALID.to_owned(), Disposition::Ack(AckReason::Refused)),
        (SWEEP_BODY.to_owned(), Disposition::Ack(AckReason::Swept)),
        (trigger("running"), Disposition::Ack(AckReason::PolledOn)),
        (trigger("done"), Disposition::Ack(AckReason::Ended)),
    ]
    .into_iter()
    .unzip();
    bodies.iter().for_each(|body| scene.put(body));

    assert_eq!(scene.invoke().await, expected);
    let chats = scene.events().into_iter().map(|event| event.detail.chat_id.map(|chat| chat.to_string()));
    assert_eq!(
        chats.collect::<Vec<_>>(),
        [None, Some("done".to_owned())],
        "one event each for the invalid and the done"
    );
}

#[tokio::test(start_paused = true)]
async fn only_retried_messages_stay_on_the_queue() {
    for (body, is_retried) in
        [(MALFORMED, false), (OWN_EVENT, false), (INVALID, false), (SWEEP_BODY, false), (NEWER, true)]
    {
        let scene = Scene::new();
        scene.put(body);
        scene.invoke().await;
        assert_eq!(scene.queue.inner.is_empty(), !is_retried, "{body}");
        let tally = scene.store.faults.tally();
        assert!(tally.keys().all(|operation| operation == "due"), "{body} touched a run: {tally:?}");
        assert_eq!(scene.provider.calls(), [], "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_trigger_is_answered_with_the_same_bytes_until_published() {
    let scene = Scene::new();
    scene.bus.faults.once("publish", Fault::Refused);
    scene.put(INVALID);
    assert_eq!(scene.invoke().await, [Disposition::Retry(RetryReason::Failed)]);
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Refused)]);

    let [refused, published] = &scene.bus.offered()[..] else { panic!("{:?}", scene.bus.offered()) };
    assert_eq!(refused, published);
    let [event] = &scene.events()[..] else { panic!("{:?}", scene.events()) };
    let error = event.detail.error.as_ref().unwrap();
    assert_eq!(
        (event.detail_type.as_str(), &*error.kind, error.status),
        ("ERROR_ENVELOPE", "bridge/invalid_trigger", 400)
    );
    assert_eq!(event.detail.input.as_deref(), Some(INVALID));
    assert_eq!(event.detail.triggers[0].correlation_id.as_deref(), Some("order-17"));
}

#[tokio::test(start_paused = true)]
async fn ten_polls_in_progress_take_ten_writes_and_one_send() {
    let scene = Scene::new();
    begin_ten_runs(&scene).await;
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::PolledOn); 10]);
    assert_eq!(scene.store.faults.tally(), tally(&[("claim", 10)]));
    assert_eq!(scene.queue.faults.tally(), tally(&[("send", 1), ("entry", 10)]));
    assert_eq!(scene.bus.faults.tally(), tally(&[]));
    assert_eq!(scene.provider.calls().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn ten_endings_take_three_writes_and_one_publication_each() {
    let scene = Scene::new();
    begin_ten_runs(&scene).await;
    for chat in 0..10 {
        scene.provider.script(&chat.to_string(), [DONE]);
    }
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::Ended); 10]);
    assert_eq!(scene.store.faults.tally(), tally(&[("claim", 10), ("end", 10), ("mark", 10)]));
    assert_eq!(scene.queue.faults.tally(), tally(&[]));
    assert_eq!(scene.bus.faults.tally(), tally(&[("publish", 10)]));
    assert_eq!(scene.provider.calls().len(), 20);
}

/// Ten runs whose polls are visible; only their ten calls have been counted.
async fn begin_ten_runs(scene: &Scene) {
    (0..10).for_each(|chat| scene.trigger(&chat.to_string()));
    assert_eq!(scene.invoke().await, [Disposition::Ack(AckReason::PolledOn); 10]);
    // Longer than every first delay, so that all ten are received at once.
    tokio::time::sleep(super::SECOND * 10).await;
    scene.store.faults.forget();
    scene.queue.faults.forget();
    scene.bus.faults.forget();
}

fn tally(operations: &[(&str, usize)]) -> HashMap<String, usize> {
    operations.iter().map(|(operation, times)| ((*operation).to_owned(), *times)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_the_invocation_of_a_large_batch_is_returned_unclaimed() {
    let scene = Scene::new();
    for number in 0..10_000 {
        let chat = format!("c{number}");
        scene.provider.script(&chat, [Move::SayAfter(SECOND, Answer::InProgress(Progress::Running))]);
        scene.trigger(&chat);
    }
    scene.store.faults.always("read", Fault::Slow(SECOND / 100));
    let mut batch = Vec::new();
    while batch.len() < 10_000 {
        batch.extend(scene.receive().await);
    }
    // With 50 calls of a second at once, fifty seconds hold 1,700 to 2,500 of them.
    let began = Instant::now();
    let report = scene.worker.handle(&batch, began + INVOCATION).await;
    assert!(began.elapsed() < INVOCATION);
    assert!(scene.provider.max_in_flight() <= 50);

    let polled = report.messages.iter().filter(|(_, disposition)| *disposition == POLLED_ON).count();
    assert!((1_700..=2_500).contains(&polled), "{polled}");
    assert_eq!(scene.provider.calls().len(), polled);
    let expected = |index: usize| if index < polled { POLLED_ON } else { Disposition::Retry(RetryReason::NoTime) };
    assert!(report.messages.iter().enumerate().all(|(index, (_, disposition))| *disposition == expected(index)));
    assert_eq!(scene.store.inner.items().len(), polled, "the others are unclaimed");
}
