//! What a call came back with, classed by what the run has to do next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Envelope;

/// A status that says the sync is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// This very call started the sync.
    #[serde(rename = "SYNC_STARTED")]
    Started,
    /// It was running before this call.
    #[serde(rename = "SYNC_RUNNING")]
    Running,
}

/// A status that says the sync is over. After `SYNC_DONE` and `SYNC_ERROR` the next call starts the whole sync again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Finish {
    /// The whole history is there.
    #[serde(rename = "SYNC_DONE")]
    Done,
    /// The provider gave up.
    #[serde(rename = "SYNC_ERROR")]
    Error,
    /// "The chat no longer exists at the provider."
    #[serde(rename = "CHAT_DELETED")]
    Deleted,
}

impl Finish {
    /// The status as the provider writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "SYNC_DONE",
            Self::Error => "SYNC_ERROR",
            Self::Deleted => "CHAT_DELETED",
        }
    }
}

/// What one call came back with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// In progress: ask again later.
    InProgress(Progress),
    /// Over: never ask again.
    Over(Finish),
    /// A 200 that cannot be believed, but says nothing of an end either, so asking again restarts nothing: in progress
    /// of another chat or object, or no readable `status`. The text says what was wrong with it.
    Unusable(String),
    /// An error, or no answer at all.
    Failed(Failure),
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What the failure means for the run.
    pub disposition: Disposition,
    /// postpress's own error, its `status` replaced by the HTTP status; absent if there was none to read.
    pub envelope: Option<Envelope>,
    /// The HTTP status if it was an error; 504 for a call that ran out of time, 502 for everything else.
    pub status: u16,
    /// What happened, for people: bounded, and without any secret.
    pub detail: String,
    /// `Retry-After`, as a time from now; not yet capped.
    pub retry_after: Option<Duration>,
    /// The call ran out of time and may have reached the provider, where it may still land.
    pub may_land_late: bool,
}

/// What a failure means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It may pass: ask again, within the retry budget.
    Passing,
    /// The key was refused, which passes once in a run: it may just have been rotated.
    Credentials,
    /// It ends the run at once.
    Final,
}
