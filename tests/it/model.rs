//! The run protocol, searched whole on the code that runs: every order of every step, within a small world.
//!
//! `cargo test` searches small scopes. Larger ones, which take minutes and gigabytes:
//!
//! ```sh
//! MODEL_SCOPE=large cargo test --release --test it model -- --nocapture
//! ```

mod mutant;
mod search;
mod stateless;
mod world;

use mutant::Mutant;
use search::search;
use stateless::Stateless;
use world::{Bridge, Faults};

const NONE: Faults =
    Faults { crashes: 0, duplicates: 0, lost: 0, failed: 0, late: 0, dead_letters: 0, early_sweeps: 0 };

/// Scopes as triggers, handlers at once, faults.
const SMALL: [(usize, usize, Faults); 7] = [
    (2, 2, NONE),
    (1, 2, Faults { duplicates: 1, crashes: 1, ..NONE }),
    (1, 2, Faults { duplicates: 1, early_sweeps: 1, ..NONE }),
    (1, 1, Faults { crashes: 1, late: 1, early_sweeps: 1, ..NONE }),
    (1, 1, Faults { lost: 1, failed: 1, ..NONE }),
    (1, 2, Faults { dead_letters: 1, duplicates: 1, ..NONE }),
    (2, 1, Faults { crashes: 1, duplicates: 1, ..NONE }),
];

const LARGE: [(usize, usize, Faults); 8] = [
    (2, 2, Faults { duplicates: 1, ..NONE }),
    (2, 2, Faults { crashes: 1, ..NONE }),
    (3, 2, NONE),
    (2, 2, Faults { duplicates: 2, ..NONE }),
    (2, 2, Faults { crashes: 2, duplicates: 2, ..NONE }),
    (2, 2, Faults { crashes: 1, late: 1, failed: 1, ..NONE }),
    (2, 2, Faults { crashes: 1, lost: 1, dead_letters: 1, early_sweeps: 1, ..NONE }),
    (3, 2, Faults { crashes: 1, duplicates: 1, ..NONE }),
];

/// Large scopes are asked for.
fn is_large() -> bool {
    std::env::var_os("MODEL_SCOPE").is_some_and(|scope| scope == "large")
}

#[test]
fn every_promise_is_kept_in_every_order_of_events() {
    for (triggers, handlers, faults) in SMALL.iter().chain(LARGE.iter().filter(|_| is_large())).copied() {
        let found = search(&Bridge { triggers, handlers, faults, mutant: None });
        println!("{triggers} triggers, {handlers} handlers, {faults:?}: {} states", found.states);
        assert!(found.violation.is_none(), "{faults:?}\n{}", found.violation.unwrap());
    }
}

#[test]
fn each_clause_that_is_left_out_is_caught() {
    for (mutant, handlers, faults) in Mutant::ALL.into_iter().chain(Mutant::LARGE.into_iter().filter(|_| is_large())) {
        let found = search(&Bridge { triggers: 2, handlers, faults, mutant: Some(mutant) });
        let violation =
            found.violation.unwrap_or_else(|| panic!("{mutant:?} is not caught in {} states", found.states));
        println!("{mutant:?}, caught after {} states:\n{violation}\n", found.states);
    }
}

#[test]
fn a_poller_without_a_table_restarts_a_finished_sync_with_no_fault_at_all() {
    let found = search(&Stateless { triggers: 2 });
    let violation = found.violation.expect("two triggers are enough");
    println!("{violation}");
    assert!(search(&Stateless { triggers: 1 }).violation.is_none(), "one trigger alone is polled rightly");
}
