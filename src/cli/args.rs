//! Arguments that several commands read alike.

use std::time::Duration;

use crate::time::parse_duration;

/// A length of time, with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "not a time; write `30s`, `500ms` or `2m`".to_owned())
}
