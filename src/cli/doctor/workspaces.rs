//! Checks the key and the base URL of each workspace of the secret, with one finding each.

use crate::cli::finding::{CheckResult, Finding};
use crate::ids::Workspace;
use crate::postpress::client::BaseUrl;
use crate::postpress::workspaces::{WorkspaceEntry, Workspaces};
use crate::settings::Config;

use super::provider;

const WORKSPACE: &str = "workspace";

/// One finding for each workspace, and for each entry that is none. `base_url` is that of the default workspace.
pub(super) async fn check(
    http: &reqwest::Client,
    base_url: Option<&BaseUrl>,
    workspaces: &Workspaces,
    config: &Config,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (workspace, entry) in workspaces.iter() {
        findings.push(match entry {
            Ok(entry) => usable(http, base_url, workspace, entry, config).await,
            Err(fault) => Finding::fault(WORKSPACE, format!("`{workspace}`: {fault}"), "fix its entry in the secret"),
        });
    }
    let others = workspaces.other_faults().iter().map(|fault| {
        let (found, remedy) = fault.split_once("; ").unwrap_or((fault, "fix the secret"));
        Finding::fault(WORKSPACE, found, remedy)
    });
    findings.extend(others);
    findings
}

async fn usable(
    http: &reqwest::Client,
    base_url: Option<&BaseUrl>,
    workspace: &Workspace,
    entry: &WorkspaceEntry,
    config: &Config,
) -> Finding {
    let Some(base_url) = entry.base_url.as_ref().or(base_url) else {
        return Finding::skipped(WORKSPACE, format!("`{workspace}`: there is no valid base URL; see the settings"));
    };
    let findings = provider::check(http.clone(), base_url, Some(entry.api_key.clone()), config).await;
    let Finding { result, found, remedy, .. } = worst(findings);
    let remedy = match &entry.base_url {
        Some(_) => remedy.map(|remedy| remedy.replace("POSTPRESS_BASE_URL", "the `base_url` of its entry")),
        None => remedy,
    };
    Finding { check: WORKSPACE, result, found: format!("`{workspace}`: {found}"), remedy }
}

/// The finding that matters most: the first fault, otherwise the first warning, and so on; that of the key if all is well. The
/// clock is not the workspace's.
fn worst(findings: Vec<Finding>) -> Finding {
    let mut findings: Vec<_> = findings.into_iter().filter(|finding| finding.check != provider::CLOCK).collect();
    let found = [CheckResult::Fault, CheckResult::Warning, CheckResult::Unknown, CheckResult::Skipped]
        .into_iter()
        .find_map(|result| findings.iter().position(|finding| finding.result == result));
    match found.or(findings.len().checked_sub(1)) {
        Some(index) => findings.swap_remove(index),
        None => Finding::skipped(WORKSPACE, "it was not checked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_counts_and_the_clock_does_not() {
        let (url, key) = (Finding::well("base URL", "u"), Finding::well("API key", "k"));
        let clock = Finding::warning(provider::CLOCK, "c", "r");
        let (warning, fault) = (Finding::warning("base URL", "w", "r"), Finding::fault("API key", "f", "r"));
        for (findings, expected) in [
            (vec![url.clone(), key.clone(), clock.clone()], &key),
            (vec![warning.clone(), key.clone(), clock.clone()], &warning),
            (vec![warning.clone(), fault.clone(), clock], &fault),
        ] {
            assert_eq!(worst(findings), *expected);
        }
    }
}
