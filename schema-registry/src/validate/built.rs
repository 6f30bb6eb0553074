//! Messages whose rules need more than a walk over JSON: CEL, groups of fields, unique lists. The
//! walk still finds everything else; what it leaves is checked here on a built message.

use super::{
    binary,
    json::Node,
    report::{Fault, Place},
    shape::MessageShape,
    text, whole,
};
use prost_reflect::{
    DynamicMessage, Kind, MapKey, MessageDescriptor, Value as Built, prost::Message as _,
};
use serde::{
    Deserialize,
    de::{Deserializer, Error},
};
use serde_json::{Value, value::RawValue};

/// Reads a message that must be built, and checks it; answers whether it sets the field.
pub(super) fn read<'de, D: Deserializer<'de>>(
    node: Node<'_, '_, '_>,
    shape: &MessageShape,
    deserializer: D,
) -> Result<bool, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?.get();
    let Node { walk, wants, place, depth } = node;
    let faults = walk.report.of_types();
    walk.built = true;
    let node = Node { walk: &mut *walk, wants, place, depth };
    let mut json = serde_json::Deserializer::from_str(text);
    let set = json.deserialize_any(node).map_err(D::Error::custom)?;
    walk.built = false;
    // What is not of its type has no meaning that rules could look at.
    if walk.report.of_types() > faults || !text.starts_with('{') {
        return Ok(set);
    }
    if let Some(rules) = &shape.rules {
        match build(&rules.descriptor, text) {
            Some(message) => binary::check_built(walk, &message, place),
            None => cannot_build(walk, place),
        }
    }
    Ok(set)
}

fn cannot_build(walk: &mut super::json::Walk<'_>, place: &Place<'_>) {
    let (expected, found) = ("a value that rules can be applied to".to_owned(), "none".to_owned());
    walk.report.add(place, Fault { rule: "type", expected, found });
}

/// The message that a text is which has been found to be of its type.
fn build(descriptor: &MessageDescriptor, text: &str) -> Option<DynamicMessage> {
    message(descriptor, &serde_json::from_str(text).ok()?)
}

fn message(descriptor: &MessageDescriptor, json: &Value) -> Option<DynamicMessage> {
    match descriptor.full_name() {
        "google.protobuf.Any" => return any(descriptor, json),
        "google.protobuf.Empty" => {}
        name if name.starts_with("google.protobuf.")
            && descriptor.parent_file().name() != "google/protobuf/descriptor.proto" =>
        {
            return DynamicMessage::deserialize(descriptor.clone(), json).ok();
        }
        _ => {}
    }
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, json) in json.as_object()? {
        let field = descriptor.get_field_by_json_name(name);
        let Some(field) = field.or_else(|| descriptor.get_field_by_name(name)) else { continue };
        let kind = field.kind();
        let value = match (&kind, json) {
            (Kind::Message(entry), Value::Object(pairs)) if field.is_map() => {
                let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
                let pairs = pairs.iter().map(|(name, json)| {
                    Some((map_key(&key.kind(), name)?, single(&value.kind(), json)?))
                });
                Built::Map(pairs.collect::<Option<_>>()?)
            }
            (_, Value::Array(values)) if field.is_list() => {
                Built::List(values.iter().map(|json| single(&kind, json)).collect::<Option<_>>()?)
            }
            (_, Value::Null) if field.is_list() || field.is_map() || !takes_null(&kind) => continue,
            _ => single(&kind, json)?,
        };
        message.try_set_field(&field, value).ok()?;
    }
    Some(message)
}

fn takes_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(descriptor) => descriptor.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

fn any(descriptor: &MessageDescriptor, json: &Value) -> Option<DynamicMessage> {
    if json.as_object()?.is_empty() {
        return Some(DynamicMessage::new(descriptor.clone()));
    }
    let type_url = json.get("@type")?.as_str()?;
    let inner = descriptor.parent_pool().get_message_by_name(type_url.rsplit('/').next()?)?;
    let name = inner.full_name();
    let is_special = name.starts_with("google.protobuf.") && super::shape::has_own_json_form(name);
    let json = if is_special { json.get("value")? } else { json };
    let value = message(&inner, json)?.encode_to_vec();
    let mut any = DynamicMessage::new(descriptor.clone());
    any.try_set_field_by_name("type_url", Built::String(type_url.to_owned())).ok()?;
    any.try_set_field_by_name("value", Built::Bytes(value.into())).ok()?;
    Some(any)
}

fn single(kind: &Kind, json: &Value) -> Option<Built> {
    Some(match kind {
        Kind::Double => Built::F64(real(json)?),
        #[expect(clippy::cast_possible_truncation, reason = "a float has 32 bits")]
        Kind::Float => Built::F32(real(json)? as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Built::I32(integer(json)?.try_into().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Built::I64(integer(json)?.try_into().ok()?),
        Kind::Uint32 | Kind::Fixed32 => Built::U32(integer(json)?.try_into().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Built::U64(integer(json)?.try_into().ok()?),
        Kind::Bool => Built::Bool(json.as_bool()?),
        Kind::String => Built::String(json.as_str()?.to_owned()),
        Kind::Bytes => Built::Bytes(text::bytes(json.as_str()?).into()),
        Kind::Message(descriptor) => Built::Message(message(descriptor, json)?),
        Kind::Enum(descriptor) => Built::EnumNumber(match json {
            Value::Null => 0,
            Value::String(name) => descriptor.get_value_by_name(name)?.number(),
            number => integer(number)?.try_into().ok()?,
        }),
    })
}

fn map_key(kind: &Kind, name: &str) -> Option<MapKey> {
    let json = Value::String(name.to_owned());
    match kind {
        Kind::Bool => Some(MapKey::Bool(name == "true")),
        _ => single(kind, &json)?.into_map_key(),
    }
}

fn real(json: &Value) -> Option<f64> {
    match json {
        Value::String(text) => text.parse().ok(),
        number => number.as_f64(),
    }
}

fn integer(json: &Value) -> Option<i128> {
    match json {
        Value::String(text) => whole::parse(text).ok(),
        number => {
            let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            #[expect(clippy::cast_possible_truncation, reason = "its type is right: it is whole")]
            exact.or_else(|| number.as_f64().map(|number| number as i128))
        }
    }
}
