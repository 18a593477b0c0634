//! A process that dies during an invocation, at the worst moments.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use postpress_bridge::simulator::{Faults, Said, Simulator, Span};
use serde_json::json;
use tokio::time::sleep;

use super::world::World;
use crate::harness::lambda::ProcessFault;

/// Long enough to kill the process while the provider's answer is on its way.
const LATENCY: Duration = Duration::from_millis(800);

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The run is claimed, and the call has started the sync, but the worker does not learn of it.
    Started,
    /// The provider has answered that the sync is over, but the worker does not learn of it, and the next call restarts it.
    Over,
}

impl Moment {
    /// Waits until this moment has come and the answer is on its way.
    async fn comes(self, simulator: &Simulator) {
        let is_it = |said: Option<Said>| match self {
            Self::Started => matches!(said, Some(Said::Started { .. })),
            Self::Over => matches!(said, Some(Said::Over(_))),
        };
        while !simulator.log().iter().any(|record| is_it(record.said) && !record.delivered) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Syncs one chat, whose worker is killed once; returns how many syncs were started.
async fn sync_through(fault: ProcessFault, moment: Moment) -> u64 {
    let faults = Faults { latency: Span::fixed(LATENCY), ..Faults::default() };
    // The lease of a killed invocation has expired by the time its message is delivered again.
    let world = World::start(faults, Duration::from_secs(12)).await;
    let settings = [
        ("POSTPRESS_TIMEOUT_SECONDS", "2"),
        ("BRIDGE_LEASE_MARGIN_SECONDS", "1"),
        ("BRIDGE_POLL_INITIAL_SECONDS", "1"),
        ("BRIDGE_POLL_FACTOR", "1"),
    ];
    // Long enough that a claim leaves time for its call even on a busy machine: without the call, the claim would count as a
    // poll that was never made.
    let worker = world.worker(Duration::from_secs(10), &settings);
    let figures = world
        .work(&worker, &world.mapping(), async {
            world.send(&[json!({"chat_id": "done-in-2s"})]).await;
            moment.comes(&world.simulator).await;
            assert_eq!(worker.inject(fault), 1, "one process was at work");
        })
        .await;

    let case = format!("{fault:?} when {moment:?}");
    assert_eq!(figures.killed, 1, "{case}");
    assert!(figures.repeated >= 1, "{case}: the message was delivered again");
    assert_eq!(worker.processes_started(), 2, "{case}: a fresh process continued");
    let published = world.published().await;
    let endings: HashSet<_> = published.iter().map(|event| (event.detail.event_id, &*event.detail_type)).collect();
    assert_eq!(endings.len(), 1, "{case}: {published:?}");
    assert_eq!((&*published[0].detail_type, published[0].detail.triggers.len()), ("SYNC_DONE", 1), "{case}");
    let total = world.simulator.stats().total;
    assert_eq!(published[0].detail.polls.map(u64::from), Some(total.calls), "{case}: the interrupted call counts");
    total.syncs_started
}

#[tokio::test]
async fn a_chat_has_one_ending_even_if_its_process_is_killed() {
    let cases = [
        (ProcessFault::Kill, Moment::Started, 1),
        (ProcessFault::Freeze, Moment::Started, 1),
        // The one unavoidable restart: the answer was lost with the process.
        (ProcessFault::Kill, Moment::Over, 2),
        (ProcessFault::Freeze, Moment::Over, 2),
    ];
    let syncs = join_all(cases.map(|(fault, moment, _)| sync_through(fault, moment))).await;
    assert_eq!(syncs, cases.map(|(_, _, syncs)| syncs));
}
