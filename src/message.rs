//! Messages on the queue: triggers (plain, or wrapped by EventBridge or SNS), and the bridge's own polls and sweeps.
//!
//! Everything is validated here, once; the rest of the code can rely on a [`Message`].

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::{MessageGroup, MessageId};
use crate::run::{Cancel, InvalidTrigger, Outcome, Poll, PollState, TriggerMessage};
use crate::text::bounded;
use crate::time::Millis;
use crate::trace::TraceHeader;

pub mod dead_letter;
mod layer;
mod trigger;

use trigger::Waiting;
pub use trigger::{Action, TriggerBody};

/// The version of our own messages that this program writes, and the newest that it reads.
pub const VERSION: u64 = 1;
/// The maximum length of an invalid body in its event, in bytes.
pub const INPUT_MAX_BYTES: usize = 8 * 1024;

/// One SQS record, as the event source mapping delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The same at every redelivery.
    pub message_id: MessageId,
    /// New at every receive; deletes the message or changes its visibility.
    pub receipt_handle: String,
    /// The message's text.
    pub body: String,
    /// `SentTimestamp`: when SQS accepted the message.
    pub sent_at: Millis,
    /// `ApproximateReceiveCount`: 1 at the first delivery.
    pub receive_count: u32,
    /// `AWSTraceHeader`: the trace it belongs to, if the sender set one.
    pub trace: Option<TraceHeader>,
    /// `MessageGroupId`: the tenant it belongs to, if the sender set one.
    pub group: Option<MessageGroup>,
}

impl Record {
    /// The trace of everything that follows from this message.
    pub fn trace(&self) -> TraceHeader {
        self.trace.clone().unwrap_or_else(|| TraceHeader::of_message(&self.message_id, self.sent_at))
    }

    /// When the message is due: the time that our own message carries, otherwise the time it was sent. Only metrics use it.
    pub fn due_at(&self) -> Millis {
        #[derive(Deserialize)]
        struct Due {
            #[serde(rename = "postpress_bridge")]
            _ours: IgnoredAny,
            due_at_ms: Millis,
        }
        serde_json::from_str(&self.body).map_or(self.sent_at, |Due { due_at_ms, .. }| due_at_ms)
    }
}

/// What a record contains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// A request to sync a chat or an account.
    Trigger(TriggerMessage),
    /// A request to end a run in flight.
    Cancel(Cancel),
    /// Our own request to look at a run again.
    Poll(Poll),
    /// The schedule's request to find lost runs.
    Sweep,
    /// One of our own events, delivered as a message. Answering it would cause an endless loop.
    OwnEvent,
    /// One of our own messages, in a version that this program does not know yet.
    Newer {
        /// Its version.
        version: u64,
    },
    /// A malformed message of our own.
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else.
    Invalid(InvalidTrigger),
}

/// A message that the bridge sends to itself while it handles one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnMessage {
    /// Continues a run.
    Poll(Poll),
    /// A trigger that waits for a run in flight.
    Waiting(TriggerMessage),
}

impl OwnMessage {
    /// The body of a message sent with a delay. It carries the due time, since SQS does not report it. Only
    /// [`Record::due_at`] reads it.
    pub fn to_body_due_at(&self, due_at: Millis) -> String {
        match self {
            Self::Poll(poll) => own_body("poll", poll, Some(due_at)),
            Self::Waiting(message) => own_body("trigger", &Waiting::of(message.clone()), Some(due_at)),
        }
    }
}

impl OwnMessage {
    /// The tenant that the message belongs to.
    pub fn group(&self) -> Option<&MessageGroup> {
        match self {
            Self::Poll(poll) => poll.group.as_ref(),
            Self::Waiting(message) => message.group.as_ref(),
        }
    }
}

impl Poll {
    /// The message's body.
    pub fn to_body(&self) -> String {
        own_body("poll", self, None)
    }
}

fn own_body(kind: &'static str, message: &impl Serialize, due_at_ms: Option<Millis>) -> String {
    #[derive(Serialize)]
    struct Body<'a, T> {
        postpress_bridge: &'static str,
        v: u64,
        #[serde(flatten)]
        message: &'a T,
        #[serde(skip_serializing_if = "Option::is_none")]
        due_at_ms: Option<Millis>,
    }
    let body = Body { postpress_bridge: kind, v: VERSION, message, due_at_ms };
    acceptable_to_sqs(&serde_json::to_string(&body).expect("our own messages are plain data"))
}

/// Escapes the two characters that SQS rejects; in JSON they can only occur inside a string.
fn acceptable_to_sqs(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// The body of a sweep message, as the schedule sends it.
pub const SWEEP_BODY: &str = r#"{"postpress_bridge": "sweep", "v": 1}"#;

impl Message {
    /// Reads a record. `event_source` is the `source` of our own events, which are never triggers.
    pub fn parse(record: &Record, event_source: &str) -> Self {
        let mut message = own(&record.body).unwrap_or_else(|| trigger::parse(record, event_source));
        if let Self::Trigger(TriggerMessage { group, .. }) | Self::Poll(Poll { group, .. }) = &mut message {
            group.clone_from(&record.group);
        }
        message
    }
}

/// Reads one of our own messages; `None` if the body is not a JSON object with our marker.
fn own(body: &str) -> Option<Message> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        postpress_bridge: Option<&'a RawValue>,
        #[serde(borrow)]
        v: Option<&'a RawValue>,
    }
    if !body.trim_start().starts_with('{') {
        return None; // serde would also deserialize a struct from an array
    }
    let Head { postpress_bridge, v } = serde_json::from_str(body).ok()?;
    let kind: serde_json::Value = serde_json::from_str(postpress_bridge?.get()).ok()?;
    let malformed = |reason: String| Message::Malformed { reason: bounded(reason, 512).0 };
    Some(match (kind.as_str(), v.and_then(|v| version(v.get()))) {
        (_, None) => malformed("`v` is not a whole number".to_owned()),
        (_, Some(version)) if version > VERSION => Message::Newer { version },
        (Some("sweep"), _) => Message::Sweep,
        (Some("poll"), _) => match serde_json::from_str::<Poll>(body) {
            Ok(poll) => Message::Poll(Poll {
                learned: poll.learned.map(PollState::bounded),
                answer: poll.answer.map(Outcome::bounded),
                ..poll
            }),
            Err(error) => malformed(error.to_string()),
        },
        (Some("trigger"), _) => {
            let waiting = serde_json::from_str::<Waiting<&RawValue>>(body).map_err(|error| error.to_string());
            waiting.and_then(Waiting::into_message).map_or_else(malformed, Message::Trigger)
        }
        _ => malformed("`postpress_bridge` is not \"poll\", \"trigger\" or \"sweep\"".to_owned()),
    })
}

/// A version is a whole number from 1 up; one that is too large to parse is certainly newer.
fn version(json: &str) -> Option<u64> {
    let is_whole = json.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| json.parse().unwrap_or(u64::MAX)).filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{ClaimId, RunId, Subject, Workspace};
    use crate::postpress::{Envelope, Finish};
    use crate::run::{EndedBy, Ending, Origin, arbitrary};

    fn record(body: &str) -> Record {
        Record {
            message_id: MessageId::new("m-1"),
            receipt_handle: "r-1".to_owned(),
            body: body.to_owned(),
            sent_at: Millis(1_795_514_400_000),
            receive_count: 1,
            trace: None,
            group: None,
        }
    }

    fn parse(body: &str) -> Message {
        Message::parse(&record(body), "postpress.bridge")
    }

    fn poll() -> Poll {
        Poll {
            subject: Subject::chat("c").unwrap(),
            run_id: RunId::from_random(1),
            claim_id: ClaimId::from_random(2),
            learned: Some(PollState { failures: 2, ..PollState::default() }),
            answer: None,
            group: None,
        }
    }

    #[test]
    fn a_poll_round_trips() {
        let plain = poll();
        assert_eq!(parse(&plain.to_body()), Message::Poll(plain.clone()));

        let outcome = Outcome {
            ending: Ending::Sync { status: Finish::Done },
            ended_by: EndedBy::Answer,
            finished_at: Millis(1_795_514_400_123),
        };
        let with_answer = Poll { learned: None, answer: Some(outcome), ..plain };
        assert_eq!(parse(&with_answer.to_body()), Message::Poll(with_answer));
    }

    proptest! {
        #[test]
        fn every_poll_round_trips(poll in arbitrary::poll()) {
            let body = poll.to_body();
            let is_refused = body.contains(['\u{fffe}', '\u{ffff}']);
            prop_assert!(!is_refused);
            prop_assert_eq!(parse(&body), Message::Poll(poll));
        }
    }

    #[test]
    fn provider_text_in_a_poll_is_truncated_to_fit_an_item() {
        let long = || Envelope {
            title: "é".repeat(10_000),
            detail: Some("é".repeat(10_000)),
            instance: None,
            kind: "errors/x".to_owned(),
            status: 503,
        };
        let ending = Ending::Error { error: long(), origin: Origin::Postpress };
        let outcome = Outcome { ending, ended_by: EndedBy::Retries, finished_at: Millis(1_795_514_400_123) };
        let learned = PollState { envelope: Some(long().into()), ..PollState::default() };
        let poll = Poll { learned: Some(learned.clone()), answer: Some(outcome.clone()), ..poll() };
        let cut = Poll { learned: Some(learned.bounded()), answer: Some(outcome.bounded()), ..poll.clone() };
        assert!(cut.to_body().len() < 20_000, "{}", cut.to_body().len());
        assert_eq!(parse(&poll.to_body()), Message::Poll(cut));
    }

    #[test]
    fn a_poll_escapes_characters_that_sqs_rejects() {
        let poll = Poll { subject: Subject::chat("a\u{fffe}b\u{ffff}").unwrap(), ..poll() };
        let body = poll.to_body();
        assert!(!body.contains(['\u{fffe}', '\u{ffff}']));
        assert_eq!(parse(&body), Message::Poll(poll));
    }

    #[test]
    fn a_poll_has_the_documented_wire_format() {
        insta::assert_snapshot!(poll().to_body(), @r#"{"postpress_bridge":"poll","v":1,"chat_id":"c","run_id":"00000000-0000-4000-8000-000000000001","claim_id":"00000000000000000000000000000002","learned":{"failures":2}}"#);
    }

    #[test]
    fn own_messages_of_another_workspace_name_it() {
        let subject = Subject::chat("c").unwrap().in_workspace(Workspace::parse("w").unwrap());
        let poll = Poll { subject: subject.clone(), ..poll() };
        assert!(poll.to_body().contains(r#""chat_id":"c","workspace":"w""#), "{}", poll.to_body());
        assert_eq!(parse(&poll.to_body()), Message::Poll(poll));

        let waiting = TriggerMessage { subject, ..waiting() };
        let body = OwnMessage::Waiting(waiting.clone()).to_body_due_at(Millis(7));
        assert!(body.contains(r#""trigger":{"chat_id":"c","workspace":"w""#), "{body}");
        assert_eq!(parse(&body), Message::Trigger(waiting));
    }

    #[test]
    fn a_poll_carries_its_due_time_and_a_trigger_is_due_when_sent() {
        let sent_at = record("").sent_at;
        let due_at = Millis(sent_at.0 + 45_000);
        let body = OwnMessage::Poll(poll()).to_body_due_at(due_at);
        assert_eq!((record(&body).due_at(), parse(&body)), (due_at, Message::Poll(poll())));
        for body in [&*poll().to_body(), SWEEP_BODY, r#"{"chat_id": "c", "due_at_ms": 7}"#, "{"] {
            assert_eq!(record(body).due_at(), sent_at, "{body}");
        }
    }

    /// A trigger that waits, from its first message.
    fn waiting() -> TriggerMessage {
        let metadata = r#"{"b":0.1000, "é":"\u00e9"}"#;
        let body = format!(
            r#"{{"chat_id": "c", "correlation_id": "o-1", "metadata": {metadata}, "fresh_for_seconds": 60, "after_request": true}}"#
        );
        match parse(&body) {
            Message::Trigger(message) => TriggerMessage { waits: 3, ..message },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_trigger_that_waits_round_trips_under_its_first_key_id_and_time() {
        let body = OwnMessage::Waiting(waiting()).to_body_due_at(Millis(7));
        let later = Record { message_id: MessageId::new("m-2"), sent_at: Millis(1_795_600_000_000), ..record(&body) };
        assert_eq!(Message::parse(&later, "postpress.bridge"), Message::Trigger(waiting()));
        assert_eq!(later.due_at(), Millis(7));
        insta::assert_snapshot!(body, @r#"{"postpress_bridge":"trigger","v":1,"key":"a461b472cb41a9ec","message_id":"m-1","requested_at":"2026-11-24T10:00:00.000Z","waits":3,"trigger":{"chat_id":"c","correlation_id":"o-1","metadata":{"b":0.1000, "é":"\u00e9"},"fresh_for_seconds":60,"after_request":true},"due_at_ms":7}"#);
    }

    #[test]
    fn a_broken_trigger_that_waits_is_malformed() {
        let body = OwnMessage::Waiting(waiting()).to_body_due_at(Millis(7));
        for (part, broken) in [
            (r#""waits":3"#, r#""waits":0"#.to_owned()),
            (r#""message_id":"m-1""#, format!(r#""message_id":"{}""#, "m".repeat(101))),
            (r#""chat_id":"c""#, r#""chat_id":"""#.to_owned()),
            (r#""chat_id":"c""#, r#""chat_id":"c","chat_id":"d""#.to_owned()),
            (r#""chat_id":"c""#, r#""chat_id":"c","action":"cancel""#.to_owned()),
            (r#""key":""#, r#""key":"z"#.to_owned()),
        ] {
            let broken = body.replacen(part, &broken, 1);
            assert_ne!(broken, body, "{part}");
            assert!(matches!(parse(&broken), Message::Malformed { .. }), "{broken}");
        }
    }

    #[test]
    fn unknown_fields_of_our_own_messages_are_ignored() {
        let body = poll().to_body().replacen('{', r#"{"since_v1_1": [1], "#, 1);
        assert_eq!(parse(&body), Message::Poll(poll()));
        assert_eq!(parse(r#"{"postpress_bridge": "sweep", "v": 1, "shard": 3}"#), Message::Sweep);
        assert_eq!(parse(SWEEP_BODY), Message::Sweep);
    }

    #[test]
    fn a_newer_own_message_is_not_malformed() {
        assert_eq!(parse(r#"{"postpress_bridge": "poll", "v": 2}"#), Message::Newer { version: 2 });
        assert_eq!(parse(r#"{"postpress_bridge": "audit", "v": 7}"#), Message::Newer { version: 7 });
        let beyond = r#"{"postpress_bridge": "poll", "v": 99999999999999999999}"#;
        assert_eq!(parse(beyond), Message::Newer { version: u64::MAX });
        for body in [
            r#"{"postpress_bridge": "poll", "v": 1}"#,
            r#"{"postpress_bridge": "poll"}"#,
            r#"{"postpress_bridge": "poll", "v": -1}"#,
            r#"{"postpress_bridge": "sweep", "v": 0}"#,
            r#"{"postpress_bridge": "poll", "v": "1"}"#,
            r#"{"postpress_bridge": "audit", "v": 1}"#,
            r#"{"postpress_bridge": {"deep": 1}, "v": 1}"#,
            &poll().to_body().replace("0002", "000z"),
            &poll().to_body().replace("\"c\"", "\"..\""),
        ] {
            assert!(matches!(parse(body), Message::Malformed { .. }), "{body}");
        }
    }
}
