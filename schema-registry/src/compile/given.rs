//! What is checked of files before the compiler sees them: sizes, paths, and what it says badly.

use super::{
    explain::invalid,
    scan::{self, Budget},
};
use crate::Config;
use contract::{
    Result,
    schema::{ProtoFile, SchemaSource},
};

pub(super) fn check_size(files: &[ProtoFile], config: &Config) -> Result<()> {
    let (count, files_max) = (files.len(), config.files_max);
    if count > files_max {
        return Err(invalid(format!(
            "the schema has {count} files; at most {files_max} are allowed"
        )));
    }
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    let bytes_max = config.source_bytes_max;
    if bytes > bytes_max {
        return Err(invalid(format!(
            "the schema has {bytes} bytes; at most {bytes_max} are allowed"
        )));
    }
    Ok(())
}

/// What the compiler cannot be given, or says badly.
pub(super) fn check_text(path: &str, text: &str, budget: &mut Budget) -> Result<()> {
    scan::scan(path, text, budget)?;
    refuse_editions(path, text)
}

pub(super) fn check_path(path: &str) -> Result<()> {
    let segment_ok = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
    let plain =
        path.len() <= 255 && !path.contains(['\\', '\0']) && path.split('/').all(segment_ok);
    if plain {
        return Ok(());
    }
    let shown: String = path.chars().take(80).collect();
    Err(invalid(format!("`{shown}` is not a relative path as imports name it")))
}

/// Refuses a set of schemas that is too much to compile, each counted with all of its files.
pub(crate) fn check_statements(sources: &[SchemaSource], config: &Config) -> Result<()> {
    let mut budget = Budget::of_set(config);
    for file in sources.iter().flat_map(|source| &source.files) {
        // What else is wrong with it is said of its schema.
        if let Err(refusal) = scan::scan(&file.path, &file.text, &mut budget)
            && budget.is_spent
        {
            return Err(refusal);
        }
    }
    Ok(())
}

/// The compiler knows proto2 and proto3 only, and what it says about editions does not help.
fn refuse_editions(path: &str, text: &str) -> Result<()> {
    let start = first_token(text);
    let (before, rest) = text.split_at(start);
    let after = rest.strip_prefix("edition").map(str::trim_start);
    if !after.is_some_and(|after| after.starts_with('=')) {
        return Ok(());
    }
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Err(invalid(format!(
        "{path}:{line}:{column}: protobuf editions are not supported; write \
         `syntax = \"proto3\";` or `syntax = \"proto2\";`"
    )))
}

/// Where the first token after blanks and comments begins.
fn first_token(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or("");
        let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        at += rest.len() - trimmed.len();
        let comment = if trimmed.starts_with("//") {
            trimmed.find('\n').map(|end| end + 1)
        } else if trimmed.starts_with("/*") {
            trimmed.find("*/").map(|end| end + 2)
        } else {
            return at;
        };
        match comment {
            Some(length) => at += length,
            None => return text.len(),
        }
    }
}
