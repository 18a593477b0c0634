//! Links the Lambda functions to a fixed address. A program that can be loaded anywhere has a table of the places to adjust,
//! which is a twentieth of a function, and which the loader works through at every cold start.

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
