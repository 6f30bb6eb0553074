//! Reads the contracts of a directory or of a tar into schemas that can be published.
//!
//! A contract lies at `<namespace>/<major>/<name>.proto`, and an example payload of it at
//! `<namespace>/<major>/<name>.example.json`; every other `.proto` file is there to be imported, by
//! its path from the root. The root is the directory given, or the one above it if the directory
//! given is a namespace itself, that is, if majors lie directly in it. In an archive (`.tar`,
//! `.tar.gz`, `.tgz`) the paths are those from the root.

mod archive;

use crate::{
    Config,
    compile::{Budget, built_in, check_statements, imports, invalid},
};
use contract::{
    Error, Result,
    schema::{ProtoFile, SchemaSource},
    uri::EventUri,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// Most directories inside each other.
const DEPTH_MAX: usize = 16;

/// All contracts in a directory or archive, sorted by URI, each with exactly the files that it
/// needs. Errors: `invalid_definition`, which names the file.
pub fn load(path: &Path, config: &Config) -> Result<Vec<SchemaSource>> {
    let (found, files) = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => directory(path, config)?,
        Ok(_) => in_archive(archive::read(path, config)?),
        Err(error) => return Err(unreadable(path, &error)),
    };
    contracts(found, files, config, &path.display().to_string())
}

/// The same of an archive that is at hand.
pub fn load_archive(bytes: &[u8], config: &Config) -> Result<Vec<SchemaSource>> {
    let named = |error: Error| invalid(format!("the archive: {}", error.message));
    let (found, files) = in_archive(archive::unpack(bytes, config).map_err(named)?);
    contracts(found, files, config, "the archive")
}

fn in_archive(files: BTreeMap<String, String>) -> (Vec<String>, Files) {
    let found = files.keys().filter(|path| path.ends_with(".proto"));
    (found.cloned().collect(), Files::Archive(files))
}

/// The contracts among the `.proto` files that were found.
fn contracts(
    found: Vec<String>,
    files: Files,
    config: &Config,
    place: &str,
) -> Result<Vec<SchemaSource>> {
    let mut left = config.set_bytes_max;
    let mut tree = Tree::new(files, config);
    let mut sources = Vec::new();
    for path in found {
        if let Some(uri) = contract_uri(&path)? {
            let source = tree.source(uri, path)?;
            left = left.checked_sub(size(&source)).ok_or_else(|| too_much(config))?;
            sources.push(source);
        }
    }
    if sources.is_empty() {
        return Err(invalid(format!(
            "{place} holds no contract; one lies at <namespace>/<major>/<name>.proto"
        )));
    }
    sources.sort_by(|a, b| a.uri.cmp(&b.uri));
    Ok(sources)
}

/// Refuses more schemas, or more text of them, than may be published together: each is counted with
/// all of its files.
pub(crate) fn check_set(sources: &[SchemaSource], config: &Config) -> Result<()> {
    if sources.is_empty() {
        return Err(invalid("no schema is given"));
    }
    if sources.len() > config.set_files_max {
        let (count, files_max) = (sources.len(), config.set_files_max);
        return Err(invalid(format!("{count} schemas; at most {files_max} are allowed together")));
    }
    let bytes: usize = sources.iter().map(size).sum();
    if bytes > config.set_bytes_max {
        return Err(too_much(config));
    }
    check_statements(sources, config)
}

fn size(source: &SchemaSource) -> usize {
    source.files.iter().map(|file| file.path.len() + file.text.len()).sum()
}

fn too_much(config: &Config) -> Error {
    let bytes_max = config.set_bytes_max;
    invalid(format!(
        "the schemas, each with all that it imports, have more than {bytes_max} bytes together"
    ))
}

/// The `.proto` files of a directory, by their paths from the root, and that root.
fn directory(dir: &Path, config: &Config) -> Result<(Vec<String>, Files)> {
    let dir = dir.canonicalize().map_err(|error| unreadable(dir, &error))?;
    let mut found = Vec::new();
    find((&dir, &dir), &mut Vec::new(), &mut found, config.set_files_max)?;
    let is_namespace = found.iter().any(|path| path.len() == 2 && is_major(&path[0]));
    let root = match (is_namespace, dir.parent(), dir.file_name().and_then(|name| name.to_str())) {
        (true, Some(parent), Some(name)) => {
            found.iter_mut().for_each(|path| path.insert(0, name.to_owned()));
            parent.to_owned()
        }
        _ => dir.clone(),
    };
    Ok((found.iter().map(|path| path.join("/")).collect(), Files::Directory(root)))
}

/// Collects the paths of all `.proto` files in `dir`, as segments below `root`.
fn find(
    (root, dir): (&Path, &Path),
    above: &mut Vec<String>,
    found: &mut Vec<Vec<String>>,
    files_max: usize,
) -> Result<()> {
    if above.len() > DEPTH_MAX {
        return Err(invalid(format!("{}: more than {DEPTH_MAX} directories deep", dir.display())));
    }
    let failed = |error: io::Error| unreadable(dir, &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with('.') {
            continue;
        }
        above.push(name.to_owned());
        // Follows links: that is how Kubernetes mounts files.
        stay_below(root, &path)?;
        if fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.is_dir() {
            find((root, &path), above, found, files_max)?;
        } else if name.ends_with(".proto") {
            found.push(above.clone());
        }
        above.pop();
        if found.len() > files_max {
            return Err(invalid(format!("{}: more than {files_max} files", dir.display())));
        }
    }
    Ok(())
}

/// Refuses a link that leads out of `root`, which has no links in it.
fn stay_below(root: &Path, path: &Path) -> Result<()> {
    let real = path.canonicalize().map_err(|error| unreadable(path, &error))?;
    if real.starts_with(root) {
        return Ok(());
    }
    Err(invalid(format!("{}: this link leads out of {}", path.display(), root.display())))
}

fn is_major(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

/// The event type of a path, if it is that of a contract.
fn contract_uri(path: &str) -> Result<Option<EventUri>> {
    let stem = path.strip_suffix(".proto").unwrap_or(path);
    if stem.rsplit('/').nth(1).is_none_or(|parent| !is_major(parent)) {
        return Ok(None);
    }
    let named = |error: Error| invalid(format!("{path}: {}", error.message));
    stem.parse().map(Some).map_err(named)
}

/// Where texts come from.
enum Files {
    /// Below this root.
    Directory(PathBuf),
    /// Read already, by path.
    Archive(BTreeMap<String, String>),
}

impl Files {
    /// The text of a file; None if there is none of that path below the root.
    fn text(&self, path: &str, bytes_max: usize) -> Result<Option<String>> {
        let text = match self {
            Self::Directory(root) => return text_below(root, path, bytes_max),
            Self::Archive(files) => files.get(path),
        };
        match text.map(String::len) {
            Some(size) if size > bytes_max => Err(too_large(path, size, bytes_max)),
            _ => Ok(text.cloned()),
        }
    }

    fn root(&self) -> String {
        match self {
            Self::Directory(root) => root.display().to_string(),
            Self::Archive(_) => "the top of the archive".to_owned(),
        }
    }
}

fn text_below(root: &Path, path: &str, bytes_max: usize) -> Result<Option<String>> {
    let inside = path.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    let full = root.join(path);
    let size = match fs::metadata(&full) {
        Ok(metadata) if inside && metadata.is_file() => metadata.len(),
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&full, &error)),
    };
    stay_below(root, &full)?;
    match usize::try_from(size) {
        Ok(size) if size > bytes_max => Err(too_large(path, size, bytes_max)),
        _ => fs::read_to_string(&full).map(Some).map_err(|error| unreadable(&full, &error)),
    }
}

/// The files below a root, read once each.
struct Tree<'c> {
    files: Files,
    config: &'c Config,
    read: BTreeMap<String, Option<Parsed>>,
    budget: Budget,
}

#[derive(Clone)]
struct Parsed {
    text: String,
    imports: Vec<String>,
}

impl<'c> Tree<'c> {
    const fn new(files: Files, config: &'c Config) -> Self {
        Self { files, config, read: BTreeMap::new(), budget: Budget::of_set(config) }
    }

    /// The entry with all that it imports, directly or not, and its example.
    fn source(&mut self, uri: EventUri, entry: String) -> Result<SchemaSource> {
        let stem = entry.strip_suffix(".proto").unwrap_or(&entry);
        let example = format!("{stem}.example.json");
        let example = self.files.text(&example, self.config.source_bytes_max)?;
        Ok(SchemaSource {
            uri,
            files: self.needed(&entry)?,
            entry,
            message: None,
            unknown_fields: None,
            rulebook: None,
            next_major: false,
            example,
            expected: None,
        })
    }

    fn needed(&mut self, entry: &str) -> Result<Vec<ProtoFile>> {
        let mut files = BTreeMap::new();
        let mut open = vec![(entry.to_owned(), entry.to_owned())];
        let mut known = BTreeSet::from([entry.to_owned()]);
        while let Some((path, importer)) = open.pop() {
            let Some(parsed) = self.parsed(&path)? else {
                let root = self.files.root();
                return Err(invalid(format!(
                    "{importer}: import `{path}` not found; imports are looked up from {root}"
                )));
            };
            for import in parsed.imports {
                if !built_in(&import) && known.insert(import.clone()) {
                    open.push((import, path.clone()));
                }
            }
            files.insert(path, parsed.text);
            if files.len() > self.config.files_max {
                let files_max = self.config.files_max;
                return Err(invalid(format!("{entry}: it imports more than {files_max} files")));
            }
        }
        Ok(files.into_iter().map(|(path, text)| ProtoFile { path, text }).collect())
    }

    fn parsed(&mut self, path: &str) -> Result<Option<Parsed>> {
        if let Some(parsed) = self.read.get(path) {
            return Ok(parsed.clone());
        }
        let parsed = match self.files.text(path, self.config.source_bytes_max)? {
            Some(text) => {
                let imports = imports(path, &text, self.config, &mut self.budget)?;
                Some(Parsed { imports, text })
            }
            None => None,
        };
        self.read.insert(path.to_owned(), parsed.clone());
        Ok(parsed)
    }
}

fn too_large(path: &str, size: usize, bytes_max: usize) -> Error {
    invalid(format!("{path}: it has {size} bytes; at most {bytes_max} are allowed"))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    invalid(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn loaded(dir: &Path) -> Vec<(String, Vec<String>)> {
        let of = |source: SchemaSource| {
            let paths = source.files.into_iter().map(|file| file.path).collect();
            (source.uri.to_string(), paths)
        };
        load(dir, &Config::default()).unwrap().into_iter().map(of).collect()
    }

    const PUSH: &str = "syntax = 'proto3'; import 'github/types.proto'; \
                        import 'google/protobuf/struct.proto'; message Push { User user = 1; }";
    const TYPES: &str = "syntax = 'proto3'; message User {}";
    const OTHER: &str = "syntax = 'proto3'; message Other {}";

    #[test]
    fn a_root_and_a_namespace_give_the_same() {
        let dir = tree(&[
            ("schemas/github/types.proto", TYPES),
            ("schemas/github/1/push.proto", PUSH),
            ("schemas/github/1/notes.txt", "not this"),
            ("schemas/github/.hidden/1/x.proto", "nor this"),
            ("schemas/shop/eu/2/charge.paid.proto", OTHER),
        ]);
        let files = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let push: (String, Vec<String>) =
            ("github/1/push".to_owned(), files(&["github/1/push.proto", "github/types.proto"]));
        let paid = ("shop/eu/2/charge.paid".to_owned(), files(&["shop/eu/2/charge.paid.proto"]));
        assert_eq!(loaded(&dir.path().join("schemas")), [push.clone(), paid]);
        assert_eq!(loaded(&dir.path().join("schemas/github")), [push]);
        let nested = loaded(&dir.path().join("schemas/shop/eu"));
        assert_eq!(nested[0].0, "eu/2/charge.paid", "the folder alone names the namespace");
    }

    #[test]
    fn a_namespace_may_import_from_its_neighbour() {
        let dir = tree(&[
            ("common/money.proto", "syntax = 'proto3'; message Money {}"),
            (
                "shop/1/paid.proto",
                "syntax = 'proto3'; import 'common/money.proto'; message Paid { Money m = 1; }",
            ),
        ]);
        let sources = loaded(&dir.path().join("shop"));
        assert_eq!(sources[0].1, ["common/money.proto", "shop/1/paid.proto"]);
    }

    #[test]
    fn errors_name_the_file() {
        let error = |files: &[(&str, &str)]| {
            load(tree(files).path(), &Config::default()).unwrap_err().message
        };
        assert!(error(&[("github/types.proto", TYPES)]).contains("no contract"));
        let missing = error(&[("github/1/push.proto", PUSH)]);
        assert!(missing.starts_with("github/1/push.proto: import `github/types.proto` not found"));
        let syntax = error(&[("github/1/push.proto", "syntax = 'proto3';\nmessage")]);
        assert!(syntax.starts_with("github/1/push.proto"), "{syntax}");
        let version = error(&[("github/0/push.proto", OTHER)]);
        assert!(version.contains("major version from 1"), "{version}");
        let outside = "syntax = 'proto3'; import '../x.proto'; message X {}";
        assert!(error(&[("a/1/x.proto", outside)]).starts_with("a/1/x.proto"));
        for path in ["../x.proto", "/etc/passwd", "a/./x.proto"] {
            let outside = format!("syntax = 'proto3'; import '{path}'; message X {{}}");
            let outside = error(&[("a/1/x.proto", &outside)]);
            assert!(outside.contains("invalid import (its path goes from the root"), "{outside}");
        }
        let none = load(Path::new("/nowhere/at/all"), &Config::default()).unwrap_err().message;
        assert!(none.contains("/nowhere/at/all"), "{none}");
        let small = Config { source_bytes_max: 10, ..Config::default() };
        let large = load(tree(&[("a/1/x.proto", OTHER)]).path(), &small).unwrap_err().message;
        assert!(large.contains("at most 10"), "{large}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_of_the_directory_only() {
        use std::os::unix::fs::symlink;

        let outside = tree(&[("other.proto", OTHER), ("1/more.proto", OTHER), ("x.json", "{}")]);
        let dir = tree(&[(".data/paid.proto", OTHER), ("shop/1/sent.proto", OTHER)]);
        symlink("../../.data/paid.proto", dir.path().join("shop/1/paid.proto")).unwrap();
        let uris: Vec<_> = loaded(dir.path()).into_iter().map(|(uri, _)| uri).collect();
        assert_eq!(uris, ["shop/1/paid", "shop/1/sent"]);
        for (target, link) in [
            ("other.proto", "shop/1/other.proto"),
            ("1", "shop/2"),
            ("x.json", "shop/1/sent.example.json"),
        ] {
            let link = dir.path().join(link);
            symlink(outside.path().join(target), &link).unwrap();
            let refused = load(dir.path(), &Config::default()).unwrap_err().message;
            assert!(refused.contains("this link leads out of"), "{refused}");
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn an_example_lies_beside_its_contract() {
        let dir = tree(&[
            ("shop/1/paid.proto", OTHER),
            ("shop/1/paid.example.json", "{}"),
            ("shop/1/other.proto", OTHER),
        ]);
        let sources = load(dir.path(), &Config::default()).unwrap();
        let examples: Vec<_> =
            sources.iter().map(|source| (source.uri.name(), source.example.as_deref())).collect();
        assert_eq!(examples, [("other", None), ("paid", Some("{}"))]);
    }
}
