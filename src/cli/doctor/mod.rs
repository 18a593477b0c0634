//! `postpress-bridge doctor`: checks everything that the bridge needs, without starting a sync.
//!
//! Gathering and judging are separate: pure functions turn attributes and responses into findings.

use clap::Args;

use crate::postpress::client::{http_client, mozilla_roots};
use crate::settings::{Deployment, SettingsDiagnosis};
use crate::telemetry::{self, LogFormat};

use super::aws;
use super::progress::columns;
use super::table;
use crate::cli::finding::{CheckResult, Finding, Inspection};
use diagnosis::Diagnosis;

mod diagnosis;
mod local;
mod provider;
mod workspaces;

/// Maximum width of the table; longer lines are hard to read.
const WIDEST: usize = 120;

/// Check settings, key, base URL, queue, bus and table without starting a sync
///
/// Continues after a fault, and says how to fix each. With neither `BRIDGE_QUEUE_URL` nor `BRIDGE_TABLE` set, it checks what a
/// local `sync` needs. It calls the provider once in each workspace, for a chat that cannot exist.
///
/// Exit code 0: no fault (there may be warnings); 1: a fault was found; 2: the command failed.
///
/// IAM: `sqs:GetQueueAttributes`, `sqs:GetQueueUrl`, `dynamodb:DescribeTable`, `dynamodb:DescribeTimeToLive`,
/// `dynamodb:DescribeContinuousBackups`, `events:DescribeEventBus`, `events:ListRules`, `secretsmanager:GetSecretValue`. A missing
/// permission makes a check `unknown`, which is no fault.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Runs all checks; returns whether there is no fault.
    ///
    /// # Errors
    /// If nothing can be checked, or the findings cannot be printed.
    pub async fn run(self) -> anyhow::Result<bool> {
        let settings = SettingsDiagnosis::from_env();
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let http = http_client(mozilla_roots())?;

        let mut findings = local::settings(&settings);
        let variables = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        findings.extend(local::unknown(variables));
        findings.extend(local::pace(&settings));
        findings.extend(local::state_file(&settings.deployment));
        let Inspection { key, workspaces, account, deployment } = aws::inspect(&settings, &http).await;
        findings.extend(account);
        findings.extend(match &settings.base_url {
            Some(base) => provider::check(http.clone(), base, key, &settings.config).await,
            None => vec![Finding::skipped("base URL", "there is no valid one; see the settings")],
        });
        if let Some(workspaces) = workspaces {
            let base = settings.base_url.as_ref();
            findings.extend(workspaces::check(&http, base, &workspaces, &settings.config).await);
        }
        findings.extend(deployment);
        findings.extend(not_in_aws(&settings.deployment));

        let diagnosis = Diagnosis::of(findings);
        match self.json {
            true => table::print_json(&diagnosis)?,
            false => table::print(&diagnosis.table(columns().min(WIDEST)))?,
        }
        Ok(diagnosis.result != CheckResult::Fault)
    }
}

/// Why queue, table and bus are not inspected, if they are not in AWS.
fn not_in_aws(deployment: &Deployment) -> Option<Finding> {
    let why = match deployment {
        Deployment::Aws { .. } => return None,
        Deployment::Terminal { .. } => "neither BRIDGE_QUEUE_URL nor BRIDGE_TABLE is set",
        Deployment::Memory => "BRIDGE_BACKEND is `memory`",
    };
    Some(Finding::skipped("AWS", format!("{why}, so queue, table and bus are not checked")))
}
