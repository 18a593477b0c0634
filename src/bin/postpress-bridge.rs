//! The terminal's program: wiring only.

use std::process::ExitCode;

use clap::Parser;
use postpress_bridge::cli::Cli;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("postpress-bridge: {error:#}");
            ExitCode::from(2)
        }
    }
}
