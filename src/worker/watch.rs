//! What an operator gets to see of one message: the ids in its lines of the log, what is counted, and what went wrong.
//!
//! At `info` that is a line for a run's start and one for its end. What goes wrong with a message is one line in each
//! invocation, however many steps it concerns, so that an outage does not drown the log.

use std::fmt::Write as _;
use std::time::Duration;

use tracing::Span;

use super::{Dealt, Invocation};
use crate::event::Event;
use crate::ids::{ChatId, RunId};
use crate::metrics::Metric;
use crate::postpress::Answer;
use crate::run::{Acknowledged, Input, Item, Learned, Step, Write, Written};
use crate::service::ServiceError;

/// The watch over one message.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    invocation: &'a Invocation,
    span: Span,
    /// What the item held when the message claimed it.
    claimed: Option<Claimed>,
    /// The answer failed.
    has_failed: bool,
    /// Everything that did not work, in one text.
    troubles: String,
}

#[derive(Debug)]
struct Claimed {
    polls: u32,
    restarts: u32,
}

impl<'a> Watch<'a> {
    /// Over the message whose span this is.
    pub(super) fn new(invocation: &'a Invocation, span: Span) -> Self {
        Self { invocation, span, claimed: None, has_failed: false, troubles: String::new() }
    }

    pub(super) fn invocation(&self) -> &'a Invocation {
        self.invocation
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

    pub(super) fn read(&self, item: Option<&Item>) {
        if let Some(item) = item.filter(|item| !item.is_over()) {
            self.is_of_run(item.run_id);
        }
    }

    pub(super) fn written(&mut self, write: &Write, written: &Written) {
        let Written::Taken(item) = written else { return };
        match write {
            Write::Start { .. } => {
                self.is_of_run(item.run_id);
                self.claimed(item);
                tracing::info!("run started");
            }
            Write::Claim { .. } => self.claimed(item),
            Write::Join { .. } | Write::End { .. } | Write::MarkPublished { .. } | Write::MoveSweep { .. } => {}
        }
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
    }

    pub(super) fn published(&self, event: &Event) {
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

    /// A poll was sent, or not; not, if nothing is known.
    pub(super) fn sent(&mut self, sent: Option<Result<(), ServiceError>>) -> Input {
        match sent {
            Some(Ok(())) => Input::Done,
            Some(Err(error)) => self.failed("send a poll", &error),
            None => Input::Failed,
        }
    }

    /// A step failed for as long as it may be tried.
    pub(super) fn failed(&mut self, what: &str, error: &ServiceError) -> Input {
        let separator = if self.troubles.is_empty() { "" } else { "; " };
        let _ = write!(self.troubles, "{separator}could not {what}: {error}");
        Input::Failed
    }

    /// The message is dealt with, for this invocation.
    pub(super) fn over(&self, dealt: Dealt) {
        if !self.troubles.is_empty() {
            self.span.in_scope(|| tracing::error!(error = self.troubles, ?dealt, "a message met with failures"));
        }
    }
}

/// What a run knows by this step.
fn learned(step: &Step) -> Option<&Learned> {
    match step {
        Step::Send { poll, .. } => poll.learned.as_ref(),
        Step::Write(Write::End { learned, .. }) => Some(learned),
        _ => None,
    }
}

/// What is counted of a message by what became of it.
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
