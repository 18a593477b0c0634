//! Why a message gets a line in the log when it is settled.

use super::Dealt;
use crate::run::{Acknowledged, Returned};

/// Why a message came back, was dropped or was refused: the `reason` of its one warning or error in an invocation.
///
/// Each has an entry in `docs/runbook.md`. A message that is settled as intended has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It comes back: too little of the invocation was left for a call.
    NoTime,
    /// It comes back: others changed the run faster than the message could decide.
    Contended,
    /// It comes back: an earlier delivery of it holds the run, or died holding it.
    LeaseHeld,
    /// It comes back: the table, the queue or the bus failed.
    Failed,
    /// It comes back: its handling panicked, or met a state that cannot occur.
    Bug,
    /// It comes back: a newer version of the worker wrote it.
    NewerVersion,
    /// It was acknowledged: its ending could not be recorded, and travels on in another message.
    HandedOn,
    /// It was answered with an error event: it is not a valid trigger, or its run has no room for it.
    Refused,
    /// It was dropped: it is one of our own events.
    OwnEvent,
    /// It was dropped: it claims to be one of our own messages, and cannot be read.
    Malformed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::NoTime,
        Self::Contended,
        Self::LeaseHeld,
        Self::Failed,
        Self::Bug,
        Self::NewerVersion,
        Self::HandedOn,
        Self::Refused,
        Self::OwnEvent,
        Self::Malformed,
    ];

    /// The reason of a message that was settled like this, if it needs one.
    pub(super) fn of(dealt: Dealt) -> Option<Self> {
        match dealt {
            Dealt::Returned(Returned::NoTime) => Some(Self::NoTime),
            Dealt::Returned(Returned::Contended) => Some(Self::Contended),
            Dealt::Returned(Returned::LeaseHeld) => Some(Self::LeaseHeld),
            Dealt::Returned(Returned::Failed) => Some(Self::Failed),
            Dealt::Returned(Returned::Bug(_)) => Some(Self::Bug),
            Dealt::Newer => Some(Self::NewerVersion),
            Dealt::Acknowledged(Acknowledged::HandedOn) => Some(Self::HandedOn),
            Dealt::Acknowledged(Acknowledged::Refused) => Some(Self::Refused),
            Dealt::OwnEvent => Some(Self::OwnEvent),
            Dealt::Malformed => Some(Self::Malformed),
            Dealt::Acknowledged(_) | Dealt::Swept => None,
        }
    }

    /// Its stable name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoTime => "no_time",
            Self::Contended => "contended",
            Self::LeaseHeld => "lease_held",
            Self::Failed => "failed",
            Self::Bug => "bug",
            Self::NewerVersion => "newer_version",
            Self::HandedOn => "handed_on",
            Self::Refused => "refused",
            Self::OwnEvent => "own_event",
            Self::Malformed => "malformed",
        }
    }

    /// The text of the line.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::NoTime => "too little time left in the invocation; the message comes back",
            Self::Contended => "the run changed faster than the message could decide; the message comes back",
            Self::LeaseHeld => "an earlier delivery of the message holds the run; the message comes back",
            Self::Failed => "message processing failed",
            Self::Bug => "this is a bug in postpress-bridge; the message comes back",
            Self::NewerVersion => "a newer worker's message comes back until a newer worker reads it",
            Self::HandedOn => "the ending could not be recorded; it travels on in another message",
            Self::Refused => "trigger refused; answered with an error event",
            Self::OwnEvent => {
                "one of our own events came back as a message and was dropped; narrow the rule that sends it here"
            }
            Self::Malformed => "a broken message of our own was dropped",
        }
    }

    /// Someone has to act on it, as opposed to what the next delivery settles.
    pub(super) fn is_error(self) -> bool {
        match self {
            Self::Failed | Self::Bug | Self::HandedOn | Self::OwnEvent | Self::Malformed => true,
            Self::NoTime | Self::Contended | Self::LeaseHeld | Self::NewerVersion | Self::Refused => false,
        }
    }
}
