//! The real worker over SQS, DynamoDB and EventBridge: what goes wrong on the wire, and what a poll costs.

mod bridge;
mod calls;
mod faults;
mod sweeps;
