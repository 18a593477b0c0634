//! Logs: always on stderr, since stdout is for data.

use std::io::{self, IsTerminal as _};

use tracing::dispatcher::{self, SetGlobalDefaultError};
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, registry};

/// What is logged, in the notation of `tracing`: `info`, or `warn,postpress_bridge=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Checks a filter that came from outside.
    ///
    /// # Errors
    /// Says which part of it cannot be read.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        EnvFilter::try_new(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Only what is amiss.
    pub fn warnings() -> Self {
        Self("warn".to_owned())
    }

    /// Nothing at all.
    pub fn off() -> Self {
        Self("off".to_owned())
    }
}

/// `info`.
impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for Lambda and whatever reads its logs.
    Json,
    /// Short lines for a person, in colour on a terminal that wants it.
    Compact,
}

/// Sends the process's logs to stderr from here on.
///
/// # Errors
/// They have been sent somewhere already.
pub fn init(filter: &LogFilter, format: LogFormat) -> Result<(), SetGlobalDefaultError> {
    dispatcher::set_global_default(dispatch(filter, format, io::stderr))
}

/// The same to a writer of the caller's own, and not for the whole process.
pub fn dispatch<W>(filter: &LogFilter, format: LogFormat, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Compact => lines.compact().with_target(false).with_ansi(colour()).boxed(),
    };
    registry().with(EnvFilter::new(&filter.0)).with(filter_fn(shows_no_secret)).with(lines).into()
}

/// Below `info` the AWS SDK logs whole requests and answers, and Lambda's runtime whole events, secrets included. No filter
/// may ask for that.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    let logs_all_it_sees = ["aws_", "lambda_"].iter().any(|crates| metadata.target().starts_with(crates));
    !logs_all_it_sees || *metadata.level() <= Level::INFO
}

/// Whether stderr is a terminal and `NO_COLOR` is unset or empty (<https://no-color.org>).
fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged while `work` runs.
    fn logged(filter: &str, format: LogFormat, work: impl FnOnce()) -> String {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = {
            let log = Arc::clone(&log);
            move || Line(Arc::clone(&log))
        };
        dispatcher::with_default(&dispatch(&LogFilter::parse(filter).unwrap(), format, writer), work);
        let bytes = log.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    struct Line(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Line {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_has_the_fields_of_the_event_and_its_span() {
        let log = logged("info", LogFormat::Json, || {
            let _entered = tracing::info_span!("run", chat_id = "chat_1").entered();
            tracing::warn!(polls = 3, "still running");
        });
        let line: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "still running");
        assert_eq!(line["polls"], 3);
        assert_eq!(line["span"]["chat_id"], "chat_1");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn what_the_filter_leaves_out_is_not_logged() {
        let speak = || {
            tracing::debug!("soft");
            tracing::error!("loud");
        };
        let log = logged("error", LogFormat::Compact, speak);
        assert!(log.contains("loud") && !log.contains("soft"), "{log}");
        assert!(logged("debug", LogFormat::Compact, speak).contains("soft"));
    }

    #[test]
    fn no_filter_makes_the_aws_sdk_or_lambdas_runtime_log_what_it_sends_and_gets() {
        for filter in ["trace", "lambda_runtime=trace", "warn,aws_smithy_runtime::client=debug"] {
            let log = logged(filter, LogFormat::Json, || {
                tracing::debug!(target: "aws_smithy_runtime::client::orchestrator", "pp_live_hush");
                tracing::trace!(target: "aws_sdk_secretsmanager", "pp_live_hush");
                tracing::trace!(target: "lambda_runtime::layers::api_response", body = "pp_live_hush");
                tracing::warn!(target: "aws_config", "no region");
            });
            assert!(!log.contains("hush"), "{filter}: {log}");
        }
        let warned = logged("warn", LogFormat::Json, || tracing::warn!(target: "aws_config", "no region"));
        assert!(warned.contains("no region"));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        for text in ["postpress_bridge=loud", "a=b=c", "info,["] {
            assert!(LogFilter::parse(text).is_err(), "{text}");
        }
    }
}
