//! Keys of JSON objects, read without a copy where that is possible.

use super::shape::MessageShape;
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};
use std::{borrow::Cow, fmt};

/// A key of an object that is a message.
pub(super) enum Key<'s> {
    /// With its name and the index of its field.
    Known(&'s str, usize),
    /// With its name, if somebody is to be told.
    Unknown(Option<String>),
}

/// Reads a key of an object that is a message.
pub(super) struct FieldName<'s> {
    pub shape: &'s MessageShape,
    /// `@type` is no unknown field here.
    pub in_any: bool,
    /// Are unknown fields to be told?
    pub reject: bool,
}

impl<'de, 's> DeserializeSeed<'de> for FieldName<'s> {
    type Value = Key<'s>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'s>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for FieldName<'s> {
    type Value = Key<'s>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key<'s>, E> {
        Ok(match self.shape.field(key) {
            Some((name, index)) => Key::Known(name, index),
            None if self.in_any && key == "@type" => Key::Unknown(None),
            None => Key::Unknown(self.reject.then(|| key.to_owned())),
        })
    }
}

/// A key of a map, borrowed from the payload if it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'k>(#[serde(borrow)] pub Cow<'k, str>);
