//! `postpress-bridge schema`: the JSON Schemas of triggers and events, and the OpenAPI description of the webhook.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::table;
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
        let all = [
            (Self::Trigger, "trigger.schema.json", serde_json::to_string_pretty(&schema::trigger())?),
            (Self::Event, "event.schema.json", serde_json::to_string_pretty(&schema::event())?),
            (Self::Openapi, "webhook.openapi.json", serde_json::to_string_pretty(&openapi::document())?),
        ];
        let wanted = all.into_iter().filter(|(which, ..)| self == Self::All || self == *which);
        Ok(wanted.map(|(_, name, document)| (name, document)).collect())
    }
}

impl Schema {
    /// Prints to stdout, or writes the files.
    ///
    /// # Errors
    /// If stdout or a file cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        for (name, document) in self.which.documents()? {
            let document = document + "\n";
            let Some(directory) = &self.write else {
                table::print(&document)?;
                continue;
            };
            let path = directory.join(name);
            fs::write(&path, document)
                .with_context(|| format!("cannot write `{}`; name an existing directory", path.display()))?;
            eprintln!("wrote {}", path.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;
    use serde_json::Value;

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
    fn all_is_the_documents_one_after_the_other() {
        for (arguments, titles) in [
            (&[][..], &["Trigger", "EventDetail", "postpress-bridge"][..]),
            (&["all"], &["Trigger", "EventDetail", "postpress-bridge"]),
            (&["trigger"], &["Trigger"]),
            (&["event"], &["EventDetail"]),
            (&["openapi"], &["postpress-bridge"]),
        ] {
            let documents = parse(arguments).which.documents().unwrap();
            let title = |(_, document): (_, String)| {
                let document: Value = serde_json::from_str(&document).unwrap();
                document.get("title").unwrap_or(&document["info"]["title"]).clone()
            };
            assert!(documents.into_iter().map(title).eq(titles.iter().copied()), "{arguments:?}");
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
