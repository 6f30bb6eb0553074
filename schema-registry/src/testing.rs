//! What the tests of this crate share: sources, versions, and rules that a test changes.

use crate::Metrics;
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    command::{Change, ChangeKind, Changeset, Command},
    master_api::Configuration,
    rules::{Rules, RulesReceiver},
    schema::{ProtoFile, SchemaSource, SchemaVersion, UnknownFields},
};
use std::sync::{Arc, Mutex};
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
        unknown_fields: UnknownFields::Ignore,
    }
}

pub(crate) fn version(uri: &str, minor: u32) -> SchemaVersion {
    SchemaVersion {
        uri: uri.parse().unwrap(),
        minor,
        message: "X".to_owned(),
        digest: [0; 32],
        unknown_fields: UnknownFields::Ignore,
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
    /// Runs once, before the next command: somebody else who is faster.
    pub before_next: Mutex<Option<Interruption>>,
}

impl FakeRules {
    pub(crate) fn new() -> Arc<Self> {
        let rules = watch::Sender::new(Arc::new(Rules::default()));
        Arc::new(Self { rules, before_next: Mutex::default() })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(|rules| {
            let rules = Arc::make_mut(rules);
            rules.sequence.0 += 1;
            change(rules);
        });
    }
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
        let [Command::PublishSchema(version)] = changes.commands.as_slice() else {
            panic!("unexpected {changes:?}");
        };
        let latest = self.rules.borrow().schemas.get(&version.uri).map(|latest| latest.minor);
        if version.minor != latest.map_or(0, |latest| latest + 1) {
            return Err(Error::new(ErrorCode::Conflict, "not the next minor"));
        }
        self.change(|rules| {
            rules.schemas.insert(version.uri.clone(), Arc::new(version.clone()));
        });
        Ok(vec![Change {
            kind: ChangeKind::Created,
            noun: "schema".to_owned(),
            name: version.uri.to_string(),
            revealed: None,
            id: None,
        }])
    }
}
