//! Triggers that may not join the run in flight: they wait until it is over.

use super::*;
use crate::postpress::Resync;

/// A trigger sent at that time, which only a run that begins later may answer.
fn after_request(message_id: &str, requested_at: Millis) -> TriggerMessage {
    let Task::Trigger(message) = trigger_task(message_id) else { unreachable!() };
    let trigger = Trigger { requested_at, ..message.trigger };
    TriggerMessage { after_request: true, trigger, ..message }
}

fn scene(table: Item, message: &TriggerMessage, now: Millis) -> Scene {
    Scene::new(Some(table), Task::Trigger(message.clone()), "w", now)
}

fn waiting(scene: &mut Scene) -> (TriggerMessage, Delay) {
    let Step::Wait { trigger, delay } = scene.until_effect().step.clone() else { panic!("{:?}", scene.step) };
    (*trigger, delay)
}

#[test]
fn a_trigger_joins_only_a_run_that_began_after_it_by_every_clock() {
    let margin = rules().lease_margin;
    for (requested_at, disposition) in [
        (NOW - margin, AckReason::Joined),
        (NOW - margin + Duration::from_millis(1), AckReason::Waits),
        (NOW, AckReason::Waits),
        (NOW + LEASE, AckReason::Waits),
    ] {
        let mut scene = scene(item(), &after_request("b", requested_at), NOW + LEASE);
        assert_eq!(scene.disposition(), Disposition::Ack(disposition), "{requested_at:?}");
    }
}

#[test]
fn a_trigger_that_waits_keeps_its_key_its_message_id_and_its_time() {
    let message = after_request("b", NOW);
    let mut scene = scene(item(), &message, NOW + LEASE);
    let (again, _) = waiting(&mut scene);
    assert_eq!(again, TriggerMessage { waits: 1, ..message });
    assert_eq!(scene.table(), &item());
}

#[test]
fn a_trigger_waits_as_long_as_a_poll_would() {
    let delays = [0, 1, 2, 30].map(|waits| {
        let message = TriggerMessage { waits, ..after_request("b", NOW) };
        waiting(&mut scene(item(), &message, NOW)).1.after(Duration::ZERO).as_millis()
    });
    assert_eq!(delays, [5_000, 7_500, 11_250, 300_000]);
}

#[test]
fn every_trigger_waits_for_a_cancelled_run_to_end() {
    let cancelled = Item { cancelled_at: Some(NOW), ..item() };
    let mut scene = Scene::new(Some(cancelled.clone()), trigger_task("b"), "b", NOW);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Waits));
    assert_eq!(scene.table(), &cancelled);
}

#[test]
fn a_run_that_is_cancelled_before_the_join_is_not_joined() {
    let mut scene = Scene::new(Some(item()), trigger_task("b"), "b", NOW);
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::Join { .. })), "{:?}", scene.step);
    scene.table = Some(Item { cancelled_at: Some(NOW), ..item() });
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Waits));
}

#[test]
fn a_full_run_that_a_trigger_may_not_join_does_not_refuse_it() {
    let full = Item { triggers: vec![trigger("x"); TRIGGERS_MAX], ..item() };
    let mut scene = scene(full, &after_request("b", NOW), NOW);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Waits));
}

#[test]
fn a_trigger_that_waited_starts_its_own_run_once_the_other_is_over() {
    let message = TriggerMessage { waits: 3, ..after_request("b", NOW) };
    let mut scene = scene(published(), &message, NOW + LEASE);
    assert_eq!(scene.until_effect().step, call());
    let item = scene.table();
    assert_eq!((&item.holder, &item.triggers[0]), (&MessageId::new("w"), &message.trigger));
    assert_eq!(item.keys, [message.key].into());
}

#[test]
fn a_copy_of_a_trigger_that_was_accepted_is_a_duplicate() {
    let message = after_request("starter", NOW);
    let mut scene = scene(item(), &message, NOW);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Duplicate));
}

#[test]
fn a_wait_that_cannot_be_sent_is_delivered_again() {
    let mut scene = scene(item(), &after_request("b", NOW), NOW);
    waiting(&mut scene);
    scene.give(StepResult::Failed);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
}

#[test]
fn the_deadline_counts_only_where_a_trigger_would_have_to_wait_again() {
    let deadline = rules().schedule.run_deadline;
    let message = after_request("b", NOW);
    let expired = |table| scene(table, &message, NOW + deadline);
    assert_eq!(expired(published()).until_effect().step, call());
    let joinable = Item { started_at_ms: NOW + LEASE, ..item() };
    assert_eq!(expired(joinable).disposition(), Disposition::Ack(AckReason::Joined));
    waiting(&mut scene(item(), &message, NOW + deadline - Duration::from_millis(1)));

    let mut refused = expired(item());
    let Step::Publish(publication) = refused.until_effect().step.clone() else { panic!("{:?}", refused.step) };
    let detail = Event::from(publication).detail;
    let error = detail.error.unwrap();
    assert_eq!(
        (error.kind.as_str(), error.status, detail.origin),
        ("bridge/deadline_exceeded", 504, Some(Origin::Bridge))
    );
    assert_eq!((detail.triggers, detail.run_id, detail.finished_at), (vec![message.trigger.clone()], None, None));
    assert_eq!(refused.disposition(), Disposition::Ack(AckReason::Refused));
    assert_eq!(refused.table(), &item());
}

#[test]
fn a_sync_that_must_begin_later_is_not_answered_with_an_earlier_one() {
    let message = TriggerMessage { fresh_for: Some(LEASE), ..after_request("b", NOW) };
    assert_eq!(scene(published(), &message, NOW).until_effect().step, call());
}

#[test]
fn a_trigger_joins_only_a_run_with_the_same_options() {
    let options = |partial| Resync { partial: Some(partial), ..Resync::default() };
    for (run, asked, disposition) in [
        (Resync::default(), options(true), AckReason::Waits),
        (options(true), Resync::default(), AckReason::Waits),
        (options(true), options(false), AckReason::Waits),
        (options(true), options(true), AckReason::Joined),
    ] {
        let Task::Trigger(message) = trigger_task("b") else { unreachable!() };
        let message = TriggerMessage { resync: asked.clone(), ..message };
        let mut scene = scene(Item { resync: run.clone(), ..item() }, &message, NOW);
        assert_eq!(scene.disposition(), Disposition::Ack(disposition), "{run:?}, {asked:?}");
    }
}
