//! The run protocol, searched whole on the code that runs: every order of every step, within a small world.
//!
//! `scope` is what a world has in it, `state` the world at one moment, and `faults` what can go wrong in it; `handler`,
//! `environment` and `provider` are what can happen next, `promises` what must hold, `mutant` and `clauses` the protocol
//! with one clause left out, `canonical` and `search` the search. `stateless` is what there would be without a protocol.
//!
//! `cargo test` searches small scopes. The large ones, which `.ci/proofs` searches every week:
//!
//! ```sh
//! MODEL_SCOPE=large cargo test --locked --profile model --test it model:: -- --nocapture --test-threads 1
//! ```
//!
//! No promise is broken in any of them; `docs/reliability.md` has the figures. Each mutant leaves a clause of the protocol out.
//! `clauses` says which of them are caught, which are harmless where they decide something, and which clauses decide nothing
//! that the others leave open; and for all of them the scopes that were searched.
//!
//! # What is stricter here than the protocol's words
//!
//! - S1: each terminal answer is followed from the provider to the table (`provider`). A call may restart a finished sync only
//!   if that very answer was lost in one of the stated ways: the reply to its call, the process that had it, or the poll that
//!   carried it. Another claim may come before that poll only if the sweep sent its message, or if the message that found the
//!   answer was delivered again: its handler died after the send or was told that the send failed, or SQS delivered it twice.
//!   And it must have been tried to record the answer before it is sent on.
//! - S3: the way to a published ending needs no further fault and nothing that lands late, and the sweep only where the message
//!   that the run lives by was lost: dead-lettered, or acknowledged by one delivery while another had claimed and then failed.
//! - S4: while a holder is at work nobody else claims, unless its lease was taken as over because clocks are too far apart, and
//!   its own message was delivered twice or the sweep sent a poll.
//! - S5: a request is one request, in however many messages with its `idempotency_key` it comes.
//!
//! That a fault happened somewhere excuses nothing. When it did (two faults excused any claim that came before an answer), two
//! of these mutants passed for harmless: `PollIgnoresTheHolder` and `AnswerIsForgottenOnceClaimed`.
//!
//! # Why not stateright
//!
//! Its `eventually` says nothing of cycles and joins of ways (its documentation says so), and S3 is about those; the search
//! itself is 150 lines.

mod canonical;
mod clauses;
mod environment;
mod faults;
mod handler;
mod mutant;
mod promises;
mod provider;
mod scope;
mod search;
mod state;
mod stateless;

use std::time::Instant;

use clauses::{CAUGHT, HARMLESS, IMPLIED, IMPLIED_IN, IMPLIED_IN_LARGE};
use mutant::Mutant;
use scope::{LARGE, SMALL, Scope, scope};
use search::{Found, search};
use state::Bridge;
use stateless::Stateless;

fn is_large() -> bool {
    std::env::var_os("MODEL_SCOPE").is_some_and(|scope| scope == "large")
}

#[test]
fn every_promise_is_kept_in_every_order_of_events() {
    let large: &[Scope] = if is_large() { LARGE } else { &[] };
    for scope in SMALL.iter().chain(large) {
        let begin = Instant::now();
        let Found { states, transitions, violation } = search(&Bridge::new(*scope, None));
        println!("{scope}: {states} states, {transitions} transitions, {:.1} s", begin.elapsed().as_secs_f64());
        assert!(violation.is_none(), "{scope}\n{}", violation.unwrap());
    }
}

#[test]
fn each_clause_that_is_left_out_is_caught() {
    for (clause, mutant, requests, handlers, faults) in CAUGHT.iter().copied() {
        let found = search(&Bridge::new(scope(requests, handlers, faults), Some(mutant)));
        let violation = found.violation.unwrap_or_else(|| panic!("{clause}: {mutant:?} is not caught"));
        println!("{clause}: {mutant:?}, caught after {} states, {faults}:\n{violation}\n", found.states);
    }
}

/// The number of times that leaving a clause out changed a step. It must break no promise.
fn differences(clause: &str, mutant: Mutant, reason: &str, scope: Scope) -> u64 {
    let bridge = Bridge::new(scope, Some(mutant));
    let Found { states, violation, .. } = search(&bridge);
    let differences = bridge.differences();
    println!("{clause}: {mutant:?}, {scope}: {states} states, {differences} steps changed");
    if let Some(violation) = violation {
        panic!("{clause}: {mutant:?} is not harmless ({reason}), {scope}:\n{violation}");
    }
    differences
}

/// If one is caught, it belongs among the others.
#[test]
fn what_is_said_to_be_harmless_to_leave_out_is_so_where_it_decides() {
    for (clause, mutant, reason, small, large) in HARMLESS.iter().copied() {
        let large = if is_large() { large } else { &[] };
        for scope in small.iter().chain(large) {
            let differences = differences(clause, mutant, reason, *scope);
            assert!(differences > 0, "{clause}: {mutant:?} decides nothing in this scope: {scope}");
        }
    }
}

#[test]
fn what_other_clauses_imply_decides_nothing() {
    let large = if is_large() { IMPLIED_IN_LARGE } else { &[] };
    for (clause, mutant, reason) in IMPLIED.iter().copied() {
        for scope in IMPLIED_IN.iter().chain(large) {
            let differences = differences(clause, mutant, reason, *scope);
            assert_eq!(differences, 0, "{clause}: {mutant:?} does decide something ({reason}): {scope}");
        }
    }
}

#[test]
fn a_poller_without_a_table_restarts_a_finished_sync_with_no_fault_at_all() {
    let violation = search(&Stateless { triggers: 2 }).violation.expect("two triggers are enough");
    println!("{violation}");
    assert!(search(&Stateless { triggers: 1 }).violation.is_none(), "one trigger alone is polled rightly");
}
