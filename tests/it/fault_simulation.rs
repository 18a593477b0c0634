//! The whole bridge played in virtual time, with faults on the real worker: one seed decides everything that happens.
//!
//! A world has a few chats and triggers, the event source mapping ([`postpress_bridge::event_source_mapping`]), several invocations
//! at once, each a process of its own with a clock of its own, the provider's simulator, and table, queue and bus in
//! memory. What goes wrong: invocations die before and after everything that they ask of the outside; requests are throttled, refused,
//! slow, carried out without a reply, or carried out minutes after they were given up on; services are out for minutes;
//! entries of a request fail; messages are delivered while in flight, after their deletion, or given up; the provider loses calls and
//! replies, answers too late, refuses the key, or says what nobody understands; sweeps come twice and at any time. Then the
//! services heal, sweeps go on until nothing is left to do, and the promises of the protocol are held against the log.
//!
//! ```text
//! plan.rs        what a seed decides before anything happens
//! world.rs       the outside of all invocations, and chance
//! invocation.rs  one invocation as a process, and its ports, at which it may die
//! play.rs        a world from its first message until it has run dry
//! history.rs     all that happened; trace.rs: how it reads
//! ledger.rs      the same, put in order by what the promises are about
//! promises.rs    what is promised, held against it; restarts.rs, repeats.rs: why a sync began, an event came again
//! tally.rs       counts over many seeds: what was there to be withstood
//! mutant.rs      the table with a condition left out
//! ```
//!
//! `cargo test` plays 3,000 seeds. More, or one again with its whole trace:
//!
//! ```sh
//! SIMULATION_SEEDS=0..100000 cargo test --locked --test it fault_simulation::every_promise -- --nocapture
//! SIMULATION_SEEDS=17..18 cargo test --locked --test it fault_simulation::every_promise -- --nocapture
//! ```

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

use std::ops::Range;

use mutant::Mutant;
use play::play;
use promises::judge;
use tally::Tally;

/// What `cargo test` plays.
const SEEDS: Range<u64> = 0..3000;
/// Within how many seeds each mutant must be caught.
const MUTANT_SEEDS: Range<u64> = 0..1000;

/// The seeds that were asked for with `SIMULATION_SEEDS=from..to`.
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
fn every_promise_is_kept_whatever_goes_wrong() {
    let asked = seeds_asked_for();
    let seeds = asked.clone().unwrap_or(SEEDS);
    let mut tally = Tally::default();
    let mut broken = Vec::new();
    for seed in seeds.clone() {
        let history = play(seed, None);
        let verdict = judge(&history);
        tally.add(&history, &verdict);
        if seeds.end - seeds.start == 1 || broken.is_empty() && !verdict.breaches.is_empty() {
            println!("{:#?}\n\n{}", history.plan, history.trace());
        }
        if !verdict.breaches.is_empty() {
            broken.push(format!("seed {seed}: {}\nplay it again: {}", verdict.breaches.join("\n  "), again(seed)));
        }
    }
    println!("{tally}");
    assert!(broken.is_empty(), "{} of {seeds:?} broke what is promised:\n{}", broken.len(), broken.join("\n"));
    if asked.is_none() {
        let missing = tally.missing();
        assert!(missing.is_empty(), "what was to be withstood was not there: {missing:?}");
    }
}

#[test]
fn a_seed_reproduces_its_whole_history() {
    for seed in [1, 2, 3, 4, 5, 60, 700] {
        let (one, other) = (play(seed, None), play(seed, None));
        assert_eq!(one.trace(), other.trace(), "seed {seed}");
        assert!(one.entries == other.entries && one.calls == other.calls, "seed {seed}: an id is another");
        assert_ne!(one.trace(), play(seed + 1, None).trace());
    }
}

#[test]
fn a_table_with_a_condition_left_out_is_caught() {
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
