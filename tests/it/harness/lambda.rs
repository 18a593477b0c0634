//! Lambda, played around the real program: execution environments, invocations with a deadline, and the event source
//! mapping that feeds them from SQS.
//!
//! ```text
//! binary.rs       the program that is deployed, built once
//! runtime_api.rs  the Runtime API, as one process sees it
//! environment.rs  a process, from its start to its death
//! mapping.rs      the SQS event source mapping
//! killer.rs       deaths at random moments
//! function_url.rs what AWS puts in front of an HTTP function
//! ```
//!
//! No process outlives its test: each is killed when its [`Environment`] is dropped, also by a panic. Where the tests
//! themselves are killed, it ends with its invocation, since its Runtime API is gone.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::canary::CheckedLog;

mod binary;
mod environment;
mod function_url;
mod killer;
mod mapping;
mod runtime_api;

pub(crate) use binary::{stateless_worker, sync_worker};
pub(crate) use environment::{Blow, Deadline, Environment, Outcome};
pub(crate) use function_url::{Front, Kind, RawQuery};
pub(crate) use killer::Killer;
pub(crate) use mapping::{Became, Delivery, Figures, Handed, Mapping, receive_count};

/// A function as it is set up in Lambda.
pub(crate) struct Function {
    program: PathBuf,
    settings: Vec<(String, String)>,
    /// After this an invocation is killed.
    pub(crate) timeout: Duration,
    /// What its processes print on stderr, one after the other and all at once.
    log: CheckedLog,
    /// What they print on stdout.
    records: CheckedLog,
}

impl Function {
    /// The deployed worker with these settings, and none of whoever runs the tests.
    pub(crate) fn sync_worker<N: Into<String>, V: Into<String>>(
        settings: impl IntoIterator<Item = (N, V)>,
        timeout: Duration,
    ) -> Self {
        Self::of(sync_worker(), settings, timeout)
    }

    /// This program, likewise.
    pub(crate) fn of<N: Into<String>, V: Into<String>>(
        program: PathBuf,
        settings: impl IntoIterator<Item = (N, V)>,
        timeout: Duration,
    ) -> Self {
        let settings = settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { program, settings, timeout, log: CheckedLog::new(), records: CheckedLog::new() }
    }

    /// What its processes have logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log.path()).unwrap()).into_owned()
    }

    /// The lines on stdout so far: Lambda takes both for the log.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        let printed = fs::read_to_string(self.records.path()).unwrap();
        printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }
}

/// A function with its execution environments: one process for each invocation at a time, used again by later ones.
pub(crate) struct Lambda {
    pub(crate) function: Function,
    idle: RefCell<Vec<Environment>>,
    started: Cell<usize>,
    blows: broadcast::Sender<Blow>,
    killer: RefCell<Option<Killer>>,
}

impl Lambda {
    pub(crate) fn new(function: Function) -> Self {
        let (blows, _) = broadcast::channel(16);
        Self { function, idle: RefCell::default(), started: Cell::default(), blows, killer: RefCell::default() }
    }

    /// Invokes the function once: in a process that waits for work, else in a new one.
    ///
    /// # Panics
    /// If a new process does not come to ask for work.
    pub(crate) async fn invoke(&self, event: &serde_json::Value) -> Outcome {
        let mut blows = self.blows.subscribe();
        let idle = self.idle.borrow_mut().pop();
        let mut environment = match idle {
            Some(environment) => environment,
            None => self.start().await,
        };
        let mut deadline = Deadline::after(self.function.timeout);
        let began = Instant::now();
        if let Some(lives) = self.killer.borrow_mut().as_mut().and_then(Killer::choose) {
            // The function is told of its deadline only.
            deadline.at = deadline.at.min(began + lives);
        }
        let outcome = environment.invoke(event, deadline, &mut blows).await;
        if matches!(outcome, Outcome::Answered(_)) {
            self.killer.borrow_mut().iter_mut().for_each(|killer| killer.learn(began.elapsed()));
            self.idle.borrow_mut().push(environment);
        }
        outcome
    }

    /// The same, beset by this killer.
    pub(crate) fn beset_by(self, killer: Killer) -> Self {
        Self { killer: RefCell::new(Some(killer)), ..self }
    }

    /// The killer rests from now on.
    pub(crate) fn spare(&self) {
        self.killer.take();
    }

    async fn start(&self) -> Environment {
        self.started.update(|started| started + 1);
        let started = Environment::start(&self.function).await;
        started.unwrap_or_else(|status| panic!("the function ended at its start, {status}: {}", self.function.log()))
    }

    /// Does this to every process in the middle of an invocation; tells how many there were.
    pub(crate) fn strike(&self, blow: Blow) -> usize {
        self.blows.send(blow).unwrap_or_default()
    }

    /// How many processes were started so far.
    pub(crate) fn processes_started(&self) -> usize {
        self.started.get()
    }
}
