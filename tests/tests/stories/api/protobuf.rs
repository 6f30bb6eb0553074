//! What of a gRPC API a client may rely on, and no longer finds. Messages and enums are judged by
//! the server's own registry of schemas, under its strictest rulebook; services here.

use contract::{
    access::Actor,
    clock::Timestamp,
    registry::SchemaRegistry,
    schema::{ProtoFile, Rulebook, SchemaSource, UnknownFields, Verdict},
    testing::{ManualClock, SeededRandom, seeded_ids},
};
use master_api::{
    Config, FileSystem, MasterApi, Metrics, StoreConfig, Surroundings, store::Memory,
};
use prometheus_client::registry::Registry as Numbers;
use prost_types::{DescriptorProto, FileDescriptorSet, MethodDescriptorProto};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use schema_registry::{MemoryStore, Registry};
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

/// Path of a file, and its text.
type Files = [(String, String)];

/// Every reason why a program that was made for `released` could fail with `present`.
pub(super) async fn broken(released: &Files, present: &Files) -> Vec<String> {
    let (old, new) = (compiled(released), compiled(present));
    let mut found = services(&old, &new);
    let (had, has) = (messages(&old), messages(&new));
    let kept: Vec<_> = had.iter().filter(|name| has.contains(name)).cloned().collect();
    found.extend(
        had.iter().filter(|name| !has.contains(name)).map(|name| format!("{name} was removed")),
    );
    found.extend(judged(&kept, released, present).await);
    found
}

struct Given(Vec<(String, String)>);

impl FileResolver for Given {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.iter().find(|(path, _)| path == name) {
            Some((path, text)) => File::from_source(path, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn compiled(files: &Files) -> FileDescriptorSet {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Given(files.to_vec()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(false);
    compiler.open_files(files.iter().map(|(path, _)| path)).unwrap();
    compiler.file_descriptor_set()
}

/// Full names of all messages, those within others, too.
fn messages(set: &FileDescriptorSet) -> Vec<String> {
    fn walk(scope: &str, message: &DescriptorProto, found: &mut Vec<String>) {
        let is_map = message.options.as_ref().is_some_and(|options| options.map_entry());
        if is_map {
            return;
        }
        let name = format!("{scope}.{}", message.name());
        message.nested_type.iter().for_each(|inner| walk(&name, inner, found));
        found.push(name);
    }
    let mut found = Vec::new();
    for file in &set.file {
        file.message_type.iter().for_each(|message| walk(file.package(), message, &mut found));
    }
    found.sort();
    found
}

fn services(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (methods(old), methods(new));
    let judge = |(path, was): (&String, &MethodDescriptorProto)| match new.get(path) {
        None => Some(format!("{path} was removed")),
        Some(is) => (shape(is) != shape(was))
            .then(|| format!("{path} is {:?}; it was {:?}", shape(is), shape(was))),
    };
    old.iter().filter_map(judge).collect()
}

fn methods(set: &FileDescriptorSet) -> BTreeMap<String, MethodDescriptorProto> {
    let mut found = BTreeMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("{}.{}/{}", file.package(), service.name(), method.name());
                found.insert(path, method.clone());
            }
        }
    }
    found
}

fn shape(method: &MethodDescriptorProto) -> (&str, bool, &str, bool) {
    let asks = (method.input_type(), method.client_streaming());
    (asks.0, asks.1, method.output_type(), method.server_streaming())
}

/// One contract that holds every message once is published as it was and checked as it is.
async fn judged(messages: &[String], released: &Files, present: &Files) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(Timestamp(1_795_262_400_000_000));
    let around = Surroundings {
        clock: clock.clone(),
        random: SeededRandom::new(1),
        ids: seeded_ids(clock.clone(), 2),
        metrics: Metrics::new(&mut Numbers::default()),
        space: Arc::new(FileSystem),
    };
    let data_dir = dir.path().to_owned();
    let limits = StoreConfig { reserve: 0 };
    let config = Config { data_dir, limits, ..Config::default() };
    let rules = MasterApi::on(Arc::new(Memory::default()), config, around).unwrap();
    let metrics = schema_registry::Metrics::new(&mut Numbers::default());
    let store = Arc::new(MemoryStore::new());
    let config = schema_registry::Config::default();
    let registry = Registry::new(config, store, rules, clock, metrics);
    let actor = Actor::Component("test".to_owned());
    registry.publish(actor, everything(messages, released)).await.unwrap();
    let checked = match registry.check(everything(messages, present)).await {
        Ok(checked) => checked,
        Err(error) => return vec![error.to_string()],
    };
    let breaking = checked.differences.into_iter().filter(|found| {
        // Clients have to bear new values of enums and new choices, unlike readers of events.
        let is_more = found.rule.ends_with("_added") && found.rule != "required_field_added";
        found.verdict == Verdict::Breaking && !is_more
    });
    breaking.map(|found| format!("{} ({})", found.text, found.path)).collect()
}

/// A contract with a field of each message.
fn everything(messages: &[String], files: &Files) -> SchemaSource {
    const ENTRY: &str = "everything.proto";
    let mut text = "syntax = \"proto3\"; package everything;\n".to_owned();
    for (path, _) in files {
        writeln!(text, "import \"{path}\";").unwrap();
    }
    text.push_str("message Everything {\n");
    for (at, message) in messages.iter().enumerate() {
        writeln!(text, ".{message} f{at} = {};", at + 1).unwrap();
    }
    text.push_str("}\n");
    let given = files.iter().cloned().chain([(ENTRY.to_owned(), text)]);
    let files = given.map(|(path, text)| ProtoFile { path, text }).collect();
    SchemaSource {
        uri: "api/1/everything".parse().unwrap(),
        entry: ENTRY.to_owned(),
        files,
        message: Some("everything.Everything".to_owned()),
        unknown_fields: Some(UnknownFields::Ignore),
        rulebook: Some(Rulebook::Certes),
        next_major: false,
        example: None,
        expected: None,
    }
}
