//! The bridge's own error envelopes. Their types begin with `bridge/`.

use crate::ids::Workspace;
use crate::postpress::Envelope;

use super::{EndedBy, TRIGGERS_MAX};

fn envelope(kind: &str, status: u16, title: &str, detail: String) -> Envelope {
    let kind = format!("bridge/{kind}");
    Envelope { title: title.to_owned(), detail: Some(detail), instance: None, kind, status }.bounded()
}

/// A message on the queue that is not a valid trigger.
pub fn invalid_trigger(reason: &str) -> Envelope {
    envelope("invalid_trigger", 400, "The message is not a trigger", reason.to_owned())
}

/// A trigger for a run that already has [`TRIGGERS_MAX`].
pub fn too_many_triggers() -> Envelope {
    let detail = format!(
        "the run in flight already has {TRIGGERS_MAX} triggers; this one was not accepted, send it again once \
         the run has ended"
    );
    envelope("too_many_triggers", 429, "Too many triggers for one run", detail)
}

/// The run's time or its number of calls is exhausted.
pub fn deadline_exceeded(ended_by: EndedBy, polls: u32) -> Envelope {
    let detail = match ended_by {
        EndedBy::Polls => format!("the sync was not over after {polls} calls (BRIDGE_MAX_POLLS)"),
        _ => format!("the sync was not over within BRIDGE_RUN_DEADLINE_SECONDS, after {polls} calls"),
    };
    envelope("deadline_exceeded", 504, "The sync took too long", detail)
}

/// The run was cancelled.
pub fn cancelled() -> Envelope {
    let detail = "the run was cancelled, and makes no further call; a sync that postpress has begun goes on, since its API \
                  documents no way to stop one";
    envelope("cancelled", 409, "The run was cancelled", detail.to_owned())
}

/// A trigger has waited for `BRIDGE_RUN_DEADLINE_SECONDS`, and would have to wait again.
pub fn waited_too_long() -> Envelope {
    let detail = "for BRIDGE_RUN_DEADLINE_SECONDS since the request this trigger could neither join a run nor start one: there was \
                  always a run in flight that it may not join, or its turn to call did not come; it was not accepted, and may be \
                  sent again";
    envelope("deadline_exceeded", 504, "The trigger waited too long", detail.to_owned())
}

/// A trigger for a run in a workspace that is not configured. The text depends on nothing but the trigger.
pub fn unknown_workspace(workspace: &Workspace) -> Envelope {
    let detail = format!(
        "the secret in BRIDGE_WORKSPACES_SECRET_ID has no workspace `{workspace}`; this trigger was not accepted, and may be \
         sent again once the secret has it"
    );
    envelope("unknown_workspace", 400, "The workspace is not configured", detail)
}

/// The retry budget is exhausted, and none of the consecutive failures had an error envelope.
pub fn retries_exhausted(status: u16, failures: u32, last: &str) -> Envelope {
    let detail = format!("{failures} calls in a row failed for BRIDGE_RETRY_SECONDS; the last one: {last}");
    envelope("retries_exhausted", status, "The provider could not be reached", detail)
}

/// A response that is neither a sync nor an error envelope.
pub fn unexpected_response(status: u16, detail: &str) -> Envelope {
    envelope("unexpected_response", status, "The provider's answer was not understood", detail.to_owned())
}
