//! `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).

use contract::clock::Timestamp;
use std::time::{Duration, UNIX_EPOCH};

/// How long after `now` the endpoint wants to be left alone; None if it does not say.
pub(crate) fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit()) {
        // More digits than a u64 has: for ever, which the caller bounds.
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::default().after(date).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: Timestamp = Timestamp(784_111_777_000_000);

    #[test]
    fn seconds_and_the_three_forms_of_a_date() {
        let in_two_minutes = Some(Duration::from_secs(120));
        for value in [
            "120",
            " 120 ",
            "Sun, 06 Nov 1994 08:51:37 GMT",
            "Sunday, 06-Nov-94 08:51:37 GMT",
            "Sun Nov  6 08:51:37 1994",
        ] {
            assert_eq!(parse(value, NOW), in_two_minutes, "{value}");
        }
    }

    #[test]
    fn a_date_that_has_passed_is_now() {
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT", NOW), Some(Duration::ZERO));
        assert_eq!(parse("0", NOW), Some(Duration::ZERO));
    }

    #[test]
    fn nonsense_says_nothing_and_too_much_is_for_ever() {
        for value in ["", "-5", "1.5", "soon", "120s", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse(value, NOW), None, "{value}");
        }
        assert_eq!(parse("99999999999999999999999", NOW), Some(Duration::MAX));
    }
}
