//! Opens the run table that the settings name.

use super::aws::DeployedBridge;
use crate::settings::Runs;
use crate::store::RunTable;

/// The run table that `command` reads.
pub(super) async fn run_table(runs: &Runs, command: &str) -> anyhow::Result<RunTable> {
    match runs {
        Runs::File(path) => Ok(RunTable::File(path.clone())),
        Runs::Table(name) => Ok(DeployedBridge::connect(command).await?.table(name)),
    }
}
