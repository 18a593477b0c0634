//! `postpress-bridge man`: manual pages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::Cli;

/// Write the manual pages
///
/// Without a directory, prints the main page: `postpress-bridge man | man -l -`. With one, writes `postpress-bridge.1` and a page
/// for each command, such as `postpress-bridge-sync.1`, as a package does: `postpress-bridge man ~/.local/share/man/man1`.
#[derive(Debug, Clone, Args)]
pub struct Man {
    /// Where to write all pages; created if it does not exist
    directory: Option<PathBuf>,
}

impl Man {
    /// Prints the main page to stdout, or writes all pages.
    ///
    /// # Errors
    /// If stdout or the directory cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        match &self.directory {
            Some(directory) => {
                write_pages(directory).with_context(|| format!("cannot write manual pages to {}", directory.display()))
            }
            None => {
                let mut page = Vec::new();
                page_of(command()).render(&mut page)?;
                std::io::stdout().lock().write_all(&page).context("cannot write to stdout")
            }
        }
    }
}

fn write_pages(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut program = command();
    // Gives the commands their full names.
    program.build();
    for command in std::iter::once(&program).chain(program.get_subcommands()) {
        page_of(command.clone()).generate_to(directory)?;
    }
    Ok(())
}

fn page_of(command: clap::Command) -> Page {
    Page::new(command).source(concat!("postpress-bridge ", env!("CARGO_PKG_VERSION"))).manual("postpress-bridge")
}

/// The program without `help`, whose page would repeat the others.
fn command() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_has_a_page_without_private_paths() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("share/man1");
        Man { directory: Some(directory.clone()) }.run().unwrap();

        let mut expected: BTreeSet<String> =
            command().get_subcommands().map(|command| format!("postpress-bridge-{}.1", command.get_name())).collect();
        expected.insert("postpress-bridge.1".to_owned());
        let mut written = BTreeSet::new();
        for file in fs::read_dir(&directory).unwrap() {
            let file = file.unwrap();
            let (name, page) = (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap());
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
            // A default that comes from this machine, such as the state file's.
            let home = std::env::var("HOME").unwrap_or_default();
            for private in [env!("CARGO_MANIFEST_DIR"), home.as_str(), "/home/", "/root/", "/Users/"] {
                assert!(private.len() < 2 || !page.contains(private), "{name} has {private}: {page}");
            }
            written.insert(name);
        }
        assert_eq!(written, expected);
    }

    #[test]
    fn directory_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Man { directory: Some(file.path().join("man1")) }.run().unwrap_err();
        assert!(format!("{error:#}").contains("man1"), "{error:#}");
    }
}
