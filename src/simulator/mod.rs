//! The provider, played: every status and every documented error on demand, with faults.
//!
//! ```text
//! script.rs      what a chat does, read from its id     reply.rs       what is said, as HTTP
//! world.rs       the chats and their syncs              log.rs         what happened, counted and listed
//! faults.rs      what goes wrong, from a seed           span.rs        a length of time, or a range of them
//! exchange.rs    one call, from sent to answered or lost: the handle `Simulator`
//! in_process.rs  behind the trait `Provider`            server.rs      behind HTTP on loopback
//! ```
//!
//! A [`World`] is pure: time is handed in as the time since it began, and the fate of each call with it. A
//! [`Simulator`] shares one world between any number of callers and brings in tokio's clock, real or paused.
//! [`InProcess`] and [`Server`] are two doors to it and may be open at once.
//!
//! The restart that the bridge exists to avoid is played as documented: the first call after a sync's end reports
//! `SYNC_DONE` or `SYNC_ERROR`, whether or not that reply arrives, and the next call starts the sync again. The log
//! tells for each restart which answer came before it and whether it was delivered.
//!
//! A call that was sent arrives, also when nobody waits for it any more: a caller that is dropped half-way (a crash)
//! or gives up (a timeout) hangs up on the reply, not on the call.

mod exchange;
mod faults;
mod in_process;
mod log;
mod reply;
pub mod script;
mod server;
mod span;
mod world;

pub use exchange::Simulator;
pub use faults::{Fate, Faults, Mishap};
pub use in_process::InProcess;
pub use log::{CallId, Counts, Record, Stats};
pub use reply::{Reply, Said};
pub use server::{BindError, Server};
pub use span::{InvalidSpan, Span};
pub use world::World;
