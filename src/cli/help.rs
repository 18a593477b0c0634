//! The program's own help: the commands in groups, and examples. A command's help is clap's.

use clap::builder::Styles;
use clap::{Command, CommandFactory};
use comfy_table::{ColumnConstraint, Width};

use super::{Cli, table};

/// Long lines are hard to read, and this is what a command's help is limited to as well.
const WIDTH_MAX: u16 = 100;

/// Each command, once.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Try it", &["demo", "dev", "simulate"]),
    ("Sync", &["sync", "trigger", "send", "cancel", "status", "runs", "listen"]),
    ("Operate a deployed bridge", &["console", "doctor", "redrive", "work", "plan"]),
    ("For scripts", &["schema", "completions", "man"]),
];

const EXAMPLES: [(&str, &str); 3] = [
    ("The whole bridge on a page, with nothing to install", "postpress-bridge dev"),
    ("A real sync, with the key in POSTPRESS_API_KEY", "postpress-bridge sync CHAT_ID"),
    ("A sync by the deployed bridge, followed to its end", "postpress-bridge trigger CHAT_ID --wait"),
];

/// The command line, with help as wide as the terminal.
pub(super) fn command() -> Command {
    with_width(table::columns().map_or(WIDTH_MAX, |columns| columns.min(WIDTH_MAX)))
}

fn with_width(width: u16) -> Command {
    let command = Cli::command().term_width(width.into());
    let heading = |text: &str| {
        let style = *Styles::default().get_header();
        format!("{style}{text}:{style:#}")
    };
    let mut groups = String::new();
    for (title, names) in GROUPS {
        groups += &format!("{}\n{}\n", heading(title), list(&command, names, width));
    }
    if cfg!(not(feature = "aws")) {
        groups += "A deployed bridge needs a build with `--features aws`.\n\n";
    }
    let examples = EXAMPLES.map(|(what, line)| format!("  {what}:\n    {line}\n")).concat();
    let (options, examples_heading) = (heading("Options"), heading("Examples"));
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{options}\n{{options}}\n\n{examples_heading}\n{examples}\n\
         `postpress-bridge help COMMAND` has a command's options.\n"
    ))
}

/// The commands and what they do, a hanging indent for what is longer than a line.
fn list(command: &Command, names: &[&str], width: u16) -> String {
    let about = |name: &&str| {
        let about = command.find_subcommand(name).and_then(Command::get_about);
        [(*name).to_owned(), about.map(ToString::to_string).unwrap_or_default()]
    };
    let mut listed = table::table(&[], Some(width));
    listed.add_rows(names.iter().map(about));
    let longest = GROUPS.iter().flat_map(|(_, names)| *names).map(|name| name.len()).max().unwrap_or_default();
    let (indent, gap) = (2, 2);
    if let Some(column) = listed.column_mut(0) {
        let width = u16::try_from(longest).unwrap_or(WIDTH_MAX) + indent + gap;
        column.set_padding((indent, gap)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    if let Some(column) = listed.column_mut(1) {
        column.set_padding((0, 0));
    }
    table::text(&listed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn help(width: u16) -> String {
        with_width(width).render_help().to_string()
    }

    #[test]
    fn every_command_is_in_one_group() {
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let program = Cli::command();
        let commands: BTreeSet<&str> = program.get_subcommands().map(Command::get_name).collect();
        assert_eq!((listed.iter().copied().collect(), listed.len()), (commands.clone(), commands.len()));
    }

    #[test]
    fn help_fits_the_terminal() {
        insta::assert_snapshot!([60, 80, 100].map(help).join("\n================================\n\n"));
    }

    #[test]
    fn narrow_help_breaks_no_word() {
        let whole = help(WIDTH_MAX);
        for width in [60, 80] {
            let narrow = help(width);
            assert!(narrow.split_whitespace().eq(whole.split_whitespace()), "{narrow}");
            let longest = narrow.lines().map(|line| (line.width(), line)).max().unwrap();
            assert!(longest.0 <= width.into(), "{longest:?}");
        }
    }
}
