//! What a check came to.

use serde::Serialize;

use crate::postpress::client::ApiKey;

/// How it stands with what was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Well,
    /// It works, and may hurt later.
    Warning,
    /// It does not work, or loses something.
    Fault,
    /// It could not be told.
    Unknown,
    /// It was not looked at.
    Skipped,
}

/// What a check came to, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) result: Verdict,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn well(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, result: Verdict::Well, found: found.into(), remedy: None }
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, result: Verdict::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn fault(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, result: Verdict::Fault, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn unknown(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, result: Verdict::Unknown, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, result: Verdict::Skipped, found: why.into(), remedy: None }
    }
}

/// The part of a diagnosis that can need AWS.
#[derive(Default)]
pub(super) struct Inspection {
    /// The API key, if it could be read.
    pub(super) key: Option<ApiKey>,
    /// The account and the secrets.
    pub(super) account: Vec<Finding>,
    /// Queue, table and bus.
    pub(super) deployment: Vec<Finding>,
}
