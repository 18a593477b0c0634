//! What the operator's commands ask for: where the runs are, and where triggers go. None of them needs the provider's key.

use std::path::PathBuf;
use std::time::Duration;

use super::FromEnv;
use super::reader::Reader;
use crate::telemetry::LogFilter;

/// Where a terminal finds the runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// `BRIDGE_TABLE`: the DynamoDB table of a deployed bridge.
    Table(String),
    /// `BRIDGE_STATE_FILE`: the file that `sync` keeps here.
    File(PathBuf),
}

/// What a command needs that looks at runs: `status`, `runs`.
#[derive(Debug, Clone)]
pub struct LookSettings {
    /// Where they are.
    pub runs: Runs,
    /// `BRIDGE_OVERDUE_SECONDS`: how long after its last lease a run counts as lost.
    pub overdue: Duration,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// What a command needs that asks a deployed bridge for syncs: `trigger`, and `sync` with `BRIDGE_TABLE` set.
#[derive(Debug, Clone)]
pub struct AskSettings {
    /// `BRIDGE_QUEUE_URL`: where the triggers go.
    pub queue_url: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// What it takes to follow a trigger to its ending.
#[derive(Debug, Clone)]
pub struct FollowSettings {
    /// `BRIDGE_TABLE`: the DynamoDB table of runs.
    pub table: String,
    /// `BRIDGE_RUN_TTL_SECONDS`: how long a finished run is remembered.
    pub run_ttl: Duration,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of the events printed.
    pub event_source: String,
}

/// `BRIDGE_STATE_FILE`: where a terminal keeps the commands that it has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile(pub PathBuf);

impl FromEnv for LookSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let runs = reader.runs();
        let overdue = reader.overdue();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { runs: runs?, overdue, log_filter })
    }
}

impl FromEnv for AskSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let queue_url = reader.queue_url();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { queue_url: queue_url?, log_filter })
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

    type Deployed = ((AskSettings, FollowSettings), StateFile);

    fn env(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_runs_are_in_the_table_if_one_is_named_and_else_in_the_file() {
        let file = ("BRIDGE_STATE_FILE", "runs.db");
        for (variables, runs) in [
            (&[file][..], Runs::File("runs.db".into())),
            (&[file, ("BRIDGE_TABLE", "")], Runs::File("runs.db".into())),
            (&[file, ("BRIDGE_TABLE", "bridge-runs")], Runs::Table("bridge-runs".into())),
            (&[("BRIDGE_TABLE", "bridge-runs")], Runs::Table("bridge-runs".into())),
        ] {
            assert_eq!(LookSettings::read(&env(variables)).unwrap().runs, runs, "{variables:?}");
        }
        let error = LookSettings::read(&env(&[])).unwrap_err().to_string();
        assert!(error.contains("`BRIDGE_STATE_FILE` is missing"), "{error}");
    }

    #[test]
    fn a_sync_of_a_deployed_bridge_needs_no_key_and_lists_all_that_it_misses() {
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
}
