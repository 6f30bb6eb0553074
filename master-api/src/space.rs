//! How much room the file system has left, as something that can be handed in.

use crate::log::{LogError, space_left};
use std::{fmt, path::Path};

/// Tells how much room is left.
pub trait Space: Send + Sync + fmt::Debug {
    /// Bytes that are free for us where `directory` lies.
    fn left(&self, directory: &Path) -> Result<u64, LogError>;
}

/// The file system's own word.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystem;

impl Space for FileSystem {
    fn left(&self, directory: &Path) -> Result<u64, LogError> {
        space_left(directory)
    }
}
