//! What the provider, or whatever answers in its place, says to a call.
//!
//! An input is a line with the HTTP status and, after a space, the `Retry-After` header; what follows is the body.

use std::time::{Duration, SystemTime};

use postpress_bridge::event::Event;
use postpress_bridge::ids::Subject;
use postpress_bridge::message::Message;
use postpress_bridge::postpress::answer::may_be_an_end;
use postpress_bridge::postpress::retry_after::parse_retry_after;
use postpress_bridge::postpress::{Answer, Body, BodyFault, Finish, Mask, Progress, RetryClass};
use postpress_bridge::run::{AfterCall, EndedRun, Item, Jitter, PollState, Publication, Schedule, after_call};
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
    let chat = Subject::chat(CHAT).expect("it is one");
    let wait = header.and_then(|value| parse_retry_after(value, now));
    let answer = Answer::from_response(&chat, status, wait, &Body::whole(body), Mask::new(KEY));
    assert_is_hidden(&format!("{answer:?}"));
    check_what_is_whole(&chat, body);
    check_what_may_be_an_end(&chat, status, body);
    if let Ok(value) = serde_json::from_slice::<Value>(body)
        && reads_alike(&String::from_utf8_lossy(body))
    {
        assert_eq!(means(&answer), contract(status, &value), "{status} {value} is {answer:?}");
    }
    for before in [
        PollState::default(),
        PollState { invalid_responses: 3, ..PollState::default() },
        PollState { credentials_retried: true, ..PollState::default() },
    ] {
        check_what_follows(&answer, before);
    }
}

/// Whether a parser that is not ours is to read the same: it takes the last of several members of one name, which ours does
/// not choose between, and is stricter about what an escape means.
fn reads_alike(text: &str) -> bool {
    let names = ["object", "chat_id", "status", "type", "title", "error", "code"];
    let is_once = |name: &&str| text.matches(&format!("\"{name}\"")).count() <= 1;
    names.iter().all(is_once) && !text.contains('\\')
}

/// A complete answer in these bytes is read as it: behind them as text that has no object of its own, and in front of them,
/// whatever became of the rest. One in progress is, unless they mention an end.
fn check_what_is_whole(chat: &Subject, noise: &[u8]) {
    let noise: Vec<u8> = noise.iter().copied().filter(|byte| byte.is_ascii() && !b"{[\0\x1f".contains(byte)).collect();
    for (status, expected) in
        [("SYNC_DONE", Means::Over(Finish::Done)), ("SYNC_RUNNING", Means::InProgress(Progress::Running))]
    {
        if status == "SYNC_RUNNING" && may_be_an_end(&String::from_utf8_lossy(&noise)) {
            continue;
        }
        let whole = format!(r#"{{"object":"ChatHistorySync","chat_id":"{CHAT}","status":"{status}"}}"#);
        for bytes in [[b"\n", &*noise, b"\n", whole.as_bytes()].concat(), [whole.as_bytes(), &*noise].concat()] {
            for fault in [None, Some(BodyFault::Cut), Some(BodyFault::TimedOut)] {
                let body = Body::arrived(bytes.clone(), fault);
                let answer = Answer::from_response(chat, 200, None, &body, Mask::NONE);
                assert_eq!(means(&answer), expected, "{fault:?} {:?}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}

/// Bytes that hold an end are never polled again, whatever stands around it, unless it stands within a whole answer that says
/// otherwise.
fn check_what_may_be_an_end(chat: &Subject, status: u16, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let has_end = ["\"SYNC_DONE\"", "\"SYNC_ERROR\"", "\"CHAT_DELETED\""].iter().any(|end| text.contains(end));
    if !has_end {
        return;
    }
    let body = Body::whole(bytes);
    let answer = Answer::from_response(chat, status, None, &body, Mask::NONE);
    let is_around = |around: [&str; 2]| around.into_iter().any(may_be_an_end);
    let is_whole =
        matches!(answer, Answer::InProgress(_)) && body.object().is_ok_and(|object| !is_around(object.around));
    let is_over = matches!(means(&answer), Means::Over(_) | Means::Final);
    assert!(is_whole || is_over, "{status} {text} is {answer:?}");
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
    PassesAtFirst,
    Final,
}

fn means(answer: &Answer) -> Means {
    match answer {
        Answer::InProgress(progress) => Means::InProgress(*progress),
        Answer::Over(finish) => Means::Over(*finish),
        Answer::Unusable(_) => Means::Unusable,
        Answer::Failed(failure) => match failure.retry_class {
            RetryClass::Retryable => Means::Passing,
            RetryClass::Credentials => Means::PassesOnce,
            RetryClass::Connecting => Means::PassesAtFirst,
            RetryClass::Terminal => Means::Final,
        },
    }
}

/// Section 5 of the contract, once more and from the text.
fn contract(status: u16, body: &Value) -> Means {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let may_be_an_end = || {
        let text = body.to_string();
        let is_quoted =
            |end: &str| ["\"", "'", "&quot;", "&#34;"].iter().any(|quote| text.contains(&format!("{quote}{end}")));
        ["SYNC_DONE", "SYNC_ERROR", "CHAT_DELETED"].into_iter().any(is_quoted)
    };
    let service = text("type").filter(|kind| !kind.is_empty()).map(str::to_owned);
    let gateway = match body.get("error").and_then(|error| error.get("code")) {
        Some(Value::String(code)) if !code.is_empty() => Some(code.clone()),
        Some(Value::Number(code)) if !code.to_string().starts_with('-') => Some(code.to_string()),
        _ => None,
    };
    let gateway = gateway.filter(|_| service.is_none());
    let in_full = |code: &String| if code.starts_with("errors/") { code.clone() } else { format!("errors/{code}") };
    let kind = service.or_else(|| gateway.as_ref().map(in_full));
    let unless_it_ended = |means| if may_be_an_end() { Means::Final } else { means };
    let passing = || unless_it_ended(Means::Passing);
    match status {
        200..=299 => {
            let fits = text("object") == Some("ChatHistorySync") && text("chat_id") == Some(CHAT);
            match (text("status"), fits) {
                (None, _) | (Some("SYNC_STARTED" | "SYNC_RUNNING"), false) => {
                    if may_be_an_end() {
                        Means::Final
                    } else {
                        Means::Unusable
                    }
                }
                (Some("SYNC_STARTED"), true) => Means::InProgress(Progress::Started),
                (Some("SYNC_RUNNING"), true) => Means::InProgress(Progress::Running),
                (Some("SYNC_DONE"), true) => Means::Over(Finish::Done),
                (Some("SYNC_ERROR"), true) => Means::Over(Finish::Error),
                (Some("CHAT_DELETED"), true) => Means::Over(Finish::Deleted),
                (Some(_), _) => Means::Final,
            }
        }
        408 | 425 | 429 => passing(),
        500.. if status != 501 => passing(),
        422 if matches!(kind.as_deref(), Some("errors/provider_unreachable" | "errors/limit_exceeded")) => passing(),
        401 => match kind.as_deref() {
            Some("errors/missing_credentials" | "errors/invalid_credentials" | "errors/expired_credentials") => {
                unless_it_ended(Means::PassesOnce)
            }
            Some("errors/disconnected_account") => unless_it_ended(Means::PassesAtFirst),
            Some(_) if gateway.is_some() => unless_it_ended(Means::PassesOnce),
            _ => Means::Final,
        },
        _ => Means::Final,
    }
}

/// The next call comes only where it may, in the time that SQS can wait; and the event is bounded.
fn check_what_follows(answer: &Answer, before: PollState) {
    let may_ask_again = match means(answer) {
        // The run began just now.
        Means::InProgress(_) | Means::Passing | Means::PassesAtFirst => true,
        Means::Unusable => before.invalid_responses < 3,
        Means::PassesOnce => !before.credentials_retried,
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
            let ended = EndedRun::new(&Item { learned, ..item }, &outcome);
            let event = Event::from(Publication::Ending(Box::new(ended)));
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
