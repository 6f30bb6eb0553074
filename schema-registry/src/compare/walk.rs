//! Which types a contract reaches, and which of two contracts belong together.

use super::field::{entry_value, is_well_known};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use std::collections::{BTreeMap, BTreeSet};

/// The types that a message reaches through its fields, by full name, without those that protobuf
/// brings itself and without map entries.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub messages: BTreeMap<String, MessageDescriptor>,
    pub enums: BTreeMap<String, EnumDescriptor>,
}

impl Types {
    pub(super) fn reached(root: &MessageDescriptor) -> Self {
        let mut types = Self::default();
        let mut open = vec![root.clone()];
        while let Some(message) = open.pop() {
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(next) if !types.messages.contains_key(next.full_name()) => {
                        open.push(next);
                    }
                    Kind::Enum(next) => _ = types.enums.insert(next.full_name().to_owned(), next),
                    _ => {}
                }
            }
            types.messages.insert(message.full_name().to_owned(), message);
        }
        types.messages.retain(|name, message| !is_well_known(name) && !message.is_map_entry());
        types.enums.retain(|name, _| !is_well_known(name));
        types
    }
}

/// Types that hold the same part of a payload in the old and in the new contract.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub messages: Vec<(MessageDescriptor, MessageDescriptor)>,
    pub enums: Vec<(EnumDescriptor, EnumDescriptor)>,
}

/// Pairs types by the fields that lead to them, whatever they are called.
pub(super) fn pairs(old: &MessageDescriptor, new: &MessageDescriptor) -> Pairs {
    let (mut pairs, mut seen) = (Pairs::default(), BTreeSet::new());
    let mut is_new = |old: &str, new: &str| seen.insert((old.to_owned(), new.to_owned()));
    let mut open = vec![(old.clone(), new.clone())];
    is_new(old.full_name(), new.full_name());
    while let Some((old, new)) = open.pop() {
        for before in old.fields() {
            let Some(after) = new.get_field(before.number()) else { continue };
            match same_part(&before, &after) {
                (Kind::Message(was), Kind::Message(is)) => {
                    let same = was.full_name() == is.full_name() && is_well_known(was.full_name());
                    if !same && is_new(was.full_name(), is.full_name()) {
                        open.push((was, is));
                    }
                }
                (Kind::Enum(was), Kind::Enum(is)) if is_new(was.full_name(), is.full_name()) => {
                    pairs.enums.push((was, is));
                }
                _ => {}
            }
        }
        pairs.messages.push((old, new));
    }
    pairs
}

/// The values of two maps, else what the fields themselves hold.
fn same_part(old: &FieldDescriptor, new: &FieldDescriptor) -> (Kind, Kind) {
    match (entry_value(old), entry_value(new)) {
        (Some(old), Some(new)) => (old.kind(), new.kind()),
        _ => (old.kind(), new.kind()),
    }
}
