//! Stored bytes: a version byte, then MessagePack with field names.
//!
//! Names cost a few bytes and compress well; in return a row tells what it is, and a field can be
//! added without moving the others.

use serde::{Serialize, de::DeserializeOwned};

/// The version that is written. See [`crate::fact::FactBody`] for how it may change.
pub const VERSION: u8 = 1;

/// Bytes that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Nothing is there.
    #[error("the row is empty")]
    Empty,
    /// Written by a newer program.
    #[error("the row has version {found}, and this program reads up to {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// A value that MessagePack cannot hold.
    #[error("cannot encode: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Not what was expected: damaged, or of a kind that this program does not know.
    #[error("cannot decode: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The fixed part of a row is too short.
    #[error("the row is cut off")]
    CutOff,
}

/// Version byte and MessagePack of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(VERSION);
    value.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map())?;
    Ok(bytes)
}

/// The reverse of [`encode`]; trailing bytes are refused.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((&VERSION, mut rest)) => {
            let value = rmp_serde::decode::from_read(&mut rest)?;
            if rest.is_empty() { Ok(value) } else { Err(CodecError::CutOff) }
        }
        Some((&found, _)) => Err(CodecError::Version { found }),
    }
}
