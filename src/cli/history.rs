//! Draws a run's history: a lane for each answer, along which its polls are as far apart as they were in time.

use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use crate::run::{Ending, Item, PollAnswer};
use crate::time::Millis;

use super::format::span;

/// The width without a terminal, and the largest one.
const COLUMNS: usize = 80;
const COLUMNS_MAX: usize = 110;
/// The shortest distance of two ticks of the axis.
const TICK_COLUMNS: usize = 10;
/// Distances of ticks, in seconds.
const TICKS: [u32; 17] =
    [1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 604_800];

/// The characters of a drawing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyphs {
    in_progress: char,
    restart: char,
    failure: char,
    unrecorded: char,
    end: char,
    line: char,
    axis: [char; 5],
}

impl Glyphs {
    pub(super) const UNICODE: Self = Self {
        in_progress: '●',
        restart: '↻',
        failure: '×',
        unrecorded: '†',
        end: '◆',
        line: '─',
        axis: ['├', '─', '┬', '┤', '>'],
    };
    pub(super) const ASCII: Self = Self {
        in_progress: 'o',
        restart: 'R',
        failure: 'x',
        unrecorded: '?',
        end: '#',
        line: '-',
        axis: ['+', '-', '+', '+', '>'],
    };

    /// Those that the terminal can show, by `TERM` and the locale.
    pub(super) fn of_terminal() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        Self::of(variable("TERM").as_deref(), locale.as_deref())
    }

    fn of(term: Option<&str>, locale: Option<&str>) -> Self {
        let is_utf8 = |locale: &str| ["utf-8", "utf8"].iter().any(|utf8| locale.to_lowercase().contains(utf8));
        let is_utf8 = locale.map_or(cfg!(windows), is_utf8);
        if is_utf8 && term != Some("dumb") { Self::UNICODE } else { Self::ASCII }
    }
}

/// The polls with one answer, or the ending.
struct Lane {
    name: String,
    style: Style,
    /// What is drawn in each column.
    cells: Vec<char>,
    count: u32,
}

/// A mark in a lane.
struct Mark {
    lane: Kind,
    glyph: char,
    /// Seconds since the run's first claim.
    at: f64,
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answer(PollAnswer),
    End { is_done: bool },
}

/// The drawing, within `columns`; `None` if nothing is known yet.
pub(super) fn chart(item: &Item, now: Millis, columns: Option<u16>, glyphs: Glyphs) -> Option<String> {
    let until = item.state.outcome().map_or(now, |outcome| outcome.finished_at);
    let seconds = until.since(item.started_at_ms).as_secs_f64().max(1.0);
    let marks = marks(item, seconds, glyphs);
    let names = marks.iter().map(|mark| name(mark.lane, item));
    let name_width = names.map(|name| name.width()).max()?;
    let columns = columns.map_or(COLUMNS, usize::from).min(COLUMNS_MAX);
    let width = columns.saturating_sub(name_width + 10).max(TICK_COLUMNS);
    let column = |at: f64| share(at / seconds, width - 1);

    let mut kinds: Vec<Kind> = Vec::new();
    let mut lanes: Vec<Lane> = Vec::new();
    for (place, mark) in marks.iter().enumerate() {
        let lane = kinds.iter().position(|kind| *kind == mark.lane).unwrap_or_else(|| {
            kinds.push(mark.lane);
            let (name, style) = (name(mark.lane, item), style(mark.lane));
            lanes.push(Lane { name, style, cells: vec![' '; width], count: 0 });
            lanes.len() - 1
        });
        let lane = &mut lanes[lane];
        lane.count += mark.count;
        let from = column(mark.at);
        if mark.draws_line() {
            // The answer is the latest one until the next.
            let next =
                marks[place + 1..].iter().find(|next| next.draws_line() || matches!(next.lane, Kind::End { .. }));
            let to = next.map_or(width, |next| column(next.at));
            lane.cells[from..to].iter_mut().filter(|cell| **cell == ' ').for_each(|cell| *cell = glyphs.line);
        }
        lane.cells[from] = mark.glyph;
    }

    let mut text = String::new();
    for Lane { name, style, cells, count } in &lanes {
        let cells: String = cells.iter().collect();
        let count = if *count > 0 { count.to_string() } else { String::new() };
        text += format!(" {name:name_width$}  {style}{cells}{style:#}  {count:>4}").trim_end();
        text.push('\n');
    }
    let [axis, labels] = axis(seconds, width, item.state.is_active(), glyphs);
    for line in [axis + " calls", labels] {
        text += format!(" {:name_width$}  {line}", "").trim_end();
        text.push('\n');
    }
    Some(text)
}

/// The shortest and the longest time between two answers; `None` before the second one.
pub(super) fn pauses(item: &Item) -> Option<(Duration, Duration)> {
    let is_answer = |answer| !matches!(answer, PollAnswer::Earlier | PollAnswer::Unrecorded);
    let entries = item.learned.history.entries().iter().filter(|entry| is_answer(entry.answer));
    let mut times: Vec<(Millis, u32)> =
        entries.map(|entry| (entry.at(item.started_at_ms), u32::from(entry.count))).collect();
    if let Some(outcome) = item.state.outcome().filter(|outcome| matches!(outcome.ending, Ending::Sync { .. })) {
        times.push((outcome.finished_at, 1));
    }
    let pauses = times.windows(2).map(|pair| pair[1].0.since(pair[0].0) / pair[0].1.max(1));
    Some((pauses.clone().min()?, pauses.max()?))
}

/// The polls and the ending, in order.
fn marks(item: &Item, seconds: f64, glyphs: Glyphs) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let entries = item.learned.history.entries();
    let mut before = 0.0;
    let mut was_running = false;
    for (place, entry) in entries.iter().enumerate() {
        let at = f64::from(entry.seconds);
        if entry.answer == PollAnswer::Unrecorded {
            marks.extend(spread_between(before, at, entry.count.into(), glyphs));
            continue;
        }
        let restarts = was_running && entry.answer == PollAnswer::Started;
        match entry.answer {
            PollAnswer::Running => was_running = true,
            PollAnswer::Started | PollAnswer::ChunkDone => was_running = false,
            _ => {}
        }
        let next = entries[place + 1..].iter().find(|next| next.answer != PollAnswer::Unrecorded);
        let until = next.map_or(seconds, |next| f64::from(next.seconds));
        for nth in 0..entry.count {
            let glyph = if restarts && nth == 0 { glyphs.restart } else { glyph(entry.answer, glyphs) };
            let at = at + (until - at) * f64::from(nth) / f64::from(entry.count);
            marks.push(Mark { lane: Kind::Answer(entry.answer), glyph, at: at.min(seconds), count: 1 });
        }
        before = at;
    }
    marks.extend(spread_between(before, seconds, item.unrecorded_at_end(), glyphs));
    if let Some(outcome) = item.state.outcome() {
        let is_done = matches!(outcome.ending, Ending::Sync { status: crate::postpress::Finish::Done });
        let count = u32::from(matches!(outcome.ending, Ending::Sync { .. }));
        marks.push(Mark { lane: Kind::End { is_done }, glyph: glyphs.end, at: seconds, count });
    }
    marks
}

/// Polls without a recorded answer, somewhere between two times.
fn spread_between(from: f64, to: f64, count: u32, glyphs: Glyphs) -> impl Iterator<Item = Mark> {
    (1..=count).map(move |nth| Mark {
        lane: Kind::Answer(PollAnswer::Unrecorded),
        glyph: glyphs.unrecorded,
        at: from + (to - from) * f64::from(nth) / f64::from(count + 1),
        count: 1,
    })
}

impl Mark {
    fn draws_line(&self) -> bool {
        !matches!(self.lane, Kind::Answer(PollAnswer::Unrecorded) | Kind::End { .. })
    }
}

fn name(lane: Kind, item: &Item) -> String {
    match lane {
        Kind::Answer(answer) => match answer {
            PollAnswer::Earlier => "earlier".to_owned(),
            PollAnswer::Unrecorded => "no record".to_owned(),
            PollAnswer::Started => "SYNC_STARTED".to_owned(),
            PollAnswer::Running => "SYNC_RUNNING".to_owned(),
            PollAnswer::ChunkDone => "CHUNK_DONE".to_owned(),
            PollAnswer::Unusable => "unusable".to_owned(),
            PollAnswer::TimedOut => "timed out".to_owned(),
            PollAnswer::Credentials => "key refused".to_owned(),
            PollAnswer::Connecting => "connecting".to_owned(),
            PollAnswer::Failed(status) => format!("HTTP {status}"),
            PollAnswer::Unknown(code) => format!("answer {code}"),
        },
        Kind::End { .. } => match item.state.outcome().map(|outcome| &outcome.ending) {
            Some(Ending::Sync { status }) => status.as_str().to_owned(),
            _ => "error".to_owned(),
        },
    }
}

fn style(lane: Kind) -> Style {
    match lane {
        Kind::Answer(PollAnswer::Started) => AnsiColor::Blue.on_default(),
        Kind::Answer(PollAnswer::Running | PollAnswer::ChunkDone) => AnsiColor::Cyan.on_default(),
        Kind::Answer(PollAnswer::Earlier) => Style::new().dimmed(),
        Kind::Answer(PollAnswer::Unrecorded) => AnsiColor::Red.on_default(),
        Kind::Answer(_) => AnsiColor::Yellow.on_default(),
        Kind::End { is_done: true } => AnsiColor::Green.on_default().bold(),
        Kind::End { is_done: false } => AnsiColor::Red.on_default().bold(),
    }
}

fn glyph(answer: PollAnswer, glyphs: Glyphs) -> char {
    match answer {
        PollAnswer::Earlier | PollAnswer::Started | PollAnswer::Running | PollAnswer::ChunkDone => glyphs.in_progress,
        PollAnswer::Unrecorded => glyphs.unrecorded,
        _ => glyphs.failure,
    }
}

/// The axis, and the times below its ticks.
fn axis(seconds: f64, width: usize, continues: bool, glyphs: Glyphs) -> [String; 2] {
    let [begin, line, tick, end, continuation] = glyphs.axis;
    let mut axis = vec![line; width];
    let column = |at: f64| share(at / seconds, width - 1);
    let step = TICKS.into_iter().find(|step| column((*step).into()) >= TICK_COLUMNS);
    let mut labels = span(Duration::ZERO);
    if let Some(step) = step {
        let times = (1..).map(|nth| nth * step).take_while(|time| f64::from(*time) < seconds);
        for time in times {
            let (at, label) = (column(time.into()), span(Duration::from_secs(time.into())));
            axis[at] = tick;
            if at + label.len() <= width {
                labels += &format!("{:blanks$}{label}", "", blanks = at - labels.len());
            }
        }
    }
    axis[0] = begin;
    axis[width - 1] = if continues { continuation } else { end };
    [axis.into_iter().collect(), labels]
}

/// This share of a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "columns are few"
)]
fn share(share: f64, of: usize) -> usize {
    (share.clamp(0.0, 1.0) * of as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run_report::tests::{NOW, item};
    use crate::postpress::Finish;
    use crate::run::{EndedBy, History, Origin, Outcome, PollState, RunState, bridge_error};

    const SECOND: Duration = Duration::from_secs(1);

    /// A run with these entries (seconds, code, count) and this many calls that began so long ago.
    fn run(entries: &[(u32, u16, u16)], polls: u32, seconds: u32) -> Item {
        let learned = PollState { history: History::from(entries.to_vec()), ..item().learned };
        Item { learned, polls, started_at_ms: NOW - seconds * SECOND, ..item() }
    }

    fn ended(item: Item, ending: Ending) -> Item {
        let outcome = Outcome { ending, ended_by: EndedBy::Answer, finished_at: NOW };
        Item { state: RunState::Published { outcome, expires_at: u64::MAX }, ..item }
    }

    const STARTED: u16 = 2;
    const RUNNING: u16 = 3;

    /// Backoff, an outage, a killed function and a restart.
    fn eventful() -> Item {
        let entries = [
            (1, STARTED, 1),
            (6, RUNNING, 1),
            (14, RUNNING, 1),
            (25, RUNNING, 1),
            (42, RUNNING, 1),
            (68, 429, 1),
            (106, 503, 1),
            (164, 1, 1),
            (164, RUNNING, 1),
            (250, STARTED, 1),
            (380, RUNNING, 1),
        ];
        ended(run(&entries, 12, 560), Finish::Done.into())
    }

    fn long() -> Item {
        let mut history = History::default();
        for poll in 1..200 {
            let answer = if poll == 1 { PollAnswer::Started } else { PollAnswer::Running };
            history.push(poll, u64::from(poll - 1) * 300, answer);
        }
        let learned = PollState { history, ..item().learned };
        Item { learned, polls: 200, started_at_ms: NOW - 60_000 * SECOND, ..item() }
    }

    fn failed() -> Item {
        let error = bridge_error::retries_exhausted(503, 3, "it is down");
        let entries = [(0, STARTED, 1), (5, 503, 1), (13, 6, 1), (80, 503, 1)];
        ended(run(&entries, 4, 80), Ending::Error { error, origin: Origin::Bridge })
    }

    fn drawn(item: &Item, columns: u16, glyphs: Glyphs) -> String {
        anstream::adapter::strip_str(&chart(item, NOW, Some(columns), glyphs).unwrap()).to_string()
    }

    #[test]
    fn history_is_drawn() {
        let active = run(&[(0, STARTED, 1), (5, RUNNING, 1), (13, RUNNING, 1)], 5, 60);
        let drawings = [active, eventful(), long(), failed()]
            .map(|item| [80, 60].map(|columns| drawn(&item, columns, Glyphs::UNICODE)).join("\n"));
        insta::assert_snapshot!(drawings.join("\n"));
        insta::assert_snapshot!("plain_drawing", drawn(&eventful(), 80, Glyphs::ASCII));
    }

    #[test]
    fn drawing_fits_the_terminal_and_is_plain_where_it_must_be() {
        for item in [run(&[(0, STARTED, 1)], 1, 0), eventful(), long(), failed()] {
            for columns in [40, 60, 80, 200] {
                let text = drawn(&item, columns, Glyphs::UNICODE);
                let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
                assert!(widest <= usize::from(columns), "{widest} of {columns} columns:\n{text}");
            }
            assert!(drawn(&item, 80, Glyphs::ASCII).is_ascii());
        }
    }

    #[test]
    fn every_call_is_drawn_or_counted() {
        for (item, counts) in [(eventful(), 12), (long(), 199), (failed(), 4)] {
            let marks = marks(&item, 60_000.0, Glyphs::UNICODE);
            assert_eq!(marks.iter().map(|mark| mark.count).sum::<u32>(), counts);
        }
        assert_eq!(eventful().unrecorded(), 1);
        assert_eq!(run(&[(0, STARTED, 1)], 4, 60).unrecorded(), 2, "the fourth call is in progress");
        assert!(chart(&run(&[], 1, 5), NOW, None, Glyphs::UNICODE).is_none(), "nothing is known yet");
    }

    #[test]
    fn pauses_are_the_times_between_answers() {
        assert_eq!(pauses(&eventful()), Some((5 * SECOND, 180 * SECOND)));
        assert_eq!(pauses(&long()), Some((300 * SECOND, 300 * SECOND)), "merged polls are spread evenly");
        assert_eq!(pauses(&run(&[(0, STARTED, 1)], 2, 5)), None);
    }

    #[test]
    fn glyphs_depend_on_the_terminal() {
        let is_unicode = |term, locale| Glyphs::of(term, locale).line == Glyphs::UNICODE.line;
        assert!(is_unicode(Some("xterm"), Some("de_DE.UTF-8")) && is_unicode(None, Some("C.utf8")));
        assert!(!is_unicode(Some("dumb"), Some("C.utf8")) && !is_unicode(Some("xterm"), Some("POSIX")));
        assert_eq!(is_unicode(Some("xterm"), None), cfg!(windows));
    }
}
