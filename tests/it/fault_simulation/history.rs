//! All that happened in a world, in its order.

use std::cell::RefCell;
use std::time::Duration;

use postpress_bridge::event::Event;
use postpress_bridge::ids::{ChatId, ClaimId, MessageId, RunId};
use postpress_bridge::message::Record;
use postpress_bridge::postpress::Answer;
use postpress_bridge::queue::Outgoing;
use postpress_bridge::run::{Disposition, Item, Phase, Write, WriteResult};
use postpress_bridge::simulator;
use postpress_bridge::store::DueRun;
use tokio::time::Instant;

use super::plan::{Kind, Plan};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) at: Duration,
    /// The invocation that did it, from 1; 0 is everybody else.
    pub(super) invocation: u32,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A message came from outside.
    Put { message: MessageId, kind: Kind, body: String },
    /// The invocation began, with these messages and how often each was received.
    Invoked { messages: Vec<(MessageId, u32)> },
    /// It is over, with this answer.
    Returned { dealt: Vec<(MessageId, Disposition)> },
    /// It was killed.
    Died { at: Point },
    /// A message that is in flight becomes visible again.
    VisibleAgain { message: MessageId, after: Duration },
    /// A message that was deleted is delivered once more.
    DeletedAgain { message: MessageId, after: Duration },
    /// Messages were received by nobody, who heard nothing of them.
    ReceiveLost { messages: Vec<MessageId> },
    /// Messages were not deleted.
    DeleteLost { messages: Vec<MessageId> },
    /// A service was asked for something, and this goes wrong with it.
    Asked { number: usize, request: Request, fault: Option<Fault> },
    /// What was asked for was carried out.
    Done { number: usize, effect: Effect },
    /// The worker has heard of it.
    Heard { number: usize, error: Option<String> },
    /// The provider is called; `item` is what the table holds of the chat.
    Called { call: u64, chat: ChatId, run: Option<(RunId, ClaimId, Phase)> },
    /// The provider is out, and answers 503 instead of being called.
    ProviderOut,
    /// The call came back.
    Answered { call: u64, answer: Answer },
    /// The caller is gone.
    HungUp { call: u64 },
    /// From here on nothing goes wrong but at the provider.
    Healed,
}

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most of them are writes")]
pub(super) enum Request {
    Read(ChatId),
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
    /// Each message's id, if its entry did not fail.
    Sent(Vec<Option<MessageId>>),
    HandedBack,
    /// Whether each event is out.
    Published(Vec<bool>),
}

impl Effect {
    /// The item that came back.
    pub(super) fn item(&self) -> Option<&Item> {
        match self {
            Self::Read(item) | Self::Written(WriteResult::ConditionFailed(item)) => item.as_deref(),
            Self::Written(WriteResult::Applied(item)) => Some(item),
            _ => None,
        }
    }
}

/// What goes wrong with an operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// It is not carried out, which may pass.
    Throttled,
    /// It is not carried out, and is not asked for again.
    Refused,
    /// It is carried out, and the caller hears of a failure.
    ReplyLost,
    /// It is carried out, and the caller hears nothing.
    Silent,
    /// It is carried out after so long, if the caller still waits.
    Slow(Duration),
    /// The caller hears nothing; it is carried out after so long all the same.
    Late(Duration),
    /// It is not carried out, and the caller hears nothing.
    Hangs,
    /// The service is out and says so.
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

/// Where an invocation can die: around an operation, which for [`Operation::Answer`] is the batch's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Point {
    Before(Operation),
    After(Operation),
    /// At some moment, whatever it waits for.
    Anytime,
}

impl Operation {
    pub(super) const ALL: [Self; 13] = [
        Self::Read,
        Self::Start,
        Self::Claim,
        Self::Join,
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

    /// The caller may ask again for what has been done, or will be.
    pub(super) fn hides_success(&self) -> bool {
        matches!(self, Self::ReplyLost | Self::Silent | Self::Late(_))
    }
}

/// The entries of a world that is being played.
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

    /// Notes something and tells its number.
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

/// A world that has been played to its end.
#[derive(Debug)]
pub(super) struct History {
    pub(super) plan: Plan,
    pub(super) entries: Vec<Entry>,
    /// The provider's calls.
    pub(super) calls: Vec<simulator::CallRecord>,
    /// The table at the end.
    pub(super) items: Vec<Item>,
    pub(super) dead_letters: Vec<Record>,
    /// It ran dry: nothing is on the queue, and no run is open.
    pub(super) is_dry: bool,
}
