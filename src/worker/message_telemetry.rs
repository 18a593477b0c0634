//! What one message adds to the log and to the metrics.
//!
//! At `info`, a run logs one line when it starts and one when it ends. A message that fails or is dropped logs one line per
//! invocation, with its [`Reason`], however many of its steps failed, so that an outage does not flood the log. At `debug`,
//! each step logs a line, without bodies, claim ids or text from the provider.

use std::fmt::Write as _;
use std::time::Duration;

use tracing::Span;

use super::{Invocation, Reason};
use crate::event::{EndedBy, Event};
use crate::ids::{RunId, Subject};
use crate::message::Record;
use crate::metrics::Metric;
use crate::postpress::Answer;
use crate::run::{
    AckReason, Disposition, Item, PollState, RetryReason, RunState, Step, StepResult, Write, WriteResult,
};
use crate::service::ServiceError;
use crate::time::Millis;

/// Log and metrics of one message.
#[derive(Debug)]
pub(super) struct MessageTelemetry<'a> {
    invocation: &'a Invocation,
    span: Span,
    receive_count: u32,
    /// The item's counters when the message claimed it.
    claimed: Option<Claimed>,
    /// Whether the last step was a call that failed.
    call_failed: bool,
    /// Every step that failed, as one text.
    errors: String,
    /// What is wrong with the message itself.
    fault: Option<String>,
}

#[derive(Debug)]
struct Claimed {
    polls: u32,
    restarts: u32,
}

impl<'a> MessageTelemetry<'a> {
    /// The telemetry of one delivery of a message, inside its span.
    pub(super) fn new(invocation: &'a Invocation, span: Span, record: &Record) -> Self {
        let receive_count = record.receive_count;
        Self { invocation, span, receive_count, claimed: None, call_failed: false, errors: String::new(), fault: None }
    }

    pub(super) fn invocation(&self) -> &'a Invocation {
        self.invocation
    }

    /// Logs the kind of the message.
    pub(super) fn received(&self, kind: &'static str) {
        tracing::debug!(kind, receive_count = self.receive_count, "message received");
    }

    /// Adds the subject, and the run if it is known, to every line of the message.
    pub(super) fn set_run(&self, subject: &Subject, run_id: Option<RunId>) {
        self.span.record(subject.kind().id_field(), subject.id());
        if let Some(workspace) = subject.workspace().unless_default() {
            self.span.record("workspace", workspace.as_str());
        }
        if let Some(run_id) = run_id {
            self.set_run_id(run_id);
        }
    }

    fn set_run_id(&self, run_id: RunId) {
        self.span.record("run_id", tracing::field::display(run_id));
    }

    /// Records why the message cannot be used.
    pub(super) fn set_fault(&mut self, fault: String) {
        self.fault = Some(fault);
    }

    pub(super) fn read(&self, item: Option<&Item>) {
        if let Some(item) = item.filter(|item| !item.state.is_published()) {
            self.set_run_id(item.run_id);
        }
        tracing::debug!(found = state_of(item), "run read");
    }

    pub(super) fn written(&mut self, write: &Write, written: &WriteResult) {
        let name = name_of(write);
        let item = match written {
            WriteResult::Applied(item) => item,
            WriteResult::ConditionFailed(item) => {
                tracing::debug!(write = name, applied = false, found = state_of(item.as_deref()), "run written");
                return;
            }
        };
        if write.claims().is_some() {
            self.claimed = Some(Claimed { polls: item.polls, restarts: item.learned.restarts });
        }
        if let Write::Start { .. } = write {
            self.set_run_id(item.run_id);
            tracing::info!("run started");
        }
        tracing::debug!(write = name, applied = true, polls = item.polls, "run written");
    }

    pub(super) fn answered(&mut self, answer: &Answer, took: Duration) {
        let mut metrics = self.invocation.metrics();
        metrics.count(Metric::Polls, 1);
        metrics.time(Metric::ProviderLatency, took);
        if let Some(claimed) = &self.claimed {
            metrics.value(Metric::PollsSoFar, claimed.polls.into());
        }
        metrics.count(Metric::UnusableAnswers, matches!(answer, Answer::Unusable(_)).into());
        self.call_failed = matches!(answer, Answer::Failed(_));
        tracing::debug!(answer = described(answer), took_ms = took.as_millis(), "provider called");
    }

    /// Logs and counts the decision for the next step.
    pub(super) fn next(&mut self, step: &Step) {
        let polls_again = matches!(step, Step::Send { .. });
        let is_retry = std::mem::take(&mut self.call_failed) && polls_again;
        self.invocation.metrics().count(Metric::Retries, is_retry.into());
        if let (Some(learned), Some(claimed)) = (learned(step), self.claimed.as_mut()) {
            let restarts = learned.restarts.saturating_sub(claimed.restarts);
            claimed.restarts += restarts;
            self.invocation.metrics().count(Metric::Restarts, restarts.into());
        }
        match step {
            Step::Read(_) => tracing::debug!(next = "read", "decided"),
            Step::Admit(_) => tracing::debug!(next = "admit", "decided"),
            Step::Write(write) => tracing::debug!(next = name_of(write), "decided"),
            Step::Call(_) => tracing::debug!(next = "call", "decided"),
            Step::Send { poll, delay } => {
                let next = if poll.answer.is_some() { "hand_on" } else { "poll_on" };
                tracing::debug!(next, delay_ms = delay.after(Duration::ZERO).as_millis(), "decided");
            }
            Step::Wait { delay, .. } => {
                tracing::debug!(next = "wait", delay_ms = delay.after(Duration::ZERO).as_millis(), "decided");
            }
            Step::Publish(_) => tracing::debug!(next = "publish", "decided"),
            Step::Done(_) => {}
        }
    }

    /// Notes the event to publish: one without a run says what is wrong with the message.
    pub(super) fn publishes(&mut self, event: &Event) {
        if event.detail.run_id.is_none() {
            self.fault = event.detail.error.as_ref().and_then(|error| error.detail.clone());
        }
    }

    /// Logs and counts the published event, unless another message of the invocation published it first.
    pub(super) fn published(&self, event: &Event, is_first: bool) {
        if !is_first {
            tracing::debug!("event published by another message");
            return;
        }
        self.invocation.metrics().published(event);
        let detail = &event.detail;
        if let (Some(run_id), Some(EndedBy::Fresh)) = (detail.run_id, detail.ended_by) {
            self.span.record("run_id", tracing::field::display(run_id));
        }
        tracing::info!(
            ending = event.detail_type.as_str(),
            error = detail.error.as_ref().map(|error| error.kind.as_str()),
            polls = detail.polls,
            restarts = detail.restarts,
            triggers = detail.triggers.len(),
            "event published"
        );
    }

    /// Logs the result of sending the poll.
    pub(super) fn sent(&mut self, sent: Result<(), ServiceError>) -> StepResult {
        match sent {
            Ok(()) => {
                tracing::debug!("poll sent");
                StepResult::Done
            }
            Err(error) => self.failed("send a poll", &error),
        }
    }

    /// Records that a step failed for as long as it may be retried.
    pub(super) fn failed(&mut self, what: &str, error: &ServiceError) -> StepResult {
        let separator = if self.errors.is_empty() { "" } else { "; " };
        let _ = write!(self.errors, "{separator}could not {what}: {error}");
        StepResult::Failed
    }

    /// Logs what happens to the message; `not_before` is when it is delivered again, if it is.
    pub(super) fn settled(&self, disposition: Disposition, not_before: Option<Millis>) {
        let error = Some(self.errors.as_str()).filter(|errors| !errors.is_empty());
        let reason = Reason::of(disposition).or(error.map(|_| Reason::FAILED));
        let detail = match disposition {
            Disposition::Retry(RetryReason::Bug(found)) => Some(found),
            _ => self.fault.as_deref(),
        };
        let not_before = not_before.map(tracing::field::display);
        self.span.in_scope(|| match reason {
            None => tracing::debug!(?disposition, "message settled"),
            Some(Reason { name, message, is_error: true }) => {
                tracing::error!(reason = name, error, detail, not_before, "{message}");
            }
            Some(Reason { name, message, is_error: false }) => {
                tracing::warn!(reason = name, error, detail, not_before, "{message}");
            }
        });
    }
}

/// The state accumulated from provider responses up to this step.
fn learned(step: &Step) -> Option<&PollState> {
    match step {
        Step::Send { poll, .. } => poll.learned.as_ref(),
        Step::Write(Write::End { learned, .. }) => Some(learned),
        _ => None,
    }
}

/// The state of the item that was found, in one word.
fn state_of(item: Option<&Item>) -> &'static str {
    match item.map(|item| &item.state) {
        None => "nothing",
        Some(RunState::Active { .. }) => "active",
        Some(RunState::Ended { .. }) => "unpublished",
        Some(RunState::Published { .. }) => "published",
    }
}

fn name_of(write: &Write) -> &'static str {
    match write {
        Write::Start { .. } => "start",
        Write::Claim { .. } => "claim",
        Write::Join { .. } => "join",
        Write::Cancel { .. } => "cancel",
        Write::End { .. } => "end",
        Write::MarkPublished { .. } => "mark_published",
        Write::MoveSweep { .. } => "move_sweep",
    }
}

/// An answer, without any text from the provider.
fn described(answer: &Answer) -> String {
    match answer {
        Answer::InProgress(progress) => format!("in progress: {progress:?}"),
        Answer::Over(finish) => format!("over: {finish:?}"),
        Answer::Unusable(_) => "unusable".to_owned(),
        Answer::Failed(failure) => format!("failed: {}, {:?}", failure.status, failure.retry_class),
    }
}

/// The metric that counts messages with this disposition.
pub(super) fn metric_of(disposition: Disposition) -> Option<Metric> {
    match disposition {
        Disposition::Ack(AckReason::Joined) => Some(Metric::Joins),
        Disposition::Ack(AckReason::Waits) => Some(Metric::Waits),
        Disposition::Ack(AckReason::Deferred) => Some(Metric::Deferred),
        Disposition::Ack(AckReason::Duplicate | AckReason::Superseded | AckReason::Over) => Some(Metric::Duplicates),
        Disposition::Ack(AckReason::Swept) => Some(Metric::Sweeps),
        Disposition::Ack(AckReason::OwnEvent) => Some(Metric::OwnEvents),
        Disposition::Ack(AckReason::Malformed) => Some(Metric::Malformed),
        Disposition::Ack(_) => None,
        Disposition::Retry(_) => Some(Metric::Returned),
    }
}
