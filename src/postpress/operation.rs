//! The provider's sync operations, as data. Another one is another row.

use super::catalogue::{ErrorType, INVALID_REQUESTS};
use super::{Finish, Progress, Resync, Status};
use crate::ids::{Subject, SubjectKind};

/// An operation: `GET /{path}/{id}/sync`, which starts a sync and reads its status.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it syncs.
    pub kind: SubjectKind,
    /// The collection in its path.
    pub path: &'static str,
    /// The `object` of its answers.
    pub object: &'static str,
    /// Whether its answers repeat the id.
    pub answers_id: bool,
    /// Whether it has options, in its query.
    pub has_options: bool,
    /// Its statuses. Any other one is unexpected, even if another operation has it.
    pub statuses: &'static [Status],
    /// The error types that it has besides those of every operation.
    pub error_types: &'static [ErrorType],
}

static CHATS: Operation = Operation {
    kind: SubjectKind::Chat,
    path: "chats",
    object: "ChatHistorySync",
    answers_id: true,
    has_options: false,
    statuses: &[
        Status::InProgress(Progress::Started),
        Status::InProgress(Progress::Running),
        Status::Over(Finish::Done),
        Status::Over(Finish::Error),
        Status::Over(Finish::Deleted),
    ],
    error_types: &[],
};

static ACCOUNTS: Operation = Operation {
    kind: SubjectKind::Account,
    path: "accounts",
    object: "AccountResync",
    answers_id: false,
    has_options: true,
    statuses: &[
        Status::InProgress(Progress::Started),
        Status::InProgress(Progress::Running),
        Status::InProgress(Progress::ChunkDone),
        Status::Over(Finish::Done),
        Status::Over(Finish::Error),
    ],
    error_types: INVALID_REQUESTS,
};

/// Every operation.
pub static OPERATIONS: [&Operation; 2] = [&CHATS, &ACCOUNTS];

impl Operation {
    /// The operation that syncs subjects of this kind.
    pub fn of(kind: SubjectKind) -> &'static Self {
        match kind {
            SubjectKind::Chat => &CHATS,
            SubjectKind::Account => &ACCOUNTS,
        }
    }

    /// Whether a sync may report the end of a chunk.
    pub fn has_chunks(&self) -> bool {
        self.statuses.contains(&Status::InProgress(Progress::ChunkDone))
    }
}

/// What to call for: the same at every call of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SyncCall {
    /// What to sync.
    pub subject: Subject,
    /// The options of an account's sync.
    pub resync: Resync,
}

impl SyncCall {
    /// The operation to call.
    pub fn operation(&self) -> &'static Operation {
        Operation::of(self.subject.kind())
    }
}

/// Without options.
impl From<Subject> for SyncCall {
    fn from(subject: Subject) -> Self {
        Self { subject, resync: Resync::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_operation() {
        for (kind, operation) in SubjectKind::ALL.into_iter().zip(OPERATIONS) {
            assert_eq!((Operation::of(kind), operation.kind), (operation, kind));
        }
    }
}
