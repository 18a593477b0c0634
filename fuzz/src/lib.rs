//! What must hold for whatever comes from outside: a function for each kind of input, which panics where it does not.
//!
//! `cargo test` holds them to the committed inputs in `seeds/` and to mutations of those (`tests/it/fuzz.rs`), on the
//! stable toolchain and with nothing to install. To search on, guided by coverage:
//!
//! ```sh
//! cargo install cargo-fuzz
//! mkdir -p fuzz/corpus/triggers
//! cargo fuzz run --sanitizer none triggers fuzz/corpus/triggers fuzz/seeds/triggers -- -max_total_time=300
//! ```
//!
//! The targets are `triggers`, `own_messages`, `answers` and `addresses`. What is found new goes to `fuzz/corpus/`, which
//! is not committed; an input that broke something goes into `seeds/` with the fix.
//!
//! # Why cargo-fuzz
//!
//! Without a sanitizer it runs on stable too, and code without `unsafe` gains nothing from one. This package has a lock
//! file of its own, so that the bridge's has no line more, and it is built without the AWS SDK in two minutes. `bolero`
//! would replay in `cargo test` by itself, but it brings 13 packages into the bridge's lock file and holds two others at
//! older versions, and its coverage-guided run instruments every test binary, SDK included.

pub mod addresses;
pub mod answers;
pub mod own_messages;
pub mod run;
pub mod triggers;
pub mod wrapping;
