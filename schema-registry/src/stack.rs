//! Work that recurses as deep as somebody's text says, on a stack that no allowed text exhausts.

use contract::{Error, ErrorCode, Result};

/// Only what is used of it becomes memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// Runs `work` on a thread of its own. A panic in it becomes an error: the libraries that read
/// schemas are not ours.
pub(crate) fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("schema-compiler".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.map_err(Error::internal)?.join().unwrap_or_else(|_panic| {
            let message = "this schema is more than the compiler can follow";
            Err(Error::new(ErrorCode::InvalidDefinition, message))
        })
    })
}
