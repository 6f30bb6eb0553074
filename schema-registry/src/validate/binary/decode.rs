//! Decoding as deep as a contract may allow. The library stops at 100 messages inside each other,
//! and one level of a `Struct` is three of them: itself, a pair, and a `Value`.

use crate::config::PAYLOAD_DEPTH_LIMIT;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
    prost::{
        DecodeError, Message as _,
        encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
    },
};

/// Most messages inside each other: as many as the deepest JSON stands for.
const LEVELS_MAX: usize = 3 * (PAYLOAD_DEPTH_LIMIT + 1);

/// Why there is no message.
#[derive(Debug)]
pub(in crate::validate) enum Undecodable {
    Malformed(DecodeError),
    TooDeep,
}

impl From<DecodeError> for Undecodable {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// Decodes a message, however deep it is within [`LEVELS_MAX`].
pub(in crate::validate) fn decode(
    descriptor: &MessageDescriptor,
    bytes: &[u8],
) -> Result<DynamicMessage, Undecodable> {
    let shallow = DynamicMessage::decode(descriptor.clone(), bytes);
    let error = match shallow {
        Ok(message) => return Ok(message),
        Err(error) => error,
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    match merge(&mut message, bytes, LEVELS_MAX) {
        Ok(()) => Ok(message),
        Err(Undecodable::TooDeep) => Err(Undecodable::TooDeep),
        Err(Undecodable::Malformed(_)) => Err(Undecodable::Malformed(error)),
    }
}

/// Takes messages out one by one, so that the library never sees one inside another.
fn merge(message: &mut DynamicMessage, bytes: &[u8], levels: usize) -> Result<(), Undecodable> {
    let levels = levels.checked_sub(1).ok_or(Undecodable::TooDeep)?;
    let descriptor = message.descriptor();
    // What was not looked at, and what the library has not merged.
    let (mut rest, mut plain) = (bytes, bytes);
    while !rest.is_empty() {
        let start = rest;
        let (number, wire_type) = decode_key(&mut rest)?;
        let key_length = start.len() - rest.len();
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        let Some(field) = message_field(&descriptor, number, wire_type) else { continue };
        let after_key = &start[key_length..start.len() - rest.len()];
        let Some(content) = content(after_key, wire_type, key_length) else { continue };
        message.merge(&plain[..plain.len() - start.len()])?;
        plain = rest;
        add(message, &field, content, levels)?;
    }
    message.merge(plain)?;
    Ok(())
}

/// The field of that number, if it holds messages and they are written like that.
fn message_field(
    descriptor: &MessageDescriptor,
    number: u32,
    wire_type: WireType,
) -> Option<FieldDescriptor> {
    let field = descriptor.get_field(number)?;
    let wanted = if field.is_group() { WireType::StartGroup } else { WireType::LengthDelimited };
    (matches!(field.kind(), Kind::Message(_)) && wire_type == wanted).then_some(field)
}

/// The bytes of a message, of what follows the key of its field.
fn content(after_key: &[u8], wire_type: WireType, key_length: usize) -> Option<&[u8]> {
    match wire_type {
        // A group ends with a key that is as long as the one it begins with.
        WireType::StartGroup => after_key.get(..after_key.len().checked_sub(key_length)?),
        _ => {
            let mut content = after_key;
            decode_varint(&mut content).ok()?;
            Some(content)
        }
    }
}

fn add(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    content: &[u8],
    levels: usize,
) -> Result<(), Undecodable> {
    let Kind::Message(descriptor) = field.kind() else { return Ok(()) };
    let mut inner = DynamicMessage::new(descriptor.clone());
    match message.get_field_mut(field) {
        // A message that comes twice is one.
        Value::Message(before) => return merge(before, content, levels),
        Value::List(values) => {
            merge(&mut inner, content, levels)?;
            values.push(Value::Message(inner));
        }
        Value::Map(pairs) => {
            merge(&mut inner, content, levels)?;
            let (key, value) =
                (descriptor.map_entry_key_field(), descriptor.map_entry_value_field());
            let key = inner.get_field(&key).into_owned().into_map_key();
            let given = inner.take_field(&value);
            let value = given.unwrap_or_else(|| Value::default_value_for_field(&value));
            if let Some(key) = key {
                pairs.insert(key, value);
            }
        }
        _ => {}
    }
    Ok(())
}
