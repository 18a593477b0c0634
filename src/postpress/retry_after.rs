//! The `Retry-After` header, never read as less than it says.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The longest wait that the `Retry-After` headers ask for, from `now` on. The caller caps it.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let values = headers.get_all(RETRY_AFTER).iter();
    values.filter_map(|value| parse_retry_after(&String::from_utf8_lossy(value.as_bytes()), now)).max()
}

/// Reads one `Retry-After`: seconds, or a date, as a wait from `now` on (RFC 9110, section 10.2.3).
///
/// A fraction, such as `299.997`, is rounded up. A number that is too large is the longest duration; a date in the past is no
/// wait. Proxies join repeated headers into a list, of which the longest counts. Anything else is ignored.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let is_padding = |character: char| character.is_whitespace() || character == '"';
    let parts: Vec<&str> = value.split(',').map(|part| part.trim_matches(is_padding)).collect();
    let numbers = parts.iter().filter_map(|part| seconds(part));
    // Most dates contain a comma, after the day of the week.
    let dates = parts.windows(2).map(|pair| pair.join(", ")).chain(parts.iter().map(|part| (*part).to_owned()));
    let dates = dates.filter_map(|date| self::date(&date)).map(|date| date.duration_since(now).unwrap_or_default());
    numbers.chain(dates).max()
}

/// Digits with an optional fraction.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    let begun = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(whole.saturating_add(begun)))
}

/// A date in one of HTTP's three formats, in that of mail, which allows other zones than GMT, or in ISO 8601.
fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok().or_else(|| {
        let date = rfc2822::parse(text).map(|date| date.timestamp()).or_else(|_| text.parse::<Timestamp>()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(date.as_millisecond().try_into().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_514_400) // Tue, 24 Nov 2026 10:00:00 GMT
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, expected) in [
            ("120", Some(120)),
            (" 7\t", Some(7)),
            ("\"7\"", Some(7)),
            ("0", Some(0)),
            ("007", Some(7)),
            ("299.997", Some(300)),
            ("1.0", Some(1)),
            ("1.", Some(1)),
            (".5", Some(1)),
            ("0.000000000000000000001", Some(1)),
            ("18446744073709551615.5", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Tue, 24 Nov 2026 10:01:30 GMT", Some(90)),
            ("tue, 24 nov 2026 10:01:30 GMT", Some(90)),
            ("Tuesday, 24-Nov-26 10:01:30 GMT", Some(90)),
            ("Tue Nov 24 10:01:30 2026", Some(90)),
            ("Tue, 24 Nov 2026 11:01:30 +0100", Some(90)),
            ("24 Nov 2026 10:01:30 GMT", Some(90)),
            ("2026-11-24T10:01:30Z", Some(90)),
            ("2026-11-24T11:01:30+01:00", Some(90)),
            ("Tue, 24 Nov 2026 09:00:00 GMT", Some(0)),
            ("5, 6", Some(6)),
            ("600,5", Some(600)),
            ("30, Tue, 24 Nov 2026 10:01:30 GMT", Some(90)),
            ("Tue, 24 Nov 2026 10:01:30 GMT, 100.5", Some(101)),
            ("", None),
            (".", None),
            ("-5", None),
            ("+5", None),
            ("1e3", None),
            ("inf", None),
            ("1.2.3", None),
            ("soon", None),
        ] {
            assert_eq!(parse_retry_after(value, now()), expected.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn longest_of_several_headers_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers, now()), None);
        for value in [&b"30"[..], b"299.997", b"\xff", b"45"] {
            headers.append(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(retry_after(&headers, now()), Some(Duration::from_secs(300)));
    }

    proptest! {
        #[test]
        fn numbers_are_never_read_as_less(whole: u32, fraction in "[0-9]{0,12}") {
            let text = format!("{whole}.{fraction}");
            let read = parse_retry_after(&text, now()).unwrap();
            let nanos: u64 = format!("{fraction:0<9}")[..9].parse().unwrap();
            prop_assert!(read >= Duration::from_secs(whole.into()) + Duration::from_nanos(nanos), "{text} is {read:?}");
            prop_assert!(read <= Duration::from_secs(u64::from(whole) + 1));
        }

        #[test]
        fn no_text_causes_a_panic(value in ".{0,60}") {
            parse_retry_after(&value, now());
        }
    }
}
