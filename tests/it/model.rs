//! Exhaustive search of the run protocol on the production code: every order of every step, in small worlds.
//!
//! `scope` defines what a world contains, `state` the world at one moment, and `faults` its possible faults; `handler`,
//! `environment` and `provider` define what can happen next, `promises` what must hold, `mutant` and `clauses` the protocol
//! with one clause omitted, `canonical` and `search` the search. `stateless` is the bridge without the protocol.
//!
//! `cargo test` searches small scopes. `.ci/proofs` searches the large ones every week:
//!
//! ```sh
//! MODEL_SCOPE=large cargo test --locked --profile model --test it model:: -- --nocapture --test-threads 1
//! ```
//!
//! No promise is broken in any of them; `docs/reliability.md` has the figures. Each mutant omits a clause of the protocol.
//! `clauses` lists which mutants are caught, which are harmless where the clause has an effect, and which clauses are
//! implied by others, with the scopes that were searched for each.
//!
//! # What is stricter here than the protocol's text
//!
//! - S1: each terminal answer is followed from the provider to the table (`provider`). A call may restart a finished sync
//!   only if that very answer was lost in one of the stated ways: the reply to its call, the process that had it, or the
//!   poll that carried it. Another claim may come before that poll only if the sweep sent its message, or if the message
//!   that found the answer was delivered again: its handler died after the send or got an error for it, or SQS delivered it
//!   twice. And the answer must have been tried to be recorded before it is forwarded.
//! - S3: the path to a published ending needs no further fault and no late effect, and needs the sweep only if the message
//!   that drives the run was lost: dead-lettered, or acknowledged by one delivery while another had claimed and then failed.
//! - S4: while a holder works there is no other claim, unless its lease was considered expired because clocks differ too
//!   much, and its own message was delivered twice or the sweep sent a poll.
//! - S5: a request is one request, no matter how many messages carry its `idempotency_key`.
//!
//! A fault elsewhere excuses nothing. When it did (two faults excused any claim that came before an answer), two of these
//! mutants seemed harmless: `PollIgnoresTheHolder` and `AnswerIsForgottenOnceClaimed`.
//!
//! # Why not stateright
//!
//! Its `eventually` does not handle cycles and joining paths (as its documentation says), and S3 is about those; the search
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

use clauses::{CAUGHT, CAUGHT_LATER, HARMLESS, IMPLIED, IMPLIED_IN, IMPLIED_IN_LARGE};
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
fn every_omitted_clause_is_caught() {
    let caught = CAUGHT
        .iter()
        .map(|(clause, mutant, requests, handlers, faults)| (*clause, *mutant, scope(requests, *handlers, *faults)));
    for (clause, mutant, scope) in caught.chain(CAUGHT_LATER.iter().copied()) {
        let found = search(&Bridge::new(scope, Some(mutant)));
        let violation = found.violation.unwrap_or_else(|| panic!("{clause}: {mutant:?} is not caught"));
        println!("{clause}: {mutant:?}, caught after {} states, {scope}:\n{violation}\n", found.states);
    }
}

/// The number of steps that omitting a clause changed. No promise may be broken.
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

/// A clause that is caught belongs among the others.
#[test]
fn harmless_clauses_break_nothing_where_they_have_an_effect() {
    for (clause, mutant, reason, small, large) in HARMLESS.iter().copied() {
        let large = if is_large() { large } else { &[] };
        for scope in small.iter().chain(large) {
            let differences = differences(clause, mutant, reason, *scope);
            assert!(differences > 0, "{clause}: {mutant:?} decides nothing in this scope: {scope}");
        }
    }
}

#[test]
fn implied_clauses_have_no_effect() {
    let large = if is_large() { IMPLIED_IN_LARGE } else { &[] };
    for (clause, mutant, reason) in IMPLIED.iter().copied() {
        for scope in IMPLIED_IN.iter().chain(large) {
            let differences = differences(clause, mutant, reason, *scope);
            assert_eq!(differences, 0, "{clause}: {mutant:?} does decide something ({reason}): {scope}");
        }
    }
}

#[test]
fn a_poller_without_a_table_restarts_a_finished_sync_without_any_fault() {
    let violation = search(&Stateless { triggers: 2 }).violation.expect("two triggers suffice");
    println!("{violation}");
    assert!(search(&Stateless { triggers: 1 }).violation.is_none(), "one trigger alone is polled correctly");
}
