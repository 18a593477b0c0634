//! The start of the deployed worker beside the smallest function that `lambda_runtime` makes: how long until the process
//! asks for its first event, how long until that event, one trigger, is done, and what both take of memory.
//!
//! ```sh
//! cargo bench --locked --bench start                        # 100 starts of each
//! cargo bench --locked --bench start -- 20                  # another number
//! cargo bench --locked --bench start -- 20 path/to/worker   # also of a worker that was built before
//! ```
//!
//! It builds both programs as they are deployed, and starts them by turns, so that a busy machine slows down all. AWS and the
//! provider are on loopback and answer at once: the times are the programs' own, and only their ratios say anything.

mod aws;
#[allow(clippy::unwrap_used, reason = "it is the tests', which fail by panicking")]
#[path = "../../tests/it/harness/lambda/runtime_api.rs"]
mod runtime_api;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postpress_bridge::simulator::{Faults, Server, Simulator};
use runtime_api::{Invocation, Posted, RuntimeApi};
use serde_json::json;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

const STARTS: usize = 100;
const INVOCATION: Duration = Duration::from_secs(30);
/// Lambda gives an initialization ten seconds.
const START_MAX: Duration = Duration::from_secs(10);

/// One start of a program.
#[derive(Default)]
struct Start {
    /// From its execution to its first request for an event.
    asked: Duration,
    /// From its execution to its answer to that event.
    answered: Duration,
    peak_memory_kib: u64,
}

/// What is measured, and how it is printed.
type Measure = (&'static str, fn(&Start) -> f64);

const MEASURES: [Measure; 3] = [
    ("execution to the first request for an event, ms", |start| start.asked.as_secs_f64() * 1e3),
    ("execution to the first event done, ms", |start| start.answered.as_secs_f64() * 1e3),
    ("peak memory, MiB", |start| f64::from(u32::try_from(start.peak_memory_kib).unwrap_or(u32::MAX)) / 1024.0),
];

fn main() {
    let (flags, arguments): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let (starts, others) = match arguments.split_first() {
        Some((starts, others)) => (starts.parse().expect("a number of starts"), others),
        None if flags.iter().any(|flag| flag == "--bench") => (STARTS, &[][..]),
        // `cargo test --benches` only wants to know whether it can be built.
        None => return,
    };
    let mut programs = vec![
        ("echo", build(&["--example", "bare-echo"], "examples/bare-echo")),
        ("worker", build(&["--bin", "sync-worker"], "sync-worker")),
    ];
    programs.extend(others.iter().map(|path| ("other", PathBuf::from(path))));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let measured = LocalSet::new().block_on(&runtime, measure(&programs, starts));

    println!("{starts} starts of each by turns; medians, and in brackets the ratio to the echo");
    print_row("", programs.iter().map(|(name, _)| (*name).to_owned()));
    for (what, of) in MEASURES {
        print_row(what, ratios(measured.iter().map(|starts| median(starts, of))));
    }
    print_row("size, MB", ratios(programs.iter().map(|(_, program)| megabytes(program))));
}

fn print_row(what: &str, cells: impl Iterator<Item = String>) {
    let cells: String = cells.map(|cell| format!("{cell:>16}")).collect();
    println!("{what:<50}{cells}");
}

/// Each value with its ratio to the first.
fn ratios(values: impl Iterator<Item = f64> + Clone) -> impl Iterator<Item = String> {
    let first = values.clone().next().unwrap_or(f64::NAN);
    values.map(move |value| format!("{value:.2} ({:.2})", value / first))
}

/// Builds a program of this package in the release profile.
fn build(what: &[&str], path: &str) -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut command = Command::new(env!("CARGO"));
    // What cargo tells this program about itself would make it compile `ring`, and all that needs it, again.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") || name == "OUT_DIR") {
        command.env_remove(name);
    }
    command.args(["build", "--locked", "--release", "--features", "aws", "--manifest-path", manifest]).args(what);
    assert!(command.status().expect("cargo runs").success(), "{command:?}");
    // `target/release/deps/start-…`
    let this = std::env::current_exe().expect("this program's path");
    this.ancestors().nth(3).expect("a target directory").join("release").join(path)
}

/// Starts the programs by turns; returns the starts of each.
async fn measure(programs: &[(&str, PathBuf)], starts: usize) -> Vec<Vec<Start>> {
    let aws = aws::listen().await;
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator).await.expect("a free port");
    let base_url = server.base_url();
    spawn_local(server.run(std::future::pending()));

    let mut measured: Vec<_> = programs.iter().map(|_| Vec::new()).collect();
    // The first round loads the programs from disk.
    for round in 0..=starts {
        for ((_, program), of_program) in programs.iter().zip(&mut measured) {
            let start = start(program, aws, &base_url, round).await;
            if round > 0 {
                of_program.push(start);
            }
        }
    }
    measured
}

async fn start(program: &Path, aws: SocketAddr, base_url: &str, round: usize) -> Start {
    let mut api = RuntimeApi::listen().await;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api.address())
        .env("AWS_LAMBDA_FUNCTION_NAME", "start")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "start")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "start")
        .envs(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].map(|name| (name, "none")))
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ENDPOINT_URL", format!("http://{aws}"))
        .env("POSTPRESS_API_KEY", "none")
        .env("POSTPRESS_BASE_URL", base_url)
        .env("BRIDGE_QUEUE_URL", format!("http://{aws}/123456789012/queue"))
        .env("BRIDGE_TABLE", "runs")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());

    let executed = Instant::now();
    let mut process = command.spawn().expect("the program starts");
    if timeout(START_MAX, api.asked()).await.is_err() {
        panic!("{} asked for no event within {START_MAX:?}: {:?}", program.display(), process.try_wait());
    }
    let asked = executed.elapsed();
    api.hand_out(trigger(round));
    let posted = api.posted().await;
    let answered = executed.elapsed();

    let body = match posted {
        Posted::Response { request_id, body } if request_id == round.to_string() => body,
        Posted::Response { request_id, .. } => panic!("an answer to {request_id}, not {round}"),
        Posted::Error(error) => panic!("{}: {error}", program.display()),
    };
    assert!(!body.contains("itemIdentifier"), "the trigger was returned: {body}");
    let peak_memory_kib = peak_memory_kib(process.id());
    process.kill().and_then(|()| process.wait()).expect("a process that can be killed");
    Start { asked, answered, peak_memory_kib }
}

/// An event with one trigger, for a chat that syncs longer than this benchmark.
fn trigger(round: usize) -> Invocation {
    let record = json!({
        "messageId": format!("message-{round}"),
        "receiptHandle": "of no message",
        "body": json!({ "chat_id": format!("done-in-10h~{round}") }).to_string(),
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1795514400137" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    });
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970") + INVOCATION;
    let deadline_ms = u64::try_from(deadline.as_millis()).expect("a deadline in this age");
    Invocation { request_id: round.to_string(), deadline_ms, event: json!({ "Records": [record] }).to_string() }
}

/// The most memory that a process has used so far; 0 where `/proc` does not say.
fn peak_memory_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

fn median(starts: &[Start], of: fn(&Start) -> f64) -> f64 {
    let mut values: Vec<f64> = starts.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn megabytes(program: &Path) -> f64 {
    let bytes = fs::metadata(program).map_or(0, |file| file.len());
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6
}
