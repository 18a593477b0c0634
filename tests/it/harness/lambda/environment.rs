//! An execution environment: one process of the function, from its start to its death.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Function;
use super::runtime_api::{Invocation, Posted, RuntimeApi};
use crate::harness::canary::{CANARY, assert_no_secret};
use crate::harness::emulator::{CREDENTIAL, REGION};

/// The time that Lambda allows for the initialization.
const INIT_MAX: Duration = Duration::from_secs(10);

/// The environment variables of every function.
const LAMBDA_ENVIRONMENT: [(&str, &str); 13] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "sync-worker"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/sync-worker"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/24/[$LATEST]0123456789abcdef"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_REGION", REGION),
    ("AWS_DEFAULT_REGION", REGION),
    ("AWS_ACCESS_KEY_ID", CREDENTIAL),
    ("AWS_SECRET_ACCESS_KEY", CREDENTIAL),
    ("AWS_SESSION_TOKEN", CREDENTIAL),
    ("_HANDLER", "bootstrap"),
    ("TZ", ":UTC"),
];

/// An invocation's deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// When it is killed.
    pub(crate) at: Instant,
    /// The function's deadline, `Lambda-Runtime-Deadline-Ms`.
    pub(crate) header_ms: u64,
}

impl Deadline {
    /// After `time`, with the header that Lambda sends: in milliseconds since 1970.
    pub(crate) fn after(time: Duration) -> Self {
        let header = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        Self { at: Instant::now() + time, header_ms: u64::try_from(header.as_millis()).unwrap() }
    }
}

/// How an invocation ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The function answered.
    Answered(Value),
    /// The function posted an error, or exited. Its process is gone.
    Failed(String),
    /// It was killed, at its deadline or by a [`ProcessFault`]. Its process is gone.
    Killed,
}

/// A fault of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProcessFault {
    /// It is killed at once.
    Kill,
    /// It is stopped, until its deadline kills it.
    Freeze,
}

/// One process and its Runtime API. It is killed on drop.
pub(crate) struct Environment {
    process: Child,
    api: RuntimeApi,
}

impl Environment {
    /// Starts a process and waits until it asks for work.
    ///
    /// # Errors
    /// If it exits instead.
    ///
    /// # Panics
    /// If it neither asks nor exits in the time that Lambda allows.
    pub(crate) async fn start(function: &Function) -> Result<Self, ExitStatus> {
        let mut api = RuntimeApi::listen().await;
        let mut process = Command::new(&function.program)
            .env_clear()
            .envs(LAMBDA_ENVIRONMENT)
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("BRIDGE_LOG", "trace") // to reveal any secret
            .envs(function.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(function.records.open())
            .stderr(function.log.open())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        tokio::select! {
            () = api.asked() => Ok(Self { process, api }),
            status = process.wait() => Err(status.unwrap()),
            () = tokio::time::sleep(INIT_MAX) => panic!("no start within {INIT_MAX:?}: {}", function.log()),
        }
    }

    /// Passes the process an event, and waits until it has answered or is dead.
    pub(crate) async fn invoke(
        &mut self,
        event: &Value,
        deadline: Deadline,
        faults: &mut broadcast::Receiver<ProcessFault>,
    ) -> Outcome {
        let request_id = Uuid::new_v4().to_string();
        let (deadline_ms, event) = (deadline.header_ms, event.to_string());
        self.api.hand_out(Invocation { request_id: request_id.clone(), deadline_ms, event });
        loop {
            tokio::select! {
                posted = self.api.posted() => return match posted {
                    Posted::Response { request_id: id, body } if id == request_id => {
                        assert_no_secret("the function's answer", &body);
                        Outcome::Answered(serde_json::from_str(&body).unwrap())
                    }
                    Posted::Response { request_id: id, .. } => Outcome::Failed(format!("an answer to {id}, not {request_id}")),
                    Posted::Error(error) => Outcome::Failed(error),
                },
                status = self.process.wait() => return Outcome::Failed(format!("the process ended, {}", status.unwrap())),
                () = sleep_until(deadline.at) => break,
                fault = faults.recv() => match fault {
                    Ok(ProcessFault::Kill) => break,
                    Ok(ProcessFault::Freeze) => self.freeze().await,
                    Err(RecvError::Closed | RecvError::Lagged(_)) => panic!("{fault:?}"),
                }
            }
        }
        self.process.kill().await.unwrap();
        Outcome::Killed
    }

    /// The most memory that the process has used so far.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends SIGSTOP: the process stops without noticing.
    async fn freeze(&self) {
        let id = self.process.id().unwrap();
        assert!(signal("STOP", id).await, "{id} is gone");
    }
}

/// Sends a signal; returns false if there is no such process.
async fn signal(name: &str, id: u32) -> bool {
    let kill = format!("kill -{name} {id}");
    Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().await.unwrap().success()
}

#[tokio::test]
async fn a_process_ends_with_the_panic_of_its_test() {
    let settings = [("BRIDGE_BACKEND", "memory"), ("POSTPRESS_API_KEY", CANARY)];
    let function = Function::sync_worker(settings, INIT_MAX);
    let environment = Environment::start(&function).await.unwrap();
    let id = environment.process.id().unwrap();
    assert!(signal("0", id).await);
    let panicked = tokio::spawn(async move {
        let _environment = environment;
        panic!("as intended");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    while signal("0", id).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
