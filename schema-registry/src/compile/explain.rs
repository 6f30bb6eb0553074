//! The compiler's complaints, as sentences with file, line and column.

use contract::{Error, ErrorCode};
use protox::file::File;

/// What is to be said of files that import each other: where the import is that closes the circle.
pub(super) fn cycle<'t>(
    error: &protox::Error,
    text_of: &dyn Fn(&str) -> Option<&'t str>,
) -> Option<Error> {
    let text = error.to_string();
    let (_, paths) = text.split_once("import cycle detected: ")?;
    let mut paths = paths.rsplit(" -> ");
    let (imported, importer) = (paths.next()?, paths.next()?);
    let file = File::from_source(importer, text_of(importer)?).ok()?;
    let file = file.file_descriptor_proto();
    let at = file.dependency.iter().position(|path| path == imported)?;
    // The number of the field `dependency` of a file (descriptor.proto).
    let path = [3, i32::try_from(at).ok()?];
    let location = file.source_code_info.as_ref()?.location.iter().find(|it| it.path == path)?;
    let [line, column, ..] = location.span.as_slice() else { return None };
    Some(invalid(format!("{importer}:{}:{}: {text}", line + 1, column + 1)))
}

/// The compiler's `Debug` form is `file:line:column: sentence` wherever it knows the place.
pub(super) fn explain(error: &protox::Error) -> Error {
    // The parser says the same of a bad group and of a bad import, and means the latter mostly.
    let text = format!("{error:?}").replace(
        "invalid group name",
        "invalid import (its path goes from the root, without `.`, `..`, backslashes or a slash in \
         front), or invalid name of a group",
    );
    match error.file() {
        Some(file) if !text.starts_with(file) => invalid(format!("{file}:1:1: {text}")),
        _ => invalid(text),
    }
}

/// `invalid_definition`, with a sentence.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidDefinition, message)
}
