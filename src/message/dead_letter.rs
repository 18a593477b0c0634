//! Decides what to do with each message of the dead-letter queue. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Message, Record, TriggerBody};
use crate::ids::TriggerKey;
use crate::run::TriggerMessage;

/// What kind of message a dead letter is, in the order of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A request to sync a chat.
    Trigger,
    /// A poll that carries an ending that could not be written: it exists nowhere else.
    PollWithAnswer,
    /// An invalid trigger. The worker answers one with an event, which a dead letter never got.
    Invalid,
    /// A request to cancel a run.
    Cancel,
    /// Any other poll.
    Poll,
    /// The message of the sweep's schedule.
    Sweep,
    /// One of the bridge's own events.
    OwnEvent,
    /// One of the bridge's own messages, but malformed.
    Malformed,
    /// One of the bridge's own messages, of a version that this program does not know.
    Newer,
}

/// What is done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Send it to the queue again.
    Send,
    /// Delete it.
    Drop,
    /// Leave it in the dead-letter queue.
    Leave,
}

impl MessageKind {
    /// What is done with its messages.
    pub fn action(self) -> Action {
        match self {
            Self::Trigger | Self::PollWithAnswer | Self::Invalid => Action::Send,
            Self::Cancel | Self::Poll | Self::Sweep | Self::OwnEvent | Self::Malformed => Action::Drop,
            Self::Newer => Action::Leave,
        }
    }

    /// Its name for people, what is done with it, and why.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Trigger => ("triggers", "sent again under their first keys: one that was accepted restarts nothing"),
            Self::PollWithAnswer => ("polls with an answer", "sent again: the fence decides whether they still count"),
            Self::Invalid => ("invalid messages", "sent again, so that each gets its event"),
            Self::Cancel => ("cancels", "dropped: sent again, one could end a run that began after it"),
            Self::Poll => ("polls", "dropped: the sweep has replaced them"),
            Self::Sweep => ("sweeps", "dropped: the schedule sends new ones"),
            Self::OwnEvent => ("the bridge's own events", "dropped: answering them would loop"),
            Self::Malformed => ("malformed messages", "dropped: the worker would drop them too"),
            Self::Newer => ("of a newer version", "left: redrive them with a newer postpress-bridge"),
        }
    }
}

/// A dead letter, and the body to send in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message as received from the dead-letter queue.
    pub record: Record,
    /// Its kind.
    pub kind: MessageKind,
    /// What is sent in its place, if it is sent again.
    pub body: String,
}

impl DeadLetter {
    /// Classifies a dead letter. `event_source` is the `source` of the bridge's own events.
    pub fn of(record: Record, event_source: &str) -> Self {
        let (kind, body) = match Message::parse(&record, event_source) {
            Message::Trigger(trigger) => (MessageKind::Trigger, with_first_key(&record, trigger)),
            Message::Cancel(_) => (MessageKind::Cancel, String::new()),
            Message::Poll(poll) if poll.answer.is_some() => (MessageKind::PollWithAnswer, record.body.clone()),
            Message::Poll(_) => (MessageKind::Poll, String::new()),
            Message::Sweep => (MessageKind::Sweep, String::new()),
            Message::OwnEvent => (MessageKind::OwnEvent, String::new()),
            Message::Malformed { .. } => (MessageKind::Malformed, String::new()),
            Message::Newer { .. } => (MessageKind::Newer, String::new()),
            Message::Invalid(_) => (MessageKind::Invalid, record.body.clone()),
        };
        Self { record, kind, body }
    }

    /// What is done with it.
    pub fn action(&self) -> Action {
        self.kind.action()
    }
}

/// The body under which the trigger keeps its first key, although SQS gives the new message a new id.
///
/// A key in the body, the producer's or the wrapping event's, is sent again with the same bytes. A key that was the message id
/// has to be written into the body; SQS keeps the id when it moves a message to the dead-letter queue.
fn with_first_key(record: &Record, message: TriggerMessage) -> String {
    let message_id = record.message_id.as_str();
    if message.key != TriggerKey::of(message_id) {
        return record.body.clone();
    }
    TriggerBody { idempotency_key: Some(message_id.to_owned()), ..TriggerBody::of(message) }.to_body()
}

/// One line of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The kind of messages.
    pub kind: MessageKind,
    /// How many there are.
    pub count: usize,
    /// What is done with them.
    #[serde(rename = "fate")]
    pub action: Action,
}

/// The number of messages of each kind present.
pub fn lines(letters: &[DeadLetter]) -> Vec<Line> {
    let mut counts: BTreeMap<MessageKind, usize> = BTreeMap::new();
    for letter in letters {
        *counts.entry(letter.kind).or_default() += 1;
    }
    counts.into_iter().map(|(kind, count)| Line { kind, count, action: kind.action() }).collect()
}

/// The number of messages with this action.
pub fn count(letters: &[DeadLetter], action: Action) -> usize {
    letters.iter().filter(|letter| letter.action() == action).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{ClaimId, MessageId, RunId, Subject};
    use crate::message::{OwnMessage, SWEEP_BODY};
    use crate::postpress::Finish;
    use crate::run::{EndedBy, Ending, Outcome, Poll};
    use crate::time::Millis;

    const SOURCE: &str = "postpress.bridge";

    fn record(id: &str, body: &str) -> Record {
        Record {
            message_id: MessageId::new(id),
            receipt_handle: "r".to_owned(),
            body: body.to_owned(),
            sent_at: Millis(1_795_514_400_000),
            receive_count: 11,
            trace: None,
            group: None,
        }
    }

    fn letter(body: &str) -> DeadLetter {
        DeadLetter::of(record("m-1", body), SOURCE)
    }

    fn poll(answer: Option<Outcome>) -> String {
        let (run_id, claim_id) = (RunId::from_random(1), ClaimId::from_random(2));
        Poll { subject: Subject::chat("c").unwrap(), run_id, claim_id, learned: None, answer, group: None }.to_body()
    }

    /// A trigger that waits, whose first message was `m-0`.
    fn waiting() -> String {
        let first = trigger(&record("m-0", r#"{"chat_id": "c", "after_request": true}"#));
        OwnMessage::Waiting(TriggerMessage { waits: 3, ..first }).to_body_due_at(Millis(7))
    }

    #[test]
    fn a_trigger_that_waits_is_sent_again_whole() {
        let letter = letter(&waiting());
        assert_eq!(letter.body, waiting());
        let again = trigger(&record("m-2", &letter.body));
        assert_eq!((again.key, again.waits), (TriggerKey::of("m-0"), 3));
    }

    fn trigger(record: &Record) -> TriggerMessage {
        match Message::parse(record, SOURCE) {
            Message::Trigger(trigger) => trigger,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_has_its_action() {
        let answer = Outcome {
            ending: Ending::Sync { status: Finish::Done },
            ended_by: EndedBy::Answer,
            finished_at: Millis(1_795_514_400_000),
        };
        let own_event = json!({"source": SOURCE, "detail-type": "SYNC_DONE", "detail": {}}).to_string();
        for (body, kind, action) in [
            (r#"{"chat_id": "c"}"#, MessageKind::Trigger, Action::Send),
            (&poll(Some(answer)), MessageKind::PollWithAnswer, Action::Send),
            ("hello", MessageKind::Invalid, Action::Send),
            (&waiting(), MessageKind::Trigger, Action::Send),
            (r#"{"action": "cancel", "chat_id": "c"}"#, MessageKind::Cancel, Action::Drop),
            (&poll(None), MessageKind::Poll, Action::Drop),
            (SWEEP_BODY, MessageKind::Sweep, Action::Drop),
            (&own_event, MessageKind::OwnEvent, Action::Drop),
            (r#"{"postpress_bridge": "poll", "v": 1}"#, MessageKind::Malformed, Action::Drop),
            (r#"{"postpress_bridge": "poll", "v": 2}"#, MessageKind::Newer, Action::Leave),
        ] {
            let letter = letter(body);
            assert_eq!((letter.kind, letter.action()), (kind, action), "{body}");
            let is_changed = action == Action::Send && kind != MessageKind::Trigger && letter.body != body;
            assert!(!is_changed, "{body} became {}", letter.body);
        }
    }

    #[test]
    fn trigger_keeps_its_first_key_under_a_new_message_id() {
        let event = |id: &str, detail: serde_json::Value| json!({"id": id, "detail-type": "ChatOpened", "source": "crm", "detail": detail});
        let without_id = json!({"detail-type": "ChatOpened", "source": "crm", "detail": {"chat_id": "c"}});
        let sns = json!({"Type": "Notification", "MessageId": "sns-1", "Message": r#"{"chat_id": "c"}"#});
        for body in [
            json!({"chat_id": "c"}),
            json!({"chat_id": "c", "idempotency_key": null, "correlation_id": "o-1"}),
            json!({"account_id": "a", "resync": {"after": 7}}),
            json!({"chat_id": "c", "idempotency_key": "crm-1"}),
            event("eb-1", json!({"chat_id": "c"})),
            event("eb-1", json!({"chat_id": "c", "idempotency_key": "crm-1"})),
            // Longer than an idempotency key may be: it could not be written into a plain trigger.
            event(&"e".repeat(300), json!({"chat_id": "c"})),
            without_id,
            sns,
        ] {
            let first = record("m-1", &body.to_string());
            let sent_again = record("m-2", &DeadLetter::of(first.clone(), SOURCE).body);
            assert_eq!(trigger(&sent_again).key, trigger(&first).key, "{body}");
            assert_eq!(trigger(&sent_again).trigger.correlation_id, trigger(&first).trigger.correlation_id);
            assert_eq!(trigger(&sent_again).subject, trigger(&first).subject);
            assert_eq!(trigger(&sent_again).resync, trigger(&first).resync);
            let dead_again = record("m-3", &DeadLetter::of(sent_again, SOURCE).body);
            assert_eq!(trigger(&dead_again).key, trigger(&first).key, "{body}, a second time");
        }
    }

    #[test]
    fn metadata_is_sent_again_byte_for_byte() {
        let metadata = r#"{"b":0.1000, "é":"\u00e9"}"#;
        let letter = letter(&format!(r#"{{"chat_id": "c", "metadata": {metadata}}}"#));
        assert!(letter.body.contains(metadata) && letter.body.contains("m-1"), "{}", letter.body);
    }

    #[test]
    fn plan_counts_the_messages_of_each_kind() {
        let letters = ["hello", SWEEP_BODY, r#"{"chat_id": "c"}"#, SWEEP_BODY].map(letter);
        let lines: Vec<_> = lines(&letters).into_iter().map(|line| (line.kind, line.count)).collect();
        assert_eq!(lines, [(MessageKind::Trigger, 1), (MessageKind::Invalid, 1), (MessageKind::Sweep, 2)]);
        assert_eq!([Action::Send, Action::Drop, Action::Leave].map(|action| count(&letters, action)), [2, 2, 0]);
    }
}
