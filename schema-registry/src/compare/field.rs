//! Compares the fields of a message: names, numbers, types, labels, oneofs, reservations.

use super::{Findings, Rule};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use std::collections::BTreeSet;

/// What types of the old contract are called in the new one: a package that was renamed is one
/// difference, not one for each type.
#[derive(Debug)]
pub(super) struct Names {
    packages: Option<(String, String)>,
}

impl Names {
    pub(super) fn between(old: &MessageDescriptor, new: &MessageDescriptor) -> Self {
        let (was, is) = (old.package_name(), new.package_name());
        Self { packages: (was != is).then(|| (was.to_owned(), is.to_owned())) }
    }

    /// The package before and after, if it changed.
    pub(super) fn packages(&self) -> Option<(&str, &str)> {
        self.packages.as_ref().map(|(was, is)| (was.as_str(), is.as_str()))
    }

    /// The new full name of an old type.
    pub(super) fn now(&self, name: &str) -> String {
        let moved = self.packages.as_ref().and_then(|(was, is)| {
            let rest = match was.as_str() {
                "" => name,
                was => name.strip_prefix(was)?.strip_prefix('.')?,
            };
            Some(if is.is_empty() { rest.to_owned() } else { format!("{is}.{rest}") })
        });
        moved.filter(|_| !is_well_known(name)).unwrap_or_else(|| name.to_owned())
    }
}

/// Does protobuf bring this type itself?
pub(super) fn is_well_known(name: &str) -> bool {
    name.starts_with("google.protobuf.")
}

/// The value of a map's entries, if the field is a map.
pub(super) fn entry_value(field: &FieldDescriptor) -> Option<FieldDescriptor> {
    let kind = field.kind();
    field.is_map().then(|| kind.as_message().map(MessageDescriptor::map_entry_value_field))?
}

impl Findings {
    pub(super) fn messages(
        &mut self,
        names: &Names,
        old: &MessageDescriptor,
        new: &MessageDescriptor,
    ) {
        for field in old.fields() {
            let (name, number) = (field.full_name(), field.number());
            let same_name = new.get_field_by_name(field.name());
            let renumbered = same_name.as_ref().filter(|found| found.number() != number);
            if let Some(found) = renumbered {
                let text =
                    format!("field `{name}` has the number {}; it was {number}", found.number());
                self.add(Rule::FieldNumberChanged, name, text);
            }
            match new.get_field(number) {
                Some(changed) => {
                    self.names(&field, &changed);
                    self.types(names, &field, &changed);
                }
                None if same_name.is_some() => {}
                None => self.removed(&field),
            }
        }
        for field in new.fields() {
            let known = old.get_field(field.number()).is_some()
                || old.get_field_by_name(field.name()).is_some();
            if !known {
                self.field_added(old, &field);
            }
        }
        self.oneofs(old, new);
        self.reservations(old, new);
    }

    fn field_added(&mut self, old: &MessageDescriptor, field: &FieldDescriptor) {
        let (name, number) = (field.full_name(), field.number());
        if field.cardinality() == Cardinality::Required {
            let text = format!("required field `{name}` ({number}) was added");
            self.add(Rule::RequiredFieldAdded, name, text);
        } else {
            self.add(Rule::FieldAdded, name, format!("field `{name}` ({number}) was added"));
        }
        if old.reserved_ranges().any(|range| range.contains(&number)) {
            let text = format!("field `{name}` has the number {number}, which was reserved");
            self.add(Rule::ReservedReused, name, text);
        }
    }

    fn removed(&mut self, field: &FieldDescriptor) {
        let (name, number) = (field.full_name(), field.number());
        let (rule, what) = match (field.cardinality(), choice_of(field)) {
            (Cardinality::Required, _) => (Rule::RequiredFieldRemoved, "required field"),
            (_, Some(_)) => (Rule::OneofFieldRemoved, "oneof field"),
            (_, None) => (Rule::FieldRemoved, "field"),
        };
        self.add(rule, name, format!("{what} `{name}` ({number}) was removed"));
    }

    fn names(&mut self, old: &FieldDescriptor, new: &FieldDescriptor) {
        let name = old.full_name();
        if old.name() != new.name() {
            let text = format!("field `{name}` ({}) was renamed to `{}`", old.number(), new.name());
            self.add(Rule::FieldRenamed, name, text);
        } else if old.json_name() != new.json_name() {
            let (was, is) = (old.json_name(), new.json_name());
            let text = format!("field `{name}` is `{is}` in JSON; it was `{was}`");
            self.add(Rule::FieldJsonNameChanged, name, text);
        }
    }

    fn types(&mut self, names: &Names, old: &FieldDescriptor, new: &FieldDescriptor) {
        let name = old.full_name();
        let changed = type_rule(names, old, new);
        if let Some(rule) = changed {
            let (was, is) = (type_text(old), type_text(new));
            self.add(rule, name, format!("field `{name}` is of type {is}; it was {was}"));
        }
        let (was, is) = (label_text(old), label_text(new));
        // A map that became something else was told of already.
        if was != is && old.is_map() == new.is_map() {
            let text = format!("field `{name}` is {is}; it was {was}");
            self.add(label_rule(old, new), name, text);
        }
        if changed.is_some() || was != is {
            return;
        }
        if old.supports_presence() != new.supports_presence() {
            let is = if new.supports_presence() { "tells" } else { "no longer tells" };
            let text = format!("field `{name}` {is} absent from zero");
            self.add(Rule::FieldPresenceChanged, name, text);
        }
        let scalar = old.kind().as_message().is_none();
        if scalar && old.default_value() != new.default_value() {
            let (was, is) = (old.default_value(), new.default_value());
            let text = format!("field `{name}` has the default {is}; it was {was}");
            self.add(Rule::FieldDefaultChanged, name, text);
        }
    }

    fn oneofs(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        for oneof in new.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            self.oneof_filled(old, &oneof);
        }
        for oneof in old.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            self.oneof_emptied(new, &oneof);
        }
    }

    /// Fields that could be set together before and exclude each other now.
    fn oneof_filled(&mut self, old: &MessageDescriptor, oneof: &OneofDescriptor) {
        let before: Vec<_> =
            oneof.fields().filter_map(|field| old.get_field(field.number())).collect();
        let free: Vec<_> = before.iter().filter(|field| choice_of(field).is_none()).collect();
        let homes: BTreeSet<_> =
            before.iter().filter_map(choice_of).map(|home| home.name().to_owned()).collect();
        let path = oneof.full_name();
        let names: Vec<_> = before.iter().map(|field| field.name()).collect();
        let rule = match (free.len(), homes.len()) {
            (0, 1) => return,
            (0 | 1, 0) => {
                let text = format!("oneof `{path}` was added");
                return self.add(Rule::OneofAdded, path, text);
            }
            (1, _) => Rule::FieldMovedToExistingOneof,
            _ => Rule::FieldsMovedToOneof,
        };
        let text = format!("fields `{}` exclude each other now, in `{path}`", names.join("`, `"));
        self.add(rule, path, text);
    }

    /// Fields that excluded each other before and can be set together now.
    fn oneof_emptied(&mut self, new: &MessageDescriptor, oneof: &OneofDescriptor) {
        let path = oneof.full_name();
        let left: Vec<_> =
            oneof.fields().filter_map(|field| new.get_field(field.number())).collect();
        let (held, freed): (Vec<_>, Vec<_>) =
            left.iter().partition(|field| choice_of(field).is_some());
        let names = |fields: &[&FieldDescriptor]| {
            let names: Vec<_> = fields.iter().map(|field| field.name().to_owned()).collect();
            names.join("`, `")
        };
        match (held.len(), freed.len()) {
            (0, 0 | 1) => self.add(Rule::OneofRemoved, path, format!("oneof `{path}` was removed")),
            (0, _) => {
                let fields = names(&freed);
                let text = format!("fields `{fields}` can be set together now, without `{path}`");
                self.add(Rule::OneofDissolved, path, text);
            }
            (_, 0) => {}
            _ => {
                let fields = names(&freed);
                let text = format!("`{fields}` can be set together with others of `{path}` now");
                self.add(Rule::OneofFieldFreed, path, text);
            }
        }
    }

    fn reservations(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        let path = old.full_name();
        for range in old.reserved_ranges() {
            let kept: Vec<_> = new.reserved_ranges().collect();
            if !is_covered(&range, &kept) {
                let (first, last) = (range.start, range.end.saturating_sub(1));
                let text = format!("`{path}` no longer reserves the numbers {first} to {last}");
                self.add(Rule::ReservedRemoved, path, text);
            }
        }
        for name in old.reserved_names() {
            if !new.reserved_names().any(|kept| kept == name) {
                let text = format!("`{path}` no longer reserves the name `{name}`");
                self.add(Rule::ReservedRemoved, path, text);
            }
        }
    }
}

/// The oneof that somebody wrote around the field.
fn choice_of(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

fn is_covered(range: &std::ops::Range<u32>, by: &[std::ops::Range<u32>]) -> bool {
    let mut at = range.start;
    while at < range.end {
        let Some(next) = by.iter().find(|kept| kept.contains(&at)) else { return false };
        at = next.end;
    }
    true
}

fn type_rule(names: &Names, old: &FieldDescriptor, new: &FieldDescriptor) -> Option<Rule> {
    if let (true, true) = (old.is_map(), new.is_map()) {
        let (old, new) = (old.kind(), new.kind());
        let (old, new) = (old.as_message()?, new.as_message()?);
        let key = type_rule(names, &old.map_entry_key_field(), &new.map_entry_key_field());
        let value = type_rule(names, &old.map_entry_value_field(), &new.map_entry_value_field());
        return if key == Some(Rule::FieldTypeChanged) { key } else { value.or(key) };
    }
    match (old.kind(), new.kind()) {
        (Kind::Message(_), Kind::Message(_)) if old.is_group() != new.is_group() => {
            Some(Rule::FieldTypeChanged)
        }
        (Kind::Message(_), Kind::Message(_)) if old.is_map() != new.is_map() => {
            let entries = old.is_list() || new.is_list();
            Some(if entries { Rule::FieldMapAndEntries } else { Rule::FieldTypeChanged })
        }
        (Kind::Message(was), Kind::Message(is)) => {
            let same = names.now(was.full_name()) == is.full_name();
            (!same).then_some(Rule::FieldMessageTypeChanged)
        }
        (Kind::Enum(was), Kind::Enum(is)) => {
            let same = names.now(was.full_name()) == is.full_name();
            (!same).then_some(Rule::FieldTypeSameEncoding)
        }
        (was, is) if was == is => None,
        (Kind::Bytes, Kind::Message(_)) if !new.is_group() && !new.is_map() => {
            Some(Rule::FieldBytesAndMessage)
        }
        (Kind::Message(_), Kind::Bytes) if !old.is_group() && !old.is_map() => {
            Some(Rule::FieldBytesAndMessage)
        }
        (was, is) if encoding(&was) == encoding(&is) => Some(Rule::FieldTypeSameEncoding),
        _ => Some(Rule::FieldTypeChanged),
    }
}

/// How a type is encoded: those of one encoding can be read as each other.
#[derive(Debug, PartialEq, Eq)]
enum Encoding {
    Varint,
    Zigzag,
    Fixed32,
    Fixed64,
    Float,
    Double,
    Text,
    Message,
}

const fn encoding(kind: &Kind) -> Encoding {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => {
            Encoding::Varint
        }
        Kind::Sint32 | Kind::Sint64 => Encoding::Zigzag,
        Kind::Fixed32 | Kind::Sfixed32 => Encoding::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 => Encoding::Fixed64,
        Kind::Float => Encoding::Float,
        Kind::Double => Encoding::Double,
        Kind::String | Kind::Bytes => Encoding::Text,
        Kind::Message(_) => Encoding::Message,
    }
}

fn label_rule(old: &FieldDescriptor, new: &FieldDescriptor) -> Rule {
    match (old.cardinality(), new.cardinality()) {
        (_, Cardinality::Required) => Rule::FieldMadeRequired,
        (Cardinality::Required, _) => Rule::FieldMadeOptional,
        _ => match encoding(&new.kind()) {
            Encoding::Text | Encoding::Message => Rule::FieldLabelChanged,
            _ => Rule::FieldNumericLabelChanged,
        },
    }
}

fn type_text(field: &FieldDescriptor) -> String {
    if let (true, Some(entry)) = (field.is_map(), field.kind().as_message()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map<{}, {}>", type_text(&key), type_text(&value));
    }
    match field.kind() {
        Kind::Message(message) => format!("`{}`", message.full_name()),
        Kind::Enum(enumeration) => format!("`{}`", enumeration.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn label_text(field: &FieldDescriptor) -> &'static str {
    match field.cardinality() {
        Cardinality::Repeated => "repeated",
        Cardinality::Required => "required",
        Cardinality::Optional => "optional",
    }
}
