//! Each documented answer, from a trigger on the queue to the event in a subscriber's queue.

use std::collections::HashMap;
use std::time::Duration;

use postpress_bridge::ids::{Subject, SubjectKind};
use postpress_bridge::postpress::catalogue::ERROR_TYPES;
use postpress_bridge::postpress::{Operation, Resync, RetryClass};
use postpress_bridge::run::{EndedBy, Origin};
use postpress_bridge::simulator::Faults;
use serde_json::json;

use super::world::{Published, World};
use crate::harness::emulator::ONE_CROWD;
use crate::harness::lambda::Mapping;

/// `SYNC_DONE`, or `503 errors/no_handler (Postpress)`, and what ended the run.
fn summary(event: &Published) -> String {
    let (status, error) = (event.detail.status, event.detail.error.as_ref());
    let (ending, detail_type) = match (status, error) {
        (Some(status), None) => (status.as_str().to_owned(), status.as_str()),
        (None, Some(error)) => {
            (format!("{} {} ({:?})", error.status, error.kind, event.detail.origin.unwrap()), "ERROR_ENVELOPE")
        }
        other => panic!("neither a status nor an error, or both: {other:?}"),
    };
    assert_eq!(event.detail_type, detail_type);
    format!("{ending} by {:?}", event.detail.ended_by.unwrap())
}

/// The summary of each chat's or account's only event.
fn expected() -> HashMap<Subject, String> {
    let statuses = [("done-in-2s", "SYNC_DONE"), ("error-in-2s", "SYNC_ERROR"), ("deleted", "CHAT_DELETED")];
    let statuses = statuses.map(|(id, status)| (Subject::chat(id), format!("{status} by {:?}", EndedBy::Answer)));
    let of_chats = ERROR_TYPES.iter().map(|error| (SubjectKind::Chat, error));
    let of_accounts = Operation::of(SubjectKind::Account).error_types.iter();
    let errors = of_chats.chain(of_accounts.map(|error| (SubjectKind::Account, error))).map(|(kind, error)| {
        let ended_by = match error.retry_class {
            // The retry budget is shorter than the grace period.
            RetryClass::Retryable | RetryClass::Connecting => EndedBy::Retries,
            RetryClass::Credentials | RetryClass::Terminal => EndedBy::Answer,
        };
        let subject = Subject::new(kind, error.kind.strip_prefix("errors/").unwrap());
        (subject, format!("{} {} ({:?}) by {ended_by:?}", error.status, error.kind, Origin::Postpress))
    });
    errors.chain(statuses).map(|(subject, ending)| (subject.unwrap(), ending)).collect()
}

#[tokio::test]
async fn every_documented_answer_ends_in_one_event_in_a_subscribers_queue() {
    let expected = expected();
    assert_eq!(expected.len(), ERROR_TYPES.len() + Operation::of(SubjectKind::Account).error_types.len() + 3);
    let _alone = ONE_CROWD.lock().await;
    let world = World::start(Faults::default(), Duration::from_secs(90)).await;
    let settings = [("BRIDGE_RETRY_SECONDS", "1"), ("BRIDGE_POLL_INITIAL_SECONDS", "1")];
    let worker = world.worker(Duration::from_secs(30), &settings);
    let triggers: Vec<_> = expected
        .keys()
        .map(|subject| json!({subject.kind().id_field(): subject.id(), "correlation_id": subject.id()}))
        .collect();
    let mapping = Mapping { batch_size: 25, batch_window: Duration::from_secs(1), ..world.mapping() };
    let figures = world.work(&worker, &mapping, world.send(&triggers)).await;

    let published = world.published().await;
    println!(
        "{} subjects: {} events; {figures:?}; {} processes, {:?}",
        expected.len(),
        published.len(),
        worker.processes_started(),
        world.simulator.stats().total
    );
    let mut came = HashMap::new();
    let mut endings: HashMap<_, &Published> = HashMap::new();
    for event in &published {
        // With a slow emulator, the worker may have stopped waiting for the reply of a publication that succeeded.
        let first = *endings.entry(event.detail.event_id).or_insert(event);
        assert_eq!(event, first, "a repeated event is identical");
    }
    for event in endings.values() {
        let subject = event.detail.subject().unwrap();
        assert_eq!(event.resources, [subject.id()]);
        let reported: Vec<_> = event.detail.triggers.iter().map(|trigger| trigger.correlation_id.as_deref()).collect();
        assert_eq!(reported, [Some(subject.id())], "an event answers its own trigger");
        let second = came.insert(subject, summary(event));
        assert_eq!(second, None, "a second ending: {event:?}");
    }
    assert_eq!(came, expected);
    let total = world.simulator.stats().total;
    assert_eq!((total.syncs_started, total.restarts), (2, 0));
}

#[tokio::test]
async fn a_trigger_is_answered_with_a_recent_sync_unless_it_asks_for_a_new_one() {
    let _alone = ONE_CROWD.lock().await;
    let world = World::start(Faults::default(), Duration::from_secs(90)).await;
    let worker = world.worker(Duration::from_secs(30), &[("BRIDGE_POLL_INITIAL_SECONDS", "1")]);
    let chat = "done-in-1s";
    let mut published = Vec::new();
    for (trigger, syncs) in [
        (json!({ "chat_id": chat }), 1),
        (json!({ "chat_id": chat, "fresh_for_seconds": 3600 }), 1),
        (json!({ "chat_id": chat }), 2),
    ] {
        world.work(&worker, &world.mapping(), world.send(std::slice::from_ref(&trigger))).await;
        assert_eq!(world.simulator.stats().total.syncs_started, syncs, "{trigger}");
        published.extend(world.published().await);
    }
    let endings: Vec<_> = published.iter().map(summary).collect();
    assert_eq!(endings, ["SYNC_DONE by Answer", "SYNC_DONE by Fresh", "SYNC_DONE by Answer"]);
    let [first, fresh, second] = [0, 1, 2].map(|index: usize| published[index].detail.run_id);
    assert!(first == fresh && first != second, "{published:?}");
}

#[tokio::test]
async fn a_trigger_for_a_later_sync_waits_for_the_run_in_flight() {
    let _alone = ONE_CROWD.lock().await;
    let world = World::start(Faults::default(), Duration::from_secs(90)).await;
    let worker = world
        .worker(Duration::from_secs(30), &[("BRIDGE_POLL_INITIAL_SECONDS", "1"), ("BRIDGE_LEASE_MARGIN_SECONDS", "0")]);
    let chat = "done-in-6s";
    let triggers = async {
        world.send(&[json!({ "chat_id": chat, "correlation_id": "first" })]).await;
        while world.simulator.stats().total.calls == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let later =
            ["later", "later still"].map(|id| json!({ "chat_id": chat, "correlation_id": id, "after_request": true }));
        world.send(&later).await;
        world.send(&[json!({ "chat_id": chat, "correlation_id": "joins" })]).await;
    };
    world.work(&worker, &world.mapping(), triggers).await;

    let published = world.published().await;
    let answered: Vec<Vec<_>> = published
        .iter()
        .map(|event| {
            let mut ids: Vec<_> =
                event.detail.triggers.iter().filter_map(|trigger| trigger.correlation_id.clone()).collect();
            ids.sort();
            ids
        })
        .collect();
    assert_eq!(answered, [vec!["first", "joins"], vec!["later", "later still"]], "{published:?}");
    let [first, later] = [0, 1].map(|index: usize| &published[index].detail);
    assert!(
        later.triggers[0].requested_at < first.finished_at.unwrap(),
        "they were sent while the first run was in flight"
    );
    assert_eq!(world.simulator.stats().total.syncs_started, 2);
}

#[tokio::test]
async fn a_cancelled_run_makes_no_further_call_and_ends_for_all_its_triggers() {
    let _alone = ONE_CROWD.lock().await;
    let world = World::start(Faults::default(), Duration::from_secs(90)).await;
    let worker = world.worker(Duration::from_secs(30), &[("BRIDGE_POLL_INITIAL_SECONDS", "2")]);
    let chat = "done-in-600s";
    let triggers = async {
        world.send(&["one", "two"].map(|id| json!({ "chat_id": chat, "correlation_id": id }))).await;
        while world.simulator.stats().total.calls == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.send(&[json!({ "chat_id": chat, "action": "cancel" })]).await;
    };
    world.work(&worker, &world.mapping(), triggers).await;

    let published = world.published().await;
    let [event] = &published[..] else { panic!("not one event: {published:?}") };
    assert_eq!(summary(event), "409 bridge/cancelled (Bridge) by Cancelled");
    assert_eq!(event.detail.triggers.len(), 2);
    assert_eq!((world.simulator.stats().total.syncs_started, event.detail.polls), (1, Some(1)));
}

#[tokio::test]
async fn an_account_is_synced_chunk_by_chunk_with_the_options_of_its_trigger() {
    let _alone = ONE_CROWD.lock().await;
    let world = World::start(Faults::default(), Duration::from_secs(90)).await;
    let worker = world.worker(Duration::from_secs(30), &[("BRIDGE_POLL_INITIAL_SECONDS", "1")]);
    let account = "done-in-3-chunks-of-2s";
    let trigger = json!({ "account_id": account, "resync": { "after": 7, "partial": true } });
    world.work(&worker, &world.mapping(), world.send(&[trigger])).await;

    let [event] = &world.published().await[..] else { panic!("not one event") };
    assert_eq!((summary(event).as_str(), &*event.resources), ("SYNC_DONE by Answer", &[account.to_owned()][..]));
    let resync = Resync { partial: Some(true), after: Some(7), ..Resync::default() };
    let detail = &event.detail;
    assert_eq!((detail.subject(), &detail.resync), (Subject::account(account).ok(), &resync));
    assert_eq!((detail.object.as_deref(), detail.chunks, detail.restarts), (Some("AccountResync"), Some(2), Some(0)));
    let calls = world.simulator.log();
    assert!(calls.len() > 5 && calls.iter().all(|call| call.resync == resync), "{calls:?}");
    let total = world.simulator.stats().total;
    assert_eq!((total.syncs_started, total.chunks, total.restarts, total.other_queries), (1, 2, 0, 0));
}
