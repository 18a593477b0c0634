//! The worker as deployed: the optimized program, in several processes at once, driven as Lambda does.
//!
//! SQS, DynamoDB and EventBridge are emulated, and the provider is simulated; all of them speak HTTP on loopback. The tests
//! assert the contract, from the events that a subscriber receives and the simulator's own counts.

mod crowd;
mod deaths;
mod each_chat;
mod endings;
mod observed;
mod soak;
mod start;
mod sweep;
mod world;
