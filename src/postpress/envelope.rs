//! The provider's error envelope, which our own errors use too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operation;
use super::body::Object;
use super::catalogue::Form;
use crate::text::bounded;

/// The most bytes kept of a foreign `title`, `type` or `instance`.
pub const LABEL_MAX_BYTES: usize = 512;
/// The most bytes kept of a foreign `detail`.
pub const DETAIL_MAX_BYTES: usize = 4 * 1024;

/// The prefix of postpress's own types.
const TYPE_PREFIX: &str = "errors/";

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
    /// Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP status code.
    pub status: u16,
}

impl Envelope {
    /// The envelope with every text cut to the bounds of items and events.
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

/// An error in one of the two formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub(super) envelope: Envelope,
    pub(super) form: Form,
}

/// Reads an error. It must have a type; other texts may be missing or unreadable. Its status is always the HTTP status. `show` is
/// applied to every kept text before it is cut.
pub(super) fn read(
    operation: &Operation,
    object: &Object<'_>,
    http_status: u16,
    show: impl Fn(String) -> String,
) -> Option<ErrorBody> {
    let kind = |object: &Object<'_>, name| object.text(name).filter(|kind| !kind.is_empty());
    let (form, kind, title, detail, instance) = if let Some(kind) = kind(object, "type") {
        (Form::Service, kind, object.text("title"), object.text("detail"), object.text("instance"))
    } else {
        let error = object.object("error")?;
        let code = kind(&error, "code").or_else(|| error.number("code").map(str::to_owned))?;
        let kind = if code.starts_with(TYPE_PREFIX) { code } else { format!("{TYPE_PREFIX}{code}") };
        (Form::Gateway, kind, error.text("message"), error.text("detail"), error.text("request_id"))
    };
    let title = title.filter(|title| !title.is_empty()).unwrap_or_else(|| title_of(operation, &kind, http_status));
    let envelope = Envelope {
        title: show(title),
        detail: detail.map(&show),
        instance: instance.map(&show),
        kind: show(kind),
        status: http_status,
    };
    Some(ErrorBody { envelope: envelope.bounded(), form })
}

/// The title of an error that has none: the documentation's description of the type, or else the type.
fn title_of(operation: &Operation, kind: &str, http_status: u16) -> String {
    operation.documented_error(kind, http_status).map_or(kind, |listed| listed.meaning).to_owned()
}
