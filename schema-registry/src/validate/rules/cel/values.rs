//! Protobuf values as CEL sees them. A message is a view: a field is converted when it is asked
//! for. A field without presence reads as zero although it is not set.

use super::{super::families, Bounds};
use cel::{
    ExecutionError,
    common::{
        traits::Indexer,
        types::{
            CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull,
            CelString, CelTimestamp, CelUInt, Type,
        },
        value::{CowVal, Val},
    },
};
use chrono::{DateTime, FixedOffset};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};
use std::{borrow::Cow, collections::HashMap};

type Boxed<'v> = Box<dyn Val + 'v>;
pub(super) type Evaluated<T> = Result<T, ExecutionError>;

pub(super) static MESSAGE: Type = Type::new_unspecified_type("message");

/// A value of a field, or a whole message.
pub(super) fn value<'v>(value: &'v Value, kind: &Kind, bounds: Bounds<'v>) -> Evaluated<Boxed<'v>> {
    let texts = |bytes: usize| within(bytes, bounds.limits.text_bytes_max, "bytes");
    Ok(match value {
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::I32(value) | Value::EnumNumber(value) => Box::new(CelInt::from(i64::from(*value))),
        Value::I64(value) => Box::new(CelInt::from(*value)),
        Value::U32(value) => Box::new(CelUInt::from(u64::from(*value))),
        Value::U64(value) => Box::new(CelUInt::from(*value)),
        Value::F32(value) => Box::new(CelDouble::from(f64::from(*value))),
        Value::F64(value) => Box::new(CelDouble::from(*value)),
        Value::String(text) => {
            texts(text.len())?;
            Box::new(CelString::from(text.as_str()))
        }
        Value::Bytes(bytes) => {
            texts(bytes.len())?;
            Box::new(CelBytes::from(bytes.as_ref()))
        }
        Value::Message(it) => message(it, bounds)?,
        Value::List(values) => {
            within(values.len(), bounds.limits.list_max, "elements")?;
            let values: Evaluated<Vec<_>> =
                values.iter().map(|it| self::value(it, kind, bounds)).collect();
            Box::new(CelList::from(values?))
        }
        Value::Map(pairs) => {
            within(pairs.len(), bounds.limits.list_max, "pairs")?;
            let entry = kind.as_message().map(MessageDescriptor::map_entry_value_field);
            let kind = entry.map_or(Kind::Bool, |field| field.kind());
            let pair = |(key, it)| Ok((map_key(key), self::value(it, &kind, bounds)?));
            Box::new(CelMap::from(pairs.iter().map(pair).collect::<Evaluated<HashMap<_, _>>>()?))
        }
    })
}

/// Nanoseconds since the epoch.
pub(super) fn time(nanoseconds: i128) -> Evaluated<DateTime<FixedOffset>> {
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok();
    let nanos = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0);
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, nanos));
    let time = time.ok_or_else(|| ExecutionError::function_error("timestamp", "out of range"))?;
    Ok(time.fixed_offset())
}

fn duration(nanoseconds: i128) -> Evaluated<chrono::Duration> {
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok();
    let nanos = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0);
    seconds
        .and_then(|seconds| chrono::Duration::new(seconds, nanos))
        .ok_or_else(|| ExecutionError::function_error("duration", "out of range"))
}

pub(super) fn within(size: usize, max: usize, what: &str) -> Evaluated<()> {
    if size <= max {
        return Ok(());
    }
    let text = format!("{size} {what}; a rule with such loops takes at most {max}");
    Err(ExecutionError::function_error("this", text))
}

fn map_key(key: &MapKey) -> CelMapKey<'_> {
    match key {
        MapKey::Bool(key) => (*key).into(),
        MapKey::I32(key) => i64::from(*key).into(),
        MapKey::I64(key) => (*key).into(),
        MapKey::U32(key) => u64::from(*key).into(),
        MapKey::U64(key) => (*key).into(),
        MapKey::String(key) => key.as_str().into(),
    }
}

/// Times, wrappers and JSON values have forms of their own in CEL.
fn message<'v>(message: &'v DynamicMessage, bounds: Bounds<'v>) -> Evaluated<Boxed<'v>> {
    let descriptor = message.descriptor();
    let well_known = descriptor.full_name().strip_prefix("google.protobuf.").unwrap_or("");
    let held = |name: &str| -> Evaluated<Boxed<'v>> {
        let Some(field) = descriptor.get_field_by_name(name) else { return Ok(Box::new(CelNull)) };
        match message.get_field(&field) {
            Cow::Borrowed(it) => value(it, &field.kind(), bounds),
            Cow::Owned(_) => unset(&field, bounds),
        }
    };
    Ok(match well_known {
        "Timestamp" => Box::new(CelTimestamp::from(time(families::nanoseconds(message))?)),
        "Duration" => Box::new(CelDuration::from(duration(families::nanoseconds(message))?)),
        "Struct" => held("fields")?,
        "ListValue" => held("values")?,
        "Value" => match message.fields().next() {
            Some((field, _)) if field.name() == "null_value" => Box::new(CelNull),
            Some((field, it)) => value(it, &field.kind(), bounds)?,
            None => Box::new(CelNull),
        },
        name if is_wrapper(name) => held("value")?,
        _ => Box::new(View { descriptor, message: Some(message), bounds }),
    })
}

fn is_wrapper(name: &str) -> bool {
    name.strip_suffix("Value").is_some_and(|of| {
        ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"]
            .contains(&of)
    })
}

/// What a field reads as that is not set.
fn unset<'v>(field: &FieldDescriptor, bounds: Bounds<'v>) -> Evaluated<Boxed<'v>> {
    if field.is_list() {
        return Ok(Box::new(CelList::from(Vec::new())));
    }
    if field.is_map() {
        return Ok(Box::new(CelMap::from(HashMap::new())));
    }
    Ok(match field.default_value() {
        Value::Bool(value) => Box::new(CelBool::from(value)),
        Value::I32(value) | Value::EnumNumber(value) => Box::new(CelInt::from(i64::from(value))),
        Value::I64(value) => Box::new(CelInt::from(value)),
        Value::U32(value) => Box::new(CelUInt::from(u64::from(value))),
        Value::U64(value) => Box::new(CelUInt::from(value)),
        Value::F32(value) => Box::new(CelDouble::from(f64::from(value))),
        Value::F64(value) => Box::new(CelDouble::from(value)),
        Value::String(text) => Box::new(CelString::from(text)),
        Value::Bytes(bytes) => Box::new(CelBytes::from(bytes.to_vec())),
        Value::List(_) | Value::Map(_) => Box::new(CelNull),
        Value::Message(message) => {
            let descriptor = message.descriptor();
            match descriptor.full_name().strip_prefix("google.protobuf.").unwrap_or("") {
                "Timestamp" => Box::new(CelTimestamp::from(time(0)?)),
                "Duration" => Box::new(CelDuration::from(duration(0)?)),
                "Struct" => Box::new(CelMap::from(HashMap::new())),
                "ListValue" => Box::new(CelList::from(Vec::new())),
                name if name == "Value" || is_wrapper(name) => Box::new(CelNull),
                _ => Box::new(View { descriptor, message: None, bounds }),
            }
        }
    })
}

/// A message whose fields are converted when they are asked for.
#[derive(Debug, Clone)]
struct View<'m> {
    descriptor: MessageDescriptor,
    /// None: it is not set, and neither is any field of it.
    message: Option<&'m DynamicMessage>,
    bounds: Bounds<'m>,
}

/// Before the name of a field: is it set?
pub(super) const IS_SET: char = '?';
/// In place of a field: the full name of the message.
const TYPE_NAME: &str = "@type";

impl<'m> View<'m> {
    fn field(&self, name: &str) -> Evaluated<FieldDescriptor> {
        self.descriptor.get_field_by_name(name).ok_or_else(|| {
            ExecutionError::undeclared_reference(&format!("{}.{name}", self.descriptor.full_name()))
        })
    }

    fn is_set(&self, field: &FieldDescriptor) -> bool {
        self.message.is_some_and(|message| message.has_field(field))
    }

    fn read(&self, name: &str) -> Evaluated<Boxed<'m>> {
        if name == TYPE_NAME {
            return Ok(Box::new(CelString::from(self.descriptor.full_name().to_owned())));
        }
        if let Some(name) = name.strip_prefix(IS_SET) {
            let field = self.field(name)?;
            return Ok(Box::new(CelBool::from(self.is_set(&field))));
        }
        let field = self.field(name)?;
        match self.message.map(|message| message.get_field(&field)) {
            Some(Cow::Borrowed(it)) => value(it, &field.kind(), self.bounds),
            Some(Cow::Owned(_)) | None => unset(&field, self.bounds),
        }
    }
}

impl<'m> Indexer for View<'m> {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Evaluated<CowVal<'b, 'v>>
    where
        Self: 'v,
    {
        let name = name.downcast_ref::<CelString<'_>>();
        let name = name.ok_or_else(|| ExecutionError::no_such_key("a field has a name"))?;
        let value: Boxed<'v> = self.read(name.inner())?;
        Ok(CowVal::Owned(value))
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Evaluated<Boxed<'v>>
    where
        Self: 'v,
    {
        self.get(name).map(CowVal::into_owned)
    }
}

impl<'m> Val for View<'m> {
    fn get_type(&self) -> &Type {
        &MESSAGE
    }

    fn cel_type() -> &'static Type {
        &MESSAGE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    /// Of one type, with the same fields set to the same values.
    fn equals(&self, other: &dyn Val) -> bool {
        let Some(other) = other.as_indexer().filter(|_| other.get_type() == &MESSAGE) else {
            return false;
        };
        let theirs = |name: &str| other.get(&CelString::from(name.to_owned()));
        let is_type = theirs(TYPE_NAME).is_ok_and(|name| {
            let name = name.downcast_ref::<CelString<'_>>();
            name.is_some_and(|name| name.inner() == self.descriptor.full_name())
        });
        let same = |field: FieldDescriptor| {
            let is_set = self.is_set(&field);
            let is_set_there = theirs(&format!("{IS_SET}{}", field.name()))
                .is_ok_and(|it| it.downcast_ref::<CelBool>().is_some_and(|is_set| *is_set.inner()));
            if is_set != is_set_there || !is_set {
                return is_set == is_set_there;
            }
            match (self.bounds.compare(), self.read(field.name()), theirs(field.name())) {
                (true, Ok(ours), Ok(theirs)) => ours.equals(theirs.as_ref()),
                // Nothing may pass because it was too much to look at.
                _ => self.bounds.exceed(),
            }
        };
        is_type && self.descriptor.fields().all(same)
    }

    fn clone_as_boxed<'v>(&self) -> Boxed<'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}
