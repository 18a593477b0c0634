//! What happens to a message at the end of its handling.

/// What happens to a message at the end of its handling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Disposition {
    /// The message is acknowledged; SQS may delete it.
    Ack(AckReason),
    /// The message is a batch item failure; SQS delivers it again.
    Retry(RetryReason),
}

/// Why a message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AckReason {
    /// The run continues in the poll that was sent.
    PolledOn,
    /// The run has ended, and its event is published.
    Ended,
    /// An ending that another message had recorded, but not published, is published.
    Published,
    /// The trigger joined the run in flight.
    Joined,
    /// The trigger was answered from the table: the chat's last sync is recent enough.
    AnsweredFresh,
    /// The trigger may not join the run in flight, and waits in a message that was sent.
    Waits,
    /// The message's turn to call the provider comes later, and it goes on in a copy that was sent.
    Deferred,
    /// The run in flight is cancelled: it makes no further call.
    Cancelled,
    /// There was no run to cancel: none is in flight, or it began after the cancel was sent.
    NothingToCancel,
    /// The trigger is a duplicate.
    Duplicate,
    /// Another message has claimed the run since this poll was sent.
    Superseded,
    /// The poll's run is over.
    Over,
    /// The ending could not be recorded and continues in another poll.
    HandedOn,
    /// The trigger was answered with an error envelope.
    Refused,
    /// The sweep is done.
    Swept,
    /// The message is one of the bridge's own events, which is never answered.
    OwnEvent,
    /// The message claims to be one of the bridge's own, but is malformed.
    Malformed,
}

/// Why a message is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetryReason {
    /// An earlier delivery of the message still holds the run.
    LeaseHeld,
    /// Too little time was left in the invocation.
    NoTime,
    /// The message's turn to call the provider comes later, and an earlier delivery may hold the run: a copy could not go on.
    Paced,
    /// The table, the queue or the bus failed.
    Failed,
    /// The item changed faster than the message could decide.
    Contended,
    /// One of the bridge's own messages, written by a newer version that can read it.
    NewerVersion,
    /// A bug: a state that the protocol rules out, described here.
    Bug(&'static str),
}

impl Disposition {
    /// Whether the message is a batch item failure.
    pub fn is_retry(self) -> bool {
        matches!(self, Self::Retry(_))
    }
}
