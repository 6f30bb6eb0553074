//! A copy of the log in one file, consistent as of one fact: taken while the server runs or from
//! the data directory of a stopped one, and made into a data directory again.
//!
//! In it are all facts, payloads and sealed secrets. Everything else follows from the facts and is
//! built anew. Not in it are `secret.key`, without which the sealed secrets tell nothing, and
//! `admin.key`.

mod block;
mod write;
mod restore;
mod route;

pub use restore::{Restored, check, restore};
pub use route::router;
pub use write::{Source, of_stopped, write};

use crate::{fact::Hash, log::LogError};
use contract::id::Sequence;
use serde::{Deserialize, Serialize};

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// The last fact that is in it.
    pub sequence: Sequence,
    /// Hash of the last configuration fact.
    pub configuration: Hash,
    /// Hash of the last traffic fact.
    pub traffic: Hash,
    /// See [`crate::fact::FORMAT`].
    pub format: u32,
}

/// How much is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Facts of both chains.
    pub facts: u64,
    /// Payloads.
    pub payloads: u64,
    /// Sealed secrets.
    pub secrets: u64,
}

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something else.
    #[error("this is no backup of Certes")]
    NoBackup,
    /// Written by a newer program.
    #[error("the backup has version {found}, and this program reads up to {}", block::VERSION)]
    Version {
        /// The version byte.
        found: u8,
    },
    /// It ends before its end.
    #[error("the backup is cut off in block {block}")]
    Cut {
        /// Which block, counted from 1.
        block: u64,
    },
    /// Its bytes are not those that were written.
    #[error("the backup is damaged in block {block}")]
    Damaged {
        /// Which block, counted from 1.
        block: u64,
    },
    /// What is in it does not add up.
    #[error("the backup does not hold what it says: {0}")]
    Odd(String),
    /// Nothing is overwritten.
    #[error("{0} is not empty: a restore needs a new directory")]
    Occupied(String),
    /// The log in it, or the one it is taken from.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file itself.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<crate::store::StoreError> for BackupError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Log(error.into())
    }
}
