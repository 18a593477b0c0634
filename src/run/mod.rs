//! The run protocol: how one run of one chat survives duplicates, crashes, lost replies and lost messages.
//!
//! Pure: plain functions over plain data, with time, ids and chance handed in. Production, the embedded and memory
//! backends and the tests all call these same functions; a store only carries out the [`Write`] that is described here.
//!
//! ```text
//! item.rs      the table's one item per chat         write.rs     the conditional writes on it, and what each does
//! claim.rs     before the call: who may make it      ending.rs    after the call: poll again, or end
//! schedule.rs  when to poll again                    sweep.rs     how lost runs are found
//! next.rs      what is to be expected of a run, for those who only look
//! message_handler.rs
//!              one message's way through all of it, as a state machine whose steps the worker carries out
//! ```
//!
//! The two ideas that carry it:
//!
//! - **The fence.** Every claim sets a new `claim_id`; a poll names the claim under which it was sent. Once anybody has
//!   claimed since, the poll is stale and dies, so duplicate chains of polls cannot live side by side.
//! - **Ask only under a claim, end only under a claim.** No call is begun unless a conditional write found the run still
//!   active, and the ending is written under the same claim before anybody hears of it.

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod bridge_error;
mod claim;
mod ending;
mod item;
mod message_handler;
mod next;
mod poll;
mod schedule;
mod sweep;
mod trigger;
mod write;

pub use ending::{AfterCall, after_call};
pub use item::{
    EndedBy, Ending, Item, OPEN_SHARDS, Open, Origin, Outcome, Phase, PollState, RecentKeys, SEEN_MAX, TRIGGERS_MAX,
};
pub use message_handler::{Acknowledged, Call, MessageHandler, Returned, Step, StepContext, StepResult, Task, Verdict};
pub use next::Next;
pub use poll::Poll;
pub use schedule::{DELAY_MAX, Delay, Jitter, Schedule};
pub use sweep::{SWEEP_ACTIVE_MAX, Swept, sweep};
pub use trigger::{InvalidTrigger, Metadata, Trigger, TriggerMessage};
pub use write::{Claim, ClaimCondition, Write, WriteResult};

use std::time::Duration;

/// The bridge's rules that a deployment can set.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// When to poll, and when to stop.
    pub schedule: Schedule,
    /// How long after its last lease a run counts as lost (`BRIDGE_OVERDUE_SECONDS`).
    pub overdue: Duration,
    /// How long an ended run is remembered (`BRIDGE_RUN_TTL_SECONDS`).
    pub run_ttl: Duration,
}
