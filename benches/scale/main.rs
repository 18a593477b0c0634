//! A million chats in virtual time: the production worker over the memory backends, behind a model of Lambda's pollers.
//!
//! ```sh
//! cargo bench --locked --bench scale                    # 10,000, 100,000 and 1,000,000 chats
//! cargo bench --locked --bench scale -- 10000 50000     # other numbers
//! cargo bench --locked --bench scale -- plan            # beside what `postpress-bridge plan` says
//! ```
//!
//! The triggers arrive evenly within an hour, one for each chat; syncs last 30 s to an hour, as often below as above six
//! minutes; settings are the template's defaults, except that the maximum concurrency grows with the number of chats. Each
//! number is run twice, in a process of its own: without faults, and with the provider down for ten minutes and, later, the
//! table throttled for ten minutes. Every chat must get exactly one ending, and no sync may be started twice: otherwise the
//! process fails.
//!
//! Beside `plan`, syncs of six minutes arrive for six hours at the rate of a month with 100,000, a million and ten million of them.
//! What a sync takes must agree within a tenth.
//!
//! Processor time is the whole simulation's: worker, pollers, provider, table and queue. It has no HTTP, no TLS, no JSON of
//! the SDKs and no log, so it says how the cost of a poll grows, and not what Lambda takes.

mod outside;
mod pollers;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Duration;

use outside::{Outages, Outside};
use pollers::Pollers;
use postpress_bridge::event_source_mapping::{EventSourceMapping, Handler, InvocationResult};
use postpress_bridge::message::{Record, SWEEP_BODY};
use postpress_bridge::metrics::Metric;
use postpress_bridge::plan::prices::MONTH_SECONDS;
use postpress_bridge::plan::{self, Deployment, SyncProfile};
use postpress_bridge::queue::MemoryQueue;
use postpress_bridge::settings::Config;
use postpress_bridge::time::{Clock, Millis};
use postpress_bridge::worker::Worker;
use tokio::runtime::Builder;
use tokio::time::{Instant, interval, sleep, sleep_until};

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];
const EPOCH: Millis = Millis(1_795_514_400_000);
const MINUTE: Duration = Duration::from_mins(1);
/// Within this time the triggers arrive.
const ARRIVALS: Duration = Duration::from_hours(1);
/// By then every run has ended, if nothing is lost.
const LIMIT: Duration = Duration::from_hours(12);
/// Syncs of a month, for the comparison with `plan`, and how long they arrive.
const MONTHS: [u32; 3] = [100_000, 1_000_000, 10_000_000];
const PART_OF_MONTH: Duration = Duration::from_hours(6);
/// The largest share by which `plan` may be wrong.
const TOLERANCE: f64 = 0.1;

/// `infra/template.yaml`: the function's timeout, the queue's visibility timeout, its redrive policy, the batches, the sweeps.
const INVOCATION: Duration = MINUTE;
const VISIBILITY: Duration = Duration::from_secs(380);
const MAX_RECEIVE_COUNT: u32 = 10;
const BATCH_SIZE: usize = 10;
const WINDOW: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_mins(5);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [one, chats, faults] = &args[..]
        && one == "--one"
    {
        return run(chats.parse().expect("a number of chats"), faults == "faults");
    }
    if args.iter().any(|arg| arg == "plan") {
        return compare_with_plan();
    }
    let asked: Vec<u32> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let sizes = if asked.is_empty() && is_bench { SIZES.to_vec() } else { asked };
    let mut is_ok = true;
    println!("{}", HEADER.join(" | "));
    for chats in sizes {
        for faults in ["none", "faults"] {
            let program = std::env::current_exe().expect("this program");
            let status = Command::new(program).args(["--one", &chats.to_string(), faults]).status();
            is_ok &= status.is_ok_and(|status| status.success());
        }
    }
    if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const HEADER: [&str; 21] = [
    "chats",
    "faults",
    "maximum concurrency",
    "peak readers",
    "polls",
    "polls a chat",
    "processor µs a poll",
    "peak memory, MB",
    "memory a chat, B",
    "lateness mean, s",
    "p99, s",
    "max, s",
    "delivery late mean, ms",
    "invocations",
    "messages an invocation",
    "messages sent",
    "writes",
    "write units, table + index",
    "reads",
    "sweeps",
    "left behind: sum, most",
];

/// A process of Lambda, which has one invocation at a time.
type Process = Worker<Rc<Outside>, Rc<Outside>, Rc<Outside>, Rc<Outside>>;

/// Lambda: a worker for each concurrent invocation.
struct Fleet {
    outside: Rc<Outside>,
    idle: RefCell<Vec<Process>>,
    workers: Cell<u64>,
    invocations: Cell<u64>,
    messages: Cell<u64>,
    /// The sum and the greatest of each metric's values, and their number.
    metrics: RefCell<BTreeMap<Metric, (u64, u64, u64)>>,
}

impl Handler for Fleet {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        let idle = self.idle.borrow_mut().pop();
        let worker = idle.unwrap_or_else(|| {
            self.workers.set(self.workers.get() + 1);
            let port = || Rc::clone(&self.outside);
            let worker = Worker::new(port(), port(), port(), port(), self.outside.clock, Config::default());
            worker.with_seed(self.workers.get())
        });
        let report = worker.handle(batch, ends).await;
        self.idle.borrow_mut().push(worker);
        self.invocations.set(self.invocations.get() + 1);
        self.messages.set(self.messages.get() + u64::try_from(batch.len()).expect("a count"));
        let mut metrics = self.metrics.borrow_mut();
        for (metric, values) in report.metrics.seen() {
            let (sum, most, count) = metrics.entry(metric).or_default();
            *sum += values.iter().sum::<u64>();
            *most = values.iter().copied().fold(*most, u64::max);
            *count += u64::try_from(values.len()).expect("a count");
        }
        InvocationResult::Completed(report.batch_item_failures().cloned().collect())
    }
}

impl Fleet {
    fn of(&self, metric: Metric) -> (u64, u64, u64) {
        self.metrics.borrow().get(&metric).copied().unwrap_or_default()
    }
}

/// What is simulated.
struct Scenario {
    chats: u32,
    /// The triggers arrive evenly within this time.
    arrivals: Duration,
    /// How long every sync lasts, unless they differ.
    length: Option<Duration>,
    /// The maximum concurrency.
    concurrency: usize,
    outages: Outages,
}

impl Scenario {
    fn crowd(chats: u32, has_faults: bool) -> Self {
        let outages = Outages {
            provider: EPOCH + 20 * MINUTE..EPOCH + 30 * MINUTE,
            table: EPOCH + 40 * MINUTE..EPOCH + 50 * MINUTE,
        };
        Self {
            chats,
            arrivals: ARRIVALS,
            length: None,
            concurrency: (chats as usize / 1000).clamp(10, 1000),
            outages: if has_faults { outages } else { Outages::default() },
        }
    }

    /// Syncs as `plan` has them, at the rate of a month with this many.
    fn month(syncs: u32, profile: &SyncProfile, deployment: &Deployment) -> Self {
        let chats = f64::from(syncs) * PART_OF_MONTH.as_secs_f64() / MONTH_SECONDS;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "fewer than the syncs of a month")]
        let chats = chats as u32;
        Self {
            chats,
            arrivals: PART_OF_MONTH,
            length: Some(profile.length),
            concurrency: deployment.max_concurrency as usize,
            outages: Outages::default(),
        }
    }
}

/// A simulation that is over.
struct Simulated {
    outside: Rc<Outside>,
    fleet: Fleet,
    pollers: Pollers,
    took: Duration,
}

fn simulate(scenario: &Scenario) -> Simulated {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let clock = Clock::starting_at(EPOCH);
        let queue = Rc::new(MemoryQueue::new("m", clock, VISIBILITY, MAX_RECEIVE_COUNT));
        let outside = Rc::new(Outside::new(Rc::clone(&queue), clock, scenario.outages.clone(), scenario.length));
        let fleet = Fleet {
            outside: Rc::clone(&outside),
            idle: RefCell::default(),
            workers: Cell::default(),
            invocations: Cell::default(),
            messages: Cell::default(),
            metrics: RefCell::default(),
        };
        let concurrency = scenario.concurrency;
        let mapping = EventSourceMapping { batch_size: BATCH_SIZE, concurrency, invocation: INVOCATION };
        let pollers = Pollers { mapping, window: WINDOW, receives: Cell::new(0), peak: Cell::new(0) };
        let began = Instant::now();
        pollers.run(&queue, &fleet, live(&outside, scenario)).await;
        Simulated { outside, fleet, pollers, took: began.elapsed() }
    })
}

/// Runs one size, prints its row, and fails if a promise was broken.
fn run(chats: u32, has_faults: bool) -> ExitCode {
    let simulated = simulate(&Scenario::crowd(chats, has_faults));
    print_row(&simulated, chats, has_faults);
    if is_sound(&simulated, chats) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what a sync takes in the simulation and in `plan`, and fails if they disagree.
fn compare_with_plan() -> ExitCode {
    let (profile, deployment) = (SyncProfile::default(), Deployment::default());
    let mut agree = true;
    println!("{:>13}  {:<26}{:>10}{:>10}{:>10}", "syncs a month", "for each sync", "simulated", "plan", "ratio");
    for syncs in MONTHS {
        let scenario = Scenario::month(syncs, &profile, &deployment);
        let simulated = simulate(&scenario);
        let planned = plan::month(f64::from(syncs), &profile, &deployment).expect("a plan");
        agree &= is_sound(&simulated, scenario.chats);
        let counts = &simulated.outside.counts;
        let messages = simulated.fleet.messages.get() - simulated.fleet.of(Metric::Sweeps).0;
        let units = counts.table_units.get() + counts.index_units.get();
        let a_sync = |count: u64| as_f64(count) / f64::from(scenario.chats);
        let syncs_per_second = f64::from(syncs) / MONTH_SECONDS;
        let rows = [
            ("calls", a_sync(counts.polls.get()), f64::from(planned.sync.calls)),
            ("messages received", a_sync(messages), f64::from(planned.sync.messages)),
            ("write units", a_sync(units), as_f64(planned.sync.write_units() as u64)),
            (
                "invocations",
                a_sync(simulated.fleet.invocations.get()),
                planned.batching.invocations_per_second / syncs_per_second,
            ),
        ];
        for (what, simulated, planned) in rows {
            let ratio = simulated / planned;
            agree &= (ratio - 1.0).abs() <= TOLERANCE;
            println!("{syncs:>13}  {what:<26}{simulated:>10.2}{planned:>10.2}{ratio:>10.3}");
        }
    }
    if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends the triggers and the sweeps, and returns once every run is over.
async fn live(outside: &Outside, scenario: &Scenario) {
    let began = Instant::now();
    let chats = scenario.chats;
    let triggers = async {
        for chat in 0..chats {
            sleep_until(began + scenario.arrivals.mul_f64(f64::from(chat) / f64::from(chats))).await;
            outside.queue.put(&format!(r#"{{"chat_id":"chat_01HXYZ4QK3WJ8FN3{chat:010}"}}"#), Duration::ZERO);
        }
        while began.elapsed() < LIMIT && (outside.store.open_runs() > 0 || !outside.queue.is_empty()) {
            sleep(Duration::from_secs(10)).await;
        }
    };
    let sweeps = async {
        let mut next = interval(SWEEP_EVERY);
        loop {
            next.tick().await;
            outside.queue.put(SWEEP_BODY, Duration::ZERO);
        }
    };
    tokio::select! {
        () = triggers => {}
        () = sweeps => {}
    }
}

fn print_row(simulated: &Simulated, chats: u32, has_faults: bool) {
    let Simulated { outside, fleet, pollers, took } = simulated;
    let counts = &outside.counts;
    let mut lateness = outside.lateness.borrow_mut();
    lateness.sort_unstable();
    let seconds = |milliseconds: f64| format!("{:.1}", milliseconds / 1000.0);
    let mean = |sum: f64, count: f64| if count == 0.0 { 0.0 } else { sum / count };
    let mean_late = mean(lateness.iter().copied().map(f64::from).sum(), as_f64(lateness.len() as u64));
    let p99 = lateness.get(lateness.len() * 99 / 100).copied().map_or(f64::NAN, f64::from);
    let max = lateness.last().copied().map_or(f64::NAN, f64::from);
    let polls = as_f64(counts.polls.get());
    let peak_kilobytes = as_f64(peak_memory());
    let (late_sum, _, late_count) = fleet.of(Metric::Lag);
    let (left_sum, left_most, _) = fleet.of(Metric::LeftBehind);
    let (sweeps, ..) = fleet.of(Metric::Sweeps);
    let cells = [
        chats.to_string(),
        if has_faults { "provider and table" } else { "none" }.to_owned(),
        pollers.mapping.concurrency.to_string(),
        pollers.peak.get().to_string(),
        counts.polls.get().to_string(),
        format!("{:.2}", polls / f64::from(chats)),
        format!("{:.1}", processor_seconds() * 1e6 / polls),
        format!("{:.0}", peak_kilobytes / 1000.0),
        format!("{:.0}", peak_kilobytes * 1024.0 / f64::from(chats)),
        seconds(mean_late),
        seconds(p99),
        seconds(max),
        format!("{:.0}", mean(as_f64(late_sum), as_f64(late_count))),
        fleet.invocations.get().to_string(),
        format!("{:.2}", as_f64(fleet.messages.get()) / as_f64(fleet.invocations.get())),
        counts.messages.get().to_string(),
        counts.writes.get().to_string(),
        format!("{} + {}", counts.table_units.get(), counts.index_units.get()),
        format!("{} + {} pages", counts.reads.get(), counts.pages.get()),
        sweeps.to_string(),
        format!("{left_sum}, {left_most}"),
    ];
    println!("{}", cells.join(" | "));
    let others = [Metric::Returned, Metric::Revived, Metric::Duplicates, Metric::Retries, Metric::Restarts];
    let others: Vec<_> = others.iter().map(|metric| format!("{} {}", metric.name(), fleet.of(*metric).0)).collect();
    eprintln!(
        "  over after {took:.0?}; {} receives, {} sends, {} puts, {} throttles, {} workers, {} events repeated; {}",
        pollers.receives.get(),
        outside.queue.send_requests(),
        counts.puts.get(),
        counts.throttles.get(),
        fleet.workers.get(),
        outside.repeats.get(),
        others.join(", ")
    );
}

/// Whether every chat was synced once and has its one ending; prints what is broken.
fn is_sound(simulated: &Simulated, chats: u32) -> bool {
    let outside = &simulated.outside;
    let (syncs, endings) = (outside.counts.syncs.get(), outside.lateness.borrow().len());
    let mut breaches = outside.breaches.take();
    if endings != chats as usize || syncs != u64::from(chats) {
        breaches.push(format!("{chats} triggers, {syncs} syncs, {endings} endings"));
    }
    if outside.store.open_runs() > 0 || !outside.queue.dead_letters().is_empty() {
        let dead = outside.queue.dead_letters().len();
        breaches.push(format!("{} open runs, {dead} dead letters", outside.store.open_runs()));
    }
    breaches.iter().take(10).for_each(|breach| eprintln!("  BROKEN: {breach}"));
    breaches.is_empty()
}

#[expect(clippy::cast_precision_loss, reason = "figures of a table")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// This process's user and system time (`proc_pid_stat(5)`, fields 14 and 15, of which Linux counts 100 a second).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    as_f64(ticks) / 100.0
}

/// This process's peak resident memory in kB (`VmHWM`, `proc_pid_status(5)`).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
