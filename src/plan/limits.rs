//! How many chats in flight each quota allows.

use std::time::Duration;

use serde::Serialize;

use super::prices::{
    LAMBDA_CONCURRENCY, NEW_TABLE_WRITES, PARTITION_WRITES, PUT_EVENTS, SQS_IN_FLIGHT, TABLE_WRITES, TARGET_INVOCATIONS,
};
use super::traffic::{self, SyncCount};
use super::{Deployment, SyncProfile};
use crate::run::ACTIVE_SHARDS;

/// A quota, and how much of it each chat in flight takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// What is limited, for people.
    pub name: &'static str,
    /// The quota, in `unit`.
    pub holds: f64,
    /// What it counts.
    pub unit: &'static str,
    /// How much of it one chat in flight takes.
    pub per_chat: f64,
    /// How many chats in flight it allows; `None` if none takes any of it.
    pub chats: Option<f64>,
}

impl Limit {
    fn new(name: &'static str, holds: f64, unit: &'static str, per_chat: f64) -> Self {
        Self { name, holds, unit, per_chat, chats: (per_chat > 0.0).then(|| holds / per_chat) }
    }

    /// The share of the quota that this many chats in flight take.
    pub fn share(&self, chats: f64) -> f64 {
        chats * self.per_chat / self.holds
    }
}

/// The limits, the one that breaks first in front. Batches are full at such traffic, so messages do not wait for them.
///
/// # Errors
/// If a part of an item cannot be written as JSON, which would be a bug.
pub fn limits(profile: &SyncProfile, deployment: &Deployment) -> anyhow::Result<Vec<Limit>> {
    let sync = traffic::count(profile, deployment, Duration::ZERO)?;
    let mut limits = all(&sync, deployment);
    limits.sort_by(|a, b| b.share(1.0).total_cmp(&a.share(1.0)));
    Ok(limits)
}

fn all(sync: &SyncCount, deployment: &Deployment) -> Vec<Limit> {
    let Deployment { config, function_timeout, sweep_every, invocation, .. } = deployment;
    let a_second = |count: f64| count / sync.seconds;
    // The worker makes no more calls than that at once, however large the batch.
    let size = f64::from(deployment.batch_size).min(number(config.limits.max_in_flight));
    let concurrency = f64::from(deployment.max_concurrency);
    let messages = a_second(f64::from(sync.messages));
    // The part of a chat's index entries that falls into the busier half of the shards.
    let index = sync.active_index_units.max(sync.ended_index_units);
    let shards = f64::from(ACTIVE_SHARDS.end - ACTIVE_SHARDS.start);
    let looks = config.sweep_allowance(*function_timeout);
    let sweep = Limit::new(
        "sweep: checks of long runs",
        number(looks),
        "a sweep",
        a_second(f64::from(sync.sweep_looks)) * sweep_every.as_secs_f64(),
    );
    let mapping = |name, concurrency: f64, invocation: &Duration, messages| {
        Limit::new(name, concurrency * size / invocation.as_secs_f64(), "messages/s", messages)
    };
    // Each call then takes its whole timeout, and no run ends, so the delays are at their maximum.
    let call_timeout = &config.limits.provider_timeout;
    let hanging = *call_timeout + config.rules.schedule.poll_max;
    let writes = a_second(number(sync.table_write_units));
    let mut limits = vec![
        sweep,
        mapping("Lambda: mapping", concurrency, invocation, messages),
        mapping("Lambda: hanging calls", concurrency, call_timeout, 1.0 / hanging.as_secs_f64()),
        mapping("Lambda: account", LAMBDA_CONCURRENCY, invocation, messages),
        Limit::new("SQS: in flight, table down", SQS_IN_FLIGHT, "messages", 1.0),
        Limit::new("EventBridge: PutEvents", PUT_EVENTS, "requests/s", a_second(1.0)),
        Limit::new("EventBridge: rule targets", TARGET_INVOCATIONS, "events/s", a_second(1.0)),
    ];
    // A provisioned table takes what it is set to, which is far below these.
    if !deployment.is_provisioned {
        limits.extend([
            Limit::new("DynamoDB: new table", NEW_TABLE_WRITES, "writes/s", writes),
            Limit::new("DynamoDB: table", TABLE_WRITES, "writes/s", writes),
            Limit::new("DynamoDB: open index", PARTITION_WRITES * shards, "writes/s", a_second(number(index))),
        ]);
    }
    limits
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limits: &[Limit], name: &str) -> Limit {
        limits.iter().find(|limit| limit.name.starts_with(name)).unwrap().clone()
    }

    /// A sync of 400 s with ten messages, twelve table writes and at most two index writes in one half of the shards.
    fn sync() -> SyncCount {
        SyncCount {
            messages: 10,
            table_write_units: 12,
            active_index_units: 2,
            ended_index_units: 2,
            seconds: 400.0,
            ..SyncCount::default()
        }
    }

    #[test]
    fn limits_are_what_their_parts_multiply_to() {
        let limits = all(&sync(), &Deployment::default());
        // Ten invocations of ten messages in 0.2 s are 500 messages a second, and a chat has one in 40 s.
        assert_eq!(limit(&limits, "Lambda: mapping").chats.unwrap().round(), 20_000.0);
        assert_eq!(limit(&limits, "Lambda: hanging").chats.unwrap().round(), 3100.0, "10 a second, each chat in 310 s");
        assert_eq!(limit(&limits, "Lambda: account").chats.unwrap().round(), 2_000_000.0);
        assert_eq!(limit(&limits, "SQS").chats.unwrap().round(), 120_000.0);
        assert_eq!(limit(&limits, "DynamoDB: table").chats.unwrap().round(), 1_333_333.0);
        assert_eq!(limit(&limits, "DynamoDB: open").chats.unwrap().round(), 1_600_000.0);
        assert_eq!(limit(&limits, "EventBridge: PutEvents").chats.unwrap().round(), 4_000_000.0);
        assert_eq!(limit(&limits, "sweep").chats, None, "a short sync is never looked at");
    }

    #[test]
    fn sweeps_look_at_long_runs_only() {
        let looks = |minutes| {
            let profile = SyncProfile { length: Duration::from_mins(minutes), ..SyncProfile::default() };
            traffic::count(&profile, &Deployment::default(), Duration::ZERO).unwrap().sweep_looks
        };
        assert_eq!((looks(6), looks(25)), (0, 0));
        assert!(looks(60) >= 1, "{}", looks(60));
        assert!((40..=48).contains(&looks(24 * 60)), "one in half an hour: {}", looks(24 * 60));
        let profile = SyncProfile { length: Duration::from_hours(24), ..SyncProfile::default() };
        let limits = limits(&profile, &Deployment::default()).unwrap();
        let chats = limit(&limits, "sweep").chats.unwrap();
        // 4,500 looks in 300 s are 15 a second, and each chat needs one in about half an hour.
        assert!((25_000.0..32_000.0).contains(&chats), "{chats}");
    }

    #[test]
    fn first_limit_is_the_one_that_breaks_first() {
        let limits = limits(&SyncProfile::default(), &Deployment::default()).unwrap();
        let chats: Vec<_> = limits.iter().filter_map(|limit| limit.chats).collect();
        assert!(chats.is_sorted(), "{limits:?}");
        assert_eq!(limits.last().unwrap().chats, None, "{limits:?}");
    }
}
