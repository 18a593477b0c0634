//! Progress on stderr while chats are synced: a live line for each chat on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::ids::Subject;
use crate::service::ServiceError;

use super::output::is_quiet;

/// Maximum width of a chat id.
const NAME_MAX: usize = 44;

/// How many chats have live lines; the lines of more would not fit on a screen.
const LIVE_MAX: usize = 200;

/// Shows the progress of chats.
pub(super) struct ProgressDisplay {
    began: Instant,
    lines: MultiProgress,
    live: RefCell<BTreeMap<Subject, ProgressBar>>,
    name_width: usize,
    is_quiet: bool,
}

/// How a chat ended, which sets its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// `SYNC_DONE`.
    Success,
    /// Any other ending.
    Failure,
}

impl ProgressDisplay {
    /// A display with a line for each of these chats.
    pub(super) fn new<'a>(chats: impl IntoIterator<Item = &'a Subject>) -> Self {
        let chats: Vec<&Subject> = chats.into_iter().collect();
        let lines = MultiProgress::new();
        let is_quiet = is_quiet();
        let is_live = std::io::stderr().is_terminal() && chats.len() <= LIVE_MAX && !is_quiet;
        let longest = chats.iter().map(|chat| chat.label().width()).max().unwrap_or_default();
        let name_width = longest.min(NAME_MAX).min(columns() / 2);
        let display = Self { began: Instant::now(), lines, live: RefCell::default(), name_width, is_quiet };
        if is_live {
            display.live.borrow_mut().extend(chats.into_iter().map(|chat| (chat.clone(), display.line(chat))));
        }
        display
    }

    fn line(&self, chat: &Subject) -> ProgressBar {
        let bar = self.lines.add(ProgressBar::no_length());
        bar.set_style(style("{spinner:.cyan}"));
        bar.set_prefix(fit(&chat.label(), self.name_width));
        bar.set_message("waiting");
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// Shows the current state of a chat.
    pub(super) fn update(&self, chat: &Subject, text: &str) {
        match self.live.borrow().get(chat) {
            Some(bar) if !bar.is_finished() => bar.set_message(text.to_owned()),
            Some(_) => {}
            None => self.plain(chat, text),
        }
    }

    /// Shows how a chat ended.
    pub(super) fn finish(&self, chat: &Subject, text: &str, mark: Mark) {
        match self.live.borrow().get(chat) {
            Some(bar) => {
                bar.set_style(style(if mark == Mark::Success { "{spinner:.green}" } else { "{spinner:.red}" }));
                bar.finish_with_message(text.to_owned());
            }
            None => self.plain(chat, text),
        }
    }

    /// Prints a line of data on stdout, above the live lines.
    ///
    /// An event that cannot be printed is not published, except that a reader may close the pipe (`| head`).
    pub(super) fn data(&self, line: &str) -> Result<(), ServiceError> {
        let written = self.lines.suspend(|| writeln!(std::io::stdout().lock(), "{line}"));
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(ServiceError::Permanent(format!("cannot write to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Prints a message to stderr, above the live lines while any of them is still changing.
    pub(super) fn note(&self, text: &str) {
        if self.live.borrow().values().all(ProgressBar::is_finished) {
            anstream::eprintln!("{text}");
        } else {
            self.lines.suspend(|| anstream::eprintln!("{text}"));
        }
    }

    fn plain(&self, chat: &Subject, text: &str) {
        if self.is_quiet {
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        anstream::eprintln!("{seconds:6.1} s  {}  {text}", chat.label());
    }
}

fn style(spinner: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("{spinner} {{prefix:.bold}}  {{wide_msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", "●"])
}

/// Fits the text into exactly `width` columns. Cuts in the middle, because ids differ at their ends.
fn fit(text: &str, width: usize) -> String {
    let filled = |text: String| {
        let blanks = width.saturating_sub(text.width());
        text + &" ".repeat(blanks)
    };
    if text.width() <= width {
        return filled(text.to_owned());
    }
    let (head, tail) = (width.saturating_sub(1) / 2, width.saturating_sub(1).div_ceil(2));
    let tail: String = within(text.chars().rev(), tail).chars().rev().collect();
    filled(format!("{}…{tail}", within(text.chars(), head)))
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

/// The width of the terminal behind stderr, or 80 without one.
pub(super) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_fits_its_column_and_keeps_both_ends() {
        assert_eq!(fit("chat_1", 8), "chat_1  ");
        assert_eq!(fit("chat_01HXYZ4QK3", 9), "chat…4QK3");
        assert_eq!(fit("chat", 1), "…");
    }

    #[test]
    fn name_is_measured_in_columns_not_characters() {
        assert_eq!(fit("会話の記録", 12), "会話の記録  ");
        assert_eq!(fit("会話の記録", 7), "会…録  ");
    }
}
