//! Integration tests: one module per promise or outside party.

mod harness;
