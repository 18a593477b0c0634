//! A simulated provider: every status and every documented error on demand, with faults.
//!
//! ```text
//! script.rs      a chat's behaviour, from its id         reply.rs       answers, as HTTP
//! world.rs       the chats and their syncs               log.rs         the calls, counted and listed
//! faults.rs      faults, from a seed                     span.rs        a duration, or a range of durations
//! exchange.rs    one call, from sent to answered or lost: the handle `Simulator`
//! chat_list.rs   the list of an account's chats         server.rs      HTTP on loopback
//! in_process.rs  the trait `Provider`
//! ```
//!
//! A [`World`] is pure: its inputs are the time since it began and the fate of each call. A [`Simulator`] shares one world
//! between any number of callers and adds tokio's clock, real or paused. It is a `Provider` itself, and a [`Server`] can give
//! access to it at the same time.
//!
//! It simulates the restart that the bridge exists to avoid as documented: the first call after a sync's end reports `SYNC_DONE`
//! or `SYNC_ERROR`, whether or not that reply arrives, and the next call starts the sync again. The log shows for each restart
//! which answer preceded it, and whether that was delivered.
//!
//! A call that was sent arrives even if its caller crashes or times out: that loses the reply, not the call.

mod chat_list;
mod exchange;
mod faults;
mod in_process;
mod log;
mod reply;
pub mod script;
mod server;
mod span;
mod world;

pub use chat_list::{ChatLists, PageForm};
pub use exchange::Simulator;
pub(crate) use faults::parse_rate;
pub use faults::{Fate, Faults, Mishap};
pub use log::{CallId, CallRecord, Counts, Stats};
pub use reply::{Reply, Said};
pub use server::{BindError, Server};
pub use span::{InvalidSpan, Span};
pub use world::{SavedSync, World};
