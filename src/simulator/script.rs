//! The behaviour of a chat or an account, which its id selects.
//!
//! `simulate --help` shows the [`GRAMMAR`]. One with any other id syncs within [`ORDINARY_SYNC`].

use std::time::Duration;

use clap::ValueEnum;

use crate::ids::Subject;
use crate::postpress::catalogue::ErrorType;
use crate::postpress::{Finish, Operation, Status};
use crate::time::parse_duration;

/// How long a sync lasts by default.
pub const ORDINARY_SYNC: Duration = Duration::from_secs(3);

/// Describes the ids and their behaviour.
pub const GRAMMAR: &str = "\
The id of a chat or an account selects its behaviour:

  done  error                   a sync of 3 s, then SYNC_DONE or SYNC_ERROR
  done-in-30s  error-in-1500ms  the same with that duration (ms, s, m, h)
  deleted  deleted-in-5s        always CHAT_DELETED, or after a sync (chats)
  done-in-3-chunks-of-2s        2 times CHUNK_DONE, then SYNC_DONE (accounts)
  anything else                 a sync of 3 s, then SYNC_DONE

These errors start no sync:

  resource_not_found            any documented error type, in its envelope
  503  429  404                 an HTTP status, 300 to 599, without an envelope
  html  empty  truncated        a 200 that is not the documented JSON
  wrong-chat  wrong-chat-done   a 200 for another chat, in progress or over
  wrong-object  unknown-status  a 200 that contradicts the documentation
  envelope-in-200               a 200 with an error envelope

  ERROR-retry-after-20s         with that Retry-After, in whole seconds
  ERROR-for-2-calls-then-ID     for the first 2 calls, then the behaviour of ID

  ID~anything                   the same with another id: done~1, done~2

An account's chats have its id with a suffix: ACCOUNT~1, ACCOUNT~2 and so on.
Its errors apply to the list of its chats as well.

Example: 503-for-2-calls-then-limit_exceeded-for-1-call-then-done-in-10s~7";

/// The behaviour of a chat from its first call on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    opening: Vec<TemporaryError>,
    pub(super) behaviour: Behaviour,
}

/// An error that ends after some calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TemporaryError {
    error: ErrorAnswer,
    calls: u64,
}

/// The behaviour of a chat after its opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// It syncs whenever a sync is started.
    Sync {
        /// How many chunks it has.
        chunks: u32,
        /// How long each lasts.
        lasts: Duration,
        /// How the last one ends.
        finish: Finish,
    },
    /// It is deleted from the start.
    Gone,
    /// It always answers with an error.
    Error(ErrorAnswer),
}

/// An answer that neither starts nor ends a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorAnswer {
    pub(super) kind: ErrorKind,
    pub(super) retry_after: Option<Duration>,
}

/// The form of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// A documented error, in its envelope.
    Error(&'static ErrorType),
    /// Only an HTTP status.
    Status(u16),
    /// A malformed 200.
    Odd(Oddity),
}

/// The defect of a 200; its name is its value's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Oddity {
    Html,
    Empty,
    Truncated,
    WrongChat,
    WrongChatDone,
    WrongObject,
    UnknownStatus,
    #[value(name = "envelope-in-200")]
    EnvelopeIn200,
}

/// Finds a documented error by its name without `errors/`.
pub fn documented_error(operation: &Operation, name: &str) -> Option<&'static ErrorType> {
    operation.documented_errors().find(|error| error.kind.strip_prefix("errors/") == Some(name))
}

impl Script {
    /// The script of a subject; an ordinary sync if its id selects nothing.
    pub(super) fn of(subject: &Subject) -> Self {
        let (name, _suffix) = subject.id().split_once('~').unwrap_or((subject.id(), ""));
        let ordinary = Behaviour::Sync { chunks: 1, lasts: ORDINARY_SYNC, finish: Finish::Done };
        Self::parse(name, Operation::of(subject.kind())).unwrap_or(Self { opening: Vec::new(), behaviour: ordinary })
    }

    fn parse(name: &str, operation: &Operation) -> Option<Self> {
        let mut parts: Vec<&str> = name.split("-then-").collect();
        let behaviour = Behaviour::parse(parts.pop()?, operation)?;
        let opening = parts.into_iter().map(|part| TemporaryError::parse(part, operation)).collect::<Option<_>>()?;
        Some(Self { opening, behaviour })
    }

    /// The error for the call after `answered` others, unless the opening is over.
    pub(super) fn opening_error(&self, answered: u64) -> Option<ErrorAnswer> {
        let mut end: u64 = 0;
        for temporary in &self.opening {
            end = end.saturating_add(temporary.calls);
            if answered < end {
                return Some(temporary.error);
            }
        }
        None
    }

    /// The error for a page of the account's chats, after `answered` others.
    pub(super) fn list_error(&self, answered: u64) -> Option<ErrorAnswer> {
        self.opening_error(answered).or(match self.behaviour {
            Behaviour::Error(error) => Some(error),
            Behaviour::Sync { .. } | Behaviour::Gone => None,
        })
    }
}

impl TemporaryError {
    fn parse(part: &str, operation: &Operation) -> Option<Self> {
        let (error, calls) = part.rsplit_once("-for-")?;
        let count = calls.strip_suffix("-calls").or_else(|| calls.strip_suffix("-call"))?;
        Some(Self { error: ErrorAnswer::parse(error, operation)?, calls: count.parse().ok()? })
    }
}

impl Behaviour {
    fn parse(part: &str, operation: &Operation) -> Option<Self> {
        if part == "deleted" && operation.statuses.contains(&Status::Over(Finish::Deleted)) {
            return Some(Self::Gone);
        }
        Self::parse_sync(part, operation).or_else(|| ErrorAnswer::parse(part, operation).map(Self::Error))
    }

    fn parse_sync(part: &str, operation: &Operation) -> Option<Self> {
        let (ending, length) = part.split_once("-in-").map_or((part, None), |(ending, length)| (ending, Some(length)));
        let (chunks, lasts) = match length {
            None => (1, ORDINARY_SYNC),
            Some(length) => match length.split_once("-chunks-of-").filter(|_| operation.has_chunks()) {
                Some((chunks, time)) => (chunks.parse().ok().filter(|chunks| *chunks > 0)?, parse_duration(time)?),
                None => (1, parse_duration(length)?),
            },
        };
        let finish = match ending {
            "done" => Finish::Done,
            "error" => Finish::Error,
            "deleted" => Finish::Deleted,
            _ => return None,
        };
        let is_documented = operation.statuses.contains(&Status::Over(finish));
        is_documented.then_some(Self::Sync { chunks, lasts, finish })
    }
}

impl ErrorAnswer {
    pub(super) fn status(status: u16) -> Self {
        Self { kind: ErrorKind::Status(status), retry_after: None }
    }

    fn parse(part: &str, operation: &Operation) -> Option<Self> {
        let (name, retry_after) = match part.split_once("-retry-after-") {
            // `Retry-After` has no fractions.
            Some((name, time)) => (name, Some(parse_duration(time).filter(|time| time.subsec_nanos() == 0)?)),
            None => (part, None),
        };
        Some(Self { kind: ErrorKind::parse(name, operation)?, retry_after })
    }
}

impl ErrorKind {
    fn parse(name: &str, operation: &Operation) -> Option<Self> {
        let status = || name.parse().ok().filter(|status| (300..600).contains(status));
        documented_error(operation, name)
            .map(Self::Error)
            .or_else(|| Oddity::from_str(name, false).ok().map(Self::Odd))
            .or_else(|| status().map(Self::Status))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::SubjectKind;
    use crate::postpress::operation::OPERATIONS;

    fn chats() -> &'static Operation {
        Operation::of(SubjectKind::Chat)
    }

    fn script(id: &str) -> Script {
        Script::of(&Subject::chat(id).unwrap())
    }

    fn sync(finish: Finish, milliseconds: u64) -> Behaviour {
        Behaviour::Sync { chunks: 1, lasts: Duration::from_millis(milliseconds), finish }
    }

    fn error(name: &str) -> ErrorAnswer {
        ErrorAnswer { kind: ErrorKind::Error(documented_error(chats(), name).unwrap()), retry_after: None }
    }

    #[test]
    fn id_selects_the_behaviour() {
        for (id, behaviour) in [
            ("done", sync(Finish::Done, 3_000)),
            ("error", sync(Finish::Error, 3_000)),
            ("deleted", Behaviour::Gone),
            ("done-in-30s", sync(Finish::Done, 30_000)),
            ("done-in-0s", sync(Finish::Done, 0)),
            ("error-in-1500ms", sync(Finish::Error, 1_500)),
            ("deleted-in-5m", sync(Finish::Deleted, 300_000)),
            ("done-in-2h~1~2", sync(Finish::Done, 7_200_000)),
            ("resource_not_found", Behaviour::Error(error("resource_not_found"))),
            ("resource_not_found~7", Behaviour::Error(error("resource_not_found"))),
            ("503", Behaviour::Error(ErrorAnswer::status(503))),
            ("302~x", Behaviour::Error(ErrorAnswer::status(302))),
        ] {
            assert_eq!(script(id), Script { opening: vec![], behaviour }, "{id}");
        }
        for &oddity in Oddity::value_variants() {
            let value = oddity.to_possible_value().unwrap();
            assert_eq!(
                script(value.get_name()).behaviour,
                Behaviour::Error(ErrorAnswer { kind: ErrorKind::Odd(oddity), retry_after: None })
            );
        }
    }

    #[test]
    fn what_only_accounts_have_is_of_accounts() {
        let of_account = |id: &str| Script::of(&Subject::account(id).unwrap()).behaviour;
        let lasts = Duration::from_secs(2);
        assert_eq!(
            of_account("error-in-3-chunks-of-2s~1"),
            Behaviour::Sync { chunks: 3, lasts, finish: Finish::Error }
        );
        assert!(matches!(of_account("limit_too_high"), Behaviour::Error(_)));
        for id in ["deleted", "deleted-in-5s", "done-in-0-chunks-of-2s", "done-in-2-chunks"] {
            assert_eq!(of_account(id), sync(Finish::Done, 3_000), "{id}");
        }
        for id in ["done-in-3-chunks-of-2s", "limit_too_high"] {
            assert_eq!(script(id).behaviour, sync(Finish::Done, 3_000), "{id}");
        }
    }

    #[test]
    fn other_ids_are_ordinary_chats() {
        for id in [
            "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR",
            "~done",
            "Done",
            "done-in-5",
            "done-in-soon",
            "200",
            "600",
            "no_such_error",
            "429-retry-after-1500ms",
            "resource_not_found-for-2-calls",
            "done-for-2-calls-then-error",
            "503-for-some-calls-then-done",
            "503-for-2-calls-then-",
        ] {
            assert_eq!(script(id), Script { opening: vec![], behaviour: sync(Finish::Done, 3_000) }, "{id}");
        }
    }

    #[test]
    fn temporary_errors_end_in_the_order_of_the_id() {
        let script = script("503-for-2-calls-then-limit_exceeded-retry-after-5s-for-1-call-then-done-in-1s~7");
        let limit = ErrorAnswer { retry_after: Some(Duration::from_secs(5)), ..error("limit_exceeded") };
        let expected = [Some(ErrorAnswer::status(503)), Some(ErrorAnswer::status(503)), Some(limit), None, None];
        for (answered, error) in (0..).zip(expected) {
            assert_eq!(script.opening_error(answered), error, "{answered}");
        }
        assert_eq!(script.behaviour, sync(Finish::Done, 1_000));
    }

    #[test]
    fn examples_in_the_grammar_are_valid() {
        for line in GRAMMAR.lines() {
            assert!(line.len() <= 80, "a terminal would wrap {line:?}");
            let Some(column) = line.strip_prefix("  ").and_then(|line| line.get(..30)) else {
                continue;
            };
            let ids = column.split("  ").map(str::trim).filter(|id| !id.is_empty() && *id != "anything else");
            for id in ids {
                let id = id.replace("ERROR", "html").replace("ID", "done").replace("~anything", "");
                let operations = OPERATIONS.into_iter();
                assert!(operations.filter_map(|operation| Script::parse(&id, operation)).next().is_some(), "{id}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_chat_has_a_script(id in "\\PC{1,60}", calls: u64) {
            if let Ok(chat) = Subject::chat(&id) {
                Script::of(&chat).opening_error(calls);
            }
        }

        #[test]
        fn ids_that_resemble_the_grammar_have_a_script(
            id in "(503|html|limit_exceeded)?(-retry-after-)?[0-9]{0,30}(h|s)?(-for-)?[0-9]{0,25}(-calls-then-){0,3}(done|error)?(-in-)?[0-9]{0,30}(ms|h)?"
        ) {
            if let Ok(chat) = Subject::chat(&id) {
                Script::of(&chat).opening_error(u64::MAX);
            }
        }
    }
}
