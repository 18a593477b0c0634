//! A process that dies in the middle of an invocation, at the worst moments.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use postpress_bridge::simulator::{Faults, Said, Simulator, Span};
use serde_json::json;
use tokio::time::sleep;

use super::world::World;
use crate::harness::lambda::Blow;

/// Long enough to strike while the provider's answer is on its way.
const LATENCY: Duration = Duration::from_millis(800);

/// When the process is struck.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The run is claimed, and the call has started the sync: nobody gets to know.
    Started,
    /// The provider has said that the sync is over: nobody gets to know, and the next call starts it again.
    Over,
}

impl Moment {
    /// Waits until it has come, and the answer that tells of it is on its way.
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

/// Syncs one chat, whose worker is struck once; tells how many syncs were started.
async fn sync_through(blow: Blow, moment: Moment) -> u64 {
    let faults = Faults { latency: Span::fixed(LATENCY), ..Faults::default() };
    // The lease of a killed invocation is over by the time that its message comes again.
    let world = World::start(faults, Duration::from_secs(6)).await;
    let settings = [
        ("POSTPRESS_TIMEOUT_SECONDS", "2"),
        ("BRIDGE_LEASE_MARGIN_SECONDS", "1"),
        ("BRIDGE_POLL_INITIAL_SECONDS", "1"),
        ("BRIDGE_POLL_FACTOR", "1"),
    ];
    let worker = world.worker(Duration::from_secs(4), &settings);
    let figures = world
        .work(&worker, &world.mapping(), async {
            world.send(&[json!({"chat_id": "done-in-2s"})]).await;
            moment.comes(&world.simulator).await;
            assert_eq!(worker.strike(blow), 1, "one process was at work");
        })
        .await;

    let case = format!("{blow:?} when {moment:?}");
    assert_eq!(figures.killed, 1, "{case}");
    assert!(figures.repeated >= 1, "{case}: the message came again");
    assert_eq!(worker.processes_started(), 2, "{case}: a fresh process went on");
    let published = world.published().await;
    let endings: HashSet<_> = published.iter().map(|event| (event.detail.event_id, &*event.detail_type)).collect();
    assert_eq!(endings.len(), 1, "{case}: {published:?}");
    assert_eq!((&*published[0].detail_type, published[0].detail.triggers.len()), ("SYNC_DONE", 1), "{case}");
    let total = world.simulator.stats().total;
    // A claim that is written too late for its call, as on a busy machine, counts without one, and its message comes back.
    let calls = total.calls..=total.calls + u64::try_from(figures.returned).unwrap();
    let polls = published[0].detail.polls.map(u64::from).unwrap();
    assert!(calls.contains(&polls), "{case}: the call that was cut off counts: {polls} polls of {calls:?} calls");
    total.syncs_started
}

#[tokio::test]
async fn a_chat_has_one_ending_whenever_its_process_is_killed_by_a_signal_or_its_deadline() {
    let cases = [
        (Blow::Kill, Moment::Started, 1),
        (Blow::Freeze, Moment::Started, 1),
        // The one restart that nobody can avoid: the answer was lost with the process.
        (Blow::Kill, Moment::Over, 2),
        (Blow::Freeze, Moment::Over, 2),
    ];
    let syncs = join_all(cases.map(|(blow, moment, _)| sync_through(blow, moment))).await;
    assert_eq!(syncs, cases.map(|(_, _, syncs)| syncs));
}
