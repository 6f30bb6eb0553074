//! Our checker against an implementation that is not ours: prost-reflect's JSON deserializer must
//! accept exactly what we accept, but for what is listed here.
//!
//! We refuse, it takes:
//! - a key that comes twice (the payloads made here have none);
//! - an enum name that the contract does not know, where unknown fields pass;
//! - `proto2`: enum numbers without a name, required fields that are missing;
//! - texts for numbers that JSON does not know (`inf`, `1e999`);
//! - broken surrogates and numbers beyond a double inside unknown fields.
//!
//! - the second 60, and more than nine decimals of a second.
//!
//! We take, it refuses or fails: `{}` for an `Any` that holds nothing;
//! whole numbers in quotes with an exponent, and `-0` where no sign is due; unknown members of `google.protobuf.Empty` where unknown fields
//! pass; null for a repeated `google.protobuf.Value`, which it does not survive.

use super::{
    Contract,
    tests::{NOW, contract_of},
};
use crate::{Config, compile::compile, load::load, testing::version};
use contract::schema::{SchemaBundle, SchemaVersion, UnknownFields};
use proptest::prelude::*;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::{path::Path, sync::OnceLock};

/// Dice that a failing test can make smaller: bytes, then zeros.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % sides.max(1)
    }

    fn pick<'v>(&mut self, values: &'v [Value]) -> &'v Value {
        &values[self.roll(values.len())]
    }
}

fn theirs(contract: &Contract, text: &str) -> Result<(), serde_json::Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(contract.rules.reject_unknown);
    let mut json = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize_with_options(contract.message.clone(), &mut json, &options)?;
    json.end()
}

fn ours(contract: &Contract, text: &str) -> Result<(), String> {
    let Err(mut error) = contract.check("application/json", text.as_bytes(), NOW) else {
        return Ok(());
    };
    if !contract.rules.reject_unknown && !error.violations.is_empty() {
        error.violations.retain(|found| found.rule != "enum");
        if error.violations.is_empty() {
            return Ok(());
        }
    }
    Err(format!("{error:?}"))
}

#[track_caller]
fn agree(contract: &Contract, text: &str) {
    let (ours, theirs) = (ours(contract, text), theirs(contract, text));
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{text}\nours: {ours:?}\ntheirs: {theirs:?}");
}

/// Values that fit somewhere and not elsewhere.
fn odd_values() -> Vec<Value> {
    let values: Vec<Value> =
        serde_json::from_str(include_str!("../../test-data/odd-values.json")).unwrap();
    let excepted = [json!("2026-01-02T03:04:60Z"), json!("1e5"), json!("-0")];
    values.into_iter().filter(|value| !excepted.contains(value)).collect()
}

/// Is it of a type where `{}` is judged differently?
fn is_any(field: &FieldDescriptor) -> bool {
    field.kind().as_message().is_some_and(|of| of.full_name() == "google.protobuf.Any")
}

/// A message that mostly fits.
fn message(
    descriptor: &MessageDescriptor,
    dice: &mut Dice<'_>,
    odd: &[Value],
    depth: usize,
) -> Value {
    let mut object = Map::new();
    for field in descriptor.fields() {
        if dice.roll(4) != 0 {
            continue;
        }
        let key = if dice.roll(2) == 0 { field.json_name() } else { field.name() };
        let value = match dice.roll(24) {
            7 if field.name() != "empty" && !is_any(&field) => dice.pick(odd).clone(),
            _ => field_value(&field, dice, odd, depth),
        };
        let null_list = field.is_list() && value.is_null();
        object.insert(key.to_owned(), if null_list { json!([]) } else { value });
    }
    if dice.roll(16) == 1 && descriptor.full_name() != "google.protobuf.Empty" {
        object.insert("unheard_of".to_owned(), dice.pick(odd).clone());
    }
    Value::Object(object)
}

fn field_value(field: &FieldDescriptor, dice: &mut Dice<'_>, odd: &[Value], depth: usize) -> Value {
    let kind = field.kind();
    if let (true, Kind::Message(entry)) = (field.is_map(), &kind) {
        let keys = match entry.map_entry_key_field().kind() {
            Kind::String => ["a", "b c", ""],
            Kind::Bool => ["true", "false", "1"],
            _ => ["1", "-1", "x"],
        };
        let value = entry.map_entry_value_field();
        let count = dice.roll(3);
        let member = |key: &&str| ((*key).to_owned(), field_value(&value, dice, odd, depth));
        return Value::Object(keys[..count].iter().map(member).collect());
    }
    if field.is_list() {
        let count = dice.roll(3);
        return (0..count).map(|_| single(&kind, dice, odd, depth)).collect();
    }
    single(&kind, dice, odd, depth)
}

fn single(kind: &Kind, dice: &mut Dice<'_>, odd: &[Value], depth: usize) -> Value {
    match kind {
        Kind::Message(next) if next.full_name() == "google.protobuf.Empty" => json!({}),
        Kind::Message(next) if next.full_name().starts_with("google.protobuf.") => {
            well_known(next.name()).unwrap_or_else(|| dice.pick(odd).clone())
        }
        Kind::Message(_) if depth == 0 => json!({}),
        Kind::Message(next) => message(next, dice, odd, depth - 1),
        Kind::Bool => json!(dice.roll(2) == 0),
        Kind::String => json!("text"),
        Kind::Bytes => json!("YWJj"),
        Kind::Enum(_) => dice.pick(&[json!("RED"), json!(2), json!(9), json!("NONE")]).clone(),
        _ => dice.pick(&[json!(1), json!("7"), json!(0)]).clone(),
    }
}

/// A value that fits; None where every value does, or nearly.
fn well_known(name: &str) -> Option<Value> {
    Some(match name {
        "Timestamp" => json!("2026-01-02T03:04:05Z"),
        "Duration" => json!("1.5s"),
        "FieldMask" => json!("a.b,cD"),
        "Struct" => json!({"a": [1, null]}),
        "ListValue" => json!([1, {"a": "b"}]),
        "Any" => json!({"name": "x", "@type": "t/Inner"}),
        "Int64Value" => json!("7"),
        "StringValue" => json!("x"),
        "BoolValue" => json!(true),
        _ => return None,
    })
}

/// Changes a payload in a few places.
fn mutate(value: &mut Value, dice: &mut Dice<'_>, odd: &[Value]) {
    match value {
        Value::Object(object) if !object.is_empty() && dice.roll(8) != 7 => {
            let at = dice.roll(object.len());
            let key = object.keys().nth(at).cloned().unwrap();
            match dice.roll(6) {
                0 => _ = object.remove(&key),
                1 => _ = object.insert("unheard_of".to_owned(), dice.pick(odd).clone()),
                _ => mutate(&mut object[&key], dice, odd),
            }
        }
        Value::Array(values) if !values.is_empty() && dice.roll(4) != 3 => {
            let at = dice.roll(values.len());
            mutate(&mut values[at], dice, odd);
        }
        Value::Array(values) => values.push(dice.pick(odd).clone()),
        other => *other = dice.pick(odd).clone(),
    }
}

static EVERYTHING: OnceLock<[Contract; 2]> = OnceLock::new();
static CONTRACTS: OnceLock<Vec<(Contract, String)>> = OnceLock::new();

fn everything() -> [Contract; 2] {
    let text = include_str!("../../test-data/everything.proto");
    [UnknownFields::Ignore, UnknownFields::Reject].map(|of| contract_of("Everything", text, of))
}

/// The contracts that ship, each with its example payload, under both policies.
fn shipped_contracts() -> Vec<(Contract, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let mut contracts = Vec::new();
    for source in load(&dir, &Config::default()).unwrap() {
        let (namespace, name) = (source.uri.namespace(), source.uri.name());
        let example = dir.join(format!("examples/{namespace}/{name}.json"));
        let compiled = compile(&source, &Config::default()).unwrap();
        let Ok(example) = std::fs::read_to_string(&example) else { continue };
        for unknown_fields in [UnknownFields::Ignore, UnknownFields::Reject] {
            let message = compiled.message.clone();
            let version =
                SchemaVersion { message, unknown_fields, ..version(source.uri.as_str(), 0) };
            let (descriptor_set, files) = (compiled.descriptor_set.clone(), compiled.files.clone());
            let bundle = SchemaBundle { version, descriptor_set, files, example: None };
            contracts.push((Contract::new(&bundle, 100).unwrap(), example.clone()));
        }
    }
    contracts
}

#[test]
fn every_odd_value_in_every_field() {
    for contract in EVERYTHING.get_or_init(everything) {
        for field in contract.message.fields() {
            for value in odd_values() {
                let excepted = field.is_list() && value.is_null()
                    || field.name() == "empty"
                    || is_any(&field) && value == json!({});
                if !excepted {
                    agree(contract, &json!({ field.json_name(): value }).to_string());
                    agree(contract, &json!({ field.name(): [value] }).to_string());
                    agree(contract, &json!({ field.name(): {"a": value} }).to_string());
                    agree(contract, &json!({ field.name(): {"1": value} }).to_string());
                }
            }
        }
    }
}

#[test]
fn shipped_examples_keep_their_contracts() {
    let contracts = shipped_contracts();
    assert!(contracts.iter().any(|(contract, _)| contract.version.uri.as_str() == "github/1/push"));
    for (contract, example) in contracts {
        if !contract.rules.reject_unknown {
            let checked = contract.check("application/json", example.as_bytes(), NOW);
            assert_eq!(checked, Ok(()), "{}", contract.version.uri);
        }
        agree(&contract, &example);
    }
}

proptest! {
    #[test]
    fn random_payloads(dice in proptest::collection::vec(any::<u8>(), 0..400)) {
        for contract in EVERYTHING.get_or_init(everything) {
            let payload = message(&contract.message, &mut Dice(dice.iter()), &odd_values(), 3);
            agree(contract, &payload.to_string());
        }
    }

    #[test]
    fn mutated_real_payloads(dice in proptest::collection::vec(any::<u8>(), 1..200)) {
        let contracts = CONTRACTS.get_or_init(shipped_contracts);
        let mut dice = Dice(dice.iter());
        let (contract, example) = &contracts[dice.roll(contracts.len())];
        let mut payload = serde_json::from_str(example).unwrap();
        for _ in 0..=dice.roll(4) {
            mutate(&mut payload, &mut dice, &odd_values());
        }
        agree(contract, &payload.to_string());
    }

    #[test]
    fn no_bytes_break_the_checker(bytes: Vec<u8>, json in "[\\[\\]{}\",:0-9a-z@ ]{0,60}") {
        let [contract, _] = EVERYTHING.get_or_init(everything);
        for media in ["application/json", "application/protobuf", "application/x-www-form-urlencoded"] {
            drop(contract.check(media, &bytes, NOW));
            drop(contract.check(media, json.as_bytes(), NOW));
        }
    }
}
