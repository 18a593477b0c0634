//! An exhaustive breadth-first search: every reachable state, the shortest path to a broken promise, and whether the goal
//! can still be reached from each state.
//!
//! Only the states of the current depth are kept in full. Of each other state the search keeps a fingerprint, its first
//! predecessor and which successor of that it is, and its own successors: some 40 bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{Display, Write};
use std::hash::{BuildHasherDefault, Hasher};

/// A system to search.
pub(super) trait System: Sync {
    type State: Clone + Send + Sync;
    type Action: Display;
    /// Values shared between states.
    type Pool: Default;

    fn initial(&self) -> Self::State;
    /// All possible next steps, always in the same order.
    fn next(&self, state: &Self::State) -> Vec<(Self::Action, Self::State)>;
    /// Equal for states that are the same.
    fn fingerprint(&self, state: &Self::State) -> u64;
    /// The broken promise of this state.
    fn broken(&self, state: &Self::State) -> Option<String>;
    /// Whether all promises are kept and nothing is left to do.
    fn is_goal(&self, state: &Self::State) -> bool;
    /// Whether this step needs no fault: the path to the goal consists of such steps only.
    fn is_ordinary(&self, before: &Self::State, after: &Self::State) -> bool;
    /// Shares values that many states have in common.
    fn share(_: &mut Self::Pool, _: &mut Self::State) {}
}

/// The result of a search.
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) transitions: u64,
    /// A broken promise and the shortest path to it, as text.
    pub(super) violation: Option<String>,
}

/// How many states are expanded before their successors are looked up among the known ones.
const BLOCK: usize = 1 << 14;

/// A successor: a known state, or a new one.
struct Successor<S> {
    fingerprint: u64,
    is_ordinary: bool,
    unknown: Option<S>,
}

struct Expanded<S> {
    is_goal: bool,
    successors: Vec<Successor<S>>,
}

/// Passes fingerprints through, since they are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are hashed")
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The reached states, numbered in the order of discovery.
#[derive(Default)]
struct Reached {
    numbers: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    /// Each state's predecessor, and which of its successors it is.
    from: Vec<u32>,
    successor: Vec<u8>,
    /// The targets of ordinary steps, one expanded state after another, and where each state's targets end.
    leads_to: Vec<u32>,
    ends: Vec<u32>,
    is_goal: Vec<bool>,
    transitions: u64,
}

pub(super) fn search<S: System>(system: &S) -> Found {
    let initial = system.initial();
    let mut reached = Reached::default();
    reached.add(system.fingerprint(&initial), 0, 0);
    let mut pool = S::Pool::default();
    let mut depth = vec![initial];
    while !depth.is_empty() {
        let mut deeper = Vec::new();
        let mut rest = depth.into_iter();
        while !rest.as_slice().is_empty() {
            let block: Vec<_> = rest.by_ref().take(BLOCK).collect();
            for expanded in expand(system, &reached, &block) {
                let number = reached.expanded(expanded.is_goal);
                for (place, successor) in expanded.successors.into_iter().enumerate() {
                    let (to, is_new) = reached.add(successor.fingerprint, number, place);
                    if successor.is_ordinary {
                        reached.leads_to.push(to);
                    }
                    let Some(mut state) = successor.unknown.filter(|_| is_new) else { continue };
                    if let Some(promise) = system.broken(&state) {
                        return reached.found(Some(reached.trace(system, to, &promise)));
                    }
                    S::share(&mut pool, &mut state);
                    deeper.push(state);
                }
                reached.ends.push(u32::try_from(reached.leads_to.len()).unwrap());
            }
        }
        depth = deeper;
    }
    let stuck = reached.first_without_a_path_to_a_goal();
    let promise = "from here a published ending can only be reached by another fault (S3)";
    reached.found(stuck.map(|number| reached.trace(system, number, promise)))
}

/// The successors of each state, computed by two threads, since states are independent.
fn expand<S: System>(system: &S, reached: &Reached, block: &[S::State]) -> Vec<Expanded<S::State>> {
    let each = |states: &[S::State]| -> Vec<_> {
        let expanded = states.iter().map(|state| {
            let successors = system.next(state).into_iter().map(|(_, next)| {
                let fingerprint = system.fingerprint(&next);
                let is_ordinary = system.is_ordinary(state, &next);
                let unknown = (!reached.numbers.contains_key(&fingerprint)).then_some(next);
                Successor { fingerprint, is_ordinary, unknown }
            });
            Expanded { is_goal: system.is_goal(state), successors: successors.collect() }
        });
        expanded.collect()
    };
    if block.len() < 64 {
        return each(block);
    }
    let (one, other) = block.split_at(block.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| each(other));
        let mut all = each(one);
        all.extend(other.join().unwrap());
        all
    })
}

impl Reached {
    /// The number of a state, and whether it is new.
    fn add(&mut self, fingerprint: u64, from: u32, successor: usize) -> (u32, bool) {
        self.transitions += 1;
        match self.numbers.entry(fingerprint) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(place) => {
                let new = u32::try_from(self.from.len()).unwrap();
                place.insert(new);
                self.from.push(from);
                self.successor.push(u8::try_from(successor).unwrap());
                (new, true)
            }
        }
    }

    /// The number of the state just expanded: states are expanded in the order of discovery.
    fn expanded(&mut self, is_goal: bool) -> u32 {
        self.is_goal.push(is_goal);
        u32::try_from(self.is_goal.len() - 1).unwrap()
    }

    fn found(&self, violation: Option<String>) -> Found {
        Found { states: self.from.len(), transitions: self.transitions - 1, violation }
    }

    /// The shortest path to a state, replayed as text.
    fn trace<S: System>(&self, system: &S, mut number: u32, promise: &str) -> String {
        let mut places = Vec::new();
        while number != 0 {
            places.push(self.successor[number as usize]);
            number = self.from[number as usize];
        }
        let mut text = String::new();
        let mut state = system.initial();
        for (step, place) in places.iter().rev().enumerate() {
            let (action, next) = system.next(&state).swap_remove(usize::from(*place));
            writeln!(text, "{:3}. {action}", step + 1).unwrap();
            state = next;
        }
        text + "     " + promise
    }

    /// Repeats passes over the states from the last to the first until nothing changes: nearly all steps lead to a later
    /// state, so a few passes suffice, and no backward edges need to be stored.
    fn first_without_a_path_to_a_goal(&self) -> Option<u32> {
        let mut reaches = self.is_goal.clone();
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            for number in (0..reaches.len()).rev().filter(|number| !self.is_goal[*number]) {
                let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
                let leads_to = &self.leads_to[begin as usize..self.ends[number] as usize];
                if !reaches[number] && leads_to.iter().any(|to| reaches[*to as usize]) {
                    reaches[number] = true;
                    has_changed = true;
                }
            }
        }
        let stuck = reaches.iter().position(|reaches| !reaches)?;
        u32::try_from(stuck).ok()
    }
}
