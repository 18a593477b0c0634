//! Tables on stdout: as wide as the terminal, and unbounded without one.

use std::io::Write;

use anyhow::Context;
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};

/// The width of the terminal behind stdout, if there is one.
pub(super) fn columns() -> Option<u16> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0)
}

/// An empty table with these headings, within `columns`.
pub(super) fn table(headings: &[&str], columns: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match columns {
        Some(columns) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns),
        None => table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty(),
    };
    // With `--color always`, not only on a terminal.
    if anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never {
        table.enforce_styling();
    }
    if !headings.is_empty() {
        table.set_header(headings.iter().map(|heading| bold(heading)));
    }
    table
}

/// A bold cell.
pub(super) fn bold(text: &str) -> Cell {
    Cell::new(text).add_attribute(Attribute::Bold)
}

/// A table's text, without trailing blanks.
pub(super) fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Prints to stdout, without colours unless they are wanted.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    anstream::stdout().lock().write_all(text.as_bytes()).context("cannot write to stdout")
}

/// Prints a line for programs.
pub(super) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}
