//! The report of one run for operators: everything in its item, except the fence and the holder.

use std::time::Duration;

use serde::Serialize;

use crate::postpress::Envelope;
use crate::run::{EndedBy, Ending, Item, Next, Origin};
use crate::store::Driver;
use crate::time::{Millis, rfc3339};
use crate::webhook::status::SyncStatus;

use super::format::{ended_by, error, next, span, status, when};
use super::history::Glyphs;
use super::{history, table};

/// The report for programs: the public status, and details for operators.
#[derive(Debug, Serialize)]
pub(super) struct RunReport {
    #[serde(flatten)]
    status: SyncStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<EndedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    published: bool,
    triggers: usize,
    #[serde(with = "rfc3339")]
    started_at: Millis,
    /// Failures in a row.
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<Box<Envelope>>,
    #[serde(with = "rfc3339")]
    lease_until: Millis,
    next: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_since: Option<String>,
    /// No process drives the run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopped: bool,
}

impl RunReport {
    /// The report of this item's run at `now`.
    pub(super) fn of(item: &Item, now: Millis, overdue: Duration, driver: Driver) -> Self {
        let outcome = item.state.outcome();
        let (next, lost_since) = match Next::of(item, now, overdue) {
            Next::Poll { .. } => ("poll", None),
            Next::Publication => ("publication", None),
            Next::Recovery { lost_since, .. } => ("revival", Some(lost_since)),
            Next::Over => ("nothing", None),
        };
        Self {
            status: SyncStatus::of(item),
            ended_by: outcome.map(|outcome| outcome.ended_by),
            origin: outcome.and_then(|outcome| match outcome.ending {
                Ending::Error { origin, .. } => Some(origin),
                Ending::Sync { .. } => None,
            }),
            published: item.state.is_published(),
            triggers: item.triggers.len(),
            started_at: item.started_at_ms,
            failures: item.learned.failures,
            failing_since: item.learned.failing_since_ms.map(|time| time.to_string()),
            last_failure: item.learned.envelope.clone(),
            lease_until: item.lease_until_ms,
            next,
            lost_since: lost_since.map(|time| time.to_string()),
            stopped: driver == Driver::Stopped && !item.state.is_published(),
        }
    }
}

/// Where the report for people is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// Its width, if it is limited.
    pub(super) columns: Option<u16>,
    pub(super) glyphs: Glyphs,
}

/// The report for people: one line for each property, and the history as a drawing.
pub(super) fn text(item: &Item, now: Millis, overdue: Duration, driver: Driver, page: Page) -> String {
    let Page { columns, glyphs } = page;
    let learned = &item.learned;
    let mut table = table::table(&[], columns);
    let mut line = |name: &str, value: String| {
        table.add_row([table::bold(name), value.into()]);
    };
    line(item.subject.kind().as_str(), item.subject.id().to_owned());
    if let Some(workspace) = item.subject.workspace().unless_default() {
        line("workspace", workspace.to_string());
    }
    line("run", item.run_id.to_string());
    let phase = match driver {
        Driver::Stopped if !item.state.is_published() => "stopped",
        _ if item.state.is_active() => "active",
        _ => "ended",
    };
    line("phase", phase.to_owned());
    match (status(item), item.polls) {
        (status, calls @ 1..) if item.state.is_active() => {
            let known = match status {
                Some(status) => format!("{status}, as of call {}", calls - 1),
                None => "none yet".to_owned(),
            };
            line("status", format!("{known} (the answer to call {calls} is not recorded yet)"));
        }
        (Some(status), _) => line("status", status.to_owned()),
        (None, _) => {}
    }
    if let Some(outcome) = item.state.outcome() {
        line("ended", format!("{}, {}", when(outcome.finished_at, now), ended_by(outcome.ended_by)));
        if let Ending::Error { error: envelope, .. } = &outcome.ending {
            line("error", error(envelope));
        }
    }
    let calls = match item.unrecorded() {
        0 => item.polls.to_string(),
        lost => format!("{}, {lost} of them without a recorded answer", item.polls),
    };
    line("calls", calls);
    if let Some((shortest, longest)) = history::pauses(item) {
        line("pauses", format!("{} to {}", span(shortest), span(longest)));
    }
    if learned.restarts > 0 {
        line("restarts", format!("{} seen", learned.restarts));
    }
    if learned.failures > 0 {
        let since = learned.failing_since_ms.map_or(String::new(), |since| format!(", since {}", when(since, now)));
        line("failures", format!("{} in a row{since}", learned.failures));
    }
    if let Some(envelope) = learned.envelope.as_ref().filter(|_| item.state.is_active()) {
        line("last", error(envelope));
    }
    line("triggers", item.triggers.len().to_string());
    if let Some(first) = item.triggers.first() {
        line("requested", when(first.requested_at, now));
    }
    line("started", when(item.started_at_ms, now));
    if let Some(cancelled_at) = item.cancelled_at {
        line("cancelled", when(cancelled_at, now));
    }
    if item.state.is_active() {
        let held = if item.lease_expired(now) { "free since" } else { "held until" };
        line("lease", format!("{held} {}", when(item.lease_until_ms, now)));
    } else {
        line("event", if item.state.is_published() { "published" } else { "not confirmed published" }.to_owned());
    }
    line("next", next(item, Next::of(item, now, overdue), now, driver));
    let history = history::chart(item, now, columns, glyphs);
    table::text(&table) + &history.map_or(String::new(), |history| format!("\n{history}"))
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::*;
    use crate::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
    use crate::postpress::{Finish, Progress, Resync};
    use crate::run::{History, Open, Outcome, PollState, RecentKeys, RunState, Trigger, bridge_error};

    pub(in crate::cli) const NOW: Millis = Millis(1_795_514_400_000);
    const OVERDUE: Duration = Duration::from_secs(1800);
    const PAGE: Page = Page { columns: None, glyphs: Glyphs::UNICODE };
    const MINUTE: Duration = Duration::from_mins(1);
    const OPEN: Open = Open { shard: 0, sweep_at_ms: Millis(NOW.0 + 20 * 60_000) };

    /// A run that began ten minutes ago and was last claimed a minute ago.
    pub(in crate::cli) fn item() -> Item {
        let trigger = Trigger {
            message_id: MessageId::new("the-message"),
            correlation_id: None,
            idempotency_key: None,
            metadata: None,
            requested_at: NOW - 11 * MINUTE,
            joined: false,
        };
        Item {
            subject: Subject::chat("chat_01HXYZ").unwrap(),
            resync: Resync::default(),
            run_id: RunId::from_random(1),
            claim_id: ClaimId::from_random(0xfe_dcba_9876),
            holder: MessageId::new("the-holder"),
            lease_until_ms: NOW - MINUTE,
            state: RunState::Active { open: OPEN },
            triggers: vec![trigger],
            keys: [TriggerKey::of("the-message")].into(),
            seen: RecentKeys::default(),
            learned: PollState { status: Some(Progress::Running), history: history(0), ..PollState::default() },
            started_at_ms: NOW - 10 * MINUTE,
            cancelled_at: None,
            group: None,
            polls: 7,
        }
    }

    /// The answers to six calls, and to `more`.
    fn history(more: usize) -> History {
        let entries = [(0, 2, 1), (5, 3, 1), (12, 3, 1), (24, 3, 1), (41, 3, 1), (66, 3, 1)];
        entries.into_iter().chain([(480, 3, 1)].repeat(more)).collect::<Vec<_>>().into()
    }

    fn failing() -> Item {
        let envelope = bridge_error::retries_exhausted(503, 3, "it is down");
        let learned = PollState {
            failures: 3,
            failing_since_ms: Some(NOW - 3 * MINUTE),
            envelope: Some(envelope.into()),
            restarts: 1,
            ..item().learned
        };
        Item { learned, lease_until_ms: NOW - 31 * MINUTE, ..item() }
    }

    fn ended(ending: Ending, ended_by: EndedBy, published: bool) -> Item {
        let outcome = Outcome { ending, ended_by, finished_at: NOW - 2 * MINUTE };
        let state = if published {
            RunState::Published { outcome, expires_at: u64::MAX }
        } else {
            RunState::Ended { outcome, open: OPEN }
        };
        let is_error = matches!(state.outcome().unwrap().ending, Ending::Error { .. });
        let learned = PollState { history: history(is_error.into()), ..item().learned };
        Item { state, learned, ..item() }
    }

    #[test]
    fn report_for_people() {
        let error = Ending::Error { error: bridge_error::deadline_exceeded(EndedBy::Polls, 7), origin: Origin::Bridge };
        let runs =
            [item(), failing(), ended(Finish::Done.into(), EndedBy::Answer, true), ended(error, EndedBy::Polls, false)];
        let texts = runs.map(|item| text(&item, NOW, OVERDUE, Driver::Bridge, PAGE));
        insta::assert_snapshot!(anstream::adapter::strip_str(&texts.join("\n")));
    }

    #[test]
    fn report_for_programs() {
        let lines = [item(), failing(), ended(Finish::Done.into(), EndedBy::Answer, true)]
            .map(|item| serde_json::to_string(&RunReport::of(&item, NOW, OVERDUE, Driver::Bridge)).unwrap());
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn report_contains_the_whole_public_status() {
        let item = ended(Finish::Error.into(), EndedBy::Answer, true);
        let public = serde_json::to_value(SyncStatus::of(&item)).unwrap();
        let report = serde_json::to_value(RunReport::of(&item, NOW, OVERDUE, Driver::Bridge)).unwrap();
        for (field, value) in public.as_object().unwrap() {
            assert_eq!(report.get(field), Some(value), "{field}");
        }
    }

    #[test]
    fn report_shows_neither_fence_nor_holder() {
        for item in [item(), failing()] {
            let json = serde_json::to_string(&RunReport::of(&item, NOW, OVERDUE, Driver::Stopped)).unwrap();
            for shown in [text(&item, NOW, OVERDUE, Driver::Bridge, PAGE), json] {
                assert!(!shown.contains(&item.claim_id.to_hex()) && !shown.contains("the-holder"), "{shown}");
                assert!(!shown.contains("fedcba9876"), "{shown}");
            }
        }
    }
}
