//! The log, always on stderr, since stdout is for data.
//!
//! At `info` a run logs its start, its end, and errors in between, but no line per poll. Every line about a message has the
//! ids of the [`invocation`] and the [`message`], so that a run is found by `filter run_id = "…"`.

use std::io;

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

/// A `tracing` filter, such as `info` or `warn,postpress_bridge=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Checks a filter that came from outside.
    ///
    /// # Errors
    /// Says which part is invalid.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        EnvFilter::try_new(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Only warnings and errors.
    pub fn warnings() -> Self {
        Self("warn".to_owned())
    }

    /// The directives for `tracing`. At a terminal, commands themselves report what the AWS SDK would warn about, unless the
    /// filter names it.
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

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, for Lambda.
    Json,
    /// Short lines for people, with colour on a terminal that supports it.
    Compact,
}

/// Sends the log of the process to stderr from now on.
///
/// # Errors
/// If a global log is already set.
pub fn init(filter: &LogFilter, format: LogFormat) -> Result<(), SetGlobalDefaultError> {
    dispatcher::set_global_default(dispatch(filter, format, io::stderr))
}

/// A log to this writer, which is not global.
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

/// The span of one invocation of the function.
///
/// It has the level `error`, like [`message`], so that a filter that drops less severe lines does not drop the ids of the rest.
pub fn invocation(request_id: &str) -> Span {
    tracing::error_span!("invocation", request_id)
}

/// The span of one message. Its chat or account, and its run, are recorded once they are known.
pub fn message(record: &Record, trace: &TraceHeader) -> Span {
    tracing::error_span!(
        "message",
        message_id = %record.message_id,
        trace_id = trace.trace_id(),
        chat_id = tracing::field::Empty,
        account_id = tracing::field::Empty,
        workspace = tracing::field::Empty,
        run_id = tracing::field::Empty,
    )
}

/// Below `info`, the AWS SDK logs whole requests and responses, and Lambda's runtime whole events, including secrets. No filter
/// may enable that.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    let logs_whole_payloads = ["aws_", "lambda_"].iter().any(|crates| metadata.target().starts_with(crates));
    !logs_whole_payloads || *metadata.level() <= Level::INFO
}

/// Whether stderr has colours: what the process has chosen, else what the terminal and the environment say (`NO_COLOR`).
fn colour() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
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
            group: None,
        }
    }

    /// The log while `work` runs.
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
    fn json_lines_have_the_fields_of_event_and_spans() {
        // Also with a filter that would drop the spans if they had a lower level.
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
    fn event_fields_do_not_hide_time_and_level() {
        let log = logged("info", LogFormat::Json, || tracing::warn!(level = "calm", timestamp = "never", "loud"));
        assert!(log.contains(r#""level":"WARN""#) && !log.contains("never"), "{log}");
    }

    #[test]
    fn filtered_lines_are_not_logged() {
        let speak = || {
            tracing::debug!("soft");
            tracing::error!("loud");
        };
        let log = logged("error", LogFormat::Compact, speak);
        assert!(log.contains("loud") && !log.contains("soft"), "{log}");
        assert!(logged("debug", LogFormat::Compact, speak).contains("soft"));
    }

    #[test]
    fn no_filter_enables_whole_payloads() {
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
    fn at_a_terminal_the_aws_sdk_logs_only_if_named() {
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
    fn invalid_filters_are_refused() {
        for text in ["postpress_bridge=loud", "a=b=c", "info,["] {
            assert!(LogFilter::parse(text).is_err(), "{text}");
        }
    }
}
