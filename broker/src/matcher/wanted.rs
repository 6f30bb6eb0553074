//! Subscriptions with the same pattern, found by what their filters ask for.

use super::compiled::{Compiled, FilterId};
use contract::id::SubscriptionNumber;
use expression::{Filter, Path, Scalar, Subject};
use std::{collections::HashMap, sync::Arc};

/// A subscription and its filter; the filter itself is None if it cannot be compiled.
pub(super) type Filed<'f> = (SubscriptionNumber, Option<(FilterId, Option<&'f Arc<Filter>>)>);

/// Who wants events of one pattern.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Whatever the event says.
    always: Vec<SubscriptionNumber>,
    /// Only an event with that value in that place can be wanted by these filters.
    keyed: HashMap<Path, HashMap<Scalar, Vec<FilterId>>>,
    /// Filters that say nothing that a hash can find.
    others: Vec<FilterId>,
    by_filter: HashMap<FilterId, Vec<SubscriptionNumber>>,
}

impl Wanted {
    /// Files a subscription.
    pub fn insert(&mut self, (number, filter): Filed<'_>) {
        let Some((id, filter)) = filter else { return self.always.push(number) };
        let numbers = self.by_filter.entry(id).or_default();
        numbers.push(number);
        if numbers.len() > 1 {
            return;
        }
        match filter.and_then(|filter| filter.key()) {
            Some((path, values)) => {
                let by_value = self.keyed.entry(path.clone()).or_default();
                for value in values {
                    by_value.entry(value.clone()).or_default().push(id);
                }
            }
            None => self.others.push(id),
        }
    }
}

/// One event asks the filters, each at most once.
pub(super) struct Asking<'a> {
    compiled: &'a Compiled,
    subject: &'a Subject<'a>,
    answers: HashMap<FilterId, bool>,
    found: Vec<SubscriptionNumber>,
    failed: usize,
}

impl<'a> Asking<'a> {
    /// For one event.
    pub fn new(compiled: &'a Compiled, subject: &'a Subject<'a>) -> Self {
        Self { compiled, subject, answers: HashMap::new(), found: Vec::new(), failed: 0 }
    }

    /// Finds those of `wanted` that want it.
    pub fn ask(&mut self, wanted: &Wanted) {
        self.found.extend_from_slice(&wanted.always);
        let mut candidates = wanted.others.clone();
        for (path, by_value) in &wanted.keyed {
            let value = path.find(self.subject).and_then(|found| found.scalar());
            let fitting = value.and_then(|value| by_value.get(&value));
            candidates.extend(fitting.into_iter().flatten());
        }
        for id in candidates {
            if self.wants(id) {
                self.found.extend(wanted.by_filter.get(&id).into_iter().flatten());
            }
        }
    }

    /// The subscriptions in order, each once, and how many filters could not tell.
    pub fn answer(mut self) -> (Vec<SubscriptionNumber>, usize) {
        self.found.sort_unstable();
        self.found.dedup();
        (self.found, self.failed)
    }

    fn wants(&mut self, id: FilterId) -> bool {
        if let Some(wants) = self.answers.get(&id) {
            return *wants;
        }
        let asked = self.compiled.get(id).map(|filter| filter.matches(self.subject));
        let wants = matches!(asked, Some(Ok(true)));
        if !matches!(asked, Some(Ok(_))) {
            self.failed += 1;
        }
        if let Some(Err(why)) = asked {
            tracing::debug!(%why, "a filter cannot tell");
        }
        self.answers.insert(id, wants);
        wants
    }
}
