//! The terminal: one file per command.

pub mod simulate;
