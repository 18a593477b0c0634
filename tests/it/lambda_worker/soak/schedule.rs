//! The schedule that sends sweeps, and the passing of time that they depend on.

use std::convert::Infallible;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use postpress_bridge::ids::Subject;
use postpress_bridge::run::{ACTIVE_SHARDS, ENDED_SHARDS};
use postpress_bridge::store::RunStore;
use postpress_bridge::time::{Clock, Millis};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::super::world::World;

/// The interval between sweeps.
const EVERY: Duration = Duration::from_secs(10);
/// How long after its last lease a run counts as lost here: longer than a poll's delay, as in production.
const OVERDUE: Duration = Duration::from_secs(8);
/// The minimum of `BRIDGE_OVERDUE_SECONDS`, since a poll may legitimately be delayed by 900 s.
pub(super) const LEAST_OVERDUE_SECONDS: &str = "901";
/// Longer than that.
const LONG: Duration = Duration::from_hours(1);

/// Sends sweeps forever.
pub(super) async fn sweep(world: &World) -> Infallible {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A sweep without open runs does nothing, but it would keep the queue from ever being empty.
        if open_runs(world).await.is_empty() {
            continue;
        }
        let_time_pass(world).await;
        world.send(&[json!({"postpress_bridge": "sweep", "v": 1})]).await;
    }
}

/// Simulates the quarter of an hour after which a run counts as lost: for runs without a holder for [`OVERDUE`], the table's
/// times are set back. All others are left alone, so that no lease is cut short.
async fn let_time_pass(world: &World) {
    let now = Clock::System.now();
    let number = |time: Millis| AttributeValue::N(time.0.to_string());
    let before = |time: Duration| number(Millis(now.0 - u64::try_from(time.as_millis()).unwrap()));
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.aws.sdk);
    let lost = "attribute_exists(#open) AND lease_until_ms < :overdue";
    let scan = dynamodb.scan().table_name(&world.aws.table).filter_expression(lost);
    let scan =
        scan.expression_attribute_names("#open", "open").expression_attribute_values(":overdue", before(OVERDUE));
    for item in scan.send().await.unwrap().items() {
        let update = dynamodb
            .update_item()
            .table_name(&world.aws.table)
            .key("subject", item["subject"].clone())
            .update_expression("SET lease_until_ms = :long_ago, sweep_at_ms = :long_ago")
            .condition_expression(lost)
            .expression_attribute_names("#open", "open")
            .expression_attribute_values(":overdue", before(OVERDUE))
            .expression_attribute_values(":long_ago", before(LONG));
        if let Err(error) = update.send().await {
            // It has been claimed since, or its ending is published.
            assert!(error.into_service_error().is_conditional_check_failed_exception());
        }
    }
}

/// The chats whose run is in the index of open runs.
pub(super) async fn open_runs(world: &World) -> Vec<Subject> {
    let store = world.aws.store(&world.aws.sdk);
    let end_of_time = Clock::System.now() + 100 * LONG;
    let mut open = Vec::new();
    for shard in ACTIVE_SHARDS.chain(ENDED_SHARDS) {
        let due = store.due(shard, end_of_time, None).await.unwrap();
        open.extend(due.into_iter().map(|due| due.subject.clone()));
    }
    open
}
