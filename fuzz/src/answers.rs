//! What the provider, or whatever answers in its place, says to a call.
//!
//! An input is a line with the HTTP status and, after a space, the `Retry-After` header; what follows is the body.

use std::time::{Duration, SystemTime};

use postpress_bridge::event::Event;
use postpress_bridge::ids::ChatId;
use postpress_bridge::message::Message;
use postpress_bridge::postpress::answer::retry_after;
use postpress_bridge::postpress::{Answer, Disposition, Finish, Mask, Progress};
use postpress_bridge::run::{AfterCall, Item, Jitter, Learned, Phase, Schedule, after_call};
use serde_json::Value;

use super::run::{CHAT, NOW, active};
use super::wrapping::{EVENT_SOURCE, parse};

/// The key of the call, which the answer may echo and nothing may show.
pub const KEY: &str = "pp_live_hunter2";

/// # Panics
/// Where an answer leads to another call, or to an ending, against the contract, or shows the key.
pub fn check(input: &[u8]) {
    let Some((status, header, body)) = parts(input) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.0);
    let chat = ChatId::parse(CHAT).expect("it is one");
    let wait = header.and_then(|value| retry_after(value, now));
    let answer = Answer::from_response(&chat, status, wait, Ok(body), Mask::new(KEY));
    assert_is_hidden(&format!("{answer:?}"));
    // A parser that is not ours; where it refuses the body, ours may see more, but nothing that is believed.
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        assert_eq!(means(&answer), contract(status, &value), "{status} {value} is {answer:?}");
    }
    for before in [
        Learned::default(),
        Learned { breaches: 3, ..Learned::default() },
        Learned { key_retried: true, ..Learned::default() },
    ] {
        check_what_follows(&answer, before);
    }
}

/// The status, the header and the body of an input.
fn parts(input: &[u8]) -> Option<(u16, Option<&str>, &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&input[..end]).ok()?;
    let (status, header) = head.split_once(' ').map_or((head, None), |(status, header)| (status, Some(header)));
    let status = status.parse().ok().filter(|status| (100..=999).contains(status))?;
    Some((status, header, &input[end + 1..]))
}

/// What an answer means for its run.
#[derive(Debug, PartialEq, Eq)]
enum Means {
    InProgress(Progress),
    Over(Finish),
    Unusable,
    Passing,
    PassesOnce,
    Final,
}

fn means(answer: &Answer) -> Means {
    match answer {
        Answer::InProgress(progress) => Means::InProgress(*progress),
        Answer::Over(finish) => Means::Over(*finish),
        Answer::Unusable(_) => Means::Unusable,
        Answer::Failed(failure) => match failure.disposition {
            Disposition::Passing => Means::Passing,
            Disposition::Credentials => Means::PassesOnce,
            Disposition::Final => Means::Final,
        },
    }
}

/// Section 5 of the contract, once more and from the text.
fn contract(status: u16, body: &Value) -> Means {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let kind = text("type").filter(|_| text("title").is_some());
    match status {
        200..=299 => {
            let fits = text("object") == Some("ChatHistorySync") && text("chat_id") == Some(CHAT);
            match (text("status"), fits) {
                (None, _) | (Some("SYNC_STARTED" | "SYNC_RUNNING"), false) => Means::Unusable,
                (Some("SYNC_STARTED"), true) => Means::InProgress(Progress::Started),
                (Some("SYNC_RUNNING"), true) => Means::InProgress(Progress::Running),
                (Some("SYNC_DONE"), true) => Means::Over(Finish::Done),
                (Some("SYNC_ERROR"), true) => Means::Over(Finish::Error),
                (Some("CHAT_DELETED"), true) => Means::Over(Finish::Deleted),
                (Some(_), _) => Means::Final,
            }
        }
        408 | 425 | 429 => Means::Passing,
        500..=599 if status != 501 => Means::Passing,
        422 if matches!(kind, Some("errors/provider_unreachable" | "errors/limit_exceeded")) => Means::Passing,
        401 => match kind {
            Some("errors/missing_credentials" | "errors/invalid_credentials" | "errors/expired_credentials") => {
                Means::PassesOnce
            }
            _ => Means::Final,
        },
        _ => Means::Final,
    }
}

/// The next call comes only where it may, in the time that SQS can wait; and the event is bounded.
fn check_what_follows(answer: &Answer, before: Learned) {
    let may_ask_again = match means(answer) {
        Means::InProgress(_) | Means::Passing => true,
        Means::Unusable => before.breaches < 3,
        Means::PassesOnce => !before.key_retried,
        Means::Over(_) | Means::Final => false,
    };
    let item = Item { learned: before, ..active() };
    match after_call(&item, answer, NOW, Jitter::NONE, &Schedule::default()) {
        AfterCall::PollAgain { learned, delay } => {
            assert!(may_ask_again, "{answer:?} leads to another call");
            let seconds = delay.after(Duration::ZERO).as_secs_f64();
            assert!((1.0..=900.0).contains(&seconds), "{seconds} s after {answer:?}");
            assert_is_hidden(&format!("{learned:?}"));
        }
        AfterCall::End { outcome, learned } => {
            assert!(!may_ask_again, "{answer:?} ends the run");
            let ended = Item { phase: Phase::Ended, outcome: Some(outcome), learned, ..item };
            let event = Event::of_run(&ended).expect("it has ended");
            let line = event.to_line(EVENT_SOURCE);
            assert_is_hidden(&line);
            // Four bounded texts of up to 4 KiB, of which JSON may write each byte as six.
            assert!(line.len() < 6 * 8 * 1024, "{} bytes", line.len());
            assert_eq!(parse(&line), Message::OwnEvent);
        }
    }
}

fn assert_is_hidden(text: &str) {
    assert!(!text.contains(KEY), "the key is in {text}");
}
