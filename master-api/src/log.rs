//! The log: how facts become rows, and how each is chained to the one before it.
//!
//! A row is a version byte, the fact's time (8 bytes, big-endian), the hash of the fact before it
//! in its chain (32 bytes), and actor and body as in [`crate::codec`]. The sequence is its key. A
//! fact's hash is SHA-256 of: hash before it, sequence, time, SHA-256 of actor and body. So the
//! costly part of the hash can be made before the fact has its place.

pub mod head_file;
mod load;
mod twin;
mod pages;
mod verify;
mod walk;
mod stretches;
mod differences;
mod agree;
mod build;
mod rebuild;
mod salvage;
mod repair;
mod look;
mod erasures;

pub use build::{Builder, Built, is_kept, is_source, require_whole};
pub use erasures::{Erasure, erasures};
pub use load::{Loaded, load, store_in};
pub use look::{Archive, Look};
pub use rebuild::{Rebuilt, rebuild};
pub use repair::{Loss, repair};
pub use twin::{Twin, before_open, space_left};
pub use verify::{Report, verify, verify_database, verify_rows};

use crate::{
    codec::{self, CodecError},
    fact::{Fact, FactBody, Hash},
    shared::unavailable,
    store::{Row, StoreError},
    tables,
};
use contract::{Error, ErrorCode, access::Actor, clock::Timestamp, id::Sequence};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Hears how far a long work is: what is being done, how much of it, and how much there is; 0:
/// not known.
pub type Progress<'a> = &'a dyn Fn(&'static str, u64, u64);

/// What to do without a head file.
const NO_HEAD: &str = "without it nothing says how far the log had come. Restore it together with \
     the store; or `certes log repair` lists what is found, and with `--accept-loss` the log goes \
     on from there";

/// What keeps a log from being read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store below.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that does not read.
    #[error("fact {sequence}: {source}")]
    Fact {
        /// Which fact.
        sequence: Sequence,
        /// What is wrong with it.
        source: CodecError,
    },
    /// Another row that does not read.
    #[error("{what}: {source}")]
    Row {
        /// Which row.
        what: String,
        /// What is wrong with it.
        source: CodecError,
    },
    /// Written by a newer program.
    #[error(
        "the log has format {found}, and this program knows formats up to {known}: run a newer one"
    )]
    Format {
        /// The stored format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The log is shorter than it was.
    #[error(
        "the log ends at {found}, but it had reached {reached}: facts were lost below it. \
         `certes log repair` lists what is known of them; with `--accept-loss` the log goes on \
         without them"
    )]
    Shortened {
        /// Where it ends now.
        found: Sequence,
        /// Where it had been.
        reached: Sequence,
    },
    /// The log is not the one that the head file speaks of.
    #[error("fact {sequence} is not the one that the head file names: the log was changed")]
    Changed {
        /// Which fact.
        sequence: Sequence,
    },
    /// A log has begun, but nothing says how far it had come.
    #[error("{path} is missing: {}", NO_HEAD)]
    HeadMissing {
        /// Where the head file has to be.
        path: String,
    },
    /// A log has begun, and what should say how far it had come says something else.
    #[error("{path} is damaged ({source}): {}", NO_HEAD)]
    HeadDamaged {
        /// The head file.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There was a log, and it is gone.
    #[error(
        "{path} is missing, but {witness} is there, so a log was: restore it from a copy, or begin \
         a new log in another data directory"
    )]
    StoreMissing {
        /// Where the store has to be.
        path: String,
        /// The file that says that there was one.
        witness: String,
    },
    /// The facts themselves do not hold, so nothing can be built from them.
    #[error("{}; and {} more problems; see `certes log repair`", problems.first().map_or("", String::as_str), problems.len().saturating_sub(1))]
    NotWhole {
        /// One sentence for each, never empty.
        problems: Vec<String>,
    },
    /// Bytes of the store are not what was written.
    #[error(
        "the store is damaged: {}. `certes log repair` lists what is lost by it; with \
         `--accept-loss` the log goes on without that. Or restore a backup. No file was changed",
        places.join("; ")
    )]
    Damaged {
        /// Where, never empty.
        places: Vec<String>,
    },
    /// A log is looked at in a copy of it, and built beside it.
    #[error("not enough space: a copy in {path} needs {needed} bytes, {left} are free")]
    Space {
        /// Where the copy would be.
        path: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are free.
        left: u64,
    },
    /// Replicas do not have the same key.
    #[error(
        "a secret that another replica stored cannot be opened: every replica needs the same \
         secret key, and while it changes every one has to know both: `OLD,NEW` everywhere, then \
         `NEW,OLD` everywhere, then `NEW`"
    )]
    Sealed,
    /// A file beside the store.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        source: std::io::Error,
    },
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        // What a caller may see; the whole error is logged where it happens.
        match error {
            LogError::Store(
                StoreError::Unavailable(_)
                | StoreError::Uncertain(_)
                | StoreError::Newer { .. }
                | StoreError::Unopened { .. }
                | StoreError::Incomplete(_)
                | StoreError::Misconfigured(_),
            ) => unavailable(&error.to_string()),
            LogError::Store(_) | LogError::Fact { .. } | LogError::Row { .. } => {
                Self::internal(error)
            }
            LogError::Format { .. }
            | LogError::Shortened { .. }
            | LogError::Changed { .. }
            | LogError::HeadMissing { .. }
            | LogError::HeadDamaged { .. }
            | LogError::StoreMissing { .. }
            | LogError::NotWhole { .. }
            | LogError::Damaged { .. }
            | LogError::Space { .. }
            | LogError::Sealed
            | LogError::File { .. } => Self::new(ErrorCode::Unavailable, error.to_string()),
        }
    }
}

/// A fact that has no place yet: encoded and hashed, so that the writer has little left to do.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Actor and body, encoded.
    bytes: Vec<u8>,
    digest: Hash,
}

#[derive(Serialize)]
struct EnvelopeRef<'a> {
    actor: &'a Actor,
    body: &'a FactBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    actor: Actor,
    body: FactBody,
}

impl Draft {
    /// Encodes and hashes.
    pub fn new(actor: &Actor, body: &FactBody) -> Result<Self, CodecError> {
        let bytes = codec::encode(&EnvelopeRef { actor, body })?;
        let digest = digest(&bytes);
        Ok(Self { bytes, digest })
    }

    /// Gives it its place: its row, and the hash that the next one in the chain builds on.
    pub fn place(&self, sequence: Sequence, time: Timestamp, prev_hash: Hash) -> (Vec<u8>, Hash) {
        let mut row = Vec::with_capacity(HEAD_LENGTH + self.bytes.len());
        row.push(ROW_VERSION);
        row.extend(time.0.to_be_bytes());
        row.extend(prev_hash.0);
        row.extend(&self.bytes);
        (row, link(prev_hash, sequence, time, self.digest))
    }
}

const ROW_VERSION: u8 = 1;
const HEAD_LENGTH: usize = 1 + 8 + 32;

/// A fact from its row.
pub fn read_fact(row: &Row) -> Result<Fact, LogError> {
    let sequence = tables::sequence_of(&row.0).unwrap_or_default();
    read_at(sequence, &row.1)
}

/// The same, of a row that is known by its sequence.
fn read_at(sequence: Sequence, row: &[u8]) -> Result<Fact, LogError> {
    let failed = |source| LogError::Fact { sequence, source };
    let (time, prev_hash, bytes) = split_row(row).map_err(failed)?;
    let Envelope { actor, body } = codec::decode(bytes).map_err(failed)?;
    Ok(Fact { sequence, time, actor, prev_hash, body })
}

/// When a fact was recorded, from its row.
pub fn time_of(row: &Row) -> Result<Timestamp, LogError> {
    let sequence = tables::sequence_of(&row.0).unwrap_or_default();
    let (time, ..) = split_row(&row.1).map_err(|source| LogError::Fact { sequence, source })?;
    Ok(time)
}

/// Hash of a fact from its row.
pub fn hash_of(row: &Row) -> Result<Hash, LogError> {
    hash_at(tables::sequence_of(&row.0).unwrap_or_default(), &row.1)
}

/// The same, of a row that is known by its sequence.
fn hash_at(sequence: Sequence, row: &[u8]) -> Result<Hash, LogError> {
    let (time, prev_hash, bytes) =
        split_row(row).map_err(|source| LogError::Fact { sequence, source })?;
    Ok(link(prev_hash, sequence, time, digest(bytes)))
}

fn split_row(row: &[u8]) -> Result<(Timestamp, Hash, &[u8]), CodecError> {
    let (version, rest) = row.split_first().ok_or(CodecError::Empty)?;
    if *version != ROW_VERSION {
        return Err(CodecError::Version { found: *version });
    }
    let (time, rest) = rest.split_first_chunk().ok_or(CodecError::CutOff)?;
    let (prev_hash, bytes) = rest.split_first_chunk().ok_or(CodecError::CutOff)?;
    Ok((Timestamp(i64::from_be_bytes(*time)), Hash(*prev_hash), bytes))
}

fn digest(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

fn link(prev_hash: Hash, sequence: Sequence, time: Timestamp, body: Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(prev_hash.0);
    hasher.update(sequence.0.to_be_bytes());
    hasher.update(time.0.to_be_bytes());
    hasher.update(body.0);
    Hash(hasher.finalize().into())
}
