//! Walks JSON beside the message types. It builds nothing, and a fault does not stop it: the walk
//! notes it, skips the value and goes on, so that a sender learns of all faults at once.

mod object;

pub(super) use self::object::unknown_field;

use super::{
    Strictness, any, built,
    report::{Fault, Place, Report},
    rules::{FieldRules, ValueRules},
    scalar::{self, Scalar},
    shape::{Count, FieldShape, Kind, MessageShape, Shapes},
    whole,
};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Checks a payload against `root`. An error means that it is not JSON.
pub(super) fn check(
    shapes: &Shapes,
    root: Kind,
    text: &str,
    rules: Strictness,
) -> serde_json::Result<Report> {
    let (report, seen) = (Report::default(), Vec::new());
    let mut walk = Walk { shapes, rules, report, seen, anys: 0, muted: 0, built: false };
    let node = Node { walk: &mut walk, wants: Wants::Element(root), place: &Place::ROOT, depth: 0 };
    let mut json = serde_json::Deserializer::from_str(text);
    node.deserialize(&mut json)?;
    json.end()?;
    Ok(walk.report)
}

/// What one check carries along.
#[derive(Debug)]
pub(super) struct Walk<'s> {
    pub shapes: &'s Shapes,
    pub rules: Strictness,
    pub report: Report,
    /// For each message that is open, a bit for each field and each oneof that was seen.
    seen: Vec<u64>,
    /// How many `Any` are open.
    pub anys: usize,
    /// How many values are open whose rules do not count.
    pub muted: usize,
    /// Will a message around this place be built and checked?
    pub built: bool,
}

/// What the contract wants at a place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wants<'s> {
    /// The value of a field; null means that it is not set.
    Field(&'s FieldShape),
    /// An element of a list, a value of a map, or the whole payload.
    Element(Kind),
    /// An element or a value that must keep rules.
    Ruled(Kind, &'s ValueRules),
    /// Nothing: a field that is unknown and passes.
    Whatever,
}

/// The rule that something must be there.
const REQUIRED: (&str, &str) = ("required", "a value");

impl<'s> Wants<'s> {
    const fn each(kind: Kind, rules: &'s Option<Box<FieldRules>>) -> Self {
        match rules {
            Some(rules) => Self::Ruled(kind, &rules.value),
            None => Self::Element(kind),
        }
    }

    /// 1 if no rule below counts.
    fn muted(self) -> usize {
        usize::from(matches!(self, Self::Ruled(_, rules) if rules.ignored))
    }
}

/// One value of the payload. Reading it answers whether it sets the field (null may not).
pub(super) struct Node<'w, 's, 'p> {
    pub walk: &'w mut Walk<'s>,
    pub wants: Wants<'s>,
    pub place: &'p Place<'p>,
    /// Objects and lists around it.
    pub depth: usize,
}

impl Walk<'_> {
    /// Sets a bit of the message that is open; was it set before?
    fn mark(&mut self, base: usize, bit: usize) -> bool {
        let Some(word) = self.seen.get_mut(base + bit / 64) else { return false };
        let before = *word;
        *word |= 1 << (bit % 64);
        before == *word
    }

    fn is_marked(&self, base: usize, bit: usize) -> bool {
        self.seen.get(base + bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// May an object or a list be opened here? False, with a note, if it lies too deep.
    pub(super) fn may_open(&mut self, place: &Place<'_>, depth: usize) -> bool {
        let depth_max = self.rules.depth_max;
        if depth < depth_max {
            return true;
        }
        let expected = format!("at most {depth_max} objects and lists inside each other");
        self.report.add(place, Fault { rule: "depth", expected, found: "more".to_owned() });
        false
    }

    /// Checks a value, or the key of a map, against its rules.
    fn keep(
        &mut self,
        place: &Place<'_>,
        rules: &ValueRules,
        required: bool,
        (kind, value): (Kind, Scalar<'_>),
    ) {
        if self.muted > 0 || rules.ignored || rules.built_only {
            return;
        }
        let (shapes, now) = (self.shapes, self.rules.now);
        scalar::with_operand(kind, value, shapes, |operand| {
            if required && operand.is_zero() {
                return broken(self, place, REQUIRED, &value);
            }
            for rule in rules.broken(operand, now) {
                broken(self, place, (&rule.id, &rule.expected), &value);
            }
        });
    }

    /// Checks how many elements or pairs there are.
    fn count(&mut self, place: &Place<'_>, rules: &FieldRules, count: usize) {
        if self.muted > 0 || rules.ignored {
            return;
        }
        if count == 0 && rules.required {
            return broken(self, place, REQUIRED, &"none");
        }
        for rule in rules.miscounted(count) {
            broken(self, place, (&rule.id, &rule.expected), &count);
        }
    }

    /// Checks a field that is not set: without presence it reads as zero.
    fn absent(&mut self, place: &Place<'_>, field: &FieldShape, found: &str) {
        let Some(rules) = &field.rules else { return };
        if self.muted > 0 || rules.ignored || field.required {
            return;
        }
        if rules.required {
            return broken(self, place, REQUIRED, &found);
        }
        if rules.presence || rules.zero_passes {
            return;
        }
        if field.count != Count::One {
            return self.count(place, rules, 0);
        }
        let Some(zero) = scalar::zero(field.kind) else { return };
        for rule in rules.value.broken(zero, self.rules.now) {
            broken(self, place, (&rule.id, &rule.expected), &found);
        }
    }

    fn duplicate(&mut self, place: &Place<'_>) {
        let (expected, found) = ("a key that comes once".to_owned(), "it again".to_owned());
        self.report.add(place, Fault { rule: "duplicate_key", expected, found });
    }
}

impl<'s> Node<'_, 's, '_> {
    pub(super) fn scalar(self, value: Scalar<'_>) -> bool {
        let kind = match (self.wants, value) {
            (Wants::Whatever, _) => return true,
            (Wants::Field(field), Scalar::Null) if field.count != Count::One => return false,
            (Wants::Field(field), Scalar::Null) => match field.kind {
                Kind::Value | Kind::Null => return true,
                _ => return false,
            },
            (Wants::Field(field), _) if field.count != Count::One => {
                self.wrong(value.to_string());
                return true;
            }
            (Wants::Field(field), _) => field.kind,
            (Wants::Element(kind) | Wants::Ruled(kind, _), _) => kind,
        };
        if let Some(fault) = scalar::fault(kind, value, self.walk.shapes) {
            self.walk.report.add(self.place, fault);
            return true;
        }
        match self.wants {
            Wants::Field(FieldShape { rules: Some(rules), .. }) => {
                let required = rules.required && !rules.presence;
                self.walk.keep(self.place, &rules.value, required, (kind, value));
            }
            Wants::Ruled(_, rules) => self.walk.keep(self.place, rules, false, (kind, value)),
            _ => {}
        }
        true
    }

    /// Notes that the value is of another type altogether.
    pub(super) fn wrong(self, found: String) {
        let expected = match self.wants {
            Wants::Field(FieldShape { count: Count::List, .. }) => "a list".to_owned(),
            Wants::Field(FieldShape { count: Count::Map(_), .. }) => "an object".to_owned(),
            Wants::Field(field) => scalar::expected(field.kind, self.walk.shapes),
            Wants::Element(kind) | Wants::Ruled(kind, _) => {
                scalar::expected(kind, self.walk.shapes)
            }
            Wants::Whatever => return,
        };
        self.walk.report.add(self.place, Fault { rule: "type", expected, found });
    }

    /// The shape of a message that must be built to be checked, unless one around it is.
    fn to_be_built(&self) -> Option<&'s MessageShape> {
        let Kind::Message(index) = self.single()? else { return None };
        let shape = self.walk.shapes.message(index)?;
        (shape.rules.is_some() && !self.walk.built && self.walk.muted == 0).then_some(shape)
    }

    /// The type of a value that is neither a list nor a map; None: those are wanted, or nothing.
    const fn single(&self) -> Option<Kind> {
        match self.wants {
            Wants::Field(FieldShape { count: Count::One, kind, .. }) => Some(*kind),
            Wants::Element(kind) | Wants::Ruled(kind, _) => Some(kind),
            Wants::Field(_) | Wants::Whatever => None,
        }
    }

    /// What the elements of a list must be; None: no list may be here.
    const fn elements(&self) -> Option<Wants<'s>> {
        match self.wants {
            Wants::Whatever => Some(Wants::Whatever),
            Wants::Field(FieldShape { count: Count::List, kind, rules, .. }) => {
                Some(Wants::each(*kind, rules))
            }
            _ => match self.single() {
                Some(Kind::Value | Kind::List) => Some(Wants::Element(Kind::Value)),
                _ => None,
            },
        }
    }

    /// What the members of an object must be, unless it is a message; None: no object may be here.
    fn members(&self) -> Option<Members<'s>> {
        match self.wants {
            Wants::Whatever => Some(Members::Map(None, Wants::Whatever)),
            Wants::Field(FieldShape { count: Count::Map(key), kind, rules, .. }) => {
                Some(Members::Map(Some(*key), Wants::each(*kind, rules)))
            }
            _ => match self.single()? {
                Kind::Value | Kind::Struct => {
                    Some(Members::Map(Some(Kind::String), Wants::Element(Kind::Value)))
                }
                Kind::Message(index) => self.walk.shapes.message(index).map(Members::Fields),
                _ => None,
            },
        }
    }
}

fn broken(walk: &mut Walk<'_>, place: &Place<'_>, rule: (&str, &str), found: &dyn fmt::Display) {
    let (rule, expected) = (rule.0, rule.1.to_owned());
    walk.report.add_broken(place, Fault { rule, expected, found: found.to_string() });
}

enum Members<'s> {
    Fields(&'s MessageShape),
    Map(Option<Kind>, Wants<'s>),
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.single() == Some(Kind::Any) {
            return any::read(self, deserializer);
        }
        if self.single().is_some_and(Kind::is_whole) {
            return whole::read(self, deserializer);
        }
        if self.walk.shapes.built
            && let Some(shape) = self.to_be_built()
        {
            return built::read(self, shape, deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(self.scalar(Scalar::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(self.scalar(Scalar::Bool(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        Ok(self.scalar(Scalar::Unsigned(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        Ok(self.scalar(Scalar::Signed(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        Ok(self.scalar(Scalar::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        Ok(self.scalar(Scalar::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let wants = self.elements();
        let Some(wants) = wants.filter(|_| self.walk.may_open(self.place, self.depth)) else {
            if wants.is_none() {
                self.wrong("a list".to_owned());
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(true);
        };
        let rules = self.field_rules();
        let Node { walk, place, depth, .. } = self;
        let muted = wants.muted();
        walk.muted += muted;
        let mut index = 0;
        loop {
            let place = place.index(index);
            let node = Node { walk: &mut *walk, wants, place: &place, depth: depth + 1 };
            if list.next_element_seed(node)?.is_none() {
                break;
            }
            index += 1;
        }
        walk.muted -= muted;
        if let Some(rules) = rules {
            walk.count(place, rules, index);
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let members = self.members();
        let fits = members.is_some();
        match members.filter(|_| self.walk.may_open(self.place, self.depth)) {
            Some(Members::Fields(shape)) => self.message(map, shape, false)?,
            Some(Members::Map(key_kind, wants)) => self.map(map, key_kind, wants)?,
            None => {
                if !fits {
                    self.wrong("an object".to_owned());
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        Ok(true)
    }
}
