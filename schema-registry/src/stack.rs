//! Work on schemas that recurses as deep as their text says.

use contract::{Error, ErrorCode, Result};

/// Runs `work` on a stack that no allowed text exhausts. A panic in it becomes an error: the
/// libraries that read schemas are not ours.
pub(crate) fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    expression::on_a_large_stack(work).unwrap_or_else(|| {
        let message = "this schema is more than the compiler can follow";
        Err(Error::new(ErrorCode::InvalidDefinition, message))
    })
}
