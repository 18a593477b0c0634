//! `BRIDGE_BACKEND=memory`: one invocation of the Lambda without AWS, which drives its runs to their endings.
//!
//! Queue, bus and runs start empty and end with the invocation. Delays and budgets are a hundred times shorter, so that a run of
//! minutes takes seconds. The provider is a real one, or `postpress-bridge simulate`.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::bus::MemoryBus;
use crate::event_source_mapping::EventSourceMapping;
use crate::ids::MessageId;
use crate::message::Record;
use crate::postpress::Provider;
use crate::queue::MemoryQueue;
use crate::settings::WorkerSettings;
use crate::store::MemoryStore;
use crate::time::Clock;
use crate::worker::Worker;

/// How many times faster than in production the runs are.
const SPEEDUP: u32 = 100;
/// Reserved at the end for returning the batch's response.
const TO_ANSWER: Duration = Duration::from_millis(500);

/// Drives the runs of a batch to their endings and prints the events to stdout. Returns the messages without an ending in time.
pub async fn invoke(
    records: &[Record],
    ends: Instant,
    provider: impl Provider,
    settings: &WorkerSettings,
) -> Vec<MessageId> {
    let mut config = settings.config.clone();
    config.rules.schedule.speedup = SPEEDUP;
    let invocation = config.invocation_of_one();
    let queue = Rc::new(MemoryQueue::new("memory", Clock::System, invocation, 3));
    for record in records {
        queue.put_as(record.message_id.clone(), &record.body, record.sent_at, Duration::ZERO);
    }
    let store = Rc::new(MemoryStore::default());
    let source = config.event_source.clone();
    let bus = MemoryBus::with_subscriber(Box::new(move |event| {
        println!("{}", event.to_line(&source));
        Ok(())
    }));
    let worker = Worker::new(provider, Rc::clone(&store), Rc::clone(&queue), bus, Clock::System, config);
    let mapping = EventSourceMapping { batch_size: 10, concurrency: 10, invocation };

    let out_of_time = sleep_until(ends.checked_sub(TO_ANSWER).unwrap_or(ends));
    tokio::select! {
        () = mapping.run(&*queue, &worker, queue.drained()) => {}
        () = out_of_time => tracing::error!("the invocation ended before its runs; use a shorter sync"),
    }
    unfinished(records, &queue, &store)
}

/// The messages that are still in the queue, or whose run is still open.
fn unfinished(records: &[Record], queue: &MemoryQueue, store: &MemoryStore) -> Vec<MessageId> {
    let waiting = queue.waiting();
    let dead = queue.dead_letters();
    let runs = store.items();
    let open: Vec<_> = runs.iter().filter(|item| !item.state.is_published()).flat_map(|item| &item.triggers).collect();
    let is_unfinished = |id: &MessageId| {
        waiting.contains(id)
            || dead.iter().any(|record| record.message_id == *id)
            || open.iter().any(|trigger| trigger.message_id == *id)
    };
    records.iter().map(|record| record.message_id.clone()).filter(is_unfinished).collect()
}
