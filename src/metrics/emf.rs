//! CloudWatch's Embedded Metric Format: lines of JSON on stdout, from which CloudWatch Logs extracts metrics.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! The lines are printed before the invocation is answered: Lambda freezes a process as soon as it has answered, so a
//! background thread would print during some other invocation.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{MILLION, Metrics, Unit};

/// The most values of one metric in one record.
const VALUES_MAX: usize = 100;

/// The records of one invocation, each on its own line: one, unless a metric has more than 100 values.
///
/// Every metric is an array of numbers, even a single one. So the records of sweeps have the same form as all others, and if
/// CloudWatch refused it, the alarm on missing sweeps would go off.
pub fn emf_lines(metrics: &Metrics, namespace: &str, request_id: &str, at: SystemTime) -> String {
    let timestamp = u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or_default();
    let most_values = metrics.seen().map(|(_, values)| values.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for from in (0..most_values).step_by(VALUES_MAX) {
        let mut record = Map::from_iter([("request_id".to_owned(), Value::from(request_id))]);
        let mut directives = Vec::new();
        for (metric, values) in metrics.seen().filter(|(_, values)| values.len() > from) {
            directives.push(json!({ "Name": metric.name(), "Unit": unit(metric.unit()) }));
            let values = values.iter().skip(from).take(VALUES_MAX).map(|value| number(metric.unit(), *value));
            record.insert(metric.name().to_owned(), values.collect());
        }
        let directive = json!({ "Namespace": namespace, "Dimensions": [[]], "Metrics": directives });
        record.insert("_aws".to_owned(), json!({ "Timestamp": timestamp, "CloudWatchMetrics": [directive] }));
        lines.push_str(&Value::from(record).to_string());
        lines.push('\n');
    }
    lines
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "Count",
        Unit::Milliseconds => "Milliseconds",
        Unit::Seconds => "Seconds",
        Unit::PerSecond => "Count/Second",
    }
}

fn number(unit: Unit, value: u64) -> Value {
    match unit {
        #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^52 millionths")]
        Unit::PerSecond => (value as f64 / MILLION).into(),
        Unit::Count | Unit::Milliseconds | Unit::Seconds => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metric;

    fn lines(metrics: &Metrics) -> String {
        emf_lines(metrics, "PostpressBridge", "a-request", UNIX_EPOCH + Duration::from_millis(1_795_514_400_000))
    }

    #[test]
    fn an_invocation_is_one_line_of_embedded_metrics() {
        let mut metrics = Metrics::default();
        metrics.count(Metric::Polls, 3);
        for (latency, lag) in [(120, 40), (310, 41), (120, 42)] {
            metrics.value(Metric::ProviderLatency, latency);
            metrics.value(Metric::Lag, lag);
        }
        metrics.value(Metric::TimeToEnding, 75);
        metrics.rate(Metric::Pace, 0.25);
        insta::assert_snapshot!(lines(&metrics), @r#"{"Lag":[40,41,42],"Pace":[0.25],"Polls":[3],"ProviderLatency":[120,310,120],"TimeToEnding":[75],"_aws":{"CloudWatchMetrics":[{"Dimensions":[[]],"Metrics":[{"Name":"Pace","Unit":"Count/Second"},{"Name":"Polls","Unit":"Count"},{"Name":"ProviderLatency","Unit":"Milliseconds"},{"Name":"Lag","Unit":"Milliseconds"},{"Name":"TimeToEnding","Unit":"Seconds"}],"Namespace":"PostpressBridge"}],"Timestamp":1795514400000},"request_id":"a-request"}"#);
    }

    #[test]
    fn no_value_of_a_large_batch_is_dropped() {
        let mut metrics = Metrics::default();
        metrics.count(Metric::Messages, 250);
        (0..250).for_each(|value| metrics.value(Metric::Lag, value));
        let lines = lines(&metrics);
        let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let counted: Vec<_> = records.iter().map(|record| record["Messages"].clone()).collect();
        assert_eq!(counted, [json!([250]), Value::Null, Value::Null], "a count is sent once");
        let lags = records.iter().flat_map(|record| record["Lag"].as_array().unwrap());
        assert_eq!(lags.map(|lag| lag.as_u64().unwrap()).collect::<Vec<_>>(), (0..250).collect::<Vec<_>>());
    }

    #[test]
    fn each_record_keeps_to_the_specification() {
        let mut metrics = Metrics::default();
        for metric in Metric::ALL {
            (0..=VALUES_MAX).for_each(|_| metrics.value(*metric, u64::MAX));
        }
        for line in lines(&metrics).lines() {
            assert!(line.len() < 256 * 1024, "the largest log event");
            let record: Value = serde_json::from_str(line).unwrap();
            assert!(record["_aws"]["Timestamp"].is_u64());
            let [directive] = &record["_aws"]["CloudWatchMetrics"].as_array().unwrap()[..] else { panic!("{line}") };
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!(metrics.len() <= 100, "the most metrics of a directive");
            assert_eq!(metrics.len() + 2, record.as_object().unwrap().len(), "each target member is there");
            for metric in metrics {
                let values = record[metric["Name"].as_str().unwrap()].as_array().unwrap();
                assert!((1..=100).contains(&values.len()) && values.iter().all(Value::is_number), "{line}");
            }
        }
    }

    #[test]
    fn an_invocation_without_metrics_writes_nothing() {
        assert_eq!(lines(&Metrics::default()), "");
    }
}
