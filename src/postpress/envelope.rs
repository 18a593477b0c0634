//! The provider's error envelope, which is also the form of our own errors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::bounded;

/// The most bytes kept of a foreign `title`, `type` or `instance`.
pub const LABEL_MAX_BYTES: usize = 512;
/// The most bytes kept of a foreign `detail`.
pub const DETAIL_MAX_BYTES: usize = 4 * 1024;

/// `{title, detail?, instance?, type, status}`: "every error response follows the same envelope".
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Short error title.
    pub title: String,
    /// Human-readable explanation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Request identifier for support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Error type identifier: `errors/…` is postpress's, `bridge/…` ours.
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP status code.
    pub status: u16,
}

impl Envelope {
    /// The same envelope with every text cut to what an item and an event may carry.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            title: bounded(self.title, LABEL_MAX_BYTES).0,
            detail: self.detail.map(|text| bounded(text, DETAIL_MAX_BYTES).0),
            instance: self.instance.map(|text| bounded(text, LABEL_MAX_BYTES).0),
            kind: bounded(self.kind, LABEL_MAX_BYTES).0,
            status: self.status,
        }
    }
}
