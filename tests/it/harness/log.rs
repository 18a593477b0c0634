//! The log of a test, as the programs would write it.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use postpress_bridge::telemetry::{LogFilter, LogFormat, dispatch};
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};

use super::canary::assert_no_secret;

/// While there is but one listener, `tracing` asks the thread that comes to a line first whether anybody listens, and keeps
/// the answer for all: tests on other threads would silence this one. These two are always there.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [listener("trace", Lines::default()), listener("trace", Lines::default())]);

fn listener(filter: &str, lines: Lines) -> Dispatch {
    dispatch(&LogFilter::parse(filter).unwrap(), LogFormat::Json, move || lines.clone())
}

/// Takes what this thread logs, from here to its end.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

impl Log {
    /// At the most talkative level that there is.
    pub(crate) fn start() -> Self {
        Self::filtered("trace")
    }

    /// What this filter lets through.
    pub(crate) fn filtered(filter: &str) -> Self {
        LazyLock::force(&OTHERS);
        let lines = Lines::default();
        let guard = set_default(&listener(filter, lines.clone()));
        Self { lines, _guard: guard }
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
        assert_no_secret("the log", &text);
        text
    }

    /// The lines since this was asked last.
    pub(crate) fn take_lines(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        self.lines.0.lock().unwrap().clear();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the bridge itself said at `info` or above since this was asked last, as `WARN what it said`.
    pub(crate) fn take_said(&self) -> Vec<String> {
        let lines = self.take_lines().into_iter();
        let of_ours = lines.filter(|line| line["target"].as_str().unwrap().starts_with("postpress_bridge"));
        let of_ours = of_ours.filter(|line| line["level"] != "DEBUG");
        of_ours
            .map(|line| format!("{} {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap()))
            .collect()
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
