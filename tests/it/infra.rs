//! The templates in `infra/`: created in an emulated AWS, and checked against the real functions.
//!
//! ```text
//! alarms.rs           each alarm goes off when its description says, by cloudwatch.rs, a model of CloudWatch's evaluation
//! stack.rs, stack.py  a template as a stack in the emulator
//! account.rs          an account with the bridge and its three example subscribers
//! resources.rs        what the template creates, and what its parameters change
//! timeouts.rs         values that depend on one another
//! run.rs              one run from the webhook to the subscribers
//! subscribers.rs      which events reach which subscriber, and who may deliver them
//! package.rs          the template with functions that were built elsewhere
//! permissions.rs      each role may do what its function does, and no more
//! ```

mod account;
mod alarms;
mod cloudwatch;
mod package;
mod permissions;
mod resources;
mod run;
mod stack;
mod subscribers;
mod timeouts;
