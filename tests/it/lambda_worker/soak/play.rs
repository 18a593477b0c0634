//! Runs a soak: the traffic arrives, the processes work, and now and then one of them is killed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use postpress_bridge::simulator::{Faults, Span};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::super::world::World;
use super::schedule::{self, open_runs, sweep};
use super::traffic::Traffic;
use crate::harness::lambda::{Figures, Handed, Killer, Mapping};

/// The timeout of an invocation. Short, so that much happens in a minute.
pub(super) const FUNCTION_TIMEOUT: Duration = Duration::from_secs(5);
/// A message is delivered again once the lease of the interrupted invocation has expired, 5.5 s after that began.
const VISIBILITY: Duration = Duration::from_secs(7);
/// The values in [`SETTINGS`].
pub(super) const PROVIDER_TIMEOUT: Duration = Duration::from_secs(1);
pub(super) const LEASE_MARGIN: Duration = Duration::from_millis(500);
const SETTINGS: [(&str, &str); 6] = [
    ("POSTPRESS_TIMEOUT_SECONDS", "1"),
    ("BRIDGE_LEASE_MARGIN_SECONDS", "0.5"),
    ("BRIDGE_POLL_INITIAL_SECONDS", "2"),
    ("BRIDGE_POLL_MAX_SECONDS", "5"),
    ("BRIDGE_OVERDUE_SECONDS", schedule::LEAST_OVERDUE_SECONDS),
    ("BRIDGE_LOG", "warn"),
];
/// How many processes run at once.
const PROCESSES: usize = 4;
/// How long after the last trigger processes are killed. Later kills would make the end of the soak depend on luck.
const KILLED_ON: Duration = Duration::from_secs(15);
/// How much longer a soak of 200 chats may take until every run has ended. A larger one may take as much longer, since an
/// emulator slows down with what it holds.
const OVER_MAX: Duration = Duration::from_mins(8);
/// How much longer it takes if not every run ends.
const TO_BE_OVER: Duration = Duration::from_secs(25);

/// The parameters of a soak.
#[derive(Debug, Clone, Copy)]
pub(super) struct Soak {
    pub(super) seed: u64,
    /// How many receives make a message a dead letter.
    pub(super) max_receive_count: u32,
    /// The share of the invocations to kill.
    pub(super) killed: f64,
}

/// When a soak ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// When no message is left on the queue, and no run in the index of open runs.
    EveryRunIsOver,
    /// A while after the traffic, or when the queue is empty.
    NoTimeIsLeft,
}

/// The result of a soak.
pub(super) struct Soaked {
    pub(super) world: World,
    pub(super) figures: Figures,
    pub(super) handed: Vec<Handed>,
    pub(super) events: Vec<Value>,
    pub(super) dead_letters: Vec<Message>,
    pub(super) max_receive_count: usize,
    processes: usize,
    took: Duration,
}

impl Soak {
    /// Runs the soak on this program, up to its end.
    ///
    /// # Panics
    /// If it does not end.
    pub(super) async fn play(&self, program: PathBuf, traffic: &Traffic, until: Until) -> Soaked {
        let latency = Span::between(Duration::from_millis(50), Duration::from_millis(250));
        let faults = Faults { seed: self.seed, latency, ..Faults::default() };
        let world = World::with_dead_letters_after(faults, VISIBILITY, self.max_receive_count).await;
        let worker =
            world.function(program, FUNCTION_TIMEOUT, &SETTINGS).with_killer(Killer::new(self.seed, self.killed));
        let mapping = Mapping { concurrency: PROCESSES, ..world.mapping() };
        let began = Instant::now();
        let end = async {
            traffic.arrive(&world).await;
            sleep(KILLED_ON).await;
            worker.stop_killer();
            match until {
                Until::EveryRunIsOver => every_run_is_over(&world, OVER_MAX * traffic.chats().div_ceil(200)).await,
                Until::NoTimeIsLeft => drop(timeout(TO_BE_OVER, world.drained()).await),
            }
        };
        let figures = tokio::select! {
            figures = mapping.run(&worker, end) => figures,
            never = sweep(&world), if until == Until::EveryRunIsOver => match never {},
        };
        let took = began.elapsed();
        assert!(figures.failed.is_empty(), "{figures:?}\n{}", worker.function.log());
        Soaked {
            figures,
            handed: mapping.handed.take(),
            events: world.aws.take_events().await,
            dead_letters: world.dead_letters().await,
            max_receive_count: usize::try_from(self.max_receive_count).unwrap(),
            processes: worker.processes_started(),
            took,
            world,
        }
    }
}

async fn every_run_is_over(world: &World, limit: Duration) {
    let over = async {
        loop {
            world.drained().await;
            if open_runs(world).await.is_empty() {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    };
    if timeout(limit, over).await.is_err() {
        panic!("after {limit:?} these runs have not ended: {:?}", open_runs(world).await);
    }
}

impl fmt::Display for Soaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { invocations, killed, deliveries, repeated, returned, .. } = &self.figures;
        let total = self.world.simulator.stats().total;
        writeln!(f, "{invocations} invocations in {} processes, {killed} killed; {:.0?}", self.processes, self.took)?;
        writeln!(
            f,
            "{deliveries} deliveries, {repeated} repeated, {returned} returned, {} dead letters",
            self.dead_letters.len()
        )?;
        writeln!(f, "{} calls, {} syncs, {} of them restarts", total.calls, total.syncs_started, total.restarts)
    }
}
