//! The files of all schemas that are published together, for what one of them lacks.

use super::{Budget, check_path, check_text, invalid};
use contract::{Error, schema::SchemaSource};
use protox::file::{File, FileResolver};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Files by path, as far as the schemas agree about them.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    sources: Vec<SchemaSource>,
    /// Where a path's text is: which schema, which of its files. None: there are several texts.
    places: BTreeMap<String, Option<(usize, usize)>>,
}

impl Neighbours {
    /// All files of these schemas.
    pub(crate) fn new(sources: Vec<SchemaSource>) -> Self {
        let mut places = BTreeMap::new();
        // One schema has no neighbours.
        let several = if sources.len() > 1 { sources.as_slice() } else { &[] };
        for (at, source) in several.iter().enumerate() {
            for (file_at, file) in source.files.iter().enumerate() {
                let place = places.entry(file.path.clone()).or_insert(Some((at, file_at)));
                let same = place.is_none_or(|place| text_at(&sources, place) == file.text);
                if !same {
                    *place = None;
                }
            }
        }
        Self { sources, places }
    }

    /// The schemas.
    pub(crate) fn sources(&self) -> &[SchemaSource] {
        &self.sources
    }

    /// The text of a file that the schemas agree about.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.places.get(path).copied().flatten().map(|place| text_at(&self.sources, place))
    }
}

fn text_at(sources: &[SchemaSource], (source, file): (usize, usize)) -> &str {
    sources.get(source).and_then(|source| source.files.get(file)).map_or("", |file| &file.text)
}

/// What the compiler asks when a schema lacks a file.
pub(super) struct Asked {
    neighbours: Arc<Neighbours>,
    /// What the files of the schema itself have left.
    budget: Mutex<Budget>,
    /// What is to be said instead of that a file is missing.
    refusal: Arc<Mutex<Option<Error>>>,
}

impl Asked {
    /// The resolver, and what says afterwards why it failed.
    pub(super) fn new(
        neighbours: &Arc<Neighbours>,
        budget: Budget,
    ) -> (Self, impl Fn(Error) -> Error + use<>) {
        let refusal = Arc::new(Mutex::new(None));
        let asked = Self {
            neighbours: Arc::clone(neighbours),
            budget: Mutex::new(budget),
            refusal: Arc::clone(&refusal),
        };
        let explain = move |error: Error| {
            refusal.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(error)
        };
        (asked, explain)
    }

    fn refuse(&self, error: Error) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Can the text be given to the compiler? What else is wrong with it is said of the schema that
    /// came with it.
    fn is_fine(&self, name: &str, text: &str) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        match check_path(name).and_then(|()| check_text(name, text, &mut budget)) {
            Ok(()) => true,
            Err(error) => {
                if budget.is_spent {
                    self.refuse(error);
                }
                false
            }
        }
    }
}

impl FileResolver for Asked {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if self.neighbours.places.get(name) == Some(&None) {
            self.refuse(invalid(format!(
                "`{name}` has several texts among the schemas that are published with this one: \
                 give the right one with it"
            )));
        }
        match self.neighbours.text(name).filter(|text| self.is_fine(name, text)) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, compile::compile_among, testing::source};

    fn compiled(sources: Vec<SchemaSource>) -> Vec<Result<Vec<String>, String>> {
        let neighbours = Arc::new(Neighbours::new(sources));
        let one = |source| {
            let compiled = compile_among(source, &neighbours, &Config::default());
            let paths = |file: contract::schema::ProtoFile| file.path;
            compiled
                .map(|compiled| compiled.files.into_iter().map(paths).collect())
                .map_err(|error| error.message)
        };
        neighbours.sources().iter().map(one).collect()
    }

    const PAID: &str =
        "syntax = 'proto3'; import 'shop/money.proto'; message Paid { Money m = 1; }";
    const MONEY: &str = "syntax = 'proto3'; message Money {}";

    #[test]
    fn what_one_lacks_is_found_among_the_others() {
        let paid = source("shop/1/paid", &[("shop/1/paid.proto", PAID)]);
        let other = source("shop/1/money", &[("shop/money.proto", MONEY)]);
        let files = |paths: &[&str]| Ok(paths.iter().map(|path| (*path).to_owned()).collect());
        assert_eq!(
            compiled(vec![paid.clone(), other]),
            [files(&["shop/1/paid.proto", "shop/money.proto"]), files(&["shop/money.proto"])]
        );
        let alone = compiled(vec![paid]).remove(0).unwrap_err();
        assert!(alone.contains("shop/money.proto"), "{alone}");
    }

    #[test]
    fn own_files_go_first_and_nobody_guesses() {
        let wider = "syntax = 'proto3'; message Money { int64 cents = 1; }";
        let with = |text| source("a/1/x", &[("a/1/x.proto", PAID), ("shop/money.proto", text)]);
        let lacking = source("b/1/y", &[("b/1/y.proto", PAID)]);
        let verdicts = compiled(vec![with(MONEY), with(wider), lacking]);
        assert!(verdicts[0].is_ok() && verdicts[1].is_ok(), "{verdicts:?}");
        let error = verdicts[2].as_ref().unwrap_err();
        assert!(error.contains("`shop/money.proto` has several texts"), "{error}");
    }

    #[test]
    fn a_broken_neighbour_is_not_parsed_for_others() {
        let deep = format!("syntax = 'proto3'; {}", "message A { ".repeat(100));
        let bad = source("b/1/y", &[("shop/money.proto", &deep)]);
        let verdicts = compiled(vec![source("a/1/x", &[("a/1/x.proto", PAID)]), bad]);
        assert!(verdicts[0].as_ref().unwrap_err().contains("not found"), "{verdicts:?}");
        assert!(verdicts[1].as_ref().unwrap_err().contains("brackets"), "{verdicts:?}");
    }
}
