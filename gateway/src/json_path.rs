//! One value out of a JSON text, without building the rest of it.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::fmt;

/// The text, number or truth value at a path, as in `["repository", "name"]` or `["items", "0"]`;
/// None when there is nothing of that kind. Of repeated names the last one counts. Fails when the
/// text as a whole is not JSON.
pub(crate) fn find(json: &[u8], path: &[String]) -> Result<Option<String>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let found = At(path).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

/// What is at the rest of a path.
struct At<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return <&RawValue>::deserialize(deserializer).map(scalar);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((name, rest)) = self.0.split_first() else { return Ok(None) };
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(Named(name))? {
            if wanted {
                found = map.next_value_seed(At(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Some((index, rest)) = self.0.split_first() else { return Ok(None) };
        let mut found = None;
        if let Ok(index) = index.parse::<usize>() {
            for _ in 0..index {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element_seed(At(rest))?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Is this the wanted name?
struct Named<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// Numbers keep the digits they were written with.
fn scalar(raw: &RawValue) -> Option<String> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(json: &str, path: &str) -> Option<String> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        find(json.as_bytes(), &path).unwrap()
    }

    #[test]
    fn values_are_found_by_path() {
        let json = r#"{"a": {"b": "x\u00e9", "n": 12345678901234567890123, "t": true, "z": null},
                       "list": [1, {"k": "v"}], "a.b": 0, "é": "utf"}"#;
        assert_eq!(at(json, "a.b").as_deref(), Some("xé"));
        assert_eq!(at(json, "a.n").as_deref(), Some("12345678901234567890123"));
        assert_eq!(at(json, "a.t").as_deref(), Some("true"));
        assert_eq!(at(json, "list.0").as_deref(), Some("1"));
        assert_eq!(at(json, "list.1.k").as_deref(), Some("v"));
        assert_eq!(at(json, "é").as_deref(), Some("utf"));
        for path in ["a", "a.z", "a.b.c", "list", "list.2", "list.x", "nothing", "a.t.x"] {
            assert_eq!(at(json, path), None, "{path}");
        }
        assert_eq!(at(r#"{"a": "first", "a": "last"}"#, "a").as_deref(), Some("last"));
    }

    #[test]
    fn what_is_not_json_fails_even_behind_the_value() {
        let path = ["a".to_owned()];
        for json in ["", "{", "{\"a\": 1", "{\"a\": 1} x", "{\"a\": 1, }", "nope", "{\"a\": nope}"]
        {
            assert!(find(json.as_bytes(), &path).is_err(), "{json}");
        }
        let deep = format!("{{\"a\": 1, \"b\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        drop(find(deep.as_bytes(), &path));
    }

    proptest! {
        #[test]
        fn agrees_with_the_whole_value(name in "[a-c]", other in "[a-c]", text in ".{0,20}") {
            let value = serde_json::json!({ &other: [], &name: { "k": [null, &text] } });
            let path = [name, "k".to_owned(), "1".to_owned()];
            let json = serde_json::to_vec(&value).unwrap();
            prop_assert_eq!(find(&json, &path).unwrap(), Some(text));
        }

        #[test]
        fn never_panics(json: Vec<u8>, path in proptest::collection::vec(".{0,3}", 0..4)) {
            drop(find(&json, &path));
        }
    }
}
