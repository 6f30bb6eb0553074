//! Compares what `buf.validate` options ask for, beyond the types.

use super::{Findings, Rule};
use crate::validate::{Shift, Sides};
use prost_reflect::MessageDescriptor;

impl Findings {
    /// The rules of messages that belong together, of their fields and of their oneofs.
    pub(super) fn rules(
        &mut self,
        sides: &Sides,
        (old, new): &(MessageDescriptor, MessageDescriptor),
    ) {
        self.shift(old.full_name(), "message", sides.messages(old, new));
        for field in new.fields() {
            let before = old.get_field(field.number());
            let path = before.as_ref().unwrap_or(&field).full_name();
            let shift = match &before {
                Some(before) => sides.fields(before, &field),
                None => sides.added(&field),
            };
            self.shift(path, "field", shift);
        }
    }

    fn shift(&mut self, path: &str, what: &str, shift: Result<Shift, String>) {
        let Shift { added, dropped } = match shift {
            Ok(shift) => shift,
            Err(refusal) => {
                let text = format!("the rules of {what} `{path}` cannot be compared: {refusal}");
                return self.add(Rule::RulesChanged, path, text);
            }
        };
        let (now, before) = (added.join(", "), dropped.join(", "));
        let (rule, text) = match (added.is_empty(), dropped.is_empty()) {
            (true, true) => return,
            (false, true) => (Rule::RulesTightened, format!("asks for more: {now}")),
            (true, false) => (Rule::RulesLoosened, format!("no longer asks for {before}")),
            (false, false) => {
                (Rule::RulesChanged, format!("asks for {now}; it asked for {before}"))
            }
        };
        self.add(rule, path, format!("{what} `{path}` {text}"));
    }
}

#[cfg(test)]
mod tests;
