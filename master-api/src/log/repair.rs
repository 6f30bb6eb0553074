//! Going on with a log that lost its end: only by an operator's word.

use super::{
    LogError,
    head_file::{self, HeadMark},
    load, store_in,
};
use crate::store::Embedded;
use contract::id::Sequence;
use std::path::Path;

/// What was lost from the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The last fact that is left.
    pub found: Sequence,
    /// The last fact that is known to have been there.
    pub reached: Sequence,
    /// The head file was set back to what is left.
    pub accepted: bool,
}

impl Loss {
    /// How many facts are known to be missing. There may have been more: the head file is
    /// written once a second.
    pub const fn facts(&self) -> u64 {
        self.reached.0.saturating_sub(self.found.0)
    }
}

/// Compares the log in a data directory with its head file; None: nothing is missing. With
/// `accept_loss`, sets the head file back, so that the server starts again. The server must not
/// run.
pub fn repair(data_dir: &Path, accept_loss: bool) -> Result<Option<Loss>, LogError> {
    let store = Embedded::open(&store_in(data_dir), 16 << 20)?;
    let loaded = load(&store)?;
    let Some(mark) = head_file::read(data_dir)? else { return Ok(None) };
    if head_file::check(&store, &loaded.state, &loaded.head, &mark).is_ok() {
        return Ok(None);
    }
    if accept_loss {
        head_file::write(data_dir, &HeadMark::from(&loaded.head))?;
    }
    let found = loaded.head.sequence;
    Ok(Some(Loss { found, reached: mark.sequence, accepted: accept_loss }))
}
