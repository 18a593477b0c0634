//! What a deployment costs, how late endings are noticed, and which quota breaks first.
//!
//! Pure functions over the production protocol: one sync is stepped through [`crate::run`], so that its calls, messages, reads
//! and writes are counted, not estimated. Everything else is arithmetic over these counts.
//!
//! ```text
//! prices.rs    AWS's prices and quotas, with their date and pages
//! traffic.rs   one sync, stepped; Lambda's pollers and the batches they make
//! cost.rs      a month's bill by service
//! limits.rs    how many chats in flight each quota allows
//! backlog.rs   how long many chats take at the pace of a key
//! ```

use std::time::Duration;

use serde::Serialize;

use crate::run::{EndedBy, Metadata};
use crate::settings::Config;

pub mod backlog;
pub mod cost;
pub mod limits;
pub mod prices;
pub mod traffic;

use backlog::Backlog;
use cost::{Bill, Capacity};
use limits::Limit;
use traffic::{Batching, SyncCount};

/// A deployment. Defaults are those of `infra/template.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The worker's configuration.
    pub config: Config,
    /// The most messages of a batch.
    pub batch_size: u32,
    /// How long a poller gathers a batch.
    pub batch_window: Duration,
    /// The most concurrent invocations of the worker.
    pub max_concurrency: u32,
    /// The worker's memory in MB.
    pub memory_megabytes: u32,
    /// The worker's timeout.
    pub function_timeout: Duration,
    /// How long an invocation takes: its calls run at once, so about as long as its slowest call and a few requests to AWS. An
    /// assumption.
    pub invocation: Duration,
    /// How often a sweep begins.
    pub sweep_every: Duration,
    /// How long the archive keeps events, in days.
    pub archive_days: f64,
    /// How long logs are kept, in days.
    pub log_days: f64,
    /// Whether X-Ray traces the worker.
    pub is_traced: bool,
    /// Whether the table has a provisioned capacity, just as large as its traffic needs.
    pub is_provisioned: bool,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            config: Config::default(),
            batch_size: 10,
            batch_window: Duration::from_secs(5),
            max_concurrency: 10,
            memory_megabytes: 128,
            function_timeout: Duration::from_secs(60),
            invocation: Duration::from_millis(200),
            sweep_every: Duration::from_mins(5),
            archive_days: 30.0,
            log_days: 30.0,
            is_traced: false,
            is_provisioned: false,
        }
    }
}

/// The syncs of a deployment, all alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncProfile {
    /// How long the provider takes.
    pub length: Duration,
    /// Triggers of one sync: the first starts it, the others join; 1 to 50.
    pub triggers: u32,
    /// Size of each trigger's metadata in bytes; less than eight count as eight, except none.
    pub metadata_bytes: usize,
    /// Earlier syncs of the same chat that the item still remembers. An item without any is a new chat's.
    pub earlier_syncs: u32,
}

impl Default for SyncProfile {
    fn default() -> Self {
        Self { length: Duration::from_mins(6), triggers: 1, metadata_bytes: 0, earlier_syncs: 0 }
    }
}

impl SyncProfile {
    /// Metadata of this size.
    fn metadata(&self) -> Option<Metadata> {
        const FRAME: usize = r#"{"m":""}"#.len();
        let text = format!(r#"{{"m":"{}"}}"#, "x".repeat(self.metadata_bytes.saturating_sub(FRAME)));
        (self.metadata_bytes > 0).then(|| serde_json::from_str(&text).ok()).flatten()
    }
}

/// One length of a sync: how many calls it takes, and how late its ending is noticed on a queue with little traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lateness {
    /// The sync's length in seconds.
    pub length_seconds: f64,
    /// Calls to the provider.
    pub calls: u32,
    /// How late the ending is noticed on average, in seconds.
    pub mean_seconds: f64,
    /// How late at worst, in seconds.
    pub worst_seconds: f64,
}

/// A month with this many syncs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Month {
    /// Syncs a month.
    pub syncs: f64,
    /// One sync.
    pub sync: SyncCount,
    /// The batches of all of them.
    pub batching: Batching,
    /// How late an ending is noticed on average, in seconds.
    pub mean_lateness_seconds: f64,
    /// How late at worst, in seconds.
    pub worst_lateness_seconds: f64,
    /// The table's capacity, if it is provisioned.
    pub capacity: Option<Capacity>,
    /// What it costs in USD.
    pub usd: Bill,
    /// All of it in USD.
    pub total_usd: f64,
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The date of the prices and quotas.
    pub prices_as_of: &'static str,
    /// Their region.
    pub region: &'static str,
    /// How late, by a sync's length.
    pub lateness: Vec<Lateness>,
    /// How much, by syncs a month.
    pub months: Vec<Month>,
    /// What breaks, soonest first.
    pub limits: Vec<Limit>,
    /// How long chats take that are triggered at once, if a key's pace is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backlogs: Vec<Backlog>,
}

/// Calculates the plan. Lengths of which no run sees the end are left out.
///
/// # Errors
/// If a budget ends runs of the profile's length before the sync has ended.
pub fn plan(
    syncs_a_month: &[f64],
    lengths: &[Duration],
    profile: &SyncProfile,
    deployment: &Deployment,
) -> anyhow::Result<Plan> {
    let noticed = traffic::count(profile, deployment, Duration::ZERO)?;
    anyhow::ensure!(
        noticed.ended_by == Some(EndedBy::Answer),
        "no run lasts as long as such a sync; raise BRIDGE_RUN_DEADLINE_SECONDS or BRIDGE_MAX_POLLS, or plan a shorter one"
    );
    let lateness = lengths.iter().map(|length| lateness(*length, profile, deployment));
    Ok(Plan {
        prices_as_of: prices::AS_OF,
        region: prices::REGION,
        lateness: lateness.filter_map(Result::transpose).collect::<Result<_, _>>()?,
        months: syncs_a_month.iter().map(|syncs| month(*syncs, profile, deployment)).collect::<Result<_, _>>()?,
        limits: limits::limits(profile, deployment)?,
        backlogs: Vec::new(),
    })
}

/// Calculates how late the ending of a sync of this length is noticed on a queue with little traffic; `None` if a budget ends
/// its run before.
///
/// # Errors
/// If a part of an item cannot be written as JSON, which would be a bug.
pub fn lateness(length: Duration, profile: &SyncProfile, deployment: &Deployment) -> anyhow::Result<Option<Lateness>> {
    let profile = SyncProfile { length, ..profile.clone() };
    let (sync, batching) = traffic::traffic(0.0, &profile, deployment)?;
    Ok((sync.ended_by == Some(EndedBy::Answer)).then(|| Lateness {
        length_seconds: length.as_secs_f64(),
        calls: sync.calls,
        mean_seconds: sync.mean_lateness(batching.wait_seconds),
        worst_seconds: sync.worst_lateness(batching.longest_wait_seconds),
    }))
}

/// Calculates a month.
///
/// # Errors
/// If a part of an item cannot be written as JSON, which would be a bug.
pub fn month(syncs: f64, profile: &SyncProfile, deployment: &Deployment) -> anyhow::Result<Month> {
    let (sync, batching) = traffic::traffic(syncs / prices::MONTH_SECONDS, profile, deployment)?;
    let usd = Bill::of(syncs, &sync, &batching, deployment);
    let capacity = deployment.is_provisioned.then(|| Capacity::of(syncs / prices::MONTH_SECONDS, &sync, deployment));
    Ok(Month {
        syncs,
        mean_lateness_seconds: sync.mean_lateness(batching.wait_seconds),
        worst_lateness_seconds: sync.worst_lateness(batching.longest_wait_seconds),
        total_usd: usd.total(),
        capacity,
        sync,
        batching,
        usd,
    })
}

#[cfg(test)]
mod tests;
