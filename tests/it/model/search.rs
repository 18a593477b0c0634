//! An exhaustive breadth-first search: every state that can be reached, the shortest way to a broken one, and whether the
//! goal can still be reached from each.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, VecDeque};
use std::fmt::{Display, Write};
use std::hash::{Hash, Hasher};

/// What is searched.
pub(super) trait System {
    type State: Clone + Hash;
    type Action: Display + Copy;

    fn initial(&self) -> Self::State;
    /// Everything that can happen next.
    fn next(&self, state: &Self::State) -> Vec<(Self::Action, Self::State)>;
    /// The promise that is broken here.
    fn broken(&self, state: &Self::State) -> Option<String>;
    /// All that was promised is kept, and nothing is left to do.
    fn is_goal(&self, state: &Self::State) -> bool;
}

/// What a search came to.
pub(super) struct Found {
    pub(super) states: usize,
    /// A broken promise and the shortest way to it, in words.
    pub(super) violation: Option<String>,
}

/// One number for a state. Two states of one number among a hundred million are less likely than a fault of the memory.
fn fingerprint(state: &impl Hash) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        state.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

/// The states seen, each with how it was first reached.
struct Seen<A> {
    numbers: HashMap<u128, u32>,
    came_from: Vec<(u32, Option<A>)>,
    edges: Vec<(u32, u32)>,
    goals: Vec<u32>,
}

pub(super) fn search<S: System>(system: &S) -> Found {
    let mut seen = Seen { numbers: HashMap::new(), came_from: Vec::new(), edges: Vec::new(), goals: Vec::new() };
    let mut frontier = VecDeque::from([(0, system.initial())]);
    seen.numbers.insert(fingerprint(&system.initial()), 0);
    seen.came_from.push((0, None));
    while let Some((number, state)) = frontier.pop_front() {
        if system.is_goal(&state) {
            seen.goals.push(number);
        }
        for (action, next) in system.next(&state) {
            let new = u32::try_from(seen.came_from.len()).unwrap();
            match seen.numbers.entry(fingerprint(&next)) {
                Entry::Occupied(known) => seen.edges.push((number, *known.get())),
                Entry::Vacant(place) => {
                    place.insert(new);
                    seen.came_from.push((number, Some(action)));
                    seen.edges.push((number, new));
                    if let Some(promise) = system.broken(&next) {
                        return seen.found(Some(seen.trace(new, &promise)));
                    }
                    frontier.push_back((new, next));
                }
            }
        }
    }
    let stuck = seen.first_without_a_way_to_a_goal();
    let violation =
        stuck.map(|number| seen.trace(number, "from here no published ending can be reached any more (S3)"));
    seen.found(violation)
}

impl<A: Display + Copy> Seen<A> {
    fn found(&self, violation: Option<String>) -> Found {
        Found { states: self.came_from.len(), violation }
    }

    /// The shortest way to a state.
    fn trace(&self, mut number: u32, promise: &str) -> String {
        let mut actions = Vec::new();
        while let (before, Some(action)) = self.came_from[number as usize] {
            actions.push(action);
            number = before;
        }
        let mut text = String::new();
        for (step, action) in actions.iter().rev().enumerate() {
            writeln!(text, "{:3}. {action}", step + 1).unwrap();
        }
        text + "     " + promise
    }

    fn first_without_a_way_to_a_goal(&self) -> Option<u32> {
        let mut before: Vec<Vec<u32>> = vec![Vec::new(); self.came_from.len()];
        for (from, to) in &self.edges {
            before[*to as usize].push(*from);
        }
        let mut reaches = vec![false; self.came_from.len()];
        let mut left = self.goals.clone();
        while let Some(number) = left.pop() {
            if !std::mem::replace(&mut reaches[number as usize], true) {
                left.extend(&before[number as usize]);
            }
        }
        let stuck = reaches.iter().position(|reaches| !reaches)?;
        u32::try_from(stuck).ok()
    }
}
