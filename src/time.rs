//! Points in time and the one clock that reads them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Milliseconds since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// How long after `earlier` this is; nothing if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970, as DynamoDB's TTL wants them.
    pub fn epoch_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Whole minutes since 1970.
    pub fn epoch_minutes(self) -> u32 {
        u32::try_from(self.0 / 60_000).unwrap_or(u32::MAX)
    }

    /// Reads an RFC 3339 time.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_millisecond()).ok().map(Self)
    }
}

impl Add<Duration> for Millis {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Millis {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(earlier.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// RFC 3339 in UTC with three digits of a second: `2026-11-24T10:00:00.000Z`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        let timestamp = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{timestamp:.3}")
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Serializes a [`Millis`] as RFC 3339, for what people read; use as `#[serde(with = "rfc3339")]`.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Millis;

    /// Writes the time as text.
    pub fn serialize<S: Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads the time from text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(deserializer)?;
        Millis::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// The units of [`parse_duration`], longest suffix first: `ms` ends in `s` too.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Parses `1500ms`, `30s`, `5m` or `2h`: a whole number and its unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, factor) = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(*factor).map(Duration::from_millis)
}

/// Where the time of day comes from.
///
/// Leases and budgets are compared between processes, so they need the time of day; call deadlines use tokio's
/// monotonic [`Instant`] and never this.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that starts at a given time and goes on with tokio's, which tests pause and advance.
    Virtual {
        /// What it read at `began`.
        epoch: Millis,
        /// When it was started.
        began: Instant,
    },
}

impl Clock {
    /// A clock that reads `epoch` now and follows tokio's clock from here.
    pub fn starting_at(epoch: Millis) -> Self {
        Self::Virtual { epoch, began: Instant::now() }
    }

    /// The time of day.
    pub fn now(&self) -> Millis {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Millis(0) + since
            }
            Self::Virtual { epoch, began } => *epoch + began.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_rfc_3339_with_milliseconds() {
        let time = Millis(1_795_514_400_000);
        assert_eq!(time.to_string(), "2026-11-24T10:00:00.000Z");
        assert_eq!(Millis::parse_rfc3339("2026-11-24T10:00:00.000Z"), Some(time));
        assert_eq!(Millis::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn seconds_and_minutes_are_whole_and_rounded_down() {
        let time = Millis(119_999);
        assert_eq!((time.epoch_seconds(), time.epoch_minutes()), (119, 1));
        assert_eq!(Millis(u64::MAX).epoch_minutes(), u32::MAX);
    }

    #[test]
    fn time_never_runs_below_zero() {
        assert_eq!(Millis(5) - Duration::from_secs(1), Millis(0));
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
    }

    #[test]
    fn duration_is_a_whole_number_and_its_unit() {
        for (text, milliseconds) in [
            ("0s", Some(0)),
            ("1500ms", Some(1_500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("30", None),
            ("s", None),
            ("+3s", None),
            ("1.5s", None),
            ("3 s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
