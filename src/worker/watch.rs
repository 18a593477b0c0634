//! What an operator gets to see of one message: the ids in its lines of the log, what is counted, and what went wrong.
//!
//! At `info` that is a line for a run's start and one for its end. A message that does not go as intended has one line in
//! each invocation, with its [`Reason`], however many steps failed, so that an outage does not drown the log. At `debug`
//! each step of the message has a line, without bodies, claim ids or text of the provider's.

use std::fmt::Write as _;
use std::time::Duration;

use tracing::Span;

use super::{Dealt, Invocation, Reason};
use crate::event::Event;
use crate::ids::{ChatId, RunId};
use crate::message::Record;
use crate::metrics::Metric;
use crate::postpress::Answer;
use crate::run::{Acknowledged, Item, Phase, PollState, Returned, Step, StepResult, Write, WriteResult};
use crate::service::ServiceError;
use crate::time::Millis;

/// The watch over one message.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    invocation: &'a Invocation,
    span: Span,
    receive_count: u32,
    /// What the item held when the message claimed it.
    claimed: Option<Claimed>,
    /// The answer failed.
    has_failed: bool,
    /// Every step that failed, in one text.
    errors: String,
    /// What is wrong with the message itself.
    fault: Option<String>,
}

#[derive(Debug)]
struct Claimed {
    polls: u32,
    restarts: u32,
}

impl<'a> Watch<'a> {
    /// Over this delivery of a message, whose span this is.
    pub(super) fn new(invocation: &'a Invocation, span: Span, record: &Record) -> Self {
        let receive_count = record.receive_count;
        Self { invocation, span, receive_count, claimed: None, has_failed: false, errors: String::new(), fault: None }
    }

    pub(super) fn invocation(&self) -> &'a Invocation {
        self.invocation
    }

    /// How often the message has been received by now.
    pub(super) fn receive_count(&self) -> u32 {
        self.receive_count
    }

    /// The message is of this kind.
    pub(super) fn received(&self, kind: &'static str) {
        tracing::debug!(kind, receive_count = self.receive_count, "message received");
    }

    pub(super) fn is_about(&self, chat_id: &ChatId, run_id: Option<RunId>) {
        self.span.record("chat_id", chat_id.as_str());
        if let Some(run_id) = run_id {
            self.is_of_run(run_id);
        }
    }

    fn is_of_run(&self, run_id: RunId) {
        self.span.record("run_id", tracing::field::display(run_id));
    }

    /// The message cannot be used, for this reason.
    pub(super) fn is_unusable(&mut self, fault: String) {
        self.fault = Some(fault);
    }

    pub(super) fn read(&self, item: Option<&Item>) {
        if let Some(item) = item.filter(|item| !item.is_over()) {
            self.is_of_run(item.run_id);
        }
        tracing::debug!(found = state_of(item), "run read");
    }

    pub(super) fn written(&mut self, write: &Write, written: &WriteResult) {
        let item = match written {
            WriteResult::Applied(item) => item,
            WriteResult::ConditionFailed(item) => {
                tracing::debug!(
                    write = name_of(write),
                    applied = false,
                    found = state_of(item.as_deref()),
                    "run written"
                );
                return;
            }
        };
        match write {
            Write::Start { .. } => {
                self.is_of_run(item.run_id);
                self.claimed(item);
                tracing::info!("run started");
            }
            Write::Claim { .. } => self.claimed(item),
            Write::Join { .. } | Write::End { .. } | Write::MarkPublished { .. } | Write::MoveSweep { .. } => {}
        }
        tracing::debug!(write = name_of(write), applied = true, polls = item.polls, "run written");
    }

    fn claimed(&mut self, item: &Item) {
        self.claimed = Some(Claimed { polls: item.polls, restarts: item.learned.restarts });
    }

    pub(super) fn answered(&mut self, answer: &Answer, took: Duration) {
        let mut metrics = self.invocation.metrics();
        metrics.count(Metric::Polls, 1);
        metrics.time(Metric::ProviderLatency, took);
        if let Some(claimed) = &self.claimed {
            metrics.value(Metric::PollsSoFar, claimed.polls.into());
        }
        metrics.count(Metric::UnusableAnswers, matches!(answer, Answer::Unusable(_)).into());
        self.has_failed = matches!(answer, Answer::Failed(_));
        tracing::debug!(answer = described(answer), took_ms = took.as_millis(), "provider called");
    }

    /// What is to be done next shows what the answer meant.
    pub(super) fn next(&mut self, step: &Step) {
        let polls_again = matches!(step, Step::Send { .. });
        let is_retry = std::mem::take(&mut self.has_failed) && polls_again;
        self.invocation.metrics().count(Metric::Retries, is_retry.into());
        if let (Some(learned), Some(claimed)) = (learned(step), self.claimed.as_mut()) {
            let restarts = learned.restarts.saturating_sub(claimed.restarts);
            claimed.restarts += restarts;
            self.invocation.metrics().count(Metric::Restarts, restarts.into());
        }
        match step {
            Step::Read => tracing::debug!(next = "read", "decided"),
            Step::Write(write) => tracing::debug!(next = name_of(write), "decided"),
            Step::Call => tracing::debug!(next = "call", "decided"),
            Step::Send { poll, delay } => {
                let next = if poll.answer.is_some() { "hand_on" } else { "poll_on" };
                tracing::debug!(next, delay_ms = delay.after(Duration::ZERO).as_millis(), "decided");
            }
            Step::Publish(_) => tracing::debug!(next = "publish", "decided"),
            Step::Done(_) => {}
        }
    }

    /// This event is about to be published; one without a run says what is wrong with the message.
    pub(super) fn publishes(&mut self, event: &Event) {
        if event.detail.run_id.is_none() {
            self.fault = event.detail.error.as_ref().and_then(|error| error.detail.clone());
        }
    }

    /// The event is out; by another message of the invocation, unless this one `is_first`.
    pub(super) fn published(&self, event: &Event, is_first: bool) {
        if !is_first {
            tracing::debug!("event published by another message");
            return;
        }
        self.invocation.metrics().published(event);
        let detail = &event.detail;
        tracing::info!(
            ending = event.detail_type.as_str(),
            error = detail.error.as_ref().map(|error| error.kind.as_str()),
            polls = detail.polls,
            restarts = detail.restarts,
            triggers = detail.triggers.len(),
            "event published"
        );
    }

    /// The result of sending the poll.
    pub(super) fn sent(&mut self, sent: Option<Result<(), ServiceError>>) -> StepResult {
        let no_result = || Err(ServiceError::Permanent("the queue gave no result, which is a bug".to_owned()));
        match sent.unwrap_or_else(no_result) {
            Ok(()) => {
                self.span.in_scope(|| tracing::debug!("poll sent"));
                StepResult::Done
            }
            Err(error) => self.failed("send a poll", &error),
        }
    }

    /// A step failed for as long as it may be tried.
    pub(super) fn failed(&mut self, what: &str, error: &ServiceError) -> StepResult {
        let separator = if self.errors.is_empty() { "" } else { "; " };
        let _ = write!(self.errors, "{separator}could not {what}: {error}");
        StepResult::Failed
    }

    /// The message is settled for this invocation; if it comes back, then not before this time.
    pub(super) fn settled(&self, dealt: Dealt, not_before: Option<Millis>) {
        let error = Some(self.errors.as_str()).filter(|errors| !errors.is_empty());
        let reason = Reason::of(dealt).or(error.map(|_| Reason::Failed));
        let detail = match dealt {
            Dealt::Returned(Returned::Bug(found)) => Some(found),
            _ => self.fault.as_deref(),
        };
        let not_before = not_before.map(tracing::field::display);
        self.span.in_scope(|| match reason {
            None => tracing::debug!(?dealt, "message settled"),
            Some(reason) if reason.is_error() => {
                tracing::error!(reason = reason.as_str(), error, detail, not_before, "{}", reason.message());
            }
            Some(reason) => {
                tracing::warn!(reason = reason.as_str(), error, detail, not_before, "{}", reason.message());
            }
        });
    }
}

/// The state accumulated from provider responses by this step.
fn learned(step: &Step) -> Option<&PollState> {
    match step {
        Step::Send { poll, .. } => poll.learned.as_ref(),
        Step::Write(Write::End { learned, .. }) => Some(learned),
        _ => None,
    }
}

/// What is found in the table, in a word.
fn state_of(item: Option<&Item>) -> &'static str {
    match item {
        None => "nothing",
        Some(item) if item.phase == Phase::Active => "active",
        Some(item) if item.is_unpublished() => "unpublished",
        Some(_) => "published",
    }
}

fn name_of(write: &Write) -> &'static str {
    match write {
        Write::Start { .. } => "start",
        Write::Claim { .. } => "claim",
        Write::Join { .. } => "join",
        Write::End { .. } => "end",
        Write::MarkPublished { .. } => "mark_published",
        Write::MoveSweep { .. } => "move_sweep",
    }
}

/// An answer without any text of the provider's.
fn described(answer: &Answer) -> String {
    match answer {
        Answer::InProgress(progress) => format!("in progress: {progress:?}"),
        Answer::Over(finish) => format!("over: {finish:?}"),
        Answer::Unusable(_) => "unusable".to_owned(),
        Answer::Failed(failure) => format!("failed: {}, {:?}", failure.status, failure.retry_class),
    }
}

/// What is counted of a message by how it was settled.
pub(super) fn counted(dealt: Dealt) -> Option<Metric> {
    match dealt {
        Dealt::Acknowledged(Acknowledged::Joined) => Some(Metric::Joins),
        Dealt::Acknowledged(Acknowledged::Duplicate | Acknowledged::Superseded | Acknowledged::Over) => {
            Some(Metric::Duplicates)
        }
        Dealt::Acknowledged(_) => None,
        Dealt::Returned(_) | Dealt::Newer => Some(Metric::Returned),
        Dealt::Swept => Some(Metric::Sweeps),
        Dealt::OwnEvent => Some(Metric::OwnEvents),
        Dealt::Malformed => Some(Metric::Malformed),
    }
}
