//! How a run ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::postpress::{Envelope, Finish};
use crate::time::{Millis, rfc3339};

/// How a run ended, as the table stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// The provider's terminal status, or an error.
    #[serde(flatten)]
    pub ending: Ending,
    /// Whether a response ended the run, or which budget.
    pub ended_by: EndedBy,
    /// When the ending was decided. Stored, so that every publication has the same bytes.
    #[serde(with = "rfc3339")]
    pub finished_at: Millis,
}

impl Outcome {
    /// The same outcome, with the provider's text cut to what an item may hold.
    #[must_use]
    pub fn bounded(self) -> Self {
        let ending = match self.ending {
            Ending::Error { error, origin } => Ending::Error { error: error.bounded(), origin },
            sync @ Ending::Sync { .. } => sync,
        };
        Self { ending, ..self }
    }
}

/// What a run ended with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ending {
    /// The provider's terminal status.
    Sync {
        /// `SYNC_DONE`, `SYNC_ERROR` or `CHAT_DELETED`.
        status: Finish,
    },
    /// An error envelope.
    Error {
        /// The envelope.
        error: Envelope,
        /// Who produced the error.
        origin: Origin,
    },
}

/// Who produced an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// postpress responded with it.
    Postpress,
    /// The bridge produced it.
    Bridge,
}

/// What ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// A final response.
    Answer,
    /// Consecutive failures for longer than `BRIDGE_RETRY_SECONDS`, or one unusable 200 too many.
    Retries,
    /// `BRIDGE_RUN_DEADLINE_SECONDS` since the run's first claim.
    Deadline,
    /// `BRIDGE_MAX_POLLS`.
    Polls,
    /// A cancel.
    Cancelled,
}

impl From<Finish> for Ending {
    fn from(status: Finish) -> Self {
        Self::Sync { status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_flat_object() {
        let outcome = Outcome {
            ending: Ending::Sync { status: Finish::Done },
            ended_by: EndedBy::Answer,
            finished_at: Millis(1_795_514_400_000),
        };
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(json, r#"{"status":"SYNC_DONE","ended_by":"answer","finished_at":"2026-11-24T10:00:00.000Z"}"#);
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
    }
}
