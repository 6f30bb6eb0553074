//! What the tests of this crate share: sources, versions, and rules that a test changes.

use crate::Metrics;
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    command::{Change, ChangeKind, Changeset, Command, Target},
    master_api::Configuration,
    rules::{Rules, RulesReceiver},
    schema::{ProtoFile, Rulebook, SchemaSource, SchemaVersion, UnknownFields},
    uri::EventUri,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// A schema whose entry is the first file.
pub(crate) fn source(uri: &str, files: &[(&str, &str)]) -> SchemaSource {
    let file = |(path, text): &(&str, &str)| ProtoFile {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    SchemaSource {
        uri: uri.parse().unwrap(),
        entry: files[0].0.to_owned(),
        files: files.iter().map(file).collect(),
        message: None,
        unknown_fields: None,
        rulebook: None,
        next_major: false,
        example: None,
        expected: None,
    }
}

pub(crate) fn version(uri: &str, minor: u32) -> SchemaVersion {
    SchemaVersion {
        uri: uri.parse().unwrap(),
        minor,
        message: "X".to_owned(),
        digest: [0; 32],
        unknown_fields: UnknownFields::Ignore,
        rulebook: Rulebook::default(),
        published_at: Timestamp(0),
    }
}

pub(crate) fn metrics() -> Metrics {
    Metrics::new(&mut prometheus_client::registry::Registry::default())
}

/// What happens between a plan and its command.
pub(crate) type Interruption = Box<dyn FnOnce(&FakeRules) + Send>;

/// Master API as far as schemas go: minor versions follow each other, or it is a conflict.
pub(crate) struct FakeRules {
    rules: watch::Sender<Arc<Rules>>,
    history: Mutex<BTreeMap<EventUri, Vec<SchemaVersion>>>,
    /// Runs once, before the next command: somebody else who is faster.
    pub before_next: Mutex<Option<Interruption>>,
}

impl FakeRules {
    pub(crate) fn new() -> Arc<Self> {
        let rules = watch::Sender::new(Arc::new(Rules::default()));
        Arc::new(Self { rules, history: Mutex::default(), before_next: Mutex::default() })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(|rules| {
            let rules = Arc::make_mut(rules);
            rules.sequence.0 += 1;
            change(rules);
        });
    }

    /// Takes a version as published, whatever came before.
    pub(crate) fn publish(&self, version: &SchemaVersion) {
        self.publish_all(std::slice::from_ref(version));
    }

    fn publish_all(&self, versions: &[SchemaVersion]) {
        for version in versions {
            let mut history = self.history.lock().unwrap();
            history.entry(version.uri.clone()).or_default().push(version.clone());
        }
        self.change(|rules| {
            for version in versions {
                rules.schemas.insert(version.uri.clone(), Arc::new(version.clone()));
            }
        });
    }

    fn versions(&self, uri: &EventUri) -> Vec<SchemaVersion> {
        self.history.lock().unwrap().get(uri).cloned().unwrap_or_default()
    }
}

fn change_of(kind: ChangeKind, uri: &EventUri) -> Change {
    Change { kind, noun: "schema".to_owned(), name: uri.to_string(), revealed: None, id: None }
}

#[async_trait]
impl Configuration for FakeRules {
    fn rules(&self) -> RulesReceiver {
        self.rules.subscribe()
    }

    async fn execute(&self, _actor: Actor, changes: Changeset) -> Result<Vec<Change>> {
        let before = self.before_next.lock().unwrap().take();
        if let Some(before) = before {
            before(self);
        }
        for command in &changes.commands {
            let Command::PublishSchema(version) = command else { continue };
            let next = self.versions(&version.uri).last().map_or(0, |last| last.minor + 1);
            if version.minor != next {
                return Err(Error::new(ErrorCode::Conflict, "not the next minor"));
            }
        }
        if let [Command::Remove(Target::Schema(uri))] = changes.commands.as_slice() {
            if !self.rules.borrow().schemas.contains_key(uri) {
                return Err(Error::new(ErrorCode::NotFound, "no such schema"));
            }
            self.change(|rules| _ = rules.schemas.remove(uri));
            return Ok(vec![change_of(ChangeKind::Removed, uri)]);
        }
        let version = |command: &Command| match command {
            Command::PublishSchema(version) => version.clone(),
            _ => panic!("unexpected {command:?}"),
        };
        let versions: Vec<_> = changes.commands.iter().map(version).collect();
        self.publish_all(&versions);
        Ok(versions.iter().map(|version| change_of(ChangeKind::Created, &version.uri)).collect())
    }

    async fn schema_versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        Ok(self.versions(uri))
    }
}
