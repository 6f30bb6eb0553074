//! Messages whose rules need more than a walk over JSON: CEL, groups of fields, unique lists. The
//! walk still finds everything else; what it leaves is checked here on a built message.

mod build;

#[cfg(test)]
pub(super) use build::message;

use super::{
    binary,
    json::Node,
    report::{Fault, Place},
    shape::MessageShape,
};
use serde::{
    Deserialize,
    de::{Deserializer, Error},
};
use serde_json::value::RawValue;

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
        match build::message(&rules.descriptor, text) {
            Ok(message) => binary::check_built(walk, &message, place),
            Err(error) => cannot_build(walk, place, &error),
        }
    }
    Ok(set)
}

/// A value that is of its type and yet cannot be built is not let through without its rules.
fn cannot_build(walk: &mut super::json::Walk<'_>, place: &Place<'_>, error: &serde_json::Error) {
    let expected = "a value that rules can be applied to".to_owned();
    walk.report.add(place, Fault { rule: "type", expected, found: error.to_string() });
}
