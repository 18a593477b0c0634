//! The terminal: one file per command.

pub mod schema;
pub mod simulate;
