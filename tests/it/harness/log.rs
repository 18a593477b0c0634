//! The log of a test, as the programs would write it.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use postpress_bridge::telemetry::{LogFilter, LogFormat, dispatch};
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};

use super::canary::assert_no_secret;

/// With only one subscriber, `tracing` asks the thread that first reaches a line whether it is interested, and caches the
/// answer for all threads: tests on other threads would silence this one. These two subscribers always exist.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [listener("trace", Lines::default()), listener("trace", Lines::default())]);

fn listener(filter: &str, lines: Lines) -> Dispatch {
    dispatch(&LogFilter::parse(filter).unwrap(), LogFormat::Json, move || lines.clone())
}

/// Captures what this thread logs, until dropped.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

impl Log {
    /// Captures at the most verbose level.
    pub(crate) fn start() -> Self {
        Self::filtered("trace")
    }

    /// Captures what this filter lets through.
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

    /// The lines since the last call.
    pub(crate) fn take_lines(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        self.lines.0.lock().unwrap().clear();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The bridge's own lines at `info` or above since the last call, as `WARN message`.
    pub(crate) fn take_messages(&self) -> Vec<String> {
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
