//! The message that keeps a run going.

use serde::{Deserialize, Serialize};

use super::{Outcome, PollState};
use crate::ids::{ClaimId, MessageGroup, RunId, Subject, subject_fields};

/// The bridge's own message: call the provider again for this run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Poll {
    /// What the run syncs.
    #[serde(flatten, with = "subject_fields")]
    pub subject: Subject,
    /// The run; a poll of an earlier run is ignored.
    pub run_id: RunId,
    /// The claim under which the poll was sent; any later claim makes the poll stale.
    pub claim_id: ClaimId,
    /// State accumulated from provider responses; without it the item keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<PollState>,
    /// An ending that could not be written to the table yet. A poll that carries one makes no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Outcome>,
    /// The run's message group. It is not in the body: SQS keeps it beside the message.
    #[serde(skip)]
    pub group: Option<MessageGroup>,
}
