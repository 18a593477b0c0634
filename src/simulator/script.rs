//! What a chat does, read from its id: name a chat, and you have asked for its behaviour.
//!
//! [`GRAMMAR`] is the description for people, shown by `simulate --help`. An id outside the grammar is an ordinary chat
//! that syncs in [`ORDINARY_SYNC`].

use std::time::Duration;

use crate::ids::ChatId;
use crate::postpress::Finish;
use crate::postpress::catalogue::{ERROR_TYPES, ErrorType};
use crate::time::parse_duration;

/// How long a sync lasts whose chat does not say.
pub const ORDINARY_SYNC: Duration = Duration::from_secs(3);

/// The ids and what they do, for people.
pub const GRAMMAR: &str = "\
A chat's id says what the chat does:

  done  error                   a sync of 3 s, then SYNC_DONE or SYNC_ERROR
  done-in-30s  error-in-1500ms  the same, of that length (ms, s, m, h)
  deleted  deleted-in-5s        CHAT_DELETED for ever, at once or after a sync
  anything else                 a sync of 3 s, then SYNC_DONE

A trouble starts no sync:

  resource_not_found            any of the documented types, as its envelope
  503  429  404                 an HTTP status, 300 to 599, without an envelope
  html  empty  truncated        a 200 that is not the documented JSON
  wrong-chat  wrong-chat-done   a 200 of another chat, in progress or over
  wrong-object  unknown-status  a 200 that is not as documented
  envelope-in-200               a 200 that holds an error envelope

  TROUBLE-retry-after-20s       with that Retry-After, in whole seconds
  TROUBLE-for-2-calls-then-ID   for the first 2 calls, then what ID says

  ID~anything                   the same under another id: done~1, done~2

Example: 503-for-2-calls-then-limit_exceeded-for-1-call-then-done-in-10s~7";

/// What a chat does from its first call on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    opening: Vec<Passing>,
    pub(super) plot: Plot,
}

/// A trouble that is over after some calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Passing {
    trouble: Trouble,
    calls: u64,
}

/// What a chat does once its opening is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plot {
    /// It syncs, each time that a sync is started.
    Sync { lasts: Duration, finish: Finish },
    /// It is deleted from the start.
    Gone,
    /// It never answers as it should.
    Trouble(Trouble),
}

/// An answer that starts nothing and ends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    pub(super) kind: TroubleKind,
    pub(super) retry_after: Option<Duration>,
}

/// What a trouble looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TroubleKind {
    /// A documented error, in its envelope.
    Error(&'static ErrorType),
    /// An HTTP status and nothing else.
    Status(u16),
    /// A 200 that cannot be believed.
    Odd(Oddity),
}

/// What is wrong with a 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oddity {
    Html,
    Empty,
    Truncated,
    WrongChat,
    WrongChatDone,
    WrongObject,
    UnknownStatus,
    EnvelopeIn200,
}

/// The odd answers by name.
pub(super) const ODDITIES: [(&str, Oddity); 8] = [
    ("html", Oddity::Html),
    ("empty", Oddity::Empty),
    ("truncated", Oddity::Truncated),
    ("wrong-chat", Oddity::WrongChat),
    ("wrong-chat-done", Oddity::WrongChatDone),
    ("wrong-object", Oddity::WrongObject),
    ("unknown-status", Oddity::UnknownStatus),
    ("envelope-in-200", Oddity::EnvelopeIn200),
];

/// Finds a documented error by its name, `errors/` left out.
pub fn documented_error(name: &str) -> Option<&'static ErrorType> {
    ERROR_TYPES.iter().find(|error| error.kind.strip_prefix("errors/") == Some(name))
}

impl Script {
    /// The script of a chat, an ordinary sync if its id says nothing.
    pub(super) fn of(chat: &ChatId) -> Self {
        let (name, _suffix) = chat.as_str().split_once('~').unwrap_or((chat.as_str(), ""));
        Self::parse(name).unwrap_or_else(|| Self { opening: Vec::new(), plot: ordinary(Finish::Done) })
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts: Vec<&str> = name.split("-then-").collect();
        let plot = Plot::parse(parts.pop()?)?;
        let opening = parts.into_iter().map(Passing::parse).collect::<Option<_>>()?;
        Some(Self { opening, plot })
    }

    /// The trouble that meets the chat's call after `answered` others, if the opening is not over yet.
    pub(super) fn opening_trouble(&self, answered: u64) -> Option<Trouble> {
        let mut end: u64 = 0;
        for passing in &self.opening {
            end = end.saturating_add(passing.calls);
            if answered < end {
                return Some(passing.trouble);
            }
        }
        None
    }
}

impl Passing {
    fn parse(part: &str) -> Option<Self> {
        let (trouble, calls) = part.rsplit_once("-for-")?;
        let count = calls.strip_suffix("-calls").or_else(|| calls.strip_suffix("-call"))?;
        Some(Self { trouble: Trouble::parse(trouble)?, calls: count.parse().ok()? })
    }
}

impl Plot {
    fn parse(part: &str) -> Option<Self> {
        if part == "deleted" {
            return Some(Self::Gone);
        }
        Self::parse_sync(part).or_else(|| Trouble::parse(part).map(Self::Trouble))
    }

    fn parse_sync(part: &str) -> Option<Self> {
        let (ending, time) = match part.split_once("-in-") {
            Some((ending, time)) => (ending, Some(time)),
            None => (part, None),
        };
        let finish = match ending {
            "done" => Finish::Done,
            "error" => Finish::Error,
            "deleted" => Finish::Deleted,
            _ => return None,
        };
        match time {
            Some(time) => Some(Self::Sync { lasts: parse_duration(time)?, finish }),
            None => Some(ordinary(finish)),
        }
    }
}

fn ordinary(finish: Finish) -> Plot {
    Plot::Sync { lasts: ORDINARY_SYNC, finish }
}

impl Trouble {
    pub(super) fn status(status: u16) -> Self {
        Self { kind: TroubleKind::Status(status), retry_after: None }
    }

    fn parse(part: &str) -> Option<Self> {
        let (name, retry_after) = match part.split_once("-retry-after-") {
            Some((name, time)) => (name, Some(parse_whole_seconds(time)?)),
            None => (part, None),
        };
        Some(Self { kind: TroubleKind::parse(name)?, retry_after })
    }
}

/// `Retry-After` has no fractions.
fn parse_whole_seconds(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|time| time.subsec_nanos() == 0)
}

impl TroubleKind {
    fn parse(name: &str) -> Option<Self> {
        if let Some(error) = documented_error(name) {
            return Some(Self::Error(error));
        }
        if let Some((_, oddity)) = ODDITIES.into_iter().find(|(known, _)| *known == name) {
            return Some(Self::Odd(oddity));
        }
        let status = name.parse().ok()?;
        (300..600).contains(&status).then_some(Self::Status(status))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn script(id: &str) -> Script {
        Script::of(&ChatId::parse(id).unwrap())
    }

    fn sync(finish: Finish, milliseconds: u64) -> Plot {
        Plot::Sync { lasts: Duration::from_millis(milliseconds), finish }
    }

    fn error(name: &str) -> Trouble {
        Trouble { kind: TroubleKind::Error(documented_error(name).unwrap()), retry_after: None }
    }

    #[test]
    fn an_id_says_what_its_chat_does() {
        for (id, plot) in [
            ("done", sync(Finish::Done, 3_000)),
            ("error", sync(Finish::Error, 3_000)),
            ("deleted", Plot::Gone),
            ("done-in-30s", sync(Finish::Done, 30_000)),
            ("done-in-0s", sync(Finish::Done, 0)),
            ("error-in-1500ms", sync(Finish::Error, 1_500)),
            ("deleted-in-5m", sync(Finish::Deleted, 300_000)),
            ("done-in-2h~1~2", sync(Finish::Done, 7_200_000)),
            ("resource_not_found", Plot::Trouble(error("resource_not_found"))),
            ("resource_not_found~7", Plot::Trouble(error("resource_not_found"))),
            ("503", Plot::Trouble(Trouble::status(503))),
            ("302~x", Plot::Trouble(Trouble::status(302))),
        ] {
            assert_eq!(script(id), Script { opening: vec![], plot }, "{id}");
        }
        for (name, oddity) in ODDITIES {
            assert_eq!(script(name).plot, Plot::Trouble(Trouble { kind: TroubleKind::Odd(oddity), retry_after: None }));
        }
    }

    #[test]
    fn an_id_outside_the_grammar_is_an_ordinary_chat() {
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
            assert_eq!(script(id), Script { opening: vec![], plot: sync(Finish::Done, 3_000) }, "{id}");
        }
    }

    #[test]
    fn troubles_pass_in_the_order_they_are_named() {
        let script = script("503-for-2-calls-then-limit_exceeded-retry-after-5s-for-1-call-then-done-in-1s~7");
        let limit = Trouble { retry_after: Some(Duration::from_secs(5)), ..error("limit_exceeded") };
        let expected = [Some(Trouble::status(503)), Some(Trouble::status(503)), Some(limit), None, None];
        for (answered, trouble) in (0..).zip(expected) {
            assert_eq!(script.opening_trouble(answered), trouble, "{answered}");
        }
        assert_eq!(script.plot, sync(Finish::Done, 1_000));
    }

    #[test]
    fn the_examples_for_people_are_in_the_grammar() {
        for line in GRAMMAR.lines() {
            assert!(line.len() <= 80, "a terminal would wrap {line:?}");
            let Some(column) = line.strip_prefix("  ").and_then(|line| line.get(..30)) else {
                continue;
            };
            let ids = column.split("  ").map(str::trim).filter(|id| !id.is_empty() && *id != "anything else");
            for id in ids {
                let id = id.replace("TROUBLE", "html").replace("ID", "done").replace("~anything", "");
                assert!(Script::parse(&id).is_some(), "{id}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_chat_has_a_script(id in "\\PC{1,60}", calls: u64) {
            if let Ok(chat) = ChatId::parse(&id) {
                Script::of(&chat).opening_trouble(calls);
            }
        }

        #[test]
        fn what_looks_like_the_grammar_has_a_script_too(
            id in "(503|html|limit_exceeded)?(-retry-after-)?[0-9]{0,30}(h|s)?(-for-)?[0-9]{0,25}(-calls-then-){0,3}(done|error)?(-in-)?[0-9]{0,30}(ms|h)?"
        ) {
            if let Ok(chat) = ChatId::parse(&id) {
                Script::of(&chat).opening_trouble(u64::MAX);
            }
        }
    }
}
