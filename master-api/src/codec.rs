//! Stored bytes: a version byte, then MessagePack with field names.
//!
//! Names cost a few bytes and compress well; in return a row tells what it is, and a field can be
//! added without moving the others.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

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
        Some((&VERSION, rest)) => {
            let mut values = rmp_serde::Deserializer::from_read_ref(rest);
            let value = T::deserialize(&mut values)?;
            // Only where nothing is left, there is not even the first byte of a number.
            match u64::deserialize(&mut values) {
                Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
                Ok(_) | Err(_) => Err(CodecError::CutOff),
            }
        }
        Some((&found, _)) => Err(CodecError::Version { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_follow_a_value_and_nothing_of_it_may_be_missing() {
        let row = encode(&("text", 7_u64, vec![1_u8, 2])).unwrap();
        let read = |row: &[u8]| decode::<(String, u64, Vec<u8>)>(row);
        assert_eq!(read(&row).unwrap(), ("text".to_owned(), 7, vec![1, 2]));
        for follows in 0..=u8::MAX {
            let longer = [row.as_slice(), &[follows]].concat();
            assert!(matches!(read(&longer), Err(CodecError::CutOff)), "{follows}");
        }
        for length in 0..row.len() {
            assert!(read(&row[..length]).is_err(), "{length}");
        }
    }
}
