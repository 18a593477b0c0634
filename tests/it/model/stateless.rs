//! A poller without a table: it calls, and sends itself another message until the sync is over.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::search::System;

pub(super) struct Stateless {
    pub(super) triggers: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sync {
    Idle,
    Running(bool),
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Waiting messages, and handlers that received an answer: in progress, or over.
    waiting: u8,
    in_progress: u8,
    over: u8,
    sync: Sync,
    restarted: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Action(&'static str);

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl System for Stateless {
    type State = State;
    type Action = Action;
    type Pool = ();

    fn initial(&self) -> State {
        State { waiting: self.triggers, in_progress: 0, over: 0, sync: Sync::Idle, restarted: false }
    }

    fn next(&self, state: &State) -> Vec<(Action, State)> {
        let mut next = Vec::new();
        if state.waiting > 0 {
            let state = State { waiting: state.waiting - 1, ..state.clone() };
            let answered = State { in_progress: state.in_progress + 1, ..state.clone() };
            let over = State { over: state.over + 1, sync: Sync::Over, ..state.clone() };
            match state.sync {
                Sync::Idle => {
                    next.push((Action("a call starts the sync"), State { sync: Sync::Running(false), ..answered }));
                }
                Sync::Running(asked) => {
                    if !asked {
                        let running = State { sync: Sync::Running(true), ..answered };
                        next.push((Action("a call finds the sync running"), running));
                    }
                    next.push((Action("a call finds the sync over"), over));
                }
                Sync::Over => {
                    let again = State { sync: Sync::Running(false), restarted: true, ..answered };
                    next.push((Action("a call starts the sync again"), again));
                }
            }
        }
        if state.in_progress > 0 {
            let state = state.clone();
            let sent = State { in_progress: state.in_progress - 1, waiting: state.waiting + 1, ..state };
            next.push((Action("a poll is sent"), sent));
        }
        if state.over > 0 {
            let state = state.clone();
            next.push((Action("an ending is published"), State { over: state.over - 1, ..state }));
        }
        next
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.restarted.then(|| "a finished sync is restarted (S1)".to_owned())
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    }

    fn is_ordinary(&self, _: &State, _: &State) -> bool {
        true
    }

    fn is_goal(&self, state: &State) -> bool {
        state.waiting + state.in_progress + state.over == 0
    }
}
