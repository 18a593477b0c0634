//! After the call: poll again, or end the run, and with what.

use std::time::Duration;

use crate::postpress::{Answer, Envelope, Failure, Progress, RetryClass};
use crate::time::Millis;

use super::{
    Delay, EndedBy, Ending, FailedCall, Item, Jitter, Origin, Outcome, PollAnswer, PollState, Schedule, bridge_error,
};

/// How many unusable 200s a run polls again after.
const INVALID_RESPONSES_MAX: u32 = 3;

/// What follows a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AfterCall {
    /// Poll again later.
    PollAgain {
        /// State accumulated so far.
        learned: PollState,
        /// How much later.
        delay: Delay,
    },
    /// The run has ended.
    End {
        /// How.
        outcome: Outcome,
        /// State accumulated up to the ending.
        learned: PollState,
    },
}

/// Decides what follows a call under the claim that `item` shows, answered at `now`.
pub fn after_call(item: &Item, answer: &Answer, now: Millis, jitter: Jitter, schedule: &Schedule) -> AfterCall {
    let learned = learn(item, answer, now);
    let call = Call { item, learned: &learned, answer, now, schedule };
    match call.final_ending().or_else(|| call.exhausted_budget()) {
        Some((ending, ended_by)) => AfterCall::End { outcome: Outcome { ending, ended_by, finished_at: now }, learned },
        None => {
            let failure = match answer {
                Answer::Failed(failure) => Some(FailedCall {
                    failing_since: learned.failing_since_ms.unwrap_or(now),
                    retry_after: failure.retry_after,
                    may_land_late: failure.may_land_late,
                }),
                _ => None,
            };
            let delay = schedule.delay(item, &learned, failure, now, jitter);
            let next_call = now + delay.after(Duration::ZERO);
            let next = item.polls.saturating_add(1);
            let next_poll_ms = Some(schedule.next_poll(next.saturating_sub(learned.backoff_after), next_call));
            AfterCall::PollAgain { learned: PollState { next_poll_ms, ..learned }, delay }
        }
    }
}

/// The ending of a cancelled run, decided at `now`.
pub(super) fn cancelled(now: Millis) -> Outcome {
    let ending = bridge_ending(bridge_error::cancelled());
    Outcome { ending, ended_by: EndedBy::Cancelled, finished_at: now }
}

/// The accumulated state, with this answer to the call that the item counts last.
fn learn(item: &Item, answer: &Answer, now: Millis) -> PollState {
    let before = &item.learned;
    let mut learned = PollState { next_poll_ms: None, ..before.clone() };
    if let Some(answer) = PollAnswer::of(answer) {
        learned.history.push(item.polls, now.since(item.started_at_ms).as_secs(), answer);
    }
    match answer {
        Answer::InProgress(progress) => {
            let began_again = before.status == Some(Progress::Running) && *progress == Progress::Started;
            learned.restarts += u32::from(began_again);
            learned.status = Some(*progress);
            if *progress == Progress::ChunkDone {
                learned.chunks += 1;
                learned.backoff_after = item.polls.saturating_sub(1);
            }
            learned.failures = 0;
            learned.failing_since_ms = None;
            learned.envelope = None;
        }
        Answer::Over(_) => {}
        // An unusable 200 is not a failure: it neither counts as one nor ends a series of them.
        Answer::Unusable(_) => learned.invalid_responses += 1,
        Answer::Failed(failure) => {
            learned.failures += 1;
            learned.failing_since_ms = before.failing_since_ms.or(Some(now));
            learned.envelope = failure.envelope.clone().map(Box::new).or(learned.envelope);
            learned.credentials_retried |= failure.retry_class == RetryClass::Credentials;
        }
    }
    learned
}

/// One call, with everything that decides what follows it.
struct Call<'a> {
    /// The item before the call.
    item: &'a Item,
    /// The state accumulated with the call's answer.
    learned: &'a PollState,
    answer: &'a Answer,
    now: Millis,
    schedule: &'a Schedule,
}

impl Call<'_> {
    /// The ending, if the answer itself is one, whatever the budgets say.
    fn final_ending(&self) -> Option<(Ending, EndedBy)> {
        match self.answer {
            Answer::InProgress(_) => None,
            Answer::Over(status) => Some(((*status).into(), EndedBy::Answer)),
            Answer::Unusable(detail) => {
                let error = bridge_error::unexpected_response(502, detail);
                (self.learned.invalid_responses > INVALID_RESPONSES_MAX)
                    .then(|| (bridge_ending(error), EndedBy::Retries))
            }
            Answer::Failed(failure) => match failure.retry_class {
                RetryClass::Retryable => None,
                RetryClass::Credentials if !self.item.learned.credentials_retried => None,
                RetryClass::Connecting if self.schedule.may_be_connecting(self.item.started_at_ms, self.now) => None,
                RetryClass::Credentials | RetryClass::Connecting | RetryClass::Terminal => {
                    Some((final_error(failure), EndedBy::Answer))
                }
            },
        }
    }

    /// The ending, if a budget is exhausted.
    fn exhausted_budget(&self) -> Option<(Ending, EndedBy)> {
        let Self { item, learned, answer, now, schedule } = *self;
        let ended_by = match (answer, learned.failing_since_ms) {
            (Answer::Failed(_), Some(since)) if schedule.retries_exhausted(since, now) => EndedBy::Retries,
            _ if schedule.deadline_exceeded(item.started_at_ms, now) => EndedBy::Deadline,
            _ if schedule.polls_exhausted(item.polls) => EndedBy::Polls,
            _ => return None,
        };
        if let Some(envelope) = &learned.envelope {
            let error = with_wrong_host_hint(Envelope::clone(envelope), learned);
            return Some((Ending::Error { error, origin: Origin::Postpress }, ended_by));
        }
        let error = match (answer, ended_by) {
            (Answer::Failed(failure), EndedBy::Retries) => {
                bridge_error::retries_exhausted(failure.status, learned.failures, &failure.detail)
            }
            _ => bridge_error::deadline_exceeded(ended_by, item.polls),
        };
        Some((bridge_ending(error), ended_by))
    }
}

/// The error that the host of another workspace returns for every call (503), as users report.
const WRONG_HOST_ERROR: &str = "errors/no_client_session";
const WRONG_HOST_HINT: &str = "no call of this run was answered otherwise than by a failure; if all were answered so, \
    POSTPRESS_BASE_URL is the host of another workspace: set it to the one that your postpress dashboard shows";

/// Adds a hint to the wrong host's error if the run received nothing but failures and the provider gives no detail.
fn with_wrong_host_hint(envelope: Envelope, learned: &PollState) -> Envelope {
    if envelope.kind != WRONG_HOST_ERROR || learned.status.is_some() {
        return envelope;
    }
    Envelope { detail: envelope.detail.or_else(|| Some(WRONG_HOST_HINT.to_owned())), ..envelope }
}

fn final_error(failure: &Failure) -> Ending {
    match &failure.envelope {
        Some(envelope) => Ending::Error { error: envelope.clone(), origin: Origin::Postpress },
        None => bridge_ending(bridge_error::unexpected_response(failure.status, &failure.detail)),
    }
}

fn bridge_ending(error: Envelope) -> Ending {
    Ending::Error { error, origin: Origin::Bridge }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postpress::Finish;
    use crate::run::HistoryEntry;
    use crate::run::message_handler::tests::item;

    const NOW: Millis = Millis(1_000_000_000);

    fn envelope(kind: &str, status: u16) -> Envelope {
        Envelope { title: "t".into(), detail: None, instance: None, kind: kind.into(), status }
    }

    fn failure(retry_class: RetryClass, envelope: Option<Envelope>, status: u16) -> Answer {
        let detail = "it failed".to_owned();
        Answer::Failed(Failure { retry_class, envelope, status, detail, retry_after: None, may_land_late: false })
    }

    fn retryable() -> Answer {
        failure(RetryClass::Retryable, Some(envelope("errors/provider_error", 500)), 500)
    }

    fn run_with(learned: PollState) -> Item {
        Item { learned, started_at_ms: NOW, ..item() }
    }

    fn after(item: &Item, answer: &Answer, now: Millis) -> AfterCall {
        after_call(item, answer, now, Jitter::NONE, &Schedule::default())
    }

    fn learned(after: AfterCall) -> PollState {
        match after {
            AfterCall::PollAgain { learned, .. } => learned,
            AfterCall::End { outcome, .. } => panic!("ended: {outcome:?}"),
        }
    }

    /// The error's type, status and origin, and what ended the run; or the status of the sync.
    fn ending(after: AfterCall) -> (String, u16, Option<Origin>, EndedBy) {
        match after {
            AfterCall::End { outcome: Outcome { ending, ended_by, .. }, .. } => match ending {
                Ending::Sync { status } => (status.as_str().to_owned(), 0, None, ended_by),
                Ending::Error { error, origin } => (error.kind, error.status, Some(origin), ended_by),
            },
            AfterCall::PollAgain { .. } => panic!("polls again"),
        }
    }

    #[test]
    fn a_terminal_status_ends_the_run() {
        for status in [Finish::Done, Finish::Error, Finish::Deleted] {
            let end = ending(after(&run_with(PollState::default()), &Answer::Over(status), NOW));
            assert_eq!(end, (status.as_str().to_owned(), 0, None, EndedBy::Answer));
        }
    }

    #[test]
    fn an_observed_restart_of_the_sync_is_counted() {
        let started = Answer::InProgress(Progress::Started);
        let running = Answer::InProgress(Progress::Running);
        let mut item = run_with(PollState::default());
        for (answer, restarts) in
            [(&started, 0), (&started, 0), (&running, 0), (&started, 1), (&running, 1), (&started, 2)]
        {
            item.learned = learned(after(&item, answer, NOW));
            assert_eq!(item.learned.restarts, restarts);
        }
    }

    #[test]
    fn chunks_are_counted_and_the_next_one_is_no_restart() {
        let [started, running, chunk_done] =
            [Progress::Started, Progress::Running, Progress::ChunkDone].map(Answer::InProgress);
        let mut item = run_with(PollState::default());
        for (call, answer, chunks, seconds) in [
            (1, &started, 0, 5),
            (2, &running, 0, 7),
            (3, &chunk_done, 1, 5),
            (4, &started, 1, 7),
            (5, &chunk_done, 2, 5),
            (6, &retryable(), 2, 7),
        ] {
            item.polls = call;
            let AfterCall::PollAgain { learned, delay } = after(&item, answer, NOW) else { panic!("{call} ended") };
            assert_eq!((learned.chunks, learned.restarts), (chunks, 0), "call {call}");
            assert_eq!(delay.after(Duration::ZERO).as_secs(), seconds, "call {call}");
            item.learned = learned;
        }
    }

    #[test]
    fn an_answer_in_progress_resets_consecutive_failures() {
        let mut item = run_with(PollState::default());
        item.learned = learned(after(&item, &retryable(), NOW));
        item.learned = learned(after(&item, &retryable(), NOW + Duration::from_secs(9)));
        assert_eq!((item.learned.failures, item.learned.failing_since_ms), (2, Some(NOW)));
        assert!(item.learned.envelope.is_some());
        item.learned = learned(after(&item, &Answer::InProgress(Progress::Running), NOW));
        let PollState { history, next_poll_ms, .. } = item.learned.clone();
        let status = Some(Progress::Running);
        assert_eq!(item.learned, PollState { status, history, next_poll_ms, ..PollState::default() });
    }

    #[test]
    fn every_answer_but_an_ending_is_added_to_the_history() {
        let of = |retry_class, status| failure(retry_class, None, status);
        let Answer::Failed(timeout) = of(RetryClass::Retryable, 504) else { unreachable!() };
        let answers = [
            (Answer::InProgress(Progress::Started), PollAnswer::Started),
            (Answer::InProgress(Progress::Running), PollAnswer::Running),
            (of(RetryClass::Retryable, 429), PollAnswer::Failed(429)),
            (of(RetryClass::Credentials, 401), PollAnswer::Credentials),
            (of(RetryClass::Connecting, 401), PollAnswer::Connecting),
            (Answer::Failed(Failure { may_land_late: true, ..timeout }), PollAnswer::TimedOut),
            (Answer::Unusable("not JSON".into()), PollAnswer::Unusable),
        ];
        let mut item = Item { polls: 0, ..run_with(PollState::default()) };
        let mut expected = Vec::new();
        for (answer, remembered) in answers {
            item.polls += 2; // every other claim is lost with its process
            let seconds = item.polls;
            item.learned = learned(after(&item, &answer, NOW + Duration::from_secs(seconds.into())));
            expected.push(HistoryEntry { seconds, answer: PollAnswer::Unrecorded, count: 1 });
            expected.push(HistoryEntry { seconds, answer: remembered, count: 1 });
        }
        assert_eq!(item.learned.history.entries(), expected);

        let recorded = item.learned.history.clone();
        let AfterCall::End { learned, .. } = after(&item, &Answer::Over(Finish::Done), NOW) else { unreachable!() };
        assert_eq!(learned.history, recorded);
    }

    #[test]
    fn retryable_failures_end_the_run_when_their_budget_is_exhausted() {
        let since = PollState { failing_since_ms: Some(NOW), ..PollState::default() };
        let spent = NOW + Duration::from_secs(3600);
        learned(after(&run_with(since.clone()), &retryable(), spent - Duration::from_millis(1)));
        let postpress = Some(Origin::Postpress);
        let end = ending(after(&run_with(since.clone()), &retryable(), spent));
        assert_eq!(end, ("errors/provider_error".into(), 500, postpress, EndedBy::Retries));

        let no_answer = failure(RetryClass::Retryable, None, 504);
        let end = ending(after(&run_with(since.clone()), &no_answer, spent));
        assert_eq!(end, ("bridge/retries_exhausted".into(), 504, Some(Origin::Bridge), EndedBy::Retries));

        let with_envelope = PollState { envelope: Some(envelope("errors/no_handler", 503).into()), ..since };
        let end = ending(after(&run_with(with_envelope), &no_answer, spent));
        assert_eq!(end, ("errors/no_handler".into(), 503, postpress, EndedBy::Retries));
    }

    #[test]
    fn a_failure_affects_the_delay() {
        let seconds = |retry_after: Option<u64>, may_land_late| {
            let Answer::Failed(failure) = retryable() else { unreachable!() };
            let retry_after = retry_after.map(Duration::from_secs);
            let answer = Answer::Failed(Failure { retry_after, may_land_late, ..failure });
            match after(&run_with(PollState::default()), &answer, NOW) {
                AfterCall::PollAgain { delay, .. } => delay.after(Duration::ZERO).as_secs(),
                AfterCall::End { outcome, .. } => panic!("ended: {outcome:?}"),
            }
        };
        assert_eq!((seconds(None, false), seconds(Some(20), false), seconds(None, true)), (5, 20, 60));
        let almost_spent =
            PollState { failing_since_ms: Some(NOW - Duration::from_secs(3597)), ..PollState::default() };
        let AfterCall::PollAgain { delay, .. } = after(&run_with(almost_spent), &retryable(), NOW) else {
            unreachable!()
        };
        assert_eq!(delay.after(Duration::ZERO).as_secs(), 3, "limited by the end of the budget");
    }

    #[test]
    fn a_poll_knows_when_the_one_after_it_is_expected() {
        let item = Item { polls: 3, ..run_with(PollState::default()) };
        let running = Answer::InProgress(Progress::Running);
        let next_poll = learned(after(&item, &running, NOW)).next_poll_ms;
        assert_eq!(next_poll, Some(NOW + Duration::from_millis(11_250 + 16_875)));

        let expected = PollState { next_poll_ms: next_poll, ..PollState::default() };
        let AfterCall::End { learned, .. } = after(&run_with(expected), &Answer::Over(Finish::Done), NOW) else {
            unreachable!()
        };
        assert_eq!(learned.next_poll_ms, None);
    }

    #[test]
    fn rejected_credentials_are_retried_once_per_run() {
        let refused = failure(RetryClass::Credentials, Some(envelope("errors/expired_credentials", 401)), 401);
        let mut item = run_with(PollState::default());
        item.learned = learned(after(&item, &refused, NOW));
        item.learned = learned(after(&item, &Answer::InProgress(Progress::Running), NOW));
        assert!(item.learned.credentials_retried);
        let end = ending(after(&item, &refused, NOW));
        assert_eq!(end, ("errors/expired_credentials".into(), 401, Some(Origin::Postpress), EndedBy::Answer));
    }

    #[test]
    fn a_disconnected_account_has_a_grace_period_within_the_retry_budget() {
        let error = || envelope("errors/disconnected_account", 401);
        let refused = failure(RetryClass::Connecting, Some(error()), 401);
        let item = run_with(PollState::default());
        let after_grace = NOW + Duration::from_secs(120);
        let once = learned(after(&item, &refused, after_grace - Duration::from_millis(1)));
        assert_eq!((once.failures, once.credentials_retried), (1, false));
        let ended = ("errors/disconnected_account".to_owned(), 401, Some(Origin::Postpress));
        let end = |ended_by| (ended.0.clone(), ended.1, ended.2, ended_by);
        assert_eq!(ending(after(&item, &refused, after_grace)), end(EndedBy::Answer));

        let budgets = |connect_grace, retry| {
            let (connect_grace, retry) = (Duration::from_secs(connect_grace), Duration::from_secs(retry));
            Schedule { connect_grace, retry, ..Schedule::default() }
        };
        let failing = run_with(PollState { failing_since_ms: Some(NOW), ..PollState::default() });
        let at_once = after_call(&failing, &refused, NOW, Jitter::NONE, &budgets(0, 3600));
        assert_eq!(ending(at_once), end(EndedBy::Answer), "0 disables the grace period");
        let late = NOW + Duration::from_secs(60);
        let spent = after_call(&failing, &refused, late, Jitter::NONE, &budgets(3600, 60));
        assert_eq!(ending(spent), end(EndedBy::Retries), "the retry budget is exhausted first");
    }

    #[test]
    fn a_run_that_only_reached_the_wrong_host_says_so() {
        let detail = |kind: &str, status| {
            let answer = failure(RetryClass::Retryable, Some(envelope(kind, 503)), 503);
            let before = PollState { status, failing_since_ms: Some(NOW), ..PollState::default() };
            match after(&run_with(before), &answer, NOW + Duration::from_secs(3600)) {
                AfterCall::End { outcome: Outcome { ending: Ending::Error { error, .. }, .. }, .. } => error.detail,
                other => panic!("{other:?}"),
            }
        };
        let hint = detail("errors/no_client_session", None).unwrap();
        assert!(hint.contains("POSTPRESS_BASE_URL is the host of another workspace"), "{hint}");
        assert_eq!(detail("errors/no_client_session", Some(Progress::Running)), None);
        assert_eq!(detail("errors/no_channel", None), None);
    }

    #[test]
    fn a_terminal_failure_ends_the_run_at_once() {
        let item = run_with(PollState::default());
        let enveloped = failure(RetryClass::Terminal, Some(envelope("errors/wrong_account", 401)), 401);
        let postpress = Some(Origin::Postpress);
        assert_eq!(
            ending(after(&item, &enveloped, NOW)),
            ("errors/wrong_account".into(), 401, postpress, EndedBy::Answer)
        );
        let bare = failure(RetryClass::Terminal, None, 404);
        let bridge = Some(Origin::Bridge);
        assert_eq!(
            ending(after(&item, &bare, NOW)),
            ("bridge/unexpected_response".into(), 404, bridge, EndedBy::Answer)
        );
    }

    #[test]
    fn the_fourth_unusable_200_of_a_run_ends_it() {
        let unusable = Answer::Unusable("not JSON".into());
        let mut item = run_with(PollState::default());
        for breach in 1..=3 {
            item.learned = learned(after(&item, &unusable, NOW));
            assert_eq!((item.learned.invalid_responses, item.learned.failures), (breach, 0));
            item.learned = learned(after(&item, &Answer::InProgress(Progress::Running), NOW));
        }
        let end = ending(after(&item, &unusable, NOW));
        assert_eq!(end, ("bridge/unexpected_response".into(), 502, Some(Origin::Bridge), EndedBy::Retries));
    }

    #[test]
    fn a_call_after_the_deadline_may_still_find_the_ending() {
        let item = run_with(PollState::default());
        let late = NOW + Duration::from_secs(86_400);
        let running = Answer::InProgress(Progress::Running);
        learned(after(&item, &running, late - Duration::from_millis(1)));
        let end = ending(after(&item, &running, late));
        assert_eq!(end, ("bridge/deadline_exceeded".into(), 504, Some(Origin::Bridge), EndedBy::Deadline));
        assert_eq!(ending(after(&item, &Answer::Over(Finish::Done), late)).0, "SYNC_DONE");
        let failing = ending(after(&item, &retryable(), late));
        assert_eq!(failing, ("errors/provider_error".into(), 500, Some(Origin::Postpress), EndedBy::Deadline));
    }

    #[test]
    fn an_exhausted_poll_budget_ends_the_run() {
        let running = Answer::InProgress(Progress::Running);
        let item = Item { polls: 1000, ..run_with(PollState::default()) };
        let end = ending(after(&item, &running, NOW));
        assert_eq!(end, ("bridge/deadline_exceeded".into(), 504, Some(Origin::Bridge), EndedBy::Polls));
        learned(after(&Item { polls: 999, ..item }, &running, NOW));
    }
}
