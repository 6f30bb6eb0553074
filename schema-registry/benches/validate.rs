//! How fast payloads are checked, beside what `serde_json` takes to parse the same bytes into a
//! `Value`, and how fast many contracts are published and loaded.
//!
//!     cargo bench -p schema-registry

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to report")]

use async_trait::async_trait;
use contract::{
    Result,
    access::Actor,
    clock::SystemClock,
    command::{Change, Changeset, Command},
    master_api::Configuration,
    registry::SchemaRegistry,
    rules::{Rules, RulesReceiver},
    schema::{EventValidator, SchemaBundle},
    uri::EventUri,
};
use divan::{Bencher, black_box, counter::BytesCount};
use prometheus_client::registry::Registry as Numbers;
use schema_registry::{Config, LocalValidator, MemoryStore, Metrics, Registry, load};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};
use tokio::{runtime::Runtime, sync::watch};

const PUSH: &[u8] = include_bytes!("../../schemas/examples/github/push.json");
const ORDER: &[u8] = include_bytes!("../test-data/bench/order.json");
const ORDER_TYPE: &str = include_str!("../test-data/bench/order.proto");
const RULED_TYPE: &str = include_str!("../test-data/bench/ruled_order.proto");

/// Publications of one directory.
const FILES: usize = 200;
/// Contracts of a large deployment.
const CONTRACTS: usize = 10_000;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static VALIDATOR: LazyLock<LocalValidator> = LazyLock::new(|| {
    let validator = validator();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let dir = directory(&[("bench/1/order", ORDER_TYPE), ("bench/1/ruled_order", RULED_TYPE)]);
    for bundle in publish(&shipped).into_iter().chain(publish(dir.path())) {
        validator.install(&bundle).expect("a bundle of ours");
    }
    validator
});

fn main() {
    divan::main();
}

#[divan::bench_group]
mod github_push_8k {
    use super::{Bencher, PUSH};

    #[divan::bench]
    fn check(bencher: Bencher<'_, '_>) {
        super::check(bencher, "github/1/push", PUSH);
    }

    #[divan::bench]
    fn parse_only(bencher: Bencher<'_, '_>) {
        super::parse(bencher, PUSH);
    }
}

#[divan::bench_group]
mod order_1k {
    use super::{Bencher, ORDER};

    #[divan::bench]
    fn check(bencher: Bencher<'_, '_>) {
        super::check(bencher, "bench/1/order", ORDER);
    }

    #[divan::bench]
    fn check_with_rules(bencher: Bencher<'_, '_>) {
        super::check(bencher, "bench/1/ruled_order", ORDER);
    }

    #[divan::bench]
    fn parse_only(bencher: Bencher<'_, '_>) {
        super::parse(bencher, ORDER);
    }
}

/// One directory of 200 files, from text to versions in force: at most 1 s.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn publish_200_files(bencher: Bencher<'_, '_>) {
    let dir = numbered(FILES);
    bencher.bench_local(|| assert_eq!(publish(dir.path()).len(), FILES));
}

/// 10,000 contracts, from bundles to a validator that is ready: at most 5 s.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn load_10_000_contracts(bencher: Bencher<'_, '_>) {
    let dir = numbered(CONTRACTS);
    let bundles = publish(dir.path());
    assert_eq!(bundles.len(), CONTRACTS);
    let before = resident_kib();
    bencher.bench_local(|| {
        let validator = validator();
        for bundle in &bundles {
            validator.install(bundle).expect("a bundle of ours");
        }
        let grown = resident_kib().saturating_sub(before);
        eprintln!("{CONTRACTS} contracts at hand: {} MiB", grown / 1024);
        validator
    });
}

fn check(bencher: Bencher<'_, '_>, uri: &str, payload: &[u8]) {
    let uri: EventUri = uri.parse().expect("a URI");
    let validator = &*VALIDATOR;
    let valid = || validator.validate(&uri, "application/json", black_box(payload));
    valid().expect("an example that keeps its contract");
    bencher.counter(BytesCount::of_slice(payload)).bench(valid);
}

fn parse(bencher: Bencher<'_, '_>, payload: &[u8]) {
    let parse = || serde_json::from_slice::<serde_json::Value>(black_box(payload));
    bencher.counter(BytesCount::of_slice(payload)).bench(parse);
}

fn validator() -> LocalValidator {
    LocalValidator::new(Config::default(), Metrics::new(&mut Numbers::default()))
}

/// A folder with these contracts.
fn directory(contracts: &[(impl AsRef<str>, impl AsRef<str>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in contracts {
        let path: PathBuf = dir.path().join(format!("{}.proto", name.as_ref()));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text.as_ref()).expect("a file");
    }
    dir
}

fn numbered(count: usize) -> tempfile::TempDir {
    let contract = |n| {
        let text = ORDER_TYPE.replace("package bench.v1", &format!("package bench.v1.n{n}"));
        (format!("bench/1/order_{n}"), text)
    };
    directory(&(0..count).map(contract).collect::<Vec<_>>())
}

/// Publishes a directory, and gives what is in force then.
fn publish(dir: &Path) -> Vec<Arc<SchemaBundle>> {
    let config = Config::default();
    let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    let rules = Arc::new(InForce(watch::Sender::default()));
    let metrics = Metrics::new(&mut Numbers::default());
    let registry = Registry::new(config.clone(), store, rules, clock, metrics);
    RUNTIME.block_on(async {
        let mut bundles = Vec::new();
        for source in load(dir, &config).expect("contracts that compile") {
            let actor = Actor::Component("bench".to_owned());
            let published = registry.publish(actor, source).await.expect("a publication");
            bundles.push(registry.get(&published.version.uri).await.expect("what was published"));
        }
        bundles
    })
}

/// Resident memory of this process (Linux; elsewhere 0).
fn resident_kib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4
}

/// Master API as far as publishing goes.
struct InForce(watch::Sender<Arc<Rules>>);

#[async_trait]
impl Configuration for InForce {
    fn rules(&self) -> RulesReceiver {
        self.0.subscribe()
    }

    async fn execute(&self, _actor: Actor, changes: Changeset) -> Result<Vec<Change>> {
        self.0.send_modify(|rules| {
            let rules = Arc::make_mut(rules);
            for command in &changes.commands {
                if let Command::PublishSchema(version) = command {
                    rules.schemas.insert(version.uri.clone(), Arc::new(version.clone()));
                }
            }
        });
        Ok(Vec::new())
    }
}
