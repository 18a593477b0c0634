//! The whole bridge in virtual time, with faults around the real worker: one seed determines everything that happens.
//!
//! A world has a few chats and triggers, the event source mapping ([`postpress_bridge::event_source_mapping`]), several
//! concurrent invocations, each a process with its own clock, the provider's simulator, and table, queue and bus in memory.
//! Its faults: invocations die before and after every request to the outside; requests are throttled, refused, slow,
//! executed without a reply, or executed minutes after they were abandoned; services are down for minutes; entries of a
//! request fail; messages are delivered while in flight, delivered after their deletion, or dead-lettered; the provider
//! loses calls and replies, answers too late, rejects the key, or sends unusable answers; sweeps run twice and at any time,
//! and may have more healthy runs to look at than they have time for.
//! Then the services recover, sweeps run until nothing is left to do, and the protocol's promises are checked against the
//! log.
//!
//! ```text
//! plan.rs        what a seed determines before anything happens
//! world.rs       the outside of all invocations, and the random choices
//! invocation.rs  one invocation as a process, and its ports, at which it may die
//! crowd.rs       healthy runs that keep the sweeps busy
//! play.rs        runs a world from its first message until it is idle
//! history.rs     everything that happened; trace.rs: its text form
//! ledger.rs      the same, indexed by the subjects of the promises
//! promises.rs    the promises, checked against it; restarts.rs, repeats.rs: why a sync restarted, an event was repeated
//! tally.rs       counts over many seeds: which faults occurred
//! mutant.rs      the table with a condition omitted
//! ```
//!
//! `cargo test` runs 3,000 seeds. To run more, or one again with its whole trace:
//!
//! ```sh
//! SIMULATION_SEEDS=0..100000 cargo test --locked --test it fault_simulation::every_promise -- --nocapture
//! SIMULATION_SEEDS=17..18 cargo test --locked --test it fault_simulation::every_promise -- --nocapture
//! ```

mod crowd;
mod history;
mod invocation;
mod ledger;
mod mutant;
mod plan;
mod play;
mod promises;
mod repeats;
mod restarts;
mod tally;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, available_parallelism};

use mutant::Mutant;
use play::play;
use promises::judge;
use tally::Tally;

/// The seeds that `cargo test` runs.
const SEEDS: Range<u64> = 0..3000;
/// Within how many seeds each mutant must be caught.
const MUTANT_SEEDS: Range<u64> = 0..1000;

/// The seeds requested with `SIMULATION_SEEDS=from..to`.
fn seeds_asked_for() -> Option<Range<u64>> {
    let asked = std::env::var("SIMULATION_SEEDS").ok()?;
    let (from, to) = asked.split_once("..").expect("SIMULATION_SEEDS is from..to");
    let number = |text: &str| text.parse().expect("SIMULATION_SEEDS is from..to, two whole numbers");
    Some(number(from)..number(to))
}

fn again(seed: u64) -> String {
    let next = seed + 1;
    format!(
        "SIMULATION_SEEDS={seed}..{next} cargo test --locked --test it fault_simulation::every_promise -- --nocapture"
    )
}

#[test]
fn every_promise_is_kept_under_all_faults() {
    let asked = seeds_asked_for();
    let seeds = asked.clone().unwrap_or(SEEDS);
    let (tally, broken) = (Mutex::new(Tally::default()), Mutex::new(BTreeMap::new()));
    let next = AtomicU64::new(seeds.start);
    let play_seeds = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed)) {
            let history = play(seed, None);
            let verdict = judge(&history);
            tally.lock().unwrap().add(&history, &verdict);
            let mut broken = broken.lock().unwrap();
            if seeds.end - seeds.start == 1 || broken.is_empty() && !verdict.breaches.is_empty() {
                println!("{:#?}\n\n{}", history.plan, history.trace());
            }
            if !verdict.breaches.is_empty() {
                let breaches = verdict.breaches.join("\n  ");
                broken.insert(seed, format!("seed {seed}: {breaches}\nrun it again: {}", again(seed)));
            }
        }
    };
    // A world is one thread's, and no two have anything in common.
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(play_seeds)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
    });
    let (tally, broken) = (tally.into_inner().unwrap(), broken.into_inner().unwrap());
    let broken: Vec<String> = broken.into_values().collect();
    println!("{tally}");
    assert!(broken.is_empty(), "{} of {seeds:?} broke a promise:\n{}", broken.len(), broken.join("\n"));
    if asked.is_none() {
        let missing = tally.missing();
        assert!(missing.is_empty(), "these faults never occurred: {missing:?}");
    }
}

#[test]
fn a_seed_reproduces_its_whole_history() {
    for seed in [1, 2, 3, 4, 5, 60, 700] {
        let (one, other) = (play(seed, None), play(seed, None));
        assert_eq!(one.trace(), other.trace(), "seed {seed}");
        assert!(one.entries == other.entries && one.calls == other.calls, "seed {seed}: ids differ");
        assert_ne!(one.trace(), play(seed + 1, None).trace());
    }
}

#[test]
fn a_table_that_omits_a_condition_is_caught() {
    for mutant in Mutant::ALL {
        let caught = MUTANT_SEEDS.into_iter().find_map(|seed| {
            let breaches = judge(&play(seed, Some(mutant))).breaches;
            breaches.into_iter().next().map(|breach| (seed, breach))
        });
        let (seed, breach) = caught.unwrap_or_else(|| panic!("{mutant:?} is not caught"));
        println!("{mutant:?} is caught by seed {seed}: {breach}");
        assert!(judge(&play(seed, None)).breaches.is_empty(), "seed {seed} breaks a promise without {mutant:?} too");
    }
}
