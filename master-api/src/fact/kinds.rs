//! The names of all kinds of facts, as the type itself lists them.

use super::FactBody;
use contract::{Error, ErrorCode, Result};
use std::sync::LazyLock;

/// The decoder lists them when it meets one that it does not know.
static KINDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let unknown = serde_json::from_str::<FactBody>("\"\"").err().map(|error| error.to_string());
    let listed = unknown.as_deref().and_then(|text| text.split_once("expected one of "));
    let names = listed.map_or("", |(_, names)| names).split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
});

/// All names, in the order of the type.
pub fn kinds() -> &'static [String] {
    &KINDS
}

/// Refuses the name of no kind. Errors: `invalid_request`, which lists all.
pub fn check_kinds(wanted: &[String]) -> Result<()> {
    let Some(unknown) = wanted.iter().find(|wanted| !KINDS.contains(wanted)) else {
        return Ok(());
    };
    let shown: String = unknown.chars().take(80).collect();
    let text = format!("there is no kind of fact `{shown}`; there are: {}", KINDS.join(", "));
    Err(Error::new(ErrorCode::InvalidRequest, text))
}
