//! Public imports, written out. The descriptor library follows them one step only, walks a graph of
//! them once for every way through it, and a circle for ever; so it is given files that import all
//! they need themselves, and none publicly. Lines and columns stay as they are.

use super::Neighbours;
use prost_types::FileDescriptorProto;
use protox::file::{File, FileResolver};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

/// Numbers of fields of a file's descriptor (descriptor.proto).
const PUBLIC_DEPENDENCY: i32 = 10;

/// Texts of the files that a schema may import.
pub(super) struct Texts {
    /// Its own.
    pub own: BTreeMap<String, String>,
    /// Those of the schemas that are published with it.
    pub neighbours: Arc<Neighbours>,
}

impl Texts {
    fn get(&self, path: &str) -> Option<&str> {
        self.own.get(path).map(String::as_str).or_else(|| self.neighbours.text(path))
    }
}

/// Gives the files of another resolver with their public imports written out.
pub(super) struct WrittenOut<R> {
    inner: R,
    texts: Texts,
    /// What each file imports publicly.
    public: Mutex<HashMap<String, Arc<[String]>>>,
}

impl<R> WrittenOut<R> {
    pub(super) fn new(inner: R, texts: Texts) -> Self {
        Self { inner, texts, public: Mutex::default() }
    }

    /// What a file imports publicly. Nothing if it cannot be read: the compiler says why.
    fn public_of(&self, path: &str) -> Arc<[String]> {
        let mut known = self.public.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(public) = known.get(path) {
            return Arc::clone(public);
        }
        let text = self.texts.get(path).filter(|text| text.contains("public"));
        let file = text.and_then(|text| File::from_source(path, text).ok());
        let public: Arc<[String]> = file
            .map(|file| public_imports(file.file_descriptor_proto()))
            .unwrap_or_default()
            .into();
        known.insert(path.to_owned(), Arc::clone(&public));
        public
    }
}

impl<R: FileResolver> FileResolver for WrittenOut<R> {
    fn resolve_path(&self, path: &std::path::Path) -> Option<String> {
        self.inner.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let file = self.inner.open_file(name)?;
        let descriptor = file.file_descriptor_proto();
        let reached = reached(name, &descriptor.dependency, |path| self.public_of(path));
        match file.source() {
            Some(text) if !(reached.is_empty() && descriptor.public_dependency.is_empty()) => {
                let file = File::from_source(name, &written_out(descriptor, text, &reached))?;
                if file.file_descriptor_proto().public_dependency.is_empty() {
                    return Ok(file);
                }
                let text = format!("{name}: write each public import on a line of its own");
                Err(protox::Error::new(text))
            }
            _ => Ok(file),
        }
    }
}

/// The paths that a file imports publicly.
fn public_imports(file: &FileDescriptorProto) -> Vec<String> {
    let at = |index: &i32| file.dependency.get(usize::try_from(*index).ok()?).cloned();
    file.public_dependency.iter().filter_map(at).collect()
}

/// What a file with these `imports` sees through public imports, beside them. Each file is looked
/// at once.
pub(crate) fn reached(
    name: &str,
    imports: &[String],
    public_of: impl Fn(&str) -> Arc<[String]>,
) -> BTreeSet<String> {
    let mut seen: BTreeSet<String> = imports.iter().cloned().collect();
    let mut open = imports.to_vec();
    let mut reached = BTreeSet::new();
    while let Some(path) = open.pop() {
        for next in public_of(&path).iter() {
            if next != name && seen.insert(next.clone()) {
                reached.insert(next.clone());
                open.push(next.clone());
            }
        }
    }
    reached
}

/// The text without the word `public`, and with what is `reached` imported at its end.
fn written_out(file: &FileDescriptorProto, text: &str, reached: &BTreeSet<String>) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    for location in locations {
        if let ([PUBLIC_DEPENDENCY, _], [line, column, ..]) =
            (location.path.as_slice(), location.span.as_slice())
            && let (Ok(line), Ok(column)) = (usize::try_from(*line), usize::try_from(*column))
            && let Some(line) = lines.get_mut(line)
        {
            blank(line, column);
        }
    }
    let mut text = lines.join("\n");
    for path in reached {
        let quoted = path.replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!("\nimport \"{quoted}\";"));
    }
    text
}

/// Puts blanks in the place of `public`, which begins at a column or, behind wide characters, later.
fn blank(line: &mut String, column: usize) {
    const WORD: &str = "public";
    let from = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at).min(column);
    let from = (0..=from).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    if let Some(at) = line[from..].find(WORD).map(|at| at + from) {
        line.replace_range(at..at + WORD.len(), &" ".repeat(WORD.len()));
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, compile::compile};
    use contract::schema::{ProtoFile, SchemaSource};
    use std::time::{Duration, Instant};

    fn source(files: Vec<(String, String)>) -> SchemaSource {
        let text = "syntax = 'proto3'; import 'f0.proto'; message A { Last last = 1; }";
        let mut source = crate::testing::source("a/1/a", &[("a.proto", text)]);
        source.files.extend(files.into_iter().map(|(path, text)| ProtoFile { path, text }));
        source
    }

    #[test]
    fn a_name_is_seen_through_many_public_imports() {
        let chain = |n: usize| match n {
            0 => "import public 'f1.proto'; /* größe */ import  public  'f2.proto';".to_owned(),
            3 => "message Last {}".to_owned(),
            _ => format!("import public 'f{}.proto';", n + 1),
        };
        let file = |n| (format!("f{n}.proto"), format!("syntax = 'proto3';\n{}", chain(n)));
        let compiled = compile(&source((0..4).map(file).collect()), &Config::default()).unwrap();
        assert_eq!(compiled.message, "A");
        assert!(compiled.files[1].text.contains("import public 'f1.proto'"), "as it was given");
        assert!(crate::descriptors::pool_of(&compiled.descriptor_set).is_ok());
        // A name that is only behind a plain import stays unseen.
        let plain = (0..4).map(file).map(|(path, text)| (path, text.replace("public", "")));
        assert!(compile(&source(plain.collect()), &Config::default()).is_err());
    }

    #[test]
    fn a_dense_graph_compiles_at_once_and_a_circle_is_named() {
        let last = 40;
        let file = |n: usize| {
            let imports: String =
                (n + 1..=last).map(|n| format!("import public 'f{n}.proto';\n")).collect();
            let message = if n == last { "message Last {}" } else { "" };
            (format!("f{n}.proto"), format!("syntax = 'proto3';\n{imports}{message}"))
        };
        let started = Instant::now();
        compile(&source((0..=last).map(file).collect()), &Config::default()).unwrap();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let circle = "syntax = 'proto3';\nimport public 'f0.proto';".to_owned();
        let error = compile(&source(vec![("f0.proto".into(), circle)]), &Config::default());
        assert!(error.unwrap_err().message.contains("f0.proto:2:1: import cycle"));
    }
}
