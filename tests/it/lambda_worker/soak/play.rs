//! Runs a soak: the traffic arrives, the processes work, and now and then one of them is killed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use postpress_bridge::ids::Workspace;
use postpress_bridge::metrics::Metric;
use postpress_bridge::simulator::{CallRecord, Counts, Faults, Simulator, Span};
use postpress_bridge::time::Clock;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::super::world::World;
use super::schedule::{self, open_runs, sweep};
use super::traffic::Traffic;
use crate::harness::canary::WORKSPACES;
use crate::harness::lambda::{Figures, Function, Handed, Killer, Mapping};
use crate::terminal::Provider;

/// The timeout of an invocation. Short, so that much happens in a minute.
pub(super) const FUNCTION_TIMEOUT: Duration = Duration::from_secs(5);
/// A message is delivered again once the lease of the interrupted invocation has expired, 5.5 s after that began.
const VISIBILITY: Duration = Duration::from_secs(7);
/// The values in [`SETTINGS`].
pub(super) const PROVIDER_TIMEOUT: Duration = Duration::from_secs(1);
pub(super) const LEASE_MARGIN: Duration = Duration::from_millis(500);
const SETTINGS: [(&str, &str); 9] = [
    ("POSTPRESS_TIMEOUT_SECONDS", "1"),
    ("BRIDGE_LEASE_MARGIN_SECONDS", "0.5"),
    ("BRIDGE_POLL_INITIAL_SECONDS", "2"),
    ("BRIDGE_POLL_MAX_SECONDS", "5"),
    ("BRIDGE_OVERDUE_SECONDS", schedule::LEAST_OVERDUE_SECONDS),
    ("BRIDGE_CALLS_PER_SECOND", "4"),
    ("BRIDGE_CALLS_BURST", "4"),
    ("BRIDGE_MAX_CONCURRENCY", "4"),
    ("BRIDGE_LOG", "warn"),
];
/// What the provider allows each key: more than the pace in [`SETTINGS`], since each killed process is followed by one with a
/// token of its own.
const CALLS_PER_SECOND: f64 = 6.0;
const CALLS_BURST: f64 = 8.0;
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

/// The provider, as the key of one workspace sees it.
pub(super) struct Keyed {
    pub(super) workspace: Workspace,
    pub(super) simulator: Simulator,
    /// When the simulator's clock began, since 1970.
    began_ms: u64,
}

/// The result of a soak.
pub(super) struct Soaked {
    pub(super) world: World,
    pub(super) keys: [Keyed; 2],
    pub(super) figures: Figures,
    pub(super) handed: Vec<Handed>,
    pub(super) events: Vec<Value>,
    pub(super) dead_letters: Vec<Message>,
    pub(super) max_receive_count: usize,
    processes: usize,
    pub(super) paced: Paced,
    /// How often the worker logged each reason.
    reasons: BTreeMap<String, usize>,
    took: Duration,
}

/// What the pace did to the messages of all invocations that were not killed.
#[derive(Debug)]
pub(super) struct Paced {
    /// How many waited for their turn to call, or were sent again to wait.
    pub(super) waited: usize,
    /// How many were sent again.
    pub(super) deferred: u64,
    /// The longest wait.
    longest: Duration,
}

impl Soak {
    /// Runs the soak on this program, up to its end.
    ///
    /// # Panics
    /// If it does not end.
    pub(super) async fn play(&self, program: PathBuf, traffic: &Traffic, until: Until) -> Soaked {
        let latency = Span::between(Duration::from_millis(50), Duration::from_millis(250));
        let faults = Faults {
            seed: self.seed,
            latency,
            calls_per_second: Some(CALLS_PER_SECOND),
            calls_burst: CALLS_BURST,
            ..Faults::default()
        };
        let world = World::with_dead_letters_after(faults, VISIBILITY, self.max_receive_count).await;
        let (other_began_ms, other) = (Clock::System.now().0, Provider::start(faults).await);
        let secret = workspaces_secret(&world, &other.base_url).await;
        let settings = [&SETTINGS[..], &[("BRIDGE_WORKSPACES_SECRET_ID", &secret)]].concat();
        let worker =
            world.function(program, FUNCTION_TIMEOUT, &settings).with_killer(Killer::new(self.seed, self.killed));
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
            paced: Paced::of(&worker.function),
            reasons: reasons(&worker.function),
            took,
            keys: [
                Keyed { workspace: Workspace::DEFAULT, simulator: world.simulator.clone(), began_ms: world.began_ms },
                Keyed {
                    workspace: Workspace::parse(WORKSPACES[0].0).unwrap(),
                    simulator: other.simulator,
                    began_ms: other_began_ms,
                },
            ],
            world,
        }
    }
}

/// Stores the other workspace, with its key and base URL, and returns the secret's name.
async fn workspaces_secret(world: &World, base_url: &str) -> String {
    let (workspace, key) = WORKSPACES[0];
    let name = format!("workspaces-{}", Uuid::new_v4());
    let secret = json!({ workspace: { "api_key": key, "base_url": base_url } });
    let secrets = aws_sdk_secretsmanager::Client::new(&world.aws.sdk);
    secrets.create_secret().name(&name).secret_string(secret.to_string()).send().await.unwrap();
    name
}

/// A killed process may leave a line unfinished, which runs into the next one.
fn reasons(function: &Function) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for line in function.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let Some(reason) = line["reason"].as_str() {
            *reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }
    reasons
}

impl Soaked {
    /// The calls of all workspaces, with times since 1970.
    pub(super) fn calls(&self) -> Vec<CallRecord> {
        self.keys.iter().flat_map(Keyed::calls).collect()
    }
}

impl Keyed {
    fn calls(&self) -> impl Iterator<Item = CallRecord> {
        self.simulator.log().into_iter().map(|call| CallRecord {
            subject: call.subject.in_workspace(self.workspace.clone()),
            sent_at_ms: self.began_ms + call.sent_at_ms,
            landed_at_ms: call.landed_at_ms.map(|landed| self.began_ms + landed),
            ..call
        })
    }
}

impl Paced {
    fn of(function: &Function) -> Self {
        let waits = function.values(Metric::PaceWait);
        Self {
            waited: waits.len(),
            deferred: function.values(Metric::Deferred).iter().sum(),
            longest: Duration::from_millis(waits.into_iter().max().unwrap_or_default()),
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
        let Paced { waited, deferred, longest } = self.paced;
        let reasons = &self.reasons;
        writeln!(f, "{invocations} invocations in {} processes, {killed} killed; {:.0?}", self.processes, self.took)?;
        writeln!(
            f,
            "{deliveries} deliveries, {repeated} repeated, {returned} returned, {} dead letters; logged: {reasons:?}",
            self.dead_letters.len()
        )?;
        for Keyed { workspace, simulator, .. } in &self.keys {
            let Counts { calls, over_limit, syncs_started, restarts, .. } = simulator.stats().total;
            writeln!(
                f,
                "workspace {workspace}: {calls} calls, {over_limit} of them answered 429; {syncs_started} syncs, {restarts} of them restarts"
            )?;
        }
        writeln!(
            f,
            "{waited} messages waited for their turn to call, at most {longest:.1?}; {deferred} of them were sent again"
        )
    }
}
