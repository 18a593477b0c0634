//! Settings of the operator's commands: where the runs are, and where triggers go. Only `--each-chat` needs the provider's key.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::{FromEnv, Processes, ProviderSettings};
use crate::telemetry::LogFilter;

/// Where a terminal finds the runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// `BRIDGE_TABLE`: the DynamoDB table of a deployed bridge.
    Table(String),
    /// `BRIDGE_STATE_FILE`: the file of the local `sync`.
    File(PathBuf),
}

/// Settings of the commands that read runs: `status` and `runs`.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// Where the runs are.
    pub runs: Runs,
    /// `BRIDGE_OVERDUE_SECONDS`: how long after its last lease a run counts as lost.
    pub overdue: Duration,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of the events printed.
    pub event_source: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// Settings of the commands that send triggers to a deployed bridge: `trigger`, and `sync` with `BRIDGE_TABLE` set.
#[derive(Debug, Clone)]
pub struct SendSettings {
    /// `BRIDGE_QUEUE_URL`: where the triggers go.
    pub queue_url: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// Settings for listing the chats of an account: `--each-chat`.
#[derive(Debug, Clone)]
pub struct ListSettings {
    /// The provider.
    pub provider: ProviderSettings,
    /// `POSTPRESS_TIMEOUT_SECONDS`: the longest that a page may take.
    pub timeout: Duration,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// Settings for following a trigger to its ending.
#[derive(Debug, Clone)]
pub struct FollowSettings {
    /// `BRIDGE_TABLE`: the DynamoDB table of runs.
    pub table: String,
    /// `BRIDGE_RUN_TTL_SECONDS`: how long a finished run is remembered.
    pub run_ttl: Duration,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of the events printed.
    pub event_source: String,
}

/// Settings of `redrive`.
#[derive(Debug, Clone)]
pub struct RedriveSettings {
    /// `BRIDGE_QUEUE_URL`: the queue whose dead letters are redriven.
    pub queue_url: String,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of the bridge's own events, which are never triggers.
    pub event_source: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// Settings of `listen`.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// `BRIDGE_EVENTS_QUEUE_URL`: the queue that a rule sends the events to.
    pub queue_url: String,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of the events.
    pub event_source: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// `BRIDGE_STATE_FILE`: where a terminal keeps the commands that it has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile(pub PathBuf);

impl FromEnv for RedriveSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let queue_url = reader.queue_url();
        let event_source = reader.event_source();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { queue_url: queue_url?, event_source, log_filter })
    }
}

impl FromEnv for ListenSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let queue_url = reader.events_queue_url();
        let event_source = reader.event_source();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { queue_url: queue_url?, event_source, log_filter })
    }
}

impl FromEnv for ReadSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let runs = reader.runs();
        let overdue = reader.overdue();
        let event_source = reader.event_source();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { runs: runs?, overdue, event_source, log_filter })
    }
}

impl FromEnv for SendSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let queue_url = reader.queue_url();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { queue_url: queue_url?, log_filter })
    }
}

impl FromEnv for ListSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let provider = reader.provider(Processes::One);
        let timeout = reader.provider_timeout();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { provider: provider?, timeout, log_filter })
    }
}

impl FromEnv for FollowSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let table = reader.table();
        let run_ttl = reader.run_ttl();
        let event_source = reader.event_source();
        Some(Self { table: table?, run_ttl, event_source })
    }
}

impl FromEnv for StateFile {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        reader.state_file().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Deployed = ((SendSettings, FollowSettings), StateFile);

    fn env(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn runs_are_in_the_table_if_one_is_named_and_in_the_file_otherwise() {
        let file = ("BRIDGE_STATE_FILE", "runs.db");
        for (variables, runs) in [
            (&[file][..], Runs::File("runs.db".into())),
            (&[file, ("BRIDGE_TABLE", "")], Runs::File("runs.db".into())),
            (&[file, ("BRIDGE_TABLE", "bridge-runs")], Runs::Table("bridge-runs".into())),
            (&[("BRIDGE_TABLE", "bridge-runs")], Runs::Table("bridge-runs".into())),
        ] {
            assert_eq!(ReadSettings::read(&env(variables)).unwrap().runs, runs, "{variables:?}");
        }
        let error = ReadSettings::read(&env(&[])).unwrap_err().to_string();
        assert!(error.contains("`BRIDGE_STATE_FILE` is missing"), "{error}");
    }

    #[test]
    fn deployed_sync_needs_no_key_and_lists_every_missing_setting() {
        let variables = [
            ("BRIDGE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge"),
            ("BRIDGE_TABLE", "bridge-runs"),
            ("HOME", "/home/ann"),
        ];
        let ((_, follow), StateFile(file)) = Deployed::read(&env(&variables)).unwrap();
        assert_eq!(follow.table, "bridge-runs");
        assert_eq!(file, Path::new("/home/ann/.local/state/postpress-bridge/runs.sqlite3"));

        let error = Deployed::read(&env(&[("BRIDGE_EVENT_SOURCE", "aws.x")])).unwrap_err().to_string();
        for name in ["BRIDGE_QUEUE_URL", "BRIDGE_TABLE", "BRIDGE_EVENT_SOURCE", "BRIDGE_STATE_FILE"] {
            assert!(error.contains(name), "{name} is not in {error}");
        }
    }

    #[test]
    fn redrive_needs_only_the_queue_and_lists_every_fault() {
        let settings = RedriveSettings::read(&env(&[("BRIDGE_QUEUE_URL", "https://sqs.example/1/bridge")])).unwrap();
        assert_eq!(settings.event_source, "postpress.bridge");
        let error = RedriveSettings::read(&env(&[("BRIDGE_EVENT_SOURCE", "aws.mine")])).unwrap_err().to_string();
        assert!(error.contains("BRIDGE_QUEUE_URL") && error.contains("BRIDGE_EVENT_SOURCE"), "{error}");
    }
}
