//! A length of time as people write it, or a range of them.

use std::str::FromStr;
use std::time::Duration;

use crate::time::parse_duration;

/// A length of time that is drawn anew for each call: from `shortest` to `longest`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    shortest: Duration,
    longest: Duration,
}

/// A text that is no [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a time like `200ms` nor a range like `50ms..2s`")]
pub struct InvalidSpan(String);

impl Span {
    /// Always the same length.
    pub const fn fixed(length: Duration) -> Self {
        Self { shortest: length, longest: length }
    }

    /// Any length between the two, whichever is the longer.
    pub fn between(one: Duration, other: Duration) -> Self {
        Self { shortest: one.min(other), longest: one.max(other) }
    }

    /// The length at `share` of the way (0 to 1) from the shortest to the longest.
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
    fn a_span_is_fixed_or_a_range() {
        let second = Duration::from_secs(1);
        assert_eq!("1s".parse(), Ok(Span::fixed(second)));
        assert_eq!("3s..1s".parse(), Ok(Span::between(second, 3 * second)));
        assert_eq!("1s..".parse::<Span>(), Err(InvalidSpan("1s..".to_owned())));
        assert_eq!(Span::between(second, 3 * second).at(0.5), 2 * second);
    }
}
