//! The whole bridge in virtual time: days of syncing in moments, without sockets.
//!
//! The provider is the simulator, called in process; queue, table and bus are in memory, and the consumer acts as the
//! event source mapping. The tests assert the contract, from the events and the simulator's own counts.

mod bridge;
mod budgets;
mod crowd;
mod endings;
mod pace;
mod requests;
