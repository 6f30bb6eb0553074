//! The file of a backup: blocks, each vouching for itself and for all before it.
//!
//! # Stored format
//! The 8 bytes `CERTESB` and a version byte, then blocks: kind (1 byte), length (4 bytes,
//! big-endian), so many bytes, and the SHA-256 of: the SHA-256 of the block before (zeros for the
//! first), kind, length and bytes. The first block is `Begin`, the last one `End`. To change the
//! format, raise the version and keep reading the old ones.

use super::BackupError;
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read, Write};

const MAGIC: &[u8; 7] = b"CERTESB";
/// The version that is written.
pub const VERSION: u8 = 1;
/// The largest block: far above the largest payload.
const BLOCK_BYTES_MAX: usize = 256 << 20;

/// What is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the backup is of, as JSON.
    Begin,
    /// Rows of one table.
    Rows,
    /// What was in it, as JSON.
    End,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Begin => 1,
            Self::Rows => 2,
            Self::End => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Begin),
            2 => Some(Self::Rows),
            3 => Some(Self::End),
            _ => None,
        }
    }
}

/// Writes blocks.
pub struct BlockWriter<W> {
    out: W,
    last: [u8; 32],
}

impl<W: Write> BlockWriter<W> {
    /// Begins the file.
    pub fn new(mut out: W) -> std::io::Result<Self> {
        out.write_all(MAGIC)?;
        out.write_all(&[VERSION])?;
        Ok(Self { out, last: [0; 32] })
    }

    /// Appends a block.
    pub fn block(&mut self, kind: Kind, body: &[u8]) -> std::io::Result<()> {
        if body.len() > BLOCK_BYTES_MAX {
            return Err(std::io::Error::other("a row is too large for a block"));
        }
        let length = u32::try_from(body.len()).map_err(std::io::Error::other)?.to_be_bytes();
        self.last = digest(self.last, kind.byte(), length, body);
        for part in [&[kind.byte()][..], &length, body, &self.last] {
            self.out.write_all(part)?;
        }
        Ok(())
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Reads blocks, each only if it is what was written.
pub struct BlockReader<R> {
    input: R,
    last: [u8; 32],
    /// Blocks read so far.
    pub blocks: u64,
}

impl<R: Read> BlockReader<R> {
    /// Reads the beginning of the file.
    pub fn new(mut input: R) -> Result<Self, BackupError> {
        let mut head = [0; 8];
        fill(&mut input, &mut head, 0)?;
        match head.split_last() {
            Some((&VERSION, magic)) if magic == MAGIC => {}
            Some((&found, magic)) if magic == MAGIC => return Err(BackupError::Version { found }),
            Some(_) | None => return Err(BackupError::NoBackup),
        }
        Ok(Self { input, last: [0; 32], blocks: 0 })
    }

    /// The next block; there is one up to `End`.
    pub fn read(&mut self) -> Result<(Kind, Vec<u8>), BackupError> {
        let block = self.blocks + 1;
        let (mut kind, mut length, mut found) = ([0; 1], [0; 4], [0; 32]);
        fill(&mut self.input, &mut kind, block)?;
        fill(&mut self.input, &mut length, block)?;
        let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if size > BLOCK_BYTES_MAX {
            return Err(BackupError::Damaged { block });
        }
        let mut body = Vec::new();
        let wanted = u64::try_from(size).unwrap_or(u64::MAX);
        let read = self.input.by_ref().take(wanted).read_to_end(&mut body)?;
        if read < size {
            return Err(BackupError::Cut { block });
        }
        fill(&mut self.input, &mut found, block)?;
        let [kind] = kind;
        self.last = digest(self.last, kind, length, &body);
        match Kind::of(kind) {
            Some(kind) if self.last == found => {
                self.blocks = block;
                Ok((kind, body))
            }
            Some(_) | None => Err(BackupError::Damaged { block }),
        }
    }

    /// Nothing may follow the end.
    pub fn finish(mut self) -> Result<(), BackupError> {
        let mut more = [0];
        match self.input.read(&mut more)? {
            0 => Ok(()),
            _ => Err(BackupError::Damaged { block: self.blocks + 1 }),
        }
    }
}

fn fill(input: &mut impl Read, bytes: &mut [u8], block: u64) -> Result<(), BackupError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => BackupError::Cut { block },
        _ => error.into(),
    })
}

fn digest(before: [u8; 32], kind: u8, length: [u8; 4], body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update([kind]);
    hasher.update(length);
    hasher.update(body);
    hasher.finalize().into()
}
