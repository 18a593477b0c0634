//! Formats runs and times for people.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::event::Event;
use crate::postpress::{Envelope, Status};
use crate::run::{EndedBy, Ending, Item, Next};
use crate::store::Driver;
use crate::text::one_line;
use crate::time::Millis;

/// The time zone of people; UTC until it is set.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Shows times in this time zone from now on.
pub(super) fn set_zone(zone: TimeZone) {
    ZONE.get_or_init(|| zone);
}

fn local(time: Millis) -> ZonedDateTime {
    let timestamp = i64::try_from(time.0).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    timestamp.unwrap_or(Timestamp::MAX).to_zoned_datetime(ZONE.get().cloned().unwrap_or(TimeZone::UTC))
}

/// The time of day: `11:00:05`.
pub(super) fn time_of_day(time: Millis) -> String {
    local(time).strftime("%H:%M:%S").to_string()
}

/// The time of day, and the date unless that is today's.
pub(super) fn time_or_date(time: Millis, now: Millis) -> String {
    let (time, now) = (local(time), local(now));
    time.strftime(if time.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
}

/// A duration to the tenth of a second while it is short.
pub(super) fn pause(time: Duration) -> String {
    if time < Duration::from_secs(10) { format!("{:.1} s", time.as_secs_f64()) } else { span(time) }
}

/// A duration, rounded to one unit.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A time relative to now.
pub(super) fn distance(time: Millis, now: Millis) -> String {
    if time > now { format!("in {}", span(time.since(now))) } else { format!("{} ago", span(now.since(time))) }
}

/// A time, absolute and relative to now.
pub(super) fn when(time: Millis, now: Millis) -> String {
    format!("{}, {}", local(time).strftime("%Y-%m-%d %H:%M:%S %:z"), distance(time, now))
}

/// An envelope in one line.
pub(super) fn error(envelope: &Envelope) -> String {
    let detail = envelope.detail.as_ref().map_or(String::new(), |detail| format!(": {detail}"));
    format!("{} ({}), {}{detail}", envelope.kind, envelope.status, envelope.title)
}

/// The provider's last known status.
pub(super) fn status(item: &Item) -> Option<&'static str> {
    item.status().map(Status::as_str)
}

/// What ended a run.
pub(super) fn ended_by(ended_by: EndedBy) -> &'static str {
    match ended_by {
        EndedBy::Answer => "by an answer",
        EndedBy::Retries => "because failures lasted too long",
        EndedBy::Deadline => "by its deadline",
        EndedBy::Polls => "by the maximum number of calls",
        EndedBy::Cancelled => "by a cancel",
    }
}

/// How the run ended, if it has: the provider's status, or the error's type.
pub(super) fn ending(item: &Item) -> Option<&str> {
    Some(match &item.state.outcome()?.ending {
        Ending::Sync { status } => status.as_str(),
        Ending::Error { error, .. } => &error.kind,
    })
}

/// An event in one line.
pub(super) fn event(event: &Event) -> String {
    let detail = &event.detail;
    let subject = detail.subject().map_or_else(|| "no chat".to_owned(), |subject| subject.label());
    let error = detail.error.as_ref().map_or(String::new(), |envelope| format!("  {}", error(envelope)));
    let calls = match detail.polls {
        Some(1) => "  1 call".to_owned(),
        Some(calls) => format!("  {calls} calls"),
        None => String::new(),
    };
    let took = match (detail.requested_at, detail.finished_at) {
        (Some(requested_at), Some(finished_at)) => format!("  {}", span(finished_at.since(requested_at))),
        _ => String::new(),
    };
    one_line(&format!("{:<14}  {subject}{calls}{took}{error}", event.detail_type.as_str()))
}

/// A run in a few words, which change only when there is news.
pub(super) fn brief(item: &Item, driver: Driver) -> String {
    if let Some(ending) = ending(item) {
        return if item.state.is_published() {
            ending.to_owned()
        } else {
            format!("{ending}, event not confirmed published")
        };
    }
    let status = status(item).unwrap_or("no answer yet");
    if item.cancelled_at.is_some() {
        return match driver {
            Driver::Stopped => format!("{status}; cancelled, and {}", stopped(item)),
            Driver::Bridge | Driver::Terminal => format!("{status}; cancelled, ends with its next message"),
        };
    }
    let mut text = if driver == Driver::Stopped {
        format!("{status}; {}", stopped(item))
    } else {
        format!("{status}; waiting or calling, as of call {}", item.polls)
    };
    if let Some(at) = item.learned.next_poll_ms.filter(|_| driver != Driver::Stopped) {
        text.push_str(&format!(", next poll about {}", time_of_day(at)));
    }
    if item.learned.failures > 0 {
        let kind = item.learned.envelope.as_ref().map_or(String::new(), |envelope| format!(": {}", envelope.kind));
        text.push_str(&format!(", {} failed in a row{kind}", item.learned.failures));
    }
    text
}

/// What continues a local run that no process drives.
const RESUME: &str = "the same `sync` resumes it";

fn stopped(item: &Item) -> String {
    format!("stopped, as of call {}; {RESUME}", item.polls)
}

/// What is true of a run now, and what happens next with it.
pub(super) fn next(item: &Item, next: Next, now: Millis, driver: Driver) -> String {
    match next {
        Next::Over => "nothing; it is over".to_owned(),
        Next::Poll { .. } if item.cancelled_at.is_some() && driver != Driver::Stopped => {
            "it is cancelled, and ends with its next message".to_owned()
        }
        _ if driver == Driver::Stopped => stopped(item),
        Next::Poll { expected_at, overdue_at } => {
            let poll = match expected_at {
                Some(at) if at > now => format!("the next poll is expected at {}", when(at, now)),
                Some(_) => "the next poll is due".to_owned(),
                None => "a poll follows".to_owned(),
            };
            let overdue = distance(overdue_at, now);
            format!("waiting or calling, as of call {}; {poll}; without one the run is overdue {overdue}", item.polls)
        }
        Next::Publication => "its event is being published".to_owned(),
        Next::Recovery { lost_since, sweep_at } => {
            let recovery = match driver {
                Driver::Terminal | Driver::Stopped => RESUME.to_owned(),
                Driver::Bridge if sweep_at > now => format!("the sweep recovers it at {}", when(sweep_at, now)),
                Driver::Bridge => "the next sweep recovers it".to_owned(),
            };
            format!("overdue since {}; {recovery}", when(lost_since, now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run_report::tests::{NOW, item};
    use crate::run::PollState;

    #[test]
    fn duration_has_a_fitting_unit() {
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (400_000, "4 days")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(distance(NOW + Duration::from_secs(5), NOW), "in 5 s");
        let day = Duration::from_hours(24);
        let times = [NOW, NOW - day].map(|time| time_or_date(time, NOW));
        assert_eq!(times, ["10:00:00", "2026-11-23 10:00:00"]);
        assert_eq!(when(NOW - Duration::from_secs(600), NOW), "2026-11-24 09:50:00 +00:00, 10 min ago");
    }

    #[test]
    fn brief_says_what_is_true_now() {
        let waiting = "SYNC_RUNNING; waiting or calling, as of call 7";
        assert_eq!(brief(&item(), Driver::Terminal), waiting);
        let next_poll_ms = Some(NOW + Duration::from_secs(5));
        let learned = PollState { next_poll_ms, failures: 2, ..item().learned };
        let failing = Item { learned, ..item() };
        let text = brief(&failing, Driver::Bridge);
        assert_eq!(text, format!("{waiting}, next poll about 10:00:05, 2 failed in a row"));
        let stopped = "stopped, as of call 7; the same `sync` resumes it";
        assert_eq!(brief(&item(), Driver::Stopped), format!("SYNC_RUNNING; {stopped}"));
        let poll = Next::Poll { expected_at: Some(NOW), overdue_at: NOW };
        assert_eq!(next(&item(), poll, NOW, Driver::Stopped), stopped);
    }

    #[test]
    fn active_run_says_what_is_true_now() {
        let minute = Duration::from_mins(1);
        for (expected_at, poll) in [
            (Some(NOW + 2 * minute), "the next poll is expected at 2026-11-24 10:02:00 +00:00, in 2 min"),
            (Some(NOW), "the next poll is due"),
            (None, "a poll follows"),
        ] {
            let text = next(&item(), Next::Poll { expected_at, overdue_at: NOW + 29 * minute }, NOW, Driver::Bridge);
            let overdue = "without one the run is overdue in 29 min";
            assert_eq!(text, format!("waiting or calling, as of call 7; {poll}; {overdue}"));
        }
    }

    #[test]
    fn lost_run_says_what_recovers_it() {
        let hour = Duration::from_hours(1);
        let lost = |sweep_at| Next::Recovery { lost_since: NOW - hour, sweep_at };
        let since = "overdue since 2026-11-24 09:00:00 +00:00, 60 min ago; ";
        for (what, driver, recovery) in [
            (lost(NOW + hour), Driver::Bridge, "the sweep recovers it at 2026-11-24 11:00:00 +00:00, in 60 min"),
            (lost(NOW - hour), Driver::Bridge, "the next sweep recovers it"),
            (lost(NOW + hour), Driver::Terminal, "the same `sync` resumes it"),
        ] {
            assert_eq!(next(&item(), what, NOW, driver), format!("{since}{recovery}"));
        }
    }
}
