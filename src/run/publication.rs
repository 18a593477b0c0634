//! What the protocol asks the worker to publish, as data: the event is built from it elsewhere.

use crate::ids::{RunId, Subject, TriggerKey};
use crate::postpress::Resync;

use super::{Item, Outcome, Trigger, TriggerMessage};

/// What an event is built from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Publication {
    /// The ending of a run.
    Ending(Box<EndedRun>),
    /// The answer to a trigger for which its subject's last sync is recent enough.
    Fresh(Box<FreshAnswer>),
    /// The answer to a trigger for which its subject's run has no room.
    TooManyTriggers(Box<TriggerMessage>),
    /// The answer to a trigger that has waited too long for a run in flight that it may not join.
    WaitedTooLong(Box<TriggerMessage>),
    /// The answer to a trigger whose workspace is not configured, so that it cannot start a run.
    UnknownWorkspace(Box<TriggerMessage>),
}

/// A trigger that an earlier run answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FreshAnswer {
    /// The run.
    pub run: EndedRun,
    /// The trigger's key.
    pub key: TriggerKey,
    /// The trigger.
    pub trigger: Trigger,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndedRun {
    /// What it synced.
    pub subject: Subject,
    /// The options of an account's sync.
    pub resync: Resync,
    /// The run.
    pub run_id: RunId,
    /// How it ended.
    pub outcome: Outcome,
    /// The triggers that it answers.
    pub triggers: Vec<Trigger>,
    /// Calls made, or possibly made before a crash.
    pub polls: u32,
    /// Restarts of the sync that the run observed.
    pub restarts: u32,
    /// The chunks of an account's sync that were done.
    pub chunks: u32,
}

impl EndedRun {
    /// The run of `item`, which ended with `outcome`.
    pub fn new(item: &Item, outcome: &Outcome) -> Self {
        Self {
            subject: item.subject.clone(),
            resync: item.resync.clone(),
            run_id: item.run_id,
            outcome: outcome.clone(),
            triggers: item.triggers.clone(),
            polls: item.polls,
            restarts: item.learned.restarts,
            chunks: item.learned.chunks,
        }
    }
}
