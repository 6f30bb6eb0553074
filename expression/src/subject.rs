//! The event that an expression is about. Its payload is read at most once, and only if somebody
//! asks for it.

use crate::{
    json::{Limits, seen, seen_text},
    patterns::Pattern,
    survey::pattern_name,
};
use cel::{common::value::CowVal, context::VariableResolver};
use contract::{
    clock::Timestamp,
    event::{Audience, Event, Headers, NewEvent, Origin},
    id::EventId,
    uri::EventUri,
};
use serde_json::{Map, Value};
use std::{borrow::Cow, sync::OnceLock};

/// An event as expressions see it.
#[derive(Debug)]
pub struct Subject<'e> {
    uri: &'e EventUri,
    audience: &'e Audience,
    origin: &'e Origin,
    headers: &'e Headers,
    content_type: &'e str,
    payload: &'e [u8],
    /// Once it is stored.
    stored: Option<(String, String)>,
    document: OnceLock<Result<Value, String>>,
    header_map: OnceLock<Value>,
}

impl<'e> Subject<'e> {
    /// An event that is not stored yet.
    pub fn new(event: &'e NewEvent) -> Self {
        let NewEvent { uri, audience, origin, headers, content_type, payload, .. } = event;
        Self {
            uri,
            audience,
            origin,
            headers,
            content_type,
            payload,
            stored: None,
            document: OnceLock::new(),
            header_map: OnceLock::new(),
        }
    }

    /// An event that is stored, with its payload.
    pub fn stored(event: &'e Event, payload: &'e [u8]) -> Self {
        let Event { uri, audience, origin, headers, content_type, .. } = event;
        let stored = (event.id.to_string(), event.received_at.to_string());
        Self {
            uri,
            audience,
            origin,
            headers,
            content_type,
            payload,
            stored: Some(stored),
            document: OnceLock::new(),
            header_map: OnceLock::new(),
        }
    }

    /// The same with this id and time, for who only tries what would be.
    #[must_use]
    pub fn as_stored(mut self, id: EventId, time: Timestamp) -> Self {
        self.stored = Some((id.to_string(), time.to_string()));
        self
    }

    /// The payload as JSON. Errors: why it has no such form.
    pub fn document(&self) -> Result<&Value, &str> {
        let read = || read(self.content_type, self.payload);
        self.document.get_or_init(read).as_ref().map_err(String::as_str)
    }

    /// The headers by name, in lower case; those of one name in one, with commas between them.
    pub(crate) fn headers(&self) -> &Value {
        self.header_map.get_or_init(|| {
            let mut map = Map::new();
            for (name, value) in &self.headers.0 {
                match map.entry(name.to_ascii_lowercase()).or_insert(Value::Null) {
                    Value::String(before) => {
                        before.push_str(", ");
                        before.push_str(value);
                    }
                    first => *first = Value::from(value.as_str()),
                }
            }
            Value::Object(map)
        })
    }

    /// A variable that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        Some(match (name, &self.stored) {
            ("type", _) => self.uri.as_str(),
            ("source", _) => match self.origin {
                Origin::Source(name) => name,
                Origin::Producer(_) | Origin::Server => "",
            },
            ("subscriber", _) => match self.audience {
                Audience::Subscriber(id) => id,
                Audience::All => "*",
                Audience::Own => "",
            },
            ("id", Some((id, _))) => id,
            ("time", Some((_, time))) => time,
            _ => return None,
        })
    }
}

/// The essence of a media type, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

fn read(content_type: &str, payload: &[u8]) -> Result<Value, String> {
    let essence = essence(content_type);
    let json: Cow<'_, [u8]> = match essence.as_str() {
        "application/x-www-form-urlencoded" => {
            let mut fields = url::form_urlencoded::parse(payload);
            let field = fields.find(|(name, _)| name == "payload");
            let (_, value) = field.ok_or("the form has no field `payload`")?;
            Cow::Owned(value.into_owned().into_bytes())
        }
        "application/json" => Cow::Borrowed(payload),
        other if other.ends_with("+json") => Cow::Borrowed(payload),
        _ => return Err(format!("a payload of `{essence}` cannot be looked into")),
    };
    serde_json::from_slice(&json).map_err(|error| format!("the payload is no JSON: {error}"))
}

/// The variables of one run.
pub(crate) struct Variables<'e> {
    pub subject: &'e Subject<'e>,
    pub limits: &'e Limits,
    pub patterns: &'e [Pattern],
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let value = match name {
            "event" => seen(self.subject.document().ok()?, self.limits).ok()?,
            "headers" => seen(self.subject.headers(), self.limits).ok()?,
            crate::meter::METER => return Some(CowVal::Borrowed(&self.limits.meter)),
            name if name.starts_with('@') => {
                let mut patterns = self.patterns.iter().enumerate();
                let found = patterns.find(|(index, _)| pattern_name(*index) == name)?;
                return Some(CowVal::Borrowed(found.1));
            }
            name => seen_text(self.subject.text(name)?, self.limits).ok()?,
        };
        Some(CowVal::Owned(value))
    }
}
