//! A small model of how CloudWatch evaluates an alarm, missing data included.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>

use serde_json::Value;

use super::stack::default_of;

/// How many more data points than it needs CloudWatch looks back for, to use real ones in place of missing ones. The
/// documentation's examples have two; it gives no number.
const LOOKED_BACK: usize = 2;

/// An alarm of the template.
pub(super) struct Alarm {
    /// In seconds.
    pub(super) period: u64,
    evaluation_periods: usize,
    datapoints_to_alarm: usize,
    threshold: f64,
    operator: String,
    treat_missing_data: String,
    expression: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    Alarm,
    InsufficientData,
}

/// What each metric reported in each period, by its `MetricName` or its id in the alarm's expression.
pub(super) type Reported<'a> = &'a [(&'a str, &'a [Option<f64>])];

impl Alarm {
    pub(super) fn new(template: &Value, properties: &Value) -> Self {
        let whole = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let metrics = properties["Metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
        let periods = metrics.iter().filter_map(|metric| metric["MetricStat"]["Period"].as_u64());
        let evaluation_periods = whole(&properties["EvaluationPeriods"]);
        Self {
            period: periods.chain(properties["Period"].as_u64()).next().unwrap(),
            evaluation_periods,
            datapoints_to_alarm: properties.get("DatapointsToAlarm").map_or(evaluation_periods, whole),
            threshold: match &properties["Threshold"] {
                Value::Number(number) => number.as_f64().unwrap(),
                parameter => default_of(template, parameter["Ref"].as_str().unwrap()).parse().unwrap(),
            },
            operator: properties["ComparisonOperator"].as_str().unwrap().to_owned(),
            treat_missing_data: properties["TreatMissingData"].as_str().unwrap().to_owned(),
            expression: metrics.iter().find_map(|metric| metric["Expression"].as_str()).map(str::to_owned),
        }
    }

    /// The state after each period, from before the metric's first.
    pub(super) fn states(&self, reported: Reported<'_>) -> Vec<State> {
        let periods = reported.iter().map(|(_, points)| points.len()).max().unwrap_or_default();
        let mut state = State::InsufficientData;
        let after = |period: usize| {
            let from = (period + 1).saturating_sub(self.evaluation_periods + LOOKED_BACK);
            state = self.evaluate(&self.points(reported, from..period + 1), state);
            state
        };
        (0..periods).map(after).collect()
    }

    /// The data points of these periods.
    fn points(&self, reported: Reported<'_>, periods: std::ops::Range<usize>) -> Vec<Option<f64>> {
        let metric = |name: &str| -> Vec<Option<f64>> {
            let (_, points) = reported.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}"));
            periods.clone().map(|period| points.get(period).copied().flatten()).collect()
        };
        // Where nothing was reported at all, there is nothing to fill.
        let filled = |name: &str| {
            let points = metric(name);
            let fill = points.iter().any(Option::is_some).then_some(0.0);
            points.into_iter().map(|point| point.or(fill)).collect::<Vec<_>>()
        };
        let combined = |one: Vec<Option<f64>>, other: Vec<Option<f64>>, of: fn(f64, f64) -> f64| -> Vec<Option<f64>> {
            one.into_iter().zip(other).map(|(one, other)| Some(of(one?, other?))).collect()
        };
        match self.expression.as_deref() {
            None => {
                let [(name, _)] = reported else { panic!("one metric") };
                metric(name)
            }
            Some("SUM([sweeps, zero])") => {
                let (sweeps, queue) = (metric("sweeps"), metric("visible"));
                // The sum of those that are there.
                let sum = |(sweeps, visible): (Option<f64>, Option<f64>)| {
                    [sweeps, visible.map(|visible| 0.0 * visible)]
                        .into_iter()
                        .flatten()
                        .reduce(|one, other| one + other)
                };
                sweeps.into_iter().zip(queue).map(sum).collect()
            }
            Some("IF(FILL(waits, 0) > 0, DIFF(lag), 0)") => {
                let lag = metric("lag");
                let before = [&[None], &lag[..]].concat();
                let growth = combined(lag, before, |lag, before| lag - before);
                let waits = filled("waits");
                let growing =
                    |(waits, growth): (Option<f64>, Option<f64>)| if waits? > 0.0 { growth } else { Some(0.0) };
                waits.into_iter().zip(growth).map(growing).collect()
            }
            Some("FILL(throttled, 0)") => filled("throttled"),
            Some("100 * FILL(returned, 0) / messages") => {
                combined(filled("returned"), metric("messages"), |returned, messages| 100.0 * returned / messages)
            }
            Some("IF(endings >= 10, 100 * errors / endings, 0)") => {
                combined(metric("errors"), metric("endings"), |errors, endings| {
                    if endings >= 10.0 { 100.0 * errors / endings } else { 0.0 }
                })
            }
            Some(other) => panic!("{other} is new; say here what it calculates"),
        }
    }

    fn evaluate(&self, points: &[Option<f64>], before: State) -> State {
        let latest = &points[points.len().saturating_sub(self.evaluation_periods)..];
        let in_range: Vec<f64> = points.iter().flatten().copied().collect();
        let real: Vec<f64> = if latest.iter().all(Option::is_some) {
            latest.iter().flatten().copied().collect()
        } else {
            in_range[in_range.len().saturating_sub(self.evaluation_periods)..].to_vec()
        };
        let missing = self.evaluation_periods - real.len();
        let breaching = real.iter().filter(|value| self.is_breaching(**value)).count();
        let alarm_if = |breaching| if breaching >= self.datapoints_to_alarm { State::Alarm } else { State::Ok };
        match self.treat_missing_data.as_str() {
            "breaching" => alarm_if(breaching + missing),
            // Whatever the missing ones were, the state would be the same.
            "ignore" if alarm_if(breaching) == alarm_if(breaching + missing) => alarm_if(breaching),
            "ignore" => before,
            "missing" if real.is_empty() => State::InsufficientData,
            "missing" if missing > 0 && breaching == real.len() => State::Alarm,
            "missing" | "notBreaching" => alarm_if(breaching),
            other => panic!("TreatMissingData: {other}"),
        }
    }

    fn is_breaching(&self, value: f64) -> bool {
        match self.operator.as_str() {
            "GreaterThanThreshold" => value > self.threshold,
            "GreaterThanOrEqualToThreshold" => value >= self.threshold,
            "LessThanThreshold" => value < self.threshold,
            other => panic!("{other} is new; say here what it compares"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::State::{Alarm as InAlarm, InsufficientData, Ok};
    use super::*;

    /// The documentation's examples for three data points of three: the points, and the state for each treatment of missing
    /// data. `-` is missing, `X` breaches, `0` does not. `None` is the state before.
    #[test]
    fn the_documented_examples_are_evaluated_as_documented() {
        for (points, states) in [
            ("0-X-X", [Some(Ok); 4]),
            ("0----", [Some(Ok); 4]),
            ("-----", [Some(InsufficientData), None, Some(InAlarm), Some(Ok)]),
            ("0XX-X", [Some(InAlarm); 4]),
            ("--X--", [Some(InAlarm), None, Some(InAlarm), Some(Ok)]),
        ] {
            let points: Vec<_> = points
                .chars()
                .map(|point| point.to_digit(10).map(f64::from).or((point == 'X').then_some(9.0)))
                .collect();
            for (treatment, expected) in ["missing", "ignore", "breaching", "notBreaching"].into_iter().zip(states) {
                let properties = json!({
                    "Period": 60, "EvaluationPeriods": 3, "Threshold": 5, "ComparisonOperator": "GreaterThanThreshold",
                    "TreatMissingData": treatment,
                });
                let alarm = Alarm::new(&Value::Null, &properties);
                for before in [Ok, InAlarm] {
                    assert_eq!(alarm.evaluate(&points, before), expected.unwrap_or(before), "{points:?} {treatment}");
                }
            }
        }
    }

    #[test]
    fn one_long_period_notices_missing_data_late() {
        let properties = json!({
            "Period": 1800, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "LessThanThreshold",
            "TreatMissingData": "breaching",
        });
        let states = Alarm::new(&Value::Null, &properties).states(&[("Sweeps", &[Some(6.0), None, None, None])]);
        assert_eq!(states, [Ok, Ok, Ok, InAlarm], "after an hour and a half");
    }
}
