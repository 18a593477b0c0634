//! A line of the log as one flat JSON object, so that queries name fields rather than paths.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::time::Clock;

/// The target of spans whose fields a line includes. `lambda_runtime` has one, too, which duplicates ours.
const OURS: &str = "postpress_bridge";

/// Formats time, level, target, and the fields of the surrounding spans and of the event, which take precedence.
///
/// The spans' fields must be formatted as JSON.
pub(super) struct FlatJson;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    target: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if span.metadata().target().starts_with(OURS)
                && let Some(formatted) = span.extensions().get::<FormattedFields<N>>()
            {
                add(&mut fields, &formatted.fields);
            }
        }
        let mut own = String::new();
        context.format_fields(Writer::new(&mut own), event)?;
        add(&mut fields, &own);
        for reserved in ["timestamp", "level", "target"] {
            fields.remove(reserved);
        }

        let metadata = event.metadata();
        let (level, target) = (metadata.level().as_str(), metadata.target());
        // The time of day, also in tests with a virtual clock.
        let line = Line { timestamp: Clock::System.now().to_string(), level, target, fields };
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

fn add(fields: &mut Map<String, Value>, object: &str) {
    if let Ok(Value::Object(more)) = serde_json::from_str(object) {
        fields.extend(more);
    }
}
