//! `postpress-bridge dev`: the whole bridge in one process, to play with.
//!
//! ```text
//! mod.rs       the command            state.rs     what the next process needs to go on
//! pollers.rs   queues, providers and faults: the bridge's, and those of the poller without a table beside it
//! bridge.rs    the bridge that the page shows
//! ```
//!
//! Worker, webhook and page are those of production, over a queue in memory, a run table in a file and a simulated provider.
//! Everything that another process needs is in the file, so that a kill at any moment loses nothing.

use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::time::{MissedTickBehavior, interval_at};

use super::output::EventFormat;
use super::shutdown;
use super::stateless::Stateless;
use crate::bus::MemoryBus;
use crate::console::Console;
use crate::credentials::webhook::{Credentials, SigningSecrets, Tokens};
use crate::event_source_mapping::{EventSourceMapping, Handler};
use crate::ids::{Subject, SubjectKind};
use crate::message::{SWEEP_BODY, TriggerBody};
use crate::queue::{MemoryQueue, Outgoing, Queue};
use crate::service::ServiceError;
use crate::settings::{Config, default_dev_state_file, log_filter_from_env};
use crate::simulator::{Faults, Span, parse_rate};
use crate::store::{SqliteStore, StateLock};
use crate::telemetry::{self, LogFilter, LogFormat};
use crate::time::Clock;
use crate::webhook::routes::SYNCS;
use crate::worker::Worker;

mod bridge;
mod pollers;
mod state;

use bridge::DevBridge;
use pollers::{BothQueues, DeliveryFaults, SavedProvider, UnreliableBus};
use state::{Poller, State};

/// How often the worker looks for lost runs.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long after its last lease a run counts as lost. Polls of `dev` wait at most a fraction of what they wait on AWS.
const OVERDUE: Duration = Duration::from_secs(120);
/// How often the poller without a table asks.
const STATELESS_POLL_EVERY: Duration = Duration::from_secs(4);
/// The time limit of a provider call.
const CALL_MAX: Duration = Duration::from_secs(3);
/// The clock skew that a lease allows for; one machine has none.
const LEASE_MARGIN: Duration = Duration::from_millis(200);

/// The fact that they were sent.
const EXAMPLES_SENT: &str = "examples sent";

/// What a first `dev` syncs: chats whose ids select their behaviour, and an account.
const EXAMPLES: [(SubjectKind, &str); 7] = [
    (SubjectKind::Chat, "done-in-20s~first"),
    (SubjectKind::Chat, "done-in-2m~long"),
    (SubjectKind::Chat, "error-in-15s~failing"),
    (SubjectKind::Chat, "deleted~gone"),
    (SubjectKind::Chat, "resource_not_found~typo"),
    (SubjectKind::Chat, "service_unavailable-for-2-calls-then-done-in-20s~flaky"),
    (SubjectKind::Account, "done-in-3-chunks-of-10s~account"),
];

/// Run the whole bridge in this process, with a page to watch it and a simulated postpress
///
/// Nothing to install and no account: the page shows runs, their histories and dead letters, and has a form for triggers. Triggers
/// are also accepted over HTTP, as by the deployed webhook. Beside the bridge, a poller without a table gets the same messages and the
/// same faults. Ctrl-C stops it; the next `dev` goes on where it was.
#[derive(Debug, Clone, Args)]
pub struct Dev {
    /// The port of the page and the webhook on 127.0.0.1; 0 for any free port
    #[arg(long, default_value_t = 4817)]
    port: u16,

    /// Where everything is kept, instead of a file in the user's state directory
    #[arg(long, value_name = "PATH")]
    state_file: Option<PathBuf>,

    /// Start with no runs; what the file had is deleted
    #[arg(long)]
    reset: bool,

    /// Sync no examples on the first start
    #[arg(long)]
    no_examples: bool,

    /// Share of the handled messages, from 0 to 1, that the queue delivers once more
    #[arg(long, default_value_t = 0.1, value_parser = parse_rate, value_name = "RATE")]
    redelivery_rate: f64,

    /// Share of the endings before whose publication the process is killed
    #[arg(long, default_value_t = 0.1, value_parser = parse_rate, value_name = "RATE")]
    kill_rate: f64,
}

impl Dev {
    /// Serves until Ctrl-C.
    ///
    /// # Errors
    /// If the state file or the port cannot be used.
    pub async fn run(self) -> anyhow::Result<()> {
        let filter = log_filter_from_env(LogFilter::warnings())?;
        telemetry::init(&filter, LogFormat::Compact)?;
        let path = match &self.state_file {
            Some(path) => path.clone(),
            None => default_dev_state_file().context("there is no home directory; choose a file with --state-file")?,
        };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let lock = StateLock::take_alone(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        let _lock = lock.with_context(|| {
            format!("another process uses {}; stop it, or choose another file with --state-file", path.display())
        })?;
        State::check_is_ours(&path)?;
        if self.reset {
            remove(&path)?;
        }
        // First, so that a kill in between leaves a file that is known to be ours.
        let state = Rc::new(State::open(&path)?);
        let store = Rc::new(SqliteStore::open(&path)?);
        store.forget_expired(Clock::System.now())?;

        let mut config = Config::default();
        config.rules.overdue = OVERDUE;
        config.rules.lease_margin = LEASE_MARGIN;
        config.limits.provider_timeout = CALL_MAX;
        let invocation = config.invocation_of_one();
        let mapping = EventSourceMapping { batch_size: 1, concurrency: 50, invocation };
        let faults = DeliveryFaults { redelivery_rate: self.redelivery_rate, kill_rate: self.kill_rate };

        let queues = BothQueues {
            bridge: pollers::queue(&state, Poller::Bridge, invocation, faults)?,
            stateless: pollers::queue(&state, Poller::Stateless, invocation, faults)?,
        };
        let latency = Span::between(Duration::from_millis(50), Duration::from_millis(400));
        let (age, simulated) = (state::age(&state)?, Faults { latency, ..Faults::default() });
        let provider = |poller| SavedProvider::new(&state, poller, simulated, age);
        let (bridge_provider, stateless_provider) = (provider(Poller::Bridge)?, provider(Poller::Stateless)?);

        let token = state.fact("token", || uuid::Uuid::new_v4().simple().to_string())?;
        let tokens = Tokens::parse(&token.clone().into()).context("the token in the state file is unusable")?;
        let console = Console::bind(self.port, tokens.clone()).await?;
        let url = console.url();

        if !self.no_examples && !state.has(EXAMPLES_SENT)? {
            send_examples(&queues).await;
            state.fact(EXAMPLES_SENT, || "yes".to_owned())?;
        }
        greet(&url, &token, &path);

        let bus = UnreliableBus { bus: bus(&state, EventFormat::new(false, &config.event_source)), faults };
        let worker = Worker::new(
            bridge_provider.clone(),
            Rc::clone(&store),
            Rc::clone(&queues.bridge),
            bus,
            Clock::System,
            config.clone(),
        );
        let published = |subject: Subject| {
            let ending = uuid::Uuid::new_v4().to_string();
            state.save_ending(Poller::Stateless, &subject, &ending);
        };
        let stateless = Stateless {
            provider: stateless_provider.clone(),
            queue: Rc::clone(&queues.stateless),
            poll_every: STATELESS_POLL_EVERY,
            is_killed: |_: &Subject| faults.kills(),
            publish: published,
        };
        let credentials = Credentials::new(signing_secrets()?, Some(tokens))?;
        let simulators = [bridge_provider.simulator, stateless_provider.simulator];
        let bridge = DevBridge::new(&path, store, &state, queues.clone(), simulators, credentials, &config, url);

        let stop = shutdown::signal();
        tokio::pin!(stop);
        tokio::select! {
            () = consume(&mapping, &queues.bridge, &worker) => {}
            () = consume(&mapping, &queues.stateless, &stateless) => {}
            () = sweep(&queues.bridge) => {}
            () = console.serve(&bridge, &mut stop) => {}
            () = shutdown::second_signal() => {}
        }
        eprintln!("\nstopped; `postpress-bridge dev` goes on where it was");
        Ok(())
    }
}

async fn consume(mapping: &EventSourceMapping, queue: &Rc<MemoryQueue>, handler: &impl Handler) {
    mapping.run(&**queue, handler, std::future::pending()).await;
}

async fn sweep(queue: &MemoryQueue) {
    let mut ticks = interval_at(tokio::time::Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        queue.put(SWEEP_BODY, Duration::ZERO);
    }
}

/// Sends the examples under fixed keys: after a kill in between, the next process sends them all again.
async fn send_examples(queues: &BothQueues) {
    for (kind, id) in EXAMPLES {
        let subject = Subject::new(kind, id).expect("a test parses all of them");
        let trigger = TriggerBody { idempotency_key: Some(id.to_owned()), ..TriggerBody::new(subject) };
        queues.send(&[Outgoing::of_trigger(&trigger, None)]).await;
    }
}

/// A bus that prints each event, and remembers that its run has ended.
fn bus(state: &Rc<State>, format: EventFormat) -> MemoryBus {
    let state = Rc::clone(state);
    MemoryBus::with_subscriber(Box::new(move |event| {
        print(&format.line(event))?;
        if let Some(subject) = event.detail.subject() {
            state.save_ending(Poller::Bridge, &subject, &event.detail.event_id.to_string());
        }
        Ok(())
    }))
}

fn print(line: &str) -> Result<(), ServiceError> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| ServiceError::Permanent(format!("stdout: {error}")))
}

/// The signing secrets of the webhook, to try signed requests.
fn signing_secrets() -> anyhow::Result<Option<SigningSecrets>> {
    const VARIABLE: &str = "BRIDGE_WEBHOOK_SECRET";
    match std::env::var(VARIABLE) {
        Ok(secret) if !secret.is_empty() => {
            SigningSecrets::parse(&secret.into()).map(Some).with_context(|| format!("{VARIABLE} is unusable"))
        }
        _ => Ok(None),
    }
}

fn remove(path: &std::path::Path) -> anyhow::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot delete {}", PathBuf::from(file).display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn greet(url: &str, token: &str, path: &std::path::Path) {
    eprintln!("The whole bridge runs in this process, over a simulated postpress.\n");
    eprintln!("  Page     {url}/#token={token}");
    eprintln!("  Webhook  {url}{SYNCS}\n");
    eprintln!("Sync a chat; its id selects what happens (`postpress-bridge simulate --help` lists the ids):\n");
    let body = TriggerBody::new(Subject::chat("done-in-20s~curl").expect("a valid id")).to_body();
    eprintln!("  curl -H 'authorization: Bearer {token}' -H 'content-type: application/json' \\");
    eprintln!("    -d '{body}' {url}{SYNCS}\n");
    eprintln!(
        "The other commands work on it too, for example `send done-in-20s`, `status done-in-20s` and `runs`, after\n"
    );
    eprintln!(
        "  export BRIDGE_WEBHOOK_URL={url} BRIDGE_WEBHOOK_TOKEN={token} BRIDGE_STATE_FILE='{}'\n",
        path.display()
    );
    eprintln!("Endings are printed here. Ctrl-C stops; the next `dev` goes on where it was.\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_valid_subject() {
        assert!(EXAMPLES.iter().all(|(kind, id)| Subject::new(*kind, id).is_ok()));
    }
}
