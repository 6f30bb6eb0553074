//! Compares two versions of a contract under a rulebook. Only the types that the contract's message
//! reaches count.
//!
//! Types are paired by their names, or, where names do not count, by the fields that lead to them.

mod rule;
mod field;
mod rules;
mod walk;

pub(crate) use rule::Rule;

use crate::{stack::on_a_large_stack, validate::Sides};
use contract::schema::{Difference, Rulebook, Verdict};
use field::Names;
use prost_reflect::{DescriptorPool, EnumDescriptor, MessageDescriptor};
use std::collections::BTreeSet;
use walk::Types;

/// A version of a contract as it is compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'a> {
    /// All its types.
    pub pool: &'a DescriptorPool,
    /// Full name of its message.
    pub message: &'a str,
}

impl Version<'_> {
    fn root(&self) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(self.message)
    }
}

/// All differences from `old` to `new`.
pub(crate) fn compare(old: Version<'_>, new: Version<'_>, rulebook: Rulebook) -> Vec<Difference> {
    let mut findings = Findings::new(rulebook);
    let (Some(was), Some(is)) = (old.root(), new.root()) else { return findings.found };
    let names = Names::between(&was, &is);
    findings.contract(&names, &was, &is);
    let (before, after) = (Types::reached(&was), Types::reached(&is));
    let mut met = Vec::new();
    if rulebook == Rulebook::Wire {
        let pairs = walk::pairs(&was, &is);
        pairs.messages.iter().for_each(|(old, new)| findings.messages(&names, old, new));
        pairs.enums.iter().for_each(|(old, new)| findings.enums(old, new));
        met = pairs.messages;
    } else {
        for message in before.messages.values() {
            let name = message.full_name();
            match new.pool.get_message_by_name(&names.now(name)) {
                Some(changed) => {
                    findings.messages(&names, message, &changed);
                    met.push((message.clone(), changed));
                }
                None => {
                    findings.add(
                        Rule::MessageRemoved,
                        name,
                        format!("message `{name}` was removed"),
                    );
                }
            }
        }
        for enumeration in before.enums.values() {
            let name = enumeration.full_name();
            match new.pool.get_enum_by_name(&names.now(name)) {
                Some(changed) => findings.enums(enumeration, &changed),
                None => findings.add(Rule::EnumRemoved, name, format!("enum `{name}` was removed")),
            }
        }
    }
    findings.added(&names, &before, &after);
    if let Some(sides) = Sides::of(old.pool, new.pool) {
        let compared = on_a_large_stack(|| {
            met.iter().for_each(|pair| findings.rules(&sides, pair));
            Ok(())
        });
        if let Err(error) = compared {
            findings.add(Rule::RulesChanged, was.full_name(), error.message);
        }
    }
    findings.found
}

/// The differences that were found so far, judged by a rulebook.
#[derive(Debug)]
pub(crate) struct Findings {
    rulebook: Rulebook,
    /// In the order in which they were found.
    pub found: Vec<Difference>,
}

impl Findings {
    pub(crate) const fn new(rulebook: Rulebook) -> Self {
        Self { rulebook, found: Vec::new() }
    }

    /// Adds a difference: where, and one sentence.
    pub(crate) fn add(&mut self, rule: Rule, path: &str, text: String) {
        let verdict = rule.verdict(self.rulebook);
        let (path, rule) = (path.to_owned(), rule.name().to_owned());
        self.found.push(Difference { path, rule, verdict, text });
    }

    fn contract(&mut self, names: &Names, old: &MessageDescriptor, new: &MessageDescriptor) {
        if let Some((was, is)) = names.packages() {
            let text = format!("the package is `{is}`; it was `{was}`");
            self.add(Rule::PackageChanged, was, text);
        }
        let (was, is) = (old.full_name(), new.full_name());
        if names.now(was) != is {
            let text = format!("the message of the contract is `{is}`; it was `{was}`");
            self.add(Rule::ContractMessageChanged, was, text);
        }
    }

    /// Types that are new in the contract.
    fn added(&mut self, names: &Names, before: &Types, after: &Types) {
        let known: BTreeSet<_> = before.messages.keys().map(|name| names.now(name)).collect();
        for name in after.messages.keys().filter(|name| !known.contains(*name)) {
            self.add(Rule::MessageAdded, name, format!("message `{name}` was added"));
        }
        let known: BTreeSet<_> = before.enums.keys().map(|name| names.now(name)).collect();
        for name in after.enums.keys().filter(|name| !known.contains(*name)) {
            self.add(Rule::EnumAdded, name, format!("enum `{name}` was added"));
        }
    }

    fn enums(&mut self, old: &EnumDescriptor, new: &EnumDescriptor) {
        let of = old.full_name();
        let mut met = BTreeSet::new();
        for value in old.values() {
            let (name, was) = (value.name(), value.number());
            met.insert(name.to_owned());
            let path = format!("{of}.{name}");
            let same_name = new.get_value_by_name(name).map(|value| value.number());
            let same_number = new.values().find(|value| {
                value.number() == was && old.get_value_by_name(value.name()).is_none()
            });
            match (same_name, same_number) {
                (Some(is), _) if is == was => {}
                (Some(is), _) => {
                    let text =
                        format!("value `{name}` of enum `{of}` has the number {is}; it was {was}");
                    self.add(Rule::EnumValueNumberChanged, &path, text);
                }
                (None, Some(value)) => {
                    let is = value.name();
                    met.insert(is.to_owned());
                    let text =
                        format!("value `{name}` ({was}) of enum `{of}` was renamed to `{is}`");
                    self.add(Rule::EnumValueRenamed, &path, text);
                }
                (None, None) => {
                    let text = format!("value `{name}` ({was}) of enum `{of}` was removed");
                    self.add(Rule::EnumValueRemoved, &path, text);
                }
            }
        }
        for value in new.values().filter(|value| !met.contains(value.name())) {
            let (name, number) = (value.name(), value.number());
            let text = format!("value `{name}` ({number}) was added to enum `{of}`");
            self.add(Rule::EnumValueAdded, &format!("{of}.{name}"), text);
        }
    }
}

/// Is there anything that breaks?
pub(crate) fn is_breaking(differences: &[Difference]) -> bool {
    differences.iter().any(|found| found.verdict == Verdict::Breaking)
}

#[cfg(test)]
mod tests;
