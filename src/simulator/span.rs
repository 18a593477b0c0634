//! A duration as people write it, or a range of durations.

use std::str::FromStr;
use std::time::Duration;

use crate::time::parse_duration;

/// A duration that is random for each call, from `shortest` to `longest` inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    shortest: Duration,
    longest: Duration,
}

/// A text that is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a duration like `200ms` nor a range like `50ms..2s`")]
pub struct InvalidSpan(String);

impl Span {
    /// Always the same duration.
    pub const fn fixed(length: Duration) -> Self {
        Self { shortest: length, longest: length }
    }

    /// Any duration between the two, in either order.
    pub fn between(one: Duration, other: Duration) -> Self {
        Self { shortest: one.min(other), longest: one.max(other) }
    }

    /// The duration at `share` (0 to 1) of the way from the shortest to the longest.
    pub(super) fn at(&self, share: f64) -> Duration {
        self.shortest + (self.longest - self.shortest).mul_f64(share)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
        match (parse_duration(shortest), parse_duration(longest)) {
            (Some(shortest), Some(longest)) => Ok(Self::between(shortest, longest)),
            _ => Err(InvalidSpan(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_is_fixed_or_a_range() {
        let second = Duration::from_secs(1);
        assert_eq!("1s".parse(), Ok(Span::fixed(second)));
        assert_eq!("3s..1s".parse(), Ok(Span::between(second, 3 * second)));
        assert_eq!("1s..".parse::<Span>(), Err(InvalidSpan("1s..".to_owned())));
        assert_eq!(Span::between(second, 3 * second).at(0.5), 2 * second);
    }
}
