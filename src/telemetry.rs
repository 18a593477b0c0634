//! Logs: always on stderr, since stdout is for data.
//!
//! At `info` a run logs its start and its end, and what goes wrong in between; no line per poll. Every line of a message has
//! the ids of the [`invocation`] and of the [`message`], by which a run is found: `filter run_id = "…"`.

use std::io::{self, IsTerminal as _};

use tracing::dispatcher::{self, SetGlobalDefaultError};
use tracing::{Dispatch, Level, Metadata, Span};
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, registry};

use crate::message::Record;
use crate::trace::TraceHeader;

mod flat_json;

use flat_json::FlatJson;

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

    /// What `tracing` is to filter by. At a terminal a command itself says what AWS's SDK would warn of, unless the filter
    /// asks for its lines.
    fn directives(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Compact if !self.0.contains("aws_") => format!("{},aws_=off", self.0),
            LogFormat::Compact | LogFormat::Json => self.0.clone(),
        }
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
        LogFormat::Json => lines.fmt_fields(JsonFields::new()).event_format(FlatJson).boxed(),
        LogFormat::Compact => lines.compact().with_target(false).with_ansi(colour()).boxed(),
    };
    registry().with(EnvFilter::new(filter.directives(format))).with(filter_fn(shows_no_secret)).with(lines).into()
}

/// Around everything that one invocation of the function does.
///
/// Like [`message`], of the most urgent level: a filter that leaves less urgent lines out must not take the ids from the rest.
pub fn invocation(request_id: &str) -> Span {
    tracing::error_span!("invocation", request_id)
}

/// Around everything that is done about one message. Which chat and run it is about is noted once that is known.
pub fn message(record: &Record, trace: &TraceHeader) -> Span {
    tracing::error_span!(
        "message",
        message_id = %record.message_id,
        trace_id = trace.trace_id(),
        chat_id = tracing::field::Empty,
        run_id = tracing::field::Empty,
    )
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
    use crate::ids::MessageId;
    use crate::time::Millis;

    fn record() -> Record {
        Record {
            message_id: MessageId::new("m-1"),
            receipt_handle: String::new(),
            body: String::new(),
            sent_at: Millis(0),
            receive_count: 1,
            trace: None,
        }
    }

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
    fn a_json_line_has_the_fields_of_the_event_and_of_all_our_spans_around_it() {
        // Also where the spans themselves would be left out, were they as urgent as most lines.
        for filter in ["info", "error"] {
            let log = logged(filter, LogFormat::Json, || {
                let _theirs = tracing::error_span!(target: "lambda_runtime", "invoke", xrayTraceId = "Root").entered();
                let _invocation = invocation("request-1").entered();
                let entered = message(&record(), &record().trace()).entered();
                entered.record("chat_id", "chat_1");
                entered.record("run_id", "run_1");
                tracing::error!(polls = 3, message_id = "its own", "still \"running\"");
            });
            let line: serde_json::Value = serde_json::from_str(&log).unwrap();
            let timestamp = line["timestamp"].as_str().unwrap();
            assert!(Millis::parse_rfc3339(timestamp).is_some(), "{timestamp}");
            let expected = serde_json::json!({
                "timestamp": timestamp, "level": "ERROR", "target": "postpress_bridge::telemetry::tests",
                "message": "still \"running\"", "polls": 3, "message_id": "its own", "request_id": "request-1",
                "trace_id": record().trace().trace_id(), "chat_id": "chat_1", "run_id": "run_1",
            });
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_field_of_an_event_hides_neither_when_nor_how_urgent_it_was() {
        let log = logged("info", LogFormat::Json, || tracing::warn!(level = "calm", timestamp = "never", "loud"));
        assert!(log.contains(r#""level":"WARN""#) && !log.contains("never"), "{log}");
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
    fn at_a_terminal_the_aws_sdk_warns_only_if_it_is_asked_to() {
        let speak = || tracing::warn!(target: "aws_config::imds::region", "no region");
        for (filter, format, is_there) in [
            ("warn", LogFormat::Compact, false),
            ("debug", LogFormat::Compact, false),
            ("error,aws_config=warn", LogFormat::Compact, true),
            ("warn", LogFormat::Json, true),
        ] {
            assert_eq!(logged(filter, format, speak).contains("no region"), is_there, "{filter} {format:?}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        for text in ["postpress_bridge=loud", "a=b=c", "info,["] {
            assert!(LogFilter::parse(text).is_err(), "{text}");
        }
    }
}
