//! The run protocol: how one run of one subject survives duplicates, crashes, lost replies and lost messages.
//!
//! Pure functions over plain data; time, ids and randomness are passed in. Production, the embedded and memory backends,
//! and the tests all call these same functions; a store only carries out the [`Write`]s that are defined here.
//!
//! ```text
//! item.rs             the table's one item per subject, with the run's state
//! poll_state.rs, history.rs, outcome.rs, recent_keys.rs, trigger.rs
//!                     what an item is made of
//! write.rs            the conditional writes on an item, and what each does
//! claim.rs            before the call: the writes that claim a run
//! ending.rs           after the call: poll again, or end
//! schedule.rs         when to poll again
//! sweep.rs            how lost runs are found
//! next.rs             what to expect of a run, for status displays
//! poll.rs, publication.rs, disposition.rs
//!                     what comes out: a message, an event's data, what happens to the message
//! message_handler.rs  one message's way through all of it: a state machine whose steps the worker carries out
//! ```
//!
//! Two ideas carry it:
//!
//! - **The fence.** Every claim sets a new `claim_id`, and a poll names the claim under which it was sent. As soon as another
//!   message claims, the poll is stale and is dropped, so duplicate chains of polls cannot live side by side.
//! - **Call only under a claim, end only under a claim.** No call is begun unless a conditional write found the run still
//!   active, and the ending is written under the same claim before its event is published.

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod bridge_error;
mod claim;
mod disposition;
mod ending;
mod history;
mod item;
mod message_handler;
mod next;
mod outcome;
mod poll;
mod poll_state;
mod publication;
mod recent_keys;
mod schedule;
mod sweep;
mod trigger;
mod write;

pub use claim::Claimant;
pub use disposition::{AckReason, Disposition, RetryReason};
pub use ending::{AfterCall, after_call};
pub use history::{HISTORY_MAX, History, HistoryEntry, PollAnswer};
pub(crate) use item::StateAttributes;
pub use item::{ACTIVE_SHARDS, ENDED_SHARDS, Item, Open, Phase, RunState, TRIGGERS_MAX};
pub use message_handler::{MessageHandler, Step, StepContext, StepResult, Task};
pub use next::Next;
pub use outcome::{EndedBy, Ending, Origin, Outcome};
pub use poll::Poll;
pub use poll_state::PollState;
pub use publication::{EndedRun, FreshAnswer, Publication};
pub use recent_keys::{RecentKeys, SEEN_MAX};
pub use schedule::{DELAY_MAX, Delay, FailedCall, Jitter, Schedule};
pub use sweep::{DueOrder, DueRun, Recovery, sweep};
pub use trigger::{Cancel, InvalidTrigger, Metadata, Trigger, TriggerMessage};
pub use write::{Claim, ClaimCondition, Write, WriteResult};

use std::time::Duration;

/// How long an ended run is remembered: 30 days, longer than a queue and its dead-letter queue together can keep a message
/// (14 days each).
pub const DEFAULT_RUN_TTL: Duration = Duration::from_hours(30 * 24);
/// The clock skew tolerated between two Lambdas.
pub const DEFAULT_LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How long after its last lease a run counts as lost.
pub const DEFAULT_OVERDUE: Duration = Duration::from_mins(30);

/// The rules of the protocol that a deployment can set.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// When to poll, and when to stop.
    pub schedule: Schedule,
    /// `BRIDGE_LEASE_MARGIN_SECONDS`: the clock skew tolerated between two Lambdas; may be zero.
    pub lease_margin: Duration,
    /// `BRIDGE_OVERDUE_SECONDS`: how long after its last lease a run counts as lost; more than SQS's longest delay.
    pub overdue: Duration,
    /// `BRIDGE_RUN_TTL_SECONDS`: how long an ended run is remembered.
    pub run_ttl: Duration,
}

impl Default for Rules {
    /// The defaults of the settings.
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            lease_margin: DEFAULT_LEASE_MARGIN,
            overdue: DEFAULT_OVERDUE,
            run_ttl: DEFAULT_RUN_TTL,
        }
    }
}
