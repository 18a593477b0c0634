//! Cancels: the write, the poll that follows it, and how each message ends a cancelled run.

use super::*;
use crate::run::Cancel;

fn cancel_task(requested_at: Millis) -> Task {
    Task::Cancel(Cancel { subject: item().subject, requested_at })
}

/// The run, cancelled.
fn cancelled() -> Item {
    Item { cancelled_at: Some(NOW), ..item() }
}

fn outcome_in(scene: &Scene) -> Outcome {
    scene.table().state.outcome().unwrap_or_else(|| panic!("{:?}", scene.table())).clone()
}

fn is_cancelled(outcome: &Outcome) -> bool {
    let is_cancelled = outcome.ended_by == EndedBy::Cancelled;
    if is_cancelled {
        let Ending::Error { error, origin } = &outcome.ending else { panic!("{outcome:?}") };
        assert_eq!((error.kind.as_str(), error.status, *origin), ("bridge/cancelled", 409, Origin::Bridge));
        assert!(error.detail.as_ref().unwrap().contains("goes on"), "{error:?}");
    }
    is_cancelled
}

#[test]
fn a_run_that_no_message_holds_is_sent_the_poll_that_ends_it() {
    let mut scene = Scene::new(Some(item()), cancel_task(NOW), "x", EXPIRED);
    scene.carry_out();
    let Step::Send { poll, delay } = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!((poll, *delay), (&item().poll(None, None), Delay::NONE));
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Cancelled));
    assert_eq!(scene.table(), &Item { cancelled_at: Some(EXPIRED), ..item() });
}

#[test]
fn a_run_that_a_message_holds_is_left_to_that_message() {
    let mut scene = Scene::new(Some(item()), cancel_task(NOW), "x", NOW + LEASE);
    scene.carry_out();
    assert_eq!(scene.step, Step::Done(Disposition::Ack(AckReason::Cancelled)));
    assert!(scene.table().cancelled_at.is_some());
}

#[test]
fn a_cancel_touches_only_a_run_in_flight_that_began_before_it() {
    for (what, table, requested_at) in [
        ("no run", None, NOW),
        ("began later", Some(item()), Millis(NOW.0 - 1)),
        ("ended", Some(ended()), NOW),
        ("published", Some(published()), NOW),
    ] {
        let mut scene = Scene::new(table.clone(), cancel_task(requested_at), "x", EXPIRED);
        assert_eq!(scene.disposition(), Disposition::Ack(AckReason::NothingToCancel), "{what}");
        assert_eq!(scene.table, table, "{what}");
    }
}

#[test]
fn a_cancel_that_cannot_be_written_or_sent_on_is_delivered_again() {
    let mut scene = Scene::new(Some(item()), cancel_task(NOW), "x", EXPIRED);
    scene.give(StepResult::Failed);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
    let mut scene = Scene::new(Some(item()), cancel_task(NOW), "x", EXPIRED);
    scene.carry_out().give(StepResult::Failed);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
}

#[test]
fn the_next_message_of_a_cancelled_run_ends_it_without_a_call() {
    for (what, task, message, now) in [
        ("the poll that names the claim, lease held", poll_task(1), "p", NOW),
        ("the poll that names the claim, lease expired", poll_task(1), "p", EXPIRED),
        ("the holder, lease expired", poll_task(5), "starter", EXPIRED),
        ("the trigger that holds it, lease expired", trigger_task("starter"), "starter", EXPIRED),
    ] {
        let mut scene = Scene::new(Some(cancelled()), task, message, now);
        assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended), "{what}");
        assert!(is_cancelled(&outcome_in(&scene)), "{what}");
        let item = scene.table();
        assert!(item.state.is_published(), "{what}");
        assert_eq!((item.polls, item.claim_id), (1, ClaimId::from_random(1)), "{what}: no claim");
    }
}

#[test]
fn a_cancelled_run_is_ended_with_what_its_poll_learned() {
    let Task::Poll(poll) = poll_task(1) else { unreachable!() };
    let mut scene = Scene::new(Some(cancelled()), Task::Poll(poll.clone()), "p", NOW);
    scene.disposition();
    assert_eq!(Some(&scene.table().learned), poll.learned.as_ref());
    let learned = PollState { restarts: 3, ..PollState::default() };
    let before = Item { learned: learned.clone(), ..cancelled() };
    let mut scene = Scene::new(Some(before), Task::Poll(Poll { learned: None, ..poll }), "p", NOW);
    scene.disposition();
    assert_eq!(scene.table().learned, learned);
}

#[test]
fn an_answer_that_a_poll_carries_counts_more_than_the_cancel() {
    let mut scene = Scene::new(Some(cancelled()), answer_task(1), "p", NOW);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended));
    assert_eq!(outcome_in(&scene), done());
}

#[test]
fn other_messages_of_a_cancelled_run_leave_it_alone() {
    for (what, task, message, now, disposition) in [
        ("superseded", poll_task(5), "p", EXPIRED, Disposition::Ack(AckReason::Superseded)),
        ("the holder, lease held", poll_task(5), "starter", NOW, Disposition::Retry(RetryReason::LeaseHeld)),
        (
            "the trigger that holds it, lease held",
            trigger_task("starter"),
            "starter",
            NOW,
            Disposition::Retry(RetryReason::LeaseHeld),
        ),
    ] {
        let mut scene = Scene::new(Some(cancelled()), task, message, now);
        assert_eq!(scene.disposition(), disposition, "{what}");
        assert_eq!(scene.table(), &cancelled(), "{what}");
    }
    let other_run = Item { run_id: RunId::from_random(5), ..cancelled() };
    let mut scene = Scene::new(Some(other_run), poll_task(1), "p", EXPIRED);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Over));
}

#[test]
fn a_claim_made_before_the_cancel_leads_to_its_call_and_the_answer_counts() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    let written = scene.apply();
    let claimed = scene.table.clone().unwrap();
    let table = Item { cancelled_at: Some(NOW), ..claimed };
    scene.table = Some(table.clone());
    assert!(matches!(written, StepResult::Written(WriteResult::Applied(_))));
    // The reply to the write was lost; repeated by the SDK, it is refused.
    scene.give(StepResult::Written(WriteResult::ConditionFailed(Some(Box::new(table)))));
    assert_eq!(scene.step, call());
    scene.give(over());
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended));
    assert_eq!(outcome_in(&scene).ending, Finish::Done.into());
}

#[test]
fn a_trigger_whose_claim_the_cancel_forestalls_ends_the_run() {
    let mut scene = Scene::new(Some(item()), trigger_task("starter"), "starter", EXPIRED);
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::Claim { .. })), "{:?}", scene.step);
    scene.table = Some(cancelled());
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended));
    assert!(is_cancelled(&outcome_in(&scene)));
}

#[test]
fn two_messages_that_end_a_cancelled_run_publish_its_ending_once() {
    let mut scene = Scene::new(Some(cancelled()), poll_task(1), "p", NOW);
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::End { .. })), "{:?}", scene.step);
    let other = Outcome { ended_by: EndedBy::Cancelled, ..done() };
    scene.table = Some(Item { state: RunState::Published { outcome: other, expires_at: 1 }, ..cancelled() });
    scene.carry_out();
    assert_eq!(scene.step, Step::Done(Disposition::Ack(AckReason::Ended)));
}

#[test]
fn a_cancelled_ending_that_cannot_be_recorded_is_forwarded_under_the_same_claim() {
    let mut scene = Scene::new(Some(cancelled()), poll_task(1), "p", NOW);
    scene.carry_out().give(StepResult::Failed);
    let Step::Send { poll, delay } = scene.step.clone() else { panic!("{:?}", scene.step) };
    assert!(poll.answer.as_ref().is_some_and(is_cancelled), "{poll:?}");
    assert_eq!((poll.claim_id, delay), (ClaimId::from_random(1), Delay::NONE));
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::HandedOn));
    let mut scene = Scene::new(scene.table.clone(), Task::Poll(poll), "q", NOW);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended));
    assert!(is_cancelled(&outcome_in(&scene)));
}
