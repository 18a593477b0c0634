//! Every answer that the provider documents ends in the event that the contract names, at the time that it names.

use std::collections::HashMap;
use std::time::Duration;

use postpress_bridge::event::{EndedBy, Event};
use postpress_bridge::postpress::RetryClass;
use postpress_bridge::postpress::catalogue::ERROR_TYPES;
use postpress_bridge::run::{Origin, Schedule};

use super::bridge::{Bridge, summary};

#[tokio::test(start_paused = true)]
async fn every_documented_error_ends_in_its_own_envelope_once_retries_end() {
    let bridge = Bridge::new();
    let chat = |kind: &'static str| kind.strip_prefix("errors/").unwrap();
    ERROR_TYPES.iter().for_each(|error| bridge.trigger(chat(error.kind)));
    bridge.work().await;

    let events = bridge.events();
    assert_eq!(events.len(), ERROR_TYPES.len());
    let of_chat = |event: Event| (event.detail.chat_id.as_ref().unwrap().to_string(), event);
    let events: HashMap<String, Event> = events.into_iter().map(of_chat).collect();
    for error in ERROR_TYPES {
        let kind = error.kind;
        let (event, calls) = (&events[chat(kind)], bridge.calls(chat(kind)));
        assert_eq!(event.detail_type.as_str(), "ERROR_ENVELOPE", "{kind}");
        let envelope = event.detail.error.as_ref().unwrap();
        let actual = (&*envelope.kind, envelope.status, envelope.detail.as_deref());
        assert_eq!(actual, (kind, error.status, Some(error.meaning)));
        assert_eq!(event.detail.origin, Some(Origin::Postpress), "{kind}");
        assert_eq!(event.detail.polls.map(u64::from), u64::try_from(calls.len()).ok(), "{kind}");

        let after = event.detail.finished_at.unwrap().since(calls[0]);
        let ended_by = event.detail.ended_by.unwrap();
        match error.retry_class {
            RetryClass::Retryable => {
                let retry = Schedule::default().retry;
                assert!((retry..retry + Duration::from_secs(1)).contains(&after), "{kind} after {after:?}");
                assert_eq!(ended_by, EndedBy::Retries, "{kind}");
            }
            RetryClass::Credentials => assert_eq!((calls.len(), ended_by), (2, EndedBy::Answer), "{kind}"),
            RetryClass::Connecting => {
                assert!(after >= Schedule::default().connect_grace, "{kind} after {after:?}");
                assert_eq!((calls.len(), ended_by), (8, EndedBy::Answer), "{kind}");
            }
            RetryClass::Terminal => assert_eq!((calls.len(), ended_by), (1, EndedBy::Answer), "{kind}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_outside_the_catalogue_ends_as_the_contract_says() {
    for (chat, ending, polls) in [
        // the end of a sync
        ("done", "sync_done by answer", 2),
        ("error", "sync_error by answer", 2),
        ("deleted", "chat_deleted by answer", 1),
        ("deleted-in-3s", "chat_deleted by answer", 2),
        // transient errors
        ("503-for-2-calls-then-done", "sync_done by answer", 4),
        ("invalid_credentials-for-1-call-then-done", "sync_done by answer", 3),
        ("html-for-3-calls-then-done", "sync_done by answer", 5),
        ("disconnected_account-for-3-calls-then-done", "sync_done by answer", 5),
        // permanent errors without an envelope
        ("404", "404 bridge/unexpected_response (bridge) by answer", 1),
        ("418", "418 bridge/unexpected_response (bridge) by answer", 1),
        ("501", "501 bridge/unexpected_response (bridge) by answer", 1),
        ("302", "502 bridge/unexpected_response (bridge) by answer", 1),
        // an unusable 200 is retried three times
        ("html", "502 bridge/unexpected_response (bridge) by retries", 4),
        ("empty", "502 bridge/unexpected_response (bridge) by retries", 4),
        ("truncated", "502 bridge/unexpected_response (bridge) by retries", 4),
        ("wrong-chat", "502 bridge/unexpected_response (bridge) by retries", 4),
        ("wrong-object", "502 bridge/unexpected_response (bridge) by retries", 4),
        ("envelope-in-200", "502 bridge/unexpected_response (bridge) by retries", 4),
        // but never one that may be an ending
        ("wrong-chat-done", "502 bridge/unexpected_response (bridge) by answer", 1),
        ("unknown-status", "502 bridge/unexpected_response (bridge) by answer", 1),
    ] {
        let bridge = Bridge::new();
        let event = bridge.ending_of(chat).await;
        assert_eq!((&*summary(&event), event.detail.polls), (ending, Some(polls)), "{chat}");
        let total = bridge.simulator.stats().total;
        assert_eq!((total.calls, total.restarts), (polls.into(), 0), "{chat}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_without_an_envelope_end_in_our_own_error_with_the_last_status() {
    for chat in ["429", "500", "503"] {
        let bridge = Bridge::new();
        let event = bridge.ending_of(chat).await;
        assert_eq!(summary(&event), format!("{chat} bridge/retries_exhausted (bridge) by retries"));
        let detail = event.detail.error.unwrap().detail.unwrap();
        assert!(detail.contains(chat), "{detail}");
    }
}
