//! The filters of all subscriptions, each source compiled once, and kept from one version of the
//! rules to the next.

use expression::{Filter, Program, Purpose};
use std::{collections::HashMap, sync::Arc};

/// A filter of a [`Compiled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FilterId(u32);

/// A source that cannot be compiled has None: Master API takes none such, but an older program
/// may have taken what this one refuses.
type Sourced<T> = HashMap<Arc<str>, Option<Arc<T>>>;

/// What was compiled from sources.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    ids: HashMap<Arc<str>, FilterId>,
    filters: Vec<Option<Arc<Filter>>>,
    keys: Sourced<Program>,
    before: Before,
}

#[derive(Debug, Default)]
struct Before {
    filters: Sourced<Filter>,
    keys: Sourced<Program>,
}

impl Compiled {
    /// An empty one that need not compile what `before` has.
    pub fn after(before: Option<&Self>) -> Self {
        let Some(before) = before else { return Self::default() };
        let filter =
            |(source, id): (&Arc<str>, &FilterId)| (Arc::clone(source), before.get(*id).cloned());
        let filters = before.ids.iter().map(filter).collect();
        Self { before: Before { filters, keys: before.keys.clone() }, ..Self::default() }
    }

    /// The filter of a source.
    pub fn filter(&mut self, source: &str) -> FilterId {
        if let Some(id) = self.ids.get(source) {
            return *id;
        }
        let filter = match self.before.filters.get(source) {
            Some(filter) => filter.clone(),
            None => usable(source, Filter::compile(source)),
        };
        let id = FilterId(u32::try_from(self.filters.len()).unwrap_or(u32::MAX));
        self.filters.push(filter);
        self.ids.insert(source.into(), id);
        id
    }

    /// What gives the key of a source.
    pub fn key(&mut self, source: &str) -> Option<Arc<Program>> {
        if let Some(program) = self.keys.get(source) {
            return program.clone();
        }
        let program = match self.before.keys.get(source) {
            Some(program) => program.clone(),
            None => usable(source, Program::compile(source, Purpose::Key)),
        };
        self.keys.insert(source.into(), program.clone());
        program
    }

    /// A filter by id; None: its source cannot be compiled.
    pub fn get(&self, id: FilterId) -> Option<&Arc<Filter>> {
        self.filters.get(usize::try_from(id.0).ok()?)?.as_ref()
    }

    /// Lets go what only others had.
    pub fn forget_before(&mut self) {
        self.before = Before::default();
    }
}

fn usable<T>(source: &str, compiled: Result<T, expression::Refused>) -> Option<Arc<T>> {
    if let Err(why) = &compiled {
        tracing::error!(source, %why, "an expression of a subscription cannot be compiled");
    }
    compiled.ok().map(Arc::new)
}
