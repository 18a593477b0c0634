//! The terminal's commands, one module for each, and the modules that they share.
//!
//! Data goes to stdout, progress and messages to stderr. The options of `output.rs` say how much of it, and in which colours.

use clap::{FromArgMatches, Parser, Subcommand};

use output::OutputOptions;

use crate::service::{Misconfiguration, ServiceError};
use crate::text::one_line;

#[cfg(feature = "aws")]
#[path = "aws/enabled.rs"]
pub mod aws;
#[cfg(not(feature = "aws"))]
#[path = "aws/disabled.rs"]
pub mod aws;
pub mod cancel;
pub mod completions;
pub mod console;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod man;
pub mod plan;
pub mod runs;
pub mod schema;
pub mod send;
pub mod simulate;
pub mod status;
pub mod sync;
pub mod trigger;

mod args;
mod chat_state;
mod consent;
mod each_chat;
mod finding;
mod follow;
mod format;
mod help;
mod history;
mod observed_provider;
mod output;
mod progress;
mod run_report;
mod run_table;
mod shutdown;
mod stateless;
mod subjects;
mod table;
mod trigger_options;

/// Sync a postpress chat, and receive one event.
#[derive(Debug, Parser)]
#[command(name = "postpress-bridge", version, about, max_term_width = 100)]
pub struct Cli {
    /// The command; `demo` by default
    #[command(subcommand)]
    pub command: Option<Commands>,

    #[command(flatten)]
    output: OutputOptions,
}

/// A command of the terminal.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a doc here would hide the command's own from its `--help`")]
pub enum Commands {
    Demo(demo::Demo),
    Dev(dev::Dev),
    Console(console::Console),
    Sync(sync::Sync),
    Simulate(simulate::Simulate),
    Work(aws::Work),
    Trigger(trigger::Trigger),
    Send(send::Send),
    Cancel(cancel::Cancel),
    Status(status::Status),
    Runs(runs::Runs),
    Redrive(aws::Redrive),
    Listen(aws::Listen),
    Plan(plan::Plan),
    Doctor(doctor::Doctor),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// Parses the command line of this process. Prints help, or what is wrong with it, and exits, if it is not to be run.
    pub fn from_process() -> Self {
        Self::from_arg_matches(&help::command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command; returns whether it succeeded.
    ///
    /// # Errors
    /// If the command could not run; the message says what to do.
    pub async fn run(self) -> anyhow::Result<bool> {
        self.output.apply();
        let command = self.command.unwrap_or(Commands::Demo(demo::Demo::default()));
        let is_doctor = matches!(command, Commands::Doctor(_));
        let result = command.run().await;
        if is_doctor { result } else { result.map_err(with_hint) }
    }
}

/// Adds a hint to `doctor` if the deployment, or the connection to it, is at fault.
fn with_hint(error: anyhow::Error) -> anyhow::Error {
    let is_of_deployment = error.chain().any(|cause| {
        let service_error = cause.downcast_ref::<ServiceError>();
        cause.is::<Misconfiguration>()
            || matches!(service_error, Some(ServiceError::Misconfigured(_) | ServiceError::Unreachable(_)))
    });
    if is_of_deployment {
        let text = one_line(&format!("{error:#}"));
        anyhow::anyhow!("{text}; to check the whole deployment, run `postpress-bridge doctor`")
    } else {
        error
    }
}

impl Commands {
    async fn run(self) -> anyhow::Result<bool> {
        match self {
            Commands::Demo(demo) => demo.run().await,
            Commands::Dev(dev) => dev.run().await.map(|()| true),
            Commands::Console(console) => console.run().await.map(|()| true),
            Commands::Sync(sync) => sync.run().await,
            Commands::Simulate(simulate) => simulate.run().await.map(|()| true),
            Commands::Work(work) => work.run().await.map(|()| true),
            Commands::Trigger(trigger) => trigger.run().await,
            Commands::Send(send) => send.run().await,
            Commands::Cancel(cancel) => cancel.run().await,
            Commands::Status(status) => status.run().await,
            Commands::Runs(runs) => runs.run().await,
            Commands::Redrive(redrive) => redrive.run().await,
            Commands::Listen(listen) => listen.run().await.map(|()| true),
            Commands::Plan(plan) => plan.run().map(|()| true),
            Commands::Doctor(doctor) => doctor.run().await,
            Commands::Schema(schema) => schema.run().map(|()| true),
            Commands::Completions(completions) => completions.run().map(|()| true),
            Commands::Man(man) => man.run().map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn error_that_doctor_can_explain_ends_with_a_hint() {
        const HINT: &str = "; to check the whole deployment, run `postpress-bridge doctor`";
        let fault = || Misconfiguration::new("there is no\n table `x`", "check BRIDGE_TABLE");
        for (error, has_hint) in [
            (anyhow::Error::new(fault()), true),
            (anyhow::Error::new(ServiceError::from(fault())), true),
            (anyhow::Error::new(ServiceError::Unreachable("no connection".to_owned())), true),
            (anyhow::Error::new(ServiceError::Permanent("stdout cannot be written".to_owned())), false),
            (anyhow::Error::new(ServiceError::Transient("busy".to_owned())), false),
            (anyhow::anyhow!("--metadata is not JSON"), false),
        ] {
            let text = format!("{:#}", with_hint(error));
            assert_eq!(text.ends_with(HINT), has_hint, "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let nested = with_hint(Err::<(), _>(fault()).context("cannot read the run").unwrap_err());
        assert_eq!(
            format!("{nested:#}"),
            format!("cannot read the run: there is no table `x`; check BRIDGE_TABLE{HINT}")
        );
    }
}
