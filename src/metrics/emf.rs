//! CloudWatch's Embedded Metric Format: one line of JSON on stdout, from which CloudWatch Logs extracts metrics.
//!
//! The line is formatted in place and printed before the invocation is answered: Lambda freezes a process as soon as it has
//! answered, so a background thread would print during some other invocation.

use std::io;
use std::time::SystemTime;

use metrique_writer_core::format::Format;
use metrique_writer_core::stream::IoStreamError;
use metrique_writer_core::unit::NegativeScale;
use metrique_writer_core::value::{MetricFlags, ValueWriter};
use metrique_writer_core::{Entry, EntryWriter, Observation, Value};
use metrique_writer_format_emf::Emf;

use super::{Metrics, Unit};

/// The most values of one metric in one record. A batch has at most 50 messages; for a larger one they are a sample.
const VALUES_MAX: usize = 100;

/// Formats the records of a process.
pub struct EmfLines(Emf);

impl EmfLines {
    /// In this namespace, by which two deployments in one account differ.
    pub fn new(namespace: &str) -> Self {
        Self(Emf::builder(namespace.to_owned(), vec![Vec::new()]).build())
    }

    /// The line of one invocation, line break included.
    ///
    /// # Errors
    /// If the record breaks a rule of the format, which would be a bug of ours.
    pub fn line(&mut self, metrics: &Metrics, request_id: &str, at: SystemTime) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let record = Record { metrics, request_id, at };
        self.0.format(&record, &mut line).map_err(|error| match error {
            IoStreamError::Io(error) => error,
            IoStreamError::Validation(error) => io::Error::other(error.to_string()),
        })?;
        Ok(line)
    }
}

struct Record<'a> {
    metrics: &'a Metrics,
    request_id: &'a str,
    at: SystemTime,
}

impl Entry for Record<'_> {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        writer.timestamp(self.at);
        writer.value("request_id", self.request_id);
        for (metric, values) in self.metrics.seen() {
            writer.value(metric.name(), &Observed { values, unit: metric.unit() });
        }
    }
}

struct Observed<'a> {
    values: &'a [u64],
    unit: Unit,
}

impl Value for Observed<'_> {
    fn write(&self, writer: impl ValueWriter) {
        let unit = match self.unit {
            Unit::Count => metrique_writer_core::Unit::Count,
            Unit::Milliseconds => metrique_writer_core::Unit::Second(NegativeScale::Milli),
            Unit::Seconds => metrique_writer_core::Unit::Second(NegativeScale::One),
        };
        let values = self.values.iter().take(VALUES_MAX).map(|value| Observation::Unsigned(*value));
        writer.metric(values, unit, [], MetricFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::metrics::Metric;

    #[test]
    fn an_invocation_is_one_line_of_embedded_metrics() {
        let mut metrics = Metrics::default();
        metrics.count(Metric::Polls, 3);
        for (latency, lag) in [(120, 40), (310, 41), (120, 42)] {
            metrics.value(Metric::ProviderLatency, latency);
            metrics.value(Metric::Lag, lag);
        }
        metrics.value(Metric::TimeToEnding, 75);
        let at = UNIX_EPOCH + Duration::from_millis(1_795_514_400_000);
        let line = EmfLines::new("PostpressBridge").line(&metrics, "a-request", at).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        insta::assert_snapshot!(line, @r#"{"_aws":{"CloudWatchMetrics":[{"Namespace":"PostpressBridge","Dimensions":[[]],"Metrics":[{"Name":"Polls","Unit":"Count"},{"Name":"ProviderLatency","Unit":"Milliseconds"},{"Name":"Lag","Unit":"Milliseconds"},{"Name":"TimeToEnding","Unit":"Seconds"}]}],"Timestamp":1795514400000},"Polls":3,"ProviderLatency":{"Values":[120,310,120],"Counts":[1,1,1]},"Lag":{"Values":[40,41,42],"Counts":[1,1,1]},"TimeToEnding":75,"request_id":"a-request"}"#);
    }

    #[test]
    fn a_very_large_batch_is_sampled() {
        let mut metrics = Metrics::default();
        (0..250).for_each(|value| metrics.value(Metric::Lag, value));
        let line = EmfLines::new("PostpressBridge").line(&metrics, "a-request", UNIX_EPOCH).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["Lag"]["Values"].as_array().unwrap().len(), VALUES_MAX);
    }
}
