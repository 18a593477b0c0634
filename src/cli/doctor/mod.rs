//! `postpress-bridge doctor`: whether everything is as the bridge needs it, found out without starting a sync.
//!
//! What is gathered and what is made of it are apart: pure functions judge attributes and answers.

use std::io::Write;

use anyhow::Context;
use clap::Args;

use crate::postpress::client::{ApiKey, http_client, mozilla_roots};
use crate::settings::{Deployment, SettingsDiagnosis};
use crate::telemetry::{self, LogFormat};

use super::progress::columns;
use finding::{Finding, Verdict};
use report::Report;

#[cfg(feature = "aws")]
mod aws;
mod finding;
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

/// What AWS was asked.
struct Looked {
    /// The API key, if it could be had.
    key: Option<ApiKey>,
    /// The account and the key's secret.
    account: Vec<Finding>,
    /// Queue, table and bus.
    deployed: Vec<Finding>,
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
        let Looked { key, account, deployed } = look_at_aws(&settings, &http).await;
        findings.extend(account);
        findings.extend(match &settings.base_url {
            Some(base) => provider::look(http, base, key, &settings.limits).await,
            None => vec![Finding::skipped("base URL", "there is none that could be asked; see the settings")],
        });
        findings.extend(deployed);

        let report = Report::of(findings);
        let text = match self.json {
            true => serde_json::to_string(&report)? + "\n",
            false => report.table(columns().min(WIDEST)),
        };
        anstream::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
        Ok(report.result != Verdict::Fault)
    }
}

#[cfg(feature = "aws")]
async fn look_at_aws(settings: &SettingsDiagnosis, http: &reqwest::Client) -> Looked {
    aws::look(settings, http).await
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "it is asked as the one with AWS is")]
async fn look_at_aws(settings: &SettingsDiagnosis, _: &reqwest::Client) -> Looked {
    use crate::settings::SecretSource;

    const NO_AWS: &str = "this build has no AWS in it; run it with `cargo run --features aws -- doctor`";
    let (key, secret) = match &settings.key {
        Some(SecretSource::Plain(key)) => (Some(key.clone()), None),
        Some(SecretSource::Stored(_)) => (None, Some(Finding::skipped("secret", NO_AWS))),
        None => (None, None),
    };
    let deployed = match &settings.deployment {
        Deployment::Aws { .. } => vec![Finding::skipped("AWS", NO_AWS)],
        deployment => not_in_aws(deployment),
    };
    Looked { key, account: secret.into_iter().collect(), deployed }
}

/// Why queue, table and bus are not looked at.
fn not_in_aws(deployment: &Deployment) -> Vec<Finding> {
    let why = match deployment {
        Deployment::Aws { .. } => return Vec::new(),
        Deployment::Terminal { .. } => "neither BRIDGE_QUEUE_URL nor BRIDGE_TABLE is set",
        Deployment::Memory => "BRIDGE_BACKEND is `memory`",
    };
    vec![Finding::skipped("AWS", format!("{why}, so queue, table and bus are not looked at"))]
}
