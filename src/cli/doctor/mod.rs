//! `postpress-bridge doctor`: whether everything is as the bridge needs it, found out without starting a sync.
//!
//! What is gathered and what is made of it are apart: pure functions judge attributes and answers.

use std::io::Write;

use anyhow::Context;
use clap::Args;

use crate::postpress::client::{http_client, mozilla_roots};
use crate::settings::{Deployment, SettingsDiagnosis};
use crate::telemetry::{self, LogFormat};

use super::aws;
use super::progress::columns;
use crate::cli::finding::{Finding, Inspection, Verdict};
use report::Report;

mod local;
mod provider;
mod report;

/// The widest that the table gets; longer lines are hard to read.
const WIDEST: usize = 120;

/// Check settings, key, base URL, queue, bus and table, without starting a sync.
///
/// Goes on after a fault, and says what to do about each. With neither `BRIDGE_QUEUE_URL` nor `BRIDGE_TABLE` it checks what
/// `sync` needs at a terminal. The provider is asked once, for a chat that cannot exist.
///
/// Exit code 0: no fault (there may be warnings); 1: a fault was found; 2: it could not be tried.
///
/// IAM: `sqs:GetQueueAttributes`, `sqs:GetQueueUrl`, `dynamodb:DescribeTable`, `dynamodb:DescribeTimeToLive`,
/// `dynamodb:DescribeContinuousBackups`, `events:DescribeEventBus`, `events:ListRules`, `secretsmanager:GetSecretValue`. What
/// may not be looked at is unknown, and no fault.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Checks all, and tells whether there is no fault.
    ///
    /// # Errors
    /// If nothing could be checked, or the findings cannot be printed.
    pub async fn run(self) -> anyhow::Result<bool> {
        let settings = SettingsDiagnosis::from_env();
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let http = http_client(mozilla_roots())?;

        let mut findings = local::settings(&settings);
        let variables = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        findings.extend(local::unknown(variables));
        findings.extend(local::state_file(&settings.deployment));
        let Inspection { key, account, deployment } = aws::inspect(&settings, &http).await;
        findings.extend(account);
        findings.extend(match &settings.base_url {
            Some(base) => provider::look(http, base, key, &settings.limits).await,
            None => vec![Finding::skipped("base URL", "there is none that could be asked; see the settings")],
        });
        findings.extend(deployment);
        findings.extend(not_in_aws(&settings.deployment));

        let report = Report::of(findings);
        let text = match self.json {
            true => serde_json::to_string(&report)? + "\n",
            false => report.table(columns().min(WIDEST)),
        };
        anstream::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
        Ok(report.result != Verdict::Fault)
    }
}

/// Why queue, table and bus are not inspected.
fn not_in_aws(deployment: &Deployment) -> Option<Finding> {
    let why = match deployment {
        Deployment::Aws { .. } => return None,
        Deployment::Terminal { .. } => "neither BRIDGE_QUEUE_URL nor BRIDGE_TABLE is set",
        Deployment::Memory => "BRIDGE_BACKEND is `memory`",
    };
    Some(Finding::skipped("AWS", format!("{why}, so queue, table and bus are not looked at")))
}
