//! The way of an event: its W3C trace, and our own trail through the parts.

use contract::{event::Trace, id::IdGenerator};

/// Writes the broker into the trail. An event that came without a trace gets one here.
pub(crate) fn pass(trace: &mut Trace, ids: &dyn IdGenerator) {
    if trace_id(&trace.traceparent).is_none() {
        trace.traceparent = new_traceparent(ids);
    }
    if let Some(id) = trace_id(&trace.traceparent) {
        trace.trail.push(format!("eb.{id}"));
    }
}

/// The trace id of a `traceparent` (W3C Trace Context level 1, section 3.2.2); None if it breaks
/// the format.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let mut field = |length: usize| {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        fields.next().filter(|field| field.len() == length && field.bytes().all(is_hex))
    };
    let (version, trace, parent) = (field(2)?, field(32)?, field(16)?);
    field(2)?;
    let is_zero = |field: &str| field.bytes().all(|b| b == b'0');
    let closed = version != "00" || fields.next().is_none();
    (version != "ff" && !is_zero(trace) && !is_zero(parent) && closed).then_some(trace)
}

fn new_traceparent(ids: &dyn IdGenerator) -> String {
    let (trace, parent) = (ids.uuid(), ids.uuid());
    // The last eight bytes of a UUIDv7 are the random ones (RFC 9562, section 5.7).
    format!("00-{}-{}-01", hex::encode(trace), hex::encode(&parent[8..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{
        clock::Timestamp,
        testing::{ManualClock, seeded_ids},
    };

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_given_trace_is_kept_and_the_trail_grows() {
        let ids = seeded_ids(ManualClock::new(Timestamp(0)), 1);
        let trail = vec!["gw.0af7651916cd43dd8448eb211c80319c".to_owned()];
        let mut trace = Trace { traceparent: GIVEN.into(), trail, hops: 0 };
        pass(&mut trace, ids.as_ref());
        assert_eq!(trace.traceparent, GIVEN);
        assert_eq!(trace.trail[1..], ["eb.0af7651916cd43dd8448eb211c80319c"]);
    }

    #[test]
    fn a_missing_or_malformed_trace_is_replaced() {
        let ids = seeded_ids(ManualClock::new(Timestamp(1_000_000)), 1);
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let upper = "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01";
        let long = format!("{GIVEN}-more");
        for text in ["", "x", zero, upper, &long, &GIVEN.replace("00-", "ff-")] {
            let mut trace = Trace { traceparent: text.into(), ..Trace::default() };
            pass(&mut trace, ids.as_ref());
            let id = trace_id(&trace.traceparent).unwrap();
            assert_eq!(trace.trail, [format!("eb.{id}")], "{text}");
        }
    }
}
