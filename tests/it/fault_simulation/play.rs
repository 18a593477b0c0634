//! Runs a seed's world from its first message until it is idle.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::event_source_mapping::{Handler, InvocationResult};
use postpress_bridge::message::Record;
use postpress_bridge::time::Clock;
use postpress_bridge::worker::Worker;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::history::{History, Operation, Point, What};
use super::invocation::Invocation;
use super::mutant::Mutant;
use super::plan::{Arrival, Kind, Plan};
use super::world::World;

/// How often a recovered world is swept.
const SWEEP_EVERY: Duration = Duration::from_mins(10);
/// By when a recovered world must be idle: far longer than the doubling intervals of the sweeps.
const DRY_WITHIN: Duration = Duration::from_hours(48);

/// Runs the world of a seed, on a table that may omit a condition.
pub(super) fn play(seed: u64, mutant: Option<Mutant>) -> History {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let plan = Plan::of(seed);
        let world = Rc::new(World::new(plan.clone(), mutant));
        let lambda = Lambda::new(Rc::clone(&world));
        let is_dry = Cell::new(false);
        let life = async { is_dry.set(live(&world, mutant).await) };
        plan.mapping.run(&*world, &lambda, life).await;
        let mut items = world.items();
        items.sort_by(|one, other| one.subject.cmp(&other.subject));
        History {
            plan,
            entries: world.chance.log.take(),
            calls: world.provider.log(),
            items,
            dead_letters: world.queue.dead_letters(),
            is_dry: is_dry.get(),
        }
    })
}

/// Everything that comes from outside, the recovery, and then sweeps until nothing is left to do. Returns whether that was
/// reached.
async fn live(world: &World, mutant: Option<Mutant>) -> bool {
    let began = Instant::now();
    let plan = &world.chance.plan;
    for Arrival { at, body, kind } in plan.arrivals.clone() {
        if kind == Kind::Sweep && mutant == Some(Mutant::NoSweep) {
            continue;
        }
        sleep_until(began + at).await;
        put(world, &body, kind);
    }
    sleep_until(began + plan.heals_at).await;
    world.chance.heal();
    while began.elapsed() < plan.heals_at + DRY_WITHIN {
        sleep(SWEEP_EVERY).await;
        let open = world.items().iter().any(|item| item.state.open().is_some());
        if !open && world.queue.is_empty() {
            return true;
        }
        if mutant != Some(Mutant::NoSweep) {
            put(world, postpress_bridge::message::SWEEP_BODY, Kind::Sweep);
        }
    }
    false
}

fn put(world: &World, body: &str, kind: Kind) {
    if kind == Kind::Sweep {
        world.crowd_is_due(world.clock.now());
    }
    let message = world.queue.put(body, Duration::ZERO);
    world.chance.log.note(0, What::Put { message, kind, body: body.to_owned() });
}

/// Lambda: one process per invocation.
struct Lambda {
    world: Rc<World>,
    began: Instant,
    invocations: Cell<u32>,
    calls: Rc<Cell<u64>>,
}

impl Lambda {
    fn new(world: Rc<World>) -> Self {
        Self { world, began: Instant::now(), invocations: Cell::new(0), calls: Rc::default() }
    }
}

impl Handler for Lambda {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        self.invocations.set(self.invocations.get() + 1);
        let (number, world) = (self.invocations.get(), &self.world);
        let plan = &world.chance.plan;
        let process = Rc::new(Invocation::new(number, Rc::clone(world), Rc::clone(&self.calls)));
        let messages = batch.iter().map(|record| (record.message_id.clone(), record.receive_count)).collect();
        process.note(What::Invoked { messages });
        let port = || Rc::clone(&process);
        let clock: Clock = world.chance.clock(self.began);
        let worker = Worker::new(port(), port(), port(), port(), clock, plan.config.clone());
        let worker = worker.with_seed(plan.seed << 32 | u64::from(number));
        let life = async {
            let report = worker.handle(batch, ends).await;
            process.point(Point::Before(Operation::Answer)).await;
            report
        };
        tokio::select! {
            biased;
            () = process.death() => InvocationResult::Killed,
            report = life => {
                let returned = report.batch_item_failures().cloned().collect();
                process.note(What::Returned { dispositions: report.messages });
                InvocationResult::Completed(returned)
            }
        }
    }
}
