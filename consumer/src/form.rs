//! The form in which a subscription wants its payloads: what stands in the body, and what the
//! headers say of it. What is signed is what is sent.

mod cloudevents;

use crate::outcome::Failure;
use bytes::Bytes;
use contract::{
    Error, ErrorCode,
    delivery::Cause,
    event::Event,
    schema::{Encoding, PayloadConverter},
    sending::PayloadFormat,
};
use http::HeaderMap;
use serde_json::{Number, Value};
use std::sync::Arc;

/// From so many bytes on, the work is done where it holds up nobody else.
const LARGE: usize = 64 * 1024;
/// The largest whole number up to which a double has every one (RFC 8785 writes numbers as doubles).
const EXACT_MAX: u64 = 1 << 53;

/// What is sent of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) content_type: String,
    /// Attributes of a CloudEvent.
    pub(crate) attributes: HeaderMap,
    /// The kept headers of a CloudEvent are in here in another way.
    pub(crate) is_cloud_event: bool,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unformed {
    /// There will be, when the contract is at hand.
    Later,
    /// Nor will there be.
    Never(Failure),
}

impl Body {
    fn plain(bytes: Bytes, content_type: &str) -> Self {
        let (content_type, attributes) = (content_type.to_owned(), HeaderMap::new());
        Self { bytes, content_type, attributes, is_cloud_event: false }
    }
}

/// Writes the payload of `event` in the wanted form. `in_force`: there is a contract, so that one which
/// is not known here is only late.
pub(crate) async fn body(
    event: &Event,
    payload: &Bytes,
    format: PayloadFormat,
    converter: &Arc<dyn PayloadConverter>,
    in_force: bool,
) -> Result<Body, Unformed> {
    let payload = payload.clone();
    if format == PayloadFormat::AsReceived {
        return Ok(Body::plain(payload, &event.content_type));
    }
    let size = payload.len();
    let formed = if size < LARGE {
        form(event, payload, format, converter.as_ref())
    } else {
        let (event, converter) = (event.clone(), Arc::clone(converter));
        let work = move || form(&event, payload, format, converter.as_ref());
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(Error::internal(error)))
    };
    formed.map_err(|error| match error.code {
        ErrorCode::Unavailable => Unformed::Later,
        ErrorCode::UnknownEventType if in_force => Unformed::Later,
        _ => {
            let why = format!("the payload cannot be sent as {format}: {}", error.message);
            Unformed::Never(Failure::new(Cause::Format, why))
        }
    })
}

fn form(
    event: &Event,
    payload: Bytes,
    format: PayloadFormat,
    converter: &dyn PayloadConverter,
) -> Result<Body, Error> {
    match format {
        PayloadFormat::AsReceived => Ok(Body::plain(payload, &event.content_type)),
        PayloadFormat::Json => {
            let json = match is_json(&event.content_type) {
                true => payload,
                false => {
                    converter.convert(&event.uri, &event.content_type, &payload, Encoding::Json)?
                }
            };
            Ok(Body::plain(canonical(&json)?.into(), "application/json"))
        }
        PayloadFormat::Protobuf => {
            let (uri, content_type) = (&event.uri, &event.content_type);
            let bytes = converter.convert(uri, content_type, &payload, Encoding::Protobuf)?;
            Ok(Body::plain(bytes, "application/protobuf"))
        }
        PayloadFormat::CloudeventsBinary => Ok(cloudevents::binary(event, payload)),
        PayloadFormat::CloudeventsStructured => cloudevents::structured(event, &payload),
    }
}

/// Does the payload say of itself that it is JSON?
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.contains('/') && essence.ends_with("+json")
}

/// JSON in the one way in which RFC 8785 writes it. A whole number that it would write as another
/// is refused: ids are such numbers.
fn canonical(json: &[u8]) -> Result<Vec<u8>, Error> {
    let malformed = |why: String| Error::new(ErrorCode::MalformedPayload, why);
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| malformed(format!("it is not JSON: {error}")))?;
    if let Some((path, number)) = inexact(&value, String::new()) {
        let why = format!(
            "`{path}` is {number}, which RFC 8785 cannot write: a double has no such number"
        );
        return Err(malformed(why));
    }
    serde_json_canonicalizer::to_vec(&value).map_err(|error| malformed(error.to_string()))
}

/// Where the first whole number stands that no double is.
fn inexact(value: &Value, path: String) -> Option<(String, Number)> {
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            // Beyond 2^53, a double is a multiple of a power of two.
            let odd = |size: u64| {
                size.checked_shr(size.trailing_zeros()).is_some_and(|odd| odd >= EXACT_MAX)
            };
            size.is_some_and(odd).then(|| (path, number.clone()))
        }
        Value::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(at, value)| inexact(value, format!("{path}[{at}]"))),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            inexact(value, format!("{path}{dot}{name}"))
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_8785_comes_out() {
        // Section 3.2.2 and 3.2.4; keys of section 3.2.3.
        let given = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let wanted = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                      \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(String::from_utf8(canonical(given.as_bytes()).unwrap()).unwrap(), wanted);
        let sorted = canonical("{\"\u{20ac}\":1,\"\\r\":2,\"\u{fb33}\":3,\"1\":4,\"\u{1f600}\":5,\"\u{80}\":6,\"\u{f6}\":7}".as_bytes());
        let sorted = String::from_utf8(sorted.unwrap()).unwrap();
        let order: Vec<_> = sorted.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(order, ['2', '1', '4', '6', '7', '1', '5', '3'], "{sorted}");
    }

    #[test]
    fn numbers_that_would_become_others_are_refused() {
        for exact in
            ["9007199254740992", "-9007199254740992", "9007199254740994", "18446744073709549568"]
        {
            assert!(canonical(exact.as_bytes()).is_ok(), "{exact}");
        }
        let error = canonical(br#"{"a": [{"id": 9007199254740993}]}"#).unwrap_err();
        assert!(error.message.contains("`a[0].id` is 9007199254740993"), "{error}");
        assert!(canonical(b"-9007199254740993").is_err());
        assert!(canonical(b"{").unwrap_err().message.contains("not JSON"));
    }

    #[test]
    fn json_is_known_by_its_type() {
        for content_type in
            ["application/json", "Application/JSON; charset=utf-8", "application/a+json"]
        {
            assert!(is_json(content_type));
        }
        for content_type in ["", "text/json+x", "application/protobuf", "json"] {
            assert!(!is_json(content_type));
        }
    }
}
