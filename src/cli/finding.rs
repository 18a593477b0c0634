//! The findings of `doctor`.

use serde::Serialize;

use crate::postpress::client::ApiKey;
use crate::postpress::workspaces::Workspaces;

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckResult {
    /// Nothing is wrong.
    Well,
    /// It works, but may cause problems later.
    Warning,
    /// It does not work, or loses data.
    Fault,
    /// It could not be determined.
    Unknown,
    /// It was not checked.
    Skipped,
}

/// What a check found, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was checked.
    pub(super) check: &'static str,
    pub(super) result: CheckResult,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn well(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, result: CheckResult::Well, found: found.into(), remedy: None }
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, result: CheckResult::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn fault(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, result: CheckResult::Fault, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn unknown(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, result: CheckResult::Unknown, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, result: CheckResult::Skipped, found: why.into(), remedy: None }
    }
}

/// The part of a diagnosis that can need AWS.
#[derive(Default)]
pub(super) struct Inspection {
    /// The API key, if it could be read.
    pub(super) key: Option<ApiKey>,
    /// The workspaces, if their secret is set and could be read.
    pub(super) workspaces: Option<Workspaces>,
    /// The account and the secrets.
    pub(super) account: Vec<Finding>,
    /// Queue, table and bus.
    pub(super) deployment: Vec<Finding>,
}
