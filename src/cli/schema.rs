//! `postpress-bridge schema`: the JSON Schemas of triggers and events.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::schema;

/// Print the JSON Schemas of triggers (what comes in) and of events (the `detail` of what goes out).
#[derive(Debug, Clone, Args)]
pub struct Schema {
    /// Of what; `all` prints one schema after the other.
    #[arg(value_enum, default_value_t = Which::All)]
    which: Which,

    /// Write `trigger.schema.json` and `event.schema.json` instead of printing: here, or to `events/schemas` if no
    /// directory is named.
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, default_missing_value = "events/schemas")]
    write: Option<PathBuf>,
}

/// Which schemas are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// What to send to the queue, or to the webhook.
    Trigger,
    /// What a rule gets to see as `detail`.
    Event,
    /// Both.
    All,
}

impl Which {
    /// The schemas by name.
    fn schemas(self) -> Vec<(&'static str, schemars::Schema)> {
        match self {
            Self::Trigger => vec![("trigger", schema::trigger())],
            Self::Event => vec![("event", schema::event())],
            Self::All => [Self::Trigger, Self::Event].into_iter().flat_map(Self::schemas).collect(),
        }
    }
}

impl Schema {
    /// Prints to stdout, or writes the files.
    ///
    /// # Errors
    /// If stdout or a file cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        let schemas = self.which.schemas();
        match &self.write {
            None => print(&schemas, io::stdout().lock()),
            Some(directory) => write(&schemas, directory),
        }
    }
}

fn print(schemas: &[(&str, schemars::Schema)], mut out: impl Write) -> anyhow::Result<()> {
    for (_, schema) in schemas {
        writeln!(out, "{}", serde_json::to_string_pretty(schema)?).context("cannot write to stdout")?;
    }
    Ok(())
}

fn write(schemas: &[(&str, schemars::Schema)], directory: &Path) -> anyhow::Result<()> {
    for (name, schema) in schemas {
        let path = directory.join(format!("{name}.schema.json"));
        let text = serde_json::to_string_pretty(schema)? + "\n";
        fs::write(&path, text)
            .with_context(|| format!("cannot write `{}`; name a directory that is there", path.display()))?;
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
    fn what_is_asked_for_is_printed_one_document_after_the_other() {
        for (arguments, titles) in [
            (&[][..], &["Trigger", "EventDetail"][..]),
            (&["all"], &["Trigger", "EventDetail"]),
            (&["trigger"], &["Trigger"]),
            (&["event"], &["EventDetail"]),
        ] {
            let mut out = Vec::new();
            print(&parse(arguments).which.schemas(), &mut out).unwrap();
            let documents = Deserializer::from_slice(&out).into_iter::<Value>().map(Result::unwrap);
            assert!(documents.map(|schema| schema["title"].clone()).eq(titles.iter().copied()), "{arguments:?}");
        }
    }

    #[test]
    fn files_are_written_only_when_asked_for_and_where() {
        for (arguments, directory) in [
            (&["event"][..], None),
            (&["event", "--write"], Some("events/schemas")),
            (&["--write", "elsewhere"], Some("elsewhere")),
        ] {
            assert_eq!(parse(arguments).write.as_deref(), directory.map(Path::new), "{arguments:?}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_refused_with_the_remedy() {
        let refused = parse(&["--write", "no/such/directory"]).run().unwrap_err().to_string();
        assert_eq!(refused, "cannot write `no/such/directory/trigger.schema.json`; name a directory that is there");
    }
}
