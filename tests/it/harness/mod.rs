//! What the tests need around the bridge.

pub(crate) mod tools;
