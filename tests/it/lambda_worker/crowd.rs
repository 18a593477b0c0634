//! A thousand triggers over a hundred chats, with duplicates and repeated deliveries, and three processes at once.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use postpress_bridge::event::Detail;
use postpress_bridge::simulator::{Faults, Span};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::world::World;
use crate::harness::emulator::ONE_CROWD;
use crate::harness::lambda::{Delivery, Mapping, receive_count};

const TRIGGERS: usize = 1000;
const CHATS: usize = 100;
/// How many of the triggers are sent twice, with the same idempotency key.
const TWICE: usize = 100;
const PROCESSES: usize = 3;
/// The pause after every ten triggers. Sending all at once would only slow the emulator down: for each message that it
/// delivers, it looks at every other.
const ARRIVAL: Duration = Duration::from_millis(200);

/// Ten triggers for each chat, in any order; some are sent twice.
///
/// Syncs last 2 to 12 seconds; some end in an error, and some begin with a transient failure.
fn triggers(random: &mut StdRng) -> Vec<Value> {
    let chats: Vec<String> = (0..CHATS)
        .map(|number| {
            let failing = if number % 7 == 0 { "service_unavailable-for-1-call-then-" } else { "" };
            let ending = if number % 5 == 0 { "error" } else { "done" };
            format!("{failing}{ending}-in-{}s~{number}", random.random_range(2..=12))
        })
        .collect();
    let trigger = |number: usize| {
        let id = number.to_string();
        json!({"chat_id": chats[number % CHATS], "correlation_id": id, "idempotency_key": id})
    };
    let mut triggers: Vec<_> = (0..TRIGGERS).chain((0..TRIGGERS).step_by(TRIGGERS / TWICE)).map(trigger).collect();
    for place in (1..triggers.len()).rev() {
        triggers.swap(place, random.random_range(0..=place));
    }
    triggers
}

/// About every tenth message is delivered again: while it is being handled, or long after.
fn unreliable(seed: u64) -> impl Fn(&aws_sdk_sqs::types::Message) -> Delivery {
    let random = RefCell::new(StdRng::seed_from_u64(seed));
    move |message| match random.borrow_mut().random_range(0..20) {
        0 if receive_count(message) == 1 => Delivery::VisibleAgain,
        1 if receive_count(message) == 1 => Delivery::DeletionLost,
        _ => Delivery::Once,
    }
}

#[tokio::test]
async fn a_thousand_triggers_start_one_sync_per_run_and_each_is_in_one_ending() {
    let _alone = ONE_CROWD.lock().await;
    let latency = Span::between(Duration::from_millis(10), Duration::from_millis(100));
    let world = World::start(Faults { latency, ..Faults::default() }, Duration::from_secs(12)).await;
    let settings = [
        ("POSTPRESS_TIMEOUT_SECONDS", "3"),
        ("BRIDGE_LEASE_MARGIN_SECONDS", "1"),
        ("BRIDGE_POLL_INITIAL_SECONDS", "2"),
        ("BRIDGE_POLL_MAX_SECONDS", "5"),
    ];
    let worker = world.worker(Duration::from_secs(10), &settings);
    let mapping = Mapping { concurrency: PROCESSES, delivery: Box::new(unreliable(1)), ..world.mapping() };
    let triggers = triggers(&mut StdRng::seed_from_u64(1));
    let began = Instant::now();
    let arrive = async {
        for triggers in triggers.chunks(10) {
            world.send(triggers).await;
            sleep(ARRIVAL).await;
        }
    };
    let figures = world.work(&worker, &mapping, arrive).await;
    let took = began.elapsed();

    let published = world.published().await;
    let mut endings: HashMap<_, &Detail> = HashMap::new();
    for event in &published {
        let first = *endings.entry(event.detail.event_id).or_insert(&event.detail);
        assert_eq!(&event.detail, first, "an ending that is published again is the same");
    }
    let (mut reported, mut joined) = (HashMap::<_, u32>::new(), 0);
    for trigger in endings.values().flat_map(|detail| &detail.triggers) {
        *reported.entry(trigger.correlation_id.clone().unwrap()).or_default() += 1;
        joined += u32::from(trigger.joined);
    }
    let total = world.simulator.stats().total;
    println!(
        "{TRIGGERS} triggers, {TWICE} of them sent twice, for {CHATS} chats, {PROCESSES} processes at once: {} runs, {} events, \
         {joined} triggers joined; {} invocations with {} deliveries, {} of them repeated, {} returned, at most {} a batch; \
         {} calls, {} syncs, at most {} calls at once; {took:.1?}",
        endings.len(),
        published.len(),
        figures.invocations,
        figures.deliveries,
        figures.repeated,
        figures.returned,
        figures.largest_batch,
        total.calls,
        total.syncs_started,
        total.max_in_flight,
    );

    assert_eq!(reported.len(), TRIGGERS, "every trigger is in an ending");
    assert!(reported.values().all(|times| *times == 1), "and in no other: {reported:?}");
    let runs: HashSet<_> = endings.values().map(|detail| detail.run_id.unwrap()).collect();
    assert_eq!(runs.len(), endings.len(), "a run has one ending");
    assert_eq!(total.syncs_started, u64::try_from(runs.len()).unwrap(), "a run is one sync");
    assert!(endings.values().all(|detail| detail.restarts == Some(0)));
    assert_eq!(world.simulator.stats().max_in_flight_each, 1);

    // The faults did occur.
    assert_eq!(worker.processes_started(), PROCESSES);
    assert!(figures.repeated > 50 && joined > 100, "{figures:?} {joined}");
}
