//! The terminal: one file per command, and what they share of its look.
//!
//! Data goes to stdout, progress and messages to stderr. Colours are left out where `NO_COLOR` is set or nobody watches.

use clap::{Parser, Subcommand};

pub mod completions;
pub mod demo;
pub mod doctor;
#[cfg(feature = "aws")]
pub mod redrive;
pub mod runs;
pub mod schema;
pub mod simulate;
pub mod status;
pub mod sync;
pub mod trigger;
#[cfg(feature = "aws")]
pub mod work;

mod argument;
mod deployed_bridge;
mod follow;
mod run_report;
mod screen;
mod standing;
mod stop;
mod table;
mod watched;
mod wording;

/// Sync a postpress chat, and receive one event.
#[derive(Debug, Parser)]
#[command(name = "postpress-bridge", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do; the demo, if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the terminal can do.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a doc here would hide the command's own from its `--help`")]
pub enum Command {
    Demo(demo::Demo),
    Sync(sync::Sync),
    Simulate(simulate::Simulate),
    #[cfg(feature = "aws")]
    Work(work::Work),
    /// Play Lambda here (in a build with `--features aws`)
    #[cfg(not(feature = "aws"))]
    #[command(disable_help_flag = true)]
    Work {
        /// Not looked at
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<String>,
    },
    Trigger(trigger::Trigger),
    Status(status::Status),
    Runs(runs::Runs),
    #[cfg(feature = "aws")]
    Redrive(redrive::Redrive),
    /// Send dead-lettered triggers again (in a build with `--features aws`)
    #[cfg(not(feature = "aws"))]
    #[command(disable_help_flag = true)]
    Redrive {
        /// Not looked at
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<String>,
    },
    Doctor(doctor::Doctor),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

impl Cli {
    /// Does what was asked, and tells whether all went well.
    ///
    /// # Errors
    /// If it could not be done at all; the message says what to do.
    pub async fn run(self) -> anyhow::Result<bool> {
        match self.command.unwrap_or(Command::Demo(demo::Demo {})) {
            Command::Demo(demo) => demo.run().await,
            Command::Sync(sync) => sync.run().await,
            Command::Simulate(simulate) => simulate.run().await.map(|()| true),
            #[cfg(feature = "aws")]
            Command::Work(work) => work.run().await.map(|()| true),
            #[cfg(not(feature = "aws"))]
            Command::Work { .. } => {
                anyhow::bail!("this build has no AWS in it; run it with `cargo run --features aws -- work`")
            }
            Command::Trigger(trigger) => trigger.run().await,
            Command::Status(status) => status.run().await,
            Command::Runs(runs) => runs.run().await,
            #[cfg(feature = "aws")]
            Command::Redrive(redrive) => redrive.run().await,
            #[cfg(not(feature = "aws"))]
            Command::Redrive { .. } => {
                anyhow::bail!("this build has no AWS in it; run it with `cargo run --features aws -- redrive`")
            }
            Command::Doctor(doctor) => doctor.run().await,
            Command::Schema(schema) => schema.run().map(|()| true),
            Command::Completions(completions) => completions.run().map(|()| true),
        }
    }
}
