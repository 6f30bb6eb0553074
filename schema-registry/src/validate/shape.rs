//! What a check needs to know of the message types, laid out flat for speed.

use super::rules::{FieldRules, MessageRules, Reader};
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor,
    Kind as ProtoKind, MessageDescriptor, Syntax,
};
use std::collections::{HashMap, HashSet};

/// Most rules that cannot be kept of which is told.
const REFUSALS_NAMED_MAX: usize = 20;

/// All message and enum types of a contract.
#[derive(Debug)]
pub(super) struct Shapes {
    messages: Vec<MessageShape>,
    enums: Vec<EnumShape>,
    by_name: HashMap<Box<str>, Kind>,
    /// Does any message carry `buf.validate` rules?
    pub ruled: bool,
    /// Do some of them need a built message?
    pub built: bool,
    /// Do some of them look at the clock?
    pub use_now: bool,
}

/// A message type without a JSON form of its own.
#[derive(Debug)]
pub(super) struct MessageShape {
    /// Fields, then extensions.
    pub fields: Vec<FieldShape>,
    /// How many oneofs it has.
    pub oneofs: Vec<Box<str>>,
    /// Fields that must be there (`proto2`).
    pub required: Vec<usize>,
    /// Fields that carry rules.
    pub ruled: Vec<usize>,
    /// Oneofs of which a field must be set.
    pub required_oneofs: Vec<usize>,
    /// The rules of the message as a whole, and of fields that need it built.
    pub rules: Option<Box<MessageRules>>,
    /// JSON names and original names.
    names: HashMap<Box<str>, usize>,
}

/// A field.
#[derive(Debug)]
pub(super) struct FieldShape {
    /// Its name in the `.proto` file.
    pub name: Box<str>,
    /// What its value, elements or map values are.
    pub kind: Kind,
    /// One, many or a map.
    pub count: Count,
    /// The oneof it belongs to.
    pub oneof: Option<usize>,
    /// Must it be there (`proto2`)?
    pub required: bool,
    /// Its number.
    pub number: u32,
    /// The rules it carries.
    pub rules: Option<Box<FieldRules>>,
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    One,
    List,
    /// With keys of this kind.
    Map(Kind),
}

/// What a single value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
    String,
    Bytes,
    /// Index of its shape.
    Enum(usize),
    /// Index of its shape.
    Message(usize),
    /// `google.protobuf.NullValue`.
    Null,
    Timestamp,
    Duration,
    FieldMask,
    Any,
    /// `google.protobuf.Struct`: any object.
    Struct,
    /// `google.protobuf.ListValue`: any list.
    List,
    /// `google.protobuf.Value`: anything.
    Value,
}

impl Kind {
    /// Is it a type of whole numbers?
    pub(super) const fn is_whole(self) -> bool {
        matches!(self, Self::Int32 | Self::Int64 | Self::Uint32 | Self::Uint64)
    }
}

/// An enum type.
#[derive(Debug)]
pub(super) struct EnumShape {
    names: HashMap<Box<str>, i32>,
    /// The only numbers allowed; None: all (`proto3`).
    numbers: Option<HashSet<i32>>,
    /// The first names, for people.
    pub examples: String,
}

impl Shapes {
    /// The shapes of all types in `pool`. Errors: a rule that is unknown or cannot be kept, with the
    /// field that carries it. All patterns together may take so many bytes.
    pub(super) fn of(pool: &DescriptorPool, pattern_bytes_max: usize) -> Result<Self, String> {
        let reader = Reader::within(pool, pattern_bytes_max);
        let mut by_name = HashMap::new();
        let mut plain = Vec::new();
        for message in pool.all_messages().filter(|message| !message.is_map_entry()) {
            let kind = well_known(message.full_name()).unwrap_or_else(|| {
                plain.push(message.clone());
                Kind::Message(plain.len() - 1)
            });
            by_name.insert(message.full_name().into(), kind);
        }
        let mut enums = Vec::new();
        for descriptor in pool.all_enums() {
            let kind = if descriptor.full_name() == "google.protobuf.NullValue" {
                Kind::Null
            } else {
                enums.push(EnumShape::of(&descriptor));
                Kind::Enum(enums.len() - 1)
            };
            by_name.insert(descriptor.full_name().into(), kind);
        }
        let mut refusals = Refusals::default();
        let shape = |message: &MessageDescriptor| {
            let mut shape = MessageShape::of(message, &by_name);
            if let Some(reader) = &reader {
                shape.read_rules(message, reader, &mut refusals);
            }
            shape
        };
        let messages: Vec<_> = plain.iter().map(shape).collect();
        refusals.into_result()?;
        let built = messages.iter().any(|shape| shape.rules.is_some());
        let ruled = built || messages.iter().any(MessageShape::is_ruled);
        let use_now = messages.iter().any(MessageShape::uses_now);
        Ok(Self { messages, enums, by_name, ruled, built, use_now })
    }

    /// May there be rules among these types?
    pub(super) fn may_be_ruled(pool: &DescriptorPool) -> bool {
        Reader::new(pool).is_some()
    }

    /// The message type of that full name.
    pub(super) fn kind_named(&self, name: &str) -> Option<Kind> {
        self.by_name.get(name).copied().filter(|kind| !matches!(kind, Kind::Enum(_) | Kind::Null))
    }

    /// The shape behind a [`Kind::Message`].
    pub(super) fn message(&self, index: usize) -> Option<&MessageShape> {
        self.messages.get(index)
    }

    /// The shape behind a [`Kind::Enum`].
    pub(super) fn enumeration(&self, index: usize) -> Option<&EnumShape> {
        self.enums.get(index)
    }
}

/// Rules that cannot be kept, so that an author learns of all at once.
#[derive(Default)]
struct Refusals(Vec<String>);

impl Refusals {
    /// What is read; None, with a note, if it cannot be kept. When enough are named nothing is read
    /// any more: rules cost time to compile.
    fn note<T>(&mut self, read: impl FnOnce() -> Result<Option<T>, String>) -> Option<T> {
        if self.0.len() >= REFUSALS_NAMED_MAX {
            return None;
        }
        read().unwrap_or_else(|refusal| {
            self.0.push(refusal);
            None
        })
    }

    fn into_result(mut self) -> Result<(), String> {
        if self.0.len() >= REFUSALS_NAMED_MAX {
            self.0.push("the rules after these were not looked at".to_owned());
        }
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("; ")) }
    }
}

impl MessageShape {
    /// The field with that JSON name or original name, and the name itself.
    pub(super) fn field(&self, name: &str) -> Option<(&str, usize)> {
        self.names.get_key_value(name).map(|(name, index)| (&**name, *index))
    }

    /// Words of 64 bits that hold a bit for each field and each oneof.
    pub(super) fn words(&self) -> usize {
        (self.fields.len() + self.oneofs.len()).div_ceil(64)
    }

    /// Do the rules inside the field with that number not count?
    pub(super) fn ignores(&self, number: u32) -> bool {
        let fields = self.ruled.iter().filter_map(|index| self.fields.get(*index));
        fields
            .filter(|field| field.number == number)
            .any(|field| field.rules.as_ref().is_some_and(|rules| rules.value.ignored))
    }

    fn uses_now(&self) -> bool {
        let fields = self.ruled.iter().filter_map(|index| self.fields.get(*index));
        fields.filter_map(|field| field.rules.as_ref()).any(|rules| rules.use_now())
            || self
                .rules
                .as_ref()
                .is_some_and(|rules| rules.expressions.iter().any(|expression| expression.uses_now))
    }

    const fn is_ruled(&self) -> bool {
        !self.ruled.is_empty() || !self.required_oneofs.is_empty()
    }

    fn read_rules(
        &mut self,
        message: &MessageDescriptor,
        reader: &Reader,
        refusals: &mut Refusals,
    ) {
        for (index, field) in message.fields().enumerate() {
            if let Some(rules) = refusals.note(|| reader.field(&field)) {
                self.fields[index].rules = Some(Box::new(rules));
                self.ruled.push(index);
            }
        }
        let oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic()).enumerate();
        let required = oneofs.filter(|(_, oneof)| reader.is_required(oneof));
        self.required_oneofs = required.map(|(index, _)| index).collect();
        let light =
            |index: &usize| self.fields[*index].rules.as_ref().is_none_or(|rules| rules.is_light());
        let light = self.ruled.iter().all(light);
        self.rules = refusals.note(|| reader.message(message, light)).map(Box::new);
    }

    fn of(message: &MessageDescriptor, kinds: &HashMap<Box<str>, Kind>) -> Self {
        let oneofs: Vec<_> = message.oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
        let mut fields = Vec::new();
        let mut names = HashMap::new();
        for field in message.fields() {
            let oneof = field.containing_oneof();
            let oneof = oneof.and_then(|of| oneofs.iter().position(|oneof| *oneof == of));
            names.insert(field.name().into(), fields.len());
            fields.push(FieldShape { oneof, ..FieldShape::of_field(&field, kinds) });
        }
        // JSON names go before original ones, should two fields share a name.
        for (index, field) in message.fields().enumerate() {
            names.insert(field.json_name().into(), index);
        }
        for extension in message.extensions() {
            names.insert(extension.json_name().into(), fields.len());
            fields.push(FieldShape::of_extension(&extension, kinds));
        }
        Self {
            required: (0..fields.len()).filter(|index| fields[*index].required).collect(),
            oneofs: oneofs.iter().map(|oneof| oneof.name().into()).collect(),
            fields,
            ruled: Vec::new(),
            required_oneofs: Vec::new(),
            rules: None,
            names,
        }
    }
}

impl FieldShape {
    fn of_field(field: &FieldDescriptor, kinds: &HashMap<Box<str>, Kind>) -> Self {
        let name = field.name().into();
        let required = field.cardinality() == Cardinality::Required;
        let map_entry = field.kind().as_message().filter(|_| field.is_map()).cloned();
        let (kind, count) = match map_entry {
            Some(entry) => (
                Kind::of(&entry.map_entry_value_field().kind(), kinds),
                Count::Map(Kind::of(&entry.map_entry_key_field().kind(), kinds)),
            ),
            None if field.is_list() => (Kind::of(&field.kind(), kinds), Count::List),
            None => (Kind::of(&field.kind(), kinds), Count::One),
        };
        Self { name, kind, count, oneof: None, required, number: field.number(), rules: None }
    }

    fn of_extension(extension: &ExtensionDescriptor, kinds: &HashMap<Box<str>, Kind>) -> Self {
        let count = if extension.is_list() { Count::List } else { Count::One };
        let kind = Kind::of(&extension.kind(), kinds);
        let name = extension.json_name().into();
        let number = extension.number();
        Self { name, kind, count, oneof: None, required: false, number, rules: None }
    }
}

impl Kind {
    fn of(kind: &ProtoKind, kinds: &HashMap<Box<str>, Self>) -> Self {
        // Every type that a field names is in the same pool.
        let named = |name: &str| kinds.get(name).copied().unwrap_or(Self::Value);
        match kind {
            ProtoKind::Double => Self::Double,
            ProtoKind::Float => Self::Float,
            ProtoKind::Int32 | ProtoKind::Sint32 | ProtoKind::Sfixed32 => Self::Int32,
            ProtoKind::Int64 | ProtoKind::Sint64 | ProtoKind::Sfixed64 => Self::Int64,
            ProtoKind::Uint32 | ProtoKind::Fixed32 => Self::Uint32,
            ProtoKind::Uint64 | ProtoKind::Fixed64 => Self::Uint64,
            ProtoKind::Bool => Self::Bool,
            ProtoKind::String => Self::String,
            ProtoKind::Bytes => Self::Bytes,
            ProtoKind::Message(message) => named(message.full_name()),
            ProtoKind::Enum(descriptor) => named(descriptor.full_name()),
        }
    }
}

impl EnumShape {
    /// Is there a value of that name?
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The number of the value of that name.
    pub(super) fn number_of(&self, name: &str) -> Option<i32> {
        self.names.get(name).copied()
    }

    /// May a value have that number?
    pub(super) fn takes_number(&self, number: i32) -> bool {
        self.numbers.as_ref().is_none_or(|numbers| numbers.contains(&number))
    }

    fn of(descriptor: &EnumDescriptor) -> Self {
        let closed = descriptor.parent_file().syntax() == Syntax::Proto2;
        let first: Vec<_> =
            descriptor.values().take(8).map(|value| format!("`{}`", value.name())).collect();
        let more = if descriptor.values().len() > first.len() { ", ..." } else { "" };
        Self {
            names: descriptor.values().map(|value| (value.name().into(), value.number())).collect(),
            numbers: closed.then(|| descriptor.values().map(|value| value.number()).collect()),
            examples: first.join(", ") + more,
        }
    }
}

/// Is the message written under `value` inside an `Any`?
pub(super) fn has_own_json_form(full_name: &str) -> bool {
    full_name == "google.protobuf.Empty" || well_known(full_name).is_some()
}

/// Message types whose JSON form is not an object of their fields. A wrapper is written as the
/// value it wraps.
fn well_known(full_name: &str) -> Option<Kind> {
    Some(match full_name.strip_prefix("google.protobuf.")? {
        "DoubleValue" => Kind::Double,
        "FloatValue" => Kind::Float,
        "Int32Value" => Kind::Int32,
        "Int64Value" => Kind::Int64,
        "UInt32Value" => Kind::Uint32,
        "UInt64Value" => Kind::Uint64,
        "BoolValue" => Kind::Bool,
        "StringValue" => Kind::String,
        "BytesValue" => Kind::Bytes,
        "Timestamp" => Kind::Timestamp,
        "Duration" => Kind::Duration,
        "FieldMask" => Kind::FieldMask,
        "Any" => Kind::Any,
        "Struct" => Kind::Struct,
        "ListValue" => Kind::List,
        "Value" => Kind::Value,
        _ => return None,
    })
}
