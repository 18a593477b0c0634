//! `postpress-bridge completions`: completion scripts for shells.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Cli;

/// Print the completion script for a shell
///
/// For bash: `source <(postpress-bridge completions bash)`; for fish: `postpress-bridge completions fish | source`; for zsh, save it
/// as `_postpress-bridge` in a directory of `$fpath`.
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints to stdout.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        Ok(std::io::stdout().lock().write_all(&script(self.shell))?)
    }
}

/// Generated in memory, because the generator panics on write errors.
fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "postpress-bridge", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{} for {shell}", command.get_name());
            }
        }
    }
}
