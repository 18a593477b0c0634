//! What the page shows, from the items of the run table. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{DetailType, Event};
use crate::ids::{Subject, Workspace};
use crate::message::dead_letter::{self, DeadLetter, MessageKind};
use crate::message::{Message, TriggerBody};
use crate::postpress::Status;
use crate::queue::Depth;
use crate::run::{Ending, Item, Next, Phase};
use crate::store::{EndedRuns, OpenRuns};
use crate::text::bounded;
use crate::time::{Millis, rfc3339};
use crate::webhook::status::Answered;

/// The most runs in a list.
const LISTED_MAX: usize = 200;
/// The most triggers of a run.
const TRIGGERS_SHOWN: usize = 20;
/// The most bytes of a dead letter's body.
const BODY_SHOWN_BYTES: usize = 2 * 1024;

/// What a bridge is.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// Where it runs.
    pub kind: BridgeKind,
    /// Its name, for people.
    pub title: String,
    /// The URL that triggers are posted to, if it is known.
    pub front_door: Option<String>,
    /// Whether triggers can be sent.
    pub can_trigger: bool,
    /// How often the page asks.
    #[serde(skip)]
    pub refresh: Duration,
    /// How long after its last lease a run counts as lost.
    #[serde(skip)]
    pub overdue: Duration,
    /// The `source` of its events.
    #[serde(skip)]
    pub event_source: String,
}

/// Where a bridge runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeKind {
    /// In this process, over a simulated provider.
    Dev,
    /// The state file of `sync`.
    File,
    /// On AWS.
    Deployed,
}

/// How the bridge and a poller without a table fare with the same messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The bridge.
    pub bridge: CountsBySubject,
    /// The poller without a table.
    pub stateless: CountsBySubject,
}

/// The counts of each subject with one poller.
pub type CountsBySubject = BTreeMap<Subject, SyncCounts>;

/// What the provider was asked to do for a subject, and how often its ending was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SyncCounts {
    /// Syncs that the provider started, restarts included.
    pub syncs_started: u64,
    /// Syncs that it started although the one before was over.
    pub restarts: u64,
    /// Endings published.
    pub endings: u64,
}

/// What a redrive did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Sent again.
    pub sent: usize,
    /// Dropped.
    pub dropped: usize,
    /// Left in the dead-letter queue.
    pub left: usize,
    /// Not there any more, or held by another consumer.
    pub not_found: usize,
}

/// The whole bridge.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    bridge: About,
    #[serde(with = "rfc3339")]
    now: Millis,
    refresh_ms: u128,
    counts: RunCounts,
    queue: Option<Depth>,
    runs: Vec<Run>,
    is_cut: bool,
    stateless: Option<Compared>,
}

#[derive(Debug, Default, Serialize)]
struct RunCounts {
    active: usize,
    ended: usize,
    unpublished: usize,
    overdue: usize,
    ended_is_partial: bool,
}

/// The totals of a [`Comparison`].
#[derive(Debug, Serialize)]
struct Compared {
    bridge: SyncCounts,
    stateless: SyncCounts,
}

/// One line of the list.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    subject: Subject,
    kind: &'static str,
    id: String,
    workspace: Workspace,
    phase: Phase,
    status: Option<Status>,
    ending: Option<DetailType>,
    error_type: Option<String>,
    polls: u32,
    failures: u32,
    restarts: u32,
    chunks: Option<u32>,
    triggers: usize,
    requested_at: Option<String>,
    #[serde(with = "rfc3339")]
    started_at: Millis,
    finished_at: Option<String>,
    cancelled_at: Option<String>,
    next_poll_at: Option<String>,
    overdue_seconds: Option<u64>,
    is_published: bool,
    stateless: Option<SyncCounts>,
}

/// One run with its history.
#[derive(Debug, Serialize)]
pub(super) struct RunDetails {
    run: Run,
    history: Vec<Answered>,
    unrecorded: u32,
    triggers: Vec<ShownTrigger>,
    more_triggers: usize,
    event: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct ShownTrigger {
    message_id: String,
    idempotency_key: Option<String>,
    correlation_id: Option<String>,
    #[serde(with = "rfc3339")]
    requested_at: Millis,
    joined: bool,
}

/// A dead letter, and what a redrive does with it.
#[derive(Debug, Serialize)]
pub(super) struct ShownLetter {
    message_id: String,
    kind: MessageKind,
    subject: Option<Subject>,
    body: Option<String>,
    receive_count: u32,
    #[serde(with = "rfc3339")]
    sent_at: Millis,
    plan: dead_letter::Action,
    why: &'static str,
}

impl Overview {
    /// The runs whose id, workspace, status or error contains `filter`: those in flight first, the one that polls next on top;
    /// then those that have ended, latest first.
    pub(super) fn new(
        about: About,
        now: Millis,
        (open, ended): (OpenRuns, EndedRuns),
        queue: Option<Depth>,
        comparison: Option<&Comparison>,
        filter: &str,
    ) -> Self {
        let latest = latest(open.runs.iter().chain(&ended.runs));
        let mut runs: Vec<Run> =
            latest.into_iter().map(|item| Run::new(item, now, about.overdue, comparison)).collect();
        let counts = RunCounts {
            active: count(&runs, |run| run.phase == Phase::Active),
            ended: count(&runs, |run| run.phase == Phase::Ended),
            unpublished: count(&runs, |run| run.phase == Phase::Ended && !run.is_published),
            overdue: count(&runs, |run| run.overdue_seconds.is_some()),
            ended_is_partial: !ended.is_complete,
        };
        let filter = filter.to_lowercase();
        runs.retain(|run| run.contains(&filter));
        // One that is over has no next poll, and one in flight has no end.
        let order = |run: &Run| (run.phase == Phase::Ended, run.next_poll_at.clone(), Reverse(run.finished_at.clone()));
        runs.sort_by_cached_key(order);
        let is_cut = open.is_cut || !ended.is_complete || runs.len() > LISTED_MAX;
        runs.truncate(LISTED_MAX);
        let refresh_ms = about.refresh.as_millis();
        let stateless = comparison
            .map(|Comparison { bridge, stateless }| Compared { bridge: total(bridge), stateless: total(stateless) });
        Self { bridge: about, now, refresh_ms, counts, queue, runs, is_cut, stateless }
    }
}

/// One item of each subject: that of its latest run, and of that run the one furthest on. The lists are read at different times.
fn latest<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<&'a Item> {
    let age = |item: &Item| (item.started_at_ms, !item.state.is_active(), item.state.is_published());
    let mut latest: BTreeMap<&Subject, &Item> = BTreeMap::new();
    for item in items {
        let known = latest.entry(&item.subject).or_insert(item);
        if age(item) > age(known) {
            *known = item;
        }
    }
    latest.into_values().collect()
}

fn count(runs: &[Run], is_counted: impl Fn(&Run) -> bool) -> usize {
    runs.iter().filter(|run| is_counted(run)).count()
}

fn total(pollers: &CountsBySubject) -> SyncCounts {
    pollers.values().fold(SyncCounts::default(), |sum, counts| SyncCounts {
        syncs_started: sum.syncs_started + counts.syncs_started,
        restarts: sum.restarts + counts.restarts,
        endings: sum.endings + counts.endings,
    })
}

impl Run {
    fn new(item: &Item, now: Millis, overdue: Duration, comparison: Option<&Comparison>) -> Self {
        let outcome = item.state.outcome();
        let (next_poll_at, overdue_seconds) = match Next::of(item, now, overdue) {
            Next::Poll { expected_at, .. } => (expected_at, None),
            Next::Recovery { lost_since, .. } => (None, Some(now.since(lost_since).as_secs())),
            Next::Publication | Next::Over => (None, None),
        };
        let error_type = outcome.and_then(|outcome| match &outcome.ending {
            Ending::Error { error, .. } => Some(error.kind.clone()),
            Ending::Sync { .. } => None,
        });
        let subject = &item.subject;
        Self {
            subject: subject.clone(),
            kind: subject.kind().as_str(),
            id: subject.id().to_owned(),
            workspace: subject.workspace().clone(),
            phase: if item.state.is_active() { Phase::Active } else { Phase::Ended },
            status: item.status(),
            ending: outcome.map(|outcome| match outcome.ending {
                Ending::Sync { status } => status.into(),
                Ending::Error { .. } => DetailType::ErrorEnvelope,
            }),
            error_type,
            polls: item.polls,
            failures: item.learned.failures,
            restarts: item.learned.restarts,
            chunks: (item.learned.chunks > 0).then_some(item.learned.chunks),
            triggers: item.triggers.len(),
            requested_at: item.triggers.first().map(|trigger| trigger.requested_at.to_string()),
            started_at: item.started_at_ms,
            finished_at: outcome.map(|outcome| outcome.finished_at.to_string()),
            cancelled_at: item.cancelled_at.map(|time| time.to_string()),
            next_poll_at: next_poll_at.map(|time| time.to_string()),
            overdue_seconds,
            is_published: item.state.is_published(),
            stateless: comparison.and_then(|comparison| comparison.stateless.get(subject).copied()),
        }
    }

    fn contains(&self, filter: &str) -> bool {
        let status = self.status.map(Status::as_str).into_iter();
        let ending = self.ending.map(DetailType::as_str).into_iter();
        let texts = [self.id.as_str(), self.workspace.as_str()].into_iter().chain(status).chain(ending);
        texts.chain(self.error_type.as_deref()).any(|text| text.to_lowercase().contains(filter))
    }
}

impl RunDetails {
    pub(super) fn new(item: &Item, now: Millis, about: &About, comparison: Option<&Comparison>) -> Self {
        let history = &item.learned.history;
        let shown = item.triggers.iter().take(TRIGGERS_SHOWN).map(|trigger| ShownTrigger {
            message_id: trigger.message_id.to_string(),
            idempotency_key: trigger.idempotency_key.clone(),
            correlation_id: trigger.correlation_id.clone(),
            requested_at: trigger.requested_at,
            joined: trigger.joined,
        });
        Self {
            run: Run::new(item, now, about.overdue, comparison),
            history: history.entries().iter().map(|entry| Answered::new(entry, item.started_at_ms)).collect(),
            unrecorded: item.unrecorded_at_end(),
            triggers: shown.collect(),
            more_triggers: item.triggers.len().saturating_sub(TRIGGERS_SHOWN),
            event: Event::of_run(item).and_then(|event| RawValue::from_string(event.to_line(&about.event_source)).ok()),
        }
    }
}

impl ShownLetter {
    pub(super) fn new(letter: &DeadLetter, event_source: &str) -> Self {
        let DeadLetter { record, kind, .. } = letter;
        let subject = match Message::parse(record, event_source) {
            Message::Trigger(trigger) => Some(TriggerBody::of(trigger).subject),
            Message::Poll(poll) => Some(poll.subject),
            Message::Cancel(cancel) => Some(cancel.subject),
            _ => None,
        };
        Self {
            message_id: record.message_id.to_string(),
            kind: *kind,
            subject,
            // A poll's body has the fence, which only the bridge needs.
            body: match kind {
                MessageKind::Trigger | MessageKind::Invalid | MessageKind::Cancel => {
                    Some(bounded(record.body.clone(), BODY_SHOWN_BYTES).0)
                }
                _ => None,
            },
            receive_count: record.receive_count,
            sent_at: record.sent_at,
            plan: kind.action(),
            why: kind.words().1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::postpress::Finish;
    use crate::run::arbitrary::item;
    use crate::run::{EndedBy, Open, Outcome, RunState};

    proptest! {
    #[test]
    fn latest_run_is_shown_whichever_list_has_it(any in item()) {
        let at = |started_at: u64, state: RunState| Item { started_at_ms: Millis(started_at), state, ..any.clone() };
        let open = Open { shard: 0, sweep_at_ms: Millis(0) };
        let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: Millis(9) };
        let active = RunState::Active { open };
        let ended = RunState::Ended { outcome: outcome.clone(), open };
        let published = RunState::Published { outcome, expires_at: u64::MAX };
        for (one, other) in [
            (at(1, published.clone()), at(2, active.clone())),
            (at(1, active), at(1, ended.clone())),
            (at(1, ended), at(1, published)),
        ] {
            assert_eq!(latest([&one, &other].into_iter()), [&other]);
            assert_eq!(latest([&other, &one].into_iter()), [&other]);
        }
    }
    }
}
