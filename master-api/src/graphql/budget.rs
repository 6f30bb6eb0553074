//! How much one answer may hold: whoever reads much says so before it is read.

use super::access::{Result, error, invalid};
use async_graphql::Context;
use contract::{Error, limits};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the variable parts of one answer may have together.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a row of a list without pages counts for.
pub(super) const NODE_BYTES: usize = 512;
/// For how many rows a list without pages counts in the complexity of a query.
pub(super) const LIST: usize = 5;

const _: () = assert!(limits::BODY_BYTES_MAX_GITHUB < ANSWER_BYTES_MAX);

/// What is left for one answer, shared by all of its fields.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicUsize::new(ANSWER_BYTES_MAX))
    }
}

impl Budget {
    /// For a stream of answers, each of which is small by itself.
    pub(super) const fn endless() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

/// Takes `bytes` from what is left, or refuses the field.
pub(super) fn spend(context: &Context<'_>, bytes: usize) -> Result<()> {
    let missing = |_none| error(&Error::internal("a query without a budget"));
    let Budget(left) = context.data::<Budget>().map_err(missing)?;
    let spent =
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
    spent.map(|_before| ()).map_err(|_left| {
        invalid(format!("the answer would have more than {ANSWER_BYTES_MAX} bytes; ask for less"))
    })
}

/// The rows of a list without pages as nodes, if the answer has room for them.
pub(super) fn listed<T, N>(
    context: &Context<'_>,
    rows: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    node: impl FnMut(T) -> N,
) -> Result<Vec<N>> {
    let rows = rows.into_iter();
    spend(context, rows.len().saturating_mul(NODE_BYTES))?;
    Ok(rows.map(node).collect())
}
