//! Makes an example payload from a contract alone: every field once, with a value that keeps it.

mod plain;

use crate::{
    Config,
    stack::on_a_large_stack,
    validate::{Contract, FieldRules, Literal, Sampler, ValueRules},
};
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    schema::{SchemaBundle, Violation},
};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashSet};

/// Messages inside each other.
const DEPTH_MAX: usize = 8;
/// Values of a whole payload, messages included. When they are used up, no further message is made.
const VALUES_MAX: usize = 2_000;
/// Elements of a list, or pairs of a map, that are made because a rule asks for them.
const COUNT_MAX: usize = 100;

/// How fields are named in a skeleton; all readers take both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldNames {
    /// As in the `.proto` file, which is how third parties write what their contracts describe; a
    /// `json_name` goes before it.
    #[default]
    Proto,
    /// As the JSON mapping of protobuf derives them, as in `createdAt`.
    CamelCase,
}

impl FieldNames {
    fn of(self, field: &FieldDescriptor) -> &str {
        let is_given = field.json_name() != plain::camel_case(field.name());
        match self {
            Self::Proto if !is_given => field.name(),
            Self::Proto | Self::CamelCase => field.json_name(),
        }
    }
}

/// An example payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Skeleton {
    /// In JSON.
    pub payload: Value,
    /// Where no value was found that keeps the contract, as for a rule in CEL over several fields:
    /// there the payload is to be changed by hand.
    pub broken: Vec<Violation>,
    /// Full names of messages of which some, or some elements, are left out because the payload
    /// would have more than 2,000 values.
    pub left_out: BTreeSet<String>,
}

/// A payload in JSON with every field of the contract's message; of a oneof, or of fields that
/// exclude each other, the first. Messages that hold themselves are left out where they come round
/// again, and all further ones after 2,000 values. `now` is for rules about the time. Errors:
/// `internal` when the bundle is not what a registry gives out.
pub fn skeleton(bundle: &SchemaBundle, names: FieldNames, now: Timestamp) -> Result<Skeleton> {
    of_contract(&Contract::new(bundle, Config::default().payload_depth())?, names, now)
}

/// The same of a contract that is compiled.
pub(crate) fn of_contract(
    contract: &Contract,
    names: FieldNames,
    now: Timestamp,
) -> Result<Skeleton> {
    let (uri, message) = (&contract.version().uri, contract.message());
    let (payload, left_out) = on_a_large_stack(|| {
        let sampler = Sampler::new(message.parent_pool(), i128::from(now.0) * 1_000);
        let (above, left_out) = (Vec::new(), BTreeSet::new());
        let mut maker = Maker { sampler, names, above, values_left: VALUES_MAX, left_out };
        let made = maker.message(message);
        let made =
            made.map_err(|error| Error::internal(format!("the bundle of {uri}: {error}")))?;
        Ok((made, maker.left_out))
    })?;
    let payload = payload.unwrap_or_else(|| json!({}));
    match contract.check("application/json", payload.to_string().as_bytes(), now) {
        Ok(()) => Ok(Skeleton { payload, broken: Vec::new(), left_out }),
        Err(error) if error.code == ErrorCode::ContractViolation => {
            Ok(Skeleton { payload, broken: error.violations, left_out })
        }
        Err(error) => Err(error),
    }
}

struct Maker {
    sampler: Sampler,
    names: FieldNames,
    /// Full names of the messages around.
    above: Vec<String>,
    /// How many more may be made.
    values_left: usize,
    /// Messages that were one value too many.
    left_out: BTreeSet<String>,
}

/// None: nothing sensible can be shown. An error is about a rule that cannot be read.
type Made<T> = std::result::Result<T, String>;

impl Maker {
    /// A message; None where it would come round again, lack what it needs, or be a value too many.
    fn message(&mut self, message: &MessageDescriptor) -> Made<Option<Value>> {
        let name = message.full_name();
        if let Some(value) = plain::well_known(name) {
            return Ok(value);
        }
        if self.above.len() >= DEPTH_MAX || self.above.iter().any(|outer| outer == name) {
            return Ok(None);
        }
        if self.values_left == 0 {
            self.left_out.insert(name.to_owned());
            return Ok(None);
        }
        self.take(1);
        self.above.push(name.to_owned());
        let made = self.fields(message);
        self.above.pop();
        made
    }

    fn fields(&mut self, message: &MessageDescriptor) -> Made<Option<Value>> {
        let mut object = Map::new();
        let groups = self.sampler.groups(message)?;
        // Of these no other field can be shown.
        let mut excluded = HashSet::new();
        for field in message.fields().filter(|field| field.number() > 0) {
            if excluded.contains(&field.number()) {
                continue;
            }
            let rules = self.sampler.rules(&field)?;
            match self.field(&field, &rules)? {
                Some(value) => _ = object.insert(self.names.of(&field).to_owned(), value),
                // Without this one the whole message would not keep its contract. Where nothing is
                // left for it, what is there is shown all the same.
                None if self.values_left > 0 && is_needed(&field, &rules) => return Ok(None),
                None => continue,
            }
            let oneof = field.containing_oneof();
            excluded.extend(oneof.iter().flat_map(|of| of.fields()).map(|other| other.number()));
            let around = groups.iter().filter(|group| group.contains(&field.number()));
            excluded.extend(around.flatten());
        }
        Ok(Some(Value::Object(object)))
    }

    fn field(&mut self, field: &FieldDescriptor, rules: &FieldRules) -> Made<Option<Value>> {
        let count = count_of(rules);
        if let (true, Some(entry)) = (field.is_map(), field.kind().as_message()) {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let keys = plain::guesses(&key.kind(), "key");
            let keys = self.literals(&key.kind(), None, &rules.keys, (keys, count));
            let values = self.values(&value.kind(), value.name(), (None, &rules.value), count)?;
            let keys: Vec<_> = keys.iter().take(count).map(plain::key_text).collect();
            let values = self.repeated(&values, keys.len(), &value.kind());
            let pairs: Map<_, _> = keys.into_iter().zip(values).collect();
            return Ok((count == 0 || !pairs.is_empty()).then_some(Value::Object(pairs)));
        }
        if field.is_list() {
            let mut values =
                self.values(&field.kind(), field.name(), (None, &rules.value), count)?;
            if !rules.unique && !values.is_empty() {
                values = self.repeated(&values, count, &field.kind());
            }
            return Ok((count == 0 || !values.is_empty()).then_some(Value::Array(values)));
        }
        let values = self.values(&field.kind(), field.name(), (Some(rules), &rules.value), 1)?;
        Ok(values.into_iter().next())
    }

    /// So many values of a kind in turn, or as many as may still be made.
    fn repeated(&mut self, values: &[Value], count: usize, kind: &Kind) -> Vec<Value> {
        let mut made: Vec<_> = values.iter().take(count).cloned().collect();
        for value in values.iter().cycle().take(count).skip(made.len()) {
            let size = size(value);
            // Single values are few: they come without others inside.
            if let (true, Kind::Message(message)) = (size > self.values_left, kind) {
                self.left_out.insert(message.full_name().to_owned());
                break;
            }
            self.take(size);
            made.push(value.clone());
        }
        made
    }

    fn take(&mut self, values: usize) {
        self.values_left = self.values_left.saturating_sub(values);
    }

    /// At most `count` different values of a kind; one at least, unless nothing can be shown.
    fn values(
        &mut self,
        kind: &Kind,
        name: &str,
        (field, rules): (Option<&FieldRules>, &ValueRules),
        count: usize,
    ) -> Made<Vec<Value>> {
        let guesses = plain::guesses(kind, name);
        if !guesses.is_empty() {
            let literals = self.literals(kind, field, rules, (guesses, count));
            self.take(literals.len());
            return Ok(literals.iter().filter_map(|it| plain::json(kind, it)).collect());
        }
        match kind {
            Kind::Message(any) if any.full_name() == "google.protobuf.Any" => {
                let urls =
                    self.sampler.samples(field, rules, (kind, Vec::new(), COUNT_MAX), |_| None);
                let urls = urls.into_iter().filter_map(|url| match url {
                    Literal::Text(url) => Some(url),
                    _ => None,
                });
                let pool = any.parent_pool().clone();
                for url in urls {
                    let name = url.rsplit('/').next().unwrap_or("");
                    let Some(held) = pool.get_message_by_name(name) else { continue };
                    if let Some(Value::Object(mut object)) = self.message(&held)? {
                        object.insert("@type".to_owned(), json!(url));
                        return Ok(vec![Value::Object(object)]);
                    }
                }
                Ok(Vec::new())
            }
            Kind::Message(message) => Ok(self.message(message)?.into_iter().collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// Values that keep the rules; if there are none, the plainest, of which is told afterwards.
    fn literals(
        &self,
        kind: &Kind,
        field: Option<&FieldRules>,
        rules: &ValueRules,
        (guesses, count): (Vec<Literal>, usize),
    ) -> Vec<Literal> {
        let first = guesses.first().cloned();
        let to_value = |literal: &Literal| plain::value(kind, literal);
        let kept = self.sampler.samples(field, rules, (kind, guesses, count.max(1)), to_value);
        if kept.is_empty() { first.into_iter().collect() } else { kept }
    }
}

/// How many values a value is, with those inside of it.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum::<usize>(),
        _ => 0,
    }
}

/// How many elements or pairs to show: one, if the rules take that.
fn count_of(rules: &FieldRules) -> usize {
    let fits = |count: &usize| rules.takes(*count) && !(*count == 0 && rules.required);
    [1, 0].into_iter().chain(2..=COUNT_MAX).find(fits).unwrap_or(1)
}

fn is_needed(field: &FieldDescriptor, rules: &FieldRules) -> bool {
    let many = field.is_list() || field.is_map();
    field.cardinality() == Cardinality::Required
        || !rules.ignored && (rules.required || many && !rules.takes(0))
}

#[cfg(test)]
mod tests;
