//! Links the Lambda functions to a fixed address. A position-independent executable carries relocations, about 5 % of its size,
//! that the loader applies at every cold start.
//!
//! The price is that the program itself is always at the same address; stack, heap and libraries are not.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|set| set == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        for function in ["sync-worker", "webhook"] {
            println!("cargo::rustc-link-arg-bin={function}=-no-pie");
        }
    }
}
