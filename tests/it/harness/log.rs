//! The log of a test, as the programs would write it, at the most talkative level that there is.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use postpress_bridge::telemetry::{LogFilter, LogFormat, dispatch};
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};

use super::canary::assert_no_secret;

/// While there is but one listener, `tracing` asks the thread that comes to a line first whether anybody listens, and keeps
/// the answer for all: tests on other threads would silence this one. These two are always there.
static OTHERS: LazyLock<[Dispatch; 2]> = LazyLock::new(|| [everything(Lines::default()), everything(Lines::default())]);

fn everything(lines: Lines) -> Dispatch {
    dispatch(&LogFilter::parse("trace").unwrap(), LogFormat::Json, move || lines.clone())
}

/// Takes what this thread logs, from here to its end.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

impl Log {
    pub(crate) fn start() -> Self {
        LazyLock::force(&OTHERS);
        let lines = Lines::default();
        let guard = set_default(&everything(lines.clone()));
        Self { lines, _guard: guard }
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
        assert_no_secret("the log", &text);
        text
    }

    /// What the bridge itself said since this was asked last, as `WARN what it said`.
    pub(crate) fn take_said(&self) -> Vec<String> {
        let text = self.text();
        self.lines.0.lock().unwrap().clear();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of_ours = lines.filter(|line| line["target"].as_str().unwrap().starts_with("postpress_bridge"));
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
