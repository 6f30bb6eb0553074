//! From `.proto` text to descriptors, or to a sentence with file, line and column.

mod given;
mod scan;
mod neighbours;
mod public;
mod explain;

use crate::{Config, stack::on_a_large_stack};
use bytes::Bytes;
use contract::{
    Error, Result,
    schema::{ProtoFile, SchemaSource},
};
use prost_reflect::DescriptorPool;
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use explain::invalid;
pub(crate) use given::check_statements;
pub(crate) use neighbours::Neighbours;
pub(crate) use public::reached;
pub(crate) use scan::Budget;

use explain::{cycle, explain};
use given::{check_path, check_size, check_text};

/// A contract that compiles.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    /// Full name of the message.
    pub message: String,
    /// All types, for comparing.
    pub pool: DescriptorPool,
    /// Encoded `FileDescriptorSet` with all imports and without comments.
    pub descriptor_set: Bytes,
    /// The entry and what it imports, by path; files that nothing imports are left out.
    pub files: Vec<ProtoFile>,
}

/// Compiles a schema; what it lacks is looked for among its neighbours.
/// Errors: `invalid_definition`, as in `github/1/push.proto:7:3: ...`.
pub(crate) fn compile_among(
    source: &SchemaSource,
    neighbours: &Arc<Neighbours>,
    config: &Config,
) -> Result<Compiled> {
    on_a_large_stack(|| compile_here(source, neighbours, config))
}

/// Compiles a schema that stands alone.
#[cfg(test)]
pub(crate) fn compile(source: &SchemaSource, config: &Config) -> Result<Compiled> {
    compile_among(source, &Arc::default(), config)
}

fn compile_here(
    source: &SchemaSource,
    neighbours: &Arc<Neighbours>,
    config: &Config,
) -> Result<Compiled> {
    check_size(&source.files, config)?;
    let mut files = BTreeMap::new();
    let mut budget = Budget::of_schema(config);
    for file in &source.files {
        check_path(&file.path)?;
        check_text(&file.path, &file.text, &mut budget)?;
        if files.insert(file.path.clone(), file.text.clone()).is_some() {
            return Err(invalid(format!("the file `{}` is given twice", file.path)));
        }
    }
    if !files.contains_key(&source.entry) {
        return Err(invalid(format!("the entry `{}` is not among the files", source.entry)));
    }

    let mut resolver = ChainFileResolver::new();
    resolver.add(GoogleFileResolver::new());
    resolver.add(Rules);
    resolver.add(Given(files.clone()));
    let (asked, explain_asked) = neighbours::Asked::new(neighbours, budget);
    resolver.add(asked);
    let texts = public::Texts { own: files.clone(), neighbours: Arc::clone(neighbours) };
    let mut compiler = Compiler::with_file_resolver(public::WrittenOut::new(resolver, texts));
    compiler.include_imports(true).include_source_info(false);
    let text_of =
        |path: &str| files.get(path).map(String::as_str).or_else(|| neighbours.text(path));
    compiler.open_file(&source.entry).map_err(|error| {
        explain_asked(cycle(&error, &text_of).unwrap_or_else(|| explain(&error)))
    })?;

    let used: BTreeSet<String> = compiler
        .files()
        .map(|file| file.name().to_owned())
        .filter(|name| !built_in(name))
        .collect();
    let text = |path: String| {
        let text = files.remove(&path).or_else(|| neighbours.text(&path).map(str::to_owned))?;
        Some(ProtoFile { path, text })
    };
    let files: Vec<_> = used.into_iter().filter_map(text).collect();
    check_size(&files, config)?;
    let pool = compiler.descriptor_pool();
    crate::validate::check_rules(&pool, config.pattern_bytes_max)
        .map_err(|error| invalid(format!("{}: {}", source.entry, error.message)))?;
    Ok(Compiled {
        message: message_name(&pool, source)?,
        descriptor_set: compiler.encode_file_descriptor_set().into(),
        files,
        pool,
    })
}

/// Does the compiler bring this file itself?
pub(crate) fn built_in(path: &str) -> bool {
    path == RULES_PATH
        || path.starts_with("google/protobuf/") && GoogleFileResolver::new().open_file(path).is_ok()
}

/// The paths that a file imports. Errors: `invalid_definition` when it cannot be parsed, or is too
/// much for a schema or for the set that it belongs to.
pub(crate) fn imports(
    path: &str,
    text: &str,
    config: &Config,
    of_set: &mut Budget,
) -> Result<Vec<String>> {
    check_text(path, text, &mut Budget::of_schema(config))?;
    check_text(path, text, of_set)?;
    on_a_large_stack(|| {
        let file = File::from_source(path, text).map_err(|error| explain(&error))?;
        Ok(file.file_descriptor_proto().dependency.clone())
    })
}

/// The path by which contracts import the options of protovalidate, and the file.
const RULES_PATH: &str = "buf/validate/validate.proto";
const RULES_TEXT: &str = include_str!("../proto/buf/validate/validate.proto");

struct Rules;

impl FileResolver for Rules {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            RULES_PATH => File::from_source(name, RULES_TEXT),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

struct Given(BTreeMap<String, String>);

impl FileResolver for Given {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The given name (full, or relative to the entry's package), else the last top-level message.
fn message_name(pool: &DescriptorPool, source: &SchemaSource) -> Result<String> {
    let file = pool.get_file_by_name(&source.entry);
    let file = file.ok_or_else(|| Error::internal("the compiler lost the entry"))?;
    let Some(wanted) = &source.message else {
        let last = file.messages().last();
        return last.map(|message| message.full_name().to_owned()).ok_or_else(|| {
            invalid(format!("{}:1:1: the file holds no top-level message", source.entry))
        });
    };
    let relative = format!("{}.{wanted}", file.package_name());
    let found = [wanted.as_str(), &relative]
        .into_iter()
        .find_map(|name| pool.get_message_by_name(name))
        .filter(|message| !message.is_map_entry());
    found.map(|message| message.full_name().to_owned()).ok_or_else(|| {
        let shown: String = wanted.chars().take(80).collect();
        invalid(format!("{}:1:1: no message `{shown}` in it or its imports", source.entry))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::source;
    use contract::ErrorCode;

    fn error_of(files: &[(&str, &str)]) -> String {
        let error = compile(&source("a/1/x", files), &Config::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidDefinition);
        error.message
    }

    #[test]
    fn the_last_top_level_message_is_the_contract() {
        let text = "syntax = 'proto3'; package a; message B { message C {} } message D {}";
        let mut source = source("a/1/x", &[("a/1/x.proto", text)]);
        assert_eq!(compile(&source, &Config::default()).unwrap().message, "a.D");
        for name in ["a.B.C", "B.C"] {
            source.message = Some(name.to_owned());
            assert_eq!(compile(&source, &Config::default()).unwrap().message, "a.B.C");
        }
        source.message = Some("a.Z".to_owned());
        let error = compile(&source, &Config::default()).unwrap_err();
        assert_eq!(error.message, "a/1/x.proto:1:1: no message `a.Z` in it or its imports");
    }

    #[test]
    fn imports_are_kept_and_strangers_are_not() {
        let compiled = compile(
            &source(
                "a/1/x",
                &[
                    (
                        "a/1/x.proto",
                        "syntax = 'proto3'; import 'a/t.proto'; \
                         import 'google/protobuf/timestamp.proto'; message X { T t = 1; }",
                    ),
                    ("a/t.proto", "syntax = 'proto2'; message T { required int32 n = 1; }"),
                    ("a/unused.proto", "this is no protobuf"),
                ],
            ),
            &Config::default(),
        )
        .unwrap();
        let paths: Vec<_> = compiled.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/1/x.proto", "a/t.proto"]);
        let pool = DescriptorPool::decode(compiled.descriptor_set.as_ref()).unwrap();
        assert!(pool.get_message_by_name("google.protobuf.Timestamp").is_some());
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let syntax =
            error_of(&[("a/1/x.proto", "syntax = 'proto3';\nmessage X {\n  int32 = 1;\n}")]);
        assert!(syntax.starts_with("a/1/x.proto:3:9: "), "{syntax}");
        let name =
            error_of(&[("a/1/x.proto", "syntax = 'proto3';\nmessage X {\n  Nope n = 1;\n}")]);
        assert!(name.starts_with("a/1/x.proto:3:3: ") && name.contains("Nope"), "{name}");
        let import =
            error_of(&[("a/1/x.proto", "syntax = 'proto3';\nimport 'b.proto';\nmessage X{}")]);
        assert!(import.starts_with("a/1/x.proto:2:"), "{import}");
        assert!(import.contains("b.proto") && import.contains("not found"), "{import}");
        let cycle = error_of(&[
            ("a/1/x.proto", "syntax = 'proto3'; import 'b.proto'; message X{}"),
            ("b.proto", "syntax = 'proto3';\nimport 'a/1/x.proto';"),
        ]);
        assert_eq!(
            cycle,
            "b.proto:2:1: import cycle detected: a/1/x.proto -> b.proto -> a/1/x.proto"
        );
        let itself = "syntax = 'proto3';\n\n  import 'a/1/x.proto'; message X{}";
        let itself = error_of(&[("a/1/x.proto", itself)]);
        assert!(itself.starts_with("a/1/x.proto:3:3: import cycle detected"), "{itself}");
        let empty = error_of(&[("a/1/x.proto", "syntax = 'proto3';")]);
        assert!(empty.contains("no top-level message"), "{empty}");
    }

    #[test]
    fn symbols_that_are_defined_twice_are_refused() {
        for files in [
            vec![("a/1/x.proto", "syntax = 'proto3';\nmessage X {}\nmessage X {}")],
            vec![
                ("a/1/x.proto", "syntax = 'proto3'; import 'b.proto';\nmessage X {}"),
                ("b.proto", "syntax = 'proto3'; message X {}"),
            ],
            vec![("a/1/x.proto", "syntax = 'proto3';\nmessage X { int32 X = 1; bool X = 2; }")],
        ] {
            let error = error_of(&files);
            assert!(error.contains(".proto:") && error.contains("X"), "{error}");
        }
    }

    #[test]
    fn ten_megabytes_of_text_are_refused_at_once() {
        let text =
            format!("syntax = 'proto3';\n{}", "message X { int32 n = 1; }\n".repeat(400_000));
        assert!(text.len() > 10_000_000);
        let started = std::time::Instant::now();
        let error = error_of(&[("a/1/x.proto", &text)]);
        assert!(error.contains("at most 4194304 are allowed"), "{error}");
        assert!(started.elapsed().as_secs() < 5);
    }

    /// These took seconds and gigabytes to compile.
    #[test]
    fn what_is_small_to_write_and_large_to_compile_is_refused_at_once() {
        let fields: String = (1..=120_000).map(|n| format!("int32 f{n}={n};\n")).collect();
        let values: String = (1..=120_000).map(|n| format!("V{n}={n};\n")).collect();
        let messages: String = (1..=120_000).map(|n| format!("message M{n}{{}}\n")).collect();
        let options =
            "[deprecated=true,deprecated=true]".replace("deprecated", &"a,".repeat(120_000));
        for (text, place) in [
            (format!("syntax='proto3';message X{{\n{fields}}}"), "a/1/x.proto:"),
            (format!("syntax='proto3';message X{{}}enum E{{V0=0;\n{values}}}"), "a/1/x.proto:"),
            (format!("syntax='proto3';{messages}"), "a/1/x.proto:"),
            (format!("syntax='proto3';message X{{int32 a=1\n{options};}}"), "a/1/x.proto:2:"),
        ] {
            let started = std::time::Instant::now();
            let error = error_of(&[("a/1/x.proto", &text)]);
            assert!(error.starts_with(place), "{error:.200}");
            assert!(started.elapsed().as_secs() < 2, "took {:?}", started.elapsed());
        }
    }

    #[test]
    fn editions_are_refused_clearly() {
        let text = "// a comment\n/* and\n another */  edition = \"2023\";\nmessage X {}";
        let error = error_of(&[("a/1/x.proto", text)]);
        assert!(error.starts_with("a/1/x.proto:3:14: protobuf editions"), "{error}");
    }

    #[test]
    fn sizes_and_paths_are_bounded() {
        let small = Config { files_max: 1, source_bytes_max: 40, ..Config::default() };
        let one = ("a/1/x.proto", "syntax = 'proto3'; message X {}");
        assert!(compile(&source("a/1/x", &[one]), &small).is_ok());
        let two = source("a/1/x", &[one, ("b.proto", "")]);
        assert!(compile(&two, &small).unwrap_err().message.contains("at most 1 "));
        let long = format!("{}//{}", one.1, "x".repeat(40));
        let long = source("a/1/x", &[(one.0, &long)]);
        assert!(compile(&long, &small).unwrap_err().message.contains("at most 40 "));
        for path in ["/etc/passwd", "../x.proto", "a//b.proto", "a\\b.proto", ""] {
            assert!(error_of(&[one, (path, "")]).contains("relative path"), "{path}");
        }
        let nested = format!("{}{}", "message A { ".repeat(40), "}".repeat(40));
        error_of(&[("a/1/x.proto", &format!("syntax = 'proto3'; {nested}"))]);
        assert!(error_of(&[one, one]).contains("twice"));

        // The longest chain of imports that the bounds allow.
        let link =
            |n: usize| format!("syntax = 'proto3'; import '{}.proto'; message M{n} {{}}", n + 1);
        let mut chain: Vec<_> = (0..255).map(|n| (format!("{n}.proto"), link(n))).collect();
        chain.push(("255.proto".to_owned(), "syntax = 'proto3';".to_owned()));
        let chain: Vec<_> = chain.iter().map(|(path, text)| (&**path, &**text)).collect();
        let compiled = compile(&source("a/1/x", &chain), &Config::default()).unwrap();
        assert_eq!(compiled.files.len(), 256);
    }
}
