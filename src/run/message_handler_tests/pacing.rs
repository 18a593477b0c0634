//! The pace of calls: a message waits for its turn before it claims, and goes on in a copy if its turn comes too late.

use super::*;

const TURN: StepResult = StepResult::Paced(Duration::from_secs(70));

/// A scene of a message that asks for its turn to call.
fn scene(table: Option<Item>, task: Task, message_id: &str, now: Millis) -> Scene {
    asks(Scene::paced(table, task, message_id, now))
}

fn asks(mut scene: Scene) -> Scene {
    while !matches!(scene.step, Step::Admit(_)) {
        scene.carry_out();
    }
    scene
}

fn retried(scene: &Scene) -> bool {
    scene.step == Step::Done(Disposition::Retry(RetryReason::Paced))
}

#[test]
fn a_poll_asks_for_its_turn_before_it_claims() {
    let scene = scene(Some(item()), poll_task(1), "poll", NOW);
    assert_eq!(scene.table(), &item());
}

#[test]
fn a_poll_whose_turn_comes_later_goes_on_in_an_identical_copy_without_a_claim() {
    let mut scene = scene(Some(item()), poll_task(1), "poll", NOW);
    scene.give(TURN).carry_out();
    let Step::Send { poll, delay } = scene.step.clone() else { panic!("{:?}", scene.step) };
    assert_eq!(Task::Poll(poll), poll_task(1));
    assert_eq!(delay.after(Duration::ZERO), Duration::from_secs(70));
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Deferred));
    assert_eq!(scene.table(), &item());
}

#[test]
fn a_poll_is_not_acknowledged_before_its_copy_is_sent() {
    let mut scene = scene(Some(item()), poll_task(1), "poll", NOW);
    scene.give(TURN).carry_out().give(StepResult::Failed);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
}

#[test]
fn a_poll_that_holds_the_run_is_never_replaced_by_a_copy() {
    let held = Item { holder: MessageId::new("poll"), claim_id: ClaimId::from_random(2), ..item() };
    let mut scene = scene(Some(held), poll_task(1), "poll", EXPIRED);
    scene.give(TURN).carry_out();
    assert!(retried(&scene), "{:?}", scene.step);
}

#[test]
fn a_poll_that_cannot_claim_is_not_sent_again() {
    let superseded = Item { claim_id: ClaimId::from_random(2), ..item() };
    let other_run = Item { run_id: RunId::from_random(2), ..item() };
    for (table, reason) in [
        (Some(superseded), AckReason::Superseded),
        (Some(other_run), AckReason::Over),
        (Some(published()), AckReason::Over),
        (None, AckReason::Over),
    ] {
        let mut scene = scene(table.clone(), poll_task(1), "poll", EXPIRED);
        scene.give(TURN).carry_out();
        assert_eq!(scene.step, Step::Done(Disposition::Ack(reason)));
        assert_eq!(scene.table, table);
    }
}

#[test]
fn an_ending_does_not_wait_for_a_turn_to_call() {
    let cancelled = Item { cancelled_at: Some(NOW), lease_until_ms: NOW, ..item() };
    for table in [ended(), cancelled] {
        let mut scene = scene(Some(table), poll_task(1), "poll", EXPIRED);
        scene.give(TURN);
        assert!(matches!(scene.disposition(), Disposition::Ack(AckReason::Published | AckReason::Ended)));
        assert!(scene.table().state.is_published());
    }
}

#[test]
fn a_poll_that_carries_an_answer_needs_no_turn() {
    let scene = Scene::paced(Some(item()), answer_task(1), "poll", NOW);
    assert!(matches!(scene.step, Step::Write(Write::Claim { .. })), "{:?}", scene.step);
}

#[test]
fn a_trigger_needs_no_turn_unless_it_claims() {
    for table in [item(), ended(), Item { holder: MessageId::new("t"), ..item() }] {
        let mut scene = Scene::paced(Some(table), trigger_task("t"), "t", NOW);
        for _ in 0..3 {
            assert!(!matches!(scene.step, Step::Admit(_)));
            if !matches!(scene.step, Step::Done(_)) {
                scene.carry_out();
            }
        }
    }
}

#[test]
fn a_trigger_whose_turn_comes_later_waits_under_its_key_and_starts_nothing() {
    for table in [None, Some(published())] {
        let mut scene = scene(table.clone(), trigger_task("t"), "t", NOW);
        scene.give(TURN);
        let Step::Wait { trigger, delay } = scene.step.clone() else { panic!("{:?}", scene.step) };
        assert_eq!(Task::Trigger(*trigger), trigger_task("t"));
        assert_eq!(delay.after(Duration::ZERO), Duration::from_secs(70));
        assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Deferred));
        assert_eq!(scene.table, table);
    }
}

#[test]
fn a_trigger_that_holds_the_run_is_never_replaced_by_a_copy() {
    let held = Item { holder: MessageId::new("t"), ..item() };
    let mut scene = scene(Some(held), trigger_task("t"), "t", EXPIRED);
    scene.give(TURN);
    assert!(retried(&scene), "{:?}", scene.step);
}

#[test]
fn a_trigger_does_not_wait_for_its_turn_beyond_its_deadline() {
    let deadline = rules().schedule.run_deadline;
    let mut scene = scene(None, trigger_task("t"), "t", NOW + deadline);
    scene.give(TURN);
    assert!(matches!(scene.step, Step::Publish(Publication::WaitedTooLong(_))), "{:?}", scene.step);

    let mut scene = Scene::new(None, trigger_task("t"), "t", NOW + deadline);
    assert_eq!(scene.until_effect().step, call(), "one whose turn has come starts at any age");
}

#[test]
fn a_trigger_claims_at_the_time_of_its_turn_and_asks_for_it_once() {
    let mut scene = scene(Some(published()), trigger_task("t"), "t", NOW);
    scene.now = NOW + Duration::from_secs(30);
    scene.table = None; // it expires meanwhile, so the write is refused and the trigger decides again
    scene.give(StepResult::Admitted);
    assert_eq!(scene.until_effect().step, call());
    assert_eq!(scene.table().started_at_ms, NOW + Duration::from_secs(30));
}

#[test]
fn a_trigger_of_a_workspace_that_is_not_configured_is_refused_and_starts_nothing() {
    for table in [None, Some(published())] {
        let mut scene = scene(table.clone(), trigger_task("t"), "t", NOW);
        scene.give(StepResult::UnknownWorkspace);
        assert!(matches!(scene.step, Step::Publish(Publication::UnknownWorkspace(_))), "{:?}", scene.step);
        assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Refused));
        assert_eq!(scene.table, table);
    }
}

#[test]
fn what_was_accepted_goes_on_though_its_workspace_is_no_longer_configured() {
    let mut poll = scene(Some(item()), poll_task(1), "poll", NOW);
    let held = Item { holder: MessageId::new("t"), ..item() };
    let mut trigger = scene(Some(held), trigger_task("t"), "t", EXPIRED);
    for scene in [&mut poll, &mut trigger] {
        scene.give(StepResult::UnknownWorkspace);
        assert_eq!(scene.until_effect().step, call());
    }
}
