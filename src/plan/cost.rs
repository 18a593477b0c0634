//! A month's bill by service, at list prices.

use std::fmt;

use serde::Serialize;

use super::Deployment;
use super::prices::{
    ALARM_METRIC, ARCHIVE_GB, ARCHIVE_GB_MONTH, DASHBOARD, DYNAMODB_GB_MONTH, DYNAMODB_READ,
    DYNAMODB_RECOVERY_GB_MONTH, DYNAMODB_WRITE, EMPTY_QUERY_UNITS, EVENT, EVENT_CHUNK_BYTES, GB, ITEM_OVERHEAD_BYTES,
    LAMBDA_GB_SECOND, LAMBDA_REQUEST, LOGS_COMPRESSION, LOGS_GB, LOGS_GB_MONTH, METRIC, MONTH_SECONDS,
    PROVISIONED_READ_MONTH, PROVISIONED_USE, PROVISIONED_WRITE_MONTH, SCHEDULED, SECRET, SQS_BATCH, SQS_REQUEST, TRACE,
    TRACES_PER_SECOND, TRACES_SHARE,
};
use super::traffic::{Batching, SyncCount};
use crate::metrics::Metric;
use crate::run::{ACTIVE_SHARDS, ENDED_SHARDS};

/// Metrics that alarms of `infra/template.yaml` watch; a test counts them.
pub const ALARM_METRICS: u32 = 21;
/// Secrets that `infra/template.yaml` creates by default; a test counts them.
pub const SECRETS: u32 = 3;
/// Metrics that every sweep reports, even without syncs.
pub const SWEEP_METRICS: [Metric; 3] = [Metric::Messages, Metric::Sweeps, Metric::Lag];
/// Metrics that syncs report besides, if nothing fails and no trigger joins.
pub const SYNC_METRICS: [Metric; 8] = [
    Metric::Triggers,
    Metric::Polls,
    Metric::EndingsSyncDone,
    Metric::EndingsErrorEnvelope,
    Metric::ProviderLatency,
    Metric::PollsSoFar,
    Metric::PollsOfRun,
    Metric::TimeToEnding,
];
/// Read units of a sweep that finds nothing: a query of each shard.
const EMPTY_SWEEP_UNITS: f64 =
    EMPTY_QUERY_UNITS * (ACTIVE_SHARDS.end - ACTIVE_SHARDS.start + ENDED_SHARDS.end - ENDED_SHARDS.start) as f64;
/// Log bytes of one invocation: Lambda's own two lines and the metrics' line. An estimate.
const LOG_BYTES_OF_INVOCATION: f64 = 2000.0;
/// Log bytes of one sync: the lines of its start and its end. An estimate.
const LOG_BYTES_OF_SYNC: f64 = 1000.0;

/// A month's bill in USD. It has no free tier, and neither the webhook nor what subscribers do with the events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bill {
    /// Requests and duration of the worker.
    pub lambda: f64,
    /// Sends and deletes: the requests that batches share.
    pub sqs_sends_and_deletes: f64,
    /// Receives, with the empty ones of idle pollers. At most: each message has a receive of its own here.
    pub sqs_receives: f64,
    /// Writes, of the table and of the index.
    pub dynamodb_writes: f64,
    /// Reads, storage and point-in-time recovery.
    pub dynamodb_rest: f64,
    /// Events, the archive and the schedule of sweeps.
    pub eventbridge: f64,
    /// Recorded traces.
    pub xray: f64,
    /// Ingested and stored logs.
    pub logs: f64,
    /// The worker's metrics.
    pub metrics: f64,
    /// Alarms and the dashboard.
    pub alarms_and_dashboard: f64,
    /// Secrets Manager.
    pub secrets: f64,
}

/// A provisioned capacity in units a second. Its text is the template's parameter `TableCapacity`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Capacity {
    /// Write units of the table.
    pub table_writes: f64,
    /// Write units of the open index.
    pub index_writes: f64,
    /// Read units of the table.
    pub table_reads: f64,
    /// Read units of the open index.
    pub index_reads: f64,
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table_writes, index_writes, table_reads, index_reads } = self;
        write!(f, "{table_writes},{index_writes},{table_reads},{index_reads}")
    }
}

impl Capacity {
    /// What this many syncs a second need, if they are spread evenly: whole units, of which the usual share is used.
    pub fn of(syncs_per_second: f64, sync: &SyncCount, deployment: &Deployment) -> Self {
        let enough = |a_second: f64| (a_second / PROVISIONED_USE).ceil().max(1.0);
        let index_writes = sync.active_index_units + sync.ended_index_units;
        Self {
            table_writes: enough(syncs_per_second * number(sync.table_write_units)),
            index_writes: enough(syncs_per_second * number(index_writes)),
            table_reads: enough(syncs_per_second * number(sync.read_units)),
            index_reads: enough(EMPTY_SWEEP_UNITS / deployment.sweep_every.as_secs_f64()),
        }
    }

    /// What its writes and its reads cost in a month.
    fn usd(&self) -> (f64, f64) {
        let writes = (self.table_writes + self.index_writes) * PROVISIONED_WRITE_MONTH;
        (writes, (self.table_reads + self.index_reads) * PROVISIONED_READ_MONTH)
    }
}

impl Bill {
    /// The bill of this many syncs a month.
    pub fn of(syncs: f64, sync: &SyncCount, batching: &Batching, deployment: &Deployment) -> Self {
        let invocations = batching.invocations_per_second * MONTH_SECONDS;
        let sweeps = MONTH_SECONDS / deployment.sweep_every.as_secs_f64();
        let (dynamodb_writes, dynamodb_reads) = if deployment.is_provisioned {
            Capacity::of(syncs / MONTH_SECONDS, sync, deployment).usd()
        } else {
            let reads = syncs * number(sync.read_units) + sweeps * EMPTY_SWEEP_UNITS;
            (syncs * number(sync.write_units()) * DYNAMODB_WRITE, reads * DYNAMODB_READ)
        };
        Self {
            lambda: lambda(invocations, deployment),
            sqs_sends_and_deletes: sends_and_deletes(syncs, sweeps, invocations, sync, batching) * SQS_REQUEST,
            sqs_receives: batching.receives_per_second * MONTH_SECONDS * SQS_REQUEST,
            dynamodb_writes,
            dynamodb_rest: dynamodb_reads + storage(syncs, sync, deployment),
            eventbridge: events(syncs, sync, deployment) + sweeps * SCHEDULED,
            xray: if deployment.is_traced {
                traces(batching.invocations_per_second) * MONTH_SECONDS * TRACE
            } else {
                0.0
            },
            logs: logs(invocations * LOG_BYTES_OF_INVOCATION + syncs * LOG_BYTES_OF_SYNC, deployment.log_days),
            metrics: metrics(syncs),
            alarms_and_dashboard: f64::from(ALARM_METRICS) * ALARM_METRIC + DASHBOARD,
            secrets: f64::from(SECRETS) * SECRET,
        }
    }

    /// The lines, with the names that people read.
    pub fn lines(&self) -> [(&'static str, f64); 11] {
        [
            ("Lambda", self.lambda),
            ("SQS: sends, deletes", self.sqs_sends_and_deletes),
            ("SQS: receives, at most", self.sqs_receives),
            ("DynamoDB: writes", self.dynamodb_writes),
            ("DynamoDB: reads, storage", self.dynamodb_rest),
            ("EventBridge", self.eventbridge),
            ("X-Ray", self.xray),
            ("CloudWatch: logs", self.logs),
            ("CloudWatch: metrics", self.metrics),
            ("CloudWatch: alarms, dashboard", self.alarms_and_dashboard),
            ("Secrets Manager", self.secrets),
        ]
    }

    /// The sum.
    pub fn total(&self) -> f64 {
        self.lines().iter().map(|(_, usd)| usd).sum()
    }
}

/// Requests and GB-seconds of this many invocations.
fn lambda(invocations: f64, deployment: &Deployment) -> f64 {
    let gigabytes = f64::from(deployment.memory_megabytes) / 1024.0;
    invocations * (LAMBDA_REQUEST + gigabytes * deployment.invocation.as_secs_f64() * LAMBDA_GB_SECOND)
}

/// Requests that send and delete messages. Triggers and sweeps are sent one by one. The polls of a batch share a send, unless
/// all its messages end their runs, and a batch shares a delete; of batches above ten, the fraction of a further request counts
/// as a fraction.
fn sends_and_deletes(syncs: f64, sweeps: f64, invocations: f64, sync: &SyncCount, batching: &Batching) -> f64 {
    let received = batching.messages_per_second * MONTH_SECONDS;
    let share_of_polls = syncs * f64::from(sync.polls_sent) / received;
    let requests_of_batch = (batching.batch / SQS_BATCH).max(1.0);
    let sends_polls = 1.0 - (1.0 - share_of_polls).max(0.0).powf(batching.batch);
    let triggers = syncs * f64::from(sync.messages - sync.polls_sent);
    triggers + sweeps + invocations * requests_of_batch * (sends_polls + 1.0)
}

/// Storage and its recovery. Every sync is assumed to be another chat's, whose item stays as long as runs are remembered.
fn storage(syncs: f64, sync: &SyncCount, deployment: &Deployment) -> f64 {
    let months = deployment.config.rules.run_ttl.as_secs_f64() / MONTH_SECONDS;
    let stored = syncs * months * number(sync.stored_bytes + ITEM_OVERHEAD_BYTES) / GB;
    stored * (DYNAMODB_GB_MONTH + DYNAMODB_RECOVERY_GB_MONTH)
}

/// Events, and the archive that keeps each.
fn events(syncs: f64, sync: &SyncCount, deployment: &Deployment) -> f64 {
    let chunks = (number(sync.event_bytes) / EVENT_CHUNK_BYTES).ceil();
    let archived = syncs * number(sync.event_bytes) / GB;
    syncs * chunks * EVENT + archived * (ARCHIVE_GB + months(deployment.archive_days) * ARCHIVE_GB_MONTH)
}

/// Traces recorded a second.
fn traces(invocations_per_second: f64) -> f64 {
    let always = invocations_per_second.min(TRACES_PER_SECOND);
    always + (invocations_per_second - always) * TRACES_SHARE
}

fn logs(bytes: f64, days: f64) -> f64 {
    bytes / GB * (LOGS_GB + LOGS_COMPRESSION * months(days) * LOGS_GB_MONTH)
}

/// A sweep's metrics in every hour, and a sync's in every hour in which one begins. Those of failures, joins and other endings
/// are billed in the hours in which they occur, and are left out.
fn metrics(syncs: f64) -> f64 {
    let hours = MONTH_SECONDS / 3600.0;
    let with_syncs = -(-syncs / hours).exp_m1();
    (number(SWEEP_METRICS.len()) + number(SYNC_METRICS.len()) * with_syncs) * METRIC
}

fn months(days: f64) -> f64 {
    days * 86_400.0 / MONTH_SECONDS
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn assert_about(usd: f64, expected: f64) {
        assert!((usd - expected).abs() < 0.005, "{usd} instead of {expected}");
    }

    /// <https://aws.amazon.com/lambda/pricing/>: 3 million requests a month of 120 ms with 1,536 MB are 540,000 GB-s; here on
    /// arm64 and without the free tier.
    #[test]
    fn lambda_is_billed_as_in_its_example() {
        let deployment =
            Deployment { memory_megabytes: 1536, invocation: Duration::from_millis(120), ..Deployment::default() };
        assert_about(lambda(3e6, &deployment), 0.60 + 540_000.0 * 0.000_013_333_4);
        assert_about(lambda(3e6, &deployment), 7.80);
    }

    /// <https://aws.amazon.com/xray/pricing/>: 2,000 requests an hour for 31 days, a tenth of them sampled, are 148,800 traces.
    #[test]
    fn traces_are_billed_as_in_their_example() {
        assert_about(2000.0 * 24.0 * 31.0 * 0.1 * TRACE, 0.744);
        assert_about(traces(0.5), 0.5);
        assert_about(traces(21.0), 1.0 + 0.05 * 20.0);
    }

    #[test]
    fn a_full_batch_shares_one_send_and_one_delete() {
        let sync = SyncCount { messages: 10, polls_sent: 9, ..SyncCount::default() };
        let invocations = 1000.0;
        let batching = |batch: f64| Batching {
            messages_per_second: invocations * batch / MONTH_SECONDS,
            batch,
            invocations_per_second: invocations / MONTH_SECONDS,
            wait_seconds: 0.0,
            longest_wait_seconds: 0.0,
            receives_per_second: 0.0,
        };
        // 1,000 syncs of ten messages in 1,000 batches of ten: 1,000 triggers, 1,000 sends, 1,000 deletes.
        assert_about(sends_and_deletes(1000.0, 0.0, 1000.0, &sync, &batching(10.0)), 3000.0);
        // In 10,000 batches of one: nine of ten send a poll.
        let alone = Batching { messages_per_second: 10_000.0 / MONTH_SECONDS, ..batching(1.0) };
        assert_about(sends_and_deletes(1000.0, 0.0, 10_000.0, &sync, &alone), 1000.0 + 9000.0 + 10_000.0);
    }

    #[test]
    fn idle_deployment_pays_for_what_is_always_there() {
        assert_about(metrics(0.0), 0.90);
        assert_about(metrics(1e6), 11.0 * 0.30);
        // 5 GB ingested and kept for a month: 2.50 and 5 × 0.15 × 0.03.
        assert_about(logs(5.0 * GB, 730.0 / 24.0), 2.5225);
    }

    /// <https://aws.amazon.com/dynamodb/pricing/provisioned/>: 1 write unit and 1 read unit for a month of 730 hours.
    #[test]
    fn provisioned_capacity_is_whole_units_with_room() {
        let sync = SyncCount {
            table_write_units: 12,
            active_index_units: 2,
            ended_index_units: 2,
            read_units: 1,
            ..SyncCount::default()
        };
        let idle = Capacity::of(0.0, &sync, &Deployment::default());
        assert_eq!((idle.table_writes, idle.index_writes, idle.table_reads, idle.index_reads), (1.0, 1.0, 1.0, 1.0));
        let (writes, reads) = idle.usd();
        assert_about(writes, 2.0 * 0.4745);
        assert_about(reads, 2.0 * 0.0949);
        // A million a month: 4.6 and 1.5 units a second, of 7 and 3.
        let million = Capacity::of(1e6 / MONTH_SECONDS, &sync, &Deployment::default());
        assert_eq!((million.table_writes, million.index_writes, million.table_reads), (7.0, 3.0, 1.0));
    }

    #[test]
    fn large_events_are_billed_by_64_kb() {
        let sync = |event_bytes| SyncCount { event_bytes, ..SyncCount::default() };
        let deployment = Deployment { archive_days: 0.0, ..Deployment::default() };
        let archived = |bytes: f64| 1e6 * bytes / GB * 0.10;
        assert_about(events(1e6, &sync(600), &deployment), 1.0 + archived(600.0));
        assert_about(events(1e6, &sync(256 * 1024), &deployment), 4.0 + archived(262_144.0));
        assert_about(events(1e6, &sync(256 * 1024 + 1), &deployment), 5.0 + archived(262_145.0));
    }
}
