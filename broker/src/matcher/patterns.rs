//! An index of patterns: those without `*` by their text, the others in a trie of segments.

use super::wanted::{Filed, Wanted};
use contract::uri::{EventPattern, EventUri, OWN_NAMESPACE};
use std::collections::HashMap;

/// Finds the subscriptions whose patterns select an event URI.
#[derive(Debug, Default)]
pub(super) struct PatternIndex {
    literal: HashMap<EventUri, Wanted>,
    wildcard: Node,
}

/// What follows after some segments of a pattern.
#[derive(Debug, Default)]
struct Node {
    /// Subscriptions with a pattern that ends here.
    ends: Wanted,
    named: HashMap<Box<str>, Node>,
    star: Option<Box<Node>>,
}

impl PatternIndex {
    /// Files a subscription under each of its patterns.
    pub fn insert(&mut self, patterns: &[EventPattern], filed: Filed<'_>) {
        for pattern in patterns {
            match pattern.literal() {
                Some(uri) => self.literal.entry(uri).or_default().insert(filed),
                None => self.wildcard.insert(pattern, filed),
            }
        }
    }

    /// Tells those of patterns that select `uri`; a subscription may be told several times.
    pub fn select(&self, uri: &EventUri, found: &mut impl FnMut(&Wanted)) {
        if let Some(wanted) = self.literal.get(uri) {
            found(wanted);
        }
        // The first `*` of a pattern never stands for the server's own namespace.
        let text = uri.as_str();
        let star_fits = text.split('/').next() != Some(OWN_NAMESPACE);
        self.wildcard.select(text, star_fits, found);
    }
}

impl Node {
    fn insert(&mut self, pattern: &EventPattern, filed: Filed<'_>) {
        let mut node = self;
        for segment in pattern.as_str().split('/') {
            node = match segment {
                "*" => node.star.get_or_insert_default(),
                named => node.named.entry(named.into()).or_default(),
            };
        }
        node.ends.insert(filed);
    }

    fn select(&self, rest: &str, star_fits: bool, found: &mut impl FnMut(&Wanted)) {
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        let star = self.star.as_deref().filter(|_| star_fits);
        for next in self.named.get(segment).into_iter().chain(star) {
            match rest {
                Some(rest) => next.select(rest, true, found),
                None => found(&next.ends),
            }
        }
    }
}
