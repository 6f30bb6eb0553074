//! Makes an example payload from a contract alone: every field once, with a value that keeps it.

use contract::{Error, Result, schema::SchemaBundle};
use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// Messages inside each other.
const DEPTH_MAX: usize = 8;

/// A payload in JSON with every field of the contract's message; of a oneof the first. Messages that
/// hold themselves are left out where they come round again. Constraints beyond types are not known
/// to it. Errors: `internal` when the bundle is not what a registry gives out.
pub fn skeleton(bundle: &SchemaBundle) -> Result<Value> {
    let (uri, name) = (&bundle.version.uri, &bundle.version.message);
    let pool = DescriptorPool::decode(bundle.descriptor_set.as_ref())
        .map_err(|error| Error::internal(format!("the bundle of {uri}: {error}")))?;
    let message = pool.get_message_by_name(name);
    let message = message.ok_or_else(|| Error::internal(format!("{uri} lacks `{name}`")))?;
    Ok(value_of(&message, &mut Vec::new()).unwrap_or_else(|| json!({})))
}

/// A message; None where it would come round again.
fn value_of(message: &MessageDescriptor, above: &mut Vec<String>) -> Option<Value> {
    let name = message.full_name();
    if let Some(value) = well_known(name) {
        return value;
    }
    if above.len() >= DEPTH_MAX || above.iter().any(|outer| outer == name) {
        return None;
    }
    above.push(name.to_owned());
    let mut object = Map::new();
    for field in message.fields().filter(is_shown) {
        let (one, required) = (field_value(&field, above), field.cardinality());
        match one {
            Some(value) => _ = object.insert(field.json_name().to_owned(), value),
            // Without this one the whole message would not keep its contract.
            None if required == Cardinality::Required => {
                above.pop();
                return None;
            }
            None => {}
        }
    }
    above.pop();
    Some(Value::Object(object))
}

/// All fields but the later ones of a oneof.
fn is_shown(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_none_or(|oneof| {
        let first = oneof.fields().next();
        first.is_none_or(|first| first.number() == field.number())
    })
}

fn field_value(field: &FieldDescriptor, above: &mut Vec<String>) -> Option<Value> {
    if let (true, Some(entry)) = (field.is_map(), field.kind().as_message()) {
        let value = one(&entry.map_entry_value_field(), above)?;
        let key = match entry.map_entry_key_field().kind() {
            Kind::String => "key",
            Kind::Bool => "true",
            _ => "1",
        };
        return Some(json!({ key: value }));
    }
    let value = one(field, above)?;
    Some(if field.is_list() { json!([value]) } else { value })
}

/// One value of a field's type.
fn one(field: &FieldDescriptor, above: &mut Vec<String>) -> Option<Value> {
    Some(match field.kind() {
        Kind::Message(message) => return value_of(&message, above),
        Kind::Enum(enumeration) => {
            let set = enumeration.values().find(|value| value.number() != 0);
            let value = set.or_else(|| enumeration.values().next())?;
            if enumeration.full_name() == "google.protobuf.NullValue" {
                return Some(Value::Null);
            }
            json!(value.name())
        }
        Kind::String => json!(field.name()),
        Kind::Bytes => json!(""),
        Kind::Bool => json!(true),
        Kind::Double | Kind::Float => json!(1.5),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => json!("1"),
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => json!(1),
    })
}

/// Types with a form of their own in JSON. Source: protobuf.dev, "ProtoJSON Format". None outside:
/// not one of them; None inside: nothing sensible can be shown.
fn well_known(name: &str) -> Option<Option<Value>> {
    Some(Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!("2026-01-01T00:00:00Z"),
        "Duration" => json!("1s"),
        "FieldMask" => json!("field"),
        "Struct" | "Empty" => json!({}),
        "Value" | "StringValue" => json!("value"),
        "ListValue" => json!([]),
        "BytesValue" => json!(""),
        "BoolValue" => json!(true),
        "DoubleValue" | "FloatValue" => json!(1.5),
        "Int64Value" | "UInt64Value" => json!("1"),
        "Int32Value" | "UInt32Value" => json!(1),
        "Any" => return Some(None),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config,
        compile::compile,
        load,
        testing::{source, version},
        validate::Contract,
    };
    use contract::schema::{SchemaSource, SchemaVersion, UnknownFields};

    fn bundle(source: &SchemaSource) -> SchemaBundle {
        let compiled = compile(source, &Config::default()).unwrap();
        let version = SchemaVersion {
            message: compiled.message,
            unknown_fields: UnknownFields::Reject,
            ..version(source.uri.as_str(), 0)
        };
        let (descriptor_set, files) = (compiled.descriptor_set, compiled.files);
        SchemaBundle { version, descriptor_set, files, example: None }
    }

    fn checked(source: &SchemaSource) -> Value {
        let bundle = bundle(source);
        let value = skeleton(&bundle).unwrap();
        let contract = Contract::new(&bundle, 100).unwrap();
        let verdict = contract.check(
            "application/json",
            value.to_string().as_bytes(),
            contract::clock::Timestamp(0),
        );
        assert_eq!(verdict, Ok(()), "{value}");
        value
    }

    #[test]
    fn every_kind_of_field_gets_a_value_that_keeps_the_contract() {
        let text = "syntax = 'proto3';
            import 'google/protobuf/any.proto';
            import 'google/protobuf/duration.proto';
            import 'google/protobuf/empty.proto';
            import 'google/protobuf/field_mask.proto';
            import 'google/protobuf/struct.proto';
            import 'google/protobuf/timestamp.proto';
            import 'google/protobuf/wrappers.proto';
            enum Color { NONE = 0; RED = 1; }
            message X {
                string some_name = 1; bytes blob = 2; bool yes = 3; double d = 4; float f = 5;
                int32 i = 6; int64 l = 7; uint32 u = 8; uint64 ul = 9; sint32 s = 10;
                sint64 sl = 11; fixed32 fi = 12; fixed64 fl = 13; sfixed32 sf = 14;
                sfixed64 sfl = 15; Color color = 16; repeated Color colors = 17; X again = 18;
                repeated X list = 19; map<string, X> tree = 20; map<int64, Inner> inners = 21;
                map<bool, int32> flags = 22; optional Inner inner = 23;
                oneof one { string a = 24; string b = 25; }
                google.protobuf.Any any = 30; google.protobuf.Duration duration = 31;
                google.protobuf.Empty empty = 32; google.protobuf.FieldMask mask = 33;
                google.protobuf.Struct struct = 34; google.protobuf.Timestamp at = 35;
                google.protobuf.Value value = 36; google.protobuf.ListValue values = 37;
                google.protobuf.NullValue null = 38; google.protobuf.StringValue sv = 39;
                google.protobuf.Int64Value lv = 40; google.protobuf.BytesValue bv = 41;
                google.protobuf.BoolValue yv = 42; google.protobuf.DoubleValue dv = 43;
            }
            message Inner { int32 n = 1; }";
        let mut source = source("a/1/x", &[("a/1/x.proto", text)]);
        source.message = Some("X".to_owned());
        let value = checked(&source);
        assert_eq!(value["someName"], "some_name");
        assert_eq!(value["color"], "RED");
        assert_eq!(value["inners"], json!({"1": {"n": 1}}));
        assert_eq!((value.get("a").is_some(), value.get("b")), (true, None));
        assert_eq!((value.get("again"), value.get("tree")), (None, None));
    }

    #[test]
    fn required_fields_are_there_or_their_message_is_not() {
        let text = "syntax = 'proto2';
            message Y { required X x = 1; }
            message X { required int32 n = 1; optional Y y = 2; }";
        let value = checked(&source("a/1/x", &[("a/1/x.proto", text)]));
        assert_eq!(value, json!({"n": 1}));
    }

    #[test]
    fn every_shipped_contract_has_one() {
        let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas");
        let sources = load(schemas.as_ref(), &Config::default()).unwrap();
        assert!(sources.len() > 10);
        for source in sources {
            assert!(skeleton(&bundle(&source)).unwrap().is_object(), "{}", source.uri);
        }
    }
}
