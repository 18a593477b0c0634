//! Each clause of the protocol, tested on a message's path: a case fails if its clause is removed.

#[path = "message_handler_tests/cancelling.rs"]
mod cancelling;
#[path = "message_handler_tests/pacing.rs"]
mod pacing;
#[path = "message_handler_tests/waiting.rs"]
mod waiting;

use std::time::Duration;

use super::*;
use crate::event::Event;
use crate::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
use crate::postpress::{Failure, Finish, Progress, Resync, RetryClass};
use crate::run::{
    ClaimCondition, EndedBy, Ending, Open, Origin, Phase, RecentKeys, TRIGGERS_MAX, Trigger, bridge_error,
};

const NOW: Millis = Millis(1_000_000);
const LEASE: Duration = Duration::from_secs(60);

/// A new active run, claimed by the message `starter`.
pub(in crate::run) fn item() -> Item {
    Item {
        subject: Subject::chat("c").unwrap(),
        resync: Resync::default(),
        run_id: RunId::from_random(1),
        claim_id: ClaimId::from_random(1),
        holder: MessageId::new("starter"),
        lease_until_ms: NOW + LEASE,
        state: RunState::Active { open: open() },
        triggers: vec![trigger("starter")],
        keys: [TriggerKey::of("starter")].into(),
        seen: RecentKeys::default(),
        learned: PollState::default(),
        started_at_ms: NOW,
        cancelled_at: None,
        group: None,
        polls: 1,
    }
}

pub(in crate::run) fn rules() -> Rules {
    Rules::default()
}

fn open() -> Open {
    Open { shard: 0, sweep_at_ms: NOW + Duration::from_secs(1800) }
}

/// The same run, ended, with its event not confirmed published.
pub(in crate::run) fn ended() -> Item {
    Item { state: RunState::Ended { outcome: done(), open: open() }, ..item() }
}

fn published() -> Item {
    published_at((NOW + rules().run_ttl).epoch_seconds())
}

/// The same run, with its event published.
pub(in crate::run) fn published_at(expires_at: u64) -> Item {
    Item { state: RunState::Published { outcome: done(), expires_at }, ..item() }
}

fn done() -> Outcome {
    Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: NOW }
}

fn trigger(message_id: &str) -> Trigger {
    Trigger {
        message_id: MessageId::new(message_id),
        correlation_id: None,
        idempotency_key: None,
        metadata: None,
        requested_at: NOW,
        joined: false,
    }
}

fn trigger_task(message_id: &str) -> Task {
    let key = TriggerKey::of(message_id);
    Task::Trigger(TriggerMessage {
        subject: Subject::chat("c").unwrap(),
        resync: Resync::default(),
        key,
        fresh_for: None,
        after_request: false,
        waits: 0,
        group: None,
        trigger: trigger(message_id),
    })
}

fn poll_task(claim: u128) -> Task {
    Task::Poll(Poll {
        subject: Subject::chat("c").unwrap(),
        run_id: RunId::from_random(1),
        claim_id: ClaimId::from_random(claim),
        learned: Some(PollState { status: Some(Progress::Running), ..PollState::default() }),
        answer: None,
        group: None,
    })
}

fn answer_task(claim: u128) -> Task {
    let Task::Poll(poll) = poll_task(claim) else { unreachable!() };
    Task::Poll(Poll { answer: Some(done()), ..poll })
}

fn subject() -> Subject {
    item().subject
}

fn call() -> Step {
    Step::Call(item().call())
}

/// A table of one item that executes a handler's steps, and the handler.
struct Scene {
    table: Option<Item>,
    handling: MessageHandler,
    step: Step,
    now: Millis,
    rules: Rules,
    /// Whether the message has to ask for its turn to call.
    is_paced: bool,
}

impl Scene {
    /// The fence of the scene's handler, which no item has.
    const CLAIM: u128 = 99;

    fn new(table: Option<Item>, task: Task, message_id: &str, now: Millis) -> Self {
        let mut scene = Self::paced(table, task, message_id, now);
        scene.is_paced = false;
        scene.admit()
    }

    /// A scene in which the message has to ask for its turn to call.
    fn paced(table: Option<Item>, task: Task, message_id: &str, now: Millis) -> Self {
        let rules = rules();
        let claimant = Claimant {
            message_id: MessageId::new(message_id),
            claim_id: ClaimId::from_random(Self::CLAIM),
            run_id: RunId::from_random(Self::CLAIM),
            lease_until_ms: now + LEASE,
        };
        let (handling, step) =
            MessageHandler::begin(task, claimant, StepContext { now, jitter: Jitter::NONE, rules: &rules });
        Self { table, handling, step, now, rules, is_paced: true }
    }

    /// Without a pace, every message's turn has come.
    fn admit(mut self) -> Self {
        if !self.is_paced && matches!(self.step, Step::Admit(_)) {
            self.give(StepResult::Admitted);
        }
        self
    }

    fn give(&mut self, input: StepResult) -> &mut Self {
        let tick = StepContext { now: self.now, jitter: Jitter::NONE, rules: &self.rules };
        self.step = self.handling.next(input, tick);
        if !self.is_paced && matches!(self.step, Step::Admit(_)) {
            self.step = self.handling.next(StepResult::Admitted, tick);
        }
        self
    }

    /// Executes the step on the table.
    fn apply(&mut self) -> StepResult {
        match &self.step {
            Step::Read(_) => StepResult::Read(self.table.clone().map(Box::new)),
            Step::Admit(_) => StepResult::Admitted,
            Step::Write(write) => {
                let written = write.apply(self.table.as_ref());
                if let WriteResult::Applied(item) = &written {
                    self.table = Some((**item).clone());
                }
                StepResult::Written(written)
            }
            Step::Send { .. } | Step::Wait { .. } | Step::Publish(_) => StepResult::Done,
            Step::Call(_) => panic!("the provider is called"),
            Step::Done(disposition) => panic!("already done: {disposition:?}"),
        }
    }

    fn carry_out(&mut self) -> &mut Self {
        let input = self.apply();
        self.give(input)
    }

    /// Advances to a call, a send, a publication or the end, whichever comes first.
    fn until_effect(&mut self) -> &mut Self {
        while matches!(self.step, Step::Read(_) | Step::Admit(_) | Step::Write(_)) {
            self.carry_out();
        }
        self
    }

    /// Advances to the end without another call.
    fn disposition(&mut self) -> Disposition {
        loop {
            match self.step {
                Step::Done(disposition) => return disposition,
                _ => self.carry_out(),
            };
        }
    }

    fn table(&self) -> &Item {
        self.table.as_ref().unwrap()
    }
}

fn running() -> StepResult {
    StepResult::Answered(Answer::InProgress(Progress::Running))
}

fn over() -> StepResult {
    StepResult::Answered(Answer::Over(Finish::Done))
}

const EXPIRED: Millis = Millis(NOW.0 + 60_001);

#[test]
fn a_trigger_for_an_unknown_chat_starts_a_run_and_calls() {
    let mut scene = Scene::new(None, trigger_task("a"), "a", NOW);
    assert_eq!(scene.until_effect().step, call());
    let item = scene.table();
    assert_eq!((item.polls, item.state.phase(), item.triggers.len()), (1, Phase::Active, 1));
    assert_eq!(item.state.open().unwrap().sweep_at_ms, NOW + rules().overdue);
    assert_eq!(item.lease_until_ms, NOW + LEASE);
    assert!(!item.triggers[0].joined);
}

#[test]
fn a_triggers_disposition_depends_on_the_item() {
    use AckReason::{Duplicate, Joined, Published, Refused};
    use RetryReason::LeaseHeld;
    let full = Item { triggers: vec![trigger("x"); TRIGGERS_MAX], ..item() };
    let known_before = Item { seen: RecentKeys::default().after(&item().keys, NOW, NOW, rules().run_ttl), ..item() };
    let known_before = Item { keys: [TriggerKey::of("other")].into(), ..known_before };
    for (what, table, message, now, disposition) in [
        ("rule 1: its own run, lease held", item(), "starter", NOW + LEASE, Disposition::Retry(LeaseHeld)),
        ("rule 1: its own ending, unpublished", ended(), "starter", NOW, Disposition::Ack(Published)),
        ("rule 1: its own ending, published", published(), "starter", NOW, Disposition::Ack(Duplicate)),
        (
            "rule 2: its key, active",
            Item { holder: MessageId::new("p"), ..item() },
            "starter",
            NOW,
            Disposition::Ack(Duplicate),
        ),
        (
            "rule 2: its key, unpublished",
            Item { holder: MessageId::new("p"), ..ended() },
            "starter",
            NOW,
            Disposition::Ack(Published),
        ),
        (
            "rule 2: its key, published",
            Item { holder: MessageId::new("p"), ..published() },
            "starter",
            NOW,
            Disposition::Ack(Duplicate),
        ),
        (
            "rule 2: seen in an earlier run",
            Item { holder: MessageId::new("p"), ..known_before },
            "starter",
            NOW,
            Disposition::Ack(Duplicate),
        ),
        ("rule 3: a run in flight", item(), "b", NOW, Disposition::Ack(Joined)),
        ("rule 3: a run that is full", full, "b", NOW, Disposition::Ack(Refused)),
    ] {
        assert_eq!(Scene::new(Some(table), trigger_task(message), message, now).disposition(), disposition, "{what}");
    }
}

#[test]
fn a_trigger_with_an_expired_lease_claims_its_run_again() {
    let mut scene = Scene::new(Some(item()), trigger_task("starter"), "starter", EXPIRED);
    assert_eq!(scene.until_effect().step, call());
    let item = scene.table();
    assert_eq!((item.polls, item.run_id, item.triggers.len()), (2, RunId::from_random(1), 1));
    assert_eq!(item.claim_id, ClaimId::from_random(Scene::CLAIM));
}

#[test]
fn join_is_recorded_without_a_provider_call() {
    let mut scene = Scene::new(Some(item()), trigger_task("b"), "b", EXPIRED);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Joined));
    let table = scene.table();
    assert!(table.triggers[1].joined);
    assert!(table.keys.contains(&TriggerKey::of("b")));
    assert_eq!((table.claim_id, table.polls), (item().claim_id, 1), "a join does not touch the claim");
}

#[test]
fn a_join_with_a_lost_reply_is_recognized() {
    let mut scene = Scene::new(Some(item()), trigger_task("b"), "b", NOW);
    scene.carry_out();
    scene.apply(); // written, but the reply is lost: the same write is sent again
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Joined));
    assert_eq!(scene.table().triggers.len(), 2);
}

#[test]
fn a_start_with_a_lost_reply_is_recognized_and_leads_to_a_call() {
    let mut scene = Scene::new(None, trigger_task("a"), "a", NOW);
    scene.carry_out();
    scene.apply();
    assert_eq!(scene.carry_out().step, call());
    assert_eq!(scene.table().polls, 1);
}

#[test]
fn a_start_by_a_concurrent_delivery_is_not_our_own() {
    // The same message, delivered twice at once: the other delivery's claim has our key, but not our fence.
    let mut scene = Scene::new(None, trigger_task("starter"), "starter", NOW);
    scene.carry_out();
    scene.table = Some(item());
    assert_eq!(scene.disposition(), Disposition::Retry(RetryReason::LeaseHeld));
}

#[test]
fn a_trigger_after_a_published_ending_starts_a_new_run_and_remembers_the_old_keys() {
    let mut scene = Scene::new(Some(published()), trigger_task("b"), "b", NOW);
    assert_eq!(scene.until_effect().step, call());
    let table = scene.table();
    assert_eq!(table.run_id, RunId::from_random(Scene::CLAIM));
    assert!(table.seen.contains(TriggerKey::of("starter"), NOW, rules().run_ttl));
    assert_eq!(table.keys, [TriggerKey::of("b")].into());
    assert!(table.state.is_active());
}

/// A trigger, other than the run's, that asks for nothing newer than this before its request at `NOW`.
fn fresh_task(fresh_for: Duration) -> Task {
    let Task::Trigger(message) = trigger_task("b") else { unreachable!() };
    Task::Trigger(TriggerMessage { fresh_for: Some(fresh_for), ..message })
}

/// The same item, whose run finished this long before `NOW`.
fn finished(item: Item, before: Duration) -> Item {
    let finished =
        |outcome| Outcome { finished_at: Millis(NOW.0 - u64::try_from(before.as_millis()).unwrap()), ..outcome };
    let state = match item.state {
        RunState::Active { open } => RunState::Active { open },
        RunState::Ended { outcome, open } => RunState::Ended { outcome: finished(outcome), open },
        RunState::Published { outcome, expires_at } => RunState::Published { outcome: finished(outcome), expires_at },
    };
    Item { state, ..item }
}

#[test]
fn a_recent_sync_answers_a_trigger_without_a_write() {
    let minute = Duration::from_mins(1);
    let mut scene = Scene::new(Some(finished(published(), minute)), fresh_task(minute), "b", NOW);
    let before = scene.table.clone();
    scene.until_effect();
    let Step::Publish(Publication::Fresh(answer)) = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!((answer.run.run_id, answer.key), (item().run_id, TriggerKey::of("b")));
    assert_eq!(answer.trigger.message_id.as_str(), "b");
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::AnsweredFresh));
    assert_eq!(scene.table, before);
}

#[test]
fn a_recent_unpublished_ending_is_published_before_it_answers_a_trigger() {
    let mut scene = Scene::new(Some(ended()), fresh_task(Duration::ZERO), "b", NOW);
    scene.until_effect();
    assert!(matches!(&scene.step, Step::Publish(Publication::Ending(_))), "{:?}", scene.step);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::AnsweredFresh));
    assert!(scene.table().state.is_published());
}

#[test]
fn a_trigger_that_no_recent_sync_answers_is_a_trigger_like_any_other() {
    let minute = Duration::from_mins(1);
    let late = Duration::from_millis(60_001);
    let of = |ending: Ending| {
        let RunState::Published { outcome, expires_at } = published().state else { unreachable!() };
        Item { state: RunState::Published { outcome: Outcome { ending, ..outcome }, expires_at }, ..published() }
    };
    let error = Ending::Error { error: bridge_error::too_many_triggers(), origin: Origin::Bridge };
    for (what, table) in [
        ("no run", None),
        ("too old", Some(finished(published(), late))),
        ("other options", Some(Item { resync: Resync { partial: Some(true), ..Resync::default() }, ..published() })),
        ("failed", Some(of(Finish::Error.into()))),
        ("deleted", Some(of(Finish::Deleted.into()))),
        ("an error", Some(of(error))),
        ("forgotten", Some(published_at(NOW.epoch_seconds() - 1))),
        ("in flight", Some(item())),
        ("its own key", Some(Item { keys: [TriggerKey::of("b")].into(), ..published() })),
    ] {
        let [fresh, plain] = [fresh_task(minute), trigger_task("b")].map(|task| {
            let mut scene = Scene::new(table.clone(), task, "b", NOW);
            scene.until_effect();
            (scene.step, scene.table)
        });
        assert_eq!(fresh, plain, "{what}");
    }
}

#[test]
fn an_unpublished_ending_is_published_before_the_next_run_starts() {
    let mut scene = Scene::new(Some(ended()), trigger_task("b"), "b", NOW);
    scene.until_effect();
    assert!(matches!(&scene.step, Step::Publish(Publication::Ending(ended)) if ended.run_id == item().run_id));
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::MarkPublished { .. })));
    scene.carry_out();
    assert_eq!(scene.step, Step::Read(subject()), "decided from a new read");
    assert_eq!(scene.until_effect().step, call());
    assert_eq!(scene.table().run_id, RunId::from_random(Scene::CLAIM));
}

#[test]
fn a_start_yields_if_the_previous_run_has_changed() {
    let mut scene = Scene::new(Some(published()), trigger_task("b"), "b", NOW);
    scene.carry_out();
    scene.table = Some(Item { run_id: RunId::from_random(5), ..item() });
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Joined));
}

#[test]
fn a_trigger_is_retried_after_five_decisions() {
    let mut scene = Scene::new(Some(item()), trigger_task("b"), "b", NOW);
    scene.carry_out();
    for run in 0..4 {
        let Step::Write(Write::Join { .. }) = scene.step else { panic!("{:?}", scene.step) };
        scene.table = Some(Item { run_id: RunId::from_random(10 + run), ..item() });
        scene.carry_out();
    }
    scene.table = None;
    scene.carry_out();
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Contended)));
}

#[test]
fn a_poll_claims_under_its_fence_regardless_of_the_lease() {
    for now in [NOW, EXPIRED] {
        let mut scene = Scene::new(Some(item()), poll_task(1), "p", now);
        assert_eq!(scene.until_effect().step, call());
        let table = scene.table();
        assert_eq!((table.polls, table.holder.as_str()), (2, "p"));
        assert_eq!(table.claim_id, ClaimId::from_random(Scene::CLAIM));
        assert_eq!(table.learned.status, Some(Progress::Running), "the poll's state is kept");
    }
}

#[test]
fn a_poll_without_state_keeps_the_items_state() {
    let learned = PollState { invalid_responses: 2, ..PollState::default() };
    let Task::Poll(poll) = poll_task(1) else { unreachable!() };
    let task = Task::Poll(Poll { learned: None, ..poll });
    let mut scene = Scene::new(Some(Item { learned: learned.clone(), ..item() }), task, "p", NOW);
    scene.until_effect();
    assert_eq!(scene.table().learned, learned);
}

#[test]
fn the_disposition_of_a_poll_that_cannot_claim_depends_on_the_item() {
    use AckReason::{Over, Published, Superseded};
    let held_by = |holder: &str| Item { claim_id: ClaimId::from_random(7), holder: MessageId::new(holder), ..item() };
    let other_run = Item { run_id: RunId::from_random(5), ..item() };
    for (what, table, now, disposition) in [
        ("2: no item", None, NOW, Disposition::Ack(Over)),
        ("2: another run", Some(other_run), NOW, Disposition::Ack(Over)),
        ("3: ended, unpublished, any holder", Some(ended()), NOW, Disposition::Ack(Published)),
        ("4: ended and published", Some(published()), NOW, Disposition::Ack(Over)),
        (
            "5: an earlier delivery holds it",
            Some(held_by("p")),
            NOW + LEASE,
            Disposition::Retry(RetryReason::LeaseHeld),
        ),
        ("6: another message has claimed", Some(held_by("q")), EXPIRED, Disposition::Ack(Superseded)),
    ] {
        assert_eq!(Scene::new(table, poll_task(1), "p", now).disposition(), disposition, "{what}");
    }
}

#[test]
fn a_poll_whose_worker_died_claims_again_after_its_lease() {
    let table = Item { claim_id: ClaimId::from_random(7), holder: MessageId::new("p"), ..item() };
    let mut scene = Scene::new(Some(table), poll_task(1), "p", EXPIRED);
    assert_eq!(scene.until_effect().step, call());
}

#[test]
fn a_message_stays_invisible_while_the_run_is_or_may_be_held() {
    // Held by an earlier delivery of this message.
    let mut again = Scene::new(Some(item()), trigger_task("starter"), "starter", NOW);
    assert_eq!(again.disposition(), Disposition::Retry(RetryReason::LeaseHeld));
    assert_eq!(again.handling.held_until(), Some(item().lease_until_ms));
    // By us, if a claim without a reply was written.
    let mut lost = Scene::new(Some(item()), poll_task(1), "poll", NOW);
    lost.give(StepResult::Failed);
    assert_eq!(lost.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
    assert_eq!(lost.handling.held_until(), Some(NOW + LEASE));
    // Not held.
    let unread = Scene::new(Some(item()), trigger_task("another"), "another", NOW)
        .give(StepResult::Failed)
        .handling
        .held_until();
    assert_eq!(unread, None);
}

#[test]
fn a_claim_with_a_lost_reply_is_recognized() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.apply();
    assert_eq!(scene.carry_out().step, call());
    assert_eq!(scene.table().polls, 2);
}

#[test]
fn an_answer_in_progress_sends_a_poll_under_our_claim() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(running());
    let Step::Send { poll, delay } = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!(poll.claim_id, ClaimId::from_random(Scene::CLAIM));
    assert_eq!(poll.learned.as_ref().unwrap().status, Some(Progress::Running));
    assert_eq!(delay.after(Duration::ZERO), Duration::from_millis(7500));
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::PolledOn));
}

#[test]
fn an_unsent_poll_retries_the_message() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(running()).give(StepResult::Failed);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
}

#[test]
fn an_ending_is_recorded_then_published_then_marked() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over());
    assert!(matches!(&scene.step, Step::Write(Write::End { claim_id, .. }) if *claim_id == ClaimId::from_random(99)));
    scene.carry_out();
    assert!(matches!(scene.step, Step::Publish(_)));
    assert!(matches!(scene.table().state, RunState::Ended { .. }));
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::MarkPublished { .. })));
    assert_eq!(scene.carry_out().step, Step::Done(Disposition::Ack(AckReason::Ended)));
    assert_eq!(scene.table().state, published().state);
}

#[test]
fn the_event_includes_a_trigger_that_joined_during_the_call() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect();
    let mut join = Scene::new(scene.table.clone(), trigger_task("b"), "b", NOW);
    join.disposition();
    scene.table = join.table;
    scene.give(over()).carry_out();
    let Step::Publish(Publication::Ending(ended)) = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!(ended.triggers.len(), 2);
}

#[test]
fn an_unrecorded_ending_is_forwarded_in_a_poll_without_delay() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over()).give(StepResult::Failed);
    let Step::Send { poll, delay } = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!((poll.claim_id, poll.answer.clone()), (ClaimId::from_random(Scene::CLAIM), Some(done())));
    assert_eq!(delay.after(Duration::ZERO), Duration::ZERO);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::HandedOn));
}

#[test]
fn a_poll_with_an_answer_makes_and_counts_no_call() {
    let mut scene = Scene::new(Some(item()), answer_task(1), "p", NOW);
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::End { .. })));
    assert_eq!(scene.table().polls, 1);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended));
}

#[test]
fn an_answer_unrecorded_again_is_forwarded_under_the_new_claim() {
    let mut scene = Scene::new(Some(item()), answer_task(1), "p", NOW);
    scene.carry_out().give(StepResult::Failed);
    let Step::Send { poll, .. } = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!(poll.claim_id, ClaimId::from_random(Scene::CLAIM));
    assert_eq!(poll.answer, Some(done()));
}

#[test]
fn a_stale_answer_is_stopped_by_the_fence() {
    let mut scene = Scene::new(Some(item()), answer_task(8), "p", NOW);
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Superseded));
    assert!(scene.table().state.is_active());
}

#[test]
fn an_outcome_with_a_lost_reply_is_recognized() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over());
    scene.apply();
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended));
}

#[test]
fn a_late_outcome_yields() {
    for (what, table, disposition) in [
        ("another message has claimed", item(), AckReason::Superseded),
        ("another message has ended it", ended(), AckReason::Published),
        ("it is over", published(), AckReason::Superseded),
    ] {
        let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
        scene.until_effect().give(over());
        scene.table = Some(table);
        assert_eq!(scene.disposition(), Disposition::Ack(disposition), "{what}");
    }
}

#[test]
fn a_failure_to_publish_or_mark_retries_the_message() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over()).carry_out().give(StepResult::Failed);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Failed)));

    let mut again = Scene::new(scene.table.clone(), poll_task(1), "p", NOW);
    again.until_effect().carry_out().give(StepResult::Failed);
    assert_eq!(again.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
}

#[test]
fn a_mark_with_a_failed_condition_is_not_an_error() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over()).carry_out().carry_out();
    scene.table = Some(Item { run_id: RunId::from_random(5), ..item() });
    assert_eq!(scene.disposition(), Disposition::Ack(AckReason::Ended));
}

#[test]
fn an_ending_has_one_id_and_one_form_for_every_publisher() {
    let event = |mut scene: Scene| match scene.until_effect().step.clone() {
        Step::Publish(publication) => Event::from(publication).detail_json(),
        other => panic!("{other:?}"),
    };
    let mut first = Scene::new(Some(item()), poll_task(1), "p", NOW);
    first.until_effect().give(over());
    let first = event(first);
    let table = Item { polls: 2, ..ended() };
    let table = Item { learned: PollState { status: Some(Progress::Running), ..PollState::default() }, ..table };
    assert_eq!(event(Scene::new(Some(table.clone()), poll_task(1), "q", EXPIRED)), first);
    assert_eq!(event(Scene::new(Some(table), trigger_task("b"), "b", EXPIRED)), first);
}

#[test]
fn nothing_is_claimed_or_called_without_enough_time() {
    let mut scene = Scene::new(None, trigger_task("a"), "a", NOW);
    scene.carry_out().give(StepResult::NoTime);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::NoTime)));

    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(StepResult::NoTime);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::NoTime)));
}

#[test]
fn a_permanent_failure_ends_the_run_with_its_envelope() {
    let failure = Failure {
        retry_class: RetryClass::Terminal,
        envelope: None,
        status: 404,
        detail: "no envelope".into(),
        retry_after: None,
        may_land_late: false,
    };
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(StepResult::Answered(Answer::Failed(failure))).carry_out();
    let Step::Publish(Publication::Ending(ended)) = &scene.step else { panic!("{:?}", scene.step) };
    let Ending::Error { error, .. } = &ended.outcome.ending else { panic!("{:?}", ended.outcome) };
    assert_eq!(error.kind, "bridge/unexpected_response");
}

#[test]
fn a_poll_claims_only_its_own_run() {
    let scene = Scene::new(None, poll_task(1), "p", NOW);
    let Step::Write(Write::Claim { condition, .. }) = &scene.step else { panic!("{:?}", scene.step) };
    let claim_id = ClaimId::from_random(1);
    assert_eq!(*condition, ClaimCondition::ByPoll { run_id: RunId::from_random(1), claim_id });
    let same_fence_other_run = Item { run_id: RunId::from_random(5), ..item() };
    assert_eq!(
        Scene::new(Some(same_fence_other_run), poll_task(1), "p", NOW).disposition(),
        Disposition::Ack(AckReason::Over)
    );
}

/// The reason for returning the message, if it hit a bug.
fn bug(step: &Step) -> Option<&'static str> {
    match step {
        Step::Done(Disposition::Retry(RetryReason::Bug(found))) => Some(found),
        _ => None,
    }
}

#[test]
fn the_result_of_another_step_is_a_bug_and_retries_the_message() {
    let results = || {
        let read = StepResult::Read(Some(Box::new(item())));
        let refused = StepResult::Written(WriteResult::ConditionFailed(None));
        [read, refused, running(), StepResult::Done, StepResult::Admitted]
    };
    let (trigger, poll) =
        (|| Scene::new(Some(item()), trigger_task("b"), "b", NOW), || Scene::new(Some(item()), poll_task(1), "p", NOW));
    let (joining, calling, polling_on, recording, publishing, marking) = (
        || step_on(trigger(), 1),
        || step_on(poll(), 1),
        || give_to(step_on(poll(), 1), running()),
        || give_to(step_on(poll(), 1), over()),
        || step_on(give_to(step_on(poll(), 1), over()), 1),
        || step_on(give_to(step_on(poll(), 1), over()), 2),
    );
    let starting = || step_on(Scene::new(None, trigger_task("b"), "b", NOW), 1);
    let handing_on = || give_to(give_to(step_on(poll(), 1), over()), StepResult::Failed);
    let full = || {
        let full = Item { triggers: vec![super::tests::trigger("x"); TRIGGERS_MAX], ..item() };
        step_on(Scene::new(Some(full), trigger_task("b"), "b", NOW), 1)
    };
    let admitting = || Scene::paced(Some(item()), poll_task(1), "p", NOW);
    let states: [(&str, &dyn Fn() -> Scene, usize); 12] = [
        ("admitting", &admitting, 4),
        ("reading", &trigger, 0),
        ("starting", &starting, 1),
        ("claiming", &poll, 1),
        ("joining", &joining, 1),
        ("calling", &calling, 2),
        ("polling on", &polling_on, 3),
        ("recording", &recording, 1),
        ("handing on", &handing_on, 3),
        ("publishing", &publishing, 3),
        ("marking", &marking, 1),
        ("refusing", &full, 3),
    ];
    for (state, scene, expected) in states {
        for (n, result) in results().into_iter().enumerate().filter(|(n, _)| *n != expected) {
            let mut scene = scene();
            scene.give(result);
            assert!(bug(&scene.step).is_some(), "{state}, {n}: {:?}", scene.step);
            scene.give(StepResult::Done);
            assert!(bug(&scene.step).is_some(), "{state}: after its end");
        }
    }
}

fn step_on(mut scene: Scene, steps: usize) -> Scene {
    (0..steps).for_each(|_| {
        scene.carry_out();
    });
    scene
}

fn give_to(mut scene: Scene, input: StepResult) -> Scene {
    scene.give(input);
    scene
}

#[test]
fn a_claimed_item_that_disappears_acknowledges_nothing() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over());
    scene.table = None;
    scene.carry_out();
    assert!(bug(&scene.step).is_some(), "{:?}", scene.step);
}
