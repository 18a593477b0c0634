//! `postpress-bridge schema`: the JSON Schemas of triggers and events, and the OpenAPI description of the webhook.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::schema;
use crate::webhook::openapi;

/// Print the JSON Schemas of triggers and of events (their `detail`), and the OpenAPI description of the webhook
#[derive(Debug, Clone, Args)]
pub struct Schema {
    /// The document; `all` prints one after the other
    #[arg(value_enum, default_value_t = Which::All)]
    which: Which,

    /// Write `trigger.schema.json`, `event.schema.json` and `webhook.openapi.json` to this directory instead of printing; by
    /// default to `events/schemas`
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, default_missing_value = "events/schemas")]
    write: Option<PathBuf>,
}

/// A document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// What to send to the queue or the webhook
    Trigger,
    /// The `detail` of events
    Event,
    /// The webhook's API, as OpenAPI 3.1
    Openapi,
    /// All of them
    All,
}

impl Which {
    /// The documents, with their file names.
    fn documents(self) -> serde_json::Result<Vec<(&'static str, String)>> {
        let document = |which| match which {
            Self::Trigger => Ok(("trigger.schema.json", serde_json::to_string_pretty(&schema::trigger())?)),
            Self::Event => Ok(("event.schema.json", serde_json::to_string_pretty(&schema::event())?)),
            Self::Openapi | Self::All => {
                Ok(("webhook.openapi.json", serde_json::to_string_pretty(&openapi::document())?))
            }
        };
        match self {
            Self::All => [Self::Trigger, Self::Event, Self::Openapi].into_iter().map(document).collect(),
            one => [one].into_iter().map(document).collect(),
        }
    }
}

impl Schema {
    /// Prints to stdout, or writes the files.
    ///
    /// # Errors
    /// If stdout or a file cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        let documents = self.which.documents()?;
        match &self.write {
            None => print(&documents, io::stdout().lock()),
            Some(directory) => write(&documents, directory),
        }
    }
}

fn print(documents: &[(&str, String)], mut out: impl Write) -> anyhow::Result<()> {
    for (_, document) in documents {
        writeln!(out, "{document}").context("cannot write to stdout")?;
    }
    Ok(())
}

fn write(documents: &[(&str, String)], directory: &Path) -> anyhow::Result<()> {
    for (name, document) in documents {
        let path = directory.join(name);
        fs::write(&path, format!("{document}\n"))
            .with_context(|| format!("cannot write `{}`; name an existing directory", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Deserializer, Value};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        schema: Schema,
    }

    fn parse(arguments: &[&str]) -> Schema {
        Program::parse_from([&["schema"], arguments].concat()).schema
    }

    #[test]
    fn documents_are_printed_one_after_the_other() {
        for (arguments, titles) in [
            (&[][..], &["Trigger", "EventDetail", "postpress-bridge"][..]),
            (&["all"], &["Trigger", "EventDetail", "postpress-bridge"]),
            (&["trigger"], &["Trigger"]),
            (&["event"], &["EventDetail"]),
            (&["openapi"], &["postpress-bridge"]),
        ] {
            let mut out = Vec::new();
            print(&parse(arguments).which.documents().unwrap(), &mut out).unwrap();
            let documents = Deserializer::from_slice(&out).into_iter::<Value>().map(Result::unwrap);
            let title = |document: Value| document.get("title").unwrap_or(&document["info"]["title"]).clone();
            assert!(documents.map(title).eq(titles.iter().copied()), "{arguments:?}");
        }
    }

    #[test]
    fn files_are_written_only_with_write() {
        for (arguments, directory) in [
            (&["event"][..], None),
            (&["event", "--write"], Some("events/schemas")),
            (&["--write", "elsewhere"], Some("elsewhere")),
        ] {
            assert_eq!(parse(arguments).write.as_deref(), directory.map(Path::new), "{arguments:?}");
        }
    }

    #[test]
    fn missing_directory_is_reported_with_the_remedy() {
        let refused = parse(&["--write", "no/such/directory"]).run().unwrap_err().to_string();
        assert_eq!(refused, "cannot write `no/such/directory/trigger.schema.json`; name an existing directory");
    }
}
