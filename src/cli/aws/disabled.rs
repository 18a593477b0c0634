//! What the terminal needs AWS for, in a build without it: everything says which build to use instead.

#![expect(clippy::unused_async, reason = "has the signatures of the enabled module")]

use std::collections::BTreeSet;
use std::convert::Infallible;

use anyhow::{anyhow, bail};

use crate::cli::finding::{Finding, Inspection};
use crate::console::Redriven;
use crate::ids::{MessageGroup, MessageId};
use crate::message::TriggerBody;
use crate::message::dead_letter::DeadLetter;
use crate::postpress::client::{http_client, mozilla_roots};
use crate::postpress::workspaces::WorkspaceClients;
use crate::queue::Depth;
use crate::service::ServiceError;
use crate::settings::{Deployment, ProviderSettings, SecretRef, SecretSource, SettingsDiagnosis};
use crate::store::RunTable;

pub use options::{Listen, Redrive, Work};

mod options;

/// How to get a build with AWS for this command line.
fn remedy(command: &str) -> String {
    format!("this build does not include AWS support; run it with `cargo run --features aws -- {command}`")
}

impl Work {
    /// Names the build that has this command.
    ///
    /// # Errors
    /// Always.
    pub async fn run(self) -> anyhow::Result<()> {
        bail!(remedy("work"))
    }
}

impl Redrive {
    /// Names the build that has this command.
    ///
    /// # Errors
    /// Always.
    pub async fn run(self) -> anyhow::Result<bool> {
        bail!(remedy("redrive"))
    }
}

impl Listen {
    /// Names the build that has this command.
    ///
    /// # Errors
    /// Always.
    pub async fn run(self) -> anyhow::Result<()> {
        bail!(remedy("listen"))
    }
}

/// The provider, unless one of its keys is stored in AWS.
pub(super) async fn provider(settings: &ProviderSettings) -> anyhow::Result<WorkspaceClients<Infallible>> {
    let stored = |variable: &str| anyhow!("{variable} is set, but {}", remedy("sync …"));
    let ProviderSettings { base_url, key, workspaces, pace } = settings;
    if let Some(SecretRef { variable, .. }) = workspaces {
        bail!(stored(variable));
    }
    match key {
        SecretSource::Plain(key) => {
            let http = http_client(mozilla_roots())?;
            Ok(WorkspaceClients::new(http, base_url.clone(), (key.clone(), None), None).with_pace(*pace))
        }
        SecretSource::Stored(SecretRef { variable, .. }) => {
            bail!("{}, or set POSTPRESS_API_KEY instead", stored(variable))
        }
    }
}

/// What `doctor` can inspect without AWS: the key, if the environment has it.
pub(super) async fn inspect(settings: &SettingsDiagnosis, _: &reqwest::Client) -> Inspection {
    let mut inspection = Inspection::default();
    match &settings.key {
        Some(SecretSource::Plain(key)) => inspection.key = Some(key.clone()),
        Some(SecretSource::Stored(_)) => inspection.account.push(Finding::skipped("secret", remedy("doctor"))),
        None => {}
    }
    if settings.workspaces.is_some() {
        inspection.account.push(Finding::skipped("workspaces", remedy("doctor")));
    }
    if matches!(settings.deployment, Deployment::Aws { .. }) {
        inspection.deployment.push(Finding::skipped("AWS", remedy("doctor")));
    }
    inspection
}

fn unsupported(command: &str) -> anyhow::Error {
    let remedy = remedy(&format!("{command} …"));
    anyhow!("a deployed bridge (BRIDGE_TABLE, BRIDGE_QUEUE_URL) is on AWS, and {remedy}")
}

/// Cannot exist in this build.
pub(super) enum DeployedBridge {}

impl DeployedBridge {
    /// Fails, naming the build in which `command` works.
    pub(super) fn ensure_supported(command: &str) -> anyhow::Result<()> {
        Err(unsupported(command))
    }

    pub(super) async fn connect(command: &str) -> anyhow::Result<Self> {
        Err(unsupported(command))
    }

    pub(super) fn table(&self, _name: &str) -> RunTable {
        match *self {}
    }

    pub(super) async fn send(
        &self,
        _queue_url: &str,
        _triggers: &[TriggerBody],
        _group: Option<&MessageGroup>,
    ) -> anyhow::Result<Vec<Result<MessageId, ServiceError>>> {
        match *self {}
    }

    pub(super) async fn depth(&self, _queue_url: &str) -> anyhow::Result<Depth> {
        match *self {}
    }

    pub(super) async fn dead_letters(&self, _queue_url: &str, _event_source: &str) -> anyhow::Result<Vec<DeadLetter>> {
        match *self {}
    }

    pub(super) async fn redrive(
        &self,
        _queue_url: &str,
        _event_source: &str,
        _shown: &BTreeSet<MessageId>,
    ) -> anyhow::Result<Redriven> {
        match *self {}
    }
}
