//! An event as a CloudEvent 1.0 over HTTP, in binary or structured mode (CloudEvents 1.0.2, HTTP
//! protocol binding, JSON event format).
//!
//! What came in as a CloudEvent goes out with the attributes that it had. Of others, the id is the
//! event id, the type is the event URI, and the source is who brought it.

use super::{Body, is_json};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use contract::{
    Error, ErrorCode,
    event::{Event, Origin},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const PREFIX: &str = "ce-";
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];

/// The attributes of an event, without that of its content type.
fn attributes(event: &Event) -> BTreeMap<String, String> {
    let kept = event.headers.0.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(PREFIX)?;
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        is_name.then(|| (name.to_owned(), decoded(value)))
    });
    let kept: BTreeMap<_, _> = kept.collect();
    let was_one =
        REQUIRED.iter().all(|name| kept.get(*name).is_some_and(|value| !value.is_empty()));
    if was_one && kept.get("specversion").is_some_and(|version| version == "1.0") {
        return kept;
    }
    let source = match &event.origin {
        Origin::Source(name) => format!("/events/{}", encoded(name)),
        Origin::Producer(key) => format!("/producers/{key}"),
        Origin::Server => "/".to_owned(),
    };
    let own = [
        ("id", event.id.to_string()),
        ("source", source),
        ("specversion", "1.0".to_owned()),
        ("type", event.uri.to_string()),
        ("time", event.received_at.to_string()),
        ("traceparent", event.trace.traceparent.clone()),
    ];
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    own.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The payload as it is, and the attributes in headers.
pub(super) fn binary(event: &Event, payload: Bytes) -> Body {
    let header = |(name, value): (String, String)| {
        let name = HeaderName::try_from(format!("{PREFIX}{name}")).ok()?;
        Some((name, HeaderValue::try_from(encoded(&value)).ok()?))
    };
    let attributes = attributes(event).into_iter().filter_map(header).collect();
    let content_type = event.content_type.clone();
    Body { bytes: payload, content_type, attributes, is_cloud_event: true }
}

/// All of it in one JSON document. A payload in JSON stands there as it is, any other in base64.
pub(super) fn structured(event: &Event, payload: &[u8]) -> Result<Body, Error> {
    let malformed = |why: String| Error::new(ErrorCode::MalformedPayload, why);
    let data = match is_json(&event.content_type) {
        false => Data::Bytes(STANDARD.encode(payload)),
        true => Data::Json(serde_json::from_slice(payload).map_err(|error| {
            malformed(format!("it is not the JSON that its content type says: {error}"))
        })?),
    };
    let mut attributes = attributes(event);
    if !event.content_type.is_empty() {
        attributes.insert("datacontenttype".to_owned(), event.content_type.clone());
    }
    let document = serde_json::to_vec(&Document { attributes, data });
    Ok(Body {
        bytes: document.map_err(|error| malformed(error.to_string()))?.into(),
        content_type: "application/cloudevents+json; charset=utf-8".to_owned(),
        attributes: HeaderMap::new(),
        is_cloud_event: true,
    })
}

enum Data<'a> {
    Json(&'a RawValue),
    Bytes(String),
}

struct Document<'a> {
    attributes: BTreeMap<String, String>,
    data: Data<'a>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.attributes {
            map.serialize_entry(name, value)?;
        }
        match &self.data {
            Data::Json(json) => map.serialize_entry("data", json)?,
            Data::Bytes(base64) => map.serialize_entry("data_base64", base64)?,
        }
        map.end()
    }
}

/// As a header holds it: space, `"`, `%` and all that is not printable ASCII in percent-encoding.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => out.push_str(&format!("%{byte:02X}")),
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The reverse; what is no UTF-8 after it stays as it is.
fn decoded(value: &str) -> String {
    let bytes = crate::auth::percent_decode(value.trim_matches('"'));
    String::from_utf8(bytes).unwrap_or_else(|_bytes| value.to_owned())
}
