//! Going on with a log that lost its end: only by an operator's word.

use super::{
    LogError,
    head_file::{self, HeadMark},
    load,
    twin::Twin,
};
use contract::id::Sequence;
use std::{io::ErrorKind, path::Path};

/// What was lost from the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The last fact that is left.
    pub found: Sequence,
    /// The last fact that is known to have been there; None: the head file is missing or does
    /// not read, so nobody knows.
    pub reached: Option<Sequence>,
    /// The head file was set back to what is left.
    pub accepted: bool,
}

impl Loss {
    /// How many facts are known to be missing. There may have been more: the head file is
    /// written once a second.
    pub const fn facts(&self) -> u64 {
        match self.reached {
            Some(reached) => reached.0.saturating_sub(self.found.0),
            None => 0,
        }
    }
}

/// Compares the log in a data directory with its head file; None: nothing is missing. With
/// `accept_loss`, writes the head file anew, so that the server starts again; the store is not
/// touched before it does. The server must not run.
pub fn repair(data_dir: &Path, accept_loss: bool) -> Result<Option<Loss>, LogError> {
    let twin = Twin::of(data_dir)?;
    let rows = twin.store()?;
    let loaded = load(rows)?;
    let reached = match head_file::vouch(data_dir, rows, &loaded) {
        Ok(()) => return Ok(None),
        Err(LogError::HeadMissing { .. }) => None,
        Err(LogError::File { source, .. }) if does_not_read(&source) => None,
        Err(LogError::Shortened { reached, .. }) => Some(reached),
        Err(LogError::Changed { sequence } | LogError::Fact { sequence, .. }) => Some(sequence),
        Err(other) => return Err(other),
    };
    if accept_loss {
        head_file::write(data_dir, &HeadMark::from(&loaded.head))?;
    }
    Ok(Some(Loss { found: loaded.head.sequence, reached, accepted: accept_loss }))
}

/// It is there, but its contents are not what they have to be.
fn does_not_read(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}
