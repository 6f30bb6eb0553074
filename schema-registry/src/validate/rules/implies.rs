//! When does keeping one standard rule mean keeping another one?

use super::{
    operand::Literal,
    rule::{Bound, Range, Rule, Test, is_below},
};

/// Formats that are narrower than another one.
const NARROWER: &[(&str, &str)] = &[
    ("string.ipv4", "string.ip"),
    ("string.ipv6", "string.ip"),
    ("string.ip", "string.address"),
    ("string.ipv4", "string.address"),
    ("string.ipv6", "string.address"),
    ("string.hostname", "string.address"),
    ("string.uri", "string.uri_ref"),
    ("string.ipv4_with_prefixlen", "string.ip_with_prefixlen"),
    ("string.ipv6_with_prefixlen", "string.ip_with_prefixlen"),
    ("string.ipv4_prefix", "string.ip_prefix"),
    ("string.ipv6_prefix", "string.ip_prefix"),
];

impl Rule {
    /// Does every value that keeps this rule keep the other one? False where that cannot be told.
    pub(super) fn implies(&self, other: &Self) -> bool {
        match (&self.test, &other.test) {
            // What is read from `defined_only` is what the enum says, which is compared elsewhere.
            (Test::Defined(_), Test::Defined(_))
            | (Test::Finite, Test::Finite)
            | (Test::BeforeNow, Test::BeforeNow)
            | (Test::AfterNow, Test::AfterNow) => true,
            (Test::OneOf(values), _) if !other.uses_now() => {
                values.iter().all(|value| other.holds(value.as_operand(), 0))
            }
            (_, Test::NoneOf(values)) if !self.uses_now() => {
                let named =
                    |value| matches!(&self.test, Test::NoneOf(held) if held.contains(value));
                let fits = |value: &Literal| !self.holds(value.as_operand(), 0);
                values.iter().all(|value| named(value) || fits(value))
            }
            (Test::Whole(range), Test::Whole(other)) => range.is_within(other),
            (Test::Real(range), Test::Real(other)) => range.is_within(other),
            (Test::NearNow(span), Test::NearNow(other)) => span <= other,
            (Test::Chars(range), Test::Chars(other))
            | (Test::Length(range), Test::Length(other)) => {
                other.start() <= range.start() && range.end() <= other.end()
            }
            (Test::LengthOneOf(lengths), Test::LengthOneOf(others)) => {
                lengths.iter().all(|length| others.contains(length))
            }
            (Test::Pattern(pattern), Test::Pattern(other)) => pattern.as_str() == other.as_str(),
            (Test::Prefix(part), Test::Prefix(_) | Test::Contains(_))
            | (Test::Suffix(part), Test::Suffix(_) | Test::Contains(_))
            | (Test::Contains(part), Test::Contains(_)) => other.holds(part.as_operand(), 0),
            (Test::NotContains(_), Test::NotContains(part)) => !self.holds(part.as_operand(), 0),
            (Test::Format(_), Test::Format(_)) => {
                self.id == other.id || NARROWER.contains(&(&*self.id, &*other.id))
            }
            (Test::Below(roots), Test::Below(others)) => {
                roots.iter().all(|root| is_below(root, others))
            }
            (Test::NotBelow(roots), Test::NotBelow(others)) => {
                others.iter().all(|root| is_below(root, roots))
            }
            _ => false,
        }
    }
}

impl<T: PartialOrd + Copy> Range<T> {
    /// Is everything in it in `outer`, too?
    fn is_within(&self, outer: &Self) -> bool {
        let reaches =
            |outer: Option<Bound<T>>, inner: Option<Bound<T>>, beyond: fn(&T, &T) -> bool| {
                let Some(outer) = outer else { return true };
                inner.is_some_and(|inner| {
                    beyond(&inner.at, &outer.at)
                        || inner.at == outer.at && (outer.inclusive || !inner.inclusive)
                })
            };
        self.parts().iter().flatten().all(|inner| {
            outer.parts().iter().flatten().any(|outer| {
                reaches(outer.low, inner.low, T::gt) && reaches(outer.high, inner.high, T::lt)
            })
        })
    }

    /// A range that is turned inside out is two.
    fn parts(&self) -> [Option<Self>; 2] {
        if self.is_outside() {
            let (low, high) = (self.low, self.high);
            [Some(Self { low: None, high }), Some(Self { low, high: None })]
        } else {
            [Some(*self), None]
        }
    }
}
