//! The real worker over SQS, DynamoDB and EventBridge: faults on the wire, and the requests of a poll.

mod bridge;
mod calls;
mod faults;
mod sweeps;
