//! State accumulated from the provider's responses.

use serde::{Deserialize, Serialize};

use crate::postpress::{Envelope, Progress};
use crate::time::Millis;

use super::History;

/// State accumulated from the provider's responses. A run's polls carry it, and their claims copy it into the item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct PollState {
    /// The status that the provider reported last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Progress>,
    /// Consecutive retryable failures, up to the last response.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// When the first of them occurred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<Millis>,
    /// The last error envelope among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Box<Envelope>>,
    /// Unusable 200s during the whole run.
    #[serde(rename = "breaches", skip_serializing_if = "is_zero")]
    pub invalid_responses: u32,
    /// Whether the run has already retried after a refused key, which it does once.
    #[serde(rename = "key_retried", skip_serializing_if = "std::ops::Not::not")]
    pub credentials_retried: bool,
    /// How often `SYNC_STARTED` followed `SYNC_RUNNING`: restarts of the sync that the run observed.
    #[serde(skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// When the poll after this claim's call is expected, if the sync goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_poll_ms: Option<Millis>,
    /// The answer to each poll.
    #[serde(skip_serializing_if = "History::is_empty")]
    pub history: History,
    /// How often a chunk of an account's sync was done.
    #[serde(skip_serializing_if = "is_zero")]
    pub chunks: u32,
    /// The calls before the one from which the backoff counts: those before the answer that ended the last chunk.
    #[serde(skip_serializing_if = "is_zero")]
    pub backoff_after: u32,
}

impl PollState {
    /// The same state, with the provider's text cut to what an item may hold.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { envelope: self.envelope.map(|envelope| Box::new(envelope.bounded())), ..self }
    }

    /// The state without its history, and the history, for a table that stores the two apart.
    pub(crate) fn split(&self) -> (Self, &History) {
        (Self { history: History::default(), envelope: self.envelope.clone(), ..*self }, &self.history)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_absent_until_they_have_a_value() {
        assert_eq!(serde_json::to_string(&PollState::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<PollState>("{}").unwrap(), PollState::default());
    }
}
