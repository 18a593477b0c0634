//! What one invocation counts and measures: plain numbers, recorded where they occur and reported once, at its end.
//!
//! A new metric is one line here, its call site, and a row in `docs/reference/metrics.md`. No metric has dimensions; to find
//! one chat, read the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{DetailType, EndedBy, Event};

#[cfg(feature = "aws")]
mod emf;

#[cfg(feature = "aws")]
pub use emf::emf_lines;

/// What the values of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// How many a second. Values are in millionths, since a process may call once an hour.
    PerSecond,
}

/// The values of a [`Unit::PerSecond`] are millionths.
const MILLION: f64 = 1e6;

macro_rules! metrics {
    ($($(#[$doc:meta])+ $name:ident: $unit:ident,)+) => {
        /// What is counted or measured.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Metric {
            $($(#[$doc])+ $name,)+
        }

        impl Metric {
            /// Every metric.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in CloudWatch.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What its values are.
            pub fn unit(self) -> Unit {
                match self {
                    $(Self::$name => Unit::$unit,)+
                }
            }
        }
    };
}

metrics! {
    /// Messages received.
    Messages: Count,
    /// Messages returned to the queue for another delivery.
    Returned: Count,
    /// Triggers received, including repeats and those that come back after a wait.
    Triggers: Count,
    /// Triggers that joined a run in flight.
    Joins: Count,
    /// Triggers sent again to wait for a run in flight that they may not join, each time.
    Waits: Count,
    /// Messages sent again because their turn to call the provider comes later than their invocation can wait.
    Deferred: Count,
    /// For each message that has to wait for its turn to call the provider, the time until then.
    PaceWait: Milliseconds,
    /// For each call of a key with a pace, how many calls a second its process may make: its share, less after a 429.
    Pace: PerSecond,
    /// Triggers answered from the table, because the chat's last sync was recent enough.
    FreshAnswers: Count,
    /// Requests to cancel a run, including repeats and those that found none to cancel.
    Cancels: Count,
    /// Repeated triggers and stale polls, acknowledged without effect.
    Duplicates: Count,
    /// Triggers answered with an error event and not accepted: invalid, the run had no room, or they waited too long.
    Refusals: Count,
    /// The bridge's own events that arrived as messages.
    OwnEvents: Count,
    /// Messages that claim to be the bridge's own and are invalid.
    Malformed: Count,
    /// Calls to the provider.
    Polls: Count,
    /// Failed calls that are retried.
    Retries: Count,
    /// 200s that could not be used.
    UnusableAnswers: Count,
    /// Syncs that were observed to start again.
    Restarts: Count,
    /// Endings published, including repeats: `SYNC_DONE`.
    EndingsSyncDone: Count,
    /// … `SYNC_ERROR`.
    EndingsSyncError: Count,
    /// … `CHAT_DELETED`.
    EndingsChatDeleted: Count,
    /// … `ERROR_ENVELOPE`: 1 for each and 0 for every other ending, so that the sum counts them and the average is their share.
    EndingsErrorEnvelope: Count,
    /// Completed sweeps.
    Sweeps: Count,
    /// Lost or unpublished runs that a sweep found and polled.
    Revived: Count,
    /// Due runs that a sweep had no time for.
    LeftBehind: Count,
    /// Duration of each call.
    ProviderLatency: Milliseconds,
    /// For each message, the time from when it was due to the end of the invocation.
    Lag: Milliseconds,
    /// For each call, how many calls its run had made by then. Only this metric shows a run that never ends.
    PollsSoFar: Count,
    /// For each ending, how many calls its run had made.
    PollsOfRun: Count,
    /// For each ending, the time since the run's first trigger.
    TimeToEnding: Seconds,
}

/// The values of one invocation. A metric without values is absent, and costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics(BTreeMap<Metric, Vec<u64>>);

impl Metrics {
    /// Adds `more` to a count.
    pub fn count(&mut self, metric: Metric, more: u64) {
        if more == 0 {
            return;
        }
        let values = self.0.entry(metric).or_default();
        *values = vec![values.iter().sum::<u64>() + more];
    }

    /// Adds one value to a distribution.
    pub fn value(&mut self, metric: Metric, value: u64) {
        self.0.entry(metric).or_default().push(value);
    }

    /// Adds one duration to a distribution, in the metric's unit, rounded down.
    pub fn time(&mut self, metric: Metric, time: Duration) {
        let time = match metric.unit() {
            Unit::Seconds => time.as_secs(),
            Unit::Milliseconds | Unit::Count | Unit::PerSecond => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        };
        self.value(metric, time);
    }

    /// Adds one rate to a distribution.
    pub fn rate(&mut self, metric: Metric, per_second: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
        self.value(metric, (per_second * MILLION).round() as u64);
    }

    /// Counts a published event.
    pub fn published(&mut self, event: &Event) {
        let detail = &event.detail;
        if detail.run_id.is_none() {
            return self.count(Metric::Refusals, 1);
        }
        if detail.ended_by == Some(EndedBy::Fresh) {
            return self.count(Metric::FreshAnswers, 1);
        }
        match event.detail_type {
            DetailType::SyncDone => self.count(Metric::EndingsSyncDone, 1),
            DetailType::SyncError => self.count(Metric::EndingsSyncError, 1),
            DetailType::ChatDeleted => self.count(Metric::EndingsChatDeleted, 1),
            DetailType::ErrorEnvelope => {}
        }
        self.value(Metric::EndingsErrorEnvelope, (event.detail_type == DetailType::ErrorEnvelope).into());
        self.0.entry(Metric::PollsOfRun).or_default().extend(detail.polls.map(u64::from));
        if let (Some(finished), Some(requested)) = (detail.finished_at, detail.requested_at) {
            self.time(Metric::TimeToEnding, finished.since(requested));
        }
    }

    /// Every metric that has values, with its values.
    pub fn seen(&self) -> impl Iterator<Item = (Metric, &[u64])> {
        self.0.iter().map(|(metric, values)| (*metric, values.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postpress::Finish;
    use crate::run::{EndedBy, EndedRun, Ending, Origin, Outcome, Publication, arbitrary};
    use crate::time::Millis;

    #[test]
    fn counts_add_up_and_measurements_are_kept_apart() {
        let mut metrics = Metrics::default();
        metrics.count(Metric::Polls, 2);
        metrics.count(Metric::Polls, 3);
        metrics.count(Metric::Restarts, 0);
        metrics.time(Metric::ProviderLatency, Duration::from_micros(1_999));
        metrics.time(Metric::ProviderLatency, Duration::from_secs(1));
        metrics.time(Metric::TimeToEnding, Duration::from_millis(1_999));
        let seen: Vec<_> = metrics.seen().collect();
        let expected: [(Metric, &[u64]); 3] =
            [(Metric::Polls, &[5]), (Metric::ProviderLatency, &[1, 1000]), (Metric::TimeToEnding, &[1])];
        assert_eq!(seen, expected);
    }

    impl Metrics {
        /// The values of a metric, in the order in which they were recorded; a count is one value.
        pub(crate) fn of(&self, metric: Metric) -> &[u64] {
            self.0.get(&metric).map_or(&[], Vec::as_slice)
        }
    }

    proptest::proptest! {
        #[test]
        fn an_ending_is_counted_by_type_with_its_polls_and_duration(item in arbitrary::item()) {
            for (status, metric) in [
                (Finish::Done, Metric::EndingsSyncDone),
                (Finish::Error, Metric::EndingsSyncError),
                (Finish::Deleted, Metric::EndingsChatDeleted),
            ] {
                let requested = item.triggers.first().map_or(Millis(0), |trigger| trigger.requested_at);
                let finished_at = requested + Duration::from_secs(7);
                let outcome = Outcome { ending: Ending::Sync { status }, ended_by: EndedBy::Answer, finished_at };
                let event = Event::from(Publication::Ending(Box::new(EndedRun::new(&item, &outcome))));
                let mut metrics = Metrics::default();
                metrics.published(&event);
                proptest::prop_assert_eq!(metrics.of(metric), [1]);
                proptest::prop_assert_eq!(metrics.of(Metric::EndingsErrorEnvelope), [0]);
                proptest::prop_assert_eq!(metrics.of(Metric::PollsOfRun), [u64::from(item.polls)]);
                if !item.triggers.is_empty() {
                    proptest::prop_assert_eq!(metrics.of(Metric::TimeToEnding), [7]);
                }
            }
        }

        #[test]
        fn an_error_envelope_counts_one_among_the_endings(item in arbitrary::item(), error in arbitrary::envelope()) {
            let ending = Ending::Error { error, origin: Origin::Postpress };
            let outcome = Outcome { ending, ended_by: EndedBy::Answer, finished_at: Millis(0) };
            let event = Event::from(Publication::Ending(Box::new(EndedRun::new(&item, &outcome))));
            let mut metrics = Metrics::default();
            metrics.published(&event);
            proptest::prop_assert_eq!(metrics.of(Metric::EndingsErrorEnvelope), [1]);
            let others = [Metric::EndingsSyncDone, Metric::EndingsSyncError, Metric::EndingsChatDeleted];
            proptest::prop_assert!(others.iter().all(|metric| metrics.of(*metric).is_empty()));
        }
    }
}
