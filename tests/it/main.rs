//! What the bridge promises, tested from outside.

mod harness;
