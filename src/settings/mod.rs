//! The environment as typed settings.
//!
//! Every program reads its settings once, at startup, and only those that it uses: [`WorkerSettings`] for the Lambda behind
//! the queue, `WebhookSettings` for the one in front of it, [`TerminalSettings`] for `sync` at a terminal, [`ReadSettings`]
//! and [`SendSettings`] for an operator's commands. One [`SettingsError`] reports all faults at once. An empty variable
//! counts as absent.
//!
//! Variables are read through a function from name to value, so that tests can pass a map.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::postpress::client::{ApiKey, BaseUrl};
pub use crate::postpress::pace::PaceSettings;
use crate::run::Rules;
use crate::telemetry::LogFilter;

mod diagnosis;
mod fault;
mod known;
mod operator;
mod reader;
#[cfg(test)]
mod tests;
#[cfg(feature = "aws")]
mod webhook;
mod webhook_client;
mod webhook_variables;

pub use diagnosis::{Deployment, SettingsDiagnosis};
pub use fault::{Fault, SettingsError};
pub use known::{Unknown, known_variables, unknown_variables};
pub use operator::{
    FollowSettings, ListSettings, ListenSettings, ReadSettings, RedriveSettings, Runs, SendSettings, StateFile,
};
use reader::Reader;
#[cfg(feature = "aws")]
pub use webhook::{Access, WebhookSettings};
pub use webhook_client::WebhookClientSettings;

/// The time limit of one provider call.
pub const DEFAULT_PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
/// The event bus that every AWS account has.
pub const DEFAULT_EVENT_BUS: &str = "default";
/// The `source` of our events.
pub const DEFAULT_EVENT_SOURCE: &str = "postpress.bridge";
/// The CloudWatch namespace of the metrics.
pub const DEFAULT_METRICS_NAMESPACE: &str = "PostpressBridge";
/// The most concurrent provider calls of one process.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 50;
/// The time that a sweep is given for each run that it looks at.
pub const DEFAULT_SWEEP_PACE: Duration = Duration::from_millis(10);
/// The terminal's run table, inside the user's state directory.
pub const DEFAULT_STATE_FILE: &str = "postpress-bridge/runs.sqlite3";
/// Everything that `dev` keeps, inside the user's state directory.
pub const DEFAULT_DEV_STATE_FILE: &str = "postpress-bridge/dev.sqlite3";

/// The settings of the sync worker.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The provider.
    pub provider: ProviderSettings,
    /// The worker's configuration.
    pub config: Config,
    /// `BRIDGE_EVENT_BUS`: the name or ARN of the bus.
    pub event_bus: String,
    /// Where queue, bus and runs are.
    pub backend: Backend,
    /// `BRIDGE_METRICS_NAMESPACE`: the CloudWatch namespace of the Lambda's metrics.
    pub metrics_namespace: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// The settings of `sync` at a terminal: no queue and no bus, but a file for the runs.
#[derive(Debug, Clone)]
pub struct TerminalSettings {
    /// The provider.
    pub provider: ProviderSettings,
    /// The worker's configuration.
    pub config: Config,
    /// `BRIDGE_STATE_FILE`: the embedded run table.
    pub state_file: PathBuf,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// The provider and its keys.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// `POSTPRESS_BASE_URL`: the URL that `/chats/{chat_id}/sync` is appended to.
    pub base_url: BaseUrl,
    /// `POSTPRESS_API_KEY`, or `POSTPRESS_API_KEY_SECRET_ID`.
    pub key: SecretSource<ApiKey>,
    /// `BRIDGE_WORKSPACES_SECRET_ID`: the secret with the other workspaces' keys and base URLs.
    pub workspaces: Option<SecretRef>,
    /// How many calls a second this process makes at most.
    pub pace: PaceSettings,
}

/// How many processes of a program call the provider at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processes {
    /// One, at a terminal.
    One,
    /// As many as `BRIDGE_MAX_CONCURRENCY` says.
    Concurrent,
}

/// Where a secret comes from.
#[derive(Debug, Clone)]
pub enum SecretSource<T> {
    /// From the environment.
    Plain(T),
    /// From Secrets Manager.
    Stored(SecretRef),
}

/// A secret in Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// The variable that names it, for messages.
    pub variable: &'static str,
    /// The secret's name or ARN.
    pub id: String,
    /// The field of a JSON secret; `None` for the whole secret.
    pub field: Option<String>,
}

/// The configuration of a worker, wherever it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The run protocol's rules.
    pub rules: Rules,
    /// The worker's limits.
    pub limits: Limits,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of the bridge's own events, which are never triggers.
    pub event_source: String,
}

/// The limits of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `POSTPRESS_TIMEOUT_SECONDS`: the longest that one provider call may take, body included.
    pub provider_timeout: Duration,
    /// `BRIDGE_MAX_IN_FLIGHT`: the most concurrent provider calls of one process; at least 1.
    pub max_in_flight: usize,
    /// The time that a sweep is given for each run that it looks at.
    pub sweep_pace: Duration,
}

impl Config {
    /// How many runs a sweep may look at in an invocation that has this much time left. It begins nothing once there is no time
    /// for a call.
    pub fn sweep_allowance(&self, left: Duration) -> usize {
        let time = left.saturating_sub(self.limits.provider_timeout + self.rules.lease_margin);
        usize::try_from(time.as_millis() / self.limits.sweep_pace.as_millis().max(1)).unwrap_or(usize::MAX)
    }

    /// The shortest invocation that can handle one message: a call, the margin before and after it, and at least a second for
    /// everything else.
    pub fn invocation_of_one(&self) -> Duration {
        let margin = self.rules.lease_margin;
        self.limits.provider_timeout + (2 * margin).max(margin + Duration::from_secs(1))
    }
}

impl Default for Config {
    /// The defaults of the settings.
    fn default() -> Self {
        Self { rules: Rules::default(), limits: Limits::default(), event_source: DEFAULT_EVENT_SOURCE.to_owned() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            provider_timeout: DEFAULT_PROVIDER_TIMEOUT,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            sweep_pace: DEFAULT_SWEEP_PACE,
        }
    }
}

/// `BRIDGE_BACKEND`: where queue, bus and runs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// In AWS.
    Aws {
        /// `BRIDGE_QUEUE_URL`: the queue that triggers and polls come from and go to.
        queue_url: String,
        /// `BRIDGE_TABLE`: the DynamoDB table of runs.
        table: String,
    },
    /// In the process, to try the worker without AWS.
    Memory,
}

/// Settings that one program reads from its environment.
///
/// A new one implements [`FromEnv::take`]; a new variable is a call of the reader there.
pub trait FromEnv: Sized {
    /// Takes the settings from the reader. `None` only if the reader has found a fault.
    fn take(reader: &mut Reader<'_>) -> Option<Self>;

    /// Reads the settings from `env`, which returns a variable's value by its name.
    ///
    /// # Errors
    /// Lists everything that is missing or wrong.
    fn read(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        complete(env, Self::take)
    }

    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// Lists everything that is missing or wrong.
    fn from_env() -> Result<Self, SettingsError> {
        Self::read(&process_env)
    }
}

impl<A: FromEnv, B: FromEnv> FromEnv for (A, B) {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let (first, second) = (A::take(reader), B::take(reader));
        Some((first?, second?))
    }
}

/// What `take` takes, if the reader finds no fault.
fn complete<T>(
    env: &dyn Fn(&str) -> Option<String>,
    take: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, SettingsError> {
    let mut reader = Reader::new(env);
    match take(&mut reader) {
        Some(settings) if reader.faults.is_empty() => Ok(settings),
        _ => Err(SettingsError { faults: reader.faults }),
    }
}

impl FromEnv for Config {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(reader.config())
    }
}

impl FromEnv for WorkerSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let provider = reader.provider(Processes::Concurrent);
        let config = reader.config();
        let event_bus = reader.event_bus();
        let metrics_namespace = reader.metrics_namespace();
        let backend = reader.backend();
        let log_filter = reader.log_filter(LogFilter::default());
        Some(Self { provider: provider?, config, event_bus, backend: backend?, metrics_namespace, log_filter })
    }
}

impl FromEnv for TerminalSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let provider = reader.provider(Processes::One);
        let config = reader.config();
        let state_file = reader.state_file();
        // The live lines show what happens; only warnings and errors need log lines.
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { provider: provider?, config, state_file: state_file?, log_filter })
    }
}

/// `BRIDGE_LOG`, for commands without other settings.
///
/// # Errors
/// Says what is wrong with it.
pub fn log_filter_from_env(default: LogFilter) -> Result<LogFilter, SettingsError> {
    complete(&process_env, |reader| Some(reader.log_filter(default)))
}

/// The state file of `dev`, in the user's state directory; `None` if there is no home directory.
pub fn default_dev_state_file() -> Option<PathBuf> {
    Reader::new(&process_env).state_directory().map(|directory| directory.join(DEFAULT_DEV_STATE_FILE))
}

static DEFAULT_LOG_FILTER: OnceLock<&'static str> = OnceLock::new();

/// Lets this filter stand in for an unset `BRIDGE_LOG` in the rest of this process. Only the first call counts.
pub fn set_default_log_filter(filter: &'static str) {
    DEFAULT_LOG_FILTER.get_or_init(|| filter);
}

/// A variable of this process. Invalid Unicode is replaced, so that it is refused where it matters rather than counted as
/// absent.
fn process_env(variable: &str) -> Option<String> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    match DEFAULT_LOG_FILTER.get() {
        Some(filter) if variable == "BRIDGE_LOG" && value.is_none() => Some((*filter).to_owned()),
        _ => value.map(|value| value.to_string_lossy().into_owned()),
    }
}
