//! From JSON that has been found to be of its type to the message that it stands for. The type is
//! known at every place, so a whole number is read from its digits and no double comes in between.

use crate::validate::{any::TypeUrl, shape::has_own_json_form, text, whole};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as Built,
    prost::Message as _,
};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, collections::HashMap, fmt};

/// The message that a text is. Errors: it is not of that type.
pub(in crate::validate) fn message(
    descriptor: &MessageDescriptor,
    text: &str,
) -> serde_json::Result<DynamicMessage> {
    let mut json = serde_json::Deserializer::from_str(text);
    match json.deserialize_map(Fields(descriptor))? {
        Some(Built::Message(message)) => Ok(message),
        _ => Err(serde_json::Error::custom("no message")),
    }
}

/// What a field holds; None: it is not set.
struct Field<'f>(&'f FieldDescriptor);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<Built>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<Built>, D::Error> {
        let Self(field) = self;
        match field.kind() {
            Kind::Message(entry) if field.is_map() => json.deserialize_option(Pairs(&entry)),
            kind if field.is_list() => json.deserialize_option(Elements(&kind)),
            kind => One(&kind).deserialize(json),
        }
    }
}

/// A single value; None: null, where that is none.
struct One<'k>(&'k Kind);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Option<Built>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<Built>, D::Error> {
        match self.0 {
            Kind::Message(descriptor) => match descriptor.full_name() {
                "google.protobuf.Any" => any(descriptor, json),
                "google.protobuf.Value" => anything(descriptor, json).map(Some),
                name if name.starts_with("google.protobuf.") && has_own_json_form(name) => {
                    well_known(descriptor, json)
                }
                _ => json.deserialize_option(Fields(descriptor)),
            },
            Kind::Int32
            | Kind::Sint32
            | Kind::Sfixed32
            | Kind::Int64
            | Kind::Sint64
            | Kind::Sfixed64
            | Kind::Uint32
            | Kind::Fixed32
            | Kind::Uint64
            | Kind::Fixed64 => {
                let raw = <&RawValue>::deserialize(json)?.get();
                if raw == "null" {
                    return Ok(None);
                }
                let quoted = raw.starts_with('"').then(|| serde_json::from_str::<String>(raw));
                let quoted = quoted.transpose().map_err(D::Error::custom)?;
                given(integer(self.0, quoted.as_deref().unwrap_or(raw))).map(Some)
            }
            kind => match Value::deserialize(json)? {
                Value::Null if !is_null_value(kind) => Ok(None),
                value => given(plain(kind, &value)).map(Some),
            },
        }
    }
}

/// What was found to be there.
fn given<T, E: Error>(found: Option<T>) -> Result<T, E> {
    found.ok_or_else(|| E::custom("a value that is not of its type"))
}

fn is_null_value(kind: &Kind) -> bool {
    matches!(kind, Kind::Enum(found) if found.full_name() == "google.protobuf.NullValue")
}

fn integer(kind: &Kind, text: &str) -> Option<Built> {
    let value = whole::parse(text).ok()?;
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Built::I32(value.try_into().ok()?),
        Kind::Uint32 | Kind::Fixed32 => Built::U32(value.try_into().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Built::U64(value.try_into().ok()?),
        _ => Built::I64(value.try_into().ok()?),
    })
}

/// A value that is neither a message nor a whole number.
fn plain(kind: &Kind, json: &Value) -> Option<Built> {
    Some(match kind {
        Kind::Double => Built::F64(real(json)?),
        #[expect(clippy::cast_possible_truncation, reason = "a float has 32 bits")]
        Kind::Float => Built::F32(real(json)? as f32),
        Kind::Bool => Built::Bool(json.as_bool()?),
        Kind::String => Built::String(json.as_str()?.to_owned()),
        Kind::Bytes => Built::Bytes(text::bytes(json.as_str()?).into()),
        Kind::Enum(descriptor) => Built::EnumNumber(match json {
            Value::Null => 0,
            Value::String(name) => descriptor.get_value_by_name(name)?.number(),
            number => number.as_i64()?.try_into().ok()?,
        }),
        _ => return None,
    })
}

fn real(json: &Value) -> Option<f64> {
    match json {
        Value::String(text) => text.parse().ok(),
        number => number.as_f64(),
    }
}

/// Messages whose JSON is that of their only field, or a text.
fn well_known<'de, D: Deserializer<'de>>(
    descriptor: &MessageDescriptor,
    json: D,
) -> Result<Option<Built>, D::Error> {
    let wrapped = match descriptor.name() {
        "Empty" => return json.deserialize_option(Fields(descriptor)),
        "Struct" => descriptor.get_field_by_name("fields"),
        "ListValue" => descriptor.get_field_by_name("values"),
        "Timestamp" | "Duration" | "FieldMask" => None,
        _ => descriptor.get_field_by_name("value"),
    };
    if let Some(field) = wrapped {
        let Some(value) = Field(&field).deserialize(json)? else { return Ok(None) };
        return holding(descriptor, &field, value).map(Some);
    }
    match Value::deserialize(json)? {
        Value::Null => Ok(None),
        text => {
            let message = DynamicMessage::deserialize(descriptor.clone(), text);
            Ok(Some(Built::Message(message.map_err(D::Error::custom)?)))
        }
    }
}

/// A message with one field that is set.
fn holding<E: Error>(
    descriptor: &MessageDescriptor,
    field: &FieldDescriptor,
    value: Built,
) -> Result<Built, E> {
    let mut message = DynamicMessage::new(descriptor.clone());
    message.try_set_field(field, value).map_err(E::custom)?;
    Ok(Built::Message(message))
}

/// Of the type `google.protobuf.Value`.
fn anything<'de, D: Deserializer<'de>>(
    descriptor: &MessageDescriptor,
    json: D,
) -> Result<Built, D::Error> {
    json.deserialize_any(Anything(descriptor))
}

/// A value of the type `google.protobuf.Value`.
struct Anything<'d>(&'d MessageDescriptor);

impl Anything<'_> {
    fn holding<E: Error>(&self, name: &str, value: Built) -> Result<Built, E> {
        holding(self.0, &self.field(name)?, value)
    }

    fn field<E: Error>(&self, name: &str) -> Result<FieldDescriptor, E> {
        given(self.0.get_field_by_name(name))
    }

    /// A struct or a list: its `field` is what the JSON is.
    fn filled<E: Error>(
        &self,
        name: &str,
        field: &str,
        read: impl FnOnce(&FieldDescriptor) -> Result<Option<Built>, E>,
    ) -> Result<Built, E> {
        let outer = self.field(name)?;
        let kind = outer.kind();
        let inner = given(kind.as_message())?;
        let field = given(inner.get_field_by_name(field))?;
        let value = given(read(&field)?)?;
        holding(self.0, &outer, holding(inner, &field, value)?)
    }
}

impl<'de> Visitor<'de> for Anything<'_> {
    type Value = Built;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Built, E> {
        self.holding("null_value", Built::EnumNumber(0))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Built, E> {
        self.holding("bool_value", Built::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of this type is a double")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Built, E> {
        self.visit_f64(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of this type is a double")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Built, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Built, E> {
        self.holding("number_value", Built::F64(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Built, E> {
        self.holding("string_value", Built::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Built, A::Error> {
        self.filled("list_value", "values", |field| Elements(&field.kind()).visit_seq(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Built, A::Error> {
        self.filled("struct_value", "fields", |field| {
            let kind = field.kind();
            Pairs(given(kind.as_message())?).visit_map(map)
        })
    }
}

/// The elements of a list, each of this kind.
struct Elements<'k>(&'k Kind);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Option<Built>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_none<E: Error>(self) -> Result<Option<Built>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Option<Built>, D::Error> {
        json.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Built>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(One(self.0))? {
            values.push(given(value)?);
        }
        Ok(Some(Built::List(values)))
    }
}

/// The pairs of a map, by the type of its entries.
struct Pairs<'d>(&'d MessageDescriptor);

impl<'de> Visitor<'de> for Pairs<'_> {
    type Value = Option<Built>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E: Error>(self) -> Result<Option<Built>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Option<Built>, D::Error> {
        json.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Built>, A::Error> {
        let key_kind = self.0.map_entry_key_field().kind();
        let kind = self.0.map_entry_value_field().kind();
        let mut pairs = HashMap::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let value = map.next_value_seed(One(&kind))?;
            pairs.insert(given(map_key(&key_kind, &name))?, given(value)?);
        }
        Ok(Some(Built::Map(pairs)))
    }
}

fn map_key(kind: &Kind, name: &str) -> Option<MapKey> {
    match kind {
        Kind::Bool => Some(MapKey::Bool(name == "true")),
        Kind::String => Some(MapKey::String(name.to_owned())),
        kind => integer(kind, name)?.into_map_key(),
    }
}

/// The fields of a message of this type; what it does not know is left out.
struct Fields<'d>(&'d MessageDescriptor);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Option<Built>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E: Error>(self) -> Result<Option<Built>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Option<Built>, D::Error> {
        json.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Built>, A::Error> {
        let descriptor = self.0;
        let mut message = DynamicMessage::new(descriptor.clone());
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let field = descriptor.get_field_by_json_name(&name);
            let Some(field) = field.or_else(|| descriptor.get_field_by_name(&name)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if let Some(value) = map.next_value_seed(Field(&field))? {
                message.try_set_field(&field, value).map_err(A::Error::custom)?;
            }
        }
        Ok(Some(Built::Message(message)))
    }
}

/// Of the type `google.protobuf.Any`.
fn any<'de, D: Deserializer<'de>>(
    descriptor: &MessageDescriptor,
    json: D,
) -> Result<Option<Built>, D::Error> {
    let text = <&RawValue>::deserialize(json)?.get();
    if text == "null" {
        return Ok(None);
    }
    let mut any = DynamicMessage::new(descriptor.clone());
    let TypeUrl(type_url) = serde_json::from_str(text).map_err(D::Error::custom)?;
    // Nothing at all is an `Any` that is not set to anything.
    let Some(type_url) = type_url else { return Ok(Some(Built::Message(any))) };
    let name = type_url.rsplit('/').next().unwrap_or_default();
    let inner = given(descriptor.parent_pool().get_message_by_name(name))?;
    let message = if has_own_json_form(name) {
        let Inside { value } = serde_json::from_str(text).map_err(D::Error::custom)?;
        let mut json = serde_json::Deserializer::from_str(value.get());
        let kind = Kind::Message(inner);
        let value = One(&kind).deserialize(&mut json).map_err(D::Error::custom)?;
        given(value.as_ref().and_then(Built::as_message))?.encode_to_vec()
    } else {
        message(&inner, text).map_err(D::Error::custom)?.encode_to_vec()
    };
    let set = [
        ("type_url", Built::String(type_url.into_owned())),
        ("value", Built::Bytes(message.into())),
    ];
    for (name, value) in set {
        any.try_set_field_by_name(name, value).map_err(D::Error::custom)?;
    }
    Ok(Some(Built::Message(any)))
}

/// What is inside an `Any` whose message has a JSON form of its own.
#[derive(Deserialize)]
struct Inside<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}
