//! Text forms that the protobuf JSON mapping gives to bytes and to some well-known types. Nothing
//! is built: each function only says whether a text has the form.

use prost_types::{Duration, Timestamp};

/// Seconds of 0001-01-01T00:00:00Z and of 9999-12-31T23:59:59Z (timestamp.proto).
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// About 10,000 years (duration.proto).
const DURATION_SECONDS_MAX: u64 = 315_576_000_000;

/// RFC 3339 with capital `T` and `Z`, inside the years 1 to 9999.
pub(super) fn is_timestamp(text: &str) -> bool {
    has_rfc3339_shape(text.as_bytes())
        && text.parse::<Timestamp>().is_ok_and(|time| TIMESTAMP_SECONDS.contains(&time.seconds))
}

/// Nanoseconds since the epoch, of a text that is a timestamp.
pub(super) fn timestamp_nanos(text: &str) -> i128 {
    let time = text.parse::<Timestamp>().unwrap_or_default();
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

/// Of a text that is a duration.
pub(super) fn duration_nanos(text: &str) -> i128 {
    let duration = text.parse::<Duration>().unwrap_or_default();
    i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos)
}

/// What a text in base64 stands for.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        buffer = buffer << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).unwrap_or_default());
        }
    }
    bytes
}

fn has_rfc3339_shape(text: &[u8]) -> bool {
    let Some((date_time, mut rest)) = text.split_at_checked(19) else { return false };
    // Leap seconds are smeared (timestamp.proto): none has the number 60.
    if !matches_digits(date_time, b"0000-00-00T00:00:00") || date_time[17] > b'5' {
        return false;
    }
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        rest = &fraction[digits..];
    }
    match rest {
        b"Z" => true,
        [b'+' | b'-', offset @ ..] => matches_digits(offset, b"00:00"),
        _ => false,
    }
}

/// Is `text` like `form`, where a `0` stands for any digit?
fn matches_digits(text: &[u8], form: &[u8]) -> bool {
    let same = |(byte, wanted): (&u8, &u8)| match wanted {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    text.len() == form.len() && text.iter().zip(form).all(same)
}

/// Seconds with up to nine decimals and `s`, as in `1.5s`.
pub(super) fn is_duration(text: &str) -> bool {
    text.parse::<Duration>()
        .is_ok_and(|duration| duration.seconds.unsigned_abs() <= DURATION_SECONDS_MAX)
}

/// Paths in lowerCamelCase, separated by commas.
pub(super) fn is_field_mask(text: &str) -> bool {
    !text.contains('_')
}

/// Base64 in the standard or the URL-safe alphabet, with or without padding (RFC 4648).
pub(super) fn is_base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding_max = match data.len() % 4 {
        0 => 0,
        2 => 2,
        3 => 1,
        _ => return false,
    };
    let all = |extra: [u8; 2]| {
        data.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
    };
    text.len() - data.len() <= padding_max && (all(*b"+/") || all(*b"-_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.123456789Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
            "2011-10-05T17:31:47-07:00",
        ] {
            assert!(is_timestamp(text), "{text}");
        }
        for text in [
            "",
            "2026-01-02",
            "2026-01-02 03:04:05Z",
            "2026-01-02t03:04:05z",
            "2026-13-02T03:04:05Z",
            "2026-02-30T03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+0100",
            "0001-01-01T00:00:00+00:01",
            "12026-01-02T03:04:05Z",
            "2026-01-02T03:04:05Zé",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }

    #[test]
    fn durations() {
        for text in ["0s", "1.5s", "-3.000000001s", "315576000000s"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "1", "s", "1.5", "315576000001s", "1h", "one s"] {
            assert!(!is_duration(text), "{text}");
        }
    }

    #[test]
    fn base64() {
        for text in ["", "YQ==", "YQ=", "YQ", "YWI=", "YWI", "YWJj", "-_-_", "+/+/"] {
            assert!(is_base64(text), "{text}");
        }
        for text in ["Y", "YWJj=", "YQ===", "+_+_", "Y Q=", "YQ==YQ==", "é", "===="] {
            assert!(!is_base64(text), "{text}");
        }
    }
}
