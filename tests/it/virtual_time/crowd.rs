//! A thousand triggers over a hundred chats, with duplicates at any time: one sync for each run, and one ending.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::event_source_mapping::{Handler, InvocationResult};
use postpress_bridge::ids::Subject;
use postpress_bridge::message::Record;
use postpress_bridge::postpress::{Answer, Provider};
use postpress_bridge::queue::{MemoryQueue, Redelivery};
use postpress_bridge::run::Schedule;
use postpress_bridge::simulator::{Faults, Said, Simulator, Span};
use postpress_bridge::time::{Clock, Millis};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use super::bridge::{Bridge, EPOCH, consume, queue};

const TRIGGERS: usize = 1000;
const CHATS: usize = 100;
const MINUTE: Duration = Duration::from_mins(1);

/// The triggers with their delays: ten for each chat, spread evenly at random over `within`.
///
/// Syncs last 2 to 15 minutes; some end in an error, and some begin with transient failures.
fn triggers(random: &mut StdRng, within: Duration, after_request: bool) -> Vec<(String, Duration)> {
    let chats: Vec<String> = (0..CHATS)
        .map(|number| {
            let failing = if number % 7 == 0 { "service_unavailable-for-2-calls-then-" } else { "" };
            let ending = if number % 5 == 0 { "error" } else { "done" };
            format!("{failing}{ending}-in-{}s~{number}", random.random_range(120..900))
        })
        .collect();
    let trigger = |number: usize| {
        let chat = &chats[number % CHATS];
        let mut body = serde_json::json!({"chat_id": chat, "correlation_id": number.to_string()});
        if after_request {
            body["after_request"] = true.into();
        }
        (body.to_string(), within.mul_f64(random.random()))
    };
    (0..TRIGGERS).map(trigger).collect()
}

/// Delivers about a tenth of all messages once more, after a second to some six hours, in half of the cases within two
/// minutes, and counts how often it does.
pub(super) fn redelivery(seed: u64) -> (Redelivery, Rc<Cell<u32>>) {
    let (random, redelivered) = (RefCell::new(StdRng::seed_from_u64(seed)), Rc::new(Cell::new(0)));
    let count = Rc::clone(&redelivered);
    let again = move |record: &Record| {
        let mut random = random.borrow_mut();
        let again = random.random_bool(0.1) && record.receive_count < 4;
        again.then(|| {
            count.update(|count| count + 1);
            Duration::from_secs_f64(10_f64.powf(random.random_range(0.0..4.33)))
        })
    };
    (Box::new(again), redelivered)
}

fn slow() -> Faults {
    Faults { latency: Span::between(Duration::from_millis(50), Duration::from_secs(2)), ..Faults::default() }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_triggers_start_one_sync_per_run_and_each_is_in_one_ending() {
    for (seed, within) in [(1, MINUTE), (2, 60 * MINUTE), (3, 360 * MINUTE)] {
        let (redelivery, redelivered) = redelivery(seed);
        let bridge = Bridge::with(&Schedule::default(), slow(), redelivery);
        for (body, delay) in triggers(&mut StdRng::seed_from_u64(seed), within, false) {
            bridge.queue.put(&body, delay);
        }
        let began = Instant::now();
        bridge.work().await;

        let (events, stats) = (bridge.events(), bridge.simulator.stats());
        let runs: HashSet<_> = events.iter().map(|event| event.detail.event_id).collect();
        let reported = events.iter().flat_map(|event| &event.detail.triggers);
        let over_after = events.iter().filter_map(|event| event.detail.finished_at).max().unwrap().since(EPOCH);
        let joined = reported.clone().filter(|trigger| trigger.joined).count();
        println!(
            "{TRIGGERS} triggers for {CHATS} chats within {within:?}, {} deliveries repeated: {} runs, {} endings, {joined} \
             triggers joined; {} calls, {} syncs, at most {} calls of one chat at once, {} of all; over after {over_after:?}, \
             the last message came after {:?}",
            redelivered.get(),
            runs.len(),
            events.len(),
            stats.total.calls,
            stats.total.syncs_started,
            stats.max_in_flight_each,
            stats.total.max_in_flight,
            began.elapsed(),
        );

        assert_eq!(events.len(), runs.len(), "without faults nothing is published twice");
        let mut times = HashMap::<_, u32>::new();
        reported.for_each(|trigger| *times.entry(trigger.correlation_id.clone()).or_default() += 1);
        assert_eq!(times.len(), TRIGGERS);
        assert!(times.values().all(|times| *times == 1));

        assert_eq!(stats.total.syncs_started, u64::try_from(runs.len()).unwrap());
        assert!(events.iter().all(|event| event.detail.restarts == Some(0)));
        assert_eq!(stats.max_in_flight_each, 1);

        // The faults did occur.
        assert!(redelivered.get() > 100 && joined > 100, "{} {joined}", redelivered.get());
        let one_run_each = within == MINUTE;
        assert!(began.elapsed() > over_after + 60 * MINUTE);
        assert_eq!(runs.len() == CHATS, one_run_each, "{} runs", runs.len());
        let further_runs = u64::try_from(runs.len() - CHATS).unwrap();
        assert_eq!(stats.total.restarts, further_runs, "a sync restarts only for another run of its chat");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_triggers_for_a_later_sync_each_get_one_that_began_after_them() {
    for (seed, within) in [(1, MINUTE), (2, 60 * MINUTE)] {
        let (redelivery, redelivered) = redelivery(seed);
        let bridge = Bridge::with(&Schedule::default(), slow(), redelivery);
        for (body, delay) in triggers(&mut StdRng::seed_from_u64(seed), within, true) {
            bridge.queue.put(&body, delay);
        }
        let kills = bridge.work_with_kills(0.2, seed).await;

        let (events, stats) = (bridge.events(), bridge.simulator.stats());
        let starts = bridge.simulator.log().into_iter().filter_map(|call| match (call.said, call.landed_at_ms) {
            (Some(Said::Started { .. }), Some(at)) => Some((call.subject, EPOCH + Duration::from_millis(at))),
            _ => None,
        });
        let starts: Vec<_> = starts.collect();
        let mut endings = HashMap::<_, HashSet<_>>::new();
        for event in &events {
            let (subject, finished_at) = (event.detail.subject().unwrap(), event.detail.finished_at.unwrap());
            for trigger in &event.detail.triggers {
                endings.entry(trigger.correlation_id.clone()).or_default().insert(event.detail.event_id);
                let is_its_sync =
                    |(of, at): &&(Subject, Millis)| *of == subject && (trigger.requested_at..=finished_at).contains(at);
                assert!(starts.iter().any(|start| is_its_sync(&start)), "{trigger:?} is in {event:?}");
            }
        }
        let runs: HashSet<_> = events.iter().map(|event| event.detail.event_id).collect();
        println!(
            "{TRIGGERS} triggers for a later sync of {CHATS} chats within {within:?}, {} deliveries repeated, {kills} invocations \
             killed: {} runs, {} events, {} calls, {} syncs",
            redelivered.get(),
            runs.len(),
            events.len(),
            stats.total.calls,
            stats.total.syncs_started,
        );
        assert_eq!(endings.len(), TRIGGERS);
        assert!(endings.values().all(|endings| endings.len() == 1), "a trigger is in two endings");
        assert!(redelivered.get() > 100 && kills > 50, "{} {kills}", redelivered.get());
        assert!(runs.len() >= CHATS && runs.len() < TRIGGERS, "triggers that wait share a run: {}", runs.len());
    }
}

/// The bridge without its run table: it calls, and sends itself the trigger again while the sync is in progress.
struct Stateless {
    provider: Simulator,
    queue: Rc<MemoryQueue>,
    endings: Cell<usize>,
}

impl Handler for Stateless {
    async fn handle(&self, batch: &[Record], _ends: Instant) -> InvocationResult {
        for record in batch {
            let trigger: serde_json::Value = serde_json::from_str(&record.body).unwrap();
            let chat = Subject::chat(trigger["chat_id"].as_str().unwrap()).unwrap().into();
            match self.provider.sync(&chat, Duration::from_secs(10)).await {
                Answer::Over(_) => self.endings.update(|endings| endings + 1),
                _ => drop(self.queue.put(&record.body, Duration::from_secs(60))),
            }
        }
        InvocationResult::Completed(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_run_table_the_same_thousand_triggers_restart_finished_syncs() {
    let (redelivery, _) = redelivery(1);
    let simulator = Simulator::new(slow());
    let queue = Rc::new(queue(Clock::starting_at(EPOCH), redelivery));
    let provider = simulator.clone();
    let stateless = Stateless { provider, queue: Rc::clone(&queue), endings: Cell::default() };
    for (body, delay) in triggers(&mut StdRng::seed_from_u64(1), MINUTE, false) {
        queue.put(&body, delay);
    }
    // It never ends: every repeated delivery starts another chain of polls.
    consume(&queue, &stateless, sleep(20 * MINUTE)).await;

    let (stats, endings) = (simulator.stats(), stateless.endings.get());
    println!(
        "the same without a run table, after 20 minutes: {endings} endings, {} calls, {} syncs of which {} restarts, at most {} calls of one \
         chat at once",
        stats.total.calls, stats.total.syncs_started, stats.total.restarts, stats.max_in_flight_each,
    );
    assert!(stats.total.restarts > 100, "{}", stats.total.restarts);
    assert!(endings > CHATS, "{endings}");
    assert!(stats.max_in_flight_each > 1);
}
