//! Why a message logs a warning or an error when it is settled.

use crate::run::{AckReason, Disposition, RetryReason};

/// Why a message is delivered again, dropped or refused: the `reason` of its one warning or error in an invocation.
///
/// Each has an entry in `docs/runbook.md`. A message that is handled as intended has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Its stable name in the log.
    pub name: &'static str,
    /// The text of the log line.
    pub message: &'static str,
    /// Whether someone has to act on it; the next delivery settles the others.
    pub is_error: bool,
}

impl Reason {
    const NO_TIME: Self =
        Self::warning("no_time", "too little time left in the invocation; the message is delivered again");
    const PACED: Self = Self::warning(
        "paced",
        "too little time is left to wait for a turn to call the provider; the message is delivered again, because it may hold \
         its run",
    );
    const CONTENDED: Self = Self::warning(
        "contended",
        "the run changed faster than the message could decide; the message is delivered again",
    );
    const LEASE_HELD: Self =
        Self::warning("lease_held", "an earlier delivery of the message holds the run; the message is delivered again");
    pub(super) const FAILED: Self = Self::error("failed", "message processing failed");
    const BUG: Self = Self::error("bug", "this is a bug in postpress-bridge; the message is delivered again");
    const NEWER_VERSION: Self =
        Self::warning("newer_version", "a newer worker's message is delivered again until a newer worker reads it");
    const HANDED_ON: Self = Self::error("handed_on", "the ending could not be recorded; another message carries it");
    const REFUSED: Self = Self::warning("refused", "trigger refused; answered with an error event");
    const OWN_EVENT: Self = Self::error(
        "own_event",
        "one of our own events came back as a message and was dropped; narrow the rule that sends it here",
    );
    const MALFORMED: Self = Self::error("malformed", "a broken message of our own was dropped");

    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::NO_TIME,
        Self::PACED,
        Self::CONTENDED,
        Self::LEASE_HELD,
        Self::FAILED,
        Self::BUG,
        Self::NEWER_VERSION,
        Self::HANDED_ON,
        Self::REFUSED,
        Self::OWN_EVENT,
        Self::MALFORMED,
    ];

    const fn warning(name: &'static str, message: &'static str) -> Self {
        Self { name, message, is_error: false }
    }

    const fn error(name: &'static str, message: &'static str) -> Self {
        Self { name, message, is_error: true }
    }

    /// The reason of a message with this disposition, if it needs one.
    pub(super) fn of(disposition: Disposition) -> Option<Self> {
        match disposition {
            Disposition::Retry(RetryReason::NoTime) => Some(Self::NO_TIME),
            Disposition::Retry(RetryReason::Paced) => Some(Self::PACED),
            Disposition::Retry(RetryReason::Contended) => Some(Self::CONTENDED),
            Disposition::Retry(RetryReason::LeaseHeld) => Some(Self::LEASE_HELD),
            Disposition::Retry(RetryReason::Failed) => Some(Self::FAILED),
            Disposition::Retry(RetryReason::Bug(_)) => Some(Self::BUG),
            Disposition::Retry(RetryReason::NewerVersion) => Some(Self::NEWER_VERSION),
            Disposition::Ack(AckReason::HandedOn) => Some(Self::HANDED_ON),
            Disposition::Ack(AckReason::Refused) => Some(Self::REFUSED),
            Disposition::Ack(AckReason::OwnEvent) => Some(Self::OWN_EVENT),
            Disposition::Ack(AckReason::Malformed) => Some(Self::MALFORMED),
            Disposition::Ack(
                AckReason::PolledOn
                | AckReason::Ended
                | AckReason::Published
                | AckReason::Joined
                | AckReason::AnsweredFresh
                | AckReason::Waits
                | AckReason::Deferred
                | AckReason::Cancelled
                | AckReason::NothingToCancel
                | AckReason::Duplicate
                | AckReason::Superseded
                | AckReason::Over
                | AckReason::Swept,
            ) => None,
        }
    }
}
