//! The whole bridge in virtual time: days of syncing in a moment of the machine's, with no sockets.
//!
//! The provider is the simulator, called in process; queue, table and bus are those in memory, and the consumer plays the
//! event source mapping. What is asserted is the contract, read off the events and off the simulator's own count.

mod bridge;
mod budgets;
mod crowd;
mod endings;
mod requests;
