//! `google.protobuf.Any` in JSON: `@type` says what the rest of the object must be, and may come
//! after it. So the object is read twice: once for the type, once against it.

use super::{
    json::{Node, Wants, unknown_field},
    report::{Fault, quoted, shortened},
    shape::Kind,
};
use serde::{
    Deserialize,
    de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Most `Any` inside each other: each one around a value makes it be read twice more.
const NESTING_MAX: usize = 8;

/// Reads the value of a field of type `Any`; answers whether it sets the field.
pub(super) fn read<'de, D: Deserializer<'de>>(
    node: Node<'_, '_, '_>,
    deserializer: D,
) -> Result<bool, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?.get();
    let is_field = matches!(node.wants, Wants::Field(_));
    if text == "null" && is_field {
        return Ok(false);
    }
    if !text.starts_with('{') {
        node.wrong(shortened(text));
        return Ok(true);
    }
    if node.walk.anys >= NESTING_MAX {
        let expected = format!("at most {NESTING_MAX} `Any` inside each other");
        let fault = Fault { rule: "depth", expected, found: "more".to_owned() };
        node.walk.report.add(node.place, fault);
        return Ok(true);
    }
    if !node.walk.may_open(node.place, node.depth) {
        return Ok(true);
    }
    let type_url = serde_json::from_str::<TypeUrl<'_>>(text).map_err(D::Error::custom)?.0;
    let Some(type_url) = type_url else {
        // Nothing at all is an `Any` that is not set to anything.
        if text[1..].trim_start().starts_with('}') {
            return Ok(true);
        }
        node.wrong("an object without `@type`".to_owned());
        return Ok(true);
    };
    let name = type_url.rsplit_once('/').map(|(_, name)| name);
    let Some((name, kind)) = name.and_then(|name| Some((name, node.walk.shapes.kind_named(name)?)))
    else {
        let expected = "the URL of a message type that the contract knows".to_owned();
        let fault = Fault { rule: "any_type", expected, found: quoted(&type_url) };
        node.walk.report.add(&node.place.field("@type"), fault);
        return Ok(true);
    };
    let special = name == "google.protobuf.Empty" || !matches!(kind, Kind::Message(_));
    let Node { walk, place, depth, .. } = node;
    walk.anys += 1;
    let body = Body {
        node: Node { walk: &mut *walk, wants: Wants::Element(kind), place, depth },
        kind,
        special,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(body).map_err(D::Error::custom)?;
    walk.anys -= 1;
    Ok(true)
}

/// The one `@type` of an object; None if it has none, several, or one that is no text.
pub(super) struct TypeUrl<'de>(pub Option<Cow<'de, str>>);

impl<'de> Deserialize<'de> for TypeUrl<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Find;
        impl<'de> Visitor<'de> for Find {
            type Value = TypeUrl<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TypeUrl<'de>, A::Error> {
                let (mut found, mut several) = (None, false);
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key != "@type" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    several |= found.is_some();
                    let raw = map.next_value::<&RawValue>()?;
                    found = Some(serde_json::from_str::<String>(raw.get()).ok());
                }
                let only = found.flatten().filter(|_| !several);
                Ok(TypeUrl(only.map(Cow::Owned)))
            }
        }
        deserializer.deserialize_map(Find)
    }
}

/// The object once more, now that its type is known.
struct Body<'w, 's, 'p> {
    node: Node<'w, 's, 'p>,
    kind: Kind,
    /// The message has a JSON form of its own, which is under `value`.
    special: bool,
}

impl<'de> Visitor<'de> for Body<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let (Kind::Message(index), false) = (self.kind, self.special) {
            return match self.node.walk.shapes.message(index) {
                Some(shape) => self.node.message(map, shape, true),
                None => Err(A::Error::custom("a message type without a shape")),
            };
        }
        let Node { walk, place, depth, .. } = self.node;
        let place_of_value = place.field("value");
        let mut values = 0;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "value" {
                values += 1;
                let (wants, depth) = (Wants::Element(self.kind), depth + 1);
                let node = Node { walk: &mut *walk, wants, place: &place_of_value, depth };
                map.next_value_seed(node)?;
                continue;
            }
            if key != "@type" && walk.rules.reject_unknown {
                unknown_field(walk, &place.field(&key));
            }
            map.next_value::<IgnoredAny>()?;
        }
        if values != 1 {
            let (expected, found) = ("one value".to_owned(), values.to_string());
            let rule = if values == 0 { "required" } else { "duplicate_key" };
            walk.report.add(&place_of_value, Fault { rule, expected, found });
        }
        Ok(())
    }
}
