//! The demo's final table.

use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint};

use super::chats::CHATS;
use super::{Comparison, chat_id, syncs};
use crate::cli::progress::columns;
use crate::cli::table;

/// The width of the whole table. A narrower terminal gets it without the explanations, which would be broken into pieces.
const WIDE: usize = 80;

/// The table, and the summary below it.
pub(super) fn render(comparison: &Comparison) -> String {
    let headings = ["sync of", "what it shows", "its event", "calls", "syncs", "stateless"];
    let mut table = table::table(&headings, Some(u16::try_from(columns()).unwrap_or(u16::MAX)));
    table.use_stderr();
    if columns() < WIDE {
        table.column_mut(1).map(|column| column.set_constraint(ColumnConstraint::Hidden));
    }
    for chat in &CHATS {
        let id = chat_id(chat);
        let endings: Vec<_> = comparison.endings_of(&id).iter().map(|event| event.detail_type.as_str()).collect();
        let calls = comparison.bridge.subjects.get(&id).map_or(0, |counts| counts.calls);
        let (ours, theirs) = (syncs(&comparison.bridge, &id), syncs(&comparison.stateless, &id));
        table.add_row([
            Cell::new(chat.short_name()),
            Cell::new(chat.shows),
            Cell::new(endings.join(", ")).fg(colour(comparison.kept_for(chat))),
            number(calls),
            number(ours).fg(colour(ours == chat.syncs)),
            number(theirs).fg(colour(theirs == chat.syncs)),
        ]);
    }
    let (ours, theirs) = (comparison.bridge.total, comparison.stateless.total);
    format!(
        "\n{table}\n\nSyncs that the provider started: {}, restarts among them: {}.\nWith a stateless poller, the same messages \
         and the same faults: {}, restarts: {}, endings: {}.",
        ours.syncs_started,
        ours.restarts,
        theirs.syncs_started,
        theirs.restarts,
        comparison.stateless_endings.len(),
    )
}

fn number(number: u64) -> Cell {
    Cell::new(number).set_alignment(CellAlignment::Right)
}

fn colour(good: bool) -> Color {
    if good { Color::Green } else { Color::Red }
}
