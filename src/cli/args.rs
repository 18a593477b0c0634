//! Parsers of arguments that several commands share.

use std::time::Duration;

use crate::time::parse_duration;

/// Parses a duration with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("not a duration; write `30s`, `500ms` or `2m`")
}
