//! What an invocation counted and measured: plain numbers, written down where they are seen and sent out once, at its end.
//!
//! No metric has a dimension, and none is named after a chat: whoever looks for one chat reads the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{DetailType, Event};

#[cfg(feature = "aws")]
mod emf;

#[cfg(feature = "aws")]
pub use emf::EmfLines;

/// What is counted or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Messages that came.
    Messages,
    /// Messages that are to come back.
    Returned,
    /// Triggers that came, repeats included.
    Triggers,
    /// Triggers that joined a run in flight.
    Joins,
    /// Triggers that had been dealt with, and polls that were stale: all acknowledged without effect.
    Duplicates,
    /// Triggers answered with an error event at once: bodies that are none, and those that a run had no room for.
    Refusals,
    /// Our own events that came back as messages.
    OwnEvents,
    /// Messages that say that they are ours, and are not sound.
    Malformed,
    /// Calls of the provider.
    Polls,
    /// Calls that failed and are made again.
    Retries,
    /// 200s that could not be used.
    UnusableAnswers,
    /// Syncs that were seen to begin again.
    Restarts,
    /// Endings published, repeats included: `SYNC_DONE`.
    EndingsSyncDone,
    /// `SYNC_ERROR`.
    EndingsSyncError,
    /// `CHAT_DELETED`.
    EndingsChatDeleted,
    /// `ERROR_ENVELOPE`: 1 for each, and 0 for every other ending, so that the sum counts them and the average is their share.
    EndingsErrorEnvelope,
    /// Sweeps that came to their end.
    Sweeps,
    /// Runs that a sweep found lost, or unpublished, and polled.
    Revived,
    /// How long each call took.
    ProviderLatency,
    /// How late each message was dealt with: from when it was due to the end of the invocation.
    Lag,
    /// For each call, how many calls its run had made by then. A run that never ends shows here, and nowhere else.
    PollsSoFar,
    /// For each ending, how many calls its run had made.
    PollsOfRun,
    /// For each ending, how long after its first trigger it came.
    TimeToEnding,
}

/// What the numbers of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

impl Metric {
    /// Every metric there is.
    pub const ALL: [Self; 23] = [
        Self::Messages,
        Self::Returned,
        Self::Triggers,
        Self::Joins,
        Self::Duplicates,
        Self::Refusals,
        Self::OwnEvents,
        Self::Malformed,
        Self::Polls,
        Self::Retries,
        Self::UnusableAnswers,
        Self::Restarts,
        Self::EndingsSyncDone,
        Self::EndingsSyncError,
        Self::EndingsChatDeleted,
        Self::EndingsErrorEnvelope,
        Self::Sweeps,
        Self::Revived,
        Self::ProviderLatency,
        Self::Lag,
        Self::PollsSoFar,
        Self::PollsOfRun,
        Self::TimeToEnding,
    ];

    /// Its name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "Messages",
            Self::Returned => "Returned",
            Self::Triggers => "Triggers",
            Self::Joins => "Joins",
            Self::Duplicates => "Duplicates",
            Self::Refusals => "Refusals",
            Self::OwnEvents => "OwnEvents",
            Self::Malformed => "Malformed",
            Self::Polls => "Polls",
            Self::Retries => "Retries",
            Self::UnusableAnswers => "UnusableAnswers",
            Self::Restarts => "Restarts",
            Self::EndingsSyncDone => "EndingsSyncDone",
            Self::EndingsSyncError => "EndingsSyncError",
            Self::EndingsChatDeleted => "EndingsChatDeleted",
            Self::EndingsErrorEnvelope => "EndingsErrorEnvelope",
            Self::Sweeps => "Sweeps",
            Self::Revived => "Revived",
            Self::ProviderLatency => "ProviderLatency",
            Self::Lag => "Lag",
            Self::PollsSoFar => "PollsSoFar",
            Self::PollsOfRun => "PollsOfRun",
            Self::TimeToEnding => "TimeToEnding",
        }
    }

    /// What its numbers are.
    pub fn unit(self) -> Unit {
        match self {
            Self::ProviderLatency | Self::Lag => Unit::Milliseconds,
            Self::TimeToEnding => Unit::Seconds,
            _ => Unit::Count,
        }
    }
}

/// The numbers of one invocation. A metric of which nothing was seen is absent, and costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics(BTreeMap<Metric, Vec<u64>>);

impl Metrics {
    /// Counts `more` of something.
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

    /// Adds one time to a distribution, in the metric's unit, rounded down.
    pub fn time(&mut self, metric: Metric, time: Duration) {
        let time = match metric.unit() {
            Unit::Seconds => time.as_secs(),
            Unit::Milliseconds | Unit::Count => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        };
        self.value(metric, time);
    }

    /// Counts what an event that is out tells.
    pub fn published(&mut self, event: &Event) {
        let detail = &event.detail;
        if detail.run_id.is_none() {
            return self.count(Metric::Refusals, 1);
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

    /// The values of a metric, in the order in which they came; of what is counted, one value.
    pub fn of(&self, metric: Metric) -> &[u64] {
        self.0.get(&metric).map_or(&[], Vec::as_slice)
    }

    /// What was seen, and its values.
    pub fn seen(&self) -> impl Iterator<Item = (Metric, &[u64])> {
        self.0.iter().map(|(metric, values)| (*metric, values.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::postpress::Finish;
    use crate::run::{EndedBy, Ending, Item, Origin, Outcome, arbitrary};
    use crate::time::Millis;

    #[test]
    fn every_metric_is_listed_once_under_a_name_of_its_own() {
        let names: HashSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        assert!(Metric::ALL.is_sorted(), "in the order of the enum, so that none is missing but at the end");
        assert_eq!(Metric::ALL.last(), Some(&Metric::TimeToEnding));
    }

    #[test]
    fn what_is_counted_is_one_number_and_what_is_measured_is_many() {
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

    proptest::proptest! {
        #[test]
        fn an_ending_is_counted_under_its_type_with_its_polls_and_its_time(item in arbitrary::item()) {
            for (status, metric) in [
                (Finish::Done, Metric::EndingsSyncDone),
                (Finish::Error, Metric::EndingsSyncError),
                (Finish::Deleted, Metric::EndingsChatDeleted),
            ] {
                let requested = item.triggers.first().map_or(Millis(0), |trigger| trigger.requested_at);
                let finished_at = requested + Duration::from_secs(7);
                let outcome = Outcome { ending: Ending::Sync { status }, ended_by: EndedBy::Answer, finished_at };
                let event = Event::of_run(&Item { outcome: Some(outcome), ..item.clone() }).unwrap();
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
        fn an_error_envelope_is_a_one_among_the_endings(item in arbitrary::item(), error in arbitrary::envelope()) {
            let ending = Ending::Error { error, origin: Origin::Postpress };
            let outcome = Outcome { ending, ended_by: EndedBy::Answer, finished_at: Millis(0) };
            let event = Event::of_run(&Item { outcome: Some(outcome), ..item }).unwrap();
            let mut metrics = Metrics::default();
            metrics.published(&event);
            proptest::prop_assert_eq!(metrics.of(Metric::EndingsErrorEnvelope), [1]);
            let others = [Metric::EndingsSyncDone, Metric::EndingsSyncError, Metric::EndingsChatDeleted];
            proptest::prop_assert!(others.iter().all(|metric| metrics.of(*metric).is_empty()));
        }
    }
}
