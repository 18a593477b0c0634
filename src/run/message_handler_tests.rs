//! Each clause of the protocol, shown on the way of a message: a case fails if its clause is left out.

use std::time::Duration;

use super::*;
use crate::event::Event;
use crate::ids::{ChatId, ClaimId, MessageId, RunId, TriggerKey};
use crate::postpress::{Failure, Finish, Progress, RetryClass};
use crate::run::{ClaimCondition, EndedBy, Ending, Open, Phase, RecentKeys, TRIGGERS_MAX, Trigger};

const NOW: Millis = Millis(1_000_000);
const LEASE: Duration = Duration::from_secs(60);

/// An active run that nothing has happened to yet, claimed by the message `starter`.
pub(in crate::run) fn item() -> Item {
    Item {
        subject: ChatId::parse("c").unwrap().into(),
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
    Task::Trigger(TriggerMessage { chat_id: ChatId::parse("c").unwrap(), key, trigger: trigger(message_id) })
}

fn poll_task(claim: u128) -> Task {
    Task::Poll(Poll {
        chat_id: ChatId::parse("c").unwrap(),
        run_id: RunId::from_random(1),
        claim_id: ClaimId::from_random(claim),
        learned: Some(PollState { status: Some(Progress::Running), ..PollState::default() }),
        answer: None,
    })
}

fn answer_task(claim: u128) -> Task {
    let Task::Poll(poll) = poll_task(claim) else { unreachable!() };
    Task::Poll(Poll { answer: Some(done()), ..poll })
}

fn chat_id() -> ChatId {
    item().chat_id().clone()
}

fn call() -> Step {
    Step::Call(chat_id())
}

/// A table of one item that carries out what a handling asks for, and the handling that asks.
struct Scene {
    table: Option<Item>,
    handling: MessageHandler,
    step: Step,
    now: Millis,
    rules: Rules,
}

impl Scene {
    /// The fence of a scene's handling: none that any item has.
    const CLAIM: u128 = 99;

    fn new(table: Option<Item>, task: Task, message_id: &str, now: Millis) -> Self {
        let rules = rules();
        let claimant = Claimant {
            message_id: MessageId::new(message_id),
            claim_id: ClaimId::from_random(Self::CLAIM),
            run_id: RunId::from_random(Self::CLAIM),
            lease_until_ms: now + LEASE,
        };
        let (handling, step) =
            MessageHandler::begin(task, claimant, StepContext { now, jitter: Jitter::NONE, rules: &rules });
        Self { table, handling, step, now, rules }
    }

    fn give(&mut self, input: StepResult) -> &mut Self {
        let tick = StepContext { now: self.now, jitter: Jitter::NONE, rules: &self.rules };
        self.step = self.handling.next(input, tick);
        self
    }

    /// Carries the step out on the table.
    fn apply(&mut self) -> StepResult {
        match &self.step {
            Step::Read(_) => StepResult::Read(self.table.clone().map(Box::new)),
            Step::Write(write) => {
                let written = write.apply(self.table.as_ref());
                if let WriteResult::Applied(item) = &written {
                    self.table = Some((**item).clone());
                }
                StepResult::Written(written)
            }
            Step::Send { .. } | Step::Publish(_) => StepResult::Done,
            Step::Call(_) => panic!("the provider is called"),
            Step::Done(verdict) => panic!("it is over: {verdict:?}"),
        }
    }

    fn carry_out(&mut self) -> &mut Self {
        let input = self.apply();
        self.give(input)
    }

    /// Goes on to a call, a send, a publication or the end, whatever comes first.
    fn until_effect(&mut self) -> &mut Self {
        while matches!(self.step, Step::Read(_) | Step::Write(_)) {
            self.carry_out();
        }
        self
    }

    /// Goes on to the end without another call.
    fn verdict(&mut self) -> Disposition {
        loop {
            match self.step {
                Step::Done(verdict) => return verdict,
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
fn what_a_trigger_does_is_decided_by_the_item() {
    use AckReason::{Duplicate, Joined, Published, Refused};
    use RetryReason::LeaseHeld;
    let full = Item { triggers: vec![trigger("x"); TRIGGERS_MAX], ..item() };
    let known_before = Item { seen: RecentKeys::default().after(&item().keys, NOW, NOW, rules().run_ttl), ..item() };
    let known_before = Item { keys: [TriggerKey::of("other")].into(), ..known_before };
    for (what, table, message, now, verdict) in [
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
        assert_eq!(Scene::new(Some(table), trigger_task(message), message, now).verdict(), verdict, "{what}");
    }
}

#[test]
fn a_trigger_whose_lease_is_over_claims_its_run_again() {
    let mut scene = Scene::new(Some(item()), trigger_task("starter"), "starter", EXPIRED);
    assert_eq!(scene.until_effect().step, call());
    let item = scene.table();
    assert_eq!((item.polls, item.run_id, item.triggers.len()), (2, RunId::from_random(1), 1));
    assert_eq!(item.claim_id, ClaimId::from_random(Scene::CLAIM));
}

#[test]
fn a_join_is_told_in_the_item_and_asks_nobody() {
    let mut scene = Scene::new(Some(item()), trigger_task("b"), "b", EXPIRED);
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::Joined));
    let table = scene.table();
    assert!(table.triggers[1].joined);
    assert!(table.keys.contains(&TriggerKey::of("b")));
    assert_eq!((table.claim_id, table.polls), (item().claim_id, 1), "a join does not touch the claim");
}

#[test]
fn a_join_whose_reply_was_lost_is_recognised() {
    let mut scene = Scene::new(Some(item()), trigger_task("b"), "b", NOW);
    scene.carry_out();
    scene.apply(); // written, and the reply lost: the same write goes out again
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::Joined));
    assert_eq!(scene.table().triggers.len(), 2);
}

#[test]
fn a_start_whose_reply_was_lost_is_recognised_and_called_for() {
    let mut scene = Scene::new(None, trigger_task("a"), "a", NOW);
    scene.carry_out();
    scene.apply();
    assert_eq!(scene.carry_out().step, call());
    assert_eq!(scene.table().polls, 1);
}

#[test]
fn a_twins_start_is_not_taken_for_our_own() {
    // The same message, delivered twice at once: the twin's claim has our key, but not our fence.
    let mut scene = Scene::new(None, trigger_task("starter"), "starter", NOW);
    scene.carry_out();
    scene.table = Some(item());
    assert_eq!(scene.verdict(), Disposition::Retry(RetryReason::LeaseHeld));
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

#[test]
fn an_unpublished_ending_is_published_before_the_next_run_starts() {
    let mut scene = Scene::new(Some(ended()), trigger_task("b"), "b", NOW);
    scene.until_effect();
    assert!(matches!(&scene.step, Step::Publish(Publication::Ending(ended)) if ended.run_id == item().run_id));
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::MarkPublished { .. })));
    scene.carry_out();
    assert_eq!(scene.step, Step::Read(chat_id().into()), "decided from a new read");
    assert_eq!(scene.until_effect().step, call());
    assert_eq!(scene.table().run_id, RunId::from_random(Scene::CLAIM));
}

#[test]
fn a_start_gives_way_when_the_run_it_was_to_follow_is_not_the_one_read() {
    let mut scene = Scene::new(Some(published()), trigger_task("b"), "b", NOW);
    scene.carry_out();
    scene.table = Some(Item { run_id: RunId::from_random(5), ..item() });
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::Joined));
}

#[test]
fn a_trigger_decides_five_times_and_then_comes_back() {
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
fn a_poll_claims_under_the_fence_it_names_whether_or_not_the_lease_is_over() {
    for now in [NOW, EXPIRED] {
        let mut scene = Scene::new(Some(item()), poll_task(1), "p", now);
        assert_eq!(scene.until_effect().step, call());
        let table = scene.table();
        assert_eq!((table.polls, table.holder.as_str()), (2, "p"));
        assert_eq!(table.claim_id, ClaimId::from_random(Scene::CLAIM));
        assert_eq!(table.learned.status, Some(Progress::Running), "what the poll learned is kept");
    }
}

#[test]
fn a_poll_that_learned_nothing_leaves_the_items_own_record() {
    let learned = PollState { invalid_responses: 2, ..PollState::default() };
    let Task::Poll(poll) = poll_task(1) else { unreachable!() };
    let task = Task::Poll(Poll { learned: None, ..poll });
    let mut scene = Scene::new(Some(Item { learned: learned.clone(), ..item() }), task, "p", NOW);
    scene.until_effect();
    assert_eq!(scene.table().learned, learned);
}

#[test]
fn what_a_poll_does_that_is_refused_is_decided_by_the_item() {
    use AckReason::{Over, Published, Superseded};
    let held_by = |holder: &str| Item { claim_id: ClaimId::from_random(7), holder: MessageId::new(holder), ..item() };
    let other_run = Item { run_id: RunId::from_random(5), ..item() };
    for (what, table, now, verdict) in [
        ("2: no item", None, NOW, Disposition::Ack(Over)),
        ("2: another run", Some(other_run), NOW, Disposition::Ack(Over)),
        ("3: ended, unpublished, whoever holds it", Some(ended()), NOW, Disposition::Ack(Published)),
        ("4: ended and published", Some(published()), NOW, Disposition::Ack(Over)),
        (
            "5: an earlier delivery holds it",
            Some(held_by("p")),
            NOW + LEASE,
            Disposition::Retry(RetryReason::LeaseHeld),
        ),
        ("6: somebody else has claimed", Some(held_by("q")), EXPIRED, Disposition::Ack(Superseded)),
    ] {
        assert_eq!(Scene::new(table, poll_task(1), "p", now).verdict(), verdict, "{what}");
    }
}

#[test]
fn a_poll_that_died_half_way_claims_again_once_its_lease_is_over() {
    let table = Item { claim_id: ClaimId::from_random(7), holder: MessageId::new("p"), ..item() };
    let mut scene = Scene::new(Some(table), poll_task(1), "p", EXPIRED);
    assert_eq!(scene.until_effect().step, call());
}

#[test]
fn a_message_stays_away_for_as_long_as_the_run_is_or_may_be_held() {
    // Held by an earlier delivery of this message.
    let mut again = Scene::new(Some(item()), trigger_task("starter"), "starter", NOW);
    assert_eq!(again.verdict(), Disposition::Retry(RetryReason::LeaseHeld));
    assert_eq!(again.handling.held_until(), Some(item().lease_until_ms));
    // By us, if a claim of which no answer came was written.
    let mut lost = Scene::new(Some(item()), poll_task(1), "poll", NOW);
    lost.give(StepResult::Failed);
    assert_eq!(lost.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
    assert_eq!(lost.handling.held_until(), Some(NOW + LEASE));
    // By nobody.
    let unread = Scene::new(Some(item()), trigger_task("another"), "another", NOW)
        .give(StepResult::Failed)
        .handling
        .held_until();
    assert_eq!(unread, None);
}

#[test]
fn a_polls_claim_whose_reply_was_lost_is_recognised() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.apply();
    assert_eq!(scene.carry_out().step, call());
    assert_eq!(scene.table().polls, 2);
}

#[test]
fn an_answer_in_progress_sends_a_poll_under_our_own_claim() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(running());
    let Step::Send { poll, delay } = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!(poll.claim_id, ClaimId::from_random(Scene::CLAIM));
    assert_eq!(poll.learned.as_ref().unwrap().status, Some(Progress::Running));
    assert_eq!(delay.after(Duration::ZERO), Duration::from_millis(7500));
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::PolledOn));
}

#[test]
fn a_poll_that_cannot_be_sent_brings_the_message_back() {
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
    assert!(scene.table().state.is_unpublished());
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::MarkPublished { .. })));
    assert_eq!(scene.carry_out().step, Step::Done(Disposition::Ack(AckReason::Ended)));
    assert_eq!(scene.table().state, published().state);
}

#[test]
fn the_event_tells_of_a_trigger_that_joined_during_the_call() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect();
    let mut join = Scene::new(scene.table.clone(), trigger_task("b"), "b", NOW);
    join.verdict();
    scene.table = join.table;
    scene.give(over()).carry_out();
    let Step::Publish(Publication::Ending(ended)) = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!(ended.triggers.len(), 2);
}

#[test]
fn an_ending_that_cannot_be_recorded_travels_on_in_a_poll_without_delay() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over()).give(StepResult::Failed);
    let Step::Send { poll, delay } = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!((poll.claim_id, poll.answer.clone()), (ClaimId::from_random(Scene::CLAIM), Some(done())));
    assert_eq!(delay.after(Duration::ZERO), Duration::ZERO);
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::HandedOn));
}

#[test]
fn a_poll_with_an_answer_makes_no_call_and_counts_as_none() {
    let mut scene = Scene::new(Some(item()), answer_task(1), "p", NOW);
    scene.carry_out();
    assert!(matches!(scene.step, Step::Write(Write::End { .. })));
    assert_eq!(scene.table().polls, 1);
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::Ended));
}

#[test]
fn an_answer_that_cannot_be_recorded_again_travels_on_under_the_new_claim() {
    let mut scene = Scene::new(Some(item()), answer_task(1), "p", NOW);
    scene.carry_out().give(StepResult::Failed);
    let Step::Send { poll, .. } = &scene.step else { panic!("{:?}", scene.step) };
    assert_eq!(poll.claim_id, ClaimId::from_random(Scene::CLAIM));
    assert_eq!(poll.answer, Some(done()));
}

#[test]
fn a_stale_answer_is_held_up_by_the_fence() {
    let mut scene = Scene::new(Some(item()), answer_task(8), "p", NOW);
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::Superseded));
    assert!(scene.table().state.is_active());
}

#[test]
fn an_outcome_whose_reply_was_lost_is_recognised() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over());
    scene.apply();
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::Ended));
}

#[test]
fn an_outcome_that_comes_too_late_gives_way() {
    for (what, table, verdict) in [
        ("somebody else has claimed", item(), AckReason::Superseded),
        ("somebody else has ended it", ended(), AckReason::Published),
        ("it is over", published(), AckReason::Superseded),
    ] {
        let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
        scene.until_effect().give(over());
        scene.table = Some(table);
        assert_eq!(scene.verdict(), Disposition::Ack(verdict), "{what}");
    }
}

#[test]
fn a_failure_to_publish_or_to_mark_brings_the_message_back() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over()).carry_out().give(StepResult::Failed);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::Failed)));

    let mut again = Scene::new(scene.table.clone(), poll_task(1), "p", NOW);
    again.until_effect().carry_out().give(StepResult::Failed);
    assert_eq!(again.step, Step::Done(Disposition::Retry(RetryReason::Failed)));
}

#[test]
fn a_refused_mark_is_no_failure() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over()).carry_out().carry_out();
    scene.table = Some(Item { run_id: RunId::from_random(5), ..item() });
    assert_eq!(scene.verdict(), Disposition::Ack(AckReason::Ended));
}

#[test]
fn one_ending_has_one_id_and_one_form_whoever_publishes_it() {
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
fn nothing_is_claimed_and_nothing_called_without_the_time_for_it() {
    let mut scene = Scene::new(None, trigger_task("a"), "a", NOW);
    scene.carry_out().give(StepResult::NoTime);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::NoTime)));

    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(StepResult::NoTime);
    assert_eq!(scene.step, Step::Done(Disposition::Retry(RetryReason::NoTime)));
}

#[test]
fn a_call_that_failed_for_good_ends_the_run_with_its_envelope() {
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
fn a_poll_asks_for_the_claim_of_its_own_run_only() {
    let scene = Scene::new(None, poll_task(1), "p", NOW);
    let Step::Write(Write::Claim { condition, .. }) = &scene.step else { panic!("{:?}", scene.step) };
    let claim_id = ClaimId::from_random(1);
    assert_eq!(*condition, ClaimCondition::ByPoll { run_id: RunId::from_random(1), claim_id });
    let same_fence_other_run = Item { run_id: RunId::from_random(5), ..item() };
    assert_eq!(
        Scene::new(Some(same_fence_other_run), poll_task(1), "p", NOW).verdict(),
        Disposition::Ack(AckReason::Over)
    );
}

/// What the message is returned for, if it met a bug.
fn bug(step: &Step) -> Option<&'static str> {
    match step {
        Step::Done(Disposition::Retry(RetryReason::Bug(found))) => Some(found),
        _ => None,
    }
}

#[test]
fn the_result_of_another_step_is_a_bug_and_brings_the_message_back() {
    let results = || {
        let read = StepResult::Read(Some(Box::new(item())));
        [read, StepResult::Written(WriteResult::ConditionFailed(None)), running(), StepResult::Done]
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
    let states: [(&str, &dyn Fn() -> Scene, usize); 11] = [
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
fn an_item_that_is_gone_under_a_claim_acknowledges_nothing() {
    let mut scene = Scene::new(Some(item()), poll_task(1), "p", NOW);
    scene.until_effect().give(over());
    scene.table = None;
    scene.carry_out();
    assert!(bug(&scene.step).is_some(), "{:?}", scene.step);
}
