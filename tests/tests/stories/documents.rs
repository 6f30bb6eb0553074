//! Documents stay true: the files they name exist, the tables they show are those of the code.

use contract::{ErrorCode, source::Scheme};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_files_that_architecture_names_exist() {
    let text = read("ARCHITECTURE.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let paths: Vec<_> = quoted.filter(|word| word.contains('/') && word.ends_with(".rs")).collect();
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
}

#[test]
fn the_table_of_error_codes_is_complete() {
    let text = read("docs/protocol.md");
    for code in ErrorCode::ALL {
        let row = format!("| `{code}` | {} |", code.http_status());
        assert!(text.contains(&row), "docs/protocol.md lacks {row}");
    }
}

#[test]
fn the_table_of_verification_schemes_is_complete() {
    let text = read("docs/protocol.md");
    let start = text.find("| `verify` | `secret` |").unwrap();
    let table = text[start..].split("\n\n").next().unwrap();
    for scheme in Scheme::ALL {
        let facts = scheme.facts();
        let name = format!("`{}`", facts.name);
        let row = table.lines().find(|row| row.split('|').nth(1).unwrap().contains(&name));
        let row = row.unwrap_or_else(|| panic!("docs/protocol.md lacks {name}"));
        let id = facts.delivery_id.trim_matches(['{', '}']);
        let id = id.split_once(':').map_or("", |(_, id)| id);
        assert!(row.contains(id), "{name}: {id}");
    }
}

#[test]
fn documents_are_short() {
    for (path, lines_max) in [("README.md", 120), ("ARCHITECTURE.md", 250)] {
        let lines = read(path).lines().count();
        assert!(lines <= lines_max, "{path} has {lines} lines, {lines_max} are allowed");
    }
    for entry in std::fs::read_dir(root().join("docs/adr")).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 60, "{} has {lines} lines, 60 are allowed", path.display());
    }
}
