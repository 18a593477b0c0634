//! Lambda, emulated around the real program: execution environments, invocations with a deadline, and the event source
//! mapping that feeds them from SQS.
//!
//! ```text
//! binary.rs       the deployed program, built once
//! runtime_api.rs  the Runtime API, as one process sees it
//! environment.rs  a process, from its start to its death
//! mapping.rs      the SQS event source mapping
//! killer.rs       kills at random moments
//! function_url.rs what AWS puts in front of an HTTP function
//! ```
//!
//! No process outlives its test: each is killed when its [`Environment`] is dropped, even by a panic. If the test process
//! itself is killed, its processes end with their invocation, since their Runtime API is gone.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use postpress_bridge::metrics::Metric;
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
pub(crate) use environment::{Deadline, Environment, Outcome, ProcessFault};
pub(crate) use function_url::{Front, Kind, RawQuery};
pub(crate) use killer::Killer;
pub(crate) use mapping::{Became, Delivery, Figures, Handed, Mapping, receive_count};

/// A function, as configured in Lambda.
pub(crate) struct Function {
    program: PathBuf,
    settings: Vec<(String, String)>,
    /// The time limit of an invocation, after which it is killed.
    pub(crate) timeout: Duration,
    /// What its processes print on stderr, all into one log.
    log: CheckedLog,
    /// What its processes print on stdout.
    records: CheckedLog,
}

impl Function {
    /// The deployed worker with these settings, and none from the environment of the tests.
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

    /// The lines on stdout so far, which Lambda adds to the log as well.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        let printed = fs::read_to_string(self.records.path()).unwrap();
        printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }

    /// The values of a metric so far, from the records that have it.
    pub(crate) fn values(&self, metric: Metric) -> Vec<u64> {
        let records = self.records();
        let values = records.iter().filter_map(|record| record.get(metric.name()));
        values.flat_map(|values| values.as_array().unwrap()).map(|value| value.as_u64().unwrap()).collect()
    }
}

/// A function with its execution environments: one process per concurrent invocation, reused by later ones.
pub(crate) struct Lambda {
    pub(crate) function: Function,
    idle: RefCell<Vec<Environment>>,
    started: Cell<usize>,
    faults: broadcast::Sender<ProcessFault>,
    killer: RefCell<Option<Killer>>,
}

impl Lambda {
    pub(crate) fn new(function: Function) -> Self {
        let (faults, _) = broadcast::channel(16);
        Self { function, idle: RefCell::default(), started: Cell::default(), faults, killer: RefCell::default() }
    }

    /// Invokes the function once, in an idle process if there is one, otherwise in a new one.
    ///
    /// # Panics
    /// If a new process does not ask for work.
    pub(crate) async fn invoke(&self, event: &serde_json::Value) -> Outcome {
        let mut faults = self.faults.subscribe();
        let idle = self.idle.borrow_mut().pop();
        let mut environment = match idle {
            Some(environment) => environment,
            None => self.start().await,
        };
        let mut deadline = Deadline::after(self.function.timeout);
        let began = Instant::now();
        if let Some(lives) = self.killer.borrow_mut().as_mut().and_then(Killer::choose) {
            // The function itself only learns its deadline.
            deadline.at = deadline.at.min(began + lives);
        }
        let outcome = environment.invoke(event, deadline, &mut faults).await;
        if matches!(outcome, Outcome::Answered(_)) {
            self.killer.borrow_mut().iter_mut().for_each(|killer| killer.learn(began.elapsed()));
            self.idle.borrow_mut().push(environment);
        }
        outcome
    }

    /// The same, with a killer.
    pub(crate) fn with_killer(self, killer: Killer) -> Self {
        Self { killer: RefCell::new(Some(killer)), ..self }
    }

    /// Stops the killer.
    pub(crate) fn stop_killer(&self) {
        self.killer.take();
    }

    async fn start(&self) -> Environment {
        self.started.update(|started| started + 1);
        let started = Environment::start(&self.function).await;
        started.unwrap_or_else(|status| panic!("the function ended at its start, {status}: {}", self.function.log()))
    }

    /// Does this to every process with an invocation in progress; returns how many there were.
    pub(crate) fn inject(&self, fault: ProcessFault) -> usize {
        self.faults.send(fault).unwrap_or_default()
    }

    /// The number of processes started so far.
    pub(crate) fn processes_started(&self) -> usize {
        self.started.get()
    }
}
