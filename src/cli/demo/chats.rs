//! The chats and the account of the demo, and what each shows.

use std::time::Duration;

use crate::ids::{Subject, SubjectKind};

/// One chat of the demo, or its account.
pub(super) struct DemoChat {
    /// Which of the two it is.
    kind: SubjectKind,
    /// Its id, which selects its behaviour in the simulator.
    pub(super) chat_id: &'static str,
    /// What it shows.
    pub(super) shows: &'static str,
    /// The `detail-type` that its one event should have.
    pub(super) ending: &'static str,
    /// How many syncs its run starts.
    pub(super) syncs: u64,
    /// When its triggers are sent, from the start.
    pub(super) triggers: &'static [Duration],
}

impl DemoChat {
    const fn new(chat_id: &'static str, shows: &'static str, ending: &'static str, syncs: u64) -> Self {
        Self { kind: SubjectKind::Chat, chat_id, shows, ending, syncs, triggers: &[Duration::ZERO] }
    }

    /// The distinguishing part of its id.
    pub(super) fn short_name(&self) -> &'static str {
        self.chat_id.split_once('~').map_or(self.chat_id, |(_, name)| name)
    }

    /// The body of its trigger.
    pub(super) fn trigger(&self) -> String {
        serde_json::json!({ self.kind.id_field(): self.chat_id }).to_string()
    }

    /// Whether this text contains the chat's id, as the body of a message about it does.
    pub(super) fn is_named_in(&self, text: &str) -> bool {
        text.contains(self.chat_id)
    }
}

/// The chat whose trigger SQS delivers again after it was deleted.
pub(super) const DELIVERED_TWICE: DemoChat =
    DemoChat::new("done-in-1s~delivered-twice", "a repeated delivery", "SYNC_DONE", 1);
/// How long after the deletion it is redelivered.
pub(super) const DELIVERED_AGAIN_AFTER: Duration = Duration::from_secs(4);

/// The chat whose handler is killed before it publishes the ending.
pub(super) const KILLED: DemoChat = DemoChat::new("done-in-1s~killed", "a killed handler", "SYNC_DONE", 1);

/// All of them.
pub(super) const CHATS: [DemoChat; 10] = [
    DemoChat::new("done-in-1s~short", "an ordinary sync", "SYNC_DONE", 1),
    DemoChat::new("done-in-6s~long", "a long one", "SYNC_DONE", 1),
    DemoChat::new("error-in-1s~failing", "postpress gives up", "SYNC_ERROR", 1),
    DemoChat::new("deleted~gone", "the chat is gone", "CHAT_DELETED", 0),
    DemoChat::new("resource_not_found~typo", "a terminal error", "ERROR_ENVELOPE", 0),
    DemoChat::new("service_unavailable-for-2-calls-then-done-in-1s~flaky", "two 503s, then done", "SYNC_DONE", 1),
    DemoChat {
        triggers: &[Duration::ZERO, Duration::from_millis(800)],
        ..DemoChat::new("done-in-2s~asked-twice", "a second trigger", "SYNC_DONE", 1)
    },
    DELIVERED_TWICE,
    KILLED,
    DemoChat {
        kind: SubjectKind::Account,
        ..DemoChat::new("done-in-3-chunks-of-1s~account", "an account, 3 chunks", "SYNC_DONE", 1)
    },
];

/// The id of a demo chat.
///
/// # Panics
/// Never: a test parses all of them.
pub(super) fn chat_id(chat: &DemoChat) -> Subject {
    Subject::new(chat.kind, chat.chat_id).expect("the ids are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_valid_and_names_no_other_chat() {
        for (index, chat) in CHATS.iter().enumerate() {
            let trigger = chat.trigger();
            assert!(trigger.contains(chat_id(chat).id()));
            let named: Vec<usize> = (0..CHATS.len()).filter(|other| CHATS[*other].is_named_in(&trigger)).collect();
            assert_eq!(named, [index]);
        }
    }
}
