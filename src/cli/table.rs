//! Tables on stdout: as wide as the terminal, and unbounded without one.

use std::io::Write;

use anyhow::Context;
use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The length of the ids in the provider's documentation, `chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR`.
const ID_USUAL: usize = 31;
/// The narrowest column of ids.
const ID_MIN: usize = 8;

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

/// Hides columns in the order of `expendable` until the table fits, because a column that is too narrow breaks words. Returns by how
/// much the table is still too wide.
pub(super) fn leave_out(table: &mut Table, columns: Option<u16>, expendable: &[usize]) -> usize {
    let Some(columns) = columns.map(usize::from) else { return 0 };
    let contents = table.column_max_content_widths();
    let widths: Vec<_> = contents
        .iter()
        .zip(table.column_iter())
        .map(|(content, column)| usize::from(*content + column.padding_width()))
        .collect();
    let mut width: usize = widths.iter().sum();
    for index in expendable {
        if width <= columns {
            break;
        }
        if let Some(column) = table.column_mut(*index) {
            column.set_constraint(ColumnConstraint::Hidden);
            width -= widths[*index];
        }
    }
    width.saturating_sub(columns)
}

/// A table with an id in the first cell of each row, and a line for each row, whatever the width: ids longer than the provider's are cut,
/// then columns are left out in the order of `expendable`, then ids are cut further.
pub(super) fn of_ids(
    headings: &[&str],
    rows: &[(String, Vec<Cell>)],
    columns: Option<u16>,
    expendable: &[usize],
) -> Table {
    let build = |id_width: usize, expendable: &[usize]| {
        let mut built = table(headings, columns);
        let id = |id: &str| Cell::new(cut(id, id_width));
        built.add_rows(rows.iter().map(|(name, cells)| std::iter::once(id(name)).chain(cells.iter().cloned())));
        let excess = leave_out(&mut built, columns, expendable);
        (built, excess)
    };
    let widest = rows.iter().map(|(id, _)| id.width()).max().unwrap_or_default();
    let (built, excess) = build(widest, &[]);
    if excess == 0 {
        return built;
    }
    let usual = widest.min(widest.saturating_sub(excess).max(ID_USUAL));
    match build(usual, expendable) {
        (built, 0) => built,
        (_, excess) => build(usual.saturating_sub(excess).max(ID_MIN), expendable).0,
    }
}

/// The text in at most `width` columns. Cuts in the middle, because ids differ at their ends.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (head, tail) = (width.saturating_sub(1) / 2, width.saturating_sub(1).div_ceil(2));
    let tail: String = within(text.chars().rev(), tail).chars().rev().collect();
    format!("{}…{tail}", within(text.chars(), head))
}

/// The beginning of the text, in at most `width` columns.
pub(super) fn cut_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    within(text.chars(), width.saturating_sub(1)) + "…"
}

/// The characters that fit into `columns`; a character may take two columns, or none.
fn within(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut taken = 0;
    let fits = |character: &char| {
        taken += character.width().unwrap_or_default();
        taken <= columns
    };
    characters.take_while(fits).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_cut_in_the_middle_and_measured_in_columns() {
        assert_eq!(cut("chat_1", 8), "chat_1");
        assert_eq!(cut("chat_01HXYZ4QK3", 9), "chat…4QK3");
        assert_eq!(cut("chat", 1), "…");
        assert_eq!(cut("会話の記録", 7), "会…録");
        assert_eq!(["SYNC_DONE", "SYNC_STARTED"].map(|text| cut_end(text, 9)), ["SYNC_DONE", "SYNC_STA…"]);
    }

    #[test]
    fn narrow_table_leaves_out_columns_before_it_cuts_the_providers_ids() {
        let rows = [("an-id-of-22-characters".to_owned(), vec![Cell::new("first words"), Cell::new("second words")])];
        let headings = ["id", "first", "second"];
        for (columns, shown) in [
            (60, " id                      first        second\n an-id-of-22-characters  first words  second words\n"),
            (40, " id                      second\n an-id-of-22-characters  second words\n"),
            (30, " id              second\n an-id-…racters  second words\n"),
        ] {
            let listed = of_ids(&headings, &rows, Some(columns), &[1]);
            assert_eq!(anstream::adapter::strip_str(&text(&listed)).to_string(), shown);
        }
        let long = [("x".repeat(60), rows[0].1.clone())];
        let listed = text(&of_ids(&headings, &long, Some(60), &[1]));
        assert!(listed.contains("first") && listed.contains(&format!("{0}…{0}", "x".repeat(15))), "{listed}");
    }
}
