//! Credentials from outside: how their text is checked, and how they are replaced when they are rotated.
//!
//! Nothing here shows a secret: no error, no `Debug`, no log line.

pub mod rotating;
pub mod secret_text;
pub mod webhook;

pub(crate) use rotating::READ_EVERY;
pub use rotating::{Rotating, SecretStore};
