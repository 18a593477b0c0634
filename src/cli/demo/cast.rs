//! The chats of the demo, and what each is there to show.

use std::time::Duration;

use crate::ids::ChatId;

/// One chat of the demo.
pub(super) struct Part {
    /// Its id, in which the simulator reads what it does.
    pub(super) chat_id: &'static str,
    /// What it shows.
    pub(super) shows: &'static str,
    /// The `detail-type` that its one event should have.
    pub(super) ending: &'static str,
    /// How many syncs its one run starts.
    pub(super) syncs: u64,
    /// When its triggers are sent, from the beginning.
    pub(super) triggers: &'static [Duration],
}

impl Part {
    const fn new(chat_id: &'static str, shows: &'static str, ending: &'static str, syncs: u64) -> Self {
        Self { chat_id, shows, ending, syncs, triggers: &[Duration::ZERO] }
    }

    /// The part of its id that tells it from the others.
    pub(super) fn short_name(&self) -> &'static str {
        self.chat_id.split_once('~').map_or(self.chat_id, |(_, name)| name)
    }

    /// The body of its trigger.
    pub(super) fn trigger(&self) -> String {
        serde_json::json!({ "chat_id": self.chat_id }).to_string()
    }

    /// Whether this text names the chat: the body of a message about it, which holds the id as it stands.
    pub(super) fn is_named_in(&self, text: &str) -> bool {
        text.contains(self.chat_id)
    }
}

/// The one whose trigger SQS delivers again, although it was deleted.
pub(super) const DELIVERED_TWICE: Part =
    Part::new("done-in-1s~delivered-twice", "SQS delivers its trigger again, after the end", "SYNC_DONE", 1);
/// How long after the deletion.
pub(super) const DELIVERED_AGAIN_AFTER: Duration = Duration::from_secs(4);

/// The one whose handler is killed when it is about to publish the ending.
pub(super) const KILLED: Part =
    Part::new("done-in-1s~killed", "its handler is killed before it can publish", "SYNC_DONE", 1);

/// Everybody.
pub(super) const CAST: [Part; 9] = [
    Part::new("done-in-1s~short", "an ordinary sync", "SYNC_DONE", 1),
    Part::new("done-in-6s~long", "a long one: polls grow apart", "SYNC_DONE", 1),
    Part::new("error-in-1s~failing", "the provider gives up", "SYNC_ERROR", 1),
    Part::new("deleted~gone", "the chat is no longer there", "CHAT_DELETED", 0),
    Part::new("resource_not_found~typo", "an error that is final", "ERROR_ENVELOPE", 0),
    Part::new("service_unavailable-for-2-calls-then-done-in-1s~flaky", "two 503s, which pass", "SYNC_DONE", 1),
    Part {
        triggers: &[Duration::ZERO, Duration::from_millis(800)],
        ..Part::new("done-in-2s~asked-twice", "a second trigger joins the run", "SYNC_DONE", 1)
    },
    DELIVERED_TWICE,
    KILLED,
];

/// The id of a part's chat.
///
/// # Panics
/// Never: a test parses them all.
pub(super) fn chat_id(part: &Part) -> ChatId {
    ChatId::parse(part.chat_id).expect("the cast has sound ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_sound_and_names_no_other_part() {
        for (index, part) in CAST.iter().enumerate() {
            let trigger = part.trigger();
            assert!(trigger.contains(chat_id(part).as_str()));
            let named: Vec<usize> = (0..CAST.len()).filter(|other| CAST[*other].is_named_in(&trigger)).collect();
            assert_eq!(named, [index]);
        }
    }
}
