//! Where a call came from: `traceparent` and `certes-hops` in its metadata.

use contract::{Error, ErrorCode, Result, event::Trace, limits::HOPS_MAX, random::Random};
use tonic::metadata::MetadataMap;

/// Length of `traceparent` in version 00: two, 32, 16 and two digits, and three dashes.
const TRACEPARENT_LENGTH: usize = 55;

/// The trace that a call carries, or a new one.
pub(super) fn taken(metadata: &MetadataMap, random: &dyn Random) -> Result<Trace> {
    let hops = hops(metadata)?;
    let given = metadata.get("traceparent").and_then(|value| value.to_str().ok());
    let (traceparent, from) = match given.and_then(parse) {
        Some(traceparent) => (traceparent, "ext."),
        None => (fresh(random), ""),
    };
    let id = traceparent.get(3..35).unwrap_or_default();
    let trail = vec![format!("{from}gw.{id}")];
    Ok(Trace { traceparent, trail, hops })
}

fn hops(metadata: &MetadataMap) -> Result<u8> {
    let Some(value) = metadata.get("certes-hops") else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    let malformed = || {
        let message = "the metadata `certes-hops` is not a number from 0";
        Error::new(ErrorCode::InvalidRequest, message)
    };
    let number = number.ok_or_else(malformed)?;
    u8::try_from(number).ok().filter(|hops| *hops <= HOPS_MAX).ok_or_else(|| {
        let message = format!("it passed {number} servers; {HOPS_MAX} are allowed");
        Error::new(ErrorCode::TooManyHops, message)
    })
}

/// Reads a `traceparent` (W3C Trace Context, section 3.2). Of a later version, the part that
/// version 00 defines.
fn parse(text: &str) -> Option<String> {
    let (head, rest) = text.split_at_checked(TRACEPARENT_LENGTH)?;
    let [version, trace, parent, flags]: [&str; 4] =
        head.split('-').collect::<Vec<_>>().try_into().ok()?;
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |text: &str| text.bytes().any(|b| b != b'0');
    let well_formed = is_hex(version, 2)
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && some(trace)
        && some(parent);
    let version_fits = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    (well_formed && version_fits).then(|| format!("00-{trace}-{parent}-{flags}"))
}

fn fresh(random: &dyn Random) -> String {
    let mut bytes = [0; 24];
    random.fill(&mut bytes);
    // Ids of zeros alone are not allowed.
    bytes[0] |= 1;
    bytes[16] |= 1;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("00-{}-{}-01", hex(&bytes[..16]), hex(&bytes[16..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::testing::SeededRandom;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with(name: &'static str, value: &str) -> Result<Trace> {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().unwrap());
        taken(&metadata, &*SeededRandom::new(7))
    }

    #[test]
    fn a_given_trace_is_kept() {
        let trace = with("traceparent", GIVEN).unwrap();
        assert_eq!(trace.traceparent, GIVEN);
        assert_eq!(trace.trail, ["ext.gw.4bf92f3577b34da6a3ce929d0e0e4736"]);
        let later = format!("01{}-more", &GIVEN[2..]);
        assert_eq!(with("traceparent", &later).unwrap().traceparent, GIVEN);
    }

    #[test]
    fn a_malformed_one_is_replaced() {
        let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let upper = GIVEN.to_uppercase();
        let longer = format!("{GIVEN}-x");
        let forbidden = format!("ff{}", &GIVEN[2..]);
        for bad in ["", "00-1-2-3", &zeros, &upper, &longer, &forbidden, &GIVEN[1..]] {
            let trace = with("traceparent", bad).unwrap();
            assert_eq!(parse(&trace.traceparent), Some(trace.traceparent.clone()), "{bad}");
            assert_ne!(trace.traceparent, GIVEN);
            assert_eq!(trace.trail, [format!("gw.{}", &trace.traceparent[3..35])]);
        }
    }

    #[test]
    fn hops_are_counted_and_bounded() {
        assert_eq!(with("certes-hops", "8").unwrap().hops, 8);
        assert_eq!(with("certes-hops", "9").unwrap_err().code, ErrorCode::TooManyHops);
        assert_eq!(with("certes-hops", "900").unwrap_err().code, ErrorCode::TooManyHops);
        assert_eq!(with("certes-hops", "-1").unwrap_err().code, ErrorCode::InvalidRequest);
        assert_eq!(with("certes-hops", "x").unwrap_err().code, ErrorCode::InvalidRequest);
    }
}
