//! Polls and sweeps, ours or forged, of any version.

use postpress_bridge::ids::{ClaimId, MessageId, RunId};
use postpress_bridge::message::{Message, OwnMessage, VERSION};
use postpress_bridge::postpress::Envelope;
use postpress_bridge::run::{
    Claimant, Ending, Jitter, MessageHandler, Poll, Rules, Step, StepContext, StepResult, Task, TriggerMessage, Write,
    WriteResult,
};

use super::run::{LEASE, NOW, active};
use super::wrapping::{WRAPPINGS, parse, wrap};

/// # Panics
/// Where a message of our own is acted on that may not be, or is changed on its way.
pub fn check(input: &[u8]) {
    let body = &*String::from_utf8_lossy(input);
    match parse(body) {
        Message::Poll(poll) => {
            check_round_trip(&poll);
            check_bounds(&poll);
            check_fence(&poll);
        }
        Message::Sweep => {}
        Message::Newer { version } => assert!(version > VERSION),
        Message::Malformed { reason } => assert!(reason.len() <= 512, "{reason}"),
        Message::Trigger(trigger) if trigger.waits > 0 => check_waiting(trigger),
        Message::Trigger(_) | Message::Cancel(_) | Message::OwnEvent | Message::Invalid(_) => return,
    }
    // Only the bridge itself sends these, and it wraps nothing; its fence must not go out in an event.
    for layers in WRAPPINGS {
        let wrapped = parse(&wrap(body, layers));
        // With the fields of an event as well it is taken for one, and dropped too.
        let is_dropped = matches!(wrapped, Message::Malformed { .. } | Message::OwnEvent);
        assert!(is_dropped, "{body} in {layers:?} is {wrapped:?}");
    }
}

fn check_waiting(trigger: TriggerMessage) {
    let body = OwnMessage::Waiting(trigger.clone()).to_body_due_at(NOW);
    assert_eq!(parse(&body), Message::Trigger(trigger), "{body}");
}

fn check_round_trip(poll: &Poll) {
    let body = poll.to_body();
    assert!(!body.contains(['\u{fffe}', '\u{ffff}']), "SQS refuses {body}");
    assert_eq!(parse(&body), Message::Poll(poll.clone()), "{body}");
}

fn check_bounds(poll: &Poll) {
    let learned = poll.learned.as_ref().and_then(|learned| learned.envelope.as_deref());
    let answer = poll.answer.as_ref().and_then(|outcome| match &outcome.ending {
        Ending::Error { error, .. } => Some(error),
        Ending::Sync { .. } => None,
    });
    for Envelope { title, detail, instance, kind, .. } in learned.into_iter().chain(answer) {
        assert!(title.len() <= 512 && kind.len() <= 512);
        assert!(instance.as_ref().is_none_or(|text| text.len() <= 512));
        assert!(detail.as_ref().is_none_or(|text| text.len() <= 4096));
    }
}

/// Only a poll that names the run and its present claim leads to a call or an ending, and one with an answer to no call.
fn check_fence(poll: &Poll) {
    let before = active();
    let is_ours = (&poll.subject, poll.run_id, poll.claim_id) == (&before.subject, before.run_id, before.claim_id);
    let mut item = Some(before).filter(|item| item.subject == poll.subject);

    let rules = Rules::default();
    let tick = StepContext { now: NOW, jitter: Jitter::NONE, rules: &rules };
    let claimant = Claimant {
        message_id: MessageId::new("m-1"),
        claim_id: ClaimId::from_random(2),
        run_id: RunId::from_random(2),
        lease_until_ms: NOW + LEASE,
    };
    let (mut handling, mut step) = MessageHandler::begin(Task::Poll(poll.clone()), claimant, tick);
    loop {
        let input = match &step {
            Step::Write(write) => {
                assert!(is_ours || matches!(write, Write::Claim { .. }), "{poll:?} led to {write:?}");
                let written = write.apply(item.as_ref());
                if let WriteResult::Applied(taken) = &written {
                    item = Some((**taken).clone());
                }
                StepResult::Written(written)
            }
            Step::Admit(_) => StepResult::Admitted,
            Step::Wait { .. } => panic!("{poll:?} led to a trigger"),
            Step::Call(_) => {
                assert!(is_ours && poll.answer.is_none(), "{poll:?} led to a call");
                return;
            }
            Step::Publish(event) => {
                assert!(is_ours && poll.answer.is_some(), "{poll:?} led to {event:?}");
                return;
            }
            Step::Done(_) => break,
            Step::Read(_) | Step::Send { .. } => panic!("{poll:?} led to {step:?}"),
        };
        step = handling.next(input, tick);
    }
    assert!(!is_ours, "{poll:?} led to nothing");
    assert!(item.is_none_or(|item| item == active()), "{poll:?} changed the run");
}
