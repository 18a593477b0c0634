//! The worker as it is deployed: the optimised program, in several processes at once, played upon as Lambda does.
//!
//! SQS, DynamoDB and EventBridge are emulated, and the provider is simulated; all of it speaks HTTP on loopback. What is
//! asserted is the contract, read off the events that a subscriber gets and off the simulator's own count.

mod crowd;
mod deaths;
mod endings;
mod observed;
mod soak;
mod start;
mod world;
