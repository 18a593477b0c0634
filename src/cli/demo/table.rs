//! The demo's final table.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets};

use super::cast::CAST;
use super::{Outcome, chat_id, syncs};
use crate::cli::progress::columns;

/// The width of the whole table; a narrower terminal gets it without the explanations.
const WIDE: usize = 80;

/// The table, and the summary below it.
pub(super) fn render(outcome: &Outcome) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.use_stderr().set_width(u16::try_from(columns()).unwrap_or(u16::MAX));
    let headings = ["chat", "what it shows", "its event", "calls", "syncs", "stateless"];
    table.set_header(headings.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    if columns() < WIDE {
        table.column_mut(1).map(|column| column.set_constraint(ColumnConstraint::Hidden));
    }
    for part in &CAST {
        let chat = chat_id(part);
        let endings: Vec<_> = outcome.endings_of(&chat).iter().map(|event| event.detail_type.as_str()).collect();
        let calls = outcome.bridge.chats.get(&chat).map_or(0, |counts| counts.calls);
        let (ours, theirs) = (syncs(&outcome.bridge, &chat), syncs(&outcome.stateless, &chat));
        table.add_row([
            Cell::new(part.short_name()),
            Cell::new(part.shows),
            Cell::new(endings.join(", ")).fg(colour(outcome.kept_for(part))),
            number(calls),
            number(ours).fg(colour(ours == part.syncs)),
            number(theirs).fg(colour(theirs == part.syncs)),
        ]);
    }
    let (ours, theirs) = (outcome.bridge.total, outcome.stateless.total);
    format!(
        "\n{table}\n\nSyncs that the provider started: {}, restarts among them: {}.\nWith a stateless poller, the same messages \
         and the same faults: {}, restarts: {}, endings: {}.",
        ours.syncs_started,
        ours.restarts,
        theirs.syncs_started,
        theirs.restarts,
        outcome.stateless_endings.len(),
    )
}

fn number(number: u64) -> Cell {
    Cell::new(number).set_alignment(CellAlignment::Right)
}

fn colour(good: bool) -> Color {
    if good { Color::Green } else { Color::Red }
}
