//! Progress on stderr while chats are synced: a live line for each chat on a terminal, plain lines elsewhere and for `TERM=dumb`.
//!
//! A live line has the chat, how long it takes so far, its calls, when its next message is delivered, and the latest news:
//!
//! ```text
//! ⠹ chat_01HXYZ    42 s   7 calls  next in 12 s  SYNC_RUNNING
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use unicode_width::UnicodeWidthStr;

use crate::ids::Subject;
use crate::postpress::Envelope;
use crate::service::ServiceError;
use crate::text::one_line;

use super::format::{self, pause, span};
use super::output::is_quiet;
use super::table::{cut, cut_end};

/// Maximum width of a chat id.
const NAME_MAX: usize = 44;

/// The widths of terminals from which a live line also has the time so far, and the calls.
const ROOM_FOR_TIME: usize = 80;
const ROOM_FOR_CALLS: usize = 100;

/// How many chats have live lines; the lines of more would not fit on a screen.
const LIVE_MAX: usize = 200;

/// Shows the progress of chats.
pub(super) struct ProgressDisplay {
    began: Instant,
    lines: MultiProgress,
    live: RefCell<BTreeMap<Subject, LiveLine>>,
    /// Answers whose plain lines wait for when the next call is, and when they came.
    answers: RefCell<BTreeMap<Subject, (Duration, String)>>,
    columns: usize,
    name_width: usize,
    is_quiet: bool,
    /// Whether something stands below the live lines, which do not change any more.
    is_below: Cell<bool>,
}

struct LiveLine {
    bar: ProgressBar,
    facts: Arc<Mutex<Facts>>,
}

/// What a live line says before the news.
struct Facts {
    columns: usize,
    began: Instant,
    ended: Option<Instant>,
    calls: u32,
    next: Upcoming,
}

/// What happens next with a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upcoming {
    Unknown,
    Call,
    MessageAt(Instant),
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
        let is_quiet = is_quiet();
        let lines = MultiProgress::new();
        // Hidden without a terminal, and on one that cannot move its cursor (`TERM=dumb`).
        let is_live = !lines.is_hidden() && chats.len() <= LIVE_MAX && !is_quiet;
        let longest = chats.iter().map(|chat| chat.label().width()).max().unwrap_or_default();
        let columns = columns();
        let display = Self {
            began: Instant::now(),
            lines,
            live: RefCell::default(),
            answers: RefCell::default(),
            columns,
            name_width: longest.min(NAME_MAX).min(columns / 3),
            is_quiet,
            is_below: Cell::new(false),
        };
        if is_live {
            display.live.borrow_mut().extend(chats.into_iter().map(|chat| (chat.clone(), display.line(chat))));
        }
        display
    }

    /// Whether a person sees it, who needs no events beside it.
    pub(super) fn is_watched(&self) -> bool {
        !self.is_quiet && std::io::stderr().is_terminal()
    }

    fn line(&self, chat: &Subject) -> LiveLine {
        let facts = Facts { columns: self.columns, began: self.began, ended: None, calls: 0, next: Upcoming::Unknown };
        let facts = Arc::new(Mutex::new(facts));
        let bar = self.lines.add(ProgressBar::no_length());
        bar.set_style(style("{spinner:.cyan}", &facts));
        bar.set_prefix(filled(&chat.label(), self.name_width));
        bar.set_message("waiting");
        bar.enable_steady_tick(Duration::from_millis(100));
        LiveLine { bar, facts }
    }

    /// Shows the current state of a chat.
    pub(super) fn update(&self, chat: &Subject, text: &str) {
        match self.live.borrow().get(chat) {
            Some(line) if !line.bar.is_finished() => line.bar.set_message(self.fitting(text, Facts::WIDTHS)),
            Some(_) => {}
            None => {
                self.show_answer(chat, "");
                self.plain(chat, self.began.elapsed(), text);
            }
        }
    }

    /// Shows how many calls were made for a chat.
    pub(super) fn set_calls(&self, chat: &Subject, calls: u32) {
        self.change(chat, |facts| facts.calls = calls);
    }

    /// Shows that a call for a chat begins.
    pub(super) fn call(&self, chat: &Subject) {
        self.change(chat, |facts| (facts.calls, facts.next) = (facts.calls + 1, Upcoming::Call));
    }

    /// Shows the answer to a chat's call. Its plain line waits for what follows from it.
    pub(super) fn answer(&self, chat: &Subject, text: &str) {
        if self.live.borrow().contains_key(chat) {
            self.change(chat, |facts| facts.next = Upcoming::Unknown);
            self.update(chat, text);
        } else {
            self.show_answer(chat, "");
            self.answers.borrow_mut().insert(chat.clone(), (self.began.elapsed(), text.to_owned()));
        }
    }

    /// Prints the plain line of an answer that still waits.
    fn show_answer(&self, chat: &Subject, rest: &str) {
        if let Some((came, answer)) = self.answers.borrow_mut().remove(chat) {
            self.plain(chat, came, &format!("{answer}{rest}"));
        }
    }

    /// Shows when a chat's next message is delivered.
    pub(super) fn set_next(&self, chat: &Subject, wait: Duration) {
        self.change(chat, |facts| facts.next = Upcoming::MessageAt(Instant::now() + wait));
        self.show_answer(chat, &format!("; next call in {}", pause(wait)));
    }

    /// The beginning of the news, as much as fits after facts of these widths. The last column stays free: what the terminal itself
    /// writes there, such as `^C`, would begin a line that is never cleared.
    fn fitting(&self, text: &str, facts: [usize; 3]) -> String {
        let used = self.name_width + Facts::width(facts, self.columns) + 7;
        cut_end(text, self.columns.saturating_sub(used))
    }

    /// Shows that nothing follows for the chats that have not ended.
    pub(super) fn stop(&self) {
        for LiveLine { bar, facts } in self.live.borrow().values() {
            if !bar.is_finished() {
                {
                    let mut facts = facts.lock().unwrap_or_else(PoisonError::into_inner);
                    (facts.ended, facts.next) = (Some(Instant::now()), Upcoming::Unknown);
                }
                bar.set_style(style("{spinner:.yellow}", facts));
                let text = format!("not done yet: {}", bar.message());
                bar.finish_with_message(self.fitting(&text, Facts::WIDTHS_AT_THE_END));
            }
        }
    }

    fn change(&self, chat: &Subject, change: impl FnOnce(&mut Facts)) {
        if let Some(line) = self.live.borrow().get(chat) {
            change(&mut line.facts.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Shows the event that ends a chat, and the error in it.
    pub(super) fn end(&self, chat: &Subject, event: &str, error: Option<&Envelope>, mark: Mark) {
        let in_full = error.map_or(String::new(), |envelope| format!(" {}", one_line(&format::error(envelope))));
        if !self.live.borrow().contains_key(chat) {
            // Among the answers, a plain line has to say what it is.
            return self.conclude(chat, &format!("event {event}{in_full}"), mark);
        }
        let Some(Envelope { kind, .. }) = error else { return self.conclude(chat, event, mark) };
        self.note(&format!("{}:{in_full}", chat.label()));
        self.conclude(chat, &format!("{event} {kind}"), mark);
    }

    /// Shows what became of a chat. What does not fit into its live line stands above it in full.
    pub(super) fn finish(&self, chat: &Subject, text: &str, mark: Mark) {
        if self.live.borrow().contains_key(chat) && self.fitting(text, Facts::WIDTHS_AT_THE_END) != text {
            self.note(&format!("{}: {text}", chat.label()));
        }
        self.conclude(chat, text, mark);
    }

    fn conclude(&self, chat: &Subject, text: &str, mark: Mark) {
        self.change(chat, |facts| (facts.ended, facts.next) = (Some(Instant::now()), Upcoming::Unknown));
        self.show_answer(chat, "");
        match self.live.borrow().get(chat) {
            Some(LiveLine { bar, facts }) => {
                bar.set_style(style(if mark == Mark::Success { "{spinner:.green}" } else { "{spinner:.red}" }, facts));
                bar.finish_with_message(self.fitting(text, Facts::WIDTHS_AT_THE_END));
            }
            None => self.plain(chat, self.began.elapsed(), text),
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
        let live = self.live.borrow();
        if live.values().all(|line| line.bar.is_finished()) {
            if !live.is_empty() && !self.is_below.replace(true) {
                // The cursor is still at the end of the last line.
                anstream::eprintln!();
            }
            anstream::eprintln!("{text}");
        } else {
            self.lines.suspend(|| anstream::eprintln!("{text}"));
        }
    }

    fn plain(&self, chat: &Subject, at: Duration, text: &str) {
        if !self.is_quiet {
            anstream::eprintln!("{:6.1} s  {}  {text}", at.as_secs_f64(), chat.label());
        }
    }
}

/// A process that is told to stop has answers of which nothing follows any more.
impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        for (chat, (came, answer)) in std::mem::take(&mut *self.answers.borrow_mut()) {
            self.plain(&chat, came, &answer);
        }
    }
}

impl Facts {
    /// What it says at `now`, always with the same width until the end. A narrow terminal has room only for what happens next.
    fn text(&self, now: Instant) -> String {
        let next = match self.next {
            Upcoming::Unknown => String::new(),
            Upcoming::Call => "calling".to_owned(),
            // Rounded up, so that it never says 0 while it waits.
            Upcoming::MessageAt(at) if at > now => {
                format!("next in {}", span((at - now) + Duration::from_millis(999)))
            }
            Upcoming::MessageAt(_) => "due".to_owned(),
        };
        let mut parts = Vec::new();
        if self.columns >= ROOM_FOR_TIME {
            let taken = self.ended.unwrap_or(now).saturating_duration_since(self.began);
            parts.push(format!("{:>7}", span(taken)));
        }
        if self.columns >= ROOM_FOR_CALLS {
            let noun = if self.calls == 1 { "call " } else { "calls" };
            parts.push(format!("{:>4} {noun}", self.calls));
        }
        if self.ended.is_none() {
            parts.push(format!("{next:<14}"));
        }
        parts.join("  ")
    }

    /// The widths of its text on a narrow terminal, on one with room for the time, and on one with room for the calls too.
    const WIDTHS: [usize; 3] = [14, 23, 35];
    /// The same once nothing happens any more.
    const WIDTHS_AT_THE_END: [usize; 3] = [0, 7, 19];

    /// The one of these widths that holds for so many columns.
    fn width(widths: [usize; 3], columns: usize) -> usize {
        match columns {
            ROOM_FOR_CALLS.. => widths[2],
            ROOM_FOR_TIME.. => widths[1],
            _ => widths[0],
        }
    }
}

fn style(spinner: &str, facts: &Arc<Mutex<Facts>>) -> ProgressStyle {
    let facts = Arc::clone(facts);
    let write_facts = move |_: &ProgressState, line: &mut dyn fmt::Write| {
        let text = facts.lock().unwrap_or_else(PoisonError::into_inner).text(Instant::now());
        // A line that cannot be drawn now is drawn again in a moment.
        line.write_str(&text).unwrap_or_default();
    };
    ProgressStyle::with_template(&format!("{spinner} {{prefix:.bold}}  {{facts}}  {{msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("facts", write_facts)
        .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", "●"])
}

/// The text with exactly `width` columns.
fn filled(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let blanks = width.saturating_sub(text.width());
    text + &" ".repeat(blanks)
}

/// The width of the terminal behind stderr, or 80 without one.
pub(super) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_one_width_whatever_they_say() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        for columns in [60, 80, 100] {
            let width = Facts::width(Facts::WIDTHS, columns);
            for (next, calls, after) in [
                (Upcoming::Unknown, 0, 0),
                (Upcoming::Call, 1, 59),
                (Upcoming::MessageAt(began + 900 * second), 12, 0),
                (Upcoming::MessageAt(began), 1000, 100_000),
            ] {
                let facts = Facts { columns, began, ended: None, calls, next };
                let text = facts.text(began + after * second);
                assert_eq!(text.width(), width, "{columns} columns: {text:?}");
                let over = Facts { ended: Some(began), next: Upcoming::Unknown, ..facts };
                assert!(
                    over.text(began).width() == Facts::width(Facts::WIDTHS_AT_THE_END, columns),
                    "{columns} columns"
                );
            }
        }
    }

    #[test]
    fn countdown_stays_above_zero_while_it_waits() {
        let began = Instant::now();
        let facts = |next| Facts { columns: 100, began, ended: None, calls: 7, next };
        let at = |milliseconds| began + Duration::from_millis(milliseconds);
        let text = |next| facts(next).text(at(42_000));
        assert_eq!(text(Upcoming::MessageAt(at(54_000))), "   42 s     7 calls  next in 12 s  ");
        assert_eq!(text(Upcoming::MessageAt(at(42_010))), "   42 s     7 calls  next in 1 s   ");
        assert_eq!(text(Upcoming::MessageAt(at(42_000))), "   42 s     7 calls  due           ");
        let over = Facts { ended: Some(at(40_000)), ..facts(Upcoming::Unknown) };
        assert_eq!(over.text(at(99_000)).trim(), "40 s     7 calls");
    }

    #[test]
    fn name_fills_its_column() {
        assert_eq!(filled("chat_1", 8), "chat_1  ");
        assert_eq!(filled("会話の記録", 12), "会話の記録  ");
        assert_eq!(filled("会話の記録", 7), "会…録  ");
    }
}
