//! What the terminal needs AWS for. `disabled.rs` has the same interface for a build without it.

pub(super) use crate::bootstrap::provider;

pub(super) use deployed_bridge::DeployedBridge;
pub(super) use doctor::inspect;
pub use options::{Listen, Redrive, Work};

mod dead_letter_queue;
mod deployed_bridge;
mod doctor;
mod listen;
mod options;
mod redrive;
mod work;
