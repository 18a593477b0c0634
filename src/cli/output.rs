//! How a command talks: its colours, its progress and its log.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::{ArgAction, Args, ValueEnum};

use jiff::tz::TimeZone;

use crate::event::Event;
use crate::settings;
use crate::time::Clock;

use super::format;

/// The options that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct OutputOptions {
    /// Colours: `always`, `never`, or as terminal and `NO_COLOR` say
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", hide_possible_values = true)]
    color: Color,

    /// Show no progress, and log only errors
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Log what Lambda would log; `-vv` also each step. `BRIDGE_LOG` overrides it
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
}

/// When output has colours.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Color {
    /// On a terminal, unless the environment says otherwise (`NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM=dumb`).
    #[default]
    Auto,
    /// Also in a pipe or a file.
    Always,
    /// Nowhere.
    Never,
}

/// How a command prints its events on stdout.
#[derive(Debug, Clone)]
pub(super) enum EventFormat {
    /// As EventBridge delivers them, with this `source`.
    Json { source: String },
    /// One line each, for a person.
    Lines,
}

impl EventFormat {
    /// JSON if it is asked for, or if stdout is no terminal.
    pub(super) fn new(json: bool, source: &str) -> Self {
        if json || !std::io::stdout().is_terminal() { Self::Json { source: source.to_owned() } } else { Self::Lines }
    }

    /// The line of an event.
    pub(super) fn line(&self, event: &Event) -> String {
        match self {
            Self::Json { source } => event.to_line(source),
            Self::Lines => {
                let now = Clock::System.now();
                let time = format::time_or_date(event.detail.finished_at.unwrap_or(now), now);
                format!("{time}  {}", format::event(event))
            }
        }
    }
}

static QUIET: OnceLock<()> = OnceLock::new();

/// Whether progress is not wanted.
pub(super) fn is_quiet() -> bool {
    QUIET.get().is_some()
}

impl OutputOptions {
    /// Sets up this process accordingly.
    pub(super) fn apply(&self) {
        let (choice, live_lines) = match self.color {
            Color::Auto => (anstream::ColorChoice::Auto, None),
            Color::Always => (anstream::ColorChoice::Always, Some(true)),
            Color::Never => (anstream::ColorChoice::Never, Some(false)),
        };
        choice.write_global();
        format::set_zone(TimeZone::system());
        // The live lines are indicatif's, which has its own idea of colours.
        if let Some(colours) = live_lines {
            console::set_colors_enabled_stderr(colours);
        }
        if self.quiet {
            QUIET.get_or_init(|| ());
        }
        if let Some(filter) = self.log_filter() {
            settings::set_default_log_filter(filter);
        }
    }

    /// The log filter that replaces the command's own.
    fn log_filter(&self) -> Option<&'static str> {
        match (self.quiet, self.verbose) {
            (true, _) => Some("error"),
            (false, 0) => None,
            (false, 1) => Some("info"),
            (false, _) => Some("info,postpress_bridge=debug"),
        }
    }
}
