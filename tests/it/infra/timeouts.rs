//! Values that depend on one another. CloudFormation cannot calculate, so the template contains them as constants.

use std::time::Duration;

use postpress_bridge::run::{DEFAULT_LEASE_MARGIN, DEFAULT_OVERDUE, DEFAULT_RUN_TTL, DELAY_MAX, Schedule};
use postpress_bridge::settings::DEFAULT_MAX_IN_FLIGHT;
use serde_json::Value;

use super::account::seconds;
use super::stack::{BRIDGE, properties, template};

/// Each call timeout that an operator can choose, with the function's timeout and the queue's visibility timeout.
fn timeouts(template: &Value) -> Vec<[Duration; 3]> {
    let rows = template["Mappings"]["Timeouts"].as_object().unwrap();
    let choices = template["Parameters"]["CallTimeoutSeconds"]["AllowedValues"].as_array().unwrap();
    assert_eq!(rows.len(), choices.len());
    let row = |choice: &Value| {
        let choice = choice.as_str().unwrap();
        let row = &rows[choice];
        [Duration::from_secs(choice.parse().unwrap()), seconds(&row["Function"]), seconds(&row["Visibility"])]
    };
    choices.iter().map(row).collect()
}

#[tokio::test]
async fn timeouts_allow_for_four_calls_and_six_invocations() {
    let template = template(BRIDGE).await;
    let largest_window = seconds(&template["Parameters"]["BatchWindowSeconds"]["MaxValue"]);
    for [call, function, visibility] in timeouts(&template) {
        let least = 4 * call + DEFAULT_LEASE_MARGIN;
        assert!(function >= least, "calls of {call:?}: the function has {function:?} of {least:?}");
        let least = 6 * function + largest_window;
        assert!(visibility >= least, "calls of {call:?}: the queue has {visibility:?} of {least:?}");
    }
}

#[tokio::test]
async fn a_message_survives_an_hour_of_outage() {
    let template = template(BRIDGE).await;
    let receives = properties(&template, "Queue")["RedrivePolicy"]["maxReceiveCount"].as_u64().unwrap();
    // There is no wait after the last receive: ten receives have nine waits.
    let waits = 1..u32::try_from(receives).unwrap();
    for chance in [0, u16::MAX] {
        let lasts: Duration = waits.clone().map(|n| Schedule::default().redelivery_backoff(n, chance)).sum();
        assert!(lasts >= Duration::from_hours(1), "{receives} receives are over in {lasts:?}");
    }
}

#[tokio::test]
async fn runs_are_remembered_longer_than_their_messages_live() {
    let template = template(BRIDGE).await;
    let retention = |queue| seconds(&properties(&template, queue)["MessageRetentionPeriod"]);
    assert!(retention("Queue") + retention("DeadLetters") < DEFAULT_RUN_TTL);
}

#[tokio::test]
async fn no_regular_delay_counts_as_a_lost_run() {
    let template = template(BRIDGE).await;
    let overdue = DEFAULT_OVERDUE;
    for [_, function, _] in timeouts(&template) {
        assert!(overdue > DELAY_MAX + function);
    }
    // Nor does a returned message.
    let longest = Schedule::default().redelivery_backoff(u32::MAX, u16::MAX);
    assert!(overdue > longest, "a message may stay away for {longest:?}");
}

#[tokio::test]
async fn the_largest_batch_calls_the_provider_concurrently() {
    let template = template(BRIDGE).await;
    let largest = template["Parameters"]["BatchSize"]["MaxValue"].as_u64().unwrap();
    assert!(usize::try_from(largest).unwrap() <= DEFAULT_MAX_IN_FLIGHT);
}
