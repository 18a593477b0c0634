//! Properties that hold for any input, checked with the seeds of `fuzz/`, the samples in `events/`, and mutations of both.
//! Coverage-guided search is run by hand, as `fuzz/src/lib.rs` explains.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::files::read_files;
use crate::sample_inputs;

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a library of its own, for the search guided by coverage")]
pub(crate) mod invariants;

use invariants::{addresses, answers, own_messages, triggers};

/// The number of mutations for each target.
const MUTATIONS: u32 = 500;

/// Tokens that matter to parsers and are rare in random input.
const TOKENS: [&[u8]; 33] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b":",
    b",",
    b"\n",
    b" ",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"null",
    b"1e400",
    b"-0",
    b"18446744073709551616",
    b"\\ud800",
    b"\\u005f",
    b"\"chat_id\":",
    b"\"metadata\":{},",
    b"\"workspace\":\"w\",",
    b"\"Message\":",
    b"\"Type\":\"Notification\",",
    b"\"postpress_bridge\":\"poll\",\"v\":1,",
    b"\"schema_version\":\"1\",\"event_id\":\"00000000-0000-4000-8000-000000000001\",\"origin\":\"bridge\",",
    b"SYNC_DONE",
    b"pp_live_hunter2",
    b"500",
    b"..",
    b"%2e",
    b"@",
    b"?",
    b"#",
];

/// One change to an input.
#[derive(Debug, Clone)]
enum Mutation {
    Insert(Index, Index),
    Delete(Index, Index),
    Repeat(Index, Index, usize),
    Splice(Index, Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = any::<Index>;
    prop_oneof![
        4 => (place(), place()).prop_map(|(at, token)| Mutation::Insert(at, token)),
        2 => (place(), place()).prop_map(|(from, to)| Mutation::Delete(from, to)),
        1 => (place(), place(), 2..50_usize).prop_map(|(from, to, times)| Mutation::Repeat(from, to, times)),
        2 => (place(), place(), place()).prop_map(|(at, seed, from)| Mutation::Splice(at, seed, from)),
    ]
}

impl Mutation {
    fn apply(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = |index: &Index| index.index(input.len() + 1);
        let range = |from: &Index, to: &Index| {
            let (from, to) = (place(from), place(to));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Insert(at, token) => {
                let at = place(at);
                input.splice(at..at, token.get(&TOKENS).iter().copied());
            }
            Self::Delete(from, to) => drop(input.drain(range(from, to))),
            Self::Repeat(from, to, times) => {
                let range = range(from, to);
                let part = input[range.clone()].repeat(*times);
                input.splice(range, part);
            }
            Self::Splice(at, seed, from) => {
                let (at, other) = (place(at), seed.get(seeds));
                input.truncate(at);
                input.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
        input.truncate(64 * 1024);
    }
}

/// The committed inputs of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// Every body in `events/`, and every published event.
fn sample_bodies() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/samples");
    let mut bodies: Vec<_> = read_files(&directory).into_values().map(String::into_bytes).collect();
    for text in sample_inputs::inputs().values() {
        let event: serde_json::Value = serde_json::from_str(text).unwrap();
        let records = event["Records"].as_array().unwrap().iter();
        bodies.extend(records.map(|record| record["body"].as_str().unwrap().as_bytes().to_vec()));
    }
    bodies
}

fn hold(check: fn(&[u8]), seeds: &[Vec<u8>]) {
    assert!(seeds.len() > 10);
    seeds.iter().for_each(|seed| check(seed));
    let mutated = (any::<Index>(), proptest::collection::vec(mutation(), 1..6));
    let mut runner = TestRunner::new(Config {
        cases: MUTATIONS,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&mutated, |(seed, mutations)| {
        let mut input = seed.get(seeds).clone();
        mutations.iter().for_each(|mutation| mutation.apply(&mut input, seeds));
        check(&input);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn any_message_is_a_valid_trigger_or_none() {
    hold(triggers::check, &[seeds("triggers"), sample_bodies()].concat());
}

#[test]
fn own_messages_do_only_what_their_sender_may() {
    hold(own_messages::check, &seeds("own_messages"));
}

#[test]
fn no_answer_causes_an_extra_call_or_shows_the_key() {
    hold(answers::check, &seeds("answers"));
}

#[test]
fn no_chat_id_redirects_the_call() {
    hold(addresses::check, &seeds("addresses"));
}
