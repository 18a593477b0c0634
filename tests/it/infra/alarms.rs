//! Each alarm goes off when its description says, and not before: against made series of data points.

use std::collections::BTreeSet;
use std::time::Duration;

use postpress_bridge::run::Schedule;
use serde_json::{Value, json};

use super::cloudwatch::{Alarm, Reported, State};
use super::stack::{BRIDGE, properties, template};

const NONE: Option<f64> = None;

const fn some<const N: usize>(values: [f64; N]) -> [Option<f64>; N] {
    let mut points = [None; N];
    let mut index = 0;
    while index < N {
        points[index] = Some(values[index]);
        index += 1;
    }
    points
}

/// A series for an alarm, and after how many periods it first goes off; `None` if it never does.
type Case<'a> = (&'a str, Reported<'a>, Option<usize>);

fn names(template: &Value) -> BTreeSet<String> {
    let resources = template["Resources"].as_object().unwrap();
    let alarms = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    alarms.map(|(name, _)| name.clone()).collect()
}

/// A queue that the schedule sends to.
const QUEUE: (&str, &[Option<f64>]) = ("visible", &[Some(0.0); 8]);

/// How many messages come back in each period if one always fails, by the worker's own backoff.
fn returned_while_one_message_fails(period: u64, periods: usize) -> Vec<Option<f64>> {
    let schedule = Schedule::default();
    let mut returned = vec![None; periods];
    let mut at = Duration::ZERO;
    for receive_count in 1..=10 {
        if let Some(count) = returned.get_mut(usize::try_from(at.as_secs() / period).unwrap()) {
            *count = Some(count.unwrap_or(0.0) + 1.0);
        }
        at += schedule.redelivery_backoff(receive_count, u16::MAX / 2);
    }
    returned
}

#[tokio::test]
async fn each_alarm_goes_off_when_its_description_says() {
    let template = template(BRIDGE).await;
    let a_failing_message = returned_while_one_message_fails(300, 12);
    let with_sweeps: Vec<_> = a_failing_message.iter().map(|count| Some(1.0 + count.unwrap_or(0.0))).collect();
    let busy = [Some(10_000.0); 12];
    let growing: Vec<_> = (0..7).map(|period| Some(60_000.0 * f64::from(period))).collect();
    let cases: &[Case<'_>] = &[
        ("DeadLettersAlarm", &[("Visible", &some([0.0, 1.0]))], Some(2)),
        ("DeadLettersAlarm", &[("Visible", &[Some(0.0), NONE, NONE, NONE, NONE])], None),
        ("OldestMessageAlarm", &[("Age", &some([2000.0, 2000.0, 2000.0]))], Some(3)),
        ("OldestMessageAlarm", &[("Age", &some([2000.0, 2000.0, 1700.0, 2000.0, 2000.0]))], None),
        ("ReturnedMessagesAlarm", &[("returned", &a_failing_message), ("messages", &with_sweeps)], Some(8)),
        ("ReturnedMessagesAlarm", &[("returned", &a_failing_message), ("messages", &busy)], None),
        ("ReturnedMessagesAlarm", &[("returned", &some([9.0, 9.0, 9.0])), ("messages", &some([10.0; 12]))], None),
        ("ReturnedMessagesAlarm", &[("returned", &some([200.0; 12])), ("messages", &busy)], Some(4)),
        ("ReturnedMessagesAlarm", &[("returned", &[NONE; 12]), ("messages", &busy)], None),
        ("RestartsAlarm", &[("Restarts", &[NONE, Some(1.0)])], Some(2)),
        ("RestartsAlarm", &[("Restarts", &[NONE; 9])], None),
        ("ErrorEnvelopesAlarm", &[("errors", &some([1.0, 2.0])), ("endings", &some([10.0, 10.0]))], Some(2)),
        ("ErrorEnvelopesAlarm", &[("errors", &some([9.0])), ("endings", &some([9.0]))], None),
        ("OwnEventsAlarm", &[("OwnEvents", &[NONE, Some(1.0)])], Some(2)),
        ("OwnEventsAlarm", &[("OwnEvents", &[NONE; 9])], None),
        ("LongRunAlarm", &[("PollsSoFar", &some([400.0, 401.0]))], Some(2)),
        ("LongRunAlarm", &[("PollsSoFar", &[Some(400.0), NONE, NONE])], None),
        ("WorkerErrorsAlarm", &[("Errors", &some([0.0, 1.0]))], Some(2)),
        ("WorkerErrorsAlarm", &[("Errors", &[Some(0.0), NONE, NONE, NONE])], None),
        ("WorkerThrottlesAlarm", &[("Throttles", &some([1.0, 1.0, 1.0]))], Some(3)),
        ("WorkerThrottlesAlarm", &[("Throttles", &some([1.0, 1.0, 0.0, 1.0, 1.0]))], None),
        ("TableWritesThrottledAlarm", &[("throttled", &some([1.0, 1.0, 1.0]))], Some(3)),
        ("TableWritesThrottledAlarm", &[("throttled", &[Some(1.0), Some(1.0), NONE, Some(1.0), Some(1.0)])], None),
        ("TableReadsThrottledAlarm", &[("throttled", &some([1.0, 1.0, 1.0]))], Some(3)),
        ("TableReadsThrottledAlarm", &[("throttled", &[Some(1.0), Some(1.0), NONE, Some(1.0), Some(1.0)])], None),
        ("WebhookErrorsAlarm", &[("Url5xxCount", &some([1.0, 0.0, 1.0]))], Some(3)),
        ("WebhookErrorsAlarm", &[("Url5xxCount", &some([1.0, 0.0, 0.0, 1.0, 0.0]))], None),
        ("WebhookThrottlesAlarm", &[("Throttles", &some([0.0, 1.0]))], Some(2)),
        ("WebhookThrottlesAlarm", &[("Throttles", &[NONE; 9])], None),
        ("WebhookDurationAlarm", &[("Duration", &some([5001.0, 5001.0, 5001.0]))], Some(3)),
        ("WebhookDurationAlarm", &[("Duration", &some([5001.0, 5001.0, 4000.0, 5001.0]))], None),
        ("PaceBacklogAlarm", &[("waits", &some([9.0; 7])), ("lag", &growing)], Some(7)),
        ("PaceBacklogAlarm", &[("waits", &some([9.0; 9])), ("lag", &some([5e6; 9]))], None),
        ("PaceBacklogAlarm", &[("waits", &[NONE; 7]), ("lag", &growing)], None),
        // A sweep every five minutes, and one every fifteen.
        ("SweepBacklogAlarm", &[("LeftBehind", &[Some(9.0), NONE, Some(9.0), Some(9.0)])], Some(4)),
        ("SweepBacklogAlarm", &[("LeftBehind", &[Some(9.0), NONE, NONE, Some(9.0), NONE, NONE, Some(9.0)])], Some(7)),
        ("SweepBacklogAlarm", &[("LeftBehind", &[Some(9.0), NONE, NONE, Some(9.0), NONE, NONE, NONE, NONE])], None),
        // The last completed sweep, then half an hour without one; metrics that never arrive.
        ("SweepMissingAlarm", &[("sweeps", &[Some(1.0), NONE, NONE, NONE, NONE, NONE, NONE]), QUEUE], Some(7)),
        ("SweepMissingAlarm", &[("sweeps", &[NONE; 6]), QUEUE], Some(6)),
        // The first deployment; a sweep every fifteen minutes, one of which fails.
        (
            "SweepMissingAlarm",
            &[("sweeps", &[NONE, NONE, NONE, Some(1.0)]), ("visible", &[NONE, NONE, NONE, Some(1.0)])],
            None,
        ),
        ("SweepMissingAlarm", &[("sweeps", &[Some(1.0), NONE, NONE, NONE, NONE, NONE, Some(1.0), NONE]), QUEUE], None),
    ];
    for (name, reported, goes_off_after) in cases {
        let states = Alarm::new(&template, properties(&template, name)).states(reported);
        let first = states.iter().position(|state| *state == State::Alarm).map(|index| index + 1);
        assert_eq!(first, *goes_off_after, "{name} {reported:?}: {states:?}");
    }
    let tried = |goes_off: bool| {
        let cases = cases.iter().filter(move |(_, _, after)| after.is_some() == goes_off);
        cases.map(|(name, _, _)| (*name).to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!([tried(true), tried(false)], [names(&template), names(&template)], "each alarm goes off, and does not");
}

#[tokio::test]
async fn an_alarm_without_sweeps_stays_on_until_the_next_sweep() {
    let template = template(BRIDGE).await;
    let alarm = Alarm::new(&template, properties(&template, "SweepMissingAlarm"));
    let day_without = (86_400 / alarm.period).try_into().unwrap();
    let mut sweeps = vec![Some(1.0)];
    sweeps.extend(std::iter::repeat_n(NONE, day_without));
    sweeps.push(Some(1.0));
    let states = alarm.states(&[("sweeps", &sweeps), ("visible", &vec![Some(0.0); sweeps.len()])]);
    let on = states.iter().filter(|state| **state == State::Alarm).count();
    assert_eq!(on, day_without - 5, "from the sixth period without a sweep");
    assert_eq!(states.last(), Some(&State::Ok));
}

#[tokio::test]
async fn each_alarm_tells_when_it_goes_off_and_when_it_is_over() {
    let template = template(BRIDGE).await;
    let notify = json!({"Fn::If": ["Alarms", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
    for name in names(&template) {
        let alarm = properties(&template, &name);
        assert_eq!([&alarm["AlarmActions"], &alarm["OKActions"]], [&notify, &notify], "{name}");
    }
}
