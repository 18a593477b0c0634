//! Opens the run table that the settings name.

use super::aws::DeployedBridge;
use crate::settings::{FromEnv, ReadSettings, Runs};
use crate::store::RunTable;
use crate::telemetry::{self, LogFormat};

/// Reads the settings of `command`, starts its log, and opens the run table.
pub(super) async fn open(command: &str) -> anyhow::Result<(ReadSettings, RunTable)> {
    let settings = ReadSettings::from_env()?;
    telemetry::init(&settings.log_filter, LogFormat::Compact)?;
    let table = match &settings.runs {
        Runs::File(path) => RunTable::File(path.clone()),
        Runs::Table(name) => DeployedBridge::connect(command).await?.table(name),
    };
    Ok((settings, table))
}
