//! Where an event comes from, as a trace: taken in when valid, made here otherwise.

use contract::{Error, ErrorCode, Result, event::Trace, limits::HOPS_MAX, random::Random};
use http::HeaderMap;

/// The trace of a request: its `traceparent` (W3C Trace Context) or a new one, the first entry of
/// the correlation trail, and its `certes-hops`.
///
/// Errors: `too_many_hops`, `invalid_request` when the hops are no number.
pub(crate) fn of(headers: &HeaderMap, random: &dyn Random) -> Result<Trace> {
    let hops = hops(headers)?;
    let mut given = headers.get_all("traceparent").iter();
    let (traceparent, origin) = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().ok().and_then(valid).map(|text| (text, "ext.")),
        _ => None,
    }
    .unwrap_or_else(|| (made(random), ""));
    let trace_id = traceparent.get(3..35).unwrap_or_default();
    let trail = vec![format!("{origin}gw.{trace_id}")];
    Ok(Trace { traceparent, trail, hops })
}

fn hops(headers: &HeaderMap) -> Result<u8> {
    let Some(value) = headers.get("certes-hops") else { return Ok(0) };
    let digits = value.to_str().ok().map(str::trim);
    let digits = digits.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or_else(|| {
        Error::new(ErrorCode::InvalidRequest, "the header `certes-hops` must be a whole number")
    })?;
    // What does not fit into the type is certainly too many.
    match digits.parse::<u8>() {
        Ok(hops) if hops <= HOPS_MAX => Ok(hops),
        _ => {
            let message = format!("the event has passed more than {HOPS_MAX} webhook servers");
            Err(Error::new(ErrorCode::TooManyHops, message))
        }
    }
}

/// The `traceparent` to go on with. One of a later version is read as version 00, as the
/// specification asks ("Versioning of traceparent").
fn valid(text: &str) -> Option<String> {
    let text = text.trim();
    let (version, trace, parent, flags) =
        (text.get(..2)?, text.get(3..35)?, text.get(36..52)?, text.get(53..55)?);
    let dashes = [2, 35, 52].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    let rest = text.get(55..)?;
    let ends =
        if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    let well_formed = dashes && ends && [version, trace, parent, flags].into_iter().all(is_hex);
    (well_formed && version != "ff" && !is_zero(trace) && !is_zero(parent))
        .then(|| format!("00-{trace}-{parent}-{flags}"))
}

/// A new one, sampled.
fn made(random: &dyn Random) -> String {
    let mut bytes = [0; 24];
    random.fill(&mut bytes);
    // All zeros would be invalid in either part.
    bytes[15] |= 1;
    bytes[23] |= 1;
    format!("00-{}-{}-01", hex::encode(&bytes[..16]), hex::encode(&bytes[16..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::testing::SeededRandom;
    use proptest::prelude::*;

    fn trace(pairs: &[(&'static str, &str)]) -> Result<Trace> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        of(&headers, SeededRandom::new(1).as_ref())
    }

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_trace_is_taken_in() {
        let taken = trace(&[("traceparent", GIVEN)]).unwrap();
        assert_eq!(taken.traceparent, GIVEN);
        assert_eq!(taken.trail, ["ext.gw.4bf92f3577b34da6a3ce929d0e0e4736"]);
        let later = trace(&[("traceparent", &format!("01{}-more", &GIVEN[2..]))]).unwrap();
        assert_eq!(later.traceparent, GIVEN);
    }

    #[test]
    fn anything_else_is_replaced_by_a_new_one() {
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = GIVEN.to_ascii_uppercase();
        let longer = format!("{GIVEN}-x");
        let ff = format!("ff{}", &GIVEN[2..]);
        for given in ["", "00", zero, parent, &upper, &longer, &ff] {
            let made = trace(&[("traceparent", given)]).unwrap();
            assert_ne!(made.traceparent, given);
            assert_eq!(valid(&made.traceparent).as_ref(), Some(&made.traceparent));
            assert_eq!(made.trail, [format!("gw.{}", &made.traceparent[3..35])]);
        }
        let two = trace(&[("traceparent", GIVEN), ("traceparent", GIVEN)]).unwrap();
        assert_ne!(two.traceparent, GIVEN);
    }

    #[test]
    fn hops_are_bounded() {
        assert_eq!(trace(&[]).unwrap().hops, 0);
        assert_eq!(trace(&[("certes-hops", "8")]).unwrap().hops, 8);
        for (value, code) in [
            ("9", ErrorCode::TooManyHops),
            ("99999", ErrorCode::TooManyHops),
            ("-1", ErrorCode::InvalidRequest),
            ("many", ErrorCode::InvalidRequest),
        ] {
            assert_eq!(trace(&[("certes-hops", value)]).unwrap_err().code, code, "{value}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ -~é]{0,60}") {
            drop(valid(&text));
        }
    }
}
