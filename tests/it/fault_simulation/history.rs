//! Everything that happened in a world, in order.

use std::cell::RefCell;
use std::time::Duration;

use postpress_bridge::event::Event;
use postpress_bridge::ids::{ClaimId, MessageId, RunId, Subject};
use postpress_bridge::message::Record;
use postpress_bridge::postpress::Answer;
use postpress_bridge::queue::Outgoing;
use postpress_bridge::run::DueRun;
use postpress_bridge::run::{Disposition, Item, Phase, Write, WriteResult};
use postpress_bridge::simulator;
use tokio::time::Instant;

use super::plan::{Kind, Plan};

/// An event of the history.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) at: Duration,
    /// The invocation that did it, from 1; 0 for everything else.
    pub(super) invocation: u32,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A message arrived from outside.
    Put { message: MessageId, kind: Kind, body: String },
    /// The invocation began with these messages and their receive counts.
    Invoked { messages: Vec<(MessageId, u32)> },
    /// The invocation returned this answer.
    Returned { dispositions: Vec<(MessageId, Disposition)> },
    /// The invocation was killed.
    Died { at: Point },
    /// A message that is in flight becomes visible again.
    VisibleAgain { message: MessageId, after: Duration },
    /// A deleted message is delivered once more.
    DeletedAgain { message: MessageId, after: Duration },
    /// Messages were received, but the response was lost.
    ReceiveLost { messages: Vec<MessageId> },
    /// Messages were not deleted.
    DeleteLost { messages: Vec<MessageId> },
    /// A service got a request, with this fault.
    Asked { number: usize, request: Request, fault: Option<Fault> },
    /// The request was executed.
    Done { number: usize, effect: Effect },
    /// The worker received the response.
    Heard { number: usize, error: Option<String> },
    /// The provider is called; `item` is the chat's item in the table.
    Called { call: u64, chat: Subject, run: Option<(RunId, ClaimId, Phase)> },
    /// The provider is down, and answers 503 instead of being called.
    ProviderOut,
    /// The call was answered.
    Answered { call: u64, answer: Answer },
    /// The caller hung up.
    HungUp { call: u64 },
    /// From here on only the provider has faults.
    Healed,
}

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most of them are writes")]
pub(super) enum Request {
    Read(Subject),
    Write(Write),
    Due,
    Send(Vec<Outgoing>),
    VisibilityChange(usize),
    Publish(Vec<Event>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    Read(Option<Box<Item>>),
    Written(WriteResult),
    Due(Vec<DueRun>),
    /// Each message's id, unless its entry failed.
    Sent(Vec<Option<MessageId>>),
    HandedBack,
    /// Whether each event was published.
    Published(Vec<bool>),
}

impl Effect {
    /// The item in the result.
    pub(super) fn item(&self) -> Option<&Item> {
        match self {
            Self::Read(item) | Self::Written(WriteResult::ConditionFailed(item)) => item.as_deref(),
            Self::Written(WriteResult::Applied(item)) => Some(item),
            _ => None,
        }
    }
}

/// A fault of an operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// It is not executed; the error is transient.
    Throttled,
    /// It is not executed; the error is permanent.
    Refused,
    /// It is executed, but the caller gets an error.
    ReplyLost,
    /// It is executed, but the caller gets no reply.
    Silent,
    /// It is executed after this time, if the caller still waits.
    Slow(Duration),
    /// The caller gets no reply; it is executed after this time nevertheless.
    Late(Duration),
    /// It is not executed, and the caller gets no reply.
    Hangs,
    /// The service is down and answers with an error.
    Out,
    /// These entries of the request fail.
    Entries(Vec<usize>),
}

/// A kind of operation on the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Operation {
    Read,
    Start,
    Claim,
    Join,
    Cancel,
    End,
    Mark,
    Move,
    Due,
    Send,
    VisibilityChange,
    Publish,
    Call,
    Answer,
}

/// Where an invocation can die: around an operation, where [`Operation::Answer`] is the batch's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Point {
    Before(Operation),
    After(Operation),
    /// At some time, whatever it waits for.
    Anytime,
}

impl Operation {
    pub(super) const ALL: [Self; 14] = [
        Self::Read,
        Self::Start,
        Self::Claim,
        Self::Join,
        Self::Cancel,
        Self::End,
        Self::Mark,
        Self::Move,
        Self::Due,
        Self::Send,
        Self::VisibilityChange,
        Self::Publish,
        Self::Call,
        Self::Answer,
    ];
}

impl Request {
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Read(_) => Operation::Read,
            Self::Write(Write::Start { .. }) => Operation::Start,
            Self::Write(Write::Claim { .. }) => Operation::Claim,
            Self::Write(Write::Join { .. }) => Operation::Join,
            Self::Write(Write::Cancel { .. }) => Operation::Cancel,
            Self::Write(Write::End { .. }) => Operation::End,
            Self::Write(Write::MarkPublished { .. }) => Operation::Mark,
            Self::Write(Write::MoveSweep { .. }) => Operation::Move,
            Self::Due => Operation::Due,
            Self::Send(_) => Operation::Send,
            Self::VisibilityChange(_) => Operation::VisibilityChange,
            Self::Publish(_) => Operation::Publish,
        }
    }
}

impl Fault {
    /// Every kind, by name.
    pub(super) const NAMES: [&str; 9] =
        ["throttled", "refused", "reply lost", "silent", "slow", "late", "hangs", "out", "entries failed"];

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::ReplyLost => "reply lost",
            Self::Silent => "silent",
            Self::Slow(_) => "slow",
            Self::Late(_) => "late",
            Self::Hangs => "hangs",
            Self::Out => "out",
            Self::Entries(_) => "entries failed",
        }
    }

    /// Whether the caller may repeat what was already done, or will be.
    pub(super) fn hides_success(&self) -> bool {
        matches!(self, Self::ReplyLost | Self::Silent | Self::Late(_))
    }
}

/// The entries of a running world.
#[derive(Debug)]
pub(super) struct Log {
    began: Instant,
    entries: RefCell<Vec<Entry>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), entries: RefCell::default() }
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Records an entry and returns its number.
    pub(super) fn note(&self, invocation: u32, what: What) -> usize {
        let mut entries = self.entries.borrow_mut();
        entries.push(Entry { at: self.now(), invocation, what });
        entries.len() - 1
    }

    pub(super) fn next_number(&self) -> usize {
        self.entries.borrow().len()
    }

    pub(super) fn take(&self) -> Vec<Entry> {
        self.entries.take()
    }
}

/// The history of a finished world.
#[derive(Debug)]
pub(super) struct History {
    pub(super) plan: Plan,
    pub(super) entries: Vec<Entry>,
    /// The provider's calls.
    pub(super) calls: Vec<simulator::CallRecord>,
    /// The table at the end.
    pub(super) items: Vec<Item>,
    pub(super) dead_letters: Vec<Record>,
    /// Whether it became idle: nothing is on the queue, and no run is open.
    pub(super) is_dry: bool,
}
